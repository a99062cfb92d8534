//! Servers that say nothing, at each step: a run ends at its deadline all the same, and says where it stood.

use std::path::Path;
use std::time::Duration;

use tesaiot_mqtt::packet::{ConnectAckReason, Packet, PublishAckReason, publish_ack};
use tokio::net::TcpSocket;

use super::{raw, said};
use crate::publish::place::{Place, tesaiot};
use crate::publish::scripted::{self, Peer, welcome};
use crate::support::PATIENCE;
use crate::support::process::run;

/// Time for a run, in seconds.
const DEADLINE: &str = "0.5";
/// What a loaded machine may take beyond it: far less than any deadline of a single step.
const GRACE: Duration = Duration::from_secs(5);

/// What is said once the time is over.
#[track_caller]
fn publish(bundle: &Path, port: u16, arguments: &[&str]) -> String {
    let outcome = run(tesaiot(bundle, "publish").args(["--timeout", DEADLINE]).args(arguments), PATIENCE);
    assert!(outcome.took < GRACE, "{outcome:#?}");
    let said = said(&outcome, bundle, port);
    // A step is told the time that was left for it.
    let mut words = said.split_inclusive(' ').map(|word| match word.trim_end().strip_suffix("ms") {
        Some(number) if number.parse::<f64>().is_ok() => "TIME ",
        _ => word,
    });
    words.by_ref().collect()
}

/// A broker that takes a connection, greets, and then does this with every message.
fn broker<F>(place: &Place, then: impl Fn(Peer) -> F + Send + Sync + 'static) -> u16
where
    F: Future<Output = ()>,
{
    let then = std::sync::Arc::new(then);
    scripted::broker(&place.server(), move |_, mut peer| {
        let then = std::sync::Arc::clone(&then);
        async move {
            if welcome(&mut peer, ConnectAckReason::Success).await.is_some() {
                then(peer).await;
            }
        }
    })
}

#[test]
fn a_host_that_swallows_packets() {
    let place = Place::new();
    // A listener with room for one that accepts nobody: the connections after that are not answered at all.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let listener = socket.listen(0).expect("a listener");
    let address = listener.local_addr().expect("an address");
    let fill = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200));
    let _waiting: Vec<_> = std::iter::repeat_with(fill).take_while(Result::is_ok).take(64).collect();
    let bundle = place.certificate_bundle(address.port());
    insta::assert_snapshot!(publish(&bundle, address.port(), &[]));
}

#[test]
fn a_server_that_does_not_answer_the_hello() {
    let place = Place::new();
    let port = raw::server(std::mem::forget);
    insta::assert_snapshot!(publish(&place.certificate_bundle(port), port, &[]));
}

#[test]
fn a_broker_that_does_not_answer_connect() {
    let place = Place::new();
    let port = scripted::broker(&place.server(), |_, mut peer| async move { while peer.receive().await.is_ok() {} });
    insta::assert_snapshot!(publish(&place.key_bundle(port), port, &[]));
}

#[test]
fn a_broker_that_never_acknowledges() {
    let place = Place::new();
    let port = broker(&place, |mut peer| async move { while peer.receive().await.is_ok() {} });
    let bundle = place.key_bundle(port);
    insta::assert_snapshot!(publish(&bundle, port, &["--count", "3", "--interval", "0"]));
}

#[test]
fn a_broker_that_acknowledges_something_else() {
    let place = Place::new();
    let port = broker(&place, |mut peer| async move {
        while let Ok(Packet::Publish(publish)) = peer.receive().await {
            let other = publish.packet_id.and_then(|id| id.checked_add(1000)).expect("an identifier");
            let sent = peer.send(Packet::PublishAck(publish_ack(other, PublishAckReason::Success)));
            if sent.is_err() || peer.flush().await.is_err() {
                return;
            }
        }
    });
    insta::assert_snapshot!(publish(&place.key_bundle(port), port, &[]));
}
