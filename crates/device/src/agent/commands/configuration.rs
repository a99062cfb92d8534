//! The configuration while the agent runs: read again at a signal, changed by command on trial.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Agent, Event};
use crate::command::{Answer, Request, State};
use crate::config::remote::{Found, Remote};
use crate::config::{Config, ConfigError};
use crate::connect::Connector;

/// The configuration in force and where it came from.
pub(super) struct Configured {
    owner: Config,
    /// The owner's file, when there is one to read again
    path: Option<PathBuf>,
    /// What the platform changed; nothing can be changed without a place to keep it
    remote: Option<Remote>,
    in_force: Config,
    /// Where the bundle says the broker is
    pub(super) usual: Connector,
}

/// A changed configuration that must reach the platform.
pub(super) struct Trial {
    request: Request,
    pub(super) deadline: Instant,
    /// Acknowledgements of what was sent before this count for nothing. `None`: the new address is not reached yet
    since: Option<Instant>,
}

impl Agent {
    /// Works by a configuration: its commands, its address, and what the platform changed of it before. The sampler that
    /// was given to [`Agent::new`] must be that of `owner`; another takes its place when the platform changed it.
    ///
    /// # Errors
    /// The state directory cannot be used.
    pub fn with_config(mut self, owner: Config, path: Option<&Path>) -> Result<Self, ConfigError> {
        let mut remote = None;
        if let Some(directory) = &self.settings.data_directory {
            let (opened, found) = Remote::open(directory)?;
            match found {
                Found::Order => {}
                Found::InterruptedTrial => self.tell_configuration("a change on trial was interrupted and taken back"),
                Found::Damaged => self.tell_configuration("remote.toml was damaged and is set aside"),
            }
            remote = Some(opened);
        }
        let in_force = self.over(&owner, remote.as_ref());
        let usual = self.settings.connector.clone();
        let path = path.map(ToOwned::to_owned);
        self.commands.configured = Some(Configured { in_force: owner.clone(), owner, path, remote, usual });
        self.apply(in_force);
        self.commands.reconnect = false;
        Ok(self)
    }

    /// Connects by this connector from now on, to the address that the configuration says, if it says one.
    pub(in crate::agent) fn use_connector(&mut self, usual: Connector) {
        self.settings.connector = usual.clone();
        if let Some(configured) = &mut self.commands.configured {
            let connection = &configured.in_force.connection;
            self.settings.connector = usual.at(connection.host.as_deref(), connection.port);
            configured.usual = usual;
        }
    }

    fn over(&mut self, owner: &Config, remote: Option<&Remote>) -> Config {
        let Some(remote) = remote else { return owner.clone() };
        let (config, mistakes) = remote.over(owner);
        if let Some(mistakes) = mistakes {
            self.tell_configuration(&format!("what the platform changed no longer fits:\n{mistakes}"));
        }
        config
    }

    /// Puts a configuration in force.
    fn apply(&mut self, config: Config) {
        let Some(configured) = &mut self.commands.configured else { return };
        let connector = configured.usual.at(config.connection.host.as_deref(), config.connection.port);
        let old = &self.settings.connector;
        self.commands.reconnect |= (connector.host(), connector.port()) != (old.host(), old.port());
        self.settings.connector = connector;
        let device = self.settings.credentials.device_id();
        if configured.in_force.sensors != config.sensors {
            match config.sampler(device) {
                // The threads of the old one end by themselves.
                Ok(sampler) => self.sampler = sampler,
                Err(error) => self.last_error = Some((self.clock.now(), error.to_string())),
            }
        }
        let durability = config.durability.unwrap_or(self.settings.outbox.durability);
        self.kept.outbox.set_durability(durability, Instant::now().into_std());
        self.commands.settings = config.commands.clone();
        configured.in_force = config;
    }

    /// Reads the owner's file again. A file with mistakes changes nothing.
    pub(in crate::agent) fn reload(&mut self) {
        self.read_access_again();
        let Some(path) = self.commands.configured.as_ref().and_then(|configured| configured.path.clone()) else {
            return self.tell_configuration("there is no configuration file to read again");
        };
        let owner = match Config::load(&path) {
            Ok(owner) if owner.sensors.is_empty() => {
                return self.tell_configuration("the file has no sensor; the old configuration stays in force");
            }
            Ok(owner) => owner,
            Err(error) => {
                return self.tell_configuration(&format!("{error}\nthe old configuration stays in force"));
            }
        };
        if let Some(trial) = self.commands.trial.take() {
            self.take_back(&trial.request, "the owner's configuration was read again");
        }
        let Some(mut configured) = self.commands.configured.take() else { return };
        configured.owner = owner;
        let config = self.over(&configured.owner, configured.remote.as_ref());
        self.commands.configured = Some(configured);
        self.apply(config);
        self.tell_configuration("the configuration was read again");
    }

