//! Files that end too early.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};

use tesaiot_store::telemetry::Options;
use tesaiot_store::{StoreError, Telemetry};

use super::scene::{Fate, closed, device, fill, fresh_copy, judge, sample, served};

const PAGE: u64 = 4096;

/// Around every boundary that means something in a file of pages, and between.
fn cuts(length: u64, header: u64, unit: u64) -> Vec<u64> {
    let mut cuts = vec![0, 1, 15, 16, 28, 99, 100, 101];
    for start in (header..=length).step_by(usize::try_from(unit).unwrap()) {
        cuts.extend([start.saturating_sub(1), start, start + 1, start + 24, start + unit / 2]);
    }
    cuts.retain(|cut| *cut < length);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

#[test]
fn a_database_file_cut_at_any_place_is_refused_or_what_it_lost_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let (path, truth) = closed(directory.path());
    let copied = directory.path().join("copy.db");
    let mut fates: BTreeMap<Fate, usize> = BTreeMap::new();
    for cut in cuts(fs::metadata(&path).unwrap().len(), 0, PAGE) {
        fresh_copy(&path, &copied);
        OpenOptions::new().write(true).open(&copied).unwrap().set_len(cut).unwrap();
        *fates.entry(judge(&copied, &truth, &format!("cut at {cut}"))).or_default() += 1;
    }
    println!("{fates:?}");
}

#[test]
fn a_database_file_cut_under_its_log_is_refused_or_what_it_lost_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    drop(closed(directory.path()));
    let (telemetry, mut appender) = Telemetry::open(&path, Options::default()).unwrap();
    appender.append(&[sample(0, 1000), sample(1, 1000)]).unwrap();
    let truth = served(&telemetry).unwrap();
    let crashed = directory.path().join("crashed.db");
    fresh_copy(&path, &crashed);
    drop((telemetry, appender));
    let copied = directory.path().join("copy.db");
    let mut fates: BTreeMap<Fate, usize> = BTreeMap::new();
    for cut in cuts(fs::metadata(&crashed).unwrap().len(), 0, PAGE) {
        fresh_copy(&crashed, &copied);
        OpenOptions::new().write(true).open(&copied).unwrap().set_len(cut).unwrap();
        *fates.entry(judge(&copied, &truth, &format!("cut at {cut}"))).or_default() += 1;
    }
    println!("{fates:?}");
}

/// SQLite cannot tell a log that was cut from one that was never longer. What is left is a whole number of commits from
/// the first on, and nothing is there in part.
#[test]
fn a_log_cut_at_any_place_keeps_whole_commits_from_the_first_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let options = Options { chunk_samples: 7, ..Options::default() };
    let (telemetry, mut appender) = Telemetry::open(&path, options).unwrap();
    for seq in 0..12 {
        appender
            .append(&[sample(0, seq), sample(1, seq), super::scene::message(0, seq), super::scene::letter(1, seq)])
            .unwrap();
        appender.maintain().unwrap();
    }
    let crashed = directory.path().join("crashed.db");
    fresh_copy(&path, &crashed);
    drop((telemetry, appender));
    let log = |path: &std::path::Path| path.with_extension("db-wal");
    let copied = directory.path().join("copy.db");
    let mut most = 0;
    for cut in cuts(fs::metadata(log(&crashed)).unwrap().len(), 32, PAGE + 24) {
        fresh_copy(&crashed, &copied);
        OpenOptions::new().write(true).open(log(&copied)).unwrap().set_len(cut).unwrap();
        let (telemetry, _appender) = Telemetry::open(&copied, Options::default()).unwrap();
        let commits = telemetry.counts().messages;
        let counts = telemetry.counts();
        assert_eq!((counts.samples, counts.dead_letters), (2 * commits, commits), "cut at {cut}");
        for number in 0..2 {
            let points = telemetry.range(&device(number), &Default::default()).unwrap();
            assert_eq!(points.len() as u64, 3 * commits, "cut at {cut}");
        }
        assert!(commits >= most, "a longer log has no fewer commits; cut at {cut}");
        most = commits;
        assert!(telemetry.check().unwrap().is_sound(), "cut at {cut}");
    }
    assert!(most >= 11, "{most}");
}

#[test]
fn a_store_whose_file_was_emptied_or_removed_is_not_taken_for_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("telemetry.db");
    let (telemetry, mut appender) = Telemetry::open(&path, Options::default()).unwrap();
    fill(&telemetry, &mut appender);
    appender.close().unwrap();
    drop(telemetry);
    let refused = || {
        let error = Telemetry::open(&path, Options::default()).unwrap_err();
        assert!(matches!(error, StoreError::Emptied { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains(".lock"));
    };
    fs::write(&path, []).unwrap();
    refused();
    fs::remove_file(&path).unwrap();
    refused();
    assert!(!path.exists(), "nothing was made in its place");
    // What the hint says is enough.
    fs::remove_file(directory.path().join("telemetry.db.lock")).unwrap();
    Telemetry::open(&path, Options::default()).unwrap();
}
