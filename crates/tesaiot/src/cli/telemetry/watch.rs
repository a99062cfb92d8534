//! `tesaiot telemetry watch`: the live feed as lines.

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tesaiot_contract::DeviceId;

use super::feed::{Arrival, Feed, Told};
use crate::cli::client::connection::{ConnectionArgs, Target};
use crate::cli::client::error::ClientError;
use crate::cli::client::wire::shown;
use crate::cli::signal::StopSignals;
use crate::output;

/// Waiting before a new connection: doubled from the first to the last.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Print readings as they are stored, until Ctrl-C.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Watch {
    /// These devices alone [default: all]
    #[arg(value_name = "ID")]
    ids: Vec<DeviceId>,
    /// Print one JSON object for each sample, as the platform sent it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

const HELP: &str = "\
Each line is device time, device, metric, value and unit. A sample is shown after it was stored. \
When the connection breaks it is made again, and said on stderr: what was stored meanwhile is in `telemetry get`.

Examples:
  tesaiot telemetry watch
  tesaiot telemetry watch pump-7 pump-8 --json | jq .data

Exit codes: 0 also after Ctrl-C; else as those of `tesaiot telemetry`";

impl Watch {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let target = self.connection.resolve()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            // Caught from the start: whoever sees the first line may press Ctrl-C.
            let mut signals = StopSignals::catch()?;
            tokio::select! {
                result = watch(&target, &self.ids, self.json) => result,
                () = signals.next() => Ok(()),
            }
        })
    }
}

/// Ends with an error that waiting does not mend. The first connection must succeed: an address with a typing mistake
/// is not retried for ever.
async fn watch(target: &Target, devices: &[DeviceId], json: bool) -> anyhow::Result<()> {
    let mut feed = Feed::open(target, devices).await?;
    output::say(format_args!("Watching {}; Ctrl-C ends it.", target.url));
    loop {
        let lost = loop {
            match feed.next().await {
                Ok(Told::Sample(arrival)) => print(&arrival, json)?,
                Ok(Told::Missed(count)) => {
                    output::warn(format_args!("{count} samples came faster than they were read here; they are stored"));
                }
                Err(error) => break error,
            }
        };
        feed.close().await;
        feed = again(target, devices, lost).await?;
    }
}

async fn again(target: &Target, devices: &[DeviceId], lost: ClientError) -> anyhow::Result<Feed> {
    if !lost.retry_may_help() {
        return Err(lost.into());
    }
    output::warn(format_args!("{}; connecting again", anyhow::Error::from(lost)));
    let mut wait = FIRST_WAIT;
    loop {
        tokio::time::sleep(wait).await;
        match Feed::open(target, devices).await {
            Ok(feed) => {
                output::say(format_args!("Connected again to {}.", target.url));
                return Ok(feed);
            }
            Err(error) if error.retry_may_help() => wait = (wait * 2).min(LONGEST_WAIT),
            Err(error) => return Err(error.into()),
        }
    }
}

fn print(arrival: &Arrival, json: bool) -> anyhow::Result<()> {
    if json { output::line(&arrival.whole) } else { output::data(lines(arrival)) }
}

fn lines(arrival: &Arrival) -> String {
    let time = arrival.timestamp.as_ref().or(arrival.received_at.as_ref());
    let time = output::plain(time.map_or("-", String::as_str));
    let line = |(metric, value): (&String, &Value)| {
        let unit = arrival.units.get(metric).and_then(Value::as_str).unwrap_or_default();
        let reading = output::plain(&format!("{metric} = {} {unit}", shown(value)));
        format!("{time}  {}  {}\n", output::plain(&arrival.device), reading.trim_end())
    };
    arrival.data.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_metric() {
        let whole = r#"{"type":"device_telemetry","deviceId":"pump-7","data":{"motion":true,"spo2":97},
            "units":{"spo2":"%"},"timestamp":"2026-01-31T08:00:00Z","received_at":"2026-01-31T08:00:01Z"}"#;
        let arrival: Arrival = serde_json::from_str(whole).unwrap();
        assert_eq!(
            lines(&arrival),
            "2026-01-31T08:00:00Z  pump-7  motion = true\n2026-01-31T08:00:00Z  pump-7  spo2 = 97 %\n"
        );
    }
}
