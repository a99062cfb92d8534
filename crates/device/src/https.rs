//! Samples over HTTPS: one request at a time over one connection, through the same connector as MQTT.
//!
//! A small client of our own on [`httparse`]: a library's weighs as much as a tenth of the device's program, and this one
//! sends one kind of request to one kind of server. Every step has a deadline and every answer a limit.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use tesaiot_contract::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::connect::{ConnectError, Connector, TlsStream};

/// How long a request and its answer may take: the platform answers when it has stored.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest head of an answer, and longest body that is read, in bytes.
const MAX_ANSWER: usize = 32 * 1024;
/// Headers of an answer.
const MAX_HEADERS: usize = 64;
/// What is quoted of a refusal, in characters.
const MAX_QUOTE: usize = 200;

/// Where samples are posted, and with what.
#[derive(Clone, Debug)]
pub struct Place {
    /// The way there
    pub connector: Connector,
    /// The API key; none when the certificate says who we are
    pub key: Option<Secret>,
}

impl Place {
    /// Host and port of a base URL such as `https://host:8443`. None for another scheme, or a path behind it.
    pub fn address(base_url: &str) -> Option<(&str, u16)> {
        let rest = base_url.strip_prefix("https://")?.trim_end_matches('/');
        if rest.contains(['/', '@', '?', '#']) {
            return None;
        }
        // Brackets around an IPv6 address stand before the port, or at the end.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (rest, 443),
        };
        (!host.is_empty() && (host.starts_with('[') || !host.contains(':'))).then_some((host, port))
    }
}

/// A request that brought no success.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// No connection came about.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection ended before the answer, or something that is not HTTP answered.
    #[error("HTTPS failed: {address}: {what}")]
    Broken {
        /// Host and port
        address: String,
        /// What happened
        what: Broken,
    },
    /// The platform refused the request.
    #[error("HTTPS refused: {address}: the platform answered {status}{}", Quoted(.text))]
    Refused {
        /// Host and port
        address: String,
        /// The status of HTTP
        status: u16,
        /// The platform's word for it; empty when it said none
        code: String,
        /// The beginning of what it said
        text: String,
    },
}

/// How an exchange broke.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// Reading or writing failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The connection was closed before the answer was whole.
    #[error("connection closed before the answer")]
    Closed,
    /// The answer is not HTTP/1.1.
    #[error("the answer is not HTTP/1.1")]
    NotHttp,
    /// The answer is longer than any of this interface.
    #[error("the answer is too long")]
    TooLong,
    /// No answer within a minute.
    #[error("no answer within {PATIENCE:?}")]
    TimedOut,
}

impl PostError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Connect(error) => error.hint(),
            Self::Broken { .. } => "check ingest_base_url in endpoints.json: does the platform answer there?",
            Self::Refused { status: 401 | 403, .. } => {
                "check the API key and the device: it may be unknown or disabled"
            }
            Self::Refused { status: 400 | 413 | 422, .. } => "the platform keeps it as a dead letter: ask the operator",
            Self::Refused { .. } => "try again later: the platform is not ready",
        }
    }

    /// Whether the platform does not take this body, now or later.
    pub fn is_about_the_body(&self) -> bool {
        matches!(self, Self::Refused { status: 400 | 413 | 422, .. })
    }
}

/// The platform's words: quoted, on one line, and not too many of them.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short: String = self.0.chars().filter(|character| !character.is_control()).take(MAX_QUOTE).collect();
        if short.is_empty() { Ok(()) } else { write!(f, " and said {short:?}") }
    }
}

/// A connection on which requests follow each other.
#[derive(Debug)]
pub struct Link {
    stream: TlsStream,
    host: String,
    port: u16,
    key: Option<Secret>,
    /// The server keeps the connection after the last answer
    is_kept: bool,
    /// What time the last answer says it is
    date: Option<Timestamp>,
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// No encrypted stream could be opened.
    pub async fn open(place: &Place) -> Result<Self, PostError> {
        let (stream, _) = place.connector.connect().await?;
        let (host, port) = (place.connector.host().to_owned(), place.connector.port());
        Ok(Self { stream, host, port, key: place.key.clone(), is_kept: true, date: None })
    }

