//! A broker that trusts everybody, and clients made of bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tesaiot_broker::{Action, Broker, Config, Connecting, Event, Host, Outcome, Peer, Receipt, Refusal, Verdict};
use tesaiot_mqtt::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The protocol levels of the two versions.
pub const V3: u8 = 4;
pub const V5: u8 = 5;
pub const BOTH: [u8; 2] = [V3, V5];

pub const CLEAN: u8 = 0b0000_0010;
pub const WILL: u8 = 0b0000_0100;
/// The flags of a SUBSCRIBE's fixed header, and a session expiry of 1,000 seconds.
pub const LASTING: &[u8] = &[0x11, 0, 0, 0x03, 0xE8];

/// Everybody may do everything, but nothing on `denied/…`, and nobody is called `refused`.
#[derive(Clone, Copy)]
pub struct Everybody;

impl Host for Everybody {
    type Identity = ();

    async fn authenticate(&self, connecting: Connecting<'_>) -> Result<(), Refusal> {
        match connecting.client_id {
            "refused" => Err(Refusal::InvalidClientId),
            _ if connecting.password == Some(b"wrong") => Err(Refusal::BadCredentials),
            _ => Ok(()),
        }
    }

    fn authorize(&self, (): &(), _: Action, topic: &str) -> bool {
        !topic.starts_with("denied/")
    }

    fn response_information(&self, (): &()) -> Option<String> {
        Some("answers".into())
    }

    async fn accept(&self, _: &Arc<()>, _: Message, receipt: Option<Receipt>) -> Verdict {
        if let Some(receipt) = receipt {
            receipt.resolve(Outcome::Stored);
        }
        Verdict::Deliver
    }

    fn observe(&self, _: Event<'_, ()>) {}
}

pub struct Lab {
    pub broker: Broker<Everybody>,
}

/// A packet: its first byte, the length of what follows, what follows.
pub fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[first], &*length(body.len()), &body].concat()
}

