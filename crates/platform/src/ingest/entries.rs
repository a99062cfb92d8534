//! What a message becomes in the store.

use bytes::Bytes;
use jiff::Timestamp;
use tesaiot_broker::Outcome;
use tesaiot_contract::telemetry::{self, Limits, PayloadError};
use tesaiot_contract::{DeviceId, DeviceTopic, TopicKind};
use tesaiot_mqtt::packet::PublishAckReason;
use tesaiot_store::telemetry::Entry;

use super::Accepted;

/// The entries of an MQTT message and what its publisher is told once they are stored.
pub(super) fn of_message(
    device: &DeviceId,
    topic: &DeviceTopic,
    payload: Bytes,
    received_at: Timestamp,
    limits: &Limits,
) -> (Vec<Entry>, Outcome) {
    let TopicKind::Telemetry(kind) = &topic.kind else {
        // Everything else that may be published is kept as it came: status, events, responses to commands.
        let entry = if payload.len() > limits.max_payload_bytes {
            let error = PayloadError::TooLarge { actual: payload.len(), limit: limits.max_payload_bytes };
            return refused(device, &topic.to_string(), payload, received_at, &error);
        } else {
            Entry::Message { device: device.clone(), topic: topic.to_string().into(), received_at, payload }
        };
        return (vec![entry], Outcome::Stored);
    };
    match samples(device, kind.as_ref().map(AsRef::as_ref), &payload, received_at, limits) {
        Ok((entries, _)) => (entries, Outcome::Stored),
        Err(error) => refused(device, &topic.to_string(), payload, received_at, &error),
    }
}

/// The entries of a telemetry payload.
pub(super) fn samples(
    device: &DeviceId,
    kind: Option<&str>,
    payload: &[u8],
    received_at: Timestamp,
    limits: &Limits,
) -> Result<(Vec<Entry>, Accepted), PayloadError> {
    let samples = telemetry::parse(device, kind, payload, received_at, limits)?;
    let accepted = Accepted {
        id: format!("{:x}", received_at.as_nanosecond()),
        metrics: samples.iter().flat_map(|sample| &sample.metrics).map(|metric| metric.name.to_string()).collect(),
        time: samples.first().and_then(|sample| sample.time).unwrap_or(received_at),
    };
    let entries = samples
        .into_iter()
        .map(|sample| Entry::Sample { device: device.clone(), kind: kind.map(Into::into), received_at, sample })
        .collect();
    Ok((entries, accepted))
}

fn refused(
    device: &DeviceId,
    topic: &str,
    payload: Bytes,
    received_at: Timestamp,
    error: &PayloadError,
) -> (Vec<Entry>, Outcome) {
    let reason = if error.is_too_large() {
        PublishAckReason::ImplementationSpecificError
    } else {
        PublishAckReason::PayloadFormatInvalid
    };
    (vec![dead_letter(device, topic, payload, received_at, error)], Outcome::Refused(reason))
}

/// A message that could not be understood, kept with the reason.
pub(super) fn dead_letter(
    device: &DeviceId,
    topic: &str,
    payload: Bytes,
    received_at: Timestamp,
    error: &PayloadError,
) -> Entry {
    tracing::debug!(%device, topic, code = error.code(), "dead letter: {error}");
    Entry::DeadLetter {
        device: Some(device.clone()),
        topic: topic.into(),
        received_at,
        payload,
        code: error.code().into(),
        reason: error.to_string().into(),
    }
}
