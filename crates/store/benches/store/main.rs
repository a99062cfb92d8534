//! The telemetry store against the same data in SQLite rows, PostgreSQL and TimescaleDB, every commit on the disk.
//!
//! `cargo xtask bench store` installs what it needs and prints every figure. Absolute figures move with the machine;
//! the stores take turns in one run, so that their ratios can be trusted more.
//!
//! Words after it are the stores that take part, all when there are none; `alone` is ours without the comparison.
//!
//! The other stores get the leanest form of the data: a number for the series, a time and a value. Ours keeps what it
//! always keeps: also the unit, the receive time and the number of each message, for exactly-once storage.

#![expect(clippy::print_stdout, reason = "it prints figures")]
#![expect(clippy::print_stderr, reason = "it says what it is doing")]

mod alone;
mod data;
mod engine;
mod figures;
mod measure;
mod ours;
mod postgres;
mod server;
mod sqlite;
mod year;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use data::Kind;
use engine::Engine;
use figures::Times;
use measure::Store;
use ours::Ours;
use postgres::Postgres;
use server::Installation;
use sqlite::Sqlite;

/// Where the programs of PostgreSQL are; set by `cargo xtask bench store`.
const POSTGRES: &str = "TESAIOT_BENCH_POSTGRES";
/// The folder with a Debian that has TimescaleDB; set by the same.
const TIMESCALE: &str = "TESAIOT_BENCH_TIMESCALE";

/// The word with which only the figures are measured that have no counterpart in the other stores.
const ALONE: &str = "alone";

/// As in the platform.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if words.first().is_some_and(|word| word == alone::MEMORY) {
        return alone::memory();
    }
    println!("{}", machine());
    // Not in the system's folder for temporary files: that may be memory, where nothing is ever synced.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    print_floor(directory.path())?;
    if words.first().is_some_and(|word| word == ALONE) {
        return alone::run(directory.path());
    }
    let mut contenders = contenders(directory.path())?;
    // Names of stores, or how they begin: only these take part. Ours is what they are compared with.
    contenders
        .retain(|contender| words.is_empty() || words.iter().any(|word| contender.name.starts_with(word.as_str())));
    let mut stores = measure::rounded(open(&contenders, Kind::Rounded)?)?;
    let precise = measure::precise(open(&contenders, Kind::FullPrecision)?)?;
    for (store, precise) in stores.iter_mut().zip(precise) {
        store.figures.extend(precise.figures);
    }
    figures::print_table(&stores);
    println!("\n{}", machine());
    print_floor(directory.path())?;
    alone::run(directory.path())
}

/// A store to measure: opened new for each of the two kinds of data.
struct Contender {
    name: String,
    open: Box<dyn Fn(Kind) -> Result<Box<dyn Engine>>>,
}

/// New, empty stores for one kind of data.
fn open(contenders: &[Contender], kind: Kind) -> Result<Vec<Store>> {
    let open = |contender: &Contender| {
        let engine = (contender.open)(kind).with_context(|| format!("{} cannot be opened", contender.name))?;
        Ok(Store::new(contender.name.clone(), engine, kind))
    };
    contenders.iter().map(open).collect()
}

/// Every store that can be had here; the others are named with the reason.
fn contenders(directory: &Path) -> Result<Vec<Contender>> {
    let (ours, rows) = (directory.to_owned(), directory.to_owned());
    let mut contenders = vec![
        Contender {
            name: "tesaiot".to_owned(),
            open: Box::new(move |kind| Ok(Box::new(Ours::open(&folder(&ours, "ours", kind)?, kind)?))),
        },
        Contender {
            name: "SQLite rows".to_owned(),
            open: Box::new(move |kind| Ok(Box::new(Sqlite::open(&folder(&rows, "rows", kind)?)?))),
        },
    ];
    let parent = directory.to_owned();
    match std::env::var_os(POSTGRES).map(PathBuf::from) {
        Some(programs) => contenders.push(Contender {
            name: "PostgreSQL".to_owned(),
            open: Box::new(move |_| {
                let installation = Installation { root: "/".into(), programs: programs.clone(), settings: "" };
                Ok(Box::new(Postgres::start(&installation, &parent, false)?))
            }),
        }),
        None => println!("PostgreSQL: skipped, {POSTGRES} names no installation"),
    }
    match std::env::var_os(TIMESCALE).map(PathBuf::from) {
        Some(root) => contenders.push(Contender {
            name: "TimescaleDB".to_owned(),
            open: Box::new(move |_| {
                let installation = Installation {
                    root: root.clone(),
                    programs: "/usr/lib/postgresql/17/bin".into(),
                    settings: "shared_preload_libraries = 'timescaledb'\ntimescaledb.telemetry_level = off\n",
                };
                Ok(Box::new(Postgres::start(&installation, &root.join("srv"), true)?))
            }),
        }),
        None => println!("TimescaleDB: skipped, {TIMESCALE} names no folder"),
    }
    Ok(contenders)
}

/// A new folder for a store.
fn folder(parent: &Path, name: &str, kind: Kind) -> Result<PathBuf> {
    let folder = parent.join(format!("{name}-{kind:?}"));
    fs::create_dir(&folder).with_context(|| format!("no folder {}", folder.display()))?;
    Ok(folder)
}

/// What the disk asks for a commit: the floor under every latency here, and it moves with what else the disk does.
fn print_floor(directory: &Path) -> Result<()> {
    let mut file = fs::File::create(directory.join("synced"))?;
    let mut times = Times::default();
    for _ in 0..200 {
        let started = Instant::now();
        file.write_all(&[1; 16 << 10])?;
        file.sync_data()?;
        times.push(started.elapsed());
    }
    println!("16 KiB written and synced: median {:.2} ms, p99 {:.2} ms", times.at(0.5), times.at(0.99));
    Ok(())
}

/// What the figures are measured on.
fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{cores} cores,{}, load {load}", model.trim_start_matches([' ', '\t', ':']))
}
