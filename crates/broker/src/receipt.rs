//! The right, and the duty, to say what became of a published message.

use std::sync::Arc;

use tesaiot_mqtt::inbound::Ticket;
use tesaiot_mqtt::packet::PublishAckReason;

use crate::mailbox::Mailbox;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is safe. It is acknowledged and delivered to subscribers.
    Stored,
    /// It is safe, and its publisher should know that it was not what it should be: it is kept aside and not
    /// delivered. MQTT 5 hears the reason; 3.1.1 hears a plain acknowledgement.
    Refused(PublishAckReason),
    /// It is not safe. The connection is closed without an acknowledgement, so that the client keeps it.
    Unavailable,
}

/// Names one message of one connection whose acknowledgement is held. Dropping it is [`Outcome::Unavailable`].
#[derive(Debug)]
pub struct Receipt {
    mailbox: Option<Arc<Mailbox>>,
    ticket: Ticket,
}

impl Receipt {
    pub(crate) fn new(mailbox: Arc<Mailbox>, ticket: Ticket) -> Self {
        Self { mailbox: Some(mailbox), ticket }
    }

    /// Resolves one receipt.
    pub fn resolve(self, outcome: Outcome) {
        Self::resolve_all([(self, outcome)]);
    }

    /// Resolves many receipts, then wakes each connection once: a connection with ten messages in a commit writes
    /// ten acknowledgements in one go.
    pub fn resolve_all(receipts: impl IntoIterator<Item = (Receipt, Outcome)>) {
        let mut wakers = Vec::new();
        for (mut receipt, outcome) in receipts {
            if let Some(mailbox) = receipt.mailbox.take() {
                wakers.extend(mailbox.resolved(receipt.ticket, outcome));
            }
        }
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(mailbox) = self.mailbox.take()
            && let Some(waker) = mailbox.resolved(self.ticket, Outcome::Unavailable)
        {
            waker.wake();
        }
    }
}
