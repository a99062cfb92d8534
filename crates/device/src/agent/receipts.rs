//! What the platform says it has stored, and what waits for that word.
//!
//! A platform acknowledges what it has stored, and then a receipt only says again what an acknowledgement said. A broker
//! in between acknowledges what it has taken: with [`Confirm::Receipts`] a sample stays in the outbox until a receipt
//! names it. With both, what a receipt names is not sent.
//!
//! A receipt is believed as an acknowledgement is: it comes over the same connection, from the broker whose certificate
//! was verified. Whoever lets strangers publish on a device's topics at a broker of their own lets them do this too.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tesaiot_contract::{DeviceId, Receipt};
use tokio::time::Instant;

use super::post::is_telemetry;
use super::{Agent, Event};
use crate::outbox::{Entry, Ticket};

/// Runs whose receipts are remembered: as many as the platform remembers.
const MOST_RUNS: usize = 8;
/// Samples that the broker has taken and no receipt names: half a megabyte of memory.
const MOST_HELD: usize = 8192;
/// How long a sample may be missing while later ones of its run are stored: then the broker has lost it.
const GAP: Duration = Duration::from_secs(10);
/// How often a sample is sent that the receipts of its run leave out. A broker that loses the same sample that often is
/// not what happens: the platform does not store it, and would not the next time.
const MOST_TIMES: u32 = 8;
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
    time: Timestamp,
    since: Instant,
}

/// What a receipt says of the samples that wait for one.
#[derive(Debug, Default)]
struct Heard {
    stored: Vec<Ticket>,
    /// The broker must have lost them
    lost: Vec<Ticket>,
    /// Sent again and again, and never stored
    hopeless: Vec<Held>,
}

/// Receipts, and what waits for them.
#[derive(Debug)]
pub(super) struct Receipts {
    pub(super) confirm: Confirm,
    /// The last of each run, the newest at the end
    known: VecDeque<Receipt>,
    held: VecDeque<Held>,
    /// How often receipts left a sample out. By its number and not by its ticket, which may become another sample's.
    left_out: HashMap<(Arc<str>, u64), u32>,
    pub(super) heard: Option<Instant>,
    patience: Duration,
}

