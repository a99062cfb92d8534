//! The agent without MQTT: the same outbox, posted in batches.
//!
//! There is no connection to hold: one is opened when there is something to send and kept as long as the platform
//! keeps it. Commands and `status` need MQTT.

use std::future::Future;
use std::pin::{Pin, pin};

use tesaiot_contract::topic::TopicKind;
use tesaiot_contract::{DeviceId, DeviceTopic};
use tokio::time::{Duration, Instant, timeout};

use super::{Agent, Event, GOODBYE, Link};
use crate::https::{self, PostError};
use crate::outbox::Entry;

/// Samples of one request, at most; the platform takes 1,000.
const MAX_SAMPLES: usize = 500;
/// Bytes of one request, about; the platform takes 256 KiB.
const MAX_BYTES: usize = 128 * 1024;
/// With `--mode auto`: how long HTTPS is used before MQTT is tried again.
const MQTT_AGAIN: Duration = Duration::from_secs(600);

const BATCH: &str = "/api/v1/telemetry/batch";
const BEGIN: &[u8] = b"{\"telemetry\":[";
const TYPES: &[u8] = b"],\"types\":";
const END: &[u8] = b"}";

/// Why posting ended.
pub(super) enum PostingEnded {
    /// The agent was stopped.
    Stopped,
    /// With `--mode auto`: MQTT is to be tried.
    TryMqtt,
    /// There is another key or certificate to post with.
    Again,
}

impl Agent {
    /// Posts what the outbox holds, for ever; with `is_fallback` until it fails, or MQTT is worth another try.
    pub(super) async fn serve_https<F: Future<Output = ()>>(
        &mut self,
        place: &https::Place,
        is_fallback: bool,
        mut stop: Pin<&mut F>,
    ) -> PostingEnded {
        let began = Instant::now();
        let mut link: Option<https::Link> = None;
        self.receipts.left_broker();
        self.kept.outbox.rewind();
        // After a batch that was refused for one of its samples, one at a time: the others are not refused with it.
        let mut alone: usize = 0;
        self.commands.reconnect = false;
        loop {
            if std::mem::take(&mut self.commands.reconnect) {
                return PostingEnded::Again;
            }
            if is_fallback && began.elapsed() >= MQTT_AGAIN {
                return PostingEnded::TryMqtt;
            }
            let batch = self.batch(if alone > 0 { 1 } else { MAX_SAMPLES });
            if batch.is_empty() {
                tokio::select! {
                    biased;
                    () = &mut stop => return PostingEnded::Stopped,
                    work = self.work() => self.carry_out(work),
                }
                continue;
            }
            let started = Instant::now();
            let (posted, is_stopped) = {
                let body = body(&batch, self.settings.credentials.device_id());
                let mut posting = pin!(post(link.take(), place, &body));
                loop {
                    tokio::select! {
                        biased;
                        posted = &mut posting => break (Some(posted), false),
                        () = &mut stop => break (timeout(GOODBYE, &mut posting).await.ok(), true),
                        work = self.work() => self.carry_out(work),
                    }
                }
            };
            if let Some(date) = posted.as_ref().and_then(|(kept, _)| kept.as_ref()?.date()) {
                self.clock.told(date);
            }
            match posted {
                Some((kept, Ok(()))) => {
                    self.connected_over_https(place, kept.as_ref());
                    link = kept.filter(https::Link::is_open);
                    alone = alone.saturating_sub(batch.len());
                    for entry in &batch {
                        self.kept.outbox.confirm(entry.ticket);
                        self.clock.reached();
                        self.report.acknowledged += 1;
                        self.emit(Event::Acknowledged { seq: entry.seq, after: started.elapsed() });
                    }
                    self.backoff.reset();
                    if let Some(link) = &mut self.link {
                        link.last_acknowledged = Some(Instant::now());
                    }
                    self.maintain();
                    self.report_losses();
                }
                Some((kept, Err(error))) if error.is_about_the_body() => {
                    link = kept.filter(https::Link::is_open);
                    if let [entry] = &batch[..] {
                        alone = alone.saturating_sub(1);
                        self.refused_over_https(entry, error);
                    } else {
                        alone = batch.len();
                        self.kept.outbox.rewind();
                    }
                }
                Some((_, Err(error))) => {
                    let retry_in = self.next_delay();
                    self.link = None;
                    self.last_error = Some((self.clock.now(), error.to_string()));
                    let has_changed = self.post_failed(&error);
                    self.emit(Event::PostFailed { error: Box::new(error), retry_in });
                    if is_fallback && !is_stopped {
                        return PostingEnded::TryMqtt;
                    }
                    if is_stopped || self.pause(retry_in, stop.as_mut()).await.is_none() {
                        return PostingEnded::Stopped;
                    }
                    if has_changed {
                        return PostingEnded::Again;
                    }
                    self.kept.outbox.rewind();
                }
                None => {}
            }
            if is_stopped {
                return PostingEnded::Stopped;
            }
        }
    }

