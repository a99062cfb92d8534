//! How the agent of this device is, when one runs here: what waits in its outbox, what it lost, what its disk says.
//!
//! It is asked before the examination connects: after that it has lost its connection, to us.

#[cfg(unix)]
use std::path::{Path, PathBuf};

#[cfg(unix)]
use super::Blame;
use super::examination::Examination;
use super::{Examining, Finding};
#[cfg(unix)]
use crate::outbox;

/// Bytes that a disk should have left: those of an outbox of the usual size.
#[cfg(unix)]
const LEAST_FREE: u64 = 64 << 20;

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(async move { look(examination) })
}

#[cfg(unix)]
fn look(examination: &Examination) -> Finding {
    let Ok(settings) = &examination.settings else { return Finding::needs("bundle files") };
    let device = settings.bundle.device_id.as_str();
    let order = &examination.order;
    let its_own = |directory: &&PathBuf| directory.file_name().is_some_and(|name| name == device);
    let directories: Vec<&PathBuf> = match &order.data_directory {
        Some(directory) => vec![directory],
        None => order.agents.iter().filter(its_own).collect(),
    };
    let mut running = directories.iter().filter_map(|own| crate::agent::ask(own).ok());
    if let Some(status) = running.next() {
        return judge(&status);
    }
    if order.config.is_none() && order.data_directory.is_none() {
        return Finding::skipped("no agent of this device runs here");
    }
    match directories.into_iter().find(|directory| directory.join("outbox").is_dir()) {
        Some(directory) => lying(&directory.join("outbox")),
        None if order.data_directory.is_some() => {
            Finding::skipped("no agent runs with this data directory, and it has no outbox yet")
        }
        None => Finding::skipped("no agent of this device runs here"),
    }
}

/// An outbox that nobody works with: what waits in it, and whether its disk will take more.
#[cfg(unix)]
fn lying(directory: &Path) -> Finding {
    let shown = directory.display();
    let seen = match outbox::inspect(directory) {
        Ok(seen) => seen,
        Err(error) => {
            let hint = "check who may read the data directory of the agent";
            return Finding::failed(Blame::Files, format!("{shown} cannot be read: {error}"), hint);
        }
    };
    let free = rustix::fs::statvfs(directory).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    let mut evidence = format!("no agent runs; {} samples in {} bytes at {shown}", seen.messages, seen.bytes);
    if let Some(oldest) = seen.oldest {
        evidence += &format!(", the oldest of {oldest:.0}");
    }
    if let Ok(free) = free {
        evidence += &format!("; {} MB free", free / 1_000_000);
    }
    if rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_err() {
        let hint = "give the agent's user the right to write its data directory";
        return Finding::failed(Blame::Files, format!("{evidence}; it may not be written"), hint);
    }
    if seen.damaged > 0 {
        let evidence =
            format!("{evidence}; {} damaged segments, {} samples cannot be read", seen.damaged, seen.missing);
        return Finding::warned(evidence, "see to the disk; the agent sends what can be read and tells what was lost");
    }
    if free.is_ok_and(|free| free < LEAST_FREE) {
        return Finding::warned(evidence, "make room: samples that the disk does not take are kept in memory alone");
    }
    Finding::passed(evidence)
}

#[cfg(not(unix))]
fn look(_: &Examination) -> Finding {
    Finding::skipped("there is no agent for this system")
}

#[cfg(unix)]
fn judge(status: &crate::agent::AgentStatus) -> Finding {
    let lost: u64 = status.lost.values().sum();
    let (bytes, limit) = (status.outbox_bytes, status.outbox_limit_bytes);
    let evidence = format!(
        "an agent runs: {} samples wait, {bytes} of {limit} bytes used, {} delivered, {lost} lost",
        status.waiting, status.delivered_in_all
    );
    if let Some(trouble) = &status.disk_trouble {
        return Finding::warned(
            format!("{evidence}; the disk: {trouble}"),
            "see to the disk of the agent's data directory",
        );
    }
    if limit > 0 && bytes.saturating_mul(10) >= limit.saturating_mul(9) {
        return Finding::warned(evidence, "the outbox is nearly full: see to the connection, or give it more room");
    }
    if lost > 0 {
        return Finding::warned(evidence, "samples were given up before: `tesaiot agent status` says why");
    }
    match (&status.last_error, status.connected) {
        (Some(error), false) => Finding::warned(format!("{evidence}; not connected: {error}"), "see the checks below"),
        (None, false) => Finding::warned(format!("{evidence}; not connected"), "see the checks below"),
        (_, true) => Finding::passed(evidence),
    }
}
