//! Which level of security the connection meets, line by line, each with what was seen of it.
//!
//! Two yardsticks: the levels of Thailand's National Cyber Security Agency for connected devices (level 1: encrypted
//! transport and authentication; level 2: the server verified, mutual TLS, credentials of one device alone, a protected
//! key), and the provisions of ETSI EN 303 645 (V2.1.1) that can be seen from a connection. It states what was seen of
//! one connection at one time, and is no certificate.

use super::examination::Facts;
use crate::credentials::Method;

/// Whether a line is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is; this was seen.
    Met(String),
    /// It is not; this was seen.
    NotMet(String),
    /// Nothing was seen of it.
    NotSeen,
}

impl Verdict {
    /// Whether it is met.
    pub fn is_met(&self) -> bool {
        matches!(self, Self::Met(_))
    }

    fn of(seen: Option<Result<String, String>>) -> Self {
        match seen {
            Some(Ok(evidence)) => Self::Met(evidence),
            Some(Err(evidence)) => Self::NotMet(evidence),
            None => Self::NotSeen,
        }
    }
}

/// One requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `1`, `2` for a level of the NCSA; the number of a provision of ETSI EN 303 645
    pub number: &'static str,
    /// What is required
    pub requirement: &'static str,
    /// Whether it is met
    pub verdict: Verdict,
}

/// The whole statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The level of the NCSA that is met in full: 0, 1 or 2
    pub ncsa_level: u8,
    /// The lines of both levels
    pub ncsa: Vec<Line>,
    /// Provisions of ETSI EN 303 645
    pub etsi: Vec<Line>,
}

impl Statement {
    pub(super) fn of(facts: &Facts) -> Self {
        let encrypted = encrypted(facts);
        let authenticated = authenticated(facts);
        let unique = Verdict::of(facts.unique.clone());
        let protected = Verdict::of(facts.protected.clone());
        let line = |number, requirement, verdict: &Verdict| Line { number, requirement, verdict: verdict.clone() };
        let ncsa = vec![
            line("1", "encrypted transport, TLS 1.2 or later", &encrypted),
            line("1", "authentication", &authenticated),
            line("2", "server verified", &server(facts)),
            line("2", "mutual TLS", &mutual(facts)),
            line("2", "credentials of this device alone", &unique),
            line("2", "protected key", &protected),
        ];
        let meets = |level| ncsa.iter().filter(|line| line.number == level).all(|line| line.verdict.is_met());
        let ncsa_level = match (meets("1"), meets("2")) {
            (true, true) => 2,
            (true, false) => 1,
            (false, _) => 0,
        };
        let etsi = vec![
            line("5.1-1", "no credentials shared between devices", &unique),
            line("5.4-1", "sensitive security parameters stored securely", &protected),
            line("5.5-1", "best practice cryptography in transit", &encrypted),
            line("5.5-5", "nothing is changed without authentication", &authenticated),
            line("5.5-7", "critical security parameters confidential in transit", &confidential(facts)),
        ];
        Self { ncsa_level, ncsa, etsi }
    }
}

fn encrypted(facts: &Facts) -> Verdict {
    let seen: Vec<String> =
        facts.handshakes.iter().map(|seen| format!("{} with {}", seen.version, seen.suite)).collect();
    if seen.is_empty() { Verdict::NotSeen } else { Verdict::Met(seen.join(", ")) }
}

fn authenticated(facts: &Facts) -> Verdict {
    match (facts.authenticated, &facts.anonymous) {
        (Some(_), Some(Err(open))) => Verdict::NotMet(open.clone()),
        (Some(method), Some(Ok(kept_out))) => {
            Verdict::Met(format!("the device was let in with {method}; without credentials: {kept_out}"))
        }
        _ => Verdict::NotSeen,
    }
}

fn server(facts: &Facts) -> Verdict {
    match &facts.server {
        Some(server) => Verdict::Met(format!("{} by {}", server.subject, server.issuer)),
        None => Verdict::NotSeen,
    }
}

fn mutual(facts: &Facts) -> Verdict {
    let asked = facts.handshakes.iter().any(|seen| seen.asked);
    match facts.authenticated {
        Some(Method::MutualTls) if asked => {
            Verdict::Met("the server asked for the device's certificate and took it".to_owned())
        }
        Some(Method::MutualTls) => Verdict::NotMet("the server never asked for the device's certificate".to_owned()),
        Some(Method::ServerTls) => Verdict::NotMet("the device logs in with a key, not with a certificate".to_owned()),
        None => Verdict::NotSeen,
    }
}

/// A key or a password leaves the device only inside TLS, after the server was verified; a private key never does.
fn confidential(facts: &Facts) -> Verdict {
    match (facts.authenticated, &facts.server) {
        (Some(Method::MutualTls), Some(_)) => Verdict::Met("the private key does not leave the device".to_owned()),
        (Some(Method::ServerTls), Some(server)) => {
            Verdict::Met(format!("the key was sent inside TLS, to {} once it was verified", server.subject))
        }
        _ => Verdict::NotSeen,
    }
}
