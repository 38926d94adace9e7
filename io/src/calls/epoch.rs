//! Where the fleet stands with this server: `epoch.lua`.

use std::time::Duration;

use redis::aio::ConnectionLike;
use streamkeeper_core::{
    id::Identity,
    streams::call::{EpochAnswer, EpochCall},
    trouble::Trouble,
};

use super::{
    Calls, millis,
    script::{Lazy, script},
    value::{list, number, text},
};

pub(super) static EPOCH: Lazy = script!(prelude + fleet + "epoch.lua");

impl Calls {
    pub(super) async fn epoch(
        &self,
        connection: &mut impl ConnectionLike,
        call: &EpochCall,
    ) -> Result<EpochAnswer, Trouble> {
        let names = &*self.0;
        let mut cmd = EPOCH.invoke(3, 11, 512);
        cmd.arg(&names.epoch).arg(&names.lbs).arg(&names.token);
        cmd.arg(millis(names.config.lease_ttl.max(call.longest_ttl)))
            .arg(call.nonce)
            .arg(u8::from(call.lived))
            .arg(u8::from(call.fresh));
        match &call.settle {
            Some((wait, identity)) => cmd.arg(1).arg(&**wait).arg(identity.as_str()),
            None => cmd.arg(0).arg("").arg(""),
        };
        cmd.arg(&names.group).arg(names.consumer.as_str()).arg(millis(call.waited));
        cmd.arg(millis(names.config.live_within()));
        let parts = list(self.run(connection, &EPOCH, cmd).await?).unwrap_or_default();
        let decoded = || {
            let [identity, wait, ttl, consumers] = parts.as_slice() else { return None };
            let wait = text(wait)?;
            Some(EpochAnswer {
                identity: Identity::new(&text(identity)?),
                wait: (!wait.is_empty()).then(|| (*wait).into()),
                longest_ttl: Duration::from_millis(number(ttl)?),
                consumers: u32::try_from(number(consumers)?).unwrap_or(u32::MAX),
            })
        };
        decoded().ok_or_else(|| Trouble::other(format_args!("epoch: Redis answered {parts:?}")))
    }
}
