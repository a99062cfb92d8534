//! Ten publishers, twenty subscribers: everyone gets everything.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use tesaiot_mqtt::client::direct::Progress;
use tokio::runtime::Runtime;

use crate::figure::{Goal, heading, judged, median, value};
use crate::load;
use crate::process::cpu_seconds;
use crate::server::{Certificate, Server};

const PUBLISHERS: u64 = 10;
const SUBSCRIBERS: usize = 20;
/// Of each publisher.
const MESSAGES: u64 = 1000;
const ROUNDS: usize = 3;

pub(crate) fn run(runtime: &Runtime, directory: &Path) -> Result<()> {
    heading("fan-out: 10 publishers to 20 subscribers, QoS 1, 200 B, TLS 1.3, nothing stored");
    let certificate = Certificate::new(directory)?;
    let (mosquitto, broker) =
        (Server::mosquitto(directory, &certificate)?, Server::ours(&certificate, &["--queue", "100000"])?);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(runtime.block_on(deliver(&mosquitto))?);
        ours.push(runtime.block_on(deliver(&broker))?);
    }
    let rate = |runs: &[(f64, f64)]| median(runs.iter().map(|run| run.0).collect());
    let cpu = |runs: &[(f64, f64)]| median(runs.iter().map(|run| run.1).collect());
    for (name, runs) in [(broker.name, &ours), (mosquitto.name, &theirs)] {
        value(&format!("{name}: deliveries a second"), rate(runs), "/s");
        value(&format!("{name}: processor seconds for a million deliveries"), cpu(runs), "s");
    }
    judged("deliveries, ratio of rates", rate(&ours) / rate(&theirs), "×", Goal::AtLeast(2.0));
    Ok(())
}

/// Deliveries a second, and processor time for a million.
async fn deliver(server: &Server) -> Result<(f64, f64)> {
    let expected = PUBLISHERS * MESSAGES;
    let mut subscribers = Vec::new();
    for number in 0..SUBSCRIBERS {
        let mut connection = load::open(&server.tls, server.port, &format!("subscriber-{number}"), 20).await?;
        connection.subscribe("fan/#")?;
        let mut is_subscribed = false;
        while !is_subscribed {
            connection.progress(|progress| is_subscribed |= matches!(progress, Progress::Subscribed(_))).await?;
        }
        subscribers.push(tokio::spawn(async move {
            let mut received = 0;
            while received < expected {
                let report = |progress| received += u64::from(matches!(progress, Progress::Message(_)));
                connection.progress(report).await?;
            }
            anyhow::Ok(received)
        }));
    }
    let mut publishers = Vec::new();
    for number in 0..PUBLISHERS {
        publishers.push(load::open(&server.tls, server.port, &format!("publisher-{number}"), 10).await?);
    }
    let (cpu, started) = (cpu_seconds(server.process())?, Instant::now());
    let publishers: Vec<_> = (0..)
        .zip(publishers)
        .map(|(number, mut connection)| {
            tokio::spawn(async move {
                load::publish(&mut connection, &format!("fan/{number}"), MESSAGES, load::constant(200)).await
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await??;
    }
    for subscriber in subscribers {
        let received = subscriber.await??;
        ensure!(received == expected, "{received} of {expected} messages arrived");
    }
    let took = started.elapsed().as_secs_f64();
    let deliveries = (expected * SUBSCRIBERS as u64) as f64;
    Ok((deliveries / took, (cpu_seconds(server.process())? - cpu) / deliveries * 1e6))
}
