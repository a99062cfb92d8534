//! Asking a proxy for a connection. Afterwards the stream is the platform's.

use std::io;
use std::net::IpAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::{Proxy, Scheme};

/// Longest answer of an HTTP proxy that is read, in bytes.
const MAX_ANSWER: usize = 8 * 1024;
const MAX_HEADERS: usize = 64;
/// What is quoted of a proxy's words, in characters.
const MAX_QUOTE: usize = 80;

/// Where a proxy is asked to connect to.
pub(in crate::connect) enum Goal<'a> {
    /// A name, which the proxy resolves
    Name(&'a str),
    Address(IpAddr),
}

/// How a proxy said no.
#[derive(Debug, thiserror::Error)]
pub enum ProxyFault {
    /// It wants a user and a password.
    #[error("it wants a user and a password")]
    LoginNeeded,
    /// It does not take this user and password.
    #[error("it does not take this user and password")]
    LoginRefused,
    /// An answer of HTTP other than success.
    #[error("it answered {status}{}", quoted(.reason))]
    Status {
        /// The status
        status: u16,
        /// Its words
        reason: Box<str>,
    },
    /// A reply of SOCKS 5 other than success (RFC 1928, section 6).
    #[error("it answered: {}", reply(*.0))]
    Reply(u8),
    /// What answers is no proxy of this kind.
    #[error("what answers there is no proxy of this kind")]
    NotAProxy,
    /// It closed the connection without an answer.
    #[error("it closed the connection")]
    Closed,
    /// Reading or writing failed.
    #[error("{}", crate::connect::os_words(.0))]
    Io(#[from] io::Error),
}

impl ProxyFault {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::LoginNeeded => "write the proxy as http://USER:PASSWORD@host:port, best in HTTPS_PROXY",
            Self::LoginRefused => "check user and password of the proxy; special characters are written as %40",
            Self::Status { status: 403 | 405, .. } | Self::Reply(2) => {
                "the proxy does not allow this host and port: ask whoever runs it to allow the platform's ports, or use --mode https"
            }
            Self::Status { .. } | Self::Reply(_) => {
                "the proxy cannot reach the platform: check the platform's host and port, and ask whoever runs the proxy"
            }
            Self::NotAProxy => "check scheme and port of the proxy: http, socks5 or socks5h",
            Self::Closed | Self::Io(_) => "check host and port of the proxy, and whether it takes this machine",
        }
    }
}

fn quoted(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" {reason:?}") }
}

fn reply(code: u8) -> &'static str {
    match code {
        1 => "general failure",
        2 => "not allowed by its rules",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "time to live expired",
        7 => "it knows no connections",
        8 => "it knows no addresses of this kind",
        _ => "a failure without a name",
    }
}

impl Proxy {
    /// Asks for a connection to `goal` over `stream`, which is connected to the proxy.
    pub(in crate::connect) async fn ask(
        &self,
        stream: &mut TcpStream,
        goal: Goal<'_>,
        port: u16,
    ) -> Result<(), ProxyFault> {
        match self.scheme {
            Scheme::Http => self.connect(stream, &goal, port).await,
            Scheme::Socks5 { .. } => self.socks(stream, &goal, port).await,
        }
    }

