//! PostgreSQL, plain or with TimescaleDB: a row for each reading, numbered series, one index, binary `COPY`.

use std::path::Path;

use anyhow::{Context, Result};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Config, NoTls, Row, Statement};

use super::data::{DEVICES, METRICS, Message};
use super::engine::{BUCKET, Digest, Disk, Engine, Series};
use super::server::{Installation, Server};

/// Milliseconds from 1970 to 2000, where PostgreSQL's time begins.
const EPOCH: i64 = 946_684_800_000;

// The wide columns first: no bytes are lost to alignment.
const TABLE: &str = "CREATE TABLE telemetry (
    time timestamptz NOT NULL, value double precision NOT NULL, series_id integer NOT NULL)";
const SERIES: &str = "CREATE TABLE series (id integer PRIMARY KEY)";
const INDEX: &str = "CREATE INDEX telemetry_by_series ON telemetry (series_id, time DESC)";
const COPY: &str = "COPY telemetry (time, value, series_id) FROM STDIN (FORMAT binary)";
/// Chunks of a day, as for a week of such data; the hypertable brings no index that the plain table lacks.
const HYPERTABLE: &str = "CREATE EXTENSION timescaledb;
    SELECT create_hypertable('telemetry', 'time', chunk_time_interval => interval '1 day',
                             create_default_indexes => false)";

const POINTS: &str =
    "SELECT time, value FROM telemetry WHERE series_id = $1 AND time >= $2 AND time < $3 ORDER BY time";
const BUCKETS: &str = "SELECT date_bin(interval '5 minutes', time, timestamptz '2000-01-01 00:00:00Z') AS bucket,
                              avg(value)
    FROM telemetry WHERE series_id = $1 AND time >= $2 AND time < $3 GROUP BY bucket ORDER BY bucket";
const AVERAGE: &str = "SELECT avg(value) FROM telemetry WHERE series_id = ANY ($1) AND time >= $2 AND time < $3";
const LATEST: &str = "SELECT series.id, newest.time, newest.value FROM series CROSS JOIN LATERAL
    (SELECT time, value FROM telemetry WHERE series_id = series.id ORDER BY time DESC LIMIT 1) AS newest";

pub(crate) struct Postgres {
    client: Client,
    runtime: Runtime,
    is_hypertable: bool,
    statements: Statements,
    _server: Server,
}

struct Statements {
    copy: Statement,
    points: Statement,
    buckets: Statement,
    average: Statement,
    latest: Statement,
}

impl Postgres {
    pub(crate) fn start(installation: &Installation, parent: &Path, is_hypertable: bool) -> Result<Self> {
        let server = Server::start(installation, parent)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut config = Config::new();
        config.host("127.0.0.1").port(server.port).user("postgres").password(&server.password).dbname("postgres");
        let (client, statements) = runtime.block_on(async {
            let (client, connection) = config.connect(NoTls).await?;
            tokio::spawn(connection);
            client.batch_execute(&format!("{TABLE}; {SERIES}")).await?;
            client
                .batch_execute(&format!("INSERT INTO series SELECT generate_series(0, {})", number(DEVICES + 1, -1)))
                .await?;
            if is_hypertable {
                client.batch_execute(HYPERTABLE).await?;
            }
            describe(&client, is_hypertable).await?;
            let statements = Statements {
                copy: client.prepare(COPY).await?,
                points: client.prepare(POINTS).await?,
                buckets: client.prepare(BUCKETS).await?,
                average: client.prepare(AVERAGE).await?,
                latest: client.prepare(LATEST).await?,
            };
            anyhow::Ok((client, statements))
        })?;
        Ok(Self { client, runtime, is_hypertable, statements, _server: server })
    }

    /// One `COPY`, which is a transaction of its own.
    fn copy(&mut self, messages: &[Message]) -> Result<()> {
        self.runtime.block_on(async {
            let sink = self.client.copy_in::<_, Bytes>(&self.statements.copy).await?;
            let mut sink = std::pin::pin!(sink);
            sink.send(encode(messages)).await?;
            let rows = sink.finish().await?;
            anyhow::ensure!(rows == (messages.len() * METRICS) as u64, "{rows} rows were stored");
            Ok(())
        })
    }

    fn execute(&mut self, sql: &str) -> Result<()> {
        Ok(self.runtime.block_on(self.client.batch_execute(sql))?)
    }

    /// The second column of the answer for one series.
    fn values(&mut self, statement: &Statement, series: Series) -> Result<Digest> {
        let number = number(series.device, series.metric as i32);
        let (from, to) = (time(series.from), time(series.to));
        let rows = self.runtime.block_on(self.client.query(statement, &[&number, &from, &to]))?;
        digest(&rows, 1)
    }
}