    /// Whether another request may follow.
    pub fn is_open(&self) -> bool {
        self.is_kept
    }

    /// What time the server's last answer says it is.
    pub fn date(&self) -> Option<Timestamp> {
        self.date
    }

    /// The TLS version both ends agreed on.
    pub fn tls_version(&self) -> Option<tesaiot_tls::TlsVersion> {
        self.stream.version()
    }

    /// Posts a body of JSON; returns once the platform has stored it.
    ///
    /// # Errors
    /// Anything but a status of 2xx.
    pub async fn post(&mut self, path: &str, body: &[u8]) -> Result<(), PostError> {
        self.ask("POST", path, body).await.map(drop)
    }

    /// Sends a request, with a body of JSON unless it is empty; returns what the platform answers.
    ///
    /// # Errors
    /// Anything but a status of 2xx.
    pub async fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>, PostError> {
        // Whatever breaks off in the middle leaves a connection that no request may follow on.
        self.is_kept = false;
        let address = format!("{}:{}", self.host, self.port);
        let exchange = async {
            self.send(method, path, &address, body).await?;
            self.answer().await
        };
        let answer = match timeout(PATIENCE, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(Broken::TimedOut),
        };
        let Answer { status, body, is_kept, date } = match answer {
            Ok(answer) => answer,
            Err(what) => return Err(PostError::Broken { address, what }),
        };
        self.is_kept = is_kept;
        self.date = date;
        match status {
            200..=299 => Ok(body),
            _ => {
                let (code, text) = words(&body);
                Err(PostError::Refused { address, status, code, text })
            }
        }
    }

    async fn send(&mut self, method: &str, path: &str, address: &str, body: &[u8]) -> Result<(), Broken> {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        if let Some(key) = &self.key {
            head.push_str("x-api-key: ");
            head.push_str(key.expose());
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        let mut request = zeroize::Zeroizing::new(head.into_bytes());
        request.reserve_exact(body.len());
        request.extend_from_slice(body);
        self.stream.write_all(&request).await?;
        self.stream.flush().await?;
        Ok(())
    }

    async fn answer(&mut self) -> Result<Answer, Broken> {
        let mut bytes = Vec::new();
        loop {
            if let Some(answer) = parse(&bytes)? {
                // What a server says before the answer (100 Continue) is not it.
                if answer.status >= 200 {
                    return Ok(answer);
                }
                let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or(Broken::NotHttp)?;
                bytes.drain(..end + 4);
                continue;
            }
            if bytes.len() > MAX_ANSWER {
                return Err(Broken::TooLong);
            }
            if self.stream.read_buf(&mut bytes).await? == 0 {
                return Err(Broken::Closed);
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    body: Vec<u8>,
    is_kept: bool,
    date: Option<Timestamp>,
}

/// The answer, once it is whole.
fn parse(bytes: &[u8]) -> Result<Option<Answer>, Broken> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(bytes).map_err(|_| Broken::NotHttp)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let status = response.code.ok_or(Broken::NotHttp)?;
    let header = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| String::from_utf8_lossy(header.value).trim().to_ascii_lowercase())
    };
    let is_kept = response.version == Some(1) && header("connection").is_none_or(|value| value != "close");
    let rest = &bytes[head..];
    let date = header("date").as_deref().and_then(date_of);
    let is_chunked = header("transfer-encoding").is_some_and(|value| value.ends_with("chunked"));
    let length =
        header("content-length").map(|value| value.parse::<usize>().map_err(|_| Broken::NotHttp)).transpose()?;
    let body = match (status, is_chunked, length) {
        (100..=199 | 204 | 304, ..) => Vec::new(),
        (_, true, _) => match dechunked(rest)? {
            Some(body) => body,
            None => return Ok(None),
        },
        (_, false, Some(length)) if length > MAX_ANSWER => return Err(Broken::TooLong),
        (_, false, Some(length)) => match rest.get(..length) {
            Some(body) => body.to_vec(),
            None => return Ok(None),
        },
        // It ends when the connection does: what has come says enough, and no other request may follow.
        (_, false, None) => return Ok(Some(Answer { status, body: rest.to_vec(), is_kept: false, date })),
    };
    Ok(Some(Answer { status, body, is_kept, date }))
}

/// The code and the sentence of a problem (RFC 9457); of anything else the beginning.
fn words(body: &[u8]) -> (String, String) {
    #[derive(serde::Deserialize)]
    struct Problem {
        detail: String,
        #[serde(default)]
        error: Code,
    }
    #[derive(Default, serde::Deserialize)]
    struct Code {
        #[serde(default)]
        code: String,
    }
    match serde_json::from_slice(body) {
        Ok(Problem { detail, error }) => (error.code, detail),
        Err(_) => (String::new(), quote(body)),
    }
}

/// A date as HTTP writes it (RFC 9110, section 5.6.7), in small letters: `sun, 06 nov 1994 08:49:37 gmt`.
fn date_of(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    // Headers are compared in small letters.
    let rest = text.split_once(", ")?.1.strip_suffix(" gmt")?;
    let mut words = rest.split([' ', ':']);
    let mut next = || words.next();
    let day = next()?.parse().ok()?;
    let month = next()?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let year = next()?.parse().ok()?;
    let mut number = || next()?.parse::<i8>().ok();
    let time = DateTime::new(year, month as i8, day, number()?, number()?, number()?, 0).ok()?;
    TimeZone::UTC.to_timestamp(time).ok()
}

fn quote(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(4 * MAX_QUOTE)]).into_owned()
}

