//! One HTTPS request, over the same TLS and with the same diagnosis as everything else.
//!
//! It knows a GET and the head of its answer, which is what the checks look at. The body is not read.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::wire::Place;
use crate::connect::ConnectError;

/// Longest head of an answer that is read, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The head of an answer.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The server's clock (RFC 9110, section 6.6.1), to the second
    pub(super) date: Option<Timestamp>,
}

/// Why there is no answer.
pub(super) enum HttpError {
    /// The address is not `https://HOST[:PORT]`
    Address,
    Connect(ConnectError),
    /// It broke, or took too long, or is not HTTP
    NoAnswer,
}

/// Host and port of `https://HOST[:PORT]`, and nothing behind them.
pub(super) fn place(base: &str) -> Option<Place> {
    let authority = base.strip_prefix("https://")?.trim_end_matches('/');
    if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) {
        return None;
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') && !port.contains(']') => (host, port.parse().ok()?),
        _ => (authority, 443),
    };
    Some(Place { host: host.to_owned(), port })
}

/// `GET base/path`. The value of `header` is a secret as a rule: it is sent and never shown.
pub(super) async fn get(
    base: &str,
    path: &str,
    header: Option<(&str, &str)>,
    tls: &Arc<ClientConfig>,
    deadline: Instant,
) -> Result<Answer, HttpError> {
    let place = place(base).ok_or(HttpError::Address)?;
    let connecting = async {
        let mut last = None;
        for address in place.resolve(deadline).await? {
            match place.dial(address, deadline).await {
                Ok(stream) => return place.handshake(tls, stream, deadline).await,
                Err(error) => last = Some(error),
            }
        }
        // `resolve` gives at least one address.
        Err(last.unwrap_or_else(|| unreachable_place(&place)))
    };
    let (mut stream, _) = connecting.await.map_err(HttpError::Connect)?;
    let asking = async {
        let header = header.map_or_else(String::new, |(name, value)| format!("{name}: {value}\r\n"));
        let host = if place.port == 443 { place.host.clone() } else { format!("{}:{}", place.host, place.port) };
        let request = zeroize::Zeroizing::new(format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tesaiot-doctor\r\nConnection: close\r\n{header}\r\n"
        ));
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut head = Vec::new();
        let mut part = [0; 2048];
        while head.len() < MAX_HEAD && !head.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut part).await? {
                0 => break,
                read => head.extend_from_slice(&part[..read]),
            }
        }
        std::io::Result::Ok(head)
    };
    match timeout_at(deadline, asking).await {
        Ok(Ok(head)) => parse(&head).ok_or(HttpError::NoAnswer),
        _ => Err(HttpError::NoAnswer),
    }
}

fn unreachable_place(place: &Place) -> ConnectError {
    let cause = crate::connect::Cause::NoAddress;
    let (step, host) = (crate::connect::Step::Dns, place.host.clone());
    ConnectError { step, host, port: place.port, proxy: None, cause }
}

fn parse(head: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let version = first.next()?;
    let status =
        first.next()?.parse().ok().filter(|status| version.starts_with("HTTP/1.") && (100..600).contains(status))?;
    let date = lines.take_while(|line| !line.is_empty()).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("date").then(|| rfc2822::parse(value.trim()).ok())?
    });
    Some(Answer { status, date: date.map(|date| date.timestamp()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let parts = |base| place(base).map(|place| (place.host, place.port));
        assert_eq!(parts("https://iot.example:8443"), Some(("iot.example".into(), 8443)));
        assert_eq!(parts("https://iot.example/"), Some(("iot.example".into(), 443)));
        assert_eq!(parts("https://[::1]:9"), Some(("[::1]".into(), 9)));
        assert_eq!(parts("https://[::1]"), Some(("[::1]".into(), 443)));
        for bad in ["http://a", "https://", "https://a:x", "https://a:99999", "https://a/b", "https://a@b", "a"] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }

    #[test]
    fn status_and_date_are_read_and_nothing_else_is_believed() {
        let answer =
            parse(b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nDate: no").unwrap();
        assert_eq!((answer.status, answer.date.unwrap().to_string().as_str()), (200, "1994-11-06T08:49:37Z"));
        assert!(parse(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap().date.is_none());
        for bad in [&b"SSH-2.0-x\r\n"[..], b"", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 999 x\r\n\r\n", b"\xff\xfe"] {
            assert!(parse(bad).is_none());
        }
    }
}
