//! From a host and a port to an encrypted stream: resolve, connect, shake hands, each under a deadline of its own.
//!
//! A failure says at which step it happened, because the answer differs: a name, a port, a certificate.

mod error;
mod proxy;
mod stream;
mod tls_words;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::time_provider::TimeProvider;
use tesaiot_mqtt::client::reconnect::Open;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

pub(crate) use error::os_words;
pub use error::{Cause, ConnectError, Step};
use proxy::{Goal, is_host};
pub use proxy::{InvalidProxy, Proxies, Proxy, ProxyFault, WrongProxy};
pub use stream::TlsStream;
pub(crate) use tls_words::{is_client_refusal, tls_hint, tls_message};

/// More addresses than any broker has: a resolver that answers with thousands is not followed.
const MAX_ADDRESSES: usize = 16;

/// How long each step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Resolving the host name
    pub dns: Duration,
    /// Connecting to one of its addresses; they share it
    pub tcp: Duration,
    /// The TLS handshake
    pub tls: Duration,
}

impl Default for Deadlines {
    /// Ten seconds each: a slow mobile network needs three, a person waits no longer.
    fn default() -> Self {
        let ten = Duration::from_secs(10);
        Self { dns: ten, tcp: ten, tls: ten }
    }
}

/// How long each step took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Resolving the host name
    pub dns: Duration,
    /// Connecting to one of its addresses
    pub tcp: Duration,
    /// The TLS handshake
    pub tls: Duration,
    /// From CONNECT to the broker's consent; known once there is an MQTT connection
    pub connect: Duration,
}

/// Opens TLS connections to one host and port. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connector {
    host: Arc<str>,
    port: u16,
    tls: Arc<ClientConfig>,
    deadlines: Deadlines,
    until: Option<Instant>,
    proxies: Proxies,
}

impl Connector {
    /// `host` is the name the server's certificate must carry: a DNS name or an IP address.
    pub fn new(host: &str, port: u16, tls: Arc<ClientConfig>, deadlines: Deadlines) -> Self {
        Self { host: host.into(), port, tls, deadlines, until: None, proxies: Proxies::default() }
    }

