//! Many clients that come and go, for a while: memory returns to its base, and nothing acknowledged is lost.
//!
//! Clients connect over TLS, publish, and leave in every way there is: a goodbye, a socket that closes, a second
//! connection that takes the first one's place, a session left behind. Others never get as far as CONNECT. In the end all
//! are gone; what was acknowledged is looked up, number by number.
//!
//! `TESAIOT_CHURN_SECONDS` (default 4) and `TESAIOT_CHURN_CLIENTS` (default 30) make it longer and wider: the proof for a
//! release is 600 seconds of 2,000 clients.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use tesaiot_contract::{DeviceId, Secret};
use tesaiot_mqtt::client::{Client, Options, Pending, Published, connect};
use tesaiot_mqtt::{Message, QoS, Version};
use tesaiot_store::registry::{AuthMode, CredentialKind, NewDevice, Registry};
use tesaiot_tls::{ClientSettings, TrustAnchors, client_config};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::PATIENCE;
use crate::support::platform_process::PlatformProcess;

/// Connections that begin in a second, all clients together, at most.
const CONNECTIONS_PER_SECOND: u64 = 150;
/// Bytes that the process may have more than its base, beside what the store says it holds: allocator and page granularity.
const SLACK: u64 = 24 * 1024 * 1024;
/// How long memory may take to come back.
const SETTLE: Duration = Duration::from_secs(60);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// What all clients have in common.
struct Place {
    address: SocketAddr,
    tls: Arc<rustls::ClientConfig>,
    until: Instant,
    clients: u64,
    connections: AtomicU64,
    refused: AtomicU64,
    taken_over: AtomicU64,
    half_open: AtomicU64,
}

/// A device, and what became of its messages.
struct Churner {
    id: String,
    key: Secret,
    next: u64,
    acknowledged: Vec<u64>,
    random: u64,
}

