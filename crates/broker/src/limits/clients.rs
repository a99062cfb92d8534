//! What a client did on connections before this one: how often it came, and what it owes.
//!
//! Without this a device in a loop of connections would begin each of them with full buckets.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::bucket::Bucket;
use super::{client_at, line};
use crate::config::Rate;

/// Clients remembered in each table; when there are more, those who owe nothing are forgotten, and if that is not enough,
/// all.
const REMEMBERED: usize = 16 * 1024;

/// The buckets of messages and of bytes.
pub(crate) type Publishes = [Bucket; 2];

#[derive(Debug, Default)]
struct Known {
    /// By address and identifier, which nobody has proved yet: whoever claims a device's name from elsewhere must not
    /// shut the device out. Hashed: the identifier is a stranger's own words, and may be long.
    connects: HashMap<u64, Bucket>,
    /// By the name of the session, which was proved.
    publishes: HashMap<Box<str>, Publishes>,
}

/// Clients of late.
#[derive(Debug)]
pub(crate) struct Clients {
    known: Mutex<Known>,
    connect_rate: Option<Rate>,
}

impl Clients {
    pub(crate) fn new(connect_rate: Option<Rate>) -> Self {
        Self { known: Mutex::default(), connect_rate }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a client may connect once more.
    pub(crate) fn may_connect(&self, address: IpAddr, client_id: &str) -> bool {
        if self.connect_rate.is_none() {
            return true;
        }
        let now = Instant::now();
        let mut known = self.lock();
        make_room(&mut known.connects, |bucket| bucket.is_full(now));
        let new = || Bucket::new(self.connect_rate, now);
        known.connects.entry(client_at(line(address), client_id)).or_insert_with(new).take(1.0, now)
    }

    /// What a client that connects owes from the connection before.
    pub(crate) fn resume(&self, name: &str) -> Option<Publishes> {
        let mut known = self.lock();
        if known.publishes.is_empty() { None } else { known.publishes.remove(name) }
    }

    /// A connection ended: what its client owes is kept for the next.
    pub(crate) fn keep(&self, name: &str, publishes: Publishes) {
        let now = Instant::now();
        if publishes.iter().all(|bucket| bucket.is_full(now)) {
            return;
        }
        let mut known = self.lock();
        make_room(&mut known.publishes, |buckets| buckets.iter().all(|bucket| bucket.is_full(now)));
        known.publishes.insert(name.into(), publishes);
    }
}

fn make_room<K, V>(known: &mut HashMap<K, V>, is_forgotten: impl Fn(&V) -> bool)
where
    K: std::hash::Hash + Eq,
{
    if known.len() >= REMEMBERED {
        known.retain(|_, value| !is_forgotten(value));
        // A table that is nearly full again would be looked through at every connection.
        if known.len() > REMEMBERED / 2 {
            *known = HashMap::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RATE: Option<Rate> = Some(Rate { per_second: 1, burst: 3 });

    #[tokio::test(start_paused = true)]
    async fn a_client_that_comes_again_and_again_is_slowed_down_and_no_other() {
        let clients = Clients::new(RATE);
        let here: IpAddr = "192.0.2.7".parse().unwrap();
        assert_eq!((0..10).filter(|_| clients.may_connect(here, "d")).count(), 3);
        assert!(clients.may_connect(here, "neighbour"));
        assert!(clients.may_connect("192.0.2.8".parse().unwrap(), "d"), "somebody else says this name here");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(clients.may_connect(here, "d"));
        assert!(!clients.may_connect(here, "d"));
    }

    #[tokio::test(start_paused = true)]
    async fn debts_are_kept_while_there_are_any_and_take_bounded_memory() {
        let clients = Clients::new(RATE);
        let now = Instant::now();
        let mut bucket = Bucket::new(RATE, now);
        clients.keep("d", [bucket; 2]);
        assert!(clients.resume("d").is_none(), "nothing is owed");
        bucket.owe(5.0, now);
        clients.keep("d", [bucket, Bucket::new(None, now)]);
        let [mut resumed, _] = clients.resume("d").unwrap();
        assert_eq!(resumed.owe(0.0, now), Duration::from_secs(2));
        assert!(clients.resume("d").is_none(), "it is with the connection now");
        let somewhere: IpAddr = "192.0.2.7".parse().unwrap();
        for name in 0..3 * REMEMBERED {
            clients.keep(&name.to_string(), [bucket; 2]);
            clients.may_connect(somewhere, &name.to_string());
        }
        let known = clients.lock();
        assert!(known.connects.len() <= REMEMBERED && known.publishes.len() <= REMEMBERED);
    }
}
