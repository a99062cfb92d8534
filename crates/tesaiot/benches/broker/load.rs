//! The load generator: publishers with a window, each on a connection without a task of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::Bytes;
use tesaiot_mqtt::QoS;
use tesaiot_mqtt::client::Options;
use tesaiot_mqtt::client::direct::{Direct, Outgoing, Progress};
use tesaiot_tls::{ClientStream, connect as connect_tls};
use tokio::net::TcpStream;

/// Time for a connection to be made.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Connection = Direct<ClientStream<TcpStream>>;

/// Opens TLS to a port of this machine.
pub(crate) async fn tls(config: &Arc<rustls::ClientConfig>, port: u16) -> Result<ClientStream<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(connect_tls(config, "localhost", stream, tokio::time::Instant::now() + PATIENCE).await?)
}

/// Connects as `client_id`, with room for `window` unacknowledged messages. Never pings.
pub(crate) async fn open(
    config: &Arc<rustls::ClientConfig>,
    port: u16,
    client_id: &str,
    window: u16,
) -> Result<Connection> {
    let mut options = Options::new(client_id);
    options.receive_maximum = window;
    options.keep_alive = Duration::ZERO;
    Ok(Direct::connect(tls(config, port).await?, &options, None).await?)
}

/// Publishes `count` messages of QoS 1 and returns how long each waited for its acknowledgement.
pub(crate) async fn publish(
    connection: &mut Connection,
    topic: &str,
    count: u64,
    mut payload: impl FnMut(u64, &mut Vec<u8>),
) -> Result<Vec<Duration>> {
    let window = connection.window();
    let (mut sent, mut waits, mut in_flight) = (0, Vec::new(), VecDeque::with_capacity(window));
    let mut bytes = Vec::with_capacity(1024);
    while (waits.len() as u64) < count {
        while sent < count && in_flight.len() < window && connection.has_room() {
            bytes.clear();
            payload(sent, &mut bytes);
            connection.publish(sent, Outgoing { topic, payload: &bytes, qos: QoS::AtLeastOnce, retain: false })?;
            in_flight.push_back(Instant::now());
            sent += 1;
        }
        let mut refused = false;
        let report = |progress| match progress {
            Progress::Published(_, outcome) => {
                refused |= !outcome.is_acknowledged();
                // Acknowledgements come in the order of the messages (MQTT-4.6.0-2).
                waits.extend(in_flight.pop_front().map(|sent: Instant| sent.elapsed()));
            }
            Progress::Written(_) | Progress::Subscribed(_) | Progress::Message(_) => {}
        };
        connection.progress(report).await?;
        if refused {
            bail!("a message was refused");
        }
    }
    Ok(waits)
}

/// A payload of about 200 bytes that is telemetry: six readings that change.
pub(crate) fn telemetry(number: u64, bytes: &mut Vec<u8>) {
    use std::io::Write;
    let wobble = number % 97;
    // Writing to memory does not fail.
    let _ = write!(
        bytes,
        r#"{{"data":{{"temperature":36.{:02},"temperature_unit":"°C","humidity":{}.5,"humidity_unit":"%","pressure":10{:02}.25,"pressure_unit":"hPa","voltage":3.{:02},"current":0.1{:02},"motion":false,"counter":{number}}}}}"#,
        wobble,
        40 + wobble % 30,
        wobble % 50,
        wobble,
        wobble,
    );
}

/// The same bytes every time.
pub(crate) fn constant(length: usize) -> impl Fn(u64, &mut Vec<u8>) + Clone {
    let content = Bytes::from(vec![b'x'; length]);
    move |_, bytes| bytes.extend_from_slice(&content)
}
