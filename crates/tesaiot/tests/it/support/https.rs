//! HTTPS byte by byte: readers that are slow, leave in the middle, or count what came.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use tesaiot_tls::{ClientSettings, TrustAnchors, client_config};

use super::PATIENCE;

/// A connection on which something was asked. Reads wait for at most [`PATIENCE`].
pub(crate) struct Https {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Https {
    /// Connects to `authority` (`localhost:8443`) and sends `request`.
    #[track_caller]
    pub(crate) fn send(authority: &str, ca_pem: &str, request: &[u8]) -> Self {
        let settings = ClientSettings::new(TrustAnchors::from_pem(ca_pem).expect("trust anchors"));
        let config = client_config(settings).expect("a TLS configuration");
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(config, name).expect("a TLS connection to be");
        let stream = TcpStream::connect(authority).expect("a TCP connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        let mut stream = StreamOwned::new(tls, stream);
        stream.write_all(request).and_then(|()| stream.flush()).expect("the request leaves");
        Self { stream }
    }

    /// The head of the answer: status line and headers.
    #[track_caller]
    pub(crate) fn head(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            self.stream.read_exact(&mut byte).expect("the head of an answer");
            head.push(byte[0]);
        }
        String::from_utf8(head).expect("a head is text")
    }

    /// The status of the answer, whose head is read.
    #[track_caller]
    pub(crate) fn status(&mut self) -> u16 {
        let head = self.head();
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {head}"))
    }

    /// The next `length` bytes of the answer.
    #[track_caller]
    pub(crate) fn some(&mut self, length: usize) -> Vec<u8> {
        let mut some = vec![0; length];
        self.stream.read_exact(&mut some).expect("so much of an answer");
        some
    }

    /// Everything that follows, and how it ended.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut rest = Vec::new();
        let ended = self.stream.read_to_end(&mut rest).map(drop);
        (rest, ended)
    }
}
