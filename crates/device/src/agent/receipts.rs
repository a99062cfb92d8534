//! What the platform says it has stored, and what waits for that word.
//!
//! A platform acknowledges what it has stored, and then a receipt only says again what an acknowledgement said. A broker
//! in between acknowledges what it has taken: with [`Confirm::Receipts`] a sample stays in the outbox until a receipt
//! names it. With both, what a receipt names is not sent.
//!
//! A receipt is believed as an acknowledgement is: it comes over the same connection, from the broker whose certificate
//! was verified. Whoever lets strangers publish on a device's topics at a broker of their own lets them do this too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tesaiot_contract::Receipt;
use tokio::time::Instant;

use super::{Agent, Event};
use crate::outbox::{Entry, Ticket};

/// Runs whose receipts are remembered: as many as the platform remembers.
const MOST_RUNS: usize = 8;
/// Samples that the broker has taken and no receipt names: half a megabyte of memory.
const MOST_HELD: usize = 8192;
/// How long a sample may be missing while later ones of its run are stored: then the broker has lost it.
const GAP: Duration = Duration::from_secs(10);
/// How long a receipt is waited for before the samples are sent again; doubled each time, up to the last.
const RESEND: [Duration; 2] = [Duration::from_secs(120), Duration::from_secs(3600)];

/// When a sample counts as delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confirm {
    /// When the broker has acknowledged it: right where the broker is the platform, which stores first.
    #[default]
    Acknowledged,
    /// When the platform says that it is stored: for a broker in between, which acknowledges what it has taken.
    Receipts,
}

impl Confirm {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Receipts => "receipts",
        }
    }
}

/// A sample that the broker has taken.
#[derive(Debug)]
struct Held {
    ticket: Ticket,
    boot: Arc<str>,
    seq: u64,
    since: Instant,
}

/// Receipts, and what waits for them.
#[derive(Debug)]
pub(super) struct Receipts {
    pub(super) confirm: Confirm,
    /// The last of each run, the newest at the end
    known: VecDeque<Receipt>,
    held: VecDeque<Held>,
    pub(super) heard: Option<Instant>,
    patience: Duration,
}

impl Receipts {
    pub(super) fn new(confirm: Confirm) -> Self {
        Self { confirm, known: VecDeque::new(), held: VecDeque::new(), heard: None, patience: RESEND[0] }
    }

    /// A connection begins. What was said over one before it is not believed any longer: the platform may be another
    /// one, or the same as it was yesterday, out of a backup. What counts is said again.
    pub(super) fn connected(&mut self) {
        self.known.clear();
    }

    /// Samples go another way than by the broker, and nothing is held for it: what it has is sent again too. A ticket
    /// that outlived the connection it was given out for may be that of another message by the time it is named.
    pub(super) fn left_broker(&mut self) {
        self.known.clear();
        self.held.clear();
        self.patience = RESEND[0];
    }

    /// Whether the platform says that it has this message.
    fn covers(&self, boot: &str, seq: u64) -> bool {
        self.known.iter().any(|receipt| *receipt.boot == *boot && receipt.contains(seq))
    }

    /// Of one run, how many messages are stored.
    pub(super) fn stored(&self, boot: &str) -> u64 {
        self.known.iter().find(|receipt| *receipt.boot == *boot).map_or(0, Receipt::count)
    }

    /// Samples that wait for a receipt.
    pub(super) fn waiting(&self) -> usize {
        self.held.len()
    }

    /// Whether another sample may be sent: what waits is bounded.
    pub(super) fn have_room(&self, in_flight: usize) -> bool {
        self.confirm == Confirm::Acknowledged || self.held.len() + in_flight < MOST_HELD
    }

    /// Samples that are with the broker, for a connection that begins.
    pub(super) fn held(&self) -> impl Iterator<Item = Ticket> + '_ {
        self.held.iter().map(|held| held.ticket)
    }

    /// When samples are to be sent again for want of a receipt.
    pub(super) fn due(&self) -> Option<Instant> {
        self.held.front().map(|held| held.since + self.patience)
    }

    /// Which samples a receipt says are stored, and which the broker must have lost.
    fn hear(&mut self, receipt: Receipt) -> (Vec<Ticket>, Vec<Ticket>) {
        self.heard = Some(Instant::now());
        self.known.retain(|known| known.boot != receipt.boot);
        if self.known.len() >= MOST_RUNS {
            self.known.pop_front();
        }
        let (mut stored, mut lost) = (Vec::new(), Vec::new());
        self.held.retain(|held| {
            if *held.boot != *receipt.boot {
                return true;
            }
            if receipt.contains(held.seq) {
                stored.push(held.ticket);
                return false;
            }
            let is_lost = held.seq < receipt.stored && held.since.elapsed() >= GAP;
            if is_lost {
                lost.push(held.ticket);
            }
            !is_lost
        });
        self.known.push_back(receipt);
        if !stored.is_empty() {
            self.patience = RESEND[0];
        }
        (stored, lost)
    }

    fn overdue(&mut self) -> Vec<Ticket> {
        let patience = self.patience;
        self.patience = (patience * 2).min(RESEND[1]);
        let late = self.held.partition_point(|held| held.since.elapsed() >= patience);
        self.held.drain(..late).map(|held| held.ticket).collect()
    }
}

