//! The names of a server certificate, from the words a person types.

use std::net::IpAddr;

use rcgen::SanType;
use rustls_pki_types::DnsName;

use crate::error::IssueError;
use crate::profile::MAX_COMMON_NAME;

/// More names than any server has; a client's handshake carries them all.
const MAX_NAMES: usize = 100;

/// The subject alternative names, each once and in the order given.
pub(crate) fn alternative_names(names: &[String]) -> Result<Vec<SanType>, IssueError> {
    if names.is_empty() {
        return Err(IssueError::NoNames);
    }
    if names.len() > MAX_NAMES {
        return Err(IssueError::TooManyNames { limit: MAX_NAMES });
    }
    let mut parsed = Vec::with_capacity(names.len());
    for name in names {
        let name = parse(name).ok_or_else(|| IssueError::InvalidName { name: name.clone() })?;
        if !parsed.contains(&name) {
            parsed.push(name);
        }
    }
    Ok(parsed)
}

/// The first name that fits a common name; clients go by the alternative names.
pub(crate) fn common_name(names: &[SanType]) -> Option<String> {
    let text = |name: &SanType| match name {
        SanType::DnsName(name) => Some(name.as_str().to_owned()),
        SanType::IpAddress(address) => Some(address.to_string()),
        _ => None,
    };
    names.iter().filter_map(text).find(|name| name.len() <= MAX_COMMON_NAME)
}

/// An IP address, or a DNS name, lower-cased; a wildcard may stand for the first label.
fn parse(name: &str) -> Option<SanType> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Some(SanType::IpAddress(address));
    }
    let name = name.to_ascii_lowercase();
    let below = name.strip_prefix("*.").unwrap_or(&name);
    if below.ends_with('.') {
        return None;
    }
    DnsName::try_from_str(below).ok()?;
    name.try_into().ok().map(SanType::DnsName)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(given: &[&str]) -> Result<Vec<SanType>, IssueError> {
        let given: Vec<String> = given.iter().map(|name| (*name).to_owned()).collect();
        alternative_names(&given)
    }

    #[test]
    fn addresses_and_dns_names_are_told_apart() {
        let parsed = names(&["Broker.example", "127.0.0.1", "::1", "*.example.org"]).unwrap();
        assert!(matches!(&parsed[0], SanType::DnsName(name) if name.as_str() == "broker.example"));
        assert!(matches!(&parsed[1], SanType::IpAddress(IpAddr::V4(_))));
        assert!(matches!(&parsed[2], SanType::IpAddress(IpAddr::V6(_))));
        assert!(matches!(&parsed[3], SanType::DnsName(name) if name.as_str() == "*.example.org"));
    }

    #[test]
    fn a_name_given_twice_is_written_once() {
        assert_eq!(names(&["a.example", "A.example", "a.example"]).unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a".repeat(64);
        for name in ["", " ", "a b", "https://a", "a:8883", "*", "*.*.a", "a.*.b", "a.", "[::1]", "ü.example", &long] {
            assert!(matches!(names(&["localhost", name]), Err(IssueError::InvalidName { .. })), "{name}");
        }
        assert!(matches!(names(&[]), Err(IssueError::NoNames)));
        assert!(matches!(names(&["a"; 101]), Err(IssueError::TooManyNames { .. })));
    }

    #[test]
    fn a_first_name_too_long_for_a_common_name_is_passed_over() {
        let long = format!("{}.{}.example", "a".repeat(40), "b".repeat(40));
        assert_eq!(common_name(&names(&[&long, "short"]).unwrap()), Some("short".to_owned()));
        assert_eq!(common_name(&names(&[&long]).unwrap()), None);
    }
}