    pub(super) fn get_config(&mut self, request: &Request) {
        let Some(configured) = &self.commands.configured else {
            return self.fail(request, "this agent was started without a configuration");
        };
        let result = json!({"config": configured.in_force.table(), "on_trial": self.commands.trial.is_some()});
        self.answer(request, State::Done, None, Some(result));
    }

    pub(super) fn set_interval(&mut self, request: &Request) {
        let member = |names: [&str; 3]| names.iter().find_map(|name| request.arguments.get(*name));
        let seconds = member(["seconds", "interval", "value"]).and_then(Value::as_f64);
        let Some(seconds) = seconds.filter(|seconds| (0.01..=604_800.0).contains(seconds)) else {
            return self.fail(request, "seconds is a number from 0.01 to 604800");
        };
        let sensor = request.arguments.get("sensor").and_then(Value::as_str);
        let names = self.sampler.health().into_iter().map(|health| health.sensor);
        let names: Vec<_> = names.filter(|name| sensor.is_none_or(|sensor| **name == *sensor)).collect();
        if self.sampler.set_interval(sensor, Duration::from_secs_f64(seconds)) == 0 {
            return self.fail(request, "there is no such sensor that is asked");
        }
        let kept = self.commands.configured.as_mut().and_then(|configured| {
            let remote = configured.remote.as_mut()?;
            let kept = names.iter().try_for_each(|name| remote.keep_interval(name, seconds));
            configured.in_force = remote.over(&configured.owner).0;
            Some(kept)
        });
        match kept {
            Some(Err(error)) => self.fail(request, &format!("in force until the agent ends: {error}")),
            kept => self.answer(request, State::Done, None, Some(json!({"survives_restart": kept.is_some()}))),
        }
    }

    pub(super) fn set_config(&mut self, request: Request) {
        if self.commands.trial.is_some() {
            return self.fail(&request, "another change is on trial");
        }
        let brought = match request.arguments.get("config") {
            Some(Value::Object(config)) => config,
            _ => &request.arguments,
        };
        let change = serde_json::from_value::<toml::Table>(Value::Object(brought.clone()));
        let Some((configured, remote)) =
            self.commands.configured.as_ref().and_then(|configured| Some((configured, configured.remote.as_ref()?)))
        else {
            return self.fail(&request, "this agent has no place to keep a configuration");
        };
        let Ok(change) = change else {
            return self.fail(&request, "a configuration has no null and no number beyond 64 bits");
        };
        // The journal first: a trial that is found without it would be taken back and nobody told.
        let config = match remote.begin_trial(&configured.owner, &change) {
            Ok(config) => config,
            Err(error) => return self.fail(&request, &error.to_string()),
        };
        if !self.begin(&request) {
            return self.roll_back();
        }
        let deadline = Instant::now() + config.commands.rollback;
        self.apply(config);
        let since = (!self.commands.reconnect).then(Instant::now);
        self.commands.trial = Some(Trial { request, deadline, since });
    }

    /// A connection is there: what is acknowledged over it counts for a trial.
    pub(in crate::agent) fn trial_connected(&mut self) {
        let Some(trial) = self.commands.trial.as_mut().filter(|trial| trial.since.is_none()) else { return };
        trial.since = Some(Instant::now());
        // Said again, so that something is acknowledged even where no sensor is read for an hour.
        let request = trial.request.clone();
        self.push(Answer::new(&request.name, request.id.as_deref(), State::Received, self.now()));
    }

    /// The platform acknowledged what was sent at this moment.
    pub(in crate::agent) fn trial_acknowledged(&mut self, sent: Instant) {
        let reached = |trial: &mut Trial| trial.since.is_some_and(|since| since <= sent);
        let Some(trial) = self.commands.trial.take_if(reached) else { return };
        let remote = self.commands.configured.as_mut().and_then(|configured| configured.remote.as_mut());
        match remote.map(Remote::promote) {
            Some(Err(error)) => self.take_back(&trial.request, &error.to_string()),
            _ => {
                self.tell_configuration("the platform's change is in force");
                self.answer(&trial.request, State::Done, None, None);
            }
        }
    }

    /// The time of a trial is over.
    pub(in crate::agent) fn trial_failed(&mut self) {
        let Some(trial) = self.commands.trial.take() else { return };
        self.take_back(&trial.request, "the platform was not reached with it; it is taken back");
    }

    fn take_back(&mut self, request: &Request, reason: &str) {
        self.roll_back();
        self.tell_configuration(&format!("a change was taken back: {reason}"));
        self.fail(request, reason);
    }

    fn roll_back(&mut self) {
        let Some(configured) = self.commands.configured.take() else { return };
        if let Some(Err(error)) = configured.remote.as_ref().map(Remote::roll_back) {
            self.last_error = Some((self.clock.now(), error.to_string()));
        }
        let config = self.over(&configured.owner, configured.remote.as_ref());
        self.commands.configured = Some(configured);
        self.apply(config);
    }

    fn tell_configuration(&mut self, what: &str) {
        self.emit(Event::Configured { what: what.to_owned() });
    }
}
