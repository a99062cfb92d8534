//! How the agent of this device is, when one runs here: what waits in its outbox, what it lost, what its disk says.
//!
//! It is asked before the examination connects: after that it has lost its connection, to us.

use super::examination::Examination;
use super::{Examining, Finding};

pub(super) fn check(examination: &mut Examination) -> Examining<'_> {
    Box::pin(async move { look(examination) })
}

#[cfg(unix)]
fn look(examination: &Examination) -> Finding {
    let Ok(settings) = &examination.settings else { return Finding::needs("bundle files") };
    let device = settings.bundle.device_id.as_str();
    let its_own = |directory: &&std::path::PathBuf| directory.file_name().is_some_and(|name| name == device);
    let mut running = examination.order.agents.iter().filter(its_own).filter_map(|own| crate::agent::ask(own).ok());
    match running.next() {
        Some(status) => judge(&status),
        None => Finding::skipped("no agent of this device runs here"),
    }
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