impl Churner {
    /// Numbers that differ from client to client and not from run to run.
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    async fn connect(&mut self, place: &Place) -> Option<Client> {
        let stream = TcpStream::connect(place.address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let stream = tesaiot_tls::connect(&place.tls, "localhost", stream, deadline).await.ok()?;
        let mut options = Options::new(self.id.clone());
        options.version = if self.random(2) == 0 { Version::V3 } else { Version::V5 };
        options.username = Some(self.id.clone().into());
        options.password = Some(self.key.expose().to_owned().into());
        if self.random(4) == 0 {
            options.clean_start = false;
            options.session_expiry = Duration::from_secs(5);
        }
        if self.random(4) == 0 {
            let status = format!("device/{}/status", self.id);
            options.will = Some(Message::new(status, r#"{"status":"offline"}"#, QoS::AtLeastOnce));
        }
        match connect(stream, options).await {
            Ok(connected) => {
                place.connections.fetch_add(1, Ordering::Relaxed);
                Some(connected.client)
            }
            Err(_) => {
                place.refused.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// A few messages, some in flight at a time; notes what was acknowledged.
    async fn publish(&mut self, client: &Client) {
        let topic = format!("device/{}/telemetry", self.id);
        let mut in_flight: VecDeque<(u64, Pending)> = VecDeque::new();
        for _ in 0..1 + self.random(8) {
            let sequence = self.next;
            self.next += 1;
            let payload = json!({"boot": "churn", "seq": sequence, "data": {"n": sequence}}).to_string();
            let Ok(pending) = client.publish(Message::new(topic.clone(), payload, QoS::AtLeastOnce)).await else {
                break;
            };
            in_flight.push_back((sequence, pending));
        }
        for (sequence, pending) in in_flight {
            if matches!(pending.outcome().await, Published::Acknowledged) {
                self.acknowledged.push(sequence);
            }
        }
    }

    /// Comes and goes until the time is over.
    async fn churn(mut self, place: Arc<Place>) -> Self {
        // So that all clients together begin as many connections as they should.
        let pause = 2_000 * place.clients / CONNECTIONS_PER_SECOND;
        tokio::time::sleep(Duration::from_millis(self.random(pause + 1))).await;
        while Instant::now() < place.until {
            match self.random(8) {
                0 => half_open(&place, self.random(3)).await,
                1 => self.is_taken_over(&place).await,
                how => self.comes_and_goes(&place, how).await,
            }
            let pause = self.random(pause + 1);
            tokio::time::sleep(Duration::from_millis(pause).min(place.until.saturating_duration_since(Instant::now())))
                .await;
        }
        self
    }

    async fn comes_and_goes(&mut self, place: &Place, how: u64) {
        let Some(client) = self.connect(place).await else { return };
        if how == 2 {
            let commands = format!("device/{}/commands/#", self.id);
            let _ = client.subscribe([(commands, QoS::AtLeastOnce)]).await;
        }
        self.publish(&client).await;
        if how == 3 {
            let idle = self.random(2_000);
            tokio::time::sleep(Duration::from_millis(idle)).await;
            self.publish(&client).await;
        }
        if how < 6 {
            client.disconnect().await;
        }
        // Otherwise its socket closes here, and nobody was told.
    }

    async fn is_taken_over(&mut self, place: &Place) {
        let Some(first) = self.connect(place).await else { return };
        self.publish(&first).await;
        if let Some(second) = self.connect(place).await {
            place.taken_over.fetch_add(1, Ordering::Relaxed);
            first.ended().await;
            self.publish(&second).await;
            second.disconnect().await;
        }
    }
}

/// A socket that never gets as far as CONNECT: silent, half of a TLS record, or something that is no TLS.
async fn half_open(place: &Place, how: u64) {
    let Ok(mut stream) = TcpStream::connect(place.address).await else { return };
    let said: &[u8] = match how {
        0 => &[],
        1 => &[0x16, 3, 1, 2, 0, 1],
        _ => b"\x10\x0f\0\x04MQTT",
    };
    let _ = stream.write_all(said).await;
    place.half_open.fetch_add(1, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// Resident bytes of a process.
fn resident(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it says how large it is");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") * 1024
}

/// What the store holds in memory, and how many connections there are.
fn held(platform: &PlatformProcess) -> (u64, u64) {
    let page = platform.operator().get("/../../metrics").text;
    let value = |name: &str| {
        let found = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<f64>().ok());
        found.unwrap_or_else(|| panic!("no {name}")) as u64
    };
    (value("tesaiot_store_open_bytes"), value("tesaiot_mqtt_connections"))
}

/// Devices that are registered behind the platform's back: thousands of commands would take longer than the test.
fn register(platform_data: &std::path::Path, clients: u64) -> Vec<Churner> {
    let registry = Registry::open(&platform_data.join("registry.db")).expect("the registry");
    let make = |number| {
        let id = DeviceId::new(format!("churn-{number:05}")).expect("a device id");
        let new = NewDevice { id: id.clone(), name: String::new(), auth_mode: AuthMode::ServerTls };
        registry.create_device(&new, Timestamp::now()).expect("a device");
        let key = tesaiot_contract::secret::device_api_key(&id, [number as u8; 16]);
        registry.add_secret(&id, CredentialKind::ApiKey, &key, Timestamp::now()).expect("a key");
        Churner {
            id: id.to_string(),
            key,
            next: 1,
            acknowledged: Vec::new(),
            random: 0x9E37_79B9_7F4A_7C15 ^ (number + 1),
        }
    };
    (0..clients).map(make).collect()
}

/// All clients for a while; returns them with what they know, the largest the process was, and the story in words.
fn storm(
    platform: &PlatformProcess,
    churners: Vec<Churner>,
    seconds: u64,
    data: &std::path::Path,
) -> (Vec<Churner>, u64, String) {
    let anchors = std::fs::read_to_string(data.join("ca/ca-chain.pem")).expect("the trust anchors");
    let settings = ClientSettings::new(TrustAnchors::from_pem(&anchors).expect("trust anchors"));
    let place = Arc::new(Place {
        address: platform.mqtt_tls(),
        tls: client_config(settings).expect("a TLS configuration"),
        until: Instant::now() + Duration::from_secs(seconds),
        clients: churners.len() as u64,
        connections: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        taken_over: AtomicU64::new(0),
        half_open: AtomicU64::new(0),
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (id, watched) = (platform.id(), Arc::clone(&place));
    let watching = std::thread::spawn(move || {
        let mut most = 0;
        while Instant::now() < watched.until {
            most = most.max(resident(id));
            std::thread::sleep(Duration::from_millis(200));
        }
        most
    });
    let churned = runtime.block_on(async {
        let tasks: Vec<_> =
            churners.into_iter().map(|churner| tokio::spawn(churner.churn(Arc::clone(&place)))).collect();
        let mut churned = Vec::new();
        for task in tasks {
            churned.push(task.await.expect("a client does not panic"));
        }
        churned
    });
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (connections, refused) = (read(&place.connections), read(&place.refused));
    let said = format!(
        "{} clients for {seconds} s: {connections} connections ({refused} more refused), {} take-overs, {} half-open sockets",
        place.clients,
        read(&place.taken_over),
        read(&place.half_open)
    );
    assert!(connections > place.clients / 4, "the storm was a breeze");
    (churned, watching.join().expect("the watcher ends"), said)
}

/// Waits until nobody is connected, and for `time`; then until memory is below `bound`, at most for [`SETTLE`]. Returns
/// what it came to, and what of it the store holds.
fn settled(platform: &PlatformProcess, time: Duration, bound: impl Fn(u64) -> u64) -> (u64, u64) {
    let begun = Instant::now();
    loop {
        let (open_bytes, connections) = held(platform);
        let now = resident(platform.id());
        let waited = begun.elapsed();
        if connections == 0 && waited >= time && (now <= bound(open_bytes) || waited >= SETTLE) {
            return (now, open_bytes);
        }
        assert!(waited < 2 * SETTLE, "{connections} connections are left");
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
fn clients_that_come_and_go_leave_nothing_behind_and_lose_nothing() {
    let (seconds, clients) = (number("TESAIOT_CHURN_SECONDS", 4), number("TESAIOT_CHURN_CLIENTS", 30));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let platform = PlatformProcess::start(&data);
    let churners = register(&data, clients);
    let time = Duration::from_secs(seconds / 4).min(SETTLE);
    // Whatever is made once and stays is made by a short storm.
    let (churners, _, said) = storm(&platform, churners, (seconds / 10).clamp(2, 30), &data);
    println!("{said}");
    let (base, base_open) = settled(&platform, time, |_| u64::MAX);
    let (churners, most, said) = storm(&platform, churners, seconds, &data);
    println!("{said}");
    let bound = |open: u64| base + open.saturating_sub(base_open) + SLACK;
    let (after, after_open) = settled(&platform, time, bound);
    let mb = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "resident: {:.1} MB after the first storm, {:.1} at most, {:.1} when all were gone (the store's open samples: {:.1} and {:.1} MB)",
        mb(base),
        mb(most),
        mb(after),
        mb(base_open),
        mb(after_open)
    );

    let operator = platform.operator();
    let (mut acknowledged, mut sent) = (0, 0);
    for churner in churners.iter().filter(|churner| !churner.acknowledged.is_empty()) {
        acknowledged += churner.acknowledged.len();
        sent += churner.next - 1;
        let gaps = operator.get(&format!("/devices/{}/gaps", churner.id)).expect(200);
        let boot = &gaps["boots"][0];
        let (first, last) = (boot["first"].as_u64().expect("a number"), boot["last"].as_u64().expect("a number"));
        let missing: Vec<(u64, u64)> = serde_json::from_value(boot["missing"].clone()).expect("ranges");
        let is_stored = |number: &&u64| {
            (first..=last).contains(*number) && !missing.iter().any(|(from, to)| (from..=to).contains(number))
        };
        let lost: Vec<_> = churner.acknowledged.iter().filter(|number| !is_stored(number)).collect();
        assert!(lost.is_empty(), "{}: acknowledged and lost: {lost:?} of {gaps}", churner.id);
    }
    println!("{sent} messages sent, {acknowledged} acknowledged, none of these lost");
    assert!(acknowledged > 0);
    assert!(after <= bound(after_open), "memory did not come back: {after} bytes, base {base}");
    let log = platform.stop("TERM");
    assert_eq!(log.code, Some(0), "{log:#?}");
    let lines = log.stderr.lines().count();
    assert!(lines < 200, "{lines} lines of log");
}
