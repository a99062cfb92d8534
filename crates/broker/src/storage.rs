//! What outlives the process: the seam to whoever keeps it.
//!
//! Sessions that are to outlive their connection, retained messages and delayed Last Wills are written through
//! [`Storage`] as keyed records. The keeper needs to understand none of them: it puts, removes, and hands all of it
//! back at the next start ([`Broker::restore`](crate::Broker::restore)).
//!
//! # The guarantee
//! A keeper applies changes in the order of their submission; after a crash it holds a prefix of them, and of one
//! submission all or nothing. That is enough, because a packet that promises something leaves only after what it
//! promises is durable:
//!
//! | Before this leaves | this is durable |
//! |---|---|
//! | CONNACK of a clean start | that the session before is forgotten |
//! | SUBACK, UNSUBACK | the subscriptions |
//! | PUBACK, PUBREC to a publisher | its message with the host, its copies for sessions that outlive their connection, the retained message; for PUBREC also the packet identifier |
//! | PUBCOMP | that the packet identifier is free again |
//! | PUBLISH at QoS 1 or 2 to such a session | the copy; at QoS 2 also its packet identifier |
//! | PUBREL to such a session | that PUBREC came |
//!
//! What a client acknowledges is removed without haste: after a crash a QoS 1 message may come again, marked, and a
//! PUBREL may come again; a QoS 2 message may not, and a message never fails to come.
//!
//! A Last Will of a connection that is live when the process dies is not kept (MQTT 5 section 3.1.2.5 leaves it to the
//! server); one that is delayed after its connection ended is.
//!
//! Clean sessions and QoS 0 write nothing, and wait for nothing.

mod ledger;
mod progress;
mod record;
mod restore;

use std::sync::Arc;

use bytes::Bytes;

pub(crate) use ledger::{Batch, Fences, Ledger, Stored, moment, wall_time};
pub use progress::Progress;
pub(crate) use record::{Kept, SessionRecord};
pub use restore::Restored;
pub(crate) use restore::restore;

/// Keeps records. Shared by all connections of a broker.
pub trait Storage: Send + Sync + 'static {
    /// Takes changes to be made, in this order, all or nothing. Must not block. Positions grow by one with each
    /// submission, from 1; the changes are durable when [`Storage::progress`] has advanced to `position`.
    fn submit(&self, position: u64, changes: Vec<Change>);

    /// How far it is. The keeper advances it after each commit, from any thread.
    fn progress(&self) -> &Progress;
}

/// Names a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The client it belongs to; empty for what is everybody's.
    pub owner: Arc<str>,
    /// What it is: opaque to the keeper, at most 255 kinds.
    pub kind: u8,
    /// Which one, within owner and kind. Ordered as bytes.
    pub name: Vec<u8>,
}

/// Something to be made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A record, new or in place of the one before.
    Put(Key, Bytes),
    /// A record is gone; it may never have been.
    Remove(Key),
    /// Everything of one client is gone.
    RemoveOwner(Arc<str>),
}

/// The kinds of records. A number is never given another meaning: files have them.
pub(crate) mod kind {
    /// A session: name empty.
    pub(crate) const SESSION: u8 = 1;
    /// A subscription: name is the filter.
    pub(crate) const SUBSCRIPTION: u8 = 2;
    /// A message for a session: name is its number.
    pub(crate) const MESSAGE: u8 = 3;
    /// That a message was sent: name is its number.
    pub(crate) const SENT: u8 = 4;
    /// A QoS 2 packet identifier received and not released: name is the identifier.
    pub(crate) const RECEIVED: u8 = 5;
    /// A retained message, owned by nobody: name is the topic.
    pub(crate) const RETAINED: u8 = 6;
    /// A Last Will that waits: name empty.
    pub(crate) const WILL: u8 = 7;
}
