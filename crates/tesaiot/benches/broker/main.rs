//! The broker beside mosquitto, from outside: whole processes, real TLS, one load generator for both.
//!
//! `cargo xtask bench broker [NAME…]` builds what it needs and prints every figure with its goal. The processor time is
//! that of the server's process. Machines are noisy: both sides of a comparison take turns in one run, and the ratio
//! of their medians is what counts.

#![expect(clippy::print_stdout, reason = "it prints figures")]

mod bare;
mod connections;
mod fan_out;
mod figure;
mod load;
#[path = "../spine/machine.rs"]
mod machine;
#[path = "../spine/platform.rs"]
mod platform;
mod process;
mod revocation;
mod server;
mod stalled;
mod throughput;

use std::path::Path;

use anyhow::{Result, bail};
use tokio::runtime::Runtime;

/// A measurement by its name.
type Measurement = (&'static str, fn(&Runtime, &Path) -> Result<()>);

const MEASUREMENTS: [Measurement; 9] = [
    ("stored", throughput::stored),
    ("window-1", throughput::one_at_a_time),
    ("subscriber", throughput::with_subscriber),
    ("held", throughput::held),
    ("fan-out", fan_out::run),
    ("idle", connections::idle),
    ("handshakes", connections::handshakes),
    ("revocation", revocation::run),
    ("stalled", stalled::run),
];

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    process::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let [word, certificate, key] = &words[..]
        && word == bare::WORD
    {
        return runtime.block_on(bare::accept(Path::new(certificate), Path::new(key)));
    }
    if let Some(unknown) = words.iter().find(|word| MEASUREMENTS.iter().all(|(name, _)| name != word)) {
        bail!("no measurement '{unknown}'; there are: {}", MEASUREMENTS.map(|(name, _)| name).join(", "));
    }
    println!("{}", machine::line());
    let directory = tempfile::tempdir()?;
    for (name, measure) in MEASUREMENTS {
        if words.is_empty() || words.iter().any(|word| word == name) {
            let directory = directory.path().join(name);
            std::fs::create_dir(&directory)?;
            measure(&runtime, &directory)?;
        }
    }
    Ok(())
}
