//! What one address, and one client, may take.
//!
//! | Against | is |
//! |---|---|
//! | half-open and silent sockets | the handshake deadline, and places for handshakes (`handshakes`) |
//! | too many connections | a cap in all and one for each address |
//! | too many attempts | a rate of connections for each address, and for each client of an address: [`clients`] |
//! | guessing secrets | [`logins`]: a pause for the client after some failures, a rate of failures for the address |
//! | floods of messages | [`bucket`] of each client: it is not read until it may go on, and closed when it never stops |
//!
//! There is one connection for each client identifier (a new one takes over), which is the cap for an identity. An IPv6
//! address counts as its /64: that is what one subscriber line has. Tables are bounded; what they forget is forgiven.

pub(crate) mod bucket;
pub(crate) mod clients;
pub(crate) mod logins;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::config::{Config, Rate};
use bucket::Bucket;
use clients::Clients;
use logins::Logins;

/// Addresses remembered; when there are more, those without a connection are forgiven what they tried.
const REMEMBERED: usize = 16 * 1024;

#[derive(Debug)]
struct Addresses {
    known: HashMap<IpAddr, Address>,
    /// When there are as many, the next is preceded by forgetting. At least twice what was left the last time, so that
    /// looking at all of them is rare.
    forget_at: usize,
}

#[derive(Debug)]
struct Address {
    connections: usize,
    attempts: Bucket,
}

/// The limits of a broker.
#[derive(Debug)]
pub(crate) struct Limits {
    addresses: Mutex<Addresses>,
    max_connections: usize,
    connect_rate: Option<Rate>,
    pub(crate) logins: Logins,
    pub(crate) clients: Clients,
}

/// The right of an address to one more connection, until dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Arc<Limits>,
    address: IpAddr,
}

impl Limits {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            addresses: Mutex::new(Addresses { known: HashMap::new(), forget_at: REMEMBERED }),
            max_connections: config.max_connections_per_address,
            connect_rate: config.connect_rate_per_address,
            logins: Logins::new(config.failed_login_rate_per_address),
            clients: Clients::new(config.connect_rate_per_client),
        }
    }

    /// `None`: the address has too many connections, or tries too often.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admission> {
        let address = line(address);
        let now = Instant::now();
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.known.len() >= addresses.forget_at {
            addresses.known.retain(|_, known| known.connections > 0);
            addresses.forget_at = REMEMBERED.max(2 * addresses.known.len());
        }
        let new = || Address { connections: 0, attempts: Bucket::new(self.connect_rate, now) };
        let known = addresses.known.entry(address).or_insert_with(new);
        if known.connections >= self.max_connections || !known.attempts.take(1.0, now) {
            return None;
        }
        known.connections += 1;
        drop(addresses);
        Some(Admission { limits: Arc::clone(self), address })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut addresses = self.limits.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = addresses.known.get_mut(&self.address) {
            known.connections -= 1;
            if known.connections == 0 && known.attempts.is_full(now) {
                addresses.known.remove(&self.address);
            }
        }
    }
}

/// What counts as one address.
pub(crate) fn line(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

/// A client that nobody has authenticated: an identifier, said by one address.
fn client_at(line: IpAddr, client_id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    line.hash(&mut hasher);
    client_id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_has_its_share_and_others_have_theirs() {
        let rate = Some(Rate { per_second: 1, burst: 3 });
        let config = Config { max_connections_per_address: 2, connect_rate_per_address: rate, ..Config::default() };
        let limits = Arc::new(Limits::new(&config));
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::ffff".parse().unwrap();
        let other: IpAddr = "2001:db8:0:1::1".parse().unwrap();
        let first = limits.admit(one).unwrap();
        let second = limits.admit(neighbour).unwrap();
        assert!(limits.admit(one).is_none(), "two at a time");
        assert!(limits.admit(other).is_some());
        drop((first, second));
        assert!(limits.admit(one).is_some(), "the third attempt");
        assert!(limits.admit(one).is_none(), "too often");
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert!(limits.admit(one).is_some());
        tokio::time::advance(std::time::Duration::from_secs(10)).await;
        drop(limits.admit(one));
        drop(limits.admit(other));
        for n in 0..3 * REMEMBERED as u32 {
            drop(limits.admit(IpAddr::from(n.to_be_bytes())));
        }
        assert!(limits.addresses.lock().unwrap().known.len() <= REMEMBERED, "bounded");
    }
}
