//! MQTT byte by byte over TLS: what no well-behaved client would send, and exactly what comes back.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use tesaiot_mqtt::Version;
use tesaiot_tls::{ClientSettings, client_config};

use super::PATIENCE;
use super::device::Device;

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// A connection to a broker. Reads wait for at most [`PATIENCE`].
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    version: Version,
}

/// A CONNECT packet to be.
#[derive(Clone)]
pub(crate) struct Connect<'a> {
    pub(crate) version: Version,
    pub(crate) client_id: &'a str,
    pub(crate) login: Option<(&'a str, &'a str)>,
    /// Topic and payload of the Last Will.
    pub(crate) will: Option<(&'a str, &'a str)>,
    /// How long the session outlives the connection, in seconds; the clean session or clean start flag is set when 0.
    pub(crate) session_expiry: u32,
}

impl<'a> Connect<'a> {
    /// A client without credentials and without a session.
    pub(crate) fn new(version: Version, client_id: &'a str) -> Self {
        Self { version, client_id, login: None, will: None, session_expiry: 0 }
    }

    /// A device with the credentials of its bundle.
    pub(crate) fn of(version: Version, device: &'a Device) -> Self {
        let login = device.certificate().is_none().then(|| (device.id().as_str(), device.api_key()));
        Self { login, ..Self::new(version, device.id().as_str()) }
    }

    pub(crate) fn packet(&self) -> Vec<u8> {
        let flags =
            [(self.session_expiry == 0, 0x02), (self.will.is_some(), 0x04 | 0x08), (self.login.is_some(), 0x80 | 0x40)];
        let flags: u8 = flags.into_iter().filter_map(|(set, bits)| set.then_some(bits)).sum();
        let mut body = string("MQTT");
        body.extend([if self.version == Version::V5 { 5 } else { 4 }, flags, 0, 60]);
        if self.version == Version::V5 {
            body.extend([5, 0x11]);
            body.extend(self.session_expiry.to_be_bytes());
        }
        body.extend(string(self.client_id));
        if let Some((topic, payload)) = self.will {
            body.extend(properties(self.version));
            body.extend(string(topic));
            body.extend(string(payload));
        }
        if let Some((username, password)) = self.login {
            body.extend(string(username));
            body.extend(string(password));
        }
        packet(0x10, &body)
    }
}

