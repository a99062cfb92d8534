//! Commands to the device, and its answers.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tesaiot_contract::DeviceTopic;
use tesaiot_contract::topic::{CommandName, TopicKind};
use tesaiot_mqtt::{Message, QoS};

/// Longest identifier of a command that is repeated in its answer, in bytes.
const MAX_ID_BYTES: usize = 128;

/// What came on a topic the agent subscribes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// A command with a name: it gets an answer.
    Command(CommandName),
    /// A configuration.
    Configuration,
    /// The agent's own answer coming back (`commands/#` matches it too), or a topic of another kind.
    Other,
}

/// Which of the three it is.
pub(crate) fn arrived(topic: &str) -> Arrived {
    match DeviceTopic::parse(topic).map(|topic| topic.kind) {
        Ok(TopicKind::Commands(Some(path))) => match CommandName::new(path.as_str()) {
            Ok(name) => Arrived::Command(name),
            Err(_) => Arrived::Other,
        },
        Ok(TopicKind::Config(_)) => Arrived::Configuration,
        _ => Arrived::Other,
    }
}

/// What a command's body may say that matters to every command.
#[derive(Debug, Default, Deserialize)]
struct Body {
    /// Chosen by the sender, repeated in the answer
    #[serde(default)]
    id: Option<String>,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Done.
    Ok,
    /// No command of that name.
    UnknownCommand,
}

/// The body of `device/{id}/commands/{name}/response`.
#[derive(Debug, Serialize)]
struct Response<'a> {
    command: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    status: Verdict,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_seconds: Option<u64>,
}

/// Carries out one command and makes its answer.
pub(crate) fn answer(command: &Message, name: &CommandName, now: Timestamp, uptime: Duration) -> (Message, Verdict) {
    // A body is optional, and one that is not ours to read does not keep a command from being answered.
    let body: Body = serde_json::from_slice(&command.payload).unwrap_or_default();
    let id = body.id.as_deref().filter(|id| id.len() <= MAX_ID_BYTES);
    let verdict = match name.as_str() {
        "ping" => Verdict::Ok,
        _ => Verdict::UnknownCommand,
    };
    let response = Response {
        command: name.as_str(),
        id,
        status: verdict,
        timestamp: now.display_with_offset(jiff::tz::Offset::UTC).to_string(),
        uptime_seconds: (verdict == Verdict::Ok).then_some(uptime.as_secs()),
    };
    let payload = serde_json::to_vec(&response).expect("members of plain text and numbers always serialize");
    (Message::new(format!("{}/response", command.topic), payload, QoS::AtLeastOnce), verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: &str, body: &str) -> String {
        let command = Message::new(format!("device/pi-1/commands/{name}"), body.to_owned(), QoS::AtLeastOnce);
        let now = "2025-12-09T10:30:45Z".parse().unwrap();
        let (message, _) = answer(&command, &CommandName::new(name).unwrap(), now, Duration::from_secs(7));
        assert_eq!(message.topic, format!("device/pi-1/commands/{name}/response"));
        String::from_utf8(message.payload.to_vec()).unwrap()
    }

    #[test]
    fn ping_is_answered_with_the_identifier_of_the_command() {
        assert_eq!(
            ask("ping", r#"{"id":"c-1","more":[1]}"#),
            r#"{"command":"ping","id":"c-1","status":"ok","timestamp":"2025-12-09T10:30:45+00:00","uptime_seconds":7}"#
        );
    }

    #[test]
    fn an_unknown_command_and_a_body_of_any_kind_are_answered() {
        let unknown = r#"{"command":"dance","status":"unknown_command","timestamp":"2025-12-09T10:30:45+00:00"}"#;
        for body in ["", "not json", "[1,2]", r#"{"id":17}"#, &format!(r#"{{"id":"{}"}}"#, "x".repeat(200))] {
            assert_eq!(ask("dance", body), unknown, "{body}");
        }
    }

    #[test]
    fn answers_of_its_own_are_not_commands() {
        assert!(matches!(arrived("device/pi-1/commands/ping"), Arrived::Command(name) if name.as_str() == "ping"));
        for topic in ["commands/ping/response", "commands/ack", "commands/csr", "commands/certificate", "commands"] {
            assert_eq!(arrived(&format!("device/pi-1/{topic}")), Arrived::Other, "{topic}");
        }
        for topic in ["config", "config/limits/high"] {
            assert_eq!(arrived(&format!("device/pi-1/{topic}")), Arrived::Configuration, "{topic}");
        }
    }
}
