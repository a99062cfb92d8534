//! What happens to an agent, in the words of its log.

use tesaiot_device::Method;
use tesaiot_device::agent::Event;
use tesaiot_device::session::describe_lost;

use crate::output;

/// Says what a person wants to know, and not every sample: the log of a device lies on an SD card.
pub(super) struct Narrator {
    method: Method,
    /// The first sample that arrives over a connection is worth a line: it works.
    first_is_due: bool,
}

impl Narrator {
    pub(super) fn new(method: Method) -> Self {
        Self { method, first_is_due: true }
    }

    pub(super) fn tell(&mut self, event: &Event) {
        match event {
            Event::Connected { host, port, tls_version } => {
                self.first_is_due = true;
                let version = tls_version.map(|version| format!(", {version}")).unwrap_or_default();
                output::say(format_args!("connected to {host}:{port} ({}{version})", self.method));
            }
            Event::ConnectFailed { error, retry_in } => {
                output::warn(format_args!("{error}\nhint: {}\nnext attempt in {retry_in:.1?}", error.hint()));
            }
            Event::PostFailed { error, retry_in } => {
                let text = output::plain(&error.to_string());
                output::warn(format_args!("{text}\nhint: {}\nnext attempt in {retry_in:.1?}", error.hint()));
            }
            Event::PostRefused { seq, error } => {
                let text = output::plain(&error.to_string());
                output::warn(format_args!("sample {seq}: {text}\nhint: {}", error.hint()));
            }
            Event::Disconnected { lost, retry_in } => {
                output::warn(format_args!("{}; connecting again in {retry_in:.1?}", describe_lost(lost)));
            }
            Event::Acknowledged { seq, after } if self.first_is_due => {
                self.first_is_due = false;
                output::say(format_args!(
                    "sample {seq} acknowledged after {after:.1?}; those that follow are not told"
                ));
            }
            Event::Acknowledged { .. } | Event::Sampled { .. } => {}
            Event::SensorFailed { sensor, error, retry_in } => {
                let (sensor, what) = (output::plain(sensor), error.describe());
                let what = output::plain(&what);
                let again = match retry_in {
                    retry_in if retry_in.is_zero() => String::new(),
                    retry_in => format!("\nit is read again in {retry_in:.0?}"),
                };
                output::warn(format_args!("sensor {sensor}: {what}\nhint: {}{again}", error.hint()));
            }
            Event::SensorRecovered { sensor } => {
                output::say(format_args!("sensor {} is read again", output::plain(sensor)));
            }
            Event::Faulty { sensor, metric, fault } => {
                let (sensor, metric) = (output::plain(sensor), output::plain(metric));
                output::warn(format_args!("sensor {sensor}: {metric} is flagged {}", fault.as_str()));
            }
            Event::Refused { seq, reason } => {
                output::warn(format_args!("the broker refused sample {seq}: {reason:?}"));
            }
            Event::Lost { count, in_all } => {
                output::warn(format_args!("{count} samples were lost, {in_all} in all; the platform is told which"));
            }
            Event::DiskTrouble(trouble) if trouble.goes_on => {
                let message = output::plain(&trouble.message);
                output::warn(format_args!(
                    "cannot {}: {message}; samples are kept in memory until the disk takes them",
                    trouble.operation
                ));
            }
            Event::DiskTrouble(trouble) => {
                let message = output::plain(&trouble.message);
                output::warn(format_args!("there was trouble to {}: {message}", trouble.operation));
            }
            Event::PreviousRunCutShort { waiting } => {
                output::say(format_args!("the last run was cut short; {waiting} samples wait to be delivered"));
            }
            Event::ReceiptUnreadable => output::warn("what came on the topic of receipts is none; it changes nothing"),
            Event::ReceiptsOverdue { samples, waited } => output::warn(format_args!(
                "no receipt for {samples} samples within {waited:?}; they are sent again\nhint: does the broker pass the \
                 samples on to the platform, and device/ID/receipts back?"
            )),
            Event::NeverStored { seq, times } => {
                output::warn(format_args!(
                    "sample {seq} was sent {times} times and the platform does not store it: it is given up"
                ));
            }
            Event::SubscriptionRefused { filter } => {
                output::warn(format_args!("the broker refused the subscription to {filter}"));
            }
            Event::Command { name, known: true } => {
                output::say(format_args!("command {} answered", output::plain(name)));
            }
            Event::Command { name, known: false } => {
                output::warn(format_args!("unknown command {} answered so", output::plain(name)));
            }
            Event::CredentialsChanged => {
                output::say("the bundle holds another certificate or key; it is used from now on")
            }
            Event::Renewed { not_after } => {
                output::say(format_args!("the certificate was renewed; the new one is good until {not_after:.0}"));
            }
            Event::RenewalFailed { what, hint, retry_in } => {
                let what = output::plain(what);
                output::warn(format_args!(
                    "the certificate could not be renewed: {what}\nhint: {hint}\nit is tried again in {retry_in:.0?}"
                ));
            }
            Event::Configured { what } => {
                output::say(what.lines().map(output::plain).collect::<Vec<_>>().join("\n"));
            }
        }
    }
}