    fn batch(&mut self, most: usize) -> Vec<Entry> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < most && bytes < MAX_BYTES {
            let Some(mut entry) = self.kept.outbox.next(Instant::now().into_std()) else { break };
            // Posted, it would become telemetry. It waits for MQTT, and the others do not wait for it.
            let device = self.settings.credentials.device_id();
            if !(entry.topic.starts_with("device/") && is_telemetry(&entry.topic, device)) {
                self.kept.outbox.set_aside(entry.ticket);
                continue;
            }
            entry.payload = self.kept.payload(&mut entry, &self.clock);
            bytes += entry.payload.len() + 1;
            batch.push(entry);
        }
        batch
    }

    /// The first answer over a connection is what tells that there is one.
    fn connected_over_https(&mut self, place: &https::Place, link: Option<&https::Link>) {
        if self.link.is_some() {
            return;
        }
        let (host, port) = (place.connector.host().to_owned(), place.connector.port());
        let tls_version = link.and_then(https::Link::tls_version);
        self.report.connections += 1;
        let since = Instant::now();
        self.link = Some(Link { host: host.clone(), port, tls_version, since, last_acknowledged: None });
        self.emit(Event::Connected { host, port, tls_version });
    }

    fn refused_over_https(&mut self, entry: &Entry, error: PostError) {
        self.report.refused += 1;
        self.kept.outbox.refuse(entry);
        self.maintain();
        self.emit(Event::PostRefused { seq: entry.seq, error: Box::new(error) });
    }
}

/// Whether this is a topic of the device's telemetry, which alone can be posted, and of which alone receipts speak.
pub(super) fn is_telemetry(topic: &str, device: &DeviceId) -> bool {
    DeviceTopic::parse(topic)
        .is_ok_and(|topic| topic.device == *device && matches!(topic.kind, TopicKind::Telemetry(_)))
}

/// Posts over the connection there is, or a new one. A connection that was kept may have been closed by the other side
/// just now: then a new one is tried at once.
async fn post(
    link: Option<https::Link>,
    place: &https::Place,
    body: &[u8],
) -> (Option<https::Link>, Result<(), PostError>) {
    if let Some(mut link) = link {
        match link.post(BATCH, body).await {
            Err(PostError::Broken { .. }) => {}
            posted => return (Some(link), posted),
        }
    }
    match https::Link::open(place).await {
        Ok(mut link) => {
            let posted = link.post(BATCH, body).await;
            (Some(link), posted)
        }
        Err(error) => (None, Err(error)),
    }
}

/// `{"telemetry":[…],"types":[…]}`: of each sample what stood behind `telemetry/` in its topic.
fn body(batch: &[Entry], device: &DeviceId) -> Vec<u8> {
    let prefix = format!("{}/", DeviceTopic::telemetry(device, None));
    let types: Vec<Option<&str>> = batch.iter().map(|entry| entry.topic.strip_prefix(&prefix)).collect();
    let types = serde_json::to_vec(&types).expect("a list of texts always serializes");
    let length: usize = batch.iter().map(|entry| entry.payload.len() + 1).sum();
    let mut body = Vec::with_capacity(BEGIN.len() + length + TYPES.len() + types.len() + END.len());
    body.extend_from_slice(BEGIN);
    for (index, entry) in batch.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&entry.payload);
    }
    body.extend_from_slice(TYPES);
    body.extend_from_slice(&types);
    body.extend_from_slice(END);
    body
}

#[cfg(test)]
mod tests {
    use super::is_telemetry;

    #[test]
    fn only_the_telemetry_of_the_device_is_telemetry() {
        let device = "pump-7".parse().unwrap();
        for (topic, expected) in [
            ("device/pump-7/telemetry", true),
            ("device/pump-7/telemetry/tank", true),
            ("device/pump-8/telemetry", false),
            ("device/pump-7/events/door", false),
            ("device/pump-7/status", false),
            ("a/b", false),
            ("", false),
        ] {
            assert_eq!(is_telemetry(topic, &device), expected, "{topic}");
        }
    }
}
