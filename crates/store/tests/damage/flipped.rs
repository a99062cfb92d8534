//! One bit flips, in a page of every kind.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use super::scene::{Fate, closed, fresh_copy, judge};

/// Flips in each page; `TESAIOT_FLIPS` asks for more.
const FLIPS: u64 = 6;
const PAGE: u64 = 4096;

#[test]
fn a_bit_that_flips_in_any_kind_of_page_serves_nothing_wrong_and_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let (path, truth) = closed(directory.path());
    let copied = directory.path().join("copy.db");
    let kinds = kinds_of_pages(&path);
    for needed in [
        "tail",
        "chunk",
        "chunk_by_time",
        "chunk_long",
        "device",
        "message",
        "message_of_device",
        "dead_letter",
        "rollup",
    ] {
        assert!(kinds.values().any(|kind| kind == needed), "{needed} of {kinds:?}");
    }
    assert!(kinds.values().any(|kind| kind == "sqlite_schema") && kinds.values().any(|kind| kind == "unused"));
    let flips = std::env::var("TESAIOT_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(FLIPS);
    let mut fates: BTreeMap<(&str, Fate), usize> = BTreeMap::new();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for (page, kind) in &kinds {
        for flip in 0..flips {
            // A different place for every flip; the page's own header as often as not.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let within = if flip % 3 == 0 { random % 128 } else { random % PAGE };
            let (place, bit) = ((page - 1) * PAGE + within, 1_u8 << (random >> 32 & 7));
            fresh_copy(&path, &copied);
            let file = OpenOptions::new().read(true).write(true).open(&copied).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, place).unwrap();
            file.write_all_at(&[byte[0] ^ bit], place).unwrap();
            drop(file);
            let fate = judge(&copied, &truth, &format!("{kind}, page {page}, byte {within}, bit {bit:#04x}"));
            *fates.entry((kind, fate)).or_default() += 1;
        }
    }
    for ((kind, fate), count) in &fates {
        println!("{kind:<28} {fate:<9?} {count}", fate = fate);
    }
    assert!(fates.keys().any(|(_, fate)| *fate == Fate::Reported), "some damage must have hit something");
}

/// The name of the table or index of every page.
fn kinds_of_pages(path: &std::path::Path) -> BTreeMap<u64, String> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut statement = connection.prepare("SELECT pageno, name FROM dbstat").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?))).unwrap();
    let mut kinds: BTreeMap<u64, String> = rows.map(Result::unwrap).collect();
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    for page in 1..=pages.unsigned_abs() {
        kinds.entry(page).or_insert_with(|| "unused".to_owned());
    }
    kinds
}
