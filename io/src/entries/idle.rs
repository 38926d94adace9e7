//! When a stream counts as idle.

use std::time::Duration;

use crate::lease::Lease;

/// Resolves when nothing has come of a stream for so long, counted from the first poll on, and a look that began after that
/// has found nothing more.
///
/// That nothing came is no evidence: the stream may not be readable just now. What was delivered before it resolves may
/// still lie in the reader's inbox. Never resolves if somebody else reads, or the ownership has ended.
pub(super) async fn idle(lease: &Lease, after: Duration) {
    let clock = lease.0.clock();
    clock.sleep_until(clock.now() + after).await;
    if let Some(nothing) = lease.0.work.look()
        && nothing.await == Ok(())
    {
        return;
    }
    // Something comes instead.
    std::future::pending::<()>().await;
}
