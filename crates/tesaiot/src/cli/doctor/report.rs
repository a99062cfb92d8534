//! A doctor's report, for people and for programs.

use std::fmt;

use serde_json::{Value, json};
use tesaiot_device::Method;
use tesaiot_device::doctor::statement::{Line, Statement, Verdict};
use tesaiot_device::doctor::{Finding, Outcome, Report};

use crate::output::plain;

/// For people: a sign and a word for each check, never colour alone.
pub(super) struct Readable<'a>(pub(super) &'a Report);

impl fmt::Display for Readable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        if let Some(subject) = &report.subject {
            let place = format!("{}:{} with {}", subject.host, subject.port, subject.method);
            writeln!(f, "{} of {} at {}\n", subject.device_id, plain(&subject.directory), plain(&place))?;
        }
        let widest = report.findings.iter().map(|(_, title, _)| title.chars().count()).max().unwrap_or_default();
        for (_, title, finding) in &report.findings {
            write_finding(f, title, widest, finding)?;
        }
        write_statement(f, &report.statement)?;
        let passed = report.count(|outcome| outcome == Outcome::Passed);
        let failed = report.count(|outcome| matches!(outcome, Outcome::Failed(_)));
        let warned = report.count(|outcome| outcome == Outcome::Warned);
        let skipped = report.count(|outcome| outcome == Outcome::Skipped);
        writeln!(f, "\n{passed} passed, {warned} warned, {failed} failed, {skipped} skipped")
    }
}

fn write_finding(f: &mut fmt::Formatter<'_>, title: &str, widest: usize, finding: &Finding) -> fmt::Result {
    let sign = match finding.outcome {
        Outcome::Passed => "✓ passed ",
        Outcome::Warned => "! warning",
        Outcome::Failed(_) => "✗ failed ",
        Outcome::Skipped => "- skipped",
    };
    writeln!(f, "{sign}  {title:widest$}  {}", plain(&finding.evidence))?;
    match &finding.hint {
        Some(hint) => writeln!(f, "{:13}{:widest$}hint: {}", "", "", plain(hint)),
        None => Ok(()),
    }
}

fn write_statement(f: &mut fmt::Formatter<'_>, statement: &Statement) -> fmt::Result {
    match statement.ncsa_level {
        0 => writeln!(f, "\nNCSA: no level is met")?,
        level => writeln!(f, "\nNCSA: level {level} is met")?,
    }
    write_lines(f, "level ", &statement.ncsa)?;
    writeln!(f, "\nETSI EN 303 645, as far as a connection shows it")?;
    write_lines(f, "", &statement.etsi)
}

fn write_lines(f: &mut fmt::Formatter<'_>, prefix: &str, lines: &[Line]) -> fmt::Result {
    lines.iter().try_for_each(|line| {
        let (sign, evidence) = match &line.verdict {
            Verdict::Met(evidence) => ("✓ met     ", evidence.as_str()),
            Verdict::NotMet(evidence) => ("✗ not met ", evidence.as_str()),
            Verdict::NotSeen => ("- not seen", ""),
        };
        let colon = if evidence.is_empty() { "" } else { ": " };
        writeln!(f, "{sign}  {prefix}{}  {}{colon}{}", line.number, line.requirement, plain(evidence))
    })
}

/// For programs.
pub(super) fn to_json(report: &Report) -> Value {
    let checks = report.findings.iter().map(|(id, title, finding)| {
        let outcome = match finding.outcome {
            Outcome::Passed => "passed",
            Outcome::Warned => "warned",
            Outcome::Failed(_) => "failed",
            Outcome::Skipped => "skipped",
        };
        json!({"id": id, "title": title, "outcome": outcome, "evidence": finding.evidence, "hint": finding.hint})
    });
    let subject = report.subject.as_ref();
    json!({
        "device_id": subject.map(|subject| &subject.device_id),
        "bundle": subject.map(|subject| &subject.directory),
        "host": subject.map(|subject| &subject.host),
        "port": subject.map(|subject| subject.port),
        "auth": subject.map(|subject| auth(subject.method)),
        "ok": report.first_failure().is_none(),
        "checks": checks.collect::<Vec<_>>(),
        "ncsa": {"level": report.statement.ncsa_level, "lines": lines(&report.statement.ncsa)},
        "etsi_en_303_645": lines(&report.statement.etsi),
    })
}

fn auth(method: Method) -> &'static str {
    match method {
        Method::MutualTls => "mtls",
        Method::ServerTls => "server-tls",
    }
}

fn lines(lines: &[Line]) -> Vec<Value> {
    let line = |line: &Line| {
        let (verdict, evidence) = match &line.verdict {
            Verdict::Met(evidence) => ("met", Some(evidence)),
            Verdict::NotMet(evidence) => ("not met", Some(evidence)),
            Verdict::NotSeen => ("not seen", None),
        };
        json!({"number": line.number, "requirement": line.requirement, "verdict": verdict, "evidence": evidence})
    };
    lines.iter().map(line).collect()
}
