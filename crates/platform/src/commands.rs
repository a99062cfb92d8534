//! Commands and configurations for devices: kept until the device has answered, sent when it is there.
//!
//! A command waits in the registry. It is handed over once for each connection of the device that subscribed its topic,
//! until the device answers or its time is over: at least once, with an identifier by which the device knows it again.
//! An answer is in the registry before it is acknowledged.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tesaiot_broker::{Broker, Host};
use tesaiot_contract::topic::CommandName;
use tesaiot_contract::{DeviceId, DeviceTopic, TopicKind};
use tesaiot_mqtt::{Message, QoS};
use tesaiot_store::StoreError;
use tesaiot_store::registry::{Command, CommandAnswer, CommandKind, CommandState, Registry};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How often devices that something waits for are looked at.
const PERIOD: Duration = Duration::from_millis(250);
/// How often commands past their time are looked for, in periods.
const EXPIRE: u32 = 4;
/// What is kept of a device's reason and of its result, in bytes.
const MOST_ERROR: usize = 500;
const MOST_RESULT: usize = 64 * 1024;

/// What an operator asks for.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) device: DeviceId,
    pub(crate) kind: CommandKind,
    pub(crate) name: CommandName,
    /// A JSON object
    pub(crate) arguments: String,
    pub(crate) actor: String,
    pub(crate) expires_in: Option<Duration>,
}

/// Why a command was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOrdered {
    #[error(transparent)]
    Registry(#[from] StoreError),
    #[error("the system gave no random numbers")]
    Random,
}

/// Commands on their way. Clones share it.
#[derive(Clone)]
pub(crate) struct Commands {
    registry: Registry,
    /// Devices that something waits for, and what was handed over on their present connection
    waiting: Arc<Mutex<HashMap<DeviceId, Handed>>>,
    news: Arc<Notify>,
}

#[derive(Default)]
struct Handed {
    ids: HashSet<Box<str>>,
    /// Rises whenever there is something to look for
    wanted: u64,
    /// The last of these after which nothing was left
    looked: u64,
}

impl Handed {
    fn look_again(&mut self) {
        self.wanted += 1;
    }
}

impl Commands {
    pub(crate) fn new(registry: Registry) -> Self {
        Self { registry, waiting: Arc::default(), news: Arc::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<DeviceId, Handed>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a command. Blocks.
    pub(crate) fn order(&self, order: Order) -> Result<Command, NotOrdered> {
        let mut random = [0; 16];
        SystemRandom::new().fill(&mut random).map_err(|_| NotOrdered::Random)?;
        let now = Timestamp::now();
        let expires_in = order.expires_in.and_then(|after| SignedDuration::try_from(after).ok());
        let command = Command {
            id: format!("{:032x}", u128::from_be_bytes(random)).into(),
            device: order.device,
            kind: order.kind,
            name: order.name.as_str().into(),
            arguments: order.arguments.into(),
            state: CommandState::Queued,
            actor: order.actor.into(),
            created_at: now,
            expires_at: expires_in.and_then(|after| now.checked_add(after).ok()),
            sent_at: None,
            answered_at: None,
            error: None,
            result: None,
        };
        self.registry.create_command(&command)?;
        self.waiting().entry(command.device.clone()).or_default().look_again();
        self.news.notify_one();
        Ok(command)
    }

    /// A device connected: what it did not answer is handed over again.
    pub(crate) fn connected(&self, device: &DeviceId) {
        if let Some(handed) = self.waiting().get_mut(device) {
            handed.ids.clear();
            handed.look_again();
        }
    }

    /// A device says something on a topic of answers. When this returns it is in the registry, as far as it belongs
    /// there; an error is the store's, and the device must say it again.
    pub(crate) async fn answered(&self, device: &DeviceId, kind: &TopicKind, payload: &[u8]) -> Result<(), StoreError> {
        let name = match kind {
            TopicKind::CommandResponse { name } => Some(name.as_str()),
            TopicKind::CommandAck => None,
            _ => return Ok(()),
        };
        let Some(answer) = understand(name, payload) else { return Ok(()) };
        let (registry, device) = (self.registry.clone(), device.clone());
        let noted = tokio::task::spawn_blocking(move || registry.answer_command(&device, &answer, Timestamp::now()));
        match noted.await {
            Ok(noted) => noted.map(drop),
            // It panicked or the process ends: the message is stored as it came all the same.
            Err(_) => Ok(()),
        }
    }

    /// Hands over what waits, until `stop`.
    pub(crate) async fn send_until<H: Host>(self, broker: Broker<H>, stop: CancellationToken) {
        let registry = self.registry.clone();
        let found = tokio::task::spawn_blocking(move || registry.devices_with_queued_commands()).await;
        for device in found.unwrap_or(Ok(Vec::new())).unwrap_or_default() {
            self.waiting().entry(device).or_default().look_again();
        }
        let mut turn = 0_u32;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.news.notified() => {}
                () = tokio::time::sleep(PERIOD) => turn = turn.wrapping_add(1),
            }
            if turn.is_multiple_of(EXPIRE) && !self.waiting().is_empty() {
                let registry = self.registry.clone();
                let expired = tokio::task::spawn_blocking(move || registry.expire_commands(Timestamp::now())).await;
                if let Ok(Err(error)) = expired {
                    tracing::warn!(%error, "commands past their time could not be ended");
                }
            }
            let unsettled = |(id, handed): (&DeviceId, &Handed)| {
                (handed.looked < handed.wanted).then(|| (id.clone(), handed.wanted))
            };
            let devices: Vec<(DeviceId, u64)> = self.waiting().iter().filter_map(unsettled).collect();
            for (device, wanted) in devices {
                self.hand_over(&broker, device, wanted).await;
            }
        }
    }

