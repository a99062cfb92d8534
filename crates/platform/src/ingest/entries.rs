//! What a message becomes in the store.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;
use tesaiot_contract::telemetry::{self, Limits, PayloadError};
use tesaiot_contract::{DeviceId, DeviceTopic, Sample, TelemetryType, TopicKind};
use tesaiot_mqtt::packet::PublishAckReason;
use tesaiot_store::telemetry::Entry;

use super::Accepted;

/// The entries of an MQTT message, and whether it was understood. What was not is among them as a dead letter.
pub(super) fn of_message(
    device: &DeviceId,
    topic: &DeviceTopic,
    payload: Bytes,
    received_at: Timestamp,
    limits: &Limits,
) -> (Vec<Entry>, Result<(), PayloadError>) {
    let understood = match &topic.kind {
        TopicKind::Telemetry(kind) => {
            let kind = kind.as_ref().map(AsRef::as_ref);
            let samples = telemetry::parse(device, kind, &payload, received_at, limits);
            samples.map(|samples| of_samples(device, kind, samples, received_at))
        }
        // Everything else that may be published is kept as it came: status, events, responses to commands.
        _ if payload.len() > limits.max_payload_bytes => {
            Err(PayloadError::TooLarge { actual: payload.len(), limit: limits.max_payload_bytes })
        }
        _ => {
            let (device, topic, payload) = (device.clone(), topic.to_string().into(), payload.clone());
            Ok(vec![Entry::Message { device, topic, received_at, payload }])
        }
    };
    match understood {
        Ok(entries) => (entries, Ok(())),
        Err(error) => (vec![dead_letter(device, &topic.to_string(), payload, received_at, &error)], Err(error)),
    }
}

/// What an MQTT 5 publisher is told of a dead letter (the wire contract, section 4).
pub(super) fn answer(error: &PayloadError) -> PublishAckReason {
    if error.is_too_large() {
        PublishAckReason::ImplementationSpecificError
    } else {
        PublishAckReason::PayloadFormatInvalid
    }
}

/// The entries of a telemetry payload that came by HTTP, and what its sender is told of them.
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
    Ok((of_samples(device, kind, samples, received_at), accepted))
}

fn of_samples(device: &DeviceId, kind: Option<&str>, samples: Vec<Sample>, received_at: Timestamp) -> Vec<Entry> {
    let entry = |sample| Entry::Sample { device: device.clone(), kind: kind.map(Into::into), received_at, sample };
    samples.into_iter().map(entry).collect()
}

/// What stands in a batch, `{"telemetry":[…],"types":[…]}`: the array, not yet looked at, and of each sample the type that
/// would stand in its topic, when the batch says them.
pub(super) fn of_batch(payload: &Bytes) -> Result<(Bytes, Types), PayloadError> {
    #[derive(Deserialize)]
    struct Batch<'a> {
        #[serde(borrow)]
        telemetry: &'a RawValue,
        #[serde(default)]
        types: Option<Types>,
    }
    let batch: Batch<'_> = serde_json::from_slice(payload).map_err(|error| match error.classify() {
        Category::Data | Category::Io => PayloadError::NotABatch,
        Category::Syntax | Category::Eof => PayloadError::NotJson { line: error.line(), column: error.column() },
    })?;
    let samples = batch.telemetry.get();
    let types = batch.types.unwrap_or_default();
    // Counted only where types are given; what is wrong with the array itself is told of the array.
    let count = || serde_json::from_str::<Vec<&RawValue>>(samples).map_or(types.len(), |samples| samples.len());
    let are_types = types.iter().flatten().all(|kind| TelemetryType::new(kind).is_ok());
    let are_types = are_types && (types.is_empty() || types.len() == count());
    if !samples.starts_with('[') || !are_types {
        return Err(PayloadError::NotABatch);
    }
    Ok((payload.slice_ref(samples.as_bytes()), types))
}

/// Of each sample of a batch its type; none for a batch that says no types.
pub(super) type Types = Vec<Option<Box<str>>>;

/// Gives the samples of a batch their types.
pub(super) fn give_types(entries: &mut [Entry], types: Types) {
    for (entry, of_sample) in entries.iter_mut().zip(types) {
        if let Entry::Sample { kind, .. } = entry {
            *kind = of_sample;
        }
    }
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
