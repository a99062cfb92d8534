//! One store after the other through the same questions.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::data::{ASKED, DAY, DAY_END, DEVICES, Kind, METRICS, Message, QUICK_DEVICE, START, Source};
use super::engine::{Digest, Engine, Series};
use super::figures::{Figure, Times, Unit};

/// Rounds of the load that go into one commit.
const LOAD: usize = 10;
/// Rounds that are measured: two chunks of every device.
const ROUNDS: usize = 1440;
/// A store that is slower than that is not waited for.
const PATIENCE: Duration = Duration::from_secs(8);
/// Rounds of the full-precision data: two hours.
const PRECISE_ROUNDS: usize = 1440;
/// Answers of which the median is taken, after one that is not counted.
const ANSWERS: usize = 9;
/// A question is not repeated for longer.
const QUESTION: Duration = Duration::from_secs(2);

/// The answers of the store that was asked first, for the others to agree with.
#[derive(Default)]
pub(crate) struct Answers(Vec<(&'static str, Digest)>);

/// A day of rounded data; then the questions, then durable commits behind all of it.
pub(crate) fn rounded(engine: &mut dyn Engine, answers: &mut Answers) -> Result<Vec<Figure>> {
    let mut source = Source::new(Kind::Rounded, DEVICES);
    let mut messages = Vec::new();
    let started = Instant::now();
    let mut values = 0;
    for _ in 0..DAY / LOAD {
        messages.clear();
        (0..LOAD).for_each(|_| source.round(true, &mut messages));
        engine.load(&messages)?;
        values += messages.len() * METRICS;
    }
    engine.loaded()?;
    eprintln!("    {values} values loaded in {:.1} s", started.elapsed().as_secs_f64());
    let mut figures = questions(engine, answers)?;
    for (rounds, names) in [
        (1, ["ingest, 1,300 values in a commit", "  commit and the work behind it: median", "  p99", "  longest"]),
        (10, ["ingest, 13,000 values in a commit", "  commit and the work behind it: median", "  p99", "  longest"]),
    ] {
        let (times, stored) = ingest(engine, &mut source, rounds)?;
        values += stored;
        let rate = stored as f64 / times.total().as_secs_f64();
        figures.push(Figure::new(names[0], Unit::PerSecond, rate).goal(1e6));
        for (name, share) in [(names[1], 0.5), (names[2], 0.99), (names[3], 1.0)] {
            figures.push(Figure::new(name, Unit::Milliseconds, times.at(share)));
        }
    }
    let disk = engine.settle()?;
    let each = |bytes: u64| bytes as f64 / values as f64;
    figures.push(Figure::new("disk: rounded sensor data", Unit::BytesPerValue, each(disk.used)).goal(1.2));
    figures.push(Figure::new("  with freed pages, the size of the file", Unit::BytesPerValue, each(disk.file)));
    Ok(figures)
}

/// Two hours of full-precision data in durable commits.
pub(crate) fn precise(engine: &mut dyn Engine) -> Result<Vec<Figure>> {
    let mut source = Source::new(Kind::FullPrecision, DEVICES);
    let mut messages: Vec<Message> = Vec::new();
    for _ in 0..PRECISE_ROUNDS / LOAD {
        messages.clear();
        (0..LOAD).for_each(|_| source.round(false, &mut messages));
        engine.load(&messages)?;
    }
    engine.loaded()?;
    let values = PRECISE_ROUNDS * DEVICES * METRICS;
    let disk = engine.settle()?.used as f64 / values as f64;
    Ok(vec![Figure::new("disk: full-precision noise", Unit::BytesPerValue, disk).goal(6.5)])
}

/// Commits, each with what the writer does before the next one: a batch that waits, waits for both.
fn ingest(engine: &mut dyn Engine, source: &mut Source, rounds_each: usize) -> Result<(Times, usize)> {
    let mut times = Times::default();
    let mut messages = Vec::new();
    let mut values = 0;
    for _ in 0..ROUNDS / rounds_each {
        messages.clear();
        (0..rounds_each).for_each(|_| source.round(false, &mut messages));
        engine.prepare(&messages);
        let started = Instant::now();
        engine.commit(&messages)?;
        engine.between()?;
        times.push(started.elapsed());
        values += messages.len() * METRICS;
        if times.total() > PATIENCE {
            break;
        }
    }
    Ok((times, values))
}

fn questions(engine: &mut dyn Engine, answers: &mut Answers) -> Result<Vec<Figure>> {
    let series = |device| Series { device, metric: ASKED, from: START, to: DAY_END };
    let mut ask = |name, question: &mut dyn FnMut(&mut dyn Engine) -> Result<Digest>| -> Result<Figure> {
        let first = question(engine).with_context(|| format!("{name}: no answer"))?;
        answers.check(name, first)?;
        let mut times = Times::default();
        for _ in 0..ANSWERS {
            let started = Instant::now();
            question(engine)?;
            times.push(started.elapsed());
            if times.total() > QUESTION {
                break;
            }
        }
        Ok(Figure::new(name, Unit::Milliseconds, times.at(0.5)))
    };
    Ok(vec![
        ask("24 h of a series at 5 s: 17,280 points", &mut |engine| engine.points(series(7)))?,
        ask("24 h of a series at 1 Hz: 86,400 points", &mut |engine| engine.points(series(QUICK_DEVICE)))?.goal(3.0),
        ask("  in 288 buckets", &mut |engine| engine.buckets(series(QUICK_DEVICE)))?.goal(1.0),
        ask("average of a metric over 100 devices, 24 h at 5 s", &mut |engine| engine.average(series(0)))?.goal(50.0),
        ask("latest: 13 metrics of 101 devices", &mut |engine| engine.latest())?,
    ])
}

impl Answers {
    fn check(&mut self, name: &'static str, answer: Digest) -> Result<()> {
        match self.0.iter().find(|(asked, _)| *asked == name) {
            Some((_, expected)) => {
                anyhow::ensure!(expected.agrees(answer), "{name}: {answer:?}, and the first store said {expected:?}");
            }
            None => self.0.push((name, answer)),
        }
        Ok(())
    }
}
