//! Which devices are there, and when each was last seen.
//!
//! A device that opens a connection for every sample comes and goes all day; it is *online* all the while. It goes
//! offline when it has been away for longer than the grace, and that is one event, with how it left. Sightings are
//! written to the registry in batches: such a device costs no write each time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_store::StoreError;
use tesaiot_store::registry::{PresenceChange, Registry, Seen};
use tokio_util::sync::CancellationToken;

/// How late the registry may be, at most.
const PERIOD: Duration = Duration::from_secs(2);
/// Characters of the words for how a device left.
const MAX_CAUSE: usize = 200;

/// What is known of a device that is online, or was until the last write.
#[derive(Debug)]
struct Known {
    /// Connections that are open: one, or none.
    connections: u32,
    seen_at: Timestamp,
    address: Option<IpAddr>,
    /// Since when it has no connection.
    away: Option<Instant>,
    /// How its last connection ended.
    cause: String,
    online: bool,
    /// What the registry has not heard yet.
    change: Option<PresenceChange>,
    unwritten: bool,
}

/// How often devices came and went.
#[derive(Debug, Default)]
struct Changes {
    online: AtomicU64,
    offline: AtomicU64,
}

/// Where sightings are reported. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Presence {
    /// At most one entry per device of the registry: only authenticated devices are seen.
    known: Arc<Mutex<HashMap<DeviceId, Known>>>,
    changes: Arc<Changes>,
    grace: Duration,
}

impl Presence {
    /// Devices that were online when the platform ended have the grace to come back: nobody knows what they did
    /// meanwhile.
    ///
    /// # Errors
    /// The registry cannot be read.
    pub(crate) fn resume(registry: &Registry, grace: Duration) -> Result<Self, StoreError> {
        let now = Instant::now();
        let known = registry.online_devices()?.into_iter().map(|(device, seen_at)| {
            let known = Known {
                away: Some(now),
                cause: "the platform was restarted".into(),
                online: true,
                ..Known::new(seen_at.unwrap_or(Timestamp::MIN))
            };
            (device, known)
        });
        Ok(Self { known: Arc::new(Mutex::new(known.collect())), changes: Arc::default(), grace })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A device was here, now, without a connection that stays: an HTTPS request.
    pub(crate) fn seen(&self, device: &DeviceId, address: Option<IpAddr>) {
        self.note(device, |known| {
            known.address = address.or(known.address);
            if known.connections == 0 {
                known.away = Some(Instant::now());
                known.cause = "sent nothing any more".into();
            }
        });
    }

    /// A device opened a connection.
    pub(crate) fn connected(&self, device: &DeviceId, address: IpAddr) {
        self.note(device, |known| {
            known.address = Some(address);
            known.connections += 1;
            known.away = None;
        });
    }

    /// A connection of a device ended, and how.
    pub(crate) fn disconnected(&self, device: &DeviceId, cause: &str) {
        self.note(device, |known| {
            known.connections = known.connections.saturating_sub(1);
            if known.connections == 0 {
                known.away = Some(Instant::now());
                known.cause = cause.chars().filter(|c| !c.is_control()).take(MAX_CAUSE).collect();
            }
        });
    }

    /// Whether a device is online; the registry hears of it a little later.
    pub(crate) fn is_online(&self, device: &DeviceId) -> bool {
        self.lock().get(device).is_some_and(|known| known.online)
    }

    /// How many devices are online.
    pub(crate) fn online(&self) -> usize {
        self.lock().values().filter(|known| known.online).count()
    }

    /// How often a device came online, and went offline, since the start.
    pub(crate) fn changes(&self) -> [(&'static str, u64); 2] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [("online", read(&self.changes.online)), ("offline", read(&self.changes.offline))]
    }

    fn note(&self, device: &DeviceId, note: impl FnOnce(&mut Known)) {
        let now = Timestamp::now();
        let mut known = self.lock();
        if !known.contains_key(device) {
            known.insert(device.clone(), Known::new(now));
        }
        let Some(known) = known.get_mut(device) else { return };
        known.seen_at = now;
        known.unwritten = true;
        note(known);
        if !known.online {
            known.online = true;
            self.changes.online.fetch_add(1, Ordering::Relaxed);
            known.change = Some(PresenceChange { online: true, at: now, cause: None });
            tracing::debug!(%device, "online");
        }
    }

    /// What the registry is to hear: who was seen, and who has been away for longer than the grace.
    fn take(&self) -> Vec<Seen> {
        let mut known = self.lock();
        let mut seen = Vec::new();
        for (device, known) in known.iter_mut() {
            if known.online && known.away.is_some_and(|since| since.elapsed() >= self.grace) {
                known.online = false;
                known.unwritten = true;
                self.changes.offline.fetch_add(1, Ordering::Relaxed);
                // It is offline since it left, not since that was noticed.
                let cause = Some(std::mem::take(&mut known.cause));
                tracing::debug!(%device, cause, "offline");
                known.change = Some(PresenceChange { online: false, at: known.seen_at, cause });
            }
            if std::mem::take(&mut known.unwritten) {
                seen.push(Seen {
                    device: device.clone(),
                    at: known.seen_at,
                    address: known.address.map(|address| address.to_string()),
                    change: known.change.take(),
                });
            }
        }
        known.retain(|_, known| known.online);
        let room = 2 * known.len();
        known.shrink_to(room);
        seen
    }

    /// What could not be written is to be heard the next time, unless there is newer news of the device.
    fn put_back(&self, unheard: &[Seen]) {
        let mut known = self.lock();
        for seen in unheard {
            // Who is not known any more is offline: this was the last of it.
            let known = known.entry(seen.device.clone()).or_insert_with(|| Known {
                address: seen.address.as_ref().and_then(|address| address.parse().ok()),
                ..Known::new(seen.at)
            });
            known.unwritten = true;
            if known.change.is_none() {
                known.change.clone_from(&seen.change);
            }
        }
    }

    /// Writes what was seen, now and then, until `stop`, and once more then.
    pub(crate) async fn write_until(self, registry: Registry, stop: CancellationToken) {
        let period = PERIOD.min(self.grace / 2).max(Duration::from_millis(50));
        loop {
            let stopped = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(period) => false,
            };
            let seen = Arc::new(self.take());
            if !seen.is_empty() {
                let (registry, written) = (registry.clone(), Arc::clone(&seen));
                match tokio::task::spawn_blocking(move || registry.touch_seen(&written)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "the times devices were last seen could not be written");
                        self.put_back(&seen);
                    }
                    Err(_) => self.put_back(&seen),
                }
            }
            if stopped {
                return;
            }
        }
    }
}

