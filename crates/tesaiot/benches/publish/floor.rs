//! The least that a program can do for one sample: the same files, the same handshake, the same bytes, nothing else.
//!
//! The benchmark starts itself again as this program. What it takes is the process, the cryptography and the broker's
//! share; what the publish command takes beyond it is the publish command.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use tesaiot_tls::{ClientIdentity, ClientSettings, TlsVersion, TrustAnchors, client_config};

/// Names the bundle and the port when this program is to be the floor.
const ASKED: &str = "TESAIOT_BENCH_FLOOR";

/// This program as the floor.
pub(crate) fn command(bundle: &Path, port: u16, payload: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.env(ASKED, port.to_string()).arg(bundle).arg(payload);
    Ok(command)
}

/// Whether this process is the floor; then it did its work.
pub(crate) fn ran() -> Result<bool> {
    let Some(port) = std::env::var_os(ASKED) else { return Ok(false) };
    let port = port.to_string_lossy().parse()?;
    let mut arguments = std::env::args_os().skip(1);
    let bundle = PathBuf::from(arguments.next().context("no bundle")?);
    let payload = arguments.next().context("no payload")?;
    publish(&bundle, port, &payload.to_string_lossy())?;
    Ok(true)
}

fn publish(bundle: &Path, port: u16, payload: &str) -> Result<()> {
    let text = |name: &str| fs::read_to_string(bundle.join(name));
    let id = text("device_id.txt")?.trim().to_owned();
    let mut settings = ClientSettings::new(TrustAnchors::from_pem(&text("ca-chain.pem")?)?);
    settings.identity = Some(ClientIdentity::from_pem(&text("client_cert.pem")?, &text("client_key.pem")?)?);
    settings.versions = TlsVersion::Tls12.into();
    let connection = ClientConnection::new(client_config(settings)?, ServerName::try_from("localhost")?)?;
    let socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_nodelay(true)?;
    let mut stream = StreamOwned::new(connection, socket);

    // CONNECT of MQTT 3.1.1, clean session, keep alive 60 s; PUBLISH of QoS 1 with packet identifier 1; DISCONNECT.
    let mut body = [b"\x00\x04MQTT\x04\x02\x00\x3c".as_slice(), &string(&id)?].concat();
    let mut flight = packet(0x10, &body)?;
    body = [&string(&format!("device/{id}/telemetry"))?, b"\x00\x01".as_slice(), payload.as_bytes()].concat();
    flight.extend(packet(0x32, &body)?);
    stream.write_all(&flight)?;
    let mut answers = [0; 8];
    stream.read_exact(&mut answers)?;
    ensure!(answers == *b"\x20\x02\x00\x00\x40\x02\x00\x01", "not acknowledged: {answers:02x?}");
    stream.write_all(b"\xe0\x00")?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(())
}

fn string(text: &str) -> Result<Vec<u8>> {
    Ok([&u16::try_from(text.len())?.to_be_bytes(), text.as_bytes()].concat())
}

/// A packet of at most 16,383 bytes.
fn packet(kind: u8, body: &[u8]) -> Result<Vec<u8>> {
    ensure!(body.len() < 16_384, "the payload is too long");
    let length = match body.len() {
        short @ 0..128 => vec![short as u8],
        long => vec![(long % 128) as u8 | 0x80, (long / 128) as u8],
    };
    Ok([&[kind], length.as_slice(), body].concat())
}
