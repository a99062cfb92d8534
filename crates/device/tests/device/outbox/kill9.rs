//! Processes killed at any moment: what was appended is there, what was confirmed is not lost, nothing comes as
//! something else.
//!
//! `TESAIOT_OUTBOX_KILLS` says how many times.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;

/// Set for the child, to the directory of its outbox; with it the name of its run and its first number.
const DIRECTORY: &str = "TESAIOT_OUTBOX_CHILD";

/// A small bound, so that a child thins and drops as well; those that go are told.
fn child_options() -> Options {
    Options { max_bytes: 256 << 10, ..options(0, WhenFull::Thin { keep_every: 2 }) }
}

/// Works until it is killed; does nothing elsewhere.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let run: u64 = std::env::var("TESAIOT_OUTBOX_RUN").unwrap().parse().unwrap();
    let mut outbox =
        Outbox::open(Path::new(&directory), child_options(), &format!("run-{run}"), Instant::now()).unwrap();
    outbox.rewind();
    let mut seq = 0;
    // A line is written with one call: a parent that read it knows that it happened.
    let say = |line: String| {
        use std::io::Write;
        let _ = std::io::stdout().write_all(line.as_bytes());
    };
    loop {
        for _ in 0..20 {
            seq += 1;
            assert!(append(&mut outbox, seq));
            say(format!("appended {run} {seq}\n"));
        }
        let given: Vec<Entry> = std::iter::from_fn(|| outbox.next(Instant::now())).take(16).collect();
        for entry in given {
            check(&entry);
            say(format!("confirmed {} {}\n", entry.boot, entry.seq));
            outbox.confirm(entry.ticket);
        }
        outbox.maintain(Instant::now());
        if seq % 200 == 0 {
            outbox.rewind();
        }
    }
}

#[test]
fn nothing_appended_is_lost_by_kill_9() {
    let rounds: u64 = std::env::var("TESAIOT_OUTBOX_KILLS").map_or(20, |text| text.parse().expect("a number"));
    let place = scratch();
    let mut moments = tesaiot_device::random::Random::from_system();
    let (mut appended, mut confirmed) = (BTreeSet::new(), BTreeSet::new());
    for run in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "outbox::kill9::child", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, place.path())
            .env("TESAIOT_OUTBOX_RUN", run.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // It works; then any moment.
        let mut first = lines.by_ref().map_while(Result::ok).filter(|line| line.contains("appended")).take(1);
        note(&first.next().expect("it works"), &mut appended, &mut confirmed);
        drop(first);
        let killer = std::thread::spawn({
            let wait = Duration::from_micros(moments.bits() % 30_000);
            move || {
                std::thread::sleep(wait);
                child.kill().unwrap();
                child.wait().unwrap();
            }
        });
        for line in lines.map_while(Result::ok) {
            note(&line, &mut appended, &mut confirmed);
        }
        killer.join().unwrap();
    }
    let mut outbox = Outbox::open(place.path(), child_options(), "last", Instant::now()).unwrap();
    let lost: u64 = outbox.status().lost_in_all();
    let losses = outbox.losses().to_vec();
    let mut there = BTreeSet::new();
    loop {
        let given = if there.is_empty() { drain(&mut outbox) } else { rest(&mut outbox) };
        if given.is_empty() {
            break;
        }
        for entry in given {
            assert!(there.insert((entry.boot.to_string(), entry.seq)), "{} {} comes twice", entry.boot, entry.seq);
            outbox.confirm(entry.ticket);
        }
    }
    let is_told = |boot: &str, seq: u64| {
        losses.iter().any(|loss| {
            (&*loss.boot == boot || loss.boot.is_empty()) && (loss.first_seq..=loss.last_seq).contains(&seq)
        })
    };
    let missing: Vec<_> = appended
        .iter()
        .filter(|message| !there.contains(*message) && !confirmed.contains(*message))
        .filter(|(boot, seq)| !is_told(boot, *seq))
        .collect();
    assert!(missing.is_empty(), "{} are missing: {:?}", missing.len(), &missing[..missing.len().min(20)]);
    let gone = appended.iter().filter(|message| !there.contains(*message) && !confirmed.contains(*message)).count();
    assert!(gone as u64 <= lost, "{gone} are gone and {lost} were counted as lost");
    println!(
        "{rounds} kills: {} appended, {} confirmed, {} still there, {lost} given up by policy and told, 0 lost",
        appended.len(),
        confirmed.len(),
        there.len()
    );
}

fn note(line: &str, appended: &mut BTreeSet<(String, u64)>, confirmed: &mut BTreeSet<(String, u64)>) {
    // The first line of a child has the test runner's own words before it.
    let Some(start) = line.find("appended ").or_else(|| line.find("confirmed ")) else { return };
    let words: Vec<&str> = line[start..].split(' ').collect();
    let [word, boot, seq] = words[..] else { return };
    let seq = seq.parse().expect("a number");
    match word {
        "appended" => appended.insert((format!("run-{boot}"), seq)),
        _ => confirmed.insert((boot.to_owned(), seq)),
    };
}
