//! What clients of the broker may take, as it is written on the command line.

use std::num::{NonZeroU16, NonZeroUsize};

use clap::Args;
use tesaiot_platform::Config;

use super::rate::Limit;
use super::size::Size;
use super::span::Span;

/// What one client, one address and all together may take of the MQTT ports. RATE is how many a second and, after a
/// comma, how many at once after a pause.
#[derive(Args)]
#[command(next_help_heading = "Limits of the MQTT ports (RATE: 100/s, or 100/s,5000 with so many at once; none)")]
pub(crate) struct LimitArgs {
    /// Messages that one device may publish: it is not read while it is ahead [default: 20000/s,2000000]
    #[arg(long, value_name = "RATE")]
    publish_rate: Option<Limit>,
    /// The same in bytes of topic and payload [default: 20MB/s,1GB]
    #[arg(long, value_name = "RATE")]
    publish_bytes_rate: Option<Limit>,
    /// How long a device may be ahead of these without a pause, before it is disconnected (MQTT 5: 0x97) [default: 5m]
    #[arg(long, value_name = "SPAN")]
    publish_patience: Option<Span>,
    /// Connections at a time, in all; open files bound them too [default: 100000]
    #[arg(long, value_name = "N")]
    max_connections: Option<NonZeroUsize>,
    /// Connections of one address at a time; an IPv6 address counts as its /64 [default: 20000]
    #[arg(long, value_name = "N")]
    max_connections_per_address: Option<NonZeroUsize>,
    /// Connections of one application's token at a time (MQTT 5: 0x97) [default: 100]
    #[arg(long, value_name = "N")]
    max_connections_per_token: Option<NonZeroUsize>,
    /// How long a device may be away before it is offline [default: 1m]
    #[arg(long, value_name = "SPAN")]
    offline_after: Option<Span>,
    /// Connections that one address may begin [default: 500/s,10000]
    #[arg(long, value_name = "RATE")]
    connect_rate_per_address: Option<Limit>,
    /// Connections that one device may begin (MQTT 5: 0x9f) [default: 20/s,1000]
    #[arg(long, value_name = "RATE")]
    connect_rate: Option<Limit>,
    /// Failed logins of one address, beyond which none of its logins is looked at; none also turns off the pause after
    /// five failures of one device in a row, which is a second and doubles up to a minute [default: 5/s,300]
    #[arg(long, value_name = "RATE")]
    failed_login_rate: Option<Limit>,
    /// Time for TLS, and then for CONNECT [default: 10s]
    #[arg(long, value_name = "SPAN")]
    handshake_timeout: Option<Span>,
    /// TLS handshakes at a time on each port; one address gets a quarter of them [default: 256]
    #[arg(long, value_name = "N")]
    max_handshakes: Option<NonZeroUsize>,
    /// The largest MQTT packet that is read; telemetry is 256 KiB at most [default: 1 MiB]
    #[arg(long, value_name = "SIZE")]
    max_packet: Option<Size>,
    /// Messages that a client may have unacknowledged [default: 256]
    #[arg(long, value_name = "N")]
    receive_maximum: Option<NonZeroU16>,
    /// Messages that wait for one subscriber; beyond it they are dropped [default: 1000]
    #[arg(long, value_name = "N")]
    max_queued: Option<NonZeroUsize>,
    /// The same in bytes [default: 4 MiB]
    #[arg(long, value_name = "SIZE")]
    max_queued_size: Option<Size>,
    /// Bytes that wait for all sessions that are kept on disk [default: 256 MiB]
    #[arg(long, value_name = "SIZE")]
    max_stored_size: Option<Size>,
    /// Sessions without a connection; beyond it a session ends with its connection [default: 100000]
    #[arg(long, value_name = "N")]
    max_sessions: Option<NonZeroUsize>,
    /// Messages that one device may have retained; what is beyond is stored and delivered, and not retained (MQTT 5:
    /// 0x97) [default: 100]
    #[arg(long, value_name = "N")]
    max_retained: Option<NonZeroUsize>,
    /// The same in bytes [default: 1 MiB]
    #[arg(long, value_name = "SIZE")]
    max_retained_size: Option<Size>,
}

impl LimitArgs {
    /// Puts what was said into the configuration.
    pub(crate) fn apply(&self, config: &mut Config) {
        fn put<T>(bound: &mut T, said: Option<T>) {
            if let Some(said) = said {
                *bound = said;
            }
        }
        let count = |said: Option<NonZeroUsize>| said.map(NonZeroUsize::get);
        let bytes = |said: Option<Size>| said.map(|size| usize::try_from(size.bytes()).unwrap_or(usize::MAX));
        let span = |said: &Option<Span>| said.as_ref().map(Span::duration);
        let rate = |said: Option<Limit>| said.map(|limit| limit.0);
        put(&mut config.max_connections_per_token, count(self.max_connections_per_token));
        put(&mut config.presence_grace, span(&self.offline_after));
        let broker = &mut config.broker;
        put(&mut broker.publish_rate, rate(self.publish_rate));
        put(&mut broker.publish_bytes_rate, rate(self.publish_bytes_rate));
        put(&mut broker.publish_patience, span(&self.publish_patience));
        put(&mut broker.max_connections, count(self.max_connections));
        put(&mut broker.max_connections_per_address, count(self.max_connections_per_address));
        put(&mut broker.connect_rate_per_address, rate(self.connect_rate_per_address));
        put(&mut broker.connect_rate_per_client, rate(self.connect_rate));
        put(&mut broker.failed_login_rate_per_address, rate(self.failed_login_rate));
        put(&mut broker.handshake_timeout, span(&self.handshake_timeout));
        put(&mut broker.max_handshakes, count(self.max_handshakes));
        let packet = self.max_packet.map(|size| u32::try_from(size.bytes()).unwrap_or(u32::MAX));
        put(&mut broker.max_packet_size, packet);
        put(&mut broker.receive_maximum, self.receive_maximum.map(NonZeroU16::get));
        put(&mut broker.max_queued, count(self.max_queued));
        put(&mut broker.max_queued_bytes, bytes(self.max_queued_size));
        put(&mut broker.max_stored_bytes, bytes(self.max_stored_size));
        put(&mut broker.max_offline_sessions, count(self.max_sessions));
        put(&mut broker.max_retained_per_client, count(self.max_retained));
        put(&mut broker.max_retained_bytes_per_client, bytes(self.max_retained_size));
    }
}
