//! `tesaiot publish`: one message, or a run of them, from this machine to a broker (the wire contract, section 8).

pub(crate) mod arguments;
pub(crate) mod failure;
mod hint;
mod outcome;
mod payload;
mod progress;
mod run;
mod spooled;

use std::process::ExitCode;
use std::task::{Context, Poll, Waker};

use jiff::{SignedDuration, Timestamp};
use tesaiot_contract::bundle::Bundle;
use tesaiot_device::publisher::{Plan, Source};
use tesaiot_device::{Settings, preflight};
use tokio::runtime;

use crate::exit;
use crate::output;
pub(crate) use arguments::PublishArgs;
use failure::PublishError;
use payload::{Payload, PayloadError};
use progress::Bar;
use run::Run;

impl PublishArgs {
    /// Does it.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let plan = self.plan()?;
        let version = self.version()?;
        let (flags, choice) = self.flags()?;
        if self.dry_run {
            let device = Settings::device_id(flags, environment)?;
            let payload = self.payload.open(&device)?;
            return dry_run(payload, plan).map(|()| exit::code(exit::OK));
        }
        let settings = Settings::load(flags, environment)?;
        settings.check_endpoints()?;
        if self.fix_permissions && settings.exposed_key_mode().is_some() {
            Bundle::protect_key(&settings.bundle.directory)?;
            output::say("client_key.pem may be used by its owner alone now (mode 600).");
        }
        let now = Timestamp::now();
        let credentials = settings.credentials(choice, now)?;
        for warning in preflight::warnings(&settings, &credentials, now) {
            if self.strict {
                return Err(PublishError::Warned(warning).into());
            }
            output::warn(warning);
        }
        let spool = self.spool(credentials.device_id())?;
        let payload = self.payload.open(credentials.device_id())?;
        let run = Run {
            connector: settings.connector(&credentials, self.tls_version.into())?.until(plan.until),
            envelope: self.envelope(credentials.device_id()),
            credentials,
            plan,
            version,
            wait_stored: self.wait_stored,
            json: self.json,
            bar: Bar::new(self.progress, (plan.count < u64::MAX).then_some(plan.count)),
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let result = match spool {
            None => runtime.block_on(run.execute(payload)),
            Some(directory) => runtime.block_on(run.execute_spooled(payload, directory)),
        };
        // A host name that is still being resolved must not hold up the exit.
        runtime.shutdown_background();
        result.map(|()| exit::code(exit::OK))
    }
}

/// What the process environment says.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Prints what would be sent, a message a line, each generated sample with the time at which it would be.
fn dry_run(mut payload: Payload, plan: Plan) -> anyhow::Result<()> {
    let interval = SignedDuration::try_from(plan.interval).unwrap_or_default();
    let mut time = Timestamp::now();
    let mut lines = Vec::new();
    for _ in 0..plan.count {
        match &mut payload {
            Payload::Generated(generated) => generated.0.write(time, &mut lines),
            other => {
                if !next(other, &mut lines)? {
                    break;
                }
            }
        }
        lines.push(b'\n');
        time = time.saturating_add(interval)?;
        // Stdin is shown as it comes; the rest needs no system call a line.
        if matches!(payload, Payload::Stream(_)) || lines.len() > 64 * 1024 {
            output::bytes(&lines)?;
            lines.clear();
        }
    }
    output::bytes(&lines)
}

/// The next message of a source that may have to wait for it.
fn next(payload: &mut Payload, line: &mut Vec<u8>) -> Result<bool, PayloadError> {
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(more) = payload.poll_next(&mut context, line) {
            return Ok(more?);
        }
        // There is nothing else to do here than to wait for whoever writes to stdin.
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
