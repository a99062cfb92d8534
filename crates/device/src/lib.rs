//! The device side: from a sensor to an acknowledged message, over TLS, with failures that name themselves.
//!
//! | Module | Is |
//! |---|---|
//! | [`settings`] | flags, environment and bundle: where to connect, and with what |
//! | [`credentials`] | what a device shows the broker, checked before anything is sent |
//! | [`preflight`] | what is worth a warning before anything is sent |
//! | [`connect`] | host and port → TCP → TLS, each step under a deadline |
//! | [`session`] | a stream → an accepted MQTT connection, or who refused what |
//! | [`sensor`] | what is measured |
//! | [`program`] | programs of the owner's, run within bounds |
//! | [`sampler`] | several sensors, each on its own time |
//! | [`profile`] | what a simulated device measures, declared |
//! | [`publisher`] | one run of messages over one connection |
//! | [`outbox`] | messages on disk until they are confirmed |
//! | [`doctor`] | one check after the other, and which level of security a connection meets |
//! | [`config`] | the agent's configuration file |
//! | [`command`] | what a device does when told |
//! | [`https`] | samples over HTTPS, where MQTT cannot pass |
//! | [`identity`] | a key that is made here, and the certificate for it: enrolment and renewal |
//! | [`clock`] | the time on a machine without a battery for its clock |
//! | [`agent`] | the long-running device program |
//!
//! Nothing here knows the platform: it speaks to any MQTT broker. The agent, its commands and the sensors of a machine
//! are for Unix; publishing and the examination are for every system.

#[cfg(unix)]
pub mod agent;
#[cfg(unix)]
pub mod clock;
#[cfg(unix)]
pub mod command;
#[cfg(unix)]
pub mod config;
pub mod connect;
pub mod credentials;
pub mod doctor;
#[cfg(unix)]
pub mod https;
#[cfg(unix)]
pub mod identity;
#[cfg(unix)]
mod in_flight;
pub mod outbox;
pub mod preflight;
pub mod profile;
#[cfg(unix)]
pub mod program;
pub mod publisher;
pub mod random;
pub mod sampler;
pub mod sensor;
pub mod session;
pub mod settings;
#[cfg(unix)]
mod state_file;

#[cfg(unix)]
pub use agent::{Agent, AgentError, AgentSettings, Transport};
#[cfg(unix)]
pub use config::{Config, ConfigError};
pub use connect::{ConnectError, Connector, Deadlines};
pub use credentials::{Choice, Credentials, CredentialsError, Method};
pub use sampler::{Plan, Sampler, SamplerError};
pub use sensor::{Sensor, SensorError};
pub use session::{Session, SessionError};
pub use settings::{Flags, Settings, SettingsError};
pub use tesaiot_mqtt::client::Lost;
pub use tesaiot_mqtt::packet::{DisconnectReasonCode, PublishAckReason, Version as MqttVersion};
pub use tesaiot_mqtt::topic::is_valid_name as is_topic_name;
pub use tesaiot_mqtt::{Message, QoS};
