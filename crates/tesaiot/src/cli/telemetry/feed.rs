//! The live feed: a WebSocket over our own TLS (the wire contract, section 10).

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tesaiot_contract::DeviceId;
use tesaiot_tls::{ClientSettings, ClientStream, HandshakeError};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::cli::client::connection::Target;
use crate::cli::client::error::ClientError;
use crate::cli::client::{refused, unreachable_or_silent};

/// For connecting, from the name to the confirmed subscription.
const CONNECT_TIME: Duration = Duration::from_secs(15);
/// After this long without a word the platform is asked whether it is there …
const ASK_AFTER: Duration = Duration::from_secs(15);
/// … and after this many unanswered questions the connection is taken for dead.
const QUESTIONS: u32 = 2;
/// Largest message that is read, in bytes: the largest payload, as JSON of metrics and units.
const LARGEST_MESSAGE: usize = 2 * 1024 * 1024;

/// One stored sample, as the feed tells it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Arrival {
    #[serde(rename = "deviceId")]
    pub(crate) device: String,
    /// Value by metric
    pub(crate) data: Map<String, Value>,
    /// Unit by metric
    #[serde(default)]
    pub(crate) units: Map<String, Value>,
    /// The device's own time; none when it gave none
    pub(crate) timestamp: Option<String>,
    #[serde(default)]
    pub(crate) received_at: Option<String>,
    /// The message as it came, for those who want it whole
    #[serde(skip)]
    pub(crate) whole: String,
}

/// What the feed tells.
#[derive(Debug)]
pub(crate) enum Told {
    /// A sample was stored
    Sample(Box<Arrival>),
    /// So many samples were stored and are not told
    Missed(u64),
}

/// An open subscription.
pub(crate) struct Feed {
    socket: WebSocketStream<ClientStream<TcpStream>>,
    url: String,
}

impl Feed {
    /// Connects, logs in and subscribes to `devices`, or to all when there are none.
    pub(crate) async fn open(target: &Target, devices: &[DeviceId]) -> Result<Self, ClientError> {
        let deadline = Instant::now() + CONNECT_TIME;
        let opened = timeout_at(deadline, Self::subscribed(target, devices, deadline)).await;
        opened.unwrap_or_else(|_| Err(ClientError::TimedOut { url: target.url.clone() }))
    }

