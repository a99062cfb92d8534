//! The broker alone: everybody may do everything, nothing is stored.
//!
//! ```text
//! cargo run --release -p tesaiot-broker --example open_broker -- --port 1883
//! ```
//!
//! | Option | Is |
//! |---|---|
//! | `--port N` | plain MQTT on 127.0.0.1 (0: any free port) |
//! | `--tls-port N --cert FILE --key FILE` | MQTT over TLS on 127.0.0.1 as well |
//! | `--queue N` | messages, and as many KiB, that wait for one session (default 1000) |
//! | `--hold-ms N` | acknowledgements wait for a "commit" every N milliseconds |
//!
//! It is what conformance suites and load generators of others are pointed at, and the proof that the broker knows
//! nothing of the program it usually serves. It listens on this machine only. The addresses it is bound to are
//! printed, one a line; it ends by Ctrl-C.

use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tesaiot_broker::{
    Action, Broker, Config, Connecting, Event, Host, Listener, Outcome, Receipt, Refusal, Transport, Verdict,
};
use tesaiot_mqtt::Message;
use tesaiot_tls::{ClientCertificates, ServerIdentity, ServerIdentityHandle, Versions, server_config};
use tokio::net::TcpListener;

type Failure = Box<dyn std::error::Error>;

const USAGE: &str = "usage: open_broker --port N [--tls-port N --cert FILE --key FILE] [--queue N] [--hold-ms N]";

/// As in the platform: what connections leave behind goes back to the operating system.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long connections may take to finish when the program ends.
const GRACE: Duration = Duration::from_secs(5);

/// A host that believes everybody and forgets everything.
struct Open {
    /// Receipts that wait for the next commit; `None`: everything is resolved at once. Bounded by the receive maximum
    /// of each connection.
    held: Option<Arc<Mutex<Vec<Receipt>>>>,
}

impl Host for Open {
    type Identity = ();

    async fn authenticate(&self, _: Connecting<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn authorize(&self, (): &(), _: Action, _: &str) -> bool {
        true
    }

    async fn accept(&self, _: &Arc<()>, _: Message, receipt: Option<Receipt>) -> Verdict {
        match (receipt, &self.held) {
            (None, _) => {}
            (Some(receipt), None) => receipt.resolve(Outcome::Stored),
            (Some(receipt), Some(held)) => held.lock().unwrap_or_else(PoisonError::into_inner).push(receipt),
        }
        Verdict::Deliver
    }

    fn observe(&self, _: Event<'_, ()>) {}
}

#[derive(Default)]
struct Arguments {
    port: Option<u16>,
    tls_port: Option<u16>,
    certificate: Option<String>,
    key: Option<String>,
    queue: Option<usize>,
    hold: Option<Duration>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            let value = words.next().ok_or(USAGE)?;
            match word.as_str() {
                "--port" => arguments.port = Some(value.parse()?),
                "--tls-port" => arguments.tls_port = Some(value.parse()?),
                "--cert" => arguments.certificate = Some(value),
                "--key" => arguments.key = Some(value),
                "--queue" => arguments.queue = Some(value.parse()?),
                "--hold-ms" => arguments.hold = Some(Duration::from_millis(value.parse::<u64>()?.max(1))),
                _ => return Err(USAGE.into()),
            }
        }
        if arguments.port.is_none() && arguments.tls_port.is_none() {
            return Err(USAGE.into());
        }
        Ok(arguments)
    }

    async fn listeners(&self) -> Result<Vec<Listener>, Failure> {
        let mut listeners = Vec::new();
        if let Some(port) = self.port {
            let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
            listeners.push(Listener { name: "plain".into(), socket, tls: None, transport: Transport::Stream });
        }
        if let Some(port) = self.tls_port {
            let (Some(certificate), Some(key)) = (&self.certificate, &self.key) else { return Err(USAGE.into()) };
            let identity =
                ServerIdentity::from_pem(&std::fs::read_to_string(certificate)?, &std::fs::read_to_string(key)?)?;
            let handle = ServerIdentityHandle::fixed(identity);
            let tls = server_config(&handle, ClientCertificates::NotRequested, Versions::default(), &[])?;
            let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
            listeners.push(Listener { name: "tls".into(), socket, tls: Some(tls), transport: Transport::Stream });
        }
        Ok(listeners)
    }
}

/// Resolves everything that waits, every `period`: a store that commits with a fixed cost.
async fn commit(held: &Mutex<Vec<Receipt>>, period: Duration) {
    let mut ticks = tokio::time::interval(period);
    loop {
        ticks.tick().await;
        let receipts = std::mem::take(&mut *held.lock().unwrap_or_else(PoisonError::into_inner));
        Receipt::resolve_all(receipts.into_iter().map(|receipt| (receipt, Outcome::Stored)));
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let held = arguments.hold.map(|_| Arc::default());
    let listeners = arguments.listeners().await?;
    let mut config = Config::default();
    if let Some(queue) = arguments.queue {
        (config.max_queued, config.max_queued_bytes) = (queue, queue.saturating_mul(1024));
    }
    let broker = Broker::new(Open { held: held.clone() }, config);
    for listener in listeners {
        writeln!(std::io::stdout(), "{} {}", listener.name, listener.socket.local_addr()?)?;
        broker.listen(listener);
    }
    match (&held, arguments.hold) {
        (Some(held), Some(period)) => {
            tokio::select! {
                () = commit(held, period) => {}
                ended = tokio::signal::ctrl_c() => ended?,
            }
        }
        _ => tokio::signal::ctrl_c().await?,
    }
    // What is still held is not stored: it is not acknowledged.
    if let Some(held) = held {
        held.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
    broker.drain(GRACE).await;
    Ok(())
}
