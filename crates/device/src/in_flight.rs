//! Messages on their way, in the order they were handed over, each with what its sender wants back.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;

use tesaiot_mqtt::client::{Pending, Published};

type Outcome = Pin<Box<dyn Future<Output = Published> + Send>>;

/// Waits for the oldest outcome. Later ones that are known already come at once after it, so nothing is missed and
/// only one future is polled however many messages are in flight.
pub(crate) struct InFlight<T> {
    waiting: VecDeque<(T, Pending)>,
    oldest: Option<(T, Outcome)>,
}

impl<T> InFlight<T> {
    pub(crate) fn new() -> Self {
        Self { waiting: VecDeque::new(), oldest: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.oldest.is_some())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn push(&mut self, item: T, pending: Pending) {
        self.waiting.push_back((item, pending));
    }

    /// The outcome of the oldest; pending for ever when nothing is in flight. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> (T, Published) {
        if self.oldest.is_none() {
            self.oldest =
                self.waiting.pop_front().map(|(item, pending)| (item, Box::pin(pending.outcome()) as Outcome));
        }
        let Some((_, outcome)) = &mut self.oldest else { return std::future::pending().await };
        let published = outcome.await;
        match self.oldest.take() {
            Some((item, _)) => (item, published),
            None => std::future::pending().await,
        }
    }
}