    async fn subscribed(target: &Target, devices: &[DeviceId], deadline: Instant) -> Result<Self, ClientError> {
        let url = &target.url;
        let stream = tls(target, deadline).await?;
        let not_a_platform = |what: String| ClientError::NotAPlatform { url: url.clone(), what };
        let address = format!("wss://{}:{}/api/v1/ws/telemetry", target.host, target.port);
        let mut request = address.into_client_request().map_err(|error| not_a_platform(error.to_string()))?;
        let bearer = HeaderValue::from_str(&format!("Bearer {}", target.token.expose()));
        let mut bearer = bearer.map_err(|_| ClientError::InvalidToken)?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let limits =
            WebSocketConfig::default().max_message_size(Some(LARGEST_MESSAGE)).max_frame_size(Some(LARGEST_MESSAGE));
        let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(limits)).await;
        let (socket, _) = opened.map_err(|error| failed(url, error))?;
        let mut feed = Self { socket, url: url.clone() };
        let subscribe = json!({"type": "subscribe", "deviceIds": devices});
        feed.send(Message::text(subscribe.to_string())).await?;
        loop {
            let message = parse(&feed.text().await?);
            match message.as_ref().and_then(|message| message["type"].as_str()) {
                Some("subscribed") => return Ok(feed),
                Some("error") => {
                    let reason = message.as_ref().and_then(|message| message["message"].as_str());
                    return Err(refused(url, 400, reason.unwrap_or("the subscription")));
                }
                // A greeting, or a word of a newer platform.
                _ => {}
            }
        }
    }

    /// The next sample, or how many were skipped because they were not read fast enough.
    pub(crate) async fn next(&mut self) -> Result<Told, ClientError> {
        loop {
            let text = self.text().await?;
            let message = parse(&text);
            let message = message.as_ref();
            match message.and_then(|message| message["type"].as_str()) {
                Some("device_telemetry") => {
                    let arrival: Arrival = serde_json::from_str(&text).map_err(|error| ClientError::NotAPlatform {
                        url: self.url.clone(),
                        what: format!("a sample that cannot be read: {error}"),
                    })?;
                    return Ok(Told::Sample(Box::new(Arrival { whole: text, ..arrival })));
                }
                Some("missed") => {
                    return Ok(Told::Missed(message.and_then(|message| message["count"].as_u64()).unwrap_or(0)));
                }
                // A word of a newer platform.
                _ => {}
            }
        }
    }

    /// Says goodbye; how that goes changes nothing.
    pub(crate) async fn close(mut self) {
        let _ = timeout(Duration::from_secs(1), self.socket.close(None)).await;
    }

    async fn send(&mut self, message: Message) -> Result<(), ClientError> {
        self.socket.send(message).await.map_err(|error| failed(&self.url, error))
    }

    /// The next text, asking for a sign of life meanwhile: a half-open connection would be silent for ever.
    async fn text(&mut self) -> Result<String, ClientError> {
        let mut asked = 0;
        loop {
            match timeout(ASK_AFTER, self.socket.next()).await {
                Ok(Some(Ok(Message::Text(text)))) => return Ok(text.as_str().to_owned()),
                Ok(Some(Ok(Message::Close(_))) | None) => {
                    return Err(failed(&self.url, Error::ConnectionClosed));
                }
                // A ping is answered by the next read or write.
                Ok(Some(Ok(_))) => asked = 0,
                Ok(Some(Err(error))) => return Err(failed(&self.url, error)),
                Err(_) if asked >= QUESTIONS => return Err(ClientError::TimedOut { url: self.url.clone() }),
                Err(_) => {
                    asked += 1;
                    self.send(Message::Ping(Vec::new().into())).await?;
                }
            }
        }
    }
}

async fn tls(target: &Target, deadline: Instant) -> Result<ClientStream<TcpStream>, ClientError> {
    let url = || target.url.clone();
    let tls = |diagnosis| ClientError::Tls { url: url(), diagnosis: Box::new(diagnosis) };
    let config = tesaiot_tls::client_config(ClientSettings::new(target.trust.clone()))
        .map_err(|_| tls(tesaiot_tls::Diagnosis::Internal))?;
    let bare_host = target.host.trim_start_matches('[').trim_end_matches(']');
    let addresses = tokio::net::lookup_host((bare_host, target.port)).await;
    let addresses: Vec<_> = addresses.map_err(|_| ClientError::HostNotFound { host: target.host.clone() })?.collect();
    let stream = TcpStream::connect(&*addresses).await.map_err(|source| unreachable_or_silent(url(), source))?;
    // Failing to set it costs milliseconds, not correctness.
    let _ = stream.set_nodelay(true);
    let connected = tesaiot_tls::connect(&config, &target.host, stream, deadline).await;
    connected.map_err(|HandshakeError { diagnosis, .. }| tls(diagnosis))
}

fn parse(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

fn failed(url: &str, error: Error) -> ClientError {
    match error {
        Error::Http(answer) => {
            let status = answer.status();
            refused(url, status.as_u16(), status.canonical_reason().unwrap_or("it does not say why"))
        }
        Error::Io(source) => match tesaiot_tls::diagnose_io(&source) {
            Some(diagnosis) => ClientError::Tls { url: url.to_owned(), diagnosis: Box::new(diagnosis) },
            None => unreachable_or_silent(url.to_owned(), source),
        },
        Error::ConnectionClosed | Error::AlreadyClosed => ClientError::Unreachable {
            url: url.to_owned(),
            source: std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "it closed the connection"),
        },
        error => ClientError::NotAPlatform { url: url.to_owned(), what: error.to_string() },
    }
}
