//! Failed logins: who fails is not asked about for a while.
//!
//! A client is known here by address *and* identifier: whoever guesses at a device's secret from elsewhere must not
//! lock the device out. An address as a whole has a rate of failures, high enough that one misconfigured device behind
//! a shared address does not lock its neighbours out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::bucket::Bucket;
use super::{client_at, line};
use crate::config::Rate;

/// Failures in a row that are nobody's fault.
const FREE: u32 = 5;
/// The first pause; each failure after it doubles it.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);
/// After this long without a failure a client is forgiven.
const FORGIVEN: Duration = Duration::from_secs(600);
/// Clients and addresses remembered; beyond it the forgiven are forgotten, and if that is not enough, all.
const REMEMBERED: usize = 16 * 1024;

#[derive(Clone, Copy, Debug)]
struct Client {
    failures: u32,
    last: Instant,
    not_before: Instant,
}

#[derive(Debug, Default)]
struct Known {
    /// By a hash of address and identifier: the identifier is an attacker's own words, and may be long.
    clients: HashMap<u64, Client>,
    addresses: HashMap<IpAddr, Bucket>,
}

/// Failed logins of late.
#[derive(Debug)]
pub(crate) struct Logins {
    known: Mutex<Known>,
    rate: Option<Rate>,
}

impl Logins {
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self { known: Mutex::default(), rate }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a login is looked at. No: it is refused, right or wrong.
    pub(crate) fn may_try(&self, address: IpAddr, client_id: &str) -> bool {
        let now = Instant::now();
        let mut known = self.lock();
        let pauses =
            known.clients.get(&client_at(line(address), client_id)).is_some_and(|client| client.not_before > now);
        // One failure must be affordable; a success costs nothing.
        let affords = known.addresses.get_mut(&line(address)).is_none_or(|bucket| {
            let mut tried = *bucket;
            tried.take(1.0, now)
        });
        !pauses && affords
    }

    /// A login failed.
    pub(crate) fn failed(&self, address: IpAddr, client_id: &str) {
        let Some(rate) = self.rate else { return };
        let now = Instant::now();
        let mut known = self.lock();
        let known = &mut *known;
        if known.clients.len() >= REMEMBERED {
            known.clients.retain(|_, client| now.saturating_duration_since(client.last) < FORGIVEN);
            if known.clients.len() >= REMEMBERED {
                known.clients = HashMap::new();
            }
        }
        if known.addresses.len() >= REMEMBERED {
            known.addresses.retain(|_, bucket| !bucket.is_full(now));
            if known.addresses.len() >= REMEMBERED {
                known.addresses = HashMap::new();
            }
        }
        let first = Client { failures: 0, last: now, not_before: now };
        let client = known.clients.entry(client_at(line(address), client_id)).or_insert(first);
        if now.saturating_duration_since(client.last) >= FORGIVEN {
            *client = first;
        }
        client.failures = client.failures.saturating_add(1);
        client.last = now;
        if client.failures >= FREE {
            client.not_before = now + FIRST.saturating_mul(1 << (client.failures - FREE).min(16)).min(LONGEST);
        }
        known.addresses.entry(line(address)).or_insert_with(|| Bucket::new(Some(rate), now)).take(1.0, now);
    }

    /// A login succeeded: what failed before was a mistake.
    pub(crate) fn succeeded(&self, address: IpAddr, client_id: &str) {
        let mut known = self.lock();
        if !known.clients.is_empty() {
            known.clients.remove(&client_at(line(address), client_id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Option<Rate> = Some(Rate { per_second: 1, burst: 20 });

    #[tokio::test(start_paused = true)]
    async fn pauses_double_and_a_success_ends_them() {
        let logins = Logins::new(RATE);
        let here: IpAddr = "192.0.2.7".parse().unwrap();
        for _ in 0..FREE {
            assert!(logins.may_try(here, "d"));
            logins.failed(here, "d");
        }
        assert!(!logins.may_try(here, "d"));
        assert!(logins.may_try(here, "neighbour"));
        assert!(logins.may_try("192.0.2.8".parse().unwrap(), "d"), "the device itself is elsewhere");
        tokio::time::advance(FIRST).await;
        assert!(logins.may_try(here, "d"));
        logins.failed(here, "d");
        tokio::time::advance(FIRST).await;
        assert!(!logins.may_try(here, "d"), "two seconds this time");
        tokio::time::advance(FIRST).await;
        logins.succeeded(here, "d");
        logins.failed(here, "d");
        assert!(logins.may_try(here, "d"), "forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_tries_many_names_is_slowed_down_and_takes_bounded_memory() {
        let logins = Logins::new(RATE);
        let here: IpAddr = "192.0.2.7".parse().unwrap();
        let tried = (0..100).filter(|name| {
            let may = logins.may_try(here, &name.to_string());
            if may {
                logins.failed(here, &name.to_string());
            }
            may
        });
        assert_eq!(tried.count(), 20);
        assert!(logins.may_try("192.0.2.8".parse().unwrap(), "d"));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(logins.may_try(here, "another"));
        for number in 0..40_000_u32 {
            logins.failed(IpAddr::from(number.to_be_bytes()), "d");
        }
        let known = logins.lock();
        assert!(known.clients.len() <= REMEMBERED && known.addresses.len() <= REMEMBERED);
    }
}
