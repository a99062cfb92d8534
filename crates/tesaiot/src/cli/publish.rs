//! `tesaiot publish`: one sample, or a run of them, from this machine to a broker (the wire contract, section 8).

pub(crate) mod arguments;
pub(crate) mod failure;
mod hint;
mod outcome;
mod run;

use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};
use tesaiot_contract::{DeviceId, DeviceTopic};
use tesaiot_device::profile::{Generator, Profile};
use tesaiot_device::publisher::{Envelope, Plan};
use tesaiot_device::random::Random;
use tesaiot_device::{Choice, QoS, Settings};
use tokio::runtime;

use crate::exit;
use crate::output;
pub(crate) use arguments::PublishArgs;
use failure::PublishError;
use run::Run;

impl PublishArgs {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let plan = self.plan()?;
        let profile = Profile::named("medical")?;
        if self.dry_run {
            let device = Settings::device_id(self.flags(), environment)?;
            return dry_run(&profile, &device, plan).map(|()| exit::code(exit::OK));
        }
        let settings = Settings::load(self.flags(), environment)?;
        self.check_key(&settings)?;
        let credentials = settings.credentials(Choice::PreferCertificate, Timestamp::now())?;
        let topic = DeviceTopic::telemetry(credentials.device_id(), None).to_string();
        let generator = Generator::new(&profile, credentials.device_id(), Random::from_system());
        let run = Run {
            connector: settings.connector(&credentials, self.tls_version.into())?,
            credentials,
            plan,
            envelope: Envelope { topic, qos: QoS::AtLeastOnce, retain: false },
            version: self.mqtt_version.into(),
            json: self.json,
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(run.execute(generator));
        // A host name that is still being resolved must not hold up the exit.
        runtime.shutdown_background();
        result.map(|()| exit::code(exit::OK))
    }

    fn check_key(&self, settings: &Settings) -> Result<(), PublishError> {
        match settings.exposed_key_mode() {
            Some(mode) if self.strict => Err(PublishError::ExposedKey { mode }),
            Some(mode) => {
                output::warn(PublishError::ExposedKey { mode });
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// What the process environment says.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Prints what would be sent, each sample with the time at which it would be.
fn dry_run(profile: &Profile, device: &DeviceId, plan: Plan) -> anyhow::Result<()> {
    let mut generator = Generator::new(profile, device, Random::from_system());
    let interval = SignedDuration::try_from(plan.interval).unwrap_or_default();
    let mut time = Timestamp::now();
    let mut line = Vec::new();
    for _ in 0..plan.count {
        line.clear();
        generator.write(time, &mut line);
        line.push(b'\n');
        output::bytes(&line)?;
        time = time.saturating_add(interval)?;
    }
    Ok(())
}
