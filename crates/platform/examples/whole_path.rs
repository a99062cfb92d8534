//! The whole path under load: TLS clients → broker → store → acknowledgement, all in this one process.
//!
//! `cargo run --release -p tesaiot-platform --example whole_path -- [CLIENTS] [WINDOW] [MESSAGES]`
//! prints messages per second and the time from publish to acknowledgement. Load generator and platform share the
//! cores.

#![expect(clippy::print_stdout, reason = "it prints figures")]

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tesaiot_contract::bundle::Bundle;
use tesaiot_contract::{DeviceId, DeviceTopic};
use tesaiot_mqtt::client::{Connected, Options, connect};
use tesaiot_mqtt::{Message, QoS};
use tesaiot_platform::{App, Config};
use tesaiot_store::registry::{AuthMode, NewDevice};
use tesaiot_tls::{ClientSettings, TrustAnchors, client_config};
use tokio::net::TcpStream;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let clients = arguments.next().transpose()?.unwrap_or(50);
    let window = arguments.next().transpose()?.unwrap_or(10);
    let messages = arguments.next().transpose()?.unwrap_or(200_000);

    let directory = std::env::temp_dir().join(format!("tesaiot-whole-path-{}", std::process::id()));
    let result = run(&directory, clients, window, messages).await;
    std::fs::remove_dir_all(&directory)?;
    result
}

async fn run(directory: &Path, clients: usize, window: usize, messages: usize) -> Result<(), Failure> {
    let mut config = Config::new(directory.to_owned());
    (config.mqtt_port, config.mqtt_tls_port, config.wss_port, config.https_port) = (0, 0, 0, 0);
    config.host_names = vec!["localhost".into()];
    let app = App::build(config).await?;
    let (platform, port) = (app.platform(), app.addresses().mqtt_tls.port());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(app.run(async {
        let _ = stopped.await;
    }));

    let mut connections = Vec::new();
    for number in 0..clients {
        let id = DeviceId::new(format!("load-{number}"))?;
        platform
            .create_device(NewDevice { id: id.clone(), name: String::new(), auth_mode: AuthMode::ServerTls })
            .await?;
        let bundle = platform.issue_bundle(&id).await?;
        connections.push((id, open(&bundle, port).await?));
    }

    let started = Instant::now();
    let mut running = Vec::new();
    for (id, connected) in connections {
        running.push(tokio::spawn(publish(id, connected, window, messages / clients)));
    }
    let mut latencies = Vec::new();
    for publisher in running {
        latencies.append(&mut publisher.await??);
    }
    let took = started.elapsed();
    latencies.sort_unstable();
    let at = |quantile: f64| latencies[((latencies.len() - 1) as f64 * quantile) as usize].as_secs_f64() * 1e3;
    println!(
        "{clients} clients × window {window}: {} messages of 13 metrics in {:.2} s = {:.0} messages/s, every one stored; \
         publish to acknowledgement p50 {:.2} ms, p99 {:.2} ms",
        latencies.len(),
        took.as_secs_f64(),
        latencies.len() as f64 / took.as_secs_f64(),
        at(0.5),
        at(0.99),
    );
    let counts = platform.telemetry().counts();
    println!("the store holds {} samples, {} values", counts.samples, counts.values);
    let _ = stop.send(());
    serving.await??;
    Ok(())
}

async fn open(bundle: &Bundle, port: u16) -> Result<Connected, Failure> {
    let trust = TrustAnchors::from_pem(bundle.require_trust_anchor()?)?;
    let config = client_config(ClientSettings::new(trust))?;
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let stream = tesaiot_tls::connect(&config, "localhost", stream, deadline).await?;
    let (username, password) = bundle.require_login()?;
    let mut options = Options::new(bundle.device_id.as_str());
    options.username = Some(username.into());
    options.password = Some(password.expose().to_owned().into());
    Ok(connect(stream, options).await?)
}

async fn publish(
    device: DeviceId,
    connected: Connected,
    window: usize,
    count: usize,
) -> Result<Vec<Duration>, Failure> {
    let topic = DeviceTopic::telemetry(&device, None).to_string();
    let mut in_flight = VecDeque::with_capacity(window);
    let mut latencies = Vec::with_capacity(count);
    let boot: Arc<str> = "load".into();
    for seq in 0..count {
        let payload = payload(&boot, seq);
        let message = Message::new(topic.as_str(), payload, QoS::AtLeastOnce);
        in_flight.push_back((Instant::now(), connected.client.publish(message).await?));
        if in_flight.len() >= window
            && let Some((sent, pending)) = in_flight.pop_front()
        {
            settle(&mut latencies, sent, pending).await?;
        }
    }
    for (sent, pending) in in_flight {
        settle(&mut latencies, sent, pending).await?;
    }
    connected.client.disconnect().await;
    Ok(latencies)
}

async fn settle(
    latencies: &mut Vec<Duration>,
    sent: Instant,
    pending: tesaiot_mqtt::client::Pending,
) -> Result<(), Failure> {
    let outcome = pending.outcome().await;
    if !outcome.is_acknowledged() {
        return Err(format!("not acknowledged: {outcome:?}").into());
    }
    latencies.push(sent.elapsed());
    Ok(())
}

/// The shape of the medical profile: 13 metrics, a unit on two of them.
fn payload(boot: &str, seq: usize) -> String {
    let wobble = seq % 17;
    format!(
        r#"{{"data":{{"spo2":{},"spo2_unit":"%","temperature":36.{:02},"temperature_unit":"°C","heart_rate":{},"heart_rate_bpm":{},"perfusion_index":{}.5,"motion":false,"signal_quality":{},"rhythm":"sinus","rr_interval_ms":{}.5,"qt_interval_ms":{},"site":"oral","battery":{},"counter":{seq}}},"boot":"{boot}","seq":{seq}}}"#,
        94 + wobble % 6,
        40 + wobble,
        65 + wobble,
        65 + wobble,
        2 + wobble % 4,
        85 + wobble % 15,
        700 + wobble,
        330 + wobble,
        100 - wobble,
    )
}
