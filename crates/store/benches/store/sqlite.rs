//! SQLite with a row for each reading and one index: what a program does that thinks no further.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rusqlite::{Connection, params};

use super::data::{DEVICES, METRICS, Message};
use super::engine::{BUCKET, Digest, Disk, Engine, Series};

const TABLE: &str =
    "CREATE TABLE telemetry (series INTEGER NOT NULL, time INTEGER NOT NULL, value REAL NOT NULL) STRICT";
const INDEX: &str = "CREATE INDEX telemetry_by_series ON telemetry (series, time)";

pub(crate) struct Sqlite {
    connection: Connection,
    path: PathBuf,
}

impl Sqlite {
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let path = directory.join("rows.db");
        let connection = Connection::open(&path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "cache_size", -(256 << 10))?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.execute(TABLE, [])?;
        Ok(Self { connection, path })
    }

    fn insert(&mut self, messages: &[Message]) -> Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO telemetry VALUES (?1, ?2, ?3)")?;
            for message in messages {
                for (metric, reading) in message.readings.iter().enumerate() {
                    insert.execute(params![number(message.device, metric), message.time, reading])?;
                }
            }
        }
        Ok(transaction.commit()?)
    }
}

/// The row of the dictionary of series.
fn number(device: usize, metric: usize) -> i64 {
    (device * METRICS + metric) as i64
}

impl Engine for Sqlite {
    fn load(&mut self, messages: &[Message]) -> Result<()> {
        self.insert(messages)
    }

    fn loaded(&mut self) -> Result<()> {
        self.connection.execute(INDEX, [])?;
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        Ok(())
    }

    fn commit(&mut self, messages: &[Message]) -> Result<()> {
        self.insert(messages)
    }

    fn settle(&mut self) -> Result<Disk> {
        super::ours::size(&self.path)
    }

    fn points(&mut self, series: Series) -> Result<Digest> {
        let mut statement = self.connection.prepare_cached(
            "SELECT time, value FROM telemetry WHERE series = ?1 AND time >= ?2 AND time < ?3 ORDER BY time",
        )?;
        let rows = statement
            .query_map(params![number(series.device, series.metric), series.from, series.to], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, f64>(1)?))
            })?;
        let points: Vec<(i64, f64)> = rows.collect::<Result<_, _>>()?;
        Ok(Digest::of(points.iter().map(|(_, value)| *value)))
    }

    fn buckets(&mut self, series: Series) -> Result<Digest> {
        let mut statement = self.connection.prepare_cached(
            "SELECT time / ?4 AS bucket, avg(value) FROM telemetry
             WHERE series = ?1 AND time >= ?2 AND time < ?3 GROUP BY bucket ORDER BY bucket",
        )?;
        let number = number(series.device, series.metric);
        let rows = statement.query_map(params![number, series.from, series.to, BUCKET], |row| row.get(1))?;
        let averages: Vec<f64> = rows.collect::<Result<_, _>>()?;
        Ok(Digest::of(averages))
    }

    fn average(&mut self, series: Series) -> Result<Digest> {
        let average = self
            .connection
            .prepare_cached(
                "WITH RECURSIVE wanted (series) AS (SELECT ?1 UNION ALL SELECT series + ?2 FROM wanted LIMIT ?3)
                 SELECT avg(value) FROM wanted CROSS JOIN telemetry USING (series) WHERE time >= ?4 AND time < ?5",
            )?
            .query_row(
                params![series.metric as i64, METRICS as i64, DEVICES as i64, series.from, series.to],
                |row| row.get::<_, f64>(0),
            )?;
        Ok(Digest::of([average]))
    }

    fn latest(&mut self) -> Result<Digest> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT time, value FROM telemetry WHERE series = ?1 ORDER BY time DESC LIMIT 1")?;
        let mut newest: Vec<(i64, f64)> = Vec::new();
        for series in 0..number(DEVICES + 1, 0) {
            newest.push(statement.query_row([series], |row| Ok((row.get(0)?, row.get(1)?)))?);
        }
        Ok(Digest::of(newest.iter().map(|(_, value)| *value)))
    }
}
