//! Where the visit of all devices stands that retention makes.

use std::time::Instant;

/// Where the visit of all devices stands.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// The device that was visited last, while a visit is under way.
    pub(super) device: Option<i64>,
    /// When the next visit begins; at once when there was none.
    pub(super) next: Option<Instant>,
    /// The oldest day that has chunks, of the devices visited so far.
    pub(super) oldest: Option<i64>,
    /// Chunks before this day go, whatever the rules say: the store is too large.
    pub(super) pressure: Option<i64>,
    /// Whether chunks were dropped in this visit, or wait for their rollups.
    pub(super) has_dropped: bool,
    pub(super) has_waited: bool,
    /// Whether the file may have pages to give back.
    pub(super) shrink: bool,
}

impl Sweep {
    /// Begins the next visit at once.
    #[cfg(test)]
    pub(super) fn hurry(&mut self) {
        self.next = None;
    }

    pub(super) fn is_due(&self) -> bool {
        self.device.is_some() || self.next.is_none_or(|next| next <= Instant::now())
    }
}
