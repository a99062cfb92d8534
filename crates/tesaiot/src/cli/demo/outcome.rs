//! What came of it: what each device sent, what was acknowledged, and what the store has.

use std::fmt::Write;

use serde::Serialize;

use super::clients::Sent;
use crate::cli::client::Client;
use crate::cli::client::error::ClientError;
use crate::output::table::Table;

/// Readings asked for at once; the platform's most.
const PAGE: usize = 100_000;

/// The end of a demo.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// Every sample taken was acknowledged and is stored
    pub(crate) ok: bool,
    seconds: f64,
    devices: Vec<Line>,
    /// What is missing, in words
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Line {
    device_id: String,
    client: &'static str,
    auth: &'static str,
    /// Samples it took
    sampled: u64,
    /// Samples the platform took responsibility for
    acknowledged: u64,
    /// Samples that the store answers with
    stored: u64,
}

impl Outcome {
    /// Asks the store about every device.
    pub(crate) fn ask(client: &Client, sent: Vec<Sent>, seconds: f64) -> anyhow::Result<Self> {
        let mut problems = Vec::new();
        let mut devices = Vec::new();
        if sent.len() < 2 {
            problems.push("a device ended too early".to_owned());
        }
        for sent in sent {
            let line = Line {
                stored: stored(client, &sent)?,
                device_id: sent.device.to_string(),
                client: sent.client,
                auth: match sent.method {
                    tesaiot_device::Method::MutualTls => "mtls",
                    tesaiot_device::Method::ServerTls => "server-tls",
                },
                sampled: sent.sampled,
                acknowledged: sent.acknowledged,
            };
            problems.extend(line.problem(sent.problem.as_deref()));
            devices.push(line);
        }
        Ok(Self { ok: problems.is_empty(), seconds, devices, problems })
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut table = Table::new(["DEVICE", "CLIENT", "AUTH", "SAMPLED", "ACKNOWLEDGED", "STORED"]);
        for line in &self.devices {
            table.row([
                line.device_id.clone(),
                line.client.to_owned(),
                line.auth.to_owned(),
                line.sampled.to_string(),
                line.acknowledged.to_string(),
                line.stored.to_string(),
            ]);
        }
        let mut text = format!("\nAfter {:.1} s:\n{table}", self.seconds);
        // Writing to a String does not fail.
        let _ = match self.ok {
            true => writeln!(text, "Every sample was acknowledged, and is in the store."),
            false => writeln!(text, "Not everything arrived: {}", self.problems.join("; ")),
        };
        text
    }
}

impl Line {
    fn problem(&self, cause: Option<&str>) -> Option<String> {
        let what = if self.acknowledged == 0 {
            "no sample was acknowledged".to_owned()
        } else if self.acknowledged < self.sampled {
            format!("{} of {} samples were not acknowledged", self.sampled - self.acknowledged, self.sampled)
        } else if self.stored < self.acknowledged {
            format!("{} samples were acknowledged and are not stored", self.acknowledged - self.stored)
        } else {
            return None;
        };
        let cause = cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
        Some(format!("{}: {what}{cause}", self.device_id))
    }
}

/// Counts from the newest reading back. Two readings of one device are never of the same moment here, so a page begins
/// where the one before ended.
fn stored(client: &Client, sent: &Sent) -> Result<u64, ClientError> {
    let limit = PAGE.to_string();
    let (mut count, mut to) = (0, None::<String>);
    loop {
        let mut query = vec![("metric", sent.counted_by), ("order", "desc"), ("limit", limit.as_str())];
        query.extend(to.as_deref().map(|to| ("to", to)));
        let page = client.telemetry(&sent.device, &query)?;
        count += page.points.len() as u64;
        match page.points.last() {
            Some(oldest) if page.truncated => to = Some(oldest.time.clone()),
            _ => return Ok(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sampled: u64, acknowledged: u64, stored: u64) -> Line {
        Line { device_id: "pump".into(), client: "agent", auth: "mtls", sampled, acknowledged, stored }
    }

    #[test]
    fn only_what_was_acknowledged_and_stored_is_no_problem() {
        assert_eq!(line(5, 5, 5).problem(None), None);
        assert_eq!(line(5, 5, 6).problem(None), None, "stored, and its acknowledgement lost at the very end");
        assert_eq!(line(0, 0, 0).problem(Some("refused")).unwrap(), "pump: no sample was acknowledged (refused)");
        assert_eq!(line(5, 4, 5).problem(None).unwrap(), "pump: 1 of 5 samples were not acknowledged");
        assert_eq!(line(5, 5, 3).problem(None).unwrap(), "pump: 2 samples were acknowledged and are not stored");
    }

    #[test]
    fn the_end_in_words() {
        let outcome = Outcome {
            ok: false,
            seconds: 15.04,
            devices: vec![line(15, 15, 15), line(9, 8, 8)],
            problems: vec![line(9, 8, 8).problem(Some("the broker stopped answering")).unwrap()],
        };
        insta::assert_snapshot!(outcome.text(), @r"
        After 15.0 s:
        DEVICE  CLIENT  AUTH  SAMPLED  ACKNOWLEDGED  STORED
        pump    agent   mtls  15       15            15
        pump    agent   mtls  9        8             8
        Not everything arrived: pump: 1 of 9 samples were not acknowledged (the broker stopped answering)
        ");
    }
}
