//! `GET /metrics`: what happens, in numbers, for Prometheus.
//!
//! Text format 0.0.4 (<https://prometheus.io/docs/instrumenting/exposition_formats/>), written here: it is a dozen
//! lines, and every number exists already.

mod exposition;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State as Extract;
use axum::http::header;
use axum::response::IntoResponse;
use tesaiot_broker::Snapshot;
use tesaiot_store::StoreError;
use tesaiot_store::telemetry::Counts;

use super::caller::Caller;
use super::problem::Problem;
use super::{EXPORTS, LIVE_FEEDS, State, blocking};
use exposition::{Exposition, Kind};

/// Files whose size is told, by the name that is told.
pub(crate) type Files = Arc<[(&'static str, PathBuf)]>;

/// `GET /metrics`: for whoever may look. The token of a viewer is enough, and is all a scraper should have.
pub(super) async fn metrics(Extract(state): Extract<State>, caller: Caller) -> Result<impl IntoResponse, Problem> {
    caller.viewer()?;
    let mut page = Exposition::default();
    page.family("tesaiot_build_info", Kind::Gauge, "The version that runs.");
    page.sample("tesaiot_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    broker(&mut page, &state.provisioning.broker.counters());
    ingest(&mut page, &state);
    store(&mut page, &state.telemetry.counts());
    let files = Arc::clone(&state.files);
    let sizes = blocking(move || Ok::<_, StoreError>(sizes(&files))).await?;
    page.family("tesaiot_file_bytes", Kind::Gauge, "Size of a database file.");
    for (file, bytes) in sizes {
        page.sample("tesaiot_file_bytes", &[("file", file)], bytes as f64);
    }
    page.family("tesaiot_refusals_total", Kind::Counter, "What was refused, by kind: logins, topics, payloads.");
    for (kind, count) in state.incidents.counted() {
        page.sample("tesaiot_refusals_total", &[("kind", kind)], count as f64);
    }
    let online = state.presence.online() as f64;
    page.one("tesaiot_devices_online", Kind::Gauge, "Devices that are here, or were a moment ago.", online);
    let meaning = "How often a device came online, or went offline.";
    page.family("tesaiot_presence_changes_total", Kind::Counter, meaning);
    for (to, count) in state.presence.changes() {
        page.sample("tesaiot_presence_changes_total", &[("to", to)], count as f64);
    }
    let taken = |places: usize, free: usize| places.saturating_sub(free) as f64;
    page.one(
        "tesaiot_exports",
        Kind::Gauge,
        "Exports that are being read.",
        taken(EXPORTS, state.exports.available_permits()),
    );
    page.one(
        "tesaiot_live_feeds",
        Kind::Gauge,
        "Live feeds that are open.",
        taken(LIVE_FEEDS, state.feeds.available_permits()),
    );
    if let Some(bytes) = resident_bytes() {
        page.one("process_resident_memory_bytes", Kind::Gauge, "Resident memory size in bytes.", bytes as f64);
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.into_text()))
}

/// Every counter of the broker; those of dropped messages as one, by cause.
fn broker(page: &mut Exposition, counters: &Snapshot) {
    const DROPPED: &str = "tesaiot_mqtt_messages_dropped_total";
    let mut dropped = Vec::new();
    for ((name, value), meaning) in counters.entries().into_iter().zip(Snapshot::meanings()) {
        if let Some(cause) = name.strip_prefix("dropped_") {
            dropped.push((cause, value));
        } else if name == "messages_expired" {
            dropped.push(("expired", value));
        } else if name == "connections" {
            page.one("tesaiot_mqtt_connections", Kind::Gauge, meaning, value as f64);
        } else if name != "messages_dropped" {
            // Without a gauge of the same name beside it: newer formats take both for one family.
            let name = if name == "connections_total" { "connections_accepted" } else { name };
            page.one(&format!("tesaiot_mqtt_{name}_total"), Kind::Counter, meaning, value as f64);
        }
    }
    page.family(DROPPED, Kind::Counter, "Messages for subscribers that were not sent, by cause.");
    for (cause, value) in dropped {
        page.sample(DROPPED, &[("cause", cause)], value as f64);
    }
}

fn ingest(page: &mut Exposition, state: &State) {
    let counters = state.ingest.counters();
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let storing = f64::from(u8::from(state.ingest.is_storing()));
    page.one("tesaiot_storing", Kind::Gauge, "1 while messages are being stored, 0 while the store cannot.", storing);
    let pending = read(&counters.pending);
    page.one("tesaiot_acknowledgements_pending", Kind::Gauge, "Messages whose sender waits for the commit.", pending);
    for (name, meaning, counter) in [
        ("messages", "Messages committed.", &counters.messages),
        ("values", "Metric values stored.", &counters.values),
        ("duplicates", "Samples that were stored already.", &counters.duplicates),
        ("dead_letters", "Messages that were not understood.", &counters.dead_letters),
        ("commits", "Commits that succeeded.", &counters.commits),
        ("failed_commits", "Commits that failed, and were tried again.", &counters.failed_commits),
    ] {
        page.one(&format!("tesaiot_ingest_{name}_total"), Kind::Counter, meaning, read(counter));
    }
    let meaning = "How long a commit takes.";
    page.histogram("tesaiot_ingest_commit_seconds", meaning, &counters.latency.histogram());
}

fn store(page: &mut Exposition, counts: &Counts) {
    for (name, meaning, value) in [
        ("devices", "Devices that ever stored a sample.", counts.devices),
        ("samples", "Samples stored.", counts.samples),
        ("values", "Metric values stored.", counts.values),
        ("messages", "Events, status and responses stored.", counts.messages),
        ("dead_letters", "Dead letters kept.", counts.dead_letters),
        ("chunks", "Chunks.", counts.chunks),
        ("chunk_bytes", "Bytes of all chunks.", counts.chunk_bytes),
        ("tail_batches", "Batches that are not sealed yet.", counts.tail_batches),
        ("tail_bytes", "Bytes of these batches.", counts.tail_bytes),
        ("open_samples", "Samples in memory that are not sealed yet.", counts.open_samples),
        ("open_bytes", "Estimated bytes of memory of these samples.", counts.open_bytes),
    ] {
        page.one(&format!("tesaiot_store_{name}"), Kind::Gauge, meaning, value as f64);
    }
    for (name, meaning, value) in [
        ("dead_letters_dropped", "Dead letters dropped for newer ones.", counts.dead_letters_dropped),
        ("corrupt_reads", "Reads that passed over something corrupt.", counts.corrupt_chunk_reads),
        ("corrupt_batches", "Batches found corrupt and set aside.", counts.corrupt_batches),
    ] {
        page.one(&format!("tesaiot_store_{name}_total"), Kind::Counter, meaning, value as f64);
    }
}

/// A file that is not there has no size.
fn sizes(files: &[(&'static str, PathBuf)]) -> Vec<(&'static str, u64)> {
    let size = |path: &PathBuf| std::fs::metadata(path).ok().map(|metadata| metadata.len());
    files.iter().filter_map(|(name, path)| Some((*name, size(path)?))).collect()
}

/// Of this process, where the system tells (Linux).
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
