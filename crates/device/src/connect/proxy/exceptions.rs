//! Hosts that are reached without the proxy: `NO_PROXY`, as other programs read it.
//!
//! Names with commas or spaces between them. A name stands for itself and everything below it, with or without a dot
//! before it; an address for itself; `10.0.0.0/8` for a network; `*` for everything. This machine is always among them.

use std::net::IpAddr;

/// What `NO_PROXY` says.
#[derive(Clone, Debug, Default)]
pub(super) struct Exceptions(Vec<Exception>);

#[derive(Clone, Debug)]
enum Exception {
    All,
    Network(IpAddr, u8),
    Name(Box<str>),
}

impl Exceptions {
    pub(super) fn parse(text: &str) -> Self {
        let words = text.split([',', ' ', '\t']).map(str::trim).filter(|word| !word.is_empty());
        Self(words.map(Exception::parse).collect())
    }

    pub(super) fn contain(&self, host: &str) -> bool {
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        let is_here = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        is_here || self.0.iter().any(|exception| exception.covers(&host, address))
    }
}

impl Exception {
    fn parse(word: &str) -> Self {
        if word == "*" {
            return Self::All;
        }
        let (address, length) = match word.split_once('/') {
            Some((address, length)) => (address, length.parse().ok()),
            None => (word, Some(128)),
        };
        let address = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        if let (Ok(address), Some(length)) = (address.parse::<IpAddr>(), length) {
            return Self::Network(address, length);
        }
        // A port behind a name is not told apart: the host is excepted as a whole.
        let name = word.rsplit_once(':').map_or(word, |(name, _)| name);
        Self::Name(name.trim_start_matches("*.").trim_matches('.').to_ascii_lowercase().into())
    }

    fn covers(&self, host: &str, address: Option<IpAddr>) -> bool {
        match (self, address) {
            (Self::All, _) => true,
            (Self::Network(network, length), Some(address)) => is_within(address, *network, *length),
            (Self::Name(name), None) => host
                .strip_suffix(&**name)
                .is_some_and(|rest| !name.is_empty() && (rest.is_empty() || rest.ends_with('.'))),
            _ => false,
        }
    }
}

fn is_within(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let same = |one: u128, other: u128, bits: u32| {
        let free = bits.saturating_sub(length.into());
        // Shifting by all bits there are is no shift in Rust.
        free >= bits || (one ^ other) >> free == 0
    };
    match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => same(one.to_bits().into(), other.to_bits().into(), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => same(one.to_bits(), other.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_networks() {
        let all = ".inside.example, other.example:8443  *.stars.example 192.0.2.7,10.0.0.0/8,fd00::/8 [::2]";
        let except = Exceptions::parse(all);
        for host in [
            "localhost",
            "127.0.0.2",
            "[::1]",
            "inside.example",
            "a.b.INSIDE.example.",
            "other.example",
            "a.stars.example",
            "192.0.2.7",
            "10.255.0.1",
            "fd12::1",
            "::2",
        ] {
            assert!(except.contain(host), "{host}");
        }
        for host in ["outside.example", "notinside.example", "example", "192.0.2.8", "11.0.0.1", "fe80::1", "::3"] {
            assert!(!except.contain(host), "{host}");
        }
        assert!(
            Exceptions::parse("*").contain("anything.example") && Exceptions::parse("0.0.0.0/0").contain("9.9.9.9")
        );
        assert!(!Exceptions::parse(" , .").contain("anything.example"));
    }
}