impl Agent {
    /// Whether this message need not be sent, because the platform has it. It is done with then.
    pub(super) fn is_stored_already(&mut self, entry: &Entry) -> bool {
        let is_stored = self.receipts.covers(&entry.boot, entry.seq);
        if is_stored {
            self.kept.outbox.confirm(entry.ticket);
        }
        is_stored
    }

    /// The broker has taken a sample: it is delivered, or waits for its receipt.
    pub(super) fn taken(&mut self, entry: &Entry) {
        if self.receipts.confirm == Confirm::Acknowledged || self.receipts.covers(&entry.boot, entry.seq) {
            self.kept.outbox.confirm(entry.ticket);
            return;
        }
        let held = Held { ticket: entry.ticket, boot: Arc::clone(&entry.boot), seq: entry.seq, since: Instant::now() };
        self.receipts.held.push_back(held);
    }

    /// A receipt came.
    pub(super) fn receipt(&mut self, payload: &[u8]) {
        let Ok(receipt) = Receipt::parse(payload) else {
            self.emit(Event::ReceiptUnreadable);
            return;
        };
        if let Some(at) = receipt.timestamp {
            self.clock.told(at);
        }
        let (stored, lost) = self.receipts.hear(receipt);
        for ticket in stored {
            self.kept.outbox.confirm(ticket);
        }
        self.kept.outbox.give_again(&lost);
        self.maintain();
        self.report_losses();
    }

    /// No receipt names what the broker took long ago: it is sent again, and the platform knows what it has.
    pub(super) fn receipts_overdue(&mut self) {
        let waited = self.receipts.patience;
        let late = self.receipts.overdue();
        if late.is_empty() {
            return;
        }
        self.kept.outbox.give_again(&late);
        self.emit(Event::ReceiptsOverdue { samples: late.len() as u64, waited });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(boot: &str, stored: u64, gaps: &[(u64, u64)]) -> Receipt {
        Receipt { boot: boot.into(), first: 1, stored, gaps: gaps.to_vec(), timestamp: None }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_named_is_stored_and_what_is_not_is_sent_again_in_time() {
        let mut receipts = Receipts::new(Confirm::Receipts);
        for seq in 1..=10 {
            let (ticket, since) = (Ticket::of(seq + 100), Instant::now());
            receipts.held.push_back(Held { ticket, boot: "a".into(), seq, since });
        }
        assert_eq!(receipts.hear(receipt("b", 10, &[])), (Vec::new(), Vec::new()));
        let (stored, lost) = receipts.hear(receipt("a", 8, &[(3, 7)]));
        assert_eq!(lost, []);
        assert_eq!(stored, [101, 102, 108].map(Ticket::of));
        assert!(receipts.covers("a", 8) && !receipts.covers("a", 7) && !receipts.covers("c", 1));
        assert_eq!((receipts.stored("a"), receipts.waiting()), (3, 7));
        assert_eq!(receipts.overdue(), []);
        receipts.patience = RESEND[0];
        tokio::time::advance(GAP).await;
        let (stored, lost) = receipts.hear(receipt("a", 8, &[(3, 6)]));
        assert_eq!((stored, lost), (vec![Ticket::of(107)], (103..=106).map(Ticket::of).collect()));
        tokio::time::advance(RESEND[0]).await;
        assert_eq!(receipts.overdue(), [109, 110].map(Ticket::of));
        assert_eq!((receipts.waiting(), receipts.patience), (0, 2 * RESEND[0]));
        receipts.connected();
        assert!(!receipts.covers("a", 8), "not said over this connection");
        for run in 0..20 {
            receipts.hear(receipt(&run.to_string(), 1, &[]));
        }
        assert_eq!(receipts.known.len(), MOST_RUNS);
        assert!(!receipts.covers("0", 1) && receipts.covers("19", 1), "forgotten towards not stored");
    }

    #[test]
    fn nothing_is_held_for_a_broker_that_was_left() {
        let mut receipts = Receipts::new(Confirm::Receipts);
        receipts.held.push_back(Held { ticket: Ticket::of(7), boot: "a".into(), seq: 7, since: Instant::now() });
        receipts.left_broker();
        assert_eq!(receipts.hear(receipt("a", 9, &[])), (Vec::new(), Vec::new()));
    }
}
