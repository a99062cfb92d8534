//! What the agent does when told: from the message to the answers.

mod configuration;
mod running;

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tesaiot_contract::DeviceTopic;
use tesaiot_contract::topic::CommandName;
use tesaiot_mqtt::{Message, QoS};
use tokio::time::Instant;

use super::{Agent, Event};
use crate::command::{Answer, BuiltIn, Journal, Known, Request, State};
use crate::config::CommandsSettings;
use crate::connect::Connector;
use configuration::{Configured, Trial};
pub(super) use running::Ran;
use running::Running;

/// Answers that wait for a connection; more than that many commands at once nobody sends.
const MOST_ANSWERS: usize = 128;
/// Commands that wait for readings.
const MOST_READS: usize = 16;

/// Commands on their way.
pub(super) struct Commands {
    settings: CommandsSettings,
    journal: Journal,
    configured: Option<Configured>,
    running: Running,
    reads: Vec<Reading>,
    outgoing: VecDeque<Answer>,
    trial: Option<Trial>,
    /// The program is to start anew
    pub(super) restart: bool,
    /// The connection is to be made anew: it has another address now
    pub(super) reconnect: bool,
}

/// A `read-now` that waits for its sensors.
struct Reading {
    request: Request,
    waiting: Vec<Arc<str>>,
    result: Map<String, Value>,
}

impl Commands {
    pub(super) fn new(directory: Option<&std::path::Path>) -> Self {
        Self {
            settings: CommandsSettings::default(),
            journal: Journal::open(directory),
            configured: None,
            running: Running::default(),
            reads: Vec::new(),
            outgoing: VecDeque::new(),
            trial: None,
            restart: false,
            reconnect: false,
        }
    }

    /// The next answer to publish.
    pub(super) fn next_answer(&mut self) -> Option<Answer> {
        self.outgoing.pop_front()
    }

    /// The broker has it.
    pub(super) fn told(&mut self, answer: &Answer) {
        self.journal.told(answer);
    }

    /// A new connection: what the last one may not have delivered is told again.
    pub(super) fn rewind(&mut self) {
        for answer in self.journal.untold() {
            if !self.outgoing.contains(&answer) {
                self.outgoing.push_back(answer);
            }
        }
    }

    /// Puts on what the agent shows from now on, also where the bundle says the broker is.
    pub(super) fn dress(&mut self, dress: impl Fn(&Connector) -> Connector) {
        if let Some(configured) = &mut self.configured {
            configured.usual = dress(&configured.usual);
        }
    }

    /// Ends what runs.
    pub(super) async fn stop(&mut self) {
        self.running.stop().await;
    }
}

impl Agent {
    /// What the end of the last run cut off is answered: an agent that was told to restart has done so.
    pub(super) fn answer_cut_off(&mut self) {
        for answer in self.commands.journal.cut_off() {
            let request = Request { name: answer.command, id: answer.id, ..Request::default() };
            if BuiltIn::named(&request.name) == Some(BuiltIn::RestartAgent) {
                self.answer(&request, State::Done, None, None);
            } else {
                self.fail(&request, "the agent ended before the command did");
            }
        }
    }

    /// Takes a command: from here on it is answered, whatever happens.
    pub(super) fn order(&mut self, name: Option<String>, payload: &[u8]) {
        let Some(request) = Request::parse(name, payload) else {
            self.emit(Event::Command { name: String::new(), known: false });
            let answer = Answer::new("", None, State::Unknown, self.now());
            self.push(answer);
            return;
        };
        if let Some(id) = &request.id
            && let Known::Before(answer) = self.commands.journal.look_up(id)
        {
            self.push(*answer);
            return;
        }
        self.report.commands += 1;
        let built_in = BuiltIn::named(&request.name).filter(|one| self.commands.settings.allowed.contains(one));
        let program = self.commands.settings.programs.iter().find(|program| program.name.as_str() == request.name);
        let program = program.cloned();
        self.emit(Event::Command { name: request.name.clone(), known: built_in.is_some() || program.is_some() });
        if request.expires_at.is_some_and(|at| at < self.now()) {
            self.answer(&request, State::Expired, None, None);
            return;
        }
        match (built_in, program) {
            (Some(built_in), _) => self.carry_out_built_in(built_in, request),
            (None, Some(program)) => self.run_program(&program, request),
            (None, None) => self.answer(&request, State::Unknown, None, None),
        }
    }

