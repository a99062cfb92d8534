//! The telemetry store, through its public interface.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use tesaiot_contract::DeviceId;
use tesaiot_contract::telemetry::{MessageId, Metric, Sample, Value};
use tesaiot_store::telemetry::{BucketQuery, Entry, Options, RangeQuery};
use tesaiot_store::{Appender, Telemetry};

use super::data::{self, DEVICES, Kind, Message};
use super::engine::{BUCKET, Digest, Disk, Engine, Series};

pub(crate) struct Ours {
    telemetry: Telemetry,
    appender: Appender,
    path: PathBuf,
    kind: Kind,
    devices: Vec<DeviceId>,
    entries: Vec<Entry>,
}

impl Ours {
    pub(crate) fn open(directory: &Path, kind: Kind) -> Result<Self> {
        let path = directory.join("telemetry.db");
        let (telemetry, appender) = Telemetry::open(&path, Options::default())?;
        let devices = (0..=DEVICES).map(|index| DeviceId::new(data::device_name(index))).collect::<Result<_, _>>()?;
        Ok(Self { telemetry, appender, path, kind, devices, entries: Vec::new() })
    }
}

/// A message as the platform hands it to the store.
pub(crate) fn entry(device: &DeviceId, kind: Kind, message: &Message) -> Entry {
    let time = Timestamp::from_millisecond(message.time).unwrap_or_default();
    let metric = |(index, reading): (usize, &f64)| {
        let (name, unit) = data::metric(index);
        let value = if data::is_whole(kind, index) { Value::Integer(*reading as i64) } else { Value::Float(*reading) };
        Metric { name: name.into(), value, unit: Some(unit.into()) }
    };
    Entry::Sample {
        device: device.clone(),
        kind: Some("vital".into()),
        // On its way it took some milliseconds, never the same number.
        received_at: time + Duration::from_millis(3 + message.sequence.wrapping_mul(0x9e37_79b9) % 37),
        sample: Sample {
            time: Some(time),
            id: Some(MessageId { boot: "first".into(), seq: message.sequence }),
            metrics: message.readings.iter().enumerate().map(metric).collect(),
        },
    }
}

impl Engine for Ours {
    fn load(&mut self, messages: &[Message]) -> Result<()> {
        self.prepare(messages);
        self.commit(messages)?;
        self.between()
    }

    fn loaded(&mut self) -> Result<()> {
        while self.appender.maintain()?.more {}
        Ok(())
    }

    fn prepare(&mut self, messages: &[Message]) {
        self.entries.clear();
        self.entries.extend(messages.iter().map(|message| entry(&self.devices[message.device], self.kind, message)));
    }

    fn commit(&mut self, _: &[Message]) -> Result<()> {
        self.appender.append(&self.entries)?;
        Ok(())
    }

    fn between(&mut self) -> Result<()> {
        self.appender.maintain()?;
        Ok(())
    }

    fn catch_up(&mut self) -> Result<()> {
        self.appender.seal_all()?;
        self.loaded()
    }

    fn settle(&mut self) -> Result<Disk> {
        self.appender.seal_all()?;
        while self.appender.maintain()?.more {}
        size(&self.path)
    }

    fn points(&mut self, series: Series) -> Result<Digest> {
        let query = RangeQuery {
            metric: Some(data::metric(series.metric).0.into()),
            from: Timestamp::from_millisecond(series.from)?,
            to: Timestamp::from_millisecond(series.to)?,
            ..RangeQuery::default()
        };
        let points = self.telemetry.range(&self.devices[series.device], &query)?;
        // Every point with its time, as the others are read.
        let read: Vec<(Timestamp, f64)> =
            points.iter().filter_map(|point| Some((point.time, point.value.number()?))).collect();
        Ok(Digest::of(read.iter().map(|(_, value)| *value)))
    }

    fn buckets(&mut self, series: Series) -> Result<Digest> {
        let query = bucket_query(series, Duration::from_millis(BUCKET.unsigned_abs()))?;
        let buckets = self.telemetry.buckets(&self.devices[series.device], &query)?;
        Ok(Digest::of(buckets.iter().filter_map(|bucket| bucket.average)))
    }

    fn average(&mut self, series: Series) -> Result<Digest> {
        // One bucket that holds the whole span.
        let query = bucket_query(series, Duration::from_millis((series.to - series.from).unsigned_abs()))?;
        let buckets = self.telemetry.aggregate(Some(&self.devices[..DEVICES]), &query)?;
        Ok(Digest::of(buckets.iter().filter_map(|bucket| bucket.average)))
    }

    fn latest(&mut self) -> Result<Digest> {
        let newest = self.telemetry.latest_all(None, usize::MAX, None);
        let values = newest.iter().flat_map(|(_, metrics)| metrics).filter_map(|latest| latest.value.number());
        Ok(Digest::of(values))
    }
}

fn bucket_query(series: Series, width: Duration) -> Result<BucketQuery> {
    Ok(BucketQuery {
        metric: data::metric(series.metric).0.into(),
        from: Timestamp::from_millisecond(series.from)?,
        to: Timestamp::from_millisecond(series.to)?,
        origin: Timestamp::from_millisecond(series.from)?,
        width,
        ..BucketQuery::default()
    })
}

/// How much of a database file is in use and how large it is, with everything moved into it from the log.
pub(crate) fn size(path: &Path) -> Result<Disk> {
    let connection = rusqlite::Connection::open(path)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let page = number("page_size")?;
    let used = (number("page_count")? - number("freelist_count")?) * page;
    Ok(Disk { used: used.unsigned_abs(), file: std::fs::metadata(path)?.len() })
}
