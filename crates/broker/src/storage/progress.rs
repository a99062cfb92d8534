//! How far a keeper of records is, and who waits for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// The position up to which everything is durable.
#[derive(Debug, Default)]
pub struct Progress {
    durable: AtomicU64,
    /// A connection asks once for each position it waits for.
    waiting: Mutex<Vec<(u64, Waker)>>,
}

impl Progress {
    /// Everything up to `position` is durable. Wakes who waited for it.
    pub fn advance(&self, position: u64) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.durable.fetch_max(position, Ordering::AcqRel);
        let (ready, rest) = std::mem::take(&mut *waiting).into_iter().partition(|(wanted, _)| *wanted <= position);
        *waiting = rest;
        drop(waiting);
        ready.into_iter().for_each(|(_, waker): (u64, Waker)| waker.wake());
    }

    /// The position up to which everything is durable.
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Waits until `position` is durable.
    pub(crate) fn poll(&self, position: u64, context: &mut Context<'_>) -> Poll<()> {
        if self.durable() >= position {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.durable() >= position {
            return Poll::Ready(());
        }
        waiting.push((position, context.waker().clone()));
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn who_waits_is_woken_when_it_is_durable_and_not_before() {
        let progress = Arc::new(Progress::default());
        progress.advance(3);
        poll_fn(|context| progress.poll(3, context)).await;
        let waiting = Arc::clone(&progress);
        let task = tokio::spawn(async move { poll_fn(|context| waiting.poll(5, context)).await });
        tokio::task::yield_now().await;
        progress.advance(4);
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
        progress.advance(5);
        task.await.unwrap();
        assert!(progress.waiting.lock().unwrap().is_empty());
        progress.advance(2);
        assert_eq!(progress.durable(), 5, "never backwards");
    }
}
