//! Bodies of the messages beside telemetry: presence, and a device's request for a certificate (the wire contract,
//! section 3).

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::DeviceId;

/// Whether a device is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Connected.
    Online,
    /// Gone: said by the device before it leaves, or by its Last Will.
    Offline,
}

/// The retained message on `device/{id}/status`, which is also the Last Will. Devices may add members of their own;
/// reading ignores them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether the device is there.
    pub status: Presence,
    /// When the device said so. In a Last Will it is the time of the connection, which is when the will was written.
    #[serde(default, with = "time", skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

impl Status {
    /// A status said at `timestamp`, written in whole seconds.
    pub fn new(status: Presence, timestamp: Timestamp) -> Self {
        let seconds = Timestamp::from_second(timestamp.as_second()).unwrap_or(timestamp);
        Self { status, timestamp: Some(seconds) }
    }

    /// The message's payload.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("two members of plain text always serialize")
    }
}

/// The message on `device/{id}/commands/csr`: please sign this. The answer on `device/{id}/commands/certificate` is the
/// certificate chain as plain PEM, with nothing around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningRequest {
    /// The device that asks. It must be the one whose topic it is; the platform checks.
    pub device_id: DeviceId,
    /// PKCS#10 certificate signing request in PEM.
    pub csr: String,
}

impl SigningRequest {
    /// The message's payload.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("two members of plain text always serialize")
    }
}

/// RFC 3339 in text; written in UTC as `+00:00`, read with `Z` or any offset, and as UTC without one.
pub(crate) mod time {
    use super::*;

    pub fn serialize<S: Serializer>(timestamp: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match timestamp {
            Some(timestamp) => serializer.collect_str(&timestamp.display_with_offset(Offset::UTC)),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        deserializer.deserialize_any(TimeVisitor)
    }

    fn parse(text: &str) -> Option<Timestamp> {
        // A bare date and a zone in brackets are more than RFC 3339 knows, and the second would be misread as UTC.
        if text.len() < "2025-12-09T10:30:45".len() || text.contains('[') {
            return None;
        }
        let naive = |_| text.parse::<DateTime>().and_then(|time| TimeZone::UTC.to_timestamp(time));
        text.parse::<Timestamp>().or_else(naive).ok()
    }

    struct TimeVisitor;

    impl Visitor<'_> for TimeVisitor {
        type Value = Option<Timestamp>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a time in RFC 3339")
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            // The cause would repeat what the device wrote; a payload is not ours to print.
            parse(text).map(Some).ok_or_else(|| E::custom("timestamp is not RFC 3339"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn status_is_written_in_whole_seconds_of_utc() {
        let status = Status::new(Presence::Online, time("2025-12-09T17:30:45.9+07:00"));
        assert_eq!(status.to_json(), r#"{"status":"online","timestamp":"2025-12-09T10:30:45+00:00"}"#);
        assert_eq!(serde_json::from_str::<Status>(&status.to_json()).unwrap(), status);
    }

    #[test]
    fn status_of_other_clients_is_read() {
        let read = |json: &str| serde_json::from_str::<Status>(json).map(|status| (status.status, status.timestamp));
        let at = Some(time("2025-12-09T10:30:45Z"));
        for written in ["2025-12-09T10:30:45Z", "2025-12-09T17:30:45+07:00", "2025-12-09T10:30:45"] {
            let json = format!(r#"{{"uptime":3,"timestamp":"{written}","status":"offline"}}"#);
            assert_eq!(read(&json).unwrap(), (Presence::Offline, at), "{written}");
        }
        assert_eq!(read(r#"{"status":"online"}"#).unwrap(), (Presence::Online, None));
        assert_eq!(read(r#"{"status":"online","timestamp":null}"#).unwrap(), (Presence::Online, None));
        for bad in [r#"{"status":"away"}"#, r#"{"status":"online","timestamp":17}"#, "{}", "online"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        for bad in ["", "2025-12-09", "2025-12-09T25:30:45Z", "2025-12-09T10:30:45[Asia/Bangkok]"] {
            let bad = format!(r#"{{"status":"online","timestamp":"{bad}"}}"#);
            assert!(read(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bad_time_is_not_repeated_in_the_error() {
        let error = serde_json::from_str::<Status>(r#"{"status":"online","timestamp":"hunter2"}"#).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn signing_request_has_the_members_of_the_contract() {
        let request = SigningRequest { device_id: DeviceId::new("pi-1").unwrap(), csr: "-----BEGIN\n".into() };
        assert_eq!(request.to_json(), r#"{"device_id":"pi-1","csr":"-----BEGIN\n"}"#);
        assert_eq!(serde_json::from_str::<SigningRequest>(&request.to_json()).unwrap(), request);
        assert!(serde_json::from_str::<SigningRequest>(r#"{"device_id":"a/b","csr":""}"#).is_err());
    }
}
