//! `tesaiot telemetry get`: stored readings of one device.

use clap::Args;
use jiff::Timestamp;
use tesaiot_contract::DeviceId;

use super::format::{Format, render};
use super::time::moment;
use crate::cli::client::Client;
use crate::cli::client::connection::ConnectionArgs;
use crate::cli::span::Span;
use crate::output;

/// Print stored readings of one device, oldest first.
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Get {
    /// The device's id
    id: DeviceId,
    /// This metric alone
    #[arg(long)]
    metric: Option<String>,
    /// From so long ago on: 30s, 15m, 24h, 7d
    #[arg(long, value_name = "SPAN", conflicts_with_all = ["from", "to"])]
    since: Option<Span>,
    /// From this moment on, the moment included: RFC 3339; UTC without an offset
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<Timestamp>,
    /// Up to this moment, the moment not included
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Timestamp>,
    /// The newest so many readings, at most 100000
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// How to print them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

const HELP: &str = "\
Examples:
  tesaiot telemetry get pump-7 --since 15m
  tesaiot telemetry get pump-7 --metric spo2 --since 24h --limit 100000 --format csv > spo2.csv
  tesaiot telemetry get pump-7 --from 2026-01-31T08:00:00Z --to 2026-01-31T09:00:00Z --json

Exit codes: as those of `tesaiot telemetry`";

impl Get {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let client = Client::new(self.connection.resolve()?);
        let (from, to) = (self.from.map(|time| time.to_string()), self.to.map(|time| time.to_string()));
        let limit = self.limit.to_string();
        let query = [
            ("metric", self.metric.as_deref()),
            ("since", self.since.as_ref().map(Span::as_str)),
            ("from", from.as_deref()),
            ("to", to.as_deref()),
            ("limit", Some(limit.as_str())),
            // When there are more, the newest are wanted; they are printed oldest first all the same.
            ("order", Some("desc")),
        ];
        let query: Vec<(&str, &str)> = query.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let mut answer = client.telemetry(&self.id, &query)?;
        answer.points.reverse();
        let format = if self.json { Format::Json } else { self.format };
        if answer.points.is_empty() && format == Format::Table {
            output::say(format_args!("No readings of {} there.", self.id));
            return Ok(());
        }
        output::data(render(format, &answer.points)?)?;
        if answer.truncated {
            let count = answer.points.len();
            output::warn(format_args!("these are the newest {count}: ask for more with --limit, or for less time"));
        }
        Ok(())
    }
}