    async fn hand_over<H: Host>(&self, broker: &Broker<H>, device: DeviceId, wanted: u64) {
        if !broker.is_connected(device.as_str()) {
            return;
        }
        let (registry, asked) = (self.registry.clone(), device.clone());
        let queued = tokio::task::spawn_blocking(move || registry.queued_commands(&asked)).await;
        let Ok(Ok(queued)) = queued else { return };
        if queued.is_empty() {
            let mut waiting = self.waiting();
            if waiting.get(&device).is_some_and(|handed| handed.wanted == wanted) {
                waiting.remove(&device);
            }
            return;
        }
        let mut is_complete = true;
        for command in queued {
            let is_handed = self.waiting().get(&device).is_some_and(|handed| handed.ids.contains(&command.id));
            if is_handed {
                continue;
            }
            let Some(topic) = topic(&command).into_iter().find(|topic| broker.is_subscribed(device.as_str(), topic))
            else {
                is_complete = false;
                continue;
            };
            // Noted first: a quick device answers before the note is on the disk, and by the name alone it must be found.
            let (registry, id) = (self.registry.clone(), command.id.clone());
            let noted = tokio::task::spawn_blocking(move || registry.command_sent(&id, Timestamp::now())).await;
            if let Ok(Err(error)) = noted {
                tracing::warn!(%device, %error, "that a command is sent could not be noted");
            }
            if !broker.publish_for(device.as_str(), &Message::new(topic, body(&command), QoS::AtLeastOnce)) {
                is_complete = false;
                continue;
            }
            self.waiting().entry(device.clone()).or_default().ids.insert(command.id);
        }
        if is_complete && let Some(handed) = self.waiting().get_mut(&device) {
            handed.looked = wanted;
        }
    }
}

/// Where a command goes: the topic, and its alias.
fn topic(command: &Command) -> Vec<String> {
    let device = &command.device;
    let topic = match (command.kind, CommandName::new(&command.name)) {
        (CommandKind::Configuration, _) => DeviceTopic::config(device, None).to_string(),
        (CommandKind::Command, Ok(name)) => DeviceTopic::command(device, &name).to_string(),
        // Unreachable: only names are ordered.
        (CommandKind::Command, Err(_)) => return Vec::new(),
    };
    let alias = topic.replacen("device/", "devices/", 1);
    vec![topic, alias]
}

fn body(command: &Command) -> String {
    let arguments: Value = serde_json::from_str(&command.arguments).unwrap_or_default();
    let member = match command.kind {
        CommandKind::Command => "arguments",
        CommandKind::Configuration => "config",
    };
    let mut body = json!({"id": command.id, member: arguments});
    if let Some(at) = command.expires_at {
        body["expires_at"] = at.to_string().into();
    }
    body.to_string()
}

/// What a device says, in our form or in those of others.
fn understand(name: Option<&str>, payload: &[u8]) -> Option<CommandAnswer> {
    #[derive(Deserialize)]
    struct Said<'a> {
        #[serde(default, alias = "command_id")]
        id: Option<Value>,
        #[serde(default, alias = "name")]
        command: Option<String>,
        #[serde(alias = "state")]
        status: String,
        #[serde(default, alias = "message")]
        error: Option<String>,
        #[serde(borrow, default, alias = "data")]
        result: Option<&'a RawValue>,
    }
    let said: Said<'_> = serde_json::from_slice(payload).ok()?;
    let state = match said.status.to_ascii_lowercase().as_str() {
        "received" | "accepted" | "running" | "in_progress" => CommandState::Received,
        "done" | "ok" | "success" | "succeeded" | "completed" | "executed" => CommandState::Done,
        "failed" | "failure" | "error" | "rejected" => CommandState::Failed,
        "expired" | "timeout" => CommandState::Expired,
        "unknown" | "unsupported" => CommandState::Unknown,
        _ => return None,
    };
    let id = match said.id.unwrap_or_default() {
        Value::String(text) => Some(text.into_boxed_str()),
        Value::Number(number) => Some(number.to_string().into_boxed_str()),
        _ => None,
    };
    let cut = |text: &str, most: usize| -> Box<str> { text[..text.floor_char_boundary(most)].into() };
    Some(CommandAnswer {
        id,
        name: name.map(Into::into).or_else(|| said.command.map(String::into_boxed_str)),
        state,
        error: said.error.map(|error| cut(&error, MOST_ERROR)),
        result: said.result.filter(|result| result.get().len() <= MOST_RESULT).map(|result| result.get().into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_our_own_and_of_others_are_understood() {
        let of = |name, text: &str| understand(name, text.as_bytes());
        let ours = of(Some("ping"), r#"{"command":"ping","id":"a","status":"done","timestamp":"x","result":{"n":1}}"#);
        let ours = ours.unwrap();
        assert_eq!(
            (ours.id.as_deref(), ours.state, ours.result.as_deref()),
            (Some("a"), CommandState::Done, Some("{\"n\":1}"))
        );
        let theirs = of(None, r#"{"command_id":17,"state":"ERROR","message":"no"}"#).unwrap();
        assert_eq!(
            (theirs.id.as_deref(), theirs.state, theirs.error.as_deref()),
            (Some("17"), CommandState::Failed, Some("no"))
        );
        let nameless = of(Some("lamp"), r#"{"id":null,"status":"success"}"#).unwrap();
        assert_eq!((nameless.id, nameless.name.as_deref()), (None, Some("lamp")));
        for nothing in ["", "done", r#"{"id":"a"}"#, r#"{"id":"a","status":"perhaps"}"#] {
            assert_eq!(of(Some("x"), nothing), None, "{nothing}");
        }
    }
}