/// The body out of its chunks (RFC 9112, section 7.1); none while the last one is missing.
fn dechunked(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
    let mut body = Vec::new();
    loop {
        let (start, length) = match httparse::parse_chunk_size(bytes).map_err(|_| Broken::NotHttp)? {
            httparse::Status::Complete(found) => found,
            httparse::Status::Partial => return Ok(None),
        };
        let length = usize::try_from(length).ok().filter(|length| *length <= MAX_ANSWER).ok_or(Broken::TooLong)?;
        let rest = &bytes[start..];
        if length == 0 {
            // Trailers may follow; an empty line ends them.
            let is_whole = rest.starts_with(b"\r\n") || rest.windows(4).any(|window| window == b"\r\n\r\n");
            return Ok(is_whole.then_some(body));
        }
        let Some(chunk) = rest.get(..length + 2) else { return Ok(None) };
        body.extend_from_slice(&chunk[..length]);
        bytes = &rest[length + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_names_host_and_port() {
        for (url, address) in [
            ("https://platform.example:8443", Some(("platform.example", 8443))),
            ("https://platform.example/", Some(("platform.example", 443))),
            ("https://[::1]:9444", Some(("[::1]", 9444))),
            ("https://[::1]", Some(("[::1]", 443))),
            ("http://platform.example", None),
            ("https://platform.example/path", None),
            ("https://user@platform.example", None),
            ("https://platform.example:port", None),
            ("https://", None),
        ] {
            assert_eq!(Place::address(url), address, "{url}");
        }
    }

    #[test]
    fn an_answer_is_whole_at_its_last_byte_and_not_before() {
        let with_length: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\n{\"\"}";
        let in_chunks: &[u8] =
            b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n1\r\n}\r\n0\r\n\r\n";
        let without: &[u8] = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        for (bytes, status, text, is_kept) in
            [(with_length, 201, "{\"\"}", true), (in_chunks, 400, "{\"a}", true), (without, 204, "", false)]
        {
            for length in 0..bytes.len() {
                assert_eq!(parse(&bytes[..length]).unwrap(), None, "{length} of {status}");
            }
            assert_eq!(parse(bytes).unwrap(), Some(Answer { status, body: text.into(), is_kept, date: None }));
        }
    }

    #[test]
    fn the_date_of_an_answer_is_read() {
        let answer = |date: &str| format!("HTTP/1.1 204 No Content\r\nDate: {date}\r\n\r\n");
        let read = |date: &str| parse(answer(date).as_bytes()).unwrap().unwrap().date;
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some("1994-11-06T08:49:37Z".parse().unwrap()));
        for wrong in ["", "Sun Nov  6 08:49:37 1994", "Sun, 31 Feb 2026 00:00:00 GMT", "Sun, 06 Nov 1994 08:49 GMT"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        assert!(matches!(parse(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), Err(Broken::NotHttp)));
        let long = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
        assert!(matches!(parse(long), Err(Broken::TooLong)));
    }
}
