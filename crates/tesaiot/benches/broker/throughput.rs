//! Publishers: processor time for a million messages, and time to acknowledgement.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tesaiot_tls::{ClientIdentity, ClientSettings, TlsVersion, TrustAnchors, Versions, client_config};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::figure::{Goal, heading, judged, median, value};
use crate::load::{self, Connection};
use crate::platform::Platform;
use crate::process::cpu_seconds;
use crate::server::{Certificate, Server};

const PUBLISHERS: usize = 50;
const ROUNDS: usize = 3;

/// What one run cost.
struct Run {
    rate: f64,
    cpu_per_million: f64,
    /// Publish to acknowledgement, rising.
    waits: Vec<Duration>,
}

/// Publishes over connections that are open, all at once.
async fn run(process: u32, connections: Vec<(String, Connection)>, messages: u64) -> Result<Run> {
    let each = messages / connections.len() as u64;
    let (cpu, started) = (cpu_seconds(process)?, Instant::now());
    let publishers: Vec<_> = connections
        .into_iter()
        .map(|(topic, mut connection)| {
            tokio::spawn(async move {
                let waits = load::publish(&mut connection, &topic, each, load::telemetry).await?;
                let _ = connection.disconnect().await;
                anyhow::Ok(waits)
            })
        })
        .collect();
    let mut waits = Vec::new();
    for publisher in publishers {
        waits.append(&mut publisher.await??);
    }
    let took = started.elapsed().as_secs_f64();
    let cpu = cpu_seconds(process)? - cpu;
    waits.sort_unstable();
    let count = waits.len() as f64;
    Ok(Run { rate: count / took, cpu_per_million: cpu / count * 1e6, waits })
}

async fn against(server: &Server, publishers: usize, window: u16, messages: u64) -> Result<Run> {
    let mut connections = Vec::new();
    for number in 0..publishers {
        let id = format!("load-{number}");
        connections.push((format!("device/{id}/telemetry"), load::open(&server.tls, server.port, &id, window).await?));
    }
    run(server.process(), connections, messages).await
}

fn compare(ours: &[Run], theirs: &[Run], name: &str, goal: f64) {
    let cpu = |runs: &[Run]| median(runs.iter().map(|run| run.cpu_per_million).collect());
    let rate = |runs: &[Run]| median(runs.iter().map(|run| run.rate).collect());
    value(&format!("{name}: processor seconds for a million"), cpu(ours), "s");
    value("mosquitto: processor seconds for a million", cpu(theirs), "s");
    value(&format!("{name}: messages a second"), rate(ours), "/s");
    value("mosquitto: messages a second", rate(theirs), "/s");
    judged("processor time, ratio", cpu(ours) / cpu(theirs), "×", Goal::AtMost(goal));
}

/// The whole platform, every message in the embedded store before its acknowledgement.
pub(crate) fn stored(runtime: &Runtime, directory: &Path) -> Result<()> {
    const MESSAGES: u64 = 200_000;
    heading("50 publishers, TLS 1.3, QoS 1, 200 B, window 10; ours stores each message before its acknowledgement");
    let mosquitto = Server::mosquitto(directory, &Certificate::new(directory)?)?;
    let platform = Platform::start(&directory.join("data"))?;
    let bundles: Vec<_> = (0..PUBLISHERS).map(|number| format!("load-{number}")).collect();
    for id in &bundles {
        platform.add_device(id, &directory.join(id))?;
    }
    let before = platform.messages_stored()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(runtime.block_on(against(&mosquitto, PUBLISHERS, 10, MESSAGES))?);
        ours.push(runtime.block_on(async {
            let mut connections = Vec::new();
            for id in &bundles {
                let tls = mutual(&directory.join(id))?;
                let connection = load::open(&tls, platform.mqtt_port, id, 10).await?;
                connections.push((format!("device/{id}/telemetry"), connection));
            }
            run(platform.process(), connections, MESSAGES).await
        })?);
    }
    let stored = platform.messages_stored()? - before;
    ensure!(stored == MESSAGES * ROUNDS as u64, "{stored} messages were stored");
    compare(&ours, &theirs, "tesaiot up", 0.35);
    platform.stop()
}

