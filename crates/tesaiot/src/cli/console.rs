//! Ctrl-C of a console, where there are no signals.

use std::io;

/// Ctrl-C.
pub(crate) struct StopSignals;

impl StopSignals {
    /// Catches it; must be called inside a runtime.
    #[expect(clippy::unnecessary_wraps, reason = "catching signals fails elsewhere")]
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self)
    }

    /// The next of them.
    #[expect(clippy::needless_pass_by_ref_mut, reason = "the same shape as with signals")]
    pub(crate) async fn next(&mut self) {
        // A console that cannot be listened to sends nothing.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
