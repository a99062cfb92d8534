//! Coming back: attempts, waits, and no hot loops.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tesaiot_mqtt::Version;
use tesaiot_mqtt::client::reconnect::{AttemptError, Open, Reconnect};
use tesaiot_mqtt::packet::{ConnectAck, ConnectAckReason, Packet};
use tokio::io::DuplexStream;
use tokio::time::Instant;

use crate::server::{Server, options};

const FIRST: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(60);

/// What a server does with an attempt.
#[derive(Clone, Copy)]
enum Fate {
    Unreachable,
    Mute,
    Refuses,
    Accepts,
}

/// Opens streams to servers with the fates of a script.
struct Script(VecDeque<Fate>);

impl Open for Script {
    type Stream = DuplexStream;
    type Error = io::Error;

    async fn open(&mut self) -> io::Result<DuplexStream> {
        let fate = self.0.pop_front().expect("an attempt too many");
        if let Fate::Unreachable = fate {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let mut server = Server::new(theirs);
            server.connect().await;
            let reason_code = match fate {
                Fate::Accepts => ConnectAckReason::Success,
                Fate::Refuses => ConnectAckReason::ServerUnavailable,
                // Holds the stream open for longer than anybody waits.
                _ => return tokio::time::sleep(Duration::from_secs(1000)).await,
            };
            server.send(Packet::ConnectAck(Box::new(ConnectAck { reason_code, ..ConnectAck::default() }))).await;
            let _ = server.link.receive().await;
        });
        Ok(ours)
    }
}

fn reconnect(fates: impl IntoIterator<Item = Fate>) -> Reconnect<Script> {
    Reconnect::new(Script(fates.into_iter().collect()), options(Version::V5), FIRST, LIMIT)
}

#[tokio::test(start_paused = true)]
async fn attempts_go_on_with_growing_waits_until_one_succeeds() {
    let mut fates = vec![Fate::Unreachable; 6];
    fates.extend([Fate::Refuses, Fate::Mute, Fate::Accepts]);
    let mut waits = Vec::new();
    let mut kinds = Vec::new();
    let mut reconnect = reconnect(fates);
    let connected = reconnect
        .connected(|error, wait| {
            waits.push(wait);
            kinds.push(matches!(error, AttemptError::Open(_)));
        })
        .await;
    assert_eq!(kinds, [true, true, true, true, true, true, false, false]);
    for (attempt, wait) in waits.iter().enumerate() {
        let ceiling = (FIRST * (1 << attempt)).min(LIMIT);
        assert!(*wait <= ceiling && *wait >= ceiling / 10, "attempt {attempt} waits {wait:?}");
    }
    connected.client.disconnect().await;
}

/// The server accepts the stream and never answers: that, too, is a failed attempt.
#[tokio::test(start_paused = true)]
async fn a_mute_server_does_not_hold_an_attempt_for_ever() {
    let before = Instant::now();
    assert!(reconnect([Fate::Mute]).attempt().await.is_err());
    assert!(before.elapsed() <= Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_ends_every_connection_is_not_asked_in_a_hot_loop() {
    let mut reconnect = reconnect([Fate::Accepts; 20]);
    let before = Instant::now();
    for _ in 0..20 {
        drop(reconnect.connected(|_, _| {}).await);
    }
    // Nineteen waits; the last thirteen have the ceiling of a minute, and none is under a tenth of its ceiling.
    assert!(before.elapsed() >= Duration::from_secs(13 * 6), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn after_a_connection_that_lasted_the_waits_start_again() {
    let mut fates = vec![Fate::Unreachable; 10];
    fates.extend([Fate::Accepts, Fate::Accepts]);
    let mut reconnect = reconnect(fates);
    drop(reconnect.connected(|_, _| {}).await);
    tokio::time::sleep(LIMIT).await;
    let before = Instant::now();
    drop(reconnect.connected(|_, _| {}).await);
    let waited = before.elapsed();
    assert!(waited > Duration::ZERO && waited <= FIRST, "{waited:?}");
}
