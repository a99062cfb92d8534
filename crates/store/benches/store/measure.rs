//! All stores through the same load, questions and commits.
//!
//! Machines are noisy, and a noise that lasts for seconds must not fall upon one store alone: the stores are open
//! together and take turns, one answer or a second of commits at a time, another one first in each round of turns.
//! Before a turn everything that was written is on the disk, and no store writes while another has its turn: nothing is
//! left behind that a commit would have to wait for. The rate of a store is the median of its turns.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::data::{ASKED, DAY, DAY_END, DEVICES, Kind, METRICS, Message, QUICK_DEVICE, START, Source};
use super::engine::{Digest, Engine, Series};
use super::figures::{Figure, Measured, Times, Unit};

/// Rounds of the load that go into one commit.
const LOAD: usize = 10;
/// Turns in which commits are measured.
const TURNS: usize = 5;
/// How long a turn is.
const TURN: Duration = Duration::from_millis(1000);
/// Rounds of messages in a turn, at most: all turns together fill the chunks of every device several times.
const TURN_ROUNDS: usize = 1440;
/// Rounds of the full-precision data: two hours.
const PRECISE_ROUNDS: usize = 1440;
/// Answers of which the median is taken, after one that is not counted.
const ANSWERS: usize = 9;
/// A question is not repeated for longer.
const QUESTION: Duration = Duration::from_secs(2);

/// A store, and how far it has come.
pub(crate) struct Store {
    name: String,
    engine: Box<dyn Engine>,
    source: Source,
    values: usize,
    figures: Vec<Figure>,
}

/// Commits of one store, turn by turn.
#[derive(Default)]
struct Commits {
    /// Of the commits alone.
    alone: Times,
    /// With what the writer does before the next one: a batch that waits, waits for both.
    with_work: Times,
    /// Values a second of each turn, with that work.
    rates: Vec<f64>,
}

impl Store {
    pub(crate) fn new(name: String, engine: Box<dyn Engine>, kind: Kind) -> Self {
        Self { name, engine, source: Source::new(kind, DEVICES), values: 0, figures: Vec::new() }
    }

    /// The next messages, in the order in which they arrive.
    fn receive(&mut self, rounds: usize, quick: bool) -> Vec<Message> {
        let mut messages = Vec::new();
        (0..rounds).for_each(|_| self.source.round(quick, &mut messages));
        self.values += messages.len() * METRICS;
        messages
    }

    fn load(&mut self, rounds: usize, quick: bool) -> Result<()> {
        let started = Instant::now();
        for _ in 0..rounds / LOAD {
            let messages = self.receive(LOAD, quick);
            self.engine.load(&messages)?;
        }
        self.engine.loaded()?;
        eprintln!("    {}: {} values loaded in {:.1} s", self.name, self.values, started.elapsed().as_secs_f64());
        Ok(())
    }

    /// One turn of commits.
    fn ingest(&mut self, rounds_each: usize, commits: &mut Commits) -> Result<()> {
        let (mut turn, mut values) = (Duration::ZERO, 0);
        for _ in 0..TURN_ROUNDS / rounds_each {
            let messages = self.receive(rounds_each, false);
            self.engine.prepare(&messages);
            let started = Instant::now();
            self.engine.commit(&messages)?;
            let committed = started.elapsed();
            self.engine.between()?;
            let took = started.elapsed();
            commits.alone.push(committed);
            commits.with_work.push(took);
            turn += took;
            values += messages.len() * METRICS;
            if turn > TURN {
                break;
            }
        }
        commits.rates.push(values as f64 / turn.as_secs_f64());
        Ok(())
    }

    /// The first messages of the next day, and all the work that was put off until the day before was over.
    fn begin_next_day(&mut self) -> Result<()> {
        let messages = self.receive(LOAD, false);
        let started = Instant::now();
        // So that no part of the new day is taken for the end of the old one.
        self.engine.catch_up()?;
        self.engine.prepare(&messages);
        self.engine.commit(&messages)?;
        self.engine.catch_up()?;
        eprintln!("    {}: the next day begun in {:.1} s", self.name, started.elapsed().as_secs_f64());
        Ok(())
    }

    fn figure(&mut self, name: &'static str, unit: Unit, value: f64, goal: Option<f64>) {
        self.figures.push(Figure { name, unit, value, goal });
    }
}