impl Receipts {
    pub(super) fn new(confirm: Confirm) -> Self {
        let (known, held) = (VecDeque::new(), VecDeque::new());
        Self { confirm, known, held, left_out: HashMap::new(), heard: None, patience: RESEND[0] }
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

    /// What becomes of the samples that wait.
    fn hear(&mut self, receipt: Receipt) -> Heard {
        self.heard = Some(Instant::now());
        self.known.retain(|known| known.boot != receipt.boot);
        if self.known.len() >= MOST_RUNS {
            self.known.pop_front();
        }
        let mut heard = Heard::default();
        let held = std::mem::take(&mut self.held);
        for held in held {
            if *held.boot != *receipt.boot {
                self.held.push_back(held);
            } else if receipt.contains(held.seq) {
                heard.stored.push(held.ticket);
            } else if held.seq >= receipt.stored || held.since.elapsed() < GAP {
                self.held.push_back(held);
            } else if self.is_hopeless(&held) {
                heard.hopeless.push(held);
            } else {
                heard.lost.push(held.ticket);
            }
        }
        self.left_out.retain(|(boot, seq), _| **boot != *receipt.boot || !receipt.contains(*seq));
        self.known.push_back(receipt);
        if !heard.stored.is_empty() {
            self.patience = RESEND[0];
        }
        heard
    }

    /// A receipt left this sample out once more.
    fn is_hopeless(&mut self, held: &Held) -> bool {
        let key = (Arc::clone(&held.boot), held.seq);
        // Counted from the beginning is better than not bounded.
        if self.left_out.len() >= MOST_HELD && !self.left_out.contains_key(&key) {
            self.left_out.clear();
        }
        let times = self.left_out.entry(key.clone()).or_default();
        *times += 1;
        let is_hopeless = *times >= MOST_TIMES;
        if is_hopeless {
            self.left_out.remove(&key);
        }
        is_hopeless
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

    /// Whether a receipt can name what is sent for this entry: it is telemetry, and has the number that the outbox gave
    /// it. Of what another program put into the outbox, some is not.
    pub(super) fn is_named_by_receipts(&self, entry: &Entry, payload: &[u8]) -> bool {
        self.receipts.confirm == Confirm::Receipts
            && can_be_named(&entry.topic, &entry.boot, payload, self.settings.credentials.device_id())
    }

    /// The broker has taken a sample: it is delivered, or waits for its receipt.
    pub(super) fn taken(&mut self, entry: &Entry, is_named: bool) {
        if !is_named || self.receipts.covers(&entry.boot, entry.seq) {
            self.kept.outbox.confirm(entry.ticket);
            return;
        }
        let Entry { ticket, ref boot, seq, time, .. } = *entry;
        let held = Held { ticket, boot: Arc::clone(boot), seq, time, since: Instant::now() };
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
        let Heard { stored, lost, hopeless } = self.receipts.hear(receipt);
        for ticket in stored {
            self.kept.outbox.confirm(ticket);
        }
        for Held { ticket, boot, seq, time, .. } in hopeless {
            self.report.refused += 1;
            let (topic, payload) = ("".into(), Bytes::new());
            self.kept.outbox.refuse(&Entry { ticket, boot, seq, time, topic, payload });
            self.emit(Event::NeverStored { seq, times: MOST_TIMES });
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

fn can_be_named(topic: &str, boot: &str, payload: &[u8], device: &DeviceId) -> bool {
    let name = format!(r#""boot":"{boot}""#);
    is_telemetry(topic, device) && payload.windows(name.len()).any(|bytes| bytes == name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(seq: u64) -> Held {
        let (ticket, since) = (Ticket::of(seq + 100), Instant::now());
        Held { ticket, boot: "a".into(), seq, time: Timestamp::UNIX_EPOCH, since }
    }

    fn receipt(boot: &str, stored: u64, gaps: &[(u64, u64)]) -> Receipt {
        Receipt { boot: boot.into(), first: 1, stored, gaps: gaps.to_vec(), timestamp: None }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_named_is_stored_and_what_is_not_is_sent_again_in_time() {
        let mut receipts = Receipts::new(Confirm::Receipts);
        for seq in 1..=10 {
            receipts.held.push_back(held(seq));
        }
        let Heard { stored, lost, .. } = receipts.hear(receipt("b", 10, &[]));
        assert_eq!((stored, lost), (Vec::new(), Vec::new()));
        let Heard { stored, lost, .. } = receipts.hear(receipt("a", 8, &[(3, 7)]));
        assert_eq!(lost, []);
        assert_eq!(stored, [101, 102, 108].map(Ticket::of));
        assert!(receipts.covers("a", 8) && !receipts.covers("a", 7) && !receipts.covers("c", 1));
        assert_eq!((receipts.stored("a"), receipts.waiting()), (3, 7));
        assert_eq!(receipts.overdue(), []);
        receipts.patience = RESEND[0];
        tokio::time::advance(GAP).await;
        let Heard { stored, lost, .. } = receipts.hear(receipt("a", 8, &[(3, 6)]));
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
        receipts.held.push_back(held(7));
        receipts.left_broker();
        assert_eq!(receipts.hear(receipt("a", 9, &[])).stored, []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sample_that_is_never_stored_is_given_up_in_the_end() {
        let mut receipts = Receipts::new(Confirm::Receipts);
        for _ in 1..MOST_TIMES {
            receipts.held.push_back(held(7));
            assert_eq!(receipts.hear(receipt("a", 9, &[(7, 7)])).lost, [], "it may be on its way");
            tokio::time::advance(GAP).await;
            assert_eq!(receipts.hear(receipt("a", 9, &[(7, 7)])).lost, [Ticket::of(107)]);
        }
        receipts.held.push_back(held(7));
        tokio::time::advance(GAP).await;
        let Heard { stored, lost, hopeless } = receipts.hear(receipt("a", 9, &[(7, 7)]));
        assert_eq!((stored, lost), (Vec::new(), Vec::new()));
        assert_eq!(hopeless.iter().map(|held| held.seq).collect::<Vec<_>>(), [7]);
        assert!(receipts.left_out.is_empty());
        // One that is stored after all is not counted further.
        receipts.held.push_back(held(8));
        tokio::time::advance(GAP).await;
        receipts.hear(receipt("a", 9, &[(8, 8)]));
        assert_eq!(receipts.left_out.len(), 1);
        receipts.hear(receipt("a", 9, &[]));
        assert!(receipts.left_out.is_empty());
    }

    #[test]
    fn what_no_receipt_can_name_does_not_wait_for_one() {
        let device = "pump-7".parse().unwrap();
        let named = |topic: &str, payload: &str| can_be_named(topic, "f00", payload.as_bytes(), &device);
        assert!(named("device/pump-7/telemetry/tank", r#"{"boot":"f00","seq":1,"level":1}"#));
        assert!(!named("device/pump-7/telemetry/tank", "21.5"));
        assert!(!named("device/pump-7/telemetry/tank", r#"{"boot":"other","seq":1,"level":1}"#));
        assert!(!named("device/pump-7/events/door", r#"{"boot":"f00","seq":1,"open":true}"#));
    }
}
