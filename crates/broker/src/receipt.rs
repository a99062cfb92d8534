//! The right, and the duty, to say what became of a published message.

use std::sync::Arc;

use tesaiot_mqtt::inbound::Ticket;

use crate::mailbox::Mailbox;
use crate::outcome::Outcome;

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