    fn carry_out_built_in(&mut self, command: BuiltIn, request: Request) {
        match command {
            BuiltIn::Ping => {
                let uptime = json!({"uptime_seconds": self.started.elapsed().as_secs()});
                self.answer(&request, State::Done, None, Some(uptime));
            }
            BuiltIn::ReadNow => self.read_now(request),
            BuiltIn::SetInterval => self.set_interval(&request),
            BuiltIn::GetConfig => self.get_config(&request),
            BuiltIn::SetConfig => self.set_config(request),
            BuiltIn::RestartAgent => {
                if self.begin(&request) {
                    self.commands.restart = true;
                }
            }
            BuiltIn::Diagnostics => {
                let diagnostics = self.diagnostics();
                self.answer(&request, State::Done, None, Some(diagnostics));
            }
        }
    }

    fn read_now(&mut self, request: Request) {
        let sensor = request.arguments.get("sensor").or_else(|| request.arguments.get("value"));
        let sensor = sensor.and_then(Value::as_str).map(ToOwned::to_owned);
        if self.commands.reads.len() >= MOST_READS {
            return self.fail(&request, "too many readings are under way");
        }
        let waiting = self.sampler.read_now(sensor.as_deref());
        if waiting.is_empty() {
            return self.fail(&request, "there is no such sensor that can be asked now");
        }
        if self.begin(&request) {
            self.commands.reads.push(Reading { request, waiting, result: Map::new() });
        }
    }

    /// A sensor was read, or was not: whoever waited for it hears so.
    pub(super) fn hear(&mut self, sensor: &Arc<str>, outcome: &str) {
        let mut finished = Vec::new();
        for (index, reading) in self.commands.reads.iter_mut().enumerate() {
            let before = reading.waiting.len();
            reading.waiting.retain(|waiting| waiting != sensor);
            if reading.waiting.len() < before {
                reading.result.insert(sensor.to_string(), outcome.into());
            }
            if reading.waiting.is_empty() {
                finished.push(index);
            }
        }
        for index in finished.into_iter().rev() {
            let Reading { request, result, .. } = self.commands.reads.remove(index);
            let failed = result.values().all(|outcome| outcome != "read");
            let (state, error) = match failed {
                true => (State::Failed, Some("no sensor could be read".to_owned())),
                false => (State::Done, None),
            };
            self.answer(&request, state, error, Some(Value::Object(result)));
        }
    }

    fn diagnostics(&self) -> Value {
        let sensors = self.sampler.health().into_iter().map(|health| {
            json!({
                "sensor": &*health.sensor, "read": health.read, "failed": health.failed,
                "interval_seconds": health.interval.as_secs_f64(), "error": health.error,
            })
        });
        let sensors: Vec<_> = sensors.collect();
        json!({"version": env!("CARGO_PKG_VERSION"), "agent": self.state(), "sensors": sensors})
    }

    /// Notes that a command takes time. False: the disk refuses, and nothing may begin.
    fn begin(&mut self, request: &Request) -> bool {
        let answer = Answer::new(&request.name, request.id.as_deref(), State::Received, self.now());
        if self.commands.journal.keep(&answer).is_err() {
            self.fail(request, "the device cannot write down that the command came");
            return false;
        }
        self.push(answer);
        true
    }

    fn fail(&mut self, request: &Request, error: &str) {
        self.answer(request, State::Failed, Some(error.to_owned()), None);
    }

    fn answer(&mut self, request: &Request, state: State, error: Option<String>, result: Option<Value>) {
        let answer = Answer::new(&request.name, request.id.as_deref(), state, self.now());
        let answer = Answer { error, result, ..answer };
        // On a full disk the answer is in memory and goes out; a restart before that would not know of it.
        let _ = self.commands.journal.keep(&answer);
        self.push(answer);
    }

    fn push(&mut self, answer: Answer) {
        if self.commands.outgoing.len() >= MOST_ANSWERS {
            self.commands.outgoing.pop_front();
        }
        self.commands.outgoing.push_back(answer);
    }

    /// The message of an answer. A name that can stand in no topic is answered where all answers may go.
    pub(super) fn response(&self, answer: &Answer) -> Message {
        let device = self.settings.credentials.device_id();
        let topic = match CommandName::new(&answer.command) {
            Ok(name) => DeviceTopic::command_response(device, name),
            Err(_) => DeviceTopic::command_ack(device),
        };
        Message::new(topic.to_string(), answer.to_json(), QoS::AtLeastOnce)
    }

    fn now(&self) -> jiff::Timestamp {
        self.clock.now()
    }

    /// When a trial ends, if one is under way.
    pub(super) fn trial_ends(&self) -> Option<Instant> {
        self.commands.trial.as_ref().map(|trial| trial.deadline)
    }

    /// The next program of the owner's that ended. Never, when none runs.
    pub(super) async fn ran(running: &mut Commands) -> Ran {
        running.running.next().await
    }
}