    async fn connect(&self, stream: &mut TcpStream, goal: &Goal<'_>, port: u16) -> Result<(), ProxyFault> {
        let target = match goal {
            Goal::Name(name) if name.contains(':') => format!("[{name}]:{port}"),
            Goal::Name(name) => format!("{name}:{port}"),
            Goal::Address(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            Goal::Address(address) => format!("{address}:{port}"),
        };
        let mut request = Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"));
        if let Some((user, password)) = &self.login {
            let login = Zeroizing::new(format!("{}:{}", user.expose(), password.expose()));
            let encoded = Zeroizing::new(base64(login.as_bytes()));
            request.reserve_exact(encoded.len() + 40);
            request.push_str("Proxy-Authorization: Basic ");
            request.push_str(&encoded);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::with_capacity(512);
        loop {
            match status(&answer)? {
                // The platform says nothing before we do: a byte behind the answer is not its.
                Some((200..=299, _, length)) if length == answer.len() => return Ok(()),
                Some((200..=299, ..)) => return Err(ProxyFault::NotAProxy),
                // 407 is the word for it; tinyproxy says 401 to a wrong password.
                Some((401 | 407, ..)) if self.login.is_some() => return Err(ProxyFault::LoginRefused),
                Some((401 | 407, ..)) => return Err(ProxyFault::LoginNeeded),
                Some((status, reason, _)) => return Err(ProxyFault::Status { status, reason }),
                None if answer.len() > MAX_ANSWER => return Err(ProxyFault::NotAProxy),
                None => {}
            }
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(ProxyFault::Closed);
            }
        }
    }

    async fn socks(&self, stream: &mut TcpStream, goal: &Goal<'_>, port: u16) -> Result<(), ProxyFault> {
        const VERSION: u8 = 5;
        const OPEN: u8 = 0;
        const LOGIN: u8 = 2;
        let methods: &[u8] = if self.login.is_some() { &[VERSION, 2, OPEN, LOGIN] } else { &[VERSION, 1, OPEN] };
        stream.write_all(methods).await?;
        match (read(stream).await?, &self.login) {
            ([VERSION, OPEN], _) => {}
            ([VERSION, LOGIN], Some((user, password))) => {
                let mut words = Zeroizing::new(Vec::with_capacity(3 + 2 * 255));
                words.push(1);
                for word in [user, password] {
                    words.push(word.expose().len() as u8);
                    words.extend_from_slice(word.expose().as_bytes());
                }
                stream.write_all(&words).await?;
                let [_, verdict] = read(stream).await?;
                if verdict != 0 {
                    return Err(ProxyFault::LoginRefused);
                }
            }
            ([VERSION, _], None) => return Err(ProxyFault::LoginNeeded),
            ([VERSION, _], Some(_)) => return Err(ProxyFault::LoginRefused),
            _ => return Err(ProxyFault::NotAProxy),
        }
        let mut request = vec![VERSION, 1, 0];
        match goal {
            Goal::Address(IpAddr::V4(address)) => {
                request.push(1);
                request.extend(address.octets());
            }
            Goal::Address(IpAddr::V6(address)) => {
                request.push(4);
                request.extend(address.octets());
            }
            Goal::Name(name) => {
                request.push(3);
                request.push(u8::try_from(name.len()).map_err(|_| ProxyFault::Reply(8))?);
                request.extend(name.as_bytes());
            }
        }
        request.extend(port.to_be_bytes());
        stream.write_all(&request).await?;
        let [version, code, _, kind] = read(stream).await?;
        if version != VERSION {
            return Err(ProxyFault::NotAProxy);
        }
        if code != 0 {
            return Err(ProxyFault::Reply(code));
        }
        // Where the proxy connects from is of no interest, and is in the way.
        match kind {
            1 => drop(read::<6>(stream).await?),
            4 => drop(read::<18>(stream).await?),
            3 => {
                let [length] = read(stream).await?;
                stream.read_exact(&mut vec![0; usize::from(length) + 2]).await?;
            }
            _ => return Err(ProxyFault::NotAProxy),
        }
        Ok(())
    }
}

async fn read<const N: usize>(stream: &mut TcpStream) -> Result<[u8; N], ProxyFault> {
    let mut bytes = [0; N];
    match stream.read_exact(&mut bytes).await {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ProxyFault::Closed),
        Err(error) => Err(error.into()),
    }
}

/// Status, words and length of an answer's head; none while it is not whole.
fn status(answer: &[u8]) -> Result<Option<(u16, Box<str>, usize)>, ProxyFault> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(answer) {
        Ok(httparse::Status::Complete(length)) => {
            let words = response.reason.unwrap_or_default().chars();
            let reason: String = words.filter(|character| !character.is_control()).take(MAX_QUOTE).collect();
            Ok(response.code.map(|code| (code, reason.into(), length)))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(ProxyFault::NotAProxy),
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_the_standard_shows_it() {
        let of = |text: &str| base64(text.as_bytes());
        let expected = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        assert_eq!(["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(of), expected);
    }

    #[test]
    fn an_answer_is_whole_at_its_last_byte() {
        let text = b"HTTP/1.1 403 Filtered\r\nServer: x\r\n\r\n";
        for length in 0..text.len() {
            assert!(status(&text[..length]).unwrap().is_none());
        }
        assert_eq!(status(text).unwrap(), Some((403, "Filtered".into(), text.len())));
        assert!(matches!(status(b"SSH-2.0-OpenSSH\r\n\r\n"), Err(ProxyFault::NotAProxy)));
    }
}