impl Wire {
    /// Plain TCP.
    #[track_caller]
    pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a TCP connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        stream.set_nodelay(true).expect("no delay");
        stream
    }

    /// A connection with a TLS handshake that this end has finished. In TLS 1.3 the other end may refuse after that.
    pub(crate) fn tls(address: SocketAddr, settings: ClientSettings, version: Version) -> io::Result<Self> {
        let config = client_config(settings).expect("a TLS configuration");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut tls = ClientConnection::new(config, name).expect("a TLS connection to be");
        let mut tcp = Self::tcp(address);
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        Ok(Self { stream: Box::new(StreamOwned::new(tls, tcp)), version })
    }

    /// Connects a device to `address` with all of its bundle, and returns after a successful CONNACK.
    #[track_caller]
    pub(crate) fn login(address: SocketAddr, device: &Device, version: Version) -> Self {
        Self::session(address, device, &Connect::of(version, device)).0
    }

    /// Connects a device as `connect` says; also whether the broker has resumed a session.
    #[track_caller]
    pub(crate) fn session(address: SocketAddr, device: &Device, connect: &Connect<'_>) -> (Self, bool) {
        let mut wire = Self::tls(address, device.tls(), connect.version).expect("a TLS handshake");
        wire.send(&connect.packet());
        let acknowledgement = wire.packet();
        assert_eq!((acknowledgement[0], reason(&acknowledgement)), (0x20, 0), "{acknowledgement:02x?}");
        let resumed = body(&acknowledgement)[0] & 1 == 1;
        (wire, resumed)
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the connection takes bytes");
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Publishes at QoS 1.
    #[track_caller]
    pub(crate) fn publish(&mut self, packet_id: u16, topic: &str, payload: &[u8]) {
        self.send(&publish(self.version, packet_id, false, topic, payload));
    }

    /// Publishes at QoS 1 and returns the reason of the PUBACK: 0 is success.
    #[track_caller]
    pub(crate) fn acknowledged(&mut self, packet_id: u16, topic: &str, payload: &[u8]) -> u8 {
        self.publish(packet_id, topic, payload);
        self.acknowledgement(packet_id)
    }

    /// The reason of the next packet, which is the PUBACK of this message.
    #[track_caller]
    pub(crate) fn acknowledgement(&mut self, packet_id: u16) -> u8 {
        let packet = self.packet();
        let body = body(&packet);
        assert_eq!((packet[0], &body[..2]), (0x40, &packet_id.to_be_bytes()[..]), "{packet:02x?}");
        body.get(2).copied().unwrap_or(0)
    }

    /// Subscribes at QoS 1 and returns the reason of the SUBACK.
    #[track_caller]
    pub(crate) fn subscribed(&mut self, packet_id: u16, filter: &str) -> u8 {
        let mut body = packet_id.to_be_bytes().to_vec();
        body.extend(properties(self.version));
        body.extend(string(filter));
        body.push(1);
        self.send(&packet(0x82, &body));
        let acknowledgement = self.packet();
        assert_eq!(acknowledgement[0], 0x90, "{acknowledgement:02x?}");
        *acknowledgement.last().expect("a packet has bytes")
    }

    /// The next packet, whole.
    #[track_caller]
    pub(crate) fn packet(&mut self) -> Vec<u8> {
        self.try_packet().expect("a packet")
    }

    pub(crate) fn try_packet(&mut self) -> io::Result<Vec<u8>> {
        let mut packet = vec![0; 2];
        self.stream.read_exact(&mut packet)?;
        let mut length = usize::from(packet[1] & 0x7f);
        let mut shift = 7;
        while packet[packet.len() - 1] & 0x80 != 0 {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            packet.push(byte[0]);
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
        }
        let start = packet.len();
        packet.resize(start + length, 0);
        self.stream.read_exact(&mut packet[start..])?;
        Ok(packet)
    }

    /// Reads to the end of the connection, and returns the packets that came before it.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        loop {
            match self.try_packet() {
                Ok(packet) => packets.push(packet),
                Err(error) => {
                    let waited = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                    assert!(!waited, "the connection stayed open; it sent {packets:02x?}");
                    return packets;
                }
            }
        }
    }

    /// Reads to the end of the connection: nothing comes before it on 3.1.1, a DISCONNECT with `reason` on 5.
    #[track_caller]
    pub(crate) fn expect_closed(&mut self, reason: u8) {
        let rest = self.rest();
        match self.version {
            Version::V3 => assert!(rest.is_empty(), "{rest:02x?}"),
            Version::V5 => {
                let told = rest.iter().map(|packet| (packet[0], body(packet).first().copied().unwrap_or(0)));
                assert_eq!(told.collect::<Vec<_>>(), [(0xe0, reason)], "{rest:02x?}");
            }
        }
    }
}

/// The reason of a CONNACK.
pub(crate) fn reason(acknowledgement: &[u8]) -> u8 {
    body(acknowledgement)[1]
}

/// A packet's bytes after its fixed header.
pub(crate) fn body(packet: &[u8]) -> &[u8] {
    let continued = packet[1..].iter().take_while(|byte| **byte & 0x80 != 0).count();
    &packet[continued + 2..]
}

/// A PUBLISH at QoS 1.
pub(crate) fn publish(version: Version, packet_id: u16, dup: bool, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = string(topic);
    body.extend(packet_id.to_be_bytes());
    body.extend(properties(version));
    body.extend(payload);
    packet(if dup { 0x3a } else { 0x32 }, &body)
}

/// Any packet, with its length written as the specification wants it.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let byte = (length % 128) as u8;
        length /= 128;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// No properties: a length of 0 on 5, nothing at all on 3.1.1.
fn properties(version: Version) -> Vec<u8> {
    if version == Version::V5 { vec![0] } else { Vec::new() }
}

fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// Both versions of the protocol.
pub(crate) const VERSIONS: [Version; 2] = [Version::V3, Version::V5];

/// Time that is long for a platform and short for a test: deadlines of connections in these tests.
pub(crate) const SHORT: Duration = Duration::from_millis(300);
