//! Bytes to packets, as a server reads them: whatever comes, what is buffered for a connection stays within its budget.
//!
//! The first byte says in which pieces the rest comes, and whether a CONNECT of 3.1.1 or of 5 goes before it.

use std::future::poll_fn;
use std::task::Poll;

use tesaiot_mqtt::{Codec, Link};
use tokio::io::{AsyncWriteExt, duplex};

/// Largest packet read.
const MAX_PACKET: usize = 4096;
/// What the buffers of a connection may take: a packet that is not complete, what one read brings behind it, and the room
/// that a growing buffer has to spare.
const BUDGET: usize = 2 * (MAX_PACKET + 16 * 1024);

const CONNECTS: [&[u8]; 2] =
    [b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04fuzz", b"\x10\x11\0\x04MQTT\x05\x02\0\x3c\0\0\x04fuzz"];

/// The target.
pub fn run(data: &[u8]) {
    let Some((how, said)) = data.split_first() else { return };
    let opening = CONNECTS.get(usize::from(how & 3)).copied().unwrap_or_default();
    let piece = 1 + usize::from(how >> 2) * 64;
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (mut ours, theirs) = duplex(64 * 1024);
        let mut link = Link::new(theirs, Codec::server(MAX_PACKET as u32));
        for piece in [opening, said].concat().chunks(piece) {
            ours.write_all(piece).await.expect("there is room");
            // Everything that is complete, and no more.
            loop {
                let next = poll_fn(|context| Poll::Ready(link.poll_packet(context))).await;
                assert!(link.buffers() <= BUDGET, "{} bytes of buffers", link.buffers());
                match next {
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(_)) => return,
                    Poll::Pending => break,
                }
            }
        }
    });
}
