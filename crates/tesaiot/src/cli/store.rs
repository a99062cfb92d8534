//! `tesaiot store`: the telemetry store of this machine's platform, looked at and cared for from outside.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tesaiot_store::Telemetry;
use tesaiot_store::telemetry::{Inspection, Options, Retention, Statistics};

use super::data_directory;
use super::progress::Meter;
use crate::{exit, output};

/// Check, measure and compact the telemetry store of this machine's platform.
#[derive(Args)]
#[command(after_help = HELP, arg_required_else_help = true)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Read everything once and say what is damaged; the platform may be running
    #[command(after_help = CODES)]
    Check(Place),
    /// Count what is stored, and what it takes; the platform may be running
    #[command(after_help = CODES)]
    Stats(Place),
    /// Seal what is open, merge what came late and give unused space back; the platform must not be running
    #[command(after_help = CODES)]
    Compact(Place),
}

/// Which store.
#[derive(Args)]
struct Place {
    /// The platform's data directory [default: the user's data directory]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
Examples:
  tesaiot store check
  tesaiot store stats --data-dir /srv/tesaiot --json
  tesaiot store compact

Exit codes: see each command";

const CODES: &str = "\
Exit codes:
  0  done; check: everything is sound
  1  unexpected failure
  2  wrong command line
  3  the store is missing, unreadable, damaged or in use";

impl StoreArgs {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::Check(place) => check(&place),
            Verb::Stats(place) => stats(&place).map(|()| exit::code(exit::OK)),
            Verb::Compact(place) => compact(&place).map(|()| exit::code(exit::OK)),
        }
    }
}

impl Place {
    fn database(&self) -> anyhow::Result<PathBuf> {
        let directory = self.data_dir.clone().or_else(data_directory);
        let directory = directory.ok_or_else(|| anyhow!("this user has no data directory: choose one with --data-dir"));
        Ok(directory?.join("telemetry.db"))
    }
}

fn check(place: &Place) -> anyhow::Result<ExitCode> {
    let mut meter = Meter::new();
    let report = Inspection::open(&place.database()?)?.check(&mut |progress| meter.show(progress))?;
    drop(meter);
    let findings = report.corruptions.iter().map(|found| json!({"what": found.what, "reason": found.reason}));
    if place.json {
        output::json(&json!({
            "sound": report.is_sound(),
            "chunks": report.chunks,
            "sealed_samples": report.sealed_samples,
            "tail_batches": report.batches,
            "messages": report.messages,
            "dead_letters": report.dead_letters,
            "findings": findings.collect::<Vec<_>>(),
        }))?;
    } else {
        for found in &report.corruptions {
            output::line(output::plain(&format!("{}: {}", found.what, found.reason)))?;
        }
        output::say(format_args!(
            "{} chunks with {} samples, {} batches, {} messages, {} dead letters: {}",
            report.chunks,
            report.sealed_samples,
            report.batches,
            report.messages,
            report.dead_letters,
            if report.is_sound() { "all sound" } else { "damaged as listed; everything else is served" },
        ));
    }
    Ok(exit::code(if report.is_sound() { exit::OK } else { exit::FILE }))
}

fn stats(place: &Place) -> anyhow::Result<()> {
    let statistics = Inspection::open(&place.database()?)?.statistics()?;
    if place.json {
        return output::json(&described(&statistics));
    }
    let Statistics { sealed_values, chunk_bytes, .. } = statistics;
    let per_value = if sealed_values == 0 {
        String::new()
    } else {
        format!(", {:.2} bytes a value", chunk_bytes as f64 / sealed_values as f64)
    };
    let span = match (statistics.first_time, statistics.last_time) {
        (Some(first), Some(last)) => format!("{first} to {last}"),
        _ => "nothing yet".to_owned(),
    };
    let rows = [
        (
            "Sealed",
            format!("{} samples, {sealed_values} values of {} devices", statistics.sealed_samples, statistics.devices),
        ),
        ("Chunks", format!("{}, {chunk_bytes} bytes{per_value}", statistics.chunks)),
        ("Times", span),
        ("Tail", format!("{} commits, {} bytes", statistics.tail_batches, statistics.tail_bytes)),
        ("Messages", statistics.messages.to_string()),
        ("Dead letters", format!("{}, {} dropped", statistics.dead_letters, statistics.dead_letters_dropped)),
        ("Quarantined", format!("{} commits", statistics.quarantined_batches)),
        ("File", format!("{} bytes, {} of them unused", statistics.file_bytes, statistics.free_bytes)),
        ("Log", format!("{} bytes", statistics.log_bytes)),
    ];
    for (name, value) in rows {
        output::line(format_args!("{name:<13} {value}"))?;
    }
    Ok(())
}

fn described(statistics: &Statistics) -> Value {
    json!({
        "format": statistics.format,
        "file_bytes": statistics.file_bytes,
        "log_bytes": statistics.log_bytes,
        "free_bytes": statistics.free_bytes,
        "devices": statistics.devices,
        "sealed_samples": statistics.sealed_samples,
        "sealed_values": statistics.sealed_values,
        "chunks": statistics.chunks,
        "chunk_bytes": statistics.chunk_bytes,
        "first_time": statistics.first_time.map(|time| time.to_string()),
        "last_time": statistics.last_time.map(|time| time.to_string()),
        "tail_batches": statistics.tail_batches,
        "tail_bytes": statistics.tail_bytes,
        "messages": statistics.messages,
        "dead_letters": statistics.dead_letters,
        "dead_letters_dropped": statistics.dead_letters_dropped,
        "quarantined_batches": statistics.quarantined_batches,
    })
}

fn compact(place: &Place) -> anyhow::Result<()> {
    let path = place.database()?;
    // Opening makes a store where there is none, which is not what was asked for.
    let before = Inspection::open(&path)?.statistics()?;
    // What is kept for how long is the platform's to say: here nothing is dropped.
    let (most, forever) = (u64::MAX, Retention::default());
    let options = Options {
        dead_letters: most,
        dead_letter_bytes: most,
        messages: most,
        message_age: None,
        retention: forever,
        retention_rules: Vec::new(),
        maximum_bytes: None,
        ..Options::default()
    };
    let (telemetry, mut appender) = Telemetry::open(&path, options)?;
    appender.seal_all()?;
    while appender.maintain()?.more {}
    appender.vacuum()?;
    appender.close()?;
    drop(telemetry);
    let after = Inspection::open(&path)?.statistics()?;
    let bytes = |statistics: &Statistics| statistics.file_bytes + statistics.log_bytes;
    if place.json {
        return output::json(&json!({"bytes_before": bytes(&before), "bytes_after": bytes(&after)}));
    }
    output::say(format_args!("{} bytes before, {} now.", bytes(&before), bytes(&after)));
    Ok(())
}
