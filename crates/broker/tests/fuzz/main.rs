//! The bodies of the fuzz targets (`fuzz/`), over their corpus and mutations of it.
//!
//! libFuzzer looks further, and needs its own build (`cargo xtask fuzz`); this runs wherever the tests do. The mutations
//! are the same in every run: `FUZZ_SEED` makes others, `FUZZ_ROUNDS` (default 3000) more of them. What fails is written to
//! the temporary directory, and its path is said.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "../../../../fuzz/bodies/connection.rs"]
mod connection;
#[path = "../../../../fuzz/bodies/framing.rs"]
mod framing;
#[path = "../../../../fuzz/bodies/topics.rs"]
mod topics;

use std::panic::{RefUnwindSafe, catch_unwind};
use std::path::Path;

/// Longest input.
const LONGEST: usize = 2048;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Xorshift: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

/// A change or a few of the kinds that libFuzzer makes.
fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(input.len());
        match random.below(8) {
            _ if input.is_empty() => input.push(random.below(256) as u8),
            0 => input[at] = random.below(256) as u8,
            1 => input[at] ^= 1 << random.below(8),
            2 => input.truncate(at),
            3 => input.insert(at, [0, 1, 0x7f, 0x80, 0xff][random.below(5)]),
            4 => drop(input.remove(at)),
            5 => {
                let end = at + random.below(input.len() - at);
                let copy = input[at..end].to_vec();
                let to = random.below(input.len());
                drop(input.splice(to..to, copy));
            }
            6 => {
                let other = &corpus[random.below(corpus.len())];
                input.truncate(at);
                input.extend(&other[random.below(other.len())..]);
            }
            _ => {
                let other = &corpus[random.below(corpus.len())];
                input.extend(other.iter().skip(1));
            }
        }
        input.truncate(LONGEST);
    }
}

fn drive(name: &str, body: impl Fn(&[u8]) + RefUnwindSafe) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(corpus.len() >= 3, "a corpus");
    let check = |input: &[u8]| {
        if catch_unwind(|| body(input)).is_err() {
            let path = std::env::temp_dir().join(format!("fuzz-{name}-{}", std::process::id()));
            std::fs::write(&path, input).unwrap();
            panic!("it fails on {}", path.display());
        }
    };
    corpus.iter().for_each(|input| check(input));
    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ number("FUZZ_SEED", 0));
    for _ in 0..number("FUZZ_ROUNDS", 3000) {
        let mut input = corpus[random.below(corpus.len())].clone();
        mutate(&mut input, &corpus, &mut random);
        check(&input);
    }
}

#[test]
fn connection_holds() {
    drive("connection", connection::run);
}

#[test]
fn framing_holds() {
    drive("framing", framing::run);
}

#[test]
fn topics_hold() {
    drive("topics", topics::run);
}
