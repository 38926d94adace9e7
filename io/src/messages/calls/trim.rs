//! Trim the stream.

use redis::aio::MultiplexedConnection;
use streamkeeper_core::trouble::Trouble;

use super::{
    Calls,
    script::{Lazy, script},
    value::{number, odd},
};

pub(super) static TRIM: Lazy = script!(common + messages / "trim.lua");

/// How many entries go in one call, at most: Redis does nothing else meanwhile.
const AT_ONCE: u64 = 100_000;

impl Calls {
    /// Trims the stream to about `keep` entries, and drops nothing that any group has pending or unread. Answers how
    /// many went; there may be more. (Redis 8.2 has `XTRIM … ACKED`; this works with all.)
    pub(crate) async fn trim(&self, connection: &mut MultiplexedConnection, keep: u64) -> Result<u64, Trouble> {
        let result = self.trim_page(connection, keep).await;
        let (trimmed, _) = result.map_err(|trouble| super::troubles::advise(trouble, &self.0.keys))?;
        Ok(trimmed)
    }

    /// Trims. Answers how many went, and whether there may be more.
    pub(super) async fn trim_page(
        &self,
        connection: &mut MultiplexedConnection,
        keep: u64,
    ) -> Result<(u64, bool), Trouble> {
        let mut cmd = TRIM.invoke(1, 2, 128);
        cmd.arg(self.0.keys.stream()).arg(keep).arg(AT_ONCE);
        let value = self.run(connection, &TRIM, cmd).await?;
        let trimmed = number(&value).ok_or_else(|| odd("trim", &value))?;
        // Whole nodes go: fewer than a node's worth may be left of what was allowed.
        Ok((trimmed, trimmed > AT_ONCE / 2))
    }
}