/// A variable byte integer.
pub fn length(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

/// Text or data behind its length.
pub fn text(content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [&(content.len() as u16).to_be_bytes(), content].concat()
}

/// Properties behind their length; nothing in 3.1.1.
pub fn properties(level: u8, content: &[u8]) -> Vec<u8> {
    if level == V5 { [&*length(content.len()), content].concat() } else { Vec::new() }
}

/// A CONNECT, field by field.
#[derive(Clone)]
pub struct Connect {
    pub level: u8,
    pub protocol: Vec<u8>,
    pub flags: u8,
    pub keep_alive: u16,
    pub properties: Vec<u8>,
    /// Client identifier and what the flags promise.
    pub payload: Vec<u8>,
}

impl Connect {
    pub fn new(level: u8, client_id: &str) -> Self {
        let protocol = text("MQTT");
        Self { level, protocol, flags: CLEAN, keep_alive: 0, properties: Vec::new(), payload: text(client_id) }
    }

    /// A session that outlives its connection.
    pub fn lasting(level: u8, client_id: &str) -> Self {
        let properties = if level == V5 { LASTING.to_vec() } else { Vec::new() };
        Self { flags: 0, properties, ..Self::new(level, client_id) }
    }

    pub fn with(mut self, properties: &[u8]) -> Self {
        self.properties.extend_from_slice(properties);
        self
    }

    /// A Last Will on `will/topic`.
    pub fn with_will(mut self, flags: u8, properties_of_will: &[u8]) -> Self {
        self.flags |= WILL | flags;
        self.payload.extend(properties(self.level, properties_of_will));
        self.payload.extend(text("will/topic"));
        self.payload.extend(text("gone"));
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let keep_alive = self.keep_alive.to_be_bytes();
        let given = properties(self.level, &self.properties);
        packet(0x10, &[&self.protocol, &[self.level, self.flags], &keep_alive, &given, &self.payload])
    }
}

/// A PUBLISH that arrived, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Publish {
    pub flags: u8,
    pub topic: String,
    pub id: u16,
    pub properties: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Publish {
    pub fn qos(&self) -> u8 {
        self.flags >> 1 & 3
    }

    pub fn is_dup(&self) -> bool {
        self.flags & 8 != 0
    }

    pub fn is_retained(&self) -> bool {
        self.flags & 1 != 0
    }

    fn parse(level: u8, bytes: &[u8]) -> Self {
        let header = 1 + bytes[1..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let mut rest = &bytes[header..];
        let mut take = |count: usize| {
            let (taken, left) = rest.split_at(count);
            rest = left;
            taken.to_vec()
        };
        let flags = bytes[0] & 0x0F;
        let name = take(2);
        let topic = String::from_utf8(take(usize::from(name[0]) << 8 | usize::from(name[1]))).unwrap();
        let id = if flags & 6 == 0 { 0 } else { u16::from_be_bytes(take(2).try_into().unwrap()) };
        let properties = if level == V5 {
            let count = take(1)[0];
            assert!(count < 0x80, "a test with small properties");
            take(usize::from(count))
        } else {
            Vec::new()
        };
        Self { flags, topic, id, properties, payload: rest.to_vec() }
    }
}

impl Lab {
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    pub fn with(config: Config) -> Self {
        Self { broker: Broker::new(Everybody, config) }
    }

    /// A network connection on which nothing was said.
    pub fn open(&self, level: u8) -> Client {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let peer = Peer { address, listener: "lab".into(), certificates: Vec::new() };
        let task = tokio::spawn(self.broker.serve(theirs, peer));
        Client { stream: ours, level, task }
    }

    /// Sends CONNECT and returns the client and the whole CONNACK.
    pub async fn connect(&self, connect: &Connect) -> (Client, Vec<u8>) {
        let mut client = self.open(connect.level);
        client.send(&connect.bytes()).await;
        let connack = client.packet().await.expect("CONNACK");
        (client, connack)
    }

    /// A connected client with a clean session.
    pub async fn client(&self, level: u8, client_id: &str) -> Client {
        let (client, connack) = self.connect(&Connect::new(level, client_id)).await;
        assert_eq!(connack[..1], [0x20]);
        assert_eq!(connack[2..4], [0, 0], "a new session");
        client
    }

    /// A connected client with a session that lasts, and whether there was one.
    pub async fn lasting(&self, level: u8, client_id: &str) -> (Client, bool) {
        let (client, connack) = self.connect(&Connect::lasting(level, client_id)).await;
        assert_eq!(connack[3], 0);
        (client, connack[2] == 1)
    }

    /// What comes back to bytes on a fresh connection, until it ends.
    pub async fn answer(&self, level: u8, bytes: &[u8]) -> Vec<u8> {
        let mut client = self.open(level);
        client.send(bytes).await;
        client.rest().await
    }

    /// Publishes as the host does: nothing of it depends on a client.
    pub fn say(&self, topic: &str, qos: u8) {
        let qos = tesaiot_mqtt::QoS::try_from(qos).unwrap();
        self.broker.publish(&Message::new(topic.to_owned(), topic.to_owned(), qos));
    }

    /// Waits until a client's connection is gone for the broker too.
    pub async fn gone(&self, client_id: &str) {
        while self.broker.is_connected(client_id) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

pub struct Client {
    pub stream: DuplexStream,
    pub level: u8,
    /// The broker's side of the connection.
    pub task: JoinHandle<()>,
}

impl Client {
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next packet; `None` when the connection ends, or nothing comes for longer than every deadline.
    pub async fn packet(&mut self) -> Option<Vec<u8>> {
        timeout(Duration::from_secs(10_000), self.read()).await.expect("something, or the end")
    }

    async fn read(&mut self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 2];
        self.stream.read_exact(&mut bytes).await.ok()?;
        let (mut count, mut shift) = (usize::from(bytes[1] & 0x7F), 7);
        while bytes.last()? & 0x80 != 0 {
            bytes.push(self.stream.read_u8().await.ok()?);
            count |= usize::from(bytes.last()? & 0x7F) << shift;
            shift += 7;
        }
        let start = bytes.len();
        bytes.resize(start + count, 0);
        self.stream.read_exact(&mut bytes[start..]).await.ok()?;
        Some(bytes)
    }

    /// Everything until the end.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        timeout(Duration::from_secs(10_000), self.stream.read_to_end(&mut rest)).await.expect("the end").unwrap();
        rest
    }

    /// The next packet is this one.
    pub async fn expect(&mut self, bytes: &[u8]) {
        assert_eq!(self.packet().await.as_deref(), Some(bytes));
    }

    /// The next packet is PUBLISH.
    pub async fn publish(&mut self) -> Publish {
        let bytes = self.packet().await.expect("PUBLISH");
        assert_eq!(bytes[0] & 0xF0, 0x30, "{bytes:02x?} instead of PUBLISH");
        Publish::parse(self.level, &bytes)
    }

    /// Nothing comes, and the connection stays.
    pub async fn silent(&mut self) {
        if let Ok(packet) = timeout(Duration::from_secs(1), self.read()).await {
            panic!("{packet:02x?} instead of silence");
        }
    }

    /// The connection is closed; MQTT 5 hears one of these reasons.
    pub async fn closed(&mut self, reasons: &[u8]) {
        if self.level == V5 {
            let goodbye = self.packet().await.expect("DISCONNECT");
            assert_eq!(goodbye[0], 0xE0, "{goodbye:02x?} instead of DISCONNECT");
            assert!(reasons.contains(&goodbye[2]), "{:#x} is none of {reasons:02x?}", goodbye[2]);
        }
        assert_eq!(self.rest().await, b"");
    }

    /// A round trip: everything sent before it has been handled.
    pub async fn ping(&mut self) {
        self.send(&[0xC0, 0]).await;
        self.expect(&[0xD0, 0]).await;
    }

    /// Sends a PUBLISH. `flags`: DUP, quality of service and RETAIN.
    pub async fn say(&mut self, flags: u8, id: u16, topic: &str, payload: &[u8]) {
        self.say_with(flags, id, topic, &[], payload).await;
    }

    pub async fn say_with(&mut self, flags: u8, id: u16, topic: &str, given: &[u8], payload: &[u8]) {
        let id = if flags & 6 == 0 { Vec::new() } else { id.to_be_bytes().to_vec() };
        let given = properties(self.level, given);
        self.send(&packet(0x30 | flags, &[&text(topic), &id, &given, payload])).await;
    }

    /// Subscribes and returns what was granted.
    pub async fn subscribe(&mut self, filters: &[(&str, u8)]) -> Vec<u8> {
        self.subscribe_with(&[], filters).await
    }

    pub async fn subscribe_with(&mut self, given: &[u8], filters: &[(&str, u8)]) -> Vec<u8> {
        let wanted: Vec<u8> =
            filters.iter().flat_map(|(filter, options)| [text(filter), vec![*options]].concat()).collect();
        self.send(&packet(0x82, &[&[0x12, 0x34], &properties(self.level, given), &wanted])).await;
        let suback = self.packet().await.expect("SUBACK");
        assert_eq!((suback[0], &suback[2..4]), (0x90, &[0x12, 0x34][..]));
        let start = if self.level == V5 { 5 + usize::from(suback[4]) } else { 4 };
        suback[start..].to_vec()
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    pub async fn acknowledge(&mut self, first: u8, id: u16) {
        self.send(&packet(first, &[&id.to_be_bytes()])).await;
    }

    /// The next packet is an acknowledgement without a complaint.
    pub async fn acknowledged(&mut self, first: u8, id: u16) {
        self.expect_code(first, id, 0).await;
    }

    /// The next packet is an acknowledgement with this reason (in 3.1.1: without any).
    pub async fn expect_code(&mut self, first: u8, id: u16, code: u8) {
        let bytes = self.packet().await.expect("an acknowledgement");
        assert_eq!((bytes[0], &bytes[2..4]), (first, &id.to_be_bytes()[..]), "{bytes:02x?}");
        let found = bytes.get(4).copied().unwrap_or(0);
        assert_eq!(found, if self.level == V5 { code } else { 0 }, "{bytes:02x?}");
    }
}