/// A day of rounded data; then the questions, then durable commits behind all of it.
pub(crate) fn rounded(mut stores: Vec<Store>) -> Result<Vec<Measured>> {
    for store in &mut stores {
        store.load(DAY, true).with_context(|| format!("{} takes no data", store.name))?;
    }
    questions(&mut stores)?;
    // A day is over when the next one has begun: what is then made of it belongs to its values, not to the next ones.
    for store in &mut stores {
        store.begin_next_day()?;
    }
    let behind = [
        "  of turns: least",
        "  commit alone: median",
        "  p99",
        "  commit and the work behind it: median",
        "  p99",
        "  longest",
    ];
    ingest(&mut stores, 1, "ingest, 1,300 values in a commit", behind)?;
    ingest(&mut stores, 10, "ingest, 13,000 values in a commit", behind)?;
    for store in &mut stores {
        let disk = store.engine.settle()?;
        let values = store.values as f64;
        let (used, file) = (disk.used as f64 / values, disk.file as f64 / values);
        store.figure("disk: rounded sensor data", Unit::BytesPerValue, used, Some(1.2));
        store.figure("  with freed pages: the whole file after this day", Unit::BytesPerValue, file, None);
    }
    Ok(finish(stores))
}

/// Two hours of full-precision data.
pub(crate) fn precise(mut stores: Vec<Store>) -> Result<Vec<Measured>> {
    for store in &mut stores {
        store.load(PRECISE_ROUNDS, false).with_context(|| format!("{} takes no data", store.name))?;
        let used = store.engine.settle()?.used as f64 / store.values as f64;
        store.figure("disk: full-precision noise", Unit::BytesPerValue, used, Some(6.5));
    }
    Ok(finish(stores))
}

fn finish(stores: Vec<Store>) -> Vec<Measured> {
    stores.into_iter().map(|store| Measured { name: store.name, figures: store.figures }).collect()
}

fn ingest(stores: &mut [Store], rounds_each: usize, rate: &'static str, behind: [&'static str; 6]) -> Result<()> {
    let mut measured: Vec<Commits> = stores.iter().map(|_| Commits::default()).collect();
    for turn in 0..TURNS {
        for place in 0..stores.len() {
            let place = (turn + place) % stores.len();
            // What the store before this one left in the system's cache is not for this one to wait for.
            let status = Command::new("sync").status().context("sync did not start")?;
            ensure!(status.success(), "sync failed: {status}");
            let store = &mut stores[place];
            let outcome = store.ingest(rounds_each, &mut measured[place]);
            outcome.with_context(|| format!("{}: a commit failed", store.name))?;
        }
    }
    for (store, mut commits) in stores.iter_mut().zip(measured) {
        commits.rates.sort_by(f64::total_cmp);
        let Commits { alone, with_work, rates } = commits;
        store.figure(rate, Unit::PerSecond, rates[rates.len() / 2], Some(1e6));
        let [least, behind @ ..] = behind;
        store.figure(least, Unit::PerSecond, rates[0], None);
        let times = [alone.at(0.5), alone.at(0.99), with_work.at(0.5), with_work.at(0.99), with_work.at(1.0)];
        for (name, value) in behind.into_iter().zip(times) {
            store.figure(name, Unit::Milliseconds, value, None);
        }
    }
    Ok(())
}

/// Every store has the same data now, so that all must give the same answers.
fn questions(stores: &mut [Store]) -> Result<()> {
    let series = |device| Series { device, metric: ASKED, from: START, to: DAY_END };
    ask(stores, "24 h of a series at 5 s: 17,280 points", None, |engine| engine.points(series(7)))?;
    ask(stores, "24 h of a series at 1 Hz: 86,400 points", Some(3.0), |engine| engine.points(series(QUICK_DEVICE)))?;
    ask(stores, "  in 288 buckets", Some(1.0), |engine| engine.buckets(series(QUICK_DEVICE)))?;
    ask(stores, "average of a metric over 100 devices, 24 h at 5 s", Some(50.0), |engine| engine.average(series(0)))?;
    ask(stores, "latest: 13 metrics of 101 devices", None, |engine| engine.latest())
}

fn ask(
    stores: &mut [Store],
    name: &'static str,
    goal: Option<f64>,
    question: impl Fn(&mut dyn Engine) -> Result<Digest>,
) -> Result<()> {
    let mut expected: Option<Digest> = None;
    for store in &mut *stores {
        let answer = question(store.engine.as_mut()).with_context(|| format!("{}: {name}", store.name))?;
        let expected = *expected.get_or_insert(answer);
        ensure!(expected.agrees(answer), "{}: {name}: {answer:?}, where the first said {expected:?}", store.name);
    }
    let mut measured: Vec<Times> = stores.iter().map(|_| Times::default()).collect();
    for _ in 0..ANSWERS {
        for (store, times) in stores.iter_mut().zip(&mut measured) {
            if times.total() < QUESTION {
                let started = Instant::now();
                question(store.engine.as_mut())?;
                times.push(started.elapsed());
            }
        }
    }
    for (store, times) in stores.iter_mut().zip(measured) {
        store.figure(name, Unit::Milliseconds, times.at(0.5), goal);
    }
    Ok(())
}
