//! PROXY protocol version 2: a load balancer says whose connection it carries.
//!
//! ```text
//! bytes  0..12  0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A
//!           12  version 2 in the high half, command in the low one: 0 LOCAL, 1 PROXY
//!           13  family in the high half: 0 none, 1 IPv4, 2 IPv6; transport in the low one: 0 none, 1 stream
//!       14..16  length of the rest, big endian
//!          16…  source address, destination address, source port, destination port; then what nobody needs here
//! ```
//!
//! The header is the first thing on the connection, before TLS. It is believed from listed addresses only, and there
//! it is a duty: a load balancer that forgets it would lend its own address to everybody.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// The first bytes of every header: not the beginning of any TLS or MQTT connection.
pub(super) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest rest of a header: addresses take 36 bytes, and a balancer may add what it knows of the client's TLS.
const MAX_REST: usize = 2048;

/// What a load balancer did wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    /// The connection began with something else.
    #[error("a listed load balancer sent no PROXY protocol version 2 header")]
    Missing,
    /// The rest is longer than any that makes sense.
    #[error("a PROXY header of {0} bytes, more than {MAX_REST}")]
    TooLong(usize),
    /// A command, a family or a transport that cannot carry MQTT.
    #[error("a PROXY header with command and family {0:#04x} {1:#04x}, which is not TCP")]
    Unsupported(u8, u8),
    /// The rest is shorter than the addresses it should hold.
    #[error("a PROXY header that ends within its addresses")]
    Truncated,
    /// The stream ended within the header.
    #[error("the connection ended within the PROXY header")]
    Io(#[from] io::Error),
}

/// Reads a header and nothing after it. `None`: the balancer speaks for itself, to see whether this side lives.
pub(super) async fn read_header<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<SocketAddr>, ProxyError> {
    let mut start = [0; 16];
    // In two steps: something shorter than a header, and not one, is not waited for.
    stream.read_exact(&mut start[..1]).await?;
    if start[0] != SIGNATURE[0] {
        return Err(ProxyError::Missing);
    }
    stream.read_exact(&mut start[1..]).await?;
    if start[..12] != SIGNATURE || start[12] >> 4 != 2 {
        return Err(ProxyError::Missing);
    }
    let length = usize::from(u16::from_be_bytes([start[14], start[15]]));
    if length > MAX_REST {
        return Err(ProxyError::TooLong(length));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    source(start[12] & 0x0f, start[13], &rest)
}

fn source(command: u8, family: u8, rest: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    let needed = if family >> 4 == 1 { 12 } else { 36 };
    match (command, family) {
        (0, _) => Ok(None),
        // "Unspecified": what the balancer itself does not know cannot be told apart from itself.
        (1, 0x00) => Ok(None),
        (1, 0x11 | 0x21) if rest.len() < needed => Err(ProxyError::Truncated),
        (1, 0x11) => {
            let (address, port) = (array::<4>(rest, 0)?, array::<2>(rest, 8)?);
            Ok(Some(SocketAddr::new(Ipv4Addr::from(address).into(), u16::from_be_bytes(port))))
        }
        (1, 0x21) => {
            let (address, port) = (array::<16>(rest, 0)?, array::<2>(rest, 32)?);
            let address = std::net::IpAddr::from(Ipv6Addr::from(address)).to_canonical();
            Ok(Some(SocketAddr::new(address, u16::from_be_bytes(port))))
        }
        (command, family) => Err(ProxyError::Unsupported(command, family)),
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ProxyError> {
    bytes.get(at..at + N).and_then(|part| part.try_into().ok()).ok_or(ProxyError::Truncated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0x20 | command, family]);
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    async fn read(bytes: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
        let mut reader = bytes;
        let outcome = read_header(&mut reader).await;
        if outcome.is_ok() {
            assert_eq!(reader, b"", "nothing is left");
        }
        outcome
    }

    #[tokio::test]
    async fn addresses_of_both_families() {
        let four = [192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 0x22, 0xb3];
        assert_eq!(read(&header(1, 0x11, &four)).await.unwrap(), Some("192.0.2.7:8080".parse().unwrap()));
        let mut with_more = four.to_vec();
        with_more.extend([0x03, 0, 4, 1, 2, 3, 4]);
        assert_eq!(read(&header(1, 0x11, &with_more)).await.unwrap(), Some("192.0.2.7:8080".parse().unwrap()));
        let mut six = Vec::new();
        six.extend("2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        six.extend([0; 16]);
        six.extend([0x1f, 0x90, 0x22, 0xb3]);
        assert_eq!(read(&header(1, 0x21, &six)).await.unwrap(), Some("[2001:db8::7]:8080".parse().unwrap()));
        assert_eq!(read(&header(0, 0, &[])).await.unwrap(), None, "a health check");
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused_and_never_panics() {
        let good = header(1, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 0x22, 0xb3]);
        for end in 0..good.len() {
            assert!(read(&good[..end]).await.is_err(), "{end} bytes");
        }
        for at in 0..good.len() {
            for value in [0, 1, 0x0f, 0x7f, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                let mut reader = &bytes[..];
                let _ = read_header(&mut reader).await;
            }
        }
        assert!(matches!(read(b"\x16\x03\x01").await, Err(ProxyError::Missing)), "TLS");
        assert!(matches!(read(b"PROXY TCP4 1.2.3.4").await, Err(ProxyError::Missing)), "version 1");
        assert!(matches!(read(&header(1, 0x11, &[1; 11])).await, Err(ProxyError::Truncated)));
        assert!(matches!(read(&header(1, 0x12, &[1; 12])).await, Err(ProxyError::Unsupported(1, 0x12))), "UDP");
        assert!(matches!(read(&header(1, 0x11, &[0; 2049])).await, Err(ProxyError::TooLong(2049))));
    }
}