/// Says which server it is, and makes sure that its commits are on the disk when it says so.
async fn describe(client: &Client, is_hypertable: bool) -> Result<()> {
    let show = async |what: &str| -> Result<String> {
        Ok(client.query_one(&format!("SELECT {what}"), &[]).await?.try_get(0)?)
    };
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        let value = show(&format!("current_setting('{setting}')")).await?;
        anyhow::ensure!(value == "on", "{setting} is {value}");
    }
    let mut version = format!("PostgreSQL {}", show("current_setting('server_version')").await?);
    if is_hypertable {
        let extension = show("(SELECT extversion FROM pg_extension WHERE extname = 'timescaledb')").await?;
        version.push_str(&format!(" with TimescaleDB {extension}"));
    }
    eprintln!("    {version}, every commit synced");
    Ok(())
}

/// The row of the dictionary of series.
fn number(device: usize, metric: i32) -> i32 {
    (device * METRICS) as i32 + metric
}

fn time(milliseconds: i64) -> std::time::SystemTime {
    std::time::UNIX_EPOCH + std::time::Duration::from_millis(milliseconds.unsigned_abs())
}

/// Takes every row out of its wire form: the time, where there is one, and the value.
fn digest(rows: &[Row], value: usize) -> Result<Digest> {
    let points: Vec<(std::time::SystemTime, f64)> = rows
        .iter()
        .map(|row| Ok((row.try_get(value - 1)?, row.try_get(value)?)))
        .collect::<Result<_, tokio_postgres::Error>>()?;
    Ok(Digest::of(points.iter().map(|(_, value)| *value)))
}

/// The rows in the binary format of `COPY`, the cheapest there is for both sides.
fn encode(messages: &[Message]) -> Bytes {
    const ROW: usize = 2 + 3 * 4 + 8 + 8 + 4;
    let mut bytes = BytesMut::with_capacity(messages.len() * METRICS * ROW + 32);
    bytes.put_slice(b"PGCOPY\n\xff\r\n\0");
    bytes.put_i64(0);
    for message in messages {
        for (metric, reading) in message.readings.iter().enumerate() {
            bytes.put_i16(3);
            bytes.put_i32(8);
            bytes.put_i64((message.time - EPOCH) * 1000);
            bytes.put_i32(8);
            bytes.put_f64(*reading);
            bytes.put_i32(4);
            bytes.put_i32(number(message.device, metric as i32));
        }
    }
    bytes.put_i16(-1);
    bytes.freeze()
}

impl Engine for Postgres {
    fn load(&mut self, messages: &[Message]) -> Result<()> {
        self.copy(messages)
    }

    fn loaded(&mut self) -> Result<()> {
        self.execute(INDEX)?;
        self.execute("VACUUM (ANALYZE) telemetry")?;
        self.execute("ANALYZE series")?;
        self.execute("CHECKPOINT")
    }

    fn commit(&mut self, messages: &[Message]) -> Result<()> {
        self.copy(messages)
    }

    fn settle(&mut self) -> Result<Disk> {
        self.execute("CHECKPOINT")?;
        let size =
            if self.is_hypertable { "hypertable_size('telemetry')" } else { "pg_total_relation_size('telemetry')" };
        let row = self.runtime.block_on(self.client.query_one(&format!("SELECT {size}"), &[]))?;
        let bytes = u64::try_from(row.try_get::<_, i64>(0)?).context("a size below zero")?;
        Ok(Disk { used: bytes, file: bytes })
    }

    fn points(&mut self, series: Series) -> Result<Digest> {
        let statement = self.statements.points.clone();
        self.values(&statement, series)
    }

    fn buckets(&mut self, series: Series) -> Result<Digest> {
        debug_assert_eq!(BUCKET, 300_000, "as in the statement");
        let statement = self.statements.buckets.clone();
        self.values(&statement, series)
    }

    fn average(&mut self, series: Series) -> Result<Digest> {
        let numbers: Vec<i32> = (0..DEVICES).map(|device| number(device, series.metric as i32)).collect();
        let (from, to) = (time(series.from), time(series.to));
        let row = self.runtime.block_on(self.client.query_one(&self.statements.average, &[&numbers, &from, &to]))?;
        Ok(Digest::of([row.try_get::<_, f64>(0)?]))
    }

    fn latest(&mut self) -> Result<Digest> {
        let rows = self.runtime.block_on(self.client.query(&self.statements.latest, &[]))?;
        digest(&rows, 2)
    }
}