impl Known {
    fn new(seen_at: Timestamp) -> Self {
        Self {
            connections: 0,
            seen_at,
            address: None,
            away: None,
            cause: String::new(),
            online: false,
            change: None,
            unwritten: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn presence(registry: &Registry) -> Presence {
        Presence::resume(registry, Duration::ZERO).unwrap()
    }

    fn changes(seen: &[Seen]) -> Vec<(&str, Option<bool>)> {
        let mut changes: Vec<_> =
            seen.iter().map(|seen| (seen.device.as_str(), seen.change.as_ref().map(|change| change.online))).collect();
        changes.sort_unstable();
        changes
    }

    #[test]
    fn what_could_not_be_written_is_written_the_next_time_unless_there_is_newer_news() {
        let directory = tempfile::tempdir().unwrap();
        let presence = presence(&Registry::open(&directory.path().join("registry.db")).unwrap());
        let [gone, here, back] = ["gone", "here", "back"].map(|name| DeviceId::new(name).unwrap());
        for device in [&gone, &here, &back] {
            presence.connected(device, ADDRESS);
        }
        presence.disconnected(&gone, "it left");
        presence.disconnected(&back, "it left");
        let unheard = presence.take();
        let news = [("back", Some(false)), ("gone", Some(false)), ("here", Some(true))];
        assert_eq!(changes(&unheard), news);
        assert_eq!((presence.take().len(), presence.online()), (0, 1));

        presence.connected(&back, ADDRESS);
        presence.put_back(&unheard);
        assert_eq!(presence.online(), 2);
        let again = presence.take();
        assert_eq!(changes(&again), [("back", Some(true)), ("gone", Some(false)), ("here", Some(true))]);
        let [gone_before, gone_again] =
            [&unheard, &again].map(|seen| seen.iter().find(|seen| seen.device == gone).unwrap());
        assert_eq!((gone_again.at, &gone_again.address), (gone_before.at, &gone_before.address));
        let cause = gone_again.change.as_ref().and_then(|change| change.cause.as_deref());
        assert_eq!(cause, Some("it left"));
        assert_eq!(presence.take().len(), 0);
    }
}
