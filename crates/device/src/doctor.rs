//! One check after the other: what of a bundle and a connection works, what does not, and what to do about it.
//!
//! [`CHECKS`] is the table, in the order in which they run; each check is one file. A check that needs what an earlier
//! one failed to find is skipped and says which. What the checks saw is the evidence of the [`statement`].
//!
//! An examination connects as the device, as one `publish` does: an agent that runs with the same identity loses its
//! connection for a moment. It publishes one event, to `device/{id}/events/doctor`, and nothing else: no sample, no
//! status, nothing retained. It subscribes to `device/{id}/commands/doctor`, to which nobody sends, so that no command
//! is taken away from the agent. And it does two things that must be refused: it connects without credentials, and
//! asks for every device's telemetry; a platform writes both refusals to its audit log.

mod anonymous;
mod bundle;
mod chain;
mod client_certificate;
mod clock;
mod connect;
mod dns;
mod examination;
mod expiry;
mod http;
mod isolation;
mod key_match;
mod key_permissions;
mod outbox;
mod publish;
mod rest;
mod sensors;
mod server_certificate;
pub mod statement;
mod subscribe;
mod tcp;
mod tls;
mod wire;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use crate::credentials::Choice;
use crate::settings::Flags;
use examination::Examination;
pub use examination::Subject;
use statement::Statement;

/// What became of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// It works, and should be better.
    Warned,
    /// It does not work; whose fault that is.
    Failed(Blame),
    /// Not done: it was switched off, there was nothing to check, or it needs what an earlier check did not find.
    Skipped,
}

/// Where a failure has to be mended: what an exit code can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The files of the bundle
    Files,
    /// The network, the address, or a server that is not ready
    Network,
    /// The server's certificate
    ServerCertificate,
    /// The server does not accept who we are
    Client,
    /// The server knows us and refuses all the same
    Refused,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What became of it
    pub outcome: Outcome,
    /// What was seen, in one line, without secrets
    pub evidence: String,
    /// What to do now
    pub hint: Option<String>,
}

impl Finding {
    fn passed(evidence: impl Into<String>) -> Self {
        Self { outcome: Outcome::Passed, evidence: evidence.into(), hint: None }
    }

    fn warned(evidence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { outcome: Outcome::Warned, evidence: evidence.into(), hint: Some(hint.into()) }
    }

    fn failed(blame: Blame, evidence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed(blame), evidence: evidence.into(), hint: Some(hint.into()) }
    }

    fn skipped(evidence: impl Into<String>) -> Self {
        Self { outcome: Outcome::Skipped, evidence: evidence.into(), hint: None }
    }

    /// For a check that cannot be done because of an earlier one.
    fn needs(what: &str) -> Self {
        Self::skipped(format!("needs: {what}"))
    }
}

type Examining<'a> = Pin<Box<dyn Future<Output = Finding> + 'a>>;

/// One check.
pub struct Check {
    /// For programs
    pub id: &'static str,
    /// For people
    pub title: &'static str,
    run: for<'a> fn(&'a mut Examination) -> Examining<'a>,
}

/// Every check, in the order in which they are done.
pub const CHECKS: &[Check] = &[
    Check { id: "bundle", title: "bundle files", run: bundle::check },
    Check { id: "key-permissions", title: "key permissions", run: key_permissions::check },
    Check { id: "key-match", title: "key matches certificate", run: key_match::check },
    Check { id: "chain", title: "certificate chain", run: chain::check },
    Check { id: "expiry", title: "validity", run: expiry::check },
    Check { id: "sensors", title: "sensors", run: sensors::check },
    Check { id: "outbox", title: "agent and outbox", run: outbox::check },
    Check { id: "dns", title: "DNS", run: dns::check },
    Check { id: "tcp", title: "TCP", run: tcp::check },
    Check { id: "tls-1.2", title: "TLS 1.2", run: tls::check_12 },
    Check { id: "tls-1.3", title: "TLS 1.3", run: tls::check_13 },
    Check { id: "server-certificate", title: "server certificate", run: server_certificate::check },
    Check { id: "connect", title: "CONNECT", run: connect::check },
    Check { id: "client-certificate", title: "client certificate", run: client_certificate::check },
    Check { id: "publish", title: "publish permission", run: publish::check },
    Check { id: "subscribe", title: "subscribe permission", run: subscribe::check },
    Check { id: "isolation", title: "other devices' topics", run: isolation::check },
    Check { id: "anonymous", title: "without credentials", run: anonymous::check },
    Check { id: "clock", title: "clock", run: clock::check },
    Check { id: "rest", title: "REST", run: rest::check },
];

/// How to examine.
#[derive(Clone, Debug)]
pub struct Order {
    /// Where the bundle is, and what stands above it
    pub flags: Flags,
    /// How it logs in: as `publish` does, or as the agent does
    pub choice: Choice,
    /// The configuration file of an agent: its sensors are read, and its address counts
    pub config: Option<PathBuf>,
    /// The data directory of the agent, when it is not where one is expected
    pub data_directory: Option<PathBuf>,
    /// How long one step may take
    pub step: Duration,
    /// Data directories of agents that may run here
    pub agents: Vec<PathBuf>,
    /// Whether an event may be published
    pub publish: bool,
}

/// What an examination found.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was examined, as far as the bundle says it
    pub subject: Option<Subject>,
    /// Every check with its finding, in order
    pub findings: Vec<(&'static str, &'static str, Finding)>,
    /// Which level the connection meets
    pub statement: Statement,
}

impl Report {
    /// How many checks came out as `wanted` says.
    pub fn count(&self, wanted: impl Fn(Outcome) -> bool) -> usize {
        self.findings.iter().filter(|(_, _, finding)| wanted(finding.outcome)).count()
    }

    /// The first check that failed: its title, and whose fault it is.
    pub fn first_failure(&self) -> Option<(&'static str, Blame, &Finding)> {
        self.findings.iter().find_map(|(_, title, finding)| match finding.outcome {
            Outcome::Failed(blame) => Some((*title, blame, finding)),
            _ => None,
        })
    }
}

/// Does every check. `environment` answers for the process environment; `done` sees each finding as it comes.
pub async fn examine(
    order: Order,
    environment: impl Fn(&str) -> Option<String>,
    mut done: impl FnMut(&Check, &Finding),
) -> Report {
    let mut examination = Examination::new(order, &environment);
    let mut findings = Vec::with_capacity(CHECKS.len());
    for check in CHECKS {
        let finding = (check.run)(&mut examination).await;
        done(check, &finding);
        findings.push((check.id, check.title, finding));
    }
    examination.leave().await;
    let statement = Statement::of(&examination.facts);
    Report { subject: examination.subject(), findings, statement }
}