    /// As it is, and through these proxies.
    #[must_use]
    pub fn through(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// As it is, and with no step going on past `until`.
    #[must_use]
    pub fn until(mut self, until: Option<Instant>) -> Self {
        self.until = until;
        self
    }

    /// How long a step that may take `longest` has from now on.
    pub(crate) fn allowed(&self, longest: Duration) -> Duration {
        self.until.map_or(longest, |until| longest.min(until.saturating_duration_since(Instant::now())))
    }

    /// The same at another host or port. The server's certificate must carry the new name.
    #[must_use]
    pub fn at(&self, host: Option<&str>, port: Option<u16>) -> Self {
        let host = host.map_or_else(|| self.host.clone(), Into::into);
        Self { host, port: port.unwrap_or(self.port), ..self.clone() }
    }

    /// The same with another configuration of TLS: another certificate to show.
    #[must_use]
    pub fn with_tls(&self, tls: Arc<ClientConfig>) -> Self {
        Self { tls, ..self.clone() }
    }

    /// The same with certificates judged by this time instead of the system's.
    #[must_use]
    pub fn with_time(&self, time: Arc<dyn TimeProvider>) -> Self {
        let mut tls = ClientConfig::clone(&self.tls);
        tls.time_provider = time;
        Self { tls: Arc::new(tls), ..self.clone() }
    }

    /// The host it connects to.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port it connects to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Resolves, connects and shakes hands.
    ///
    /// With TLS 1.3 the server judges the client's certificate only after this has returned: its refusal is an
    /// error of the first read.
    ///
    /// # Errors
    /// [`ConnectError`], which names the step.
    pub async fn connect(&self) -> Result<(TlsStream, Phases), ConnectError> {
        let began = Instant::now();
        let (stream, resolved) = match self.proxies.on_the_way_to(&self.host) {
            None => {
                let addresses = self.resolve(&self.host, self.port, None).await?;
                let resolved = Instant::now();
                (self.dial(&addresses, None).await?, resolved)
            }
            Some(proxy) => self.tunnel(&proxy).await?,
        };
        let dialled = Instant::now();
        match tesaiot_tls::connect(&self.tls, &self.host, stream, dialled + self.allowed(self.deadlines.tls)).await {
            Ok(stream) => {
                let (dns, tcp, tls) = (resolved - began, dialled - resolved, dialled.elapsed());
                Ok((TlsStream::new(stream), Phases { dns, tcp, tls, ..Phases::default() }))
            }
            Err(error) => Err(self.error(Step::Tls, Cause::Tls(Box::new(error)), None)),
        }
    }

    /// A stream that a proxy carries to the host, and when names were resolved.
    async fn tunnel(&self, proxy: &Proxy) -> Result<(TcpStream, Instant), ConnectError> {
        let name = without_brackets(&self.host);
        if !is_host(name) {
            return Err(self.error(Step::Dns, Cause::NoAddress, None));
        }
        let (host, port) = proxy.address();
        let mut goal = match name.parse() {
            Ok(address) => Goal::Address(address),
            Err(_) => Goal::Name(name),
        };
        if !proxy.resolves_names() && matches!(goal, Goal::Name(_)) {
            let addresses = self.resolve(name, self.port, None).await?;
            let address = addresses.first().ok_or_else(|| self.error(Step::Dns, Cause::NoAddress, None))?;
            goal = Goal::Address(address.ip());
        }
        let addresses = self.resolve(host, port, Some(proxy)).await?;
        let resolved = Instant::now();
        let mut stream = self.dial(&addresses, Some(proxy)).await?;
        let allowed = self.allowed(self.deadlines.tcp);
        let cause = match timeout(allowed, proxy.ask(&mut stream, goal, self.port)).await {
            Ok(Ok(())) => return Ok((stream, resolved)),
            Ok(Err(fault)) => Cause::Proxy(fault),
            Err(_) => Cause::TimedOut(allowed),
        };
        Err(self.error(Step::Proxy, cause, Some(proxy)))
    }

    async fn resolve(&self, host: &str, port: u16, proxy: Option<&Proxy>) -> Result<Vec<SocketAddr>, ConnectError> {
        let host = without_brackets(host);
        // RFC 6761 section 6.3: `localhost` is this machine whatever a resolver says, so none is asked. Asking one takes
        // a thread, which costs more than all the rest of connecting to this machine.
        if host.eq_ignore_ascii_case("localhost") {
            let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            return Ok(addresses.map(|address| SocketAddr::new(address, port)).to_vec());
        }
        let allowed = self.allowed(self.deadlines.dns);
        match timeout(allowed, lookup_host((host, port))).await {
            Ok(Ok(addresses)) => Ok(addresses.take(MAX_ADDRESSES).collect()),
            Ok(Err(error)) => Err(self.error(Step::Dns, Cause::Io(error), proxy)),
            Err(_) => Err(self.error(Step::Dns, Cause::TimedOut(allowed), proxy)),
        }
    }

    async fn dial(&self, addresses: &[SocketAddr], proxy: Option<&Proxy>) -> Result<TcpStream, ConnectError> {
        let allowed = self.allowed(self.deadlines.tcp);
        let deadline = Instant::now() + allowed;
        let mut cause = Cause::NoAddress;
        for (tried, address) in addresses.iter().enumerate() {
            // An address that swallows packets must leave time for the next one.
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / (addresses.len() - tried) as u32;
            cause = match timeout_at(Instant::now() + share, dial_one(*address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => Cause::Io(error),
                Err(_) => Cause::TimedOut(allowed),
            };
        }
        Err(self.error(Step::Tcp, cause, proxy))
    }

    fn error(&self, step: Step, cause: Cause, proxy: Option<&Proxy>) -> ConnectError {
        let proxy = proxy.map(ToString::to_string);
        ConnectError { step, host: self.host.to_string(), port: self.port, proxy, cause }
    }
}

/// An IPv6 address stands in brackets before a port, and without them alone.
fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

async fn dial_one(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Nagle and delayed acknowledgements together cost 40 ms a message.
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Open for Connector {
    type Stream = TlsStream;
    type Error = ConnectError;

    async fn open(&mut self) -> Result<TlsStream, ConnectError> {
        self.connect().await.map(|(stream, _)| stream)
    }
}
