//! A conversation with a broker: bytes in, of both versions, whatever they are.
//!
//! The first byte says how: its lowest bit whether a good CONNECT goes before the rest, the next one of which version, the
//! third whether the client ever reads, the others in which pieces it writes. The rest is said as it stands.
//!
//! What must hold: no panic; the broker lets go when the client does; what waits, and what is sent, is bounded; and it
//! serves on.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tesaiot_broker::{Action, Broker, Config, Connecting, Event, Host, Outcome, Peer, Receipt, Refusal, Verdict};
use tesaiot_mqtt::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Largest packet read.
const MAX_PACKET: u32 = 4096;
/// Messages and bytes that may wait for one session.
const MAX_QUEUED: (usize, usize) = (20, 64 * 1024);

/// Everybody may do everything.
struct Everybody;

impl Host for Everybody {
    type Identity = ();

    async fn authenticate(&self, _: Connecting<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn authorize(&self, (): &(), _: Action, _: &str) -> bool {
        true
    }

    async fn accept(&self, _: &Arc<()>, message: Message, receipt: Option<Receipt>) -> Verdict {
        if let Some(receipt) = receipt {
            let refused = message.payload.first() == Some(&b'!');
            let reason = tesaiot_mqtt::packet::PublishAckReason::PayloadFormatInvalid;
            receipt.resolve(if refused { Outcome::Refused(reason) } else { Outcome::Stored });
        }
        Verdict::Deliver
    }

    fn observe(&self, _: Event<'_, ()>) {}
}

/// The CONNECT of a session that lasts, by the name `fuzz`.
fn good_connect(v5: bool) -> &'static [u8] {
    if v5 {
        b"\x10\x16\0\x04MQTT\x05\x00\0\x3c\x05\x11\0\0\x03\xe8\0\x04fuzz"
    } else {
        b"\x10\x10\0\x04MQTT\x04\x00\0\x3c\0\x04fuzz"
    }
}

/// The target.
pub fn run(data: &[u8]) {
    let Some((how, said)) = data.split_first() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(converse(*how, said));
}

async fn converse(how: u8, said: &[u8]) {
    let config = Config {
        max_packet_size: MAX_PACKET,
        max_queued: MAX_QUEUED.0,
        max_queued_bytes: MAX_QUEUED.1,
        max_retained: 20,
        max_subscriptions: 20,
        receive_maximum: 10,
        ..Config::default()
    };
    let broker = Broker::new(Everybody, config);
    let peer =
        Peer { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), listener: "fuzz".into(), certificates: vec![] };
    // A narrow pipe: who does not read is felt at once.
    let (ours, theirs) = tokio::io::duplex(2048);
    let serving = tokio::spawn(broker.serve(theirs, peer));
    let (mut reading, mut writing) = tokio::io::split(ours);
    let opening = if how & 1 == 1 { good_connect(how & 2 == 2) } else { &[] };
    let piece = 1 + usize::from(how >> 3) * 16;
    let (mut taken, mut answered) = (0, 0);
    let say = async {
        for piece in [opening, said].concat().chunks(piece) {
            if writing.write_all(piece).await.is_err() {
                break;
            }
            taken += piece.len();
            for session in broker.sessions("", 10, false) {
                assert!(session.queued <= MAX_QUEUED.0 && session.queued_bytes <= MAX_QUEUED.1 + MAX_PACKET as usize);
                assert!(session.subscriptions <= 20);
            }
        }
        let _ = writing.shutdown().await;
    };
    let listen = async {
        if how & 4 == 4 {
            return;
        }
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = reading.read(&mut buffer).await {
            answered += read;
        }
    };
    // Time is paused: a client that does not read is let go at the write timeout, which passes when nothing else does.
    let both = async { tokio::join!(say, listen) };
    tokio::time::timeout(Duration::from_secs(3600), both).await.expect("the broker lets go of whoever does not read");
    drop((reading, writing));
    serving.await.expect("no panic");
    // What is retained is sent to whoever subscribes to it, again and again; nothing else is larger than what was said.
    assert!(answered <= 64 * 1024 + 64 * (taken + 1), "{answered} bytes for {taken}");
    assert_eq!(broker.counters().connections, 0);
    assert!(broker.drain(Duration::from_secs(60)).await, "every task has ended");
}
