//! `tesaiot telemetry get`: stored readings of one device.

use std::io::IsTerminal;

use clap::Args;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tesaiot_contract::DeviceId;

use super::format::{ArrowError, Format, render};
use super::shape::{Shape, plot_table};
use super::time::moment;
use crate::cli::client::Client;
use crate::cli::client::connection::ConnectionArgs;
use crate::cli::client::wire::{Buckets, Plot, Points};
use crate::cli::span::Span;
use crate::output;

/// Readings or buckets that are printed when no limit is given.
const READINGS: u32 = 1000;

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
    #[command(flatten)]
    shape: Shape,
    /// The newest so many readings, or the first so many buckets, at most 100000 [default: 1000; of readings as csv or ndjson, all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: Option<u32>,
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
  tesaiot telemetry get pump-7 --metric spo2 --since 24h --bucket 1h --aggregate avg,max
  tesaiot telemetry get pump-7 --metric spo2 --since 365d --points 500 --json
  tesaiot telemetry get pump-7 --format csv > everything.csv
  tesaiot telemetry get pump-7 --since 30d --format arrow > month.arrows
  tesaiot telemetry get pump-7 --from 2026-01-31T08:00:00Z --to 2026-01-31T09:00:00Z --json

Exit codes: as those of `tesaiot telemetry`";

impl Get {
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        let client = Client::new(std::mem::take(&mut self.connection).resolve()?);
        let format = if self.json { Format::Json } else { self.format };
        if format == Format::Arrow {
            return self.arrow(&client);
        }
        let is_text = matches!(format, Format::Csv | Format::Ndjson);
        if self.shape.is_buckets() && !is_text {
            return self.buckets(&client, format);
        }
        if self.shape.is_plot() && !is_text {
            return self.plot(&client, format);
        }
        // All readings come oldest first, however many; of a limited number the newest are wanted.
        let is_stream = self.shape.is_buckets() || self.shape.is_plot() || self.limit.is_none();
        if is_text && is_stream { self.stream(&client, format) } else { self.points(&client, format) }
    }

    fn arrow(&self, client: &Client) -> anyhow::Result<()> {
        if self.limit.is_some() || self.shape.is_buckets() || self.shape.is_plot() {
            return Err(ArrowError::NotPoints.into());
        }
        if std::io::stdout().is_terminal() {
            return Err(ArrowError::Terminal.into());
        }
        self.stream(client, Format::Arrow)
    }

    /// What the platform is asked, besides the order, the limit and the format.
    fn query(&self) -> Vec<(&'static str, String)> {
        let own = [
            ("metric", self.metric.clone()),
            ("since", self.since.as_ref().map(|since| since.as_str().to_owned())),
            ("from", self.from.map(|time| time.to_string())),
            ("to", self.to.map(|time| time.to_string())),
        ];
        let mut query: Vec<_> = own.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        query.extend(self.shape.query());
        query
    }

    fn ask<T: DeserializeOwned>(&self, client: &Client, more: &[(&'static str, String)]) -> anyhow::Result<T> {
        let query = self.query();
        let query: Vec<(&str, &str)> = query.iter().chain(more).map(|(name, value)| (*name, value.as_str())).collect();
        Ok(client.telemetry_as(&self.id, &query)?)
    }

    fn stream(&self, client: &Client, format: Format) -> anyhow::Result<()> {
        let mut query = self.query();
        query.extend(self.limit.map(|limit| ("limit", limit.to_string())));
        query.push(("format", format.word().to_owned()));
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        client.stream_telemetry(&self.id, &query, output::bytes)
    }

    fn points(&self, client: &Client, format: Format) -> anyhow::Result<()> {
        let limit = self.limit.unwrap_or(READINGS).to_string();
        // When there are more, the newest are wanted; they are printed oldest first all the same.
        let mut answer: Points = self.ask(client, &[("limit", limit), ("order", "desc".to_owned())])?;
        answer.points.reverse();
        if answer.points.is_empty() && format == Format::Table {
            self.say_nothing_there();
            return Ok(());
        }
        output::data(render(format, &answer.points)?)?;
        if answer.truncated {
            let count = answer.points.len();
            output::warn(format_args!("these are the newest {count}: ask for more with --limit, or for less time"));
        }
        Ok(())
    }

    fn buckets(&self, client: &Client, format: Format) -> anyhow::Result<()> {
        let limit = self.limit.unwrap_or(READINGS).to_string();
        let answer: Buckets = self.ask(client, &[("limit", limit)])?;
        if format == Format::Json {
            output::json(&answer.buckets)?;
        } else if answer.buckets.is_empty() {
            self.say_nothing_there();
        } else {
            output::data(self.shape.table(&answer.buckets))?;
        }
        if answer.truncated {
            let count = answer.buckets.len();
            output::warn(format_args!("these are the first {count}: ask for more with --limit, or for wider buckets"));
        }
        Ok(())
    }

    fn plot(&self, client: &Client, format: Format) -> anyhow::Result<()> {
        let answer: Plot = self.ask(client, &[])?;
        if format == Format::Json {
            output::json(&answer.plot)
        } else if answer.plot.is_empty() {
            self.say_nothing_there();
            Ok(())
        } else {
            output::data(plot_table(&answer.plot))
        }
    }

    fn say_nothing_there(&self) {
        output::say(format_args!("No readings of {} there.", self.id));
    }
}
