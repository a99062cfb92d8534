//! Devices under load: messages in flight, and a record of every acknowledgement.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tesaiot_mqtt::client::{Lost, Options, Pending, Published, connect};
use tesaiot_mqtt::{Message, QoS, Version};
use tesaiot_tls::client_config;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::PATIENCE;
use super::device::Device;

/// One run of one device: its messages are named by `boot` and a sequence number, and have a time of their own.
pub(crate) struct Run {
    pub(crate) device: Device,
    pub(crate) version: Version,
    /// Messages in flight at a time.
    pub(crate) window: usize,
    /// Counts runs: gives `boot`, and the hour that the samples say they are of.
    pub(crate) number: u32,
    /// Sequence numbers to be sent first: what an earlier connection of the same run did not get acknowledged.
    pub(crate) again: Vec<u64>,
    /// The first new sequence number.
    pub(crate) next: u64,
}

/// What became of a run's messages on one connection.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Acknowledged: they are stored, or the platform has lied.
    pub(crate) acknowledged: Vec<u64>,
    /// Sent, or about to be; they may be stored or not.
    pub(crate) unknown: Vec<u64>,
    /// The first number that was never used.
    pub(crate) next: u64,
    /// How the connection ended; none when there was none.
    pub(crate) lost: Option<Lost>,
}

impl Run {
    /// The hour that holds the times of this run: begin, and end (exclusive).
    pub(crate) fn hour(number: u32) -> (Timestamp, Timestamp) {
        let begin: Timestamp = "2025-01-01T00:00:00Z".parse().expect("a time");
        let begin = begin + SignedDuration::from_hours(number.into());
        (begin, begin + SignedDuration::from_hours(1))
    }

    /// Connects and publishes as fast as acknowledgements come, until the connection ends; counts them in `counter`.
    pub(crate) async fn publish(self, address: SocketAddr, counter: Arc<AtomicU64>) -> Report {
        let mut report = Report { next: self.next, unknown: self.again.clone(), ..Report::default() };
        let Some(client) = self.connect(address).await else { return report };
        let topic = self.device.topic("telemetry/load");
        let mut again = self.again.iter().copied();
        let mut in_flight: VecDeque<(u64, Pending)> = VecDeque::new();
        report.unknown.clear();
        loop {
            let sequence = again.next().unwrap_or_else(|| {
                report.next += 1;
                report.next - 1
            });
            let message = Message::new(topic.clone(), self.payload(sequence), QoS::AtLeastOnce);
            match client.publish(message).await {
                Ok(pending) => in_flight.push_back((sequence, pending)),
                Err(_) => {
                    report.unknown.push(sequence);
                    break;
                }
            }
            if in_flight.len() >= self.window
                && let Some((sequence, pending)) = in_flight.pop_front()
                && !report.note(sequence, &pending.outcome().await, &counter)
            {
                break;
            }
        }
        for (sequence, pending) in in_flight {
            report.note(sequence, &pending.outcome().await, &counter);
        }
        report.unknown.extend(again);
        report.lost = Some(client.ended().await);
        report
    }

    /// None when the platform was gone before the connection was made.
    async fn connect(&self, address: SocketAddr) -> Option<tesaiot_mqtt::client::Client> {
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let config = client_config(self.device.tls()).expect("a TLS configuration");
        let stream = tesaiot_tls::connect(&config, "localhost", stream, Instant::now() + PATIENCE).await.ok()?;
        let id = self.device.id().as_str();
        let mut options = Options::new(id);
        options.version = self.version;
        if self.device.certificate().is_none() {
            options.username = Some(id.into());
            options.password = Some(self.device.api_key().to_owned().into());
        }
        connect(stream, options).await.ok().map(|connected| connected.client)
    }

    fn payload(&self, sequence: u64) -> Vec<u8> {
        let time = Self::hour(self.number).0 + SignedDuration::from_millis(sequence.cast_signed());
        let (boot, time) = (format!("run-{}", self.number), time.to_string());
        json!({"boot": boot, "seq": sequence, "timestamp": time, "data": {"n": sequence}}).to_string().into_bytes()
    }
}

impl Report {
    /// False when the connection is over.
    fn note(&mut self, sequence: u64, outcome: &Published, counter: &AtomicU64) -> bool {
        match outcome {
            Published::Acknowledged => {
                self.acknowledged.push(sequence);
                counter.fetch_add(1, Ordering::Relaxed);
                true
            }
            refused @ (Published::Refused(_) | Published::TooLarge { .. }) => {
                panic!("a good message was refused: {refused:?}")
            }
            Published::Lost(_) => {
                self.unknown.push(sequence);
                false
            }
        }
    }
}
