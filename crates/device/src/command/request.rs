//! A command as it came, in any of the forms that platforms send.
//!
//! Ours is `commands/{name}` with `{"id":…,"arguments":{…}}`. Understood as well: the name in the body (`command`,
//! `cmd`, `method`, `name`) on the bare topic `commands`, arguments under `args`, `params`, `parameters`, `payload` or
//! beside the rest, a number for an identifier, a bare word, and no body at all.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tesaiot_contract::DeviceTopic;
use tesaiot_contract::topic::TopicKind;

/// Longest identifier, in bytes: it is repeated in the answer and kept on disk.
const MAX_ID_BYTES: usize = 128;
/// Longest name that is repeated in an answer, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// Members that mean something themselves, and are no arguments where those stand beside them.
const RESERVED: [&str; 9] =
    ["id", "command_id", "command", "cmd", "method", "name", "timestamp", "expires_at", "timeout_seconds"];

/// What came on a topic the agent subscribes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// A command; its name when the topic says it
    Command(Option<String>),
    /// A configuration
    Configuration,
    /// What the platform has stored
    Receipt,
    /// The certificate that was asked for
    Certificate,
    /// The agent's own answer coming back (`commands/#` matches it too), or a topic of another kind
    Other,
}

/// Which of them it is.
pub(crate) fn arrived(topic: &str) -> Arrived {
    match DeviceTopic::parse(topic).map(|topic| topic.kind) {
        Ok(TopicKind::Commands(path)) => Arrived::Command(path.map(|path| path.as_str().to_owned())),
        Ok(TopicKind::Config(_)) => Arrived::Configuration,
        Ok(TopicKind::Receipts) => Arrived::Receipt,
        Ok(TopicKind::CommandCertificate) => Arrived::Certificate,
        _ => Arrived::Other,
    }
}

/// A command that came.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Request {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) arguments: Map<String, Value>,
    /// Not to be begun after this
    pub(crate) expires_at: Option<Timestamp>,
    /// How long it may run, at most as long as the device allows
    pub(crate) timeout: Option<Duration>,
}

impl Request {
    /// Reads a command. `None`: it has no name that could be answered.
    pub(crate) fn parse(name: Option<String>, payload: &[u8]) -> Option<Self> {
        let body = serde_json::from_slice::<Value>(payload).unwrap_or_else(|_| {
            // A bare word is a value too, and the name where the topic has none.
            Value::String(String::from_utf8_lossy(payload).trim().to_owned())
        });
        let mut object = match body {
            Value::Object(object) => object,
            Value::Null => Map::new(),
            Value::String(text) if text.is_empty() => Map::new(),
            Value::String(text) if name.is_none() => Map::from_iter([("command".to_owned(), Value::String(text))]),
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        let in_body = ["command", "cmd", "method", "name"].iter().find_map(|key| object.get(*key)?.as_str());
        let name = name.or_else(|| in_body.map(ToOwned::to_owned))?;
        let good = !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control);
        let name = good.then_some(name)?;
        let id = ["id", "command_id"].iter().find_map(|key| match object.get(*key)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        });
        let expires_at = object.get("expires_at").and_then(|at| at.as_str()?.parse().ok());
        let timeout = object.get("timeout_seconds").and_then(Value::as_f64);
        let timeout = timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let inside = ["arguments", "args", "params", "parameters", "payload"];
        let inside = inside.iter().find_map(|key| match object.get(*key)? {
            Value::Object(arguments) => Some(arguments.clone()),
            _ => None,
        });
        let arguments = inside.unwrap_or_else(|| {
            RESERVED.iter().for_each(|key| drop(object.remove(*key)));
            object
        });
        let id = id.filter(|id| !id.is_empty() && id.len() <= MAX_ID_BYTES);
        Some(Self { name, id, arguments, expires_at, timeout })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(name: Option<&str>, body: &str) -> Option<Request> {
        Request::parse(name.map(ToOwned::to_owned), body.as_bytes())
    }

    #[test]
    fn the_forms_of_other_platforms_are_understood() {
        let expected = |id: Option<&str>, arguments: Value| {
            let arguments = arguments.as_object().unwrap().clone();
            let (name, id) = ("set-interval".to_owned(), id.map(ToOwned::to_owned));
            Some(Request { name, id, arguments, expires_at: None, timeout: None })
        };
        let named = Some("set-interval");
        for (name, body, id, arguments) in [
            (named, r#"{"id":"c-1","arguments":{"seconds":5}}"#, Some("c-1"), json!({"seconds":5})),
            (named, r#"{"command_id":17,"seconds":5}"#, Some("17"), json!({"seconds":5})),
            (named, "", None, json!({})),
            (named, "5", None, json!({"value":5})),
            (named, "five", None, json!({"value":"five"})),
            (None, r#"{"command":"set-interval","params":{"seconds":5}}"#, None, json!({"seconds":5})),
            (None, r#"{"method":"set-interval","id":3}"#, Some("3"), json!({})),
            (None, "set-interval", None, json!({})),
            (None, "\"set-interval\"", None, json!({})),
        ] {
            assert_eq!(parse(name, body), expected(id, arguments), "{body}");
        }
        let timed = parse(named, r#"{"expires_at":"2025-12-09T10:30:45Z","timeout_seconds":2.5}"#).unwrap();
        assert_eq!(timed.expires_at, Some("2025-12-09T10:30:45Z".parse().unwrap()));
        assert_eq!(timed.timeout, Some(Duration::from_millis(2500)));
    }

    #[test]
    fn what_has_no_name_is_no_command_and_nothing_panics() {
        for body in ["", "{}", "[1]", "null", "{\"command\":\"\"}", "a\nb", &"x".repeat(300), "{\"command\":17}"] {
            assert_eq!(parse(None, body), None, "{body}");
        }
        assert_eq!(Request::parse(None, &[0xff, 0xfe]).map(|request| request.id), Some(None));
        let long = format!(r#"{{"id":"{}","timeout_seconds":-1}}"#, "x".repeat(200));
        let request = parse(Some("ping"), &long).unwrap();
        assert_eq!((request.id, request.timeout), (None, None));
    }

    #[test]
    fn answers_of_its_own_are_not_commands() {
        assert_eq!(arrived("device/pi-1/commands/ping"), Arrived::Command(Some("ping".to_owned())));
        assert_eq!(arrived("device/pi-1/commands"), Arrived::Command(None));
        for topic in ["commands/ping/response", "commands/ack", "commands/csr"] {
            assert_eq!(arrived(&format!("device/pi-1/{topic}")), Arrived::Other, "{topic}");
        }
        assert_eq!(arrived("device/pi-1/commands/certificate"), Arrived::Certificate);
        for topic in ["config", "config/limits/high"] {
            assert_eq!(arrived(&format!("device/pi-1/{topic}")), Arrived::Configuration, "{topic}");
        }
    }
}