/// What a real device does: one message, one acknowledgement, the next.
pub(crate) fn one_at_a_time(runtime: &Runtime, directory: &Path) -> Result<()> {
    heading("the same at window 1, nothing stored on either side");
    let certificate = Certificate::new(directory)?;
    let (mosquitto, broker) = (Server::mosquitto(directory, &certificate)?, Server::ours(&certificate, &[])?);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(runtime.block_on(against(&mosquitto, PUBLISHERS, 1, 100_000))?);
        ours.push(runtime.block_on(against(&broker, PUBLISHERS, 1, 100_000))?);
    }
    compare(&ours, &theirs, broker.name, 0.75);
    Ok(())
}

/// One subscriber of QoS 0 to everything, besides the publishers.
pub(crate) fn with_subscriber(runtime: &Runtime, directory: &Path) -> Result<()> {
    heading("window 10 with one QoS 0 subscriber to everything, nothing stored on either side");
    let certificate = Certificate::new(directory)?;
    let (mosquitto, broker) = (Server::mosquitto(directory, &certificate)?, Server::ours(&certificate, &[])?);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (server, runs) in [(&mosquitto, &mut theirs), (&broker, &mut ours)] {
            runs.push(runtime.block_on(async {
                let (stop, stopped) = oneshot::channel();
                let subscriber = tokio::spawn(listen(Arc::clone(&server.tls), server.port, stopped));
                // The first message of the run comes after the subscription: the subscriber says when.
                let run = against(server, PUBLISHERS, 10, 200_000).await?;
                let _ = stop.send(());
                let received = subscriber.await??;
                ensure!(received > 0, "the subscriber received nothing");
                anyhow::Ok(run)
            })?);
        }
    }
    compare(&ours, &theirs, broker.name, 0.4);
    Ok(())
}

/// Receives until it is stopped, and says how many.
async fn listen(tls: Arc<rustls::ClientConfig>, port: u16, mut stopped: oneshot::Receiver<()>) -> Result<u64> {
    use tesaiot_mqtt::QoS;
    use tesaiot_mqtt::client::{Options, connect};
    let mut options = Options::new("listener");
    options.keep_alive = Duration::ZERO;
    options.queue = 4096;
    let mut connected = connect(load::tls(&tls, port).await?, options).await?;
    connected.client.subscribe([("#".to_owned(), QoS::AtMostOnce)]).await?;
    let mut received = 0;
    loop {
        tokio::select! {
            _ = &mut stopped => return Ok(received),
            message = connected.messages.recv() => match message {
                Some(_) => received += 1,
                None => return Ok(received),
            },
        }
    }
}

/// Acknowledgements that wait for a commit of two milliseconds.
pub(crate) fn held(runtime: &Runtime, directory: &Path) -> Result<()> {
    heading("acknowledgements held by a commit every 2 ms, TLS 1.3, 200 B");
    let broker = Server::ours(&Certificate::new(directory)?, &["--hold-ms", "2"])?;
    let run = runtime.block_on(against(&broker, PUBLISHERS, 10, 400_000))?;
    let p99 = run.waits[run.waits.len() * 99 / 100].as_secs_f64() * 1e3;
    judged("50 publishers, window 10: messages a second", run.rate, "/s", Goal::AtLeast(80_000.0));
    judged("50 publishers, window 10: publish to acknowledgement p99", p99, "ms", Goal::AtMost(12.0));
    let run = runtime.block_on(against(&broker, 1, 256, 150_000))?;
    judged("one publisher, window 256: messages a second", run.rate, "/s", Goal::AtLeast(30_000.0));
    Ok(())
}

/// TLS 1.3 with the files of a bundle.
fn mutual(bundle: &Path) -> Result<Arc<rustls::ClientConfig>> {
    let read = |name: &str| std::fs::read_to_string(bundle.join(name));
    let identity = ClientIdentity::from_pem(&read("client_cert.pem")?, &read("client_key.pem")?)?;
    Ok(client_config(ClientSettings {
        identity: Some(identity),
        versions: Versions::Only(TlsVersion::Tls13),
        ..ClientSettings::new(TrustAnchors::from_pem(&read("ca-chain.pem")?)?)
    })?)
}
