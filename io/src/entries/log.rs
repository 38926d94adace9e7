//! What people read: facts and remarks as `tracing` events with the field stream. Service and consumer are fields of the
//! driver's span. No payloads; no secrets either: troubles name servers, never passwords.

use streamkeeper_core::{
    entries::event::{Delivery, Remark},
    id::{EntryId, StreamName},
    time::Time,
};
use tracing::{debug, error, info, trace, warn};

use crate::outages::Outages;

pub(crate) fn delivered(stream: &StreamName, delivery: &Delivery) {
    match delivery {
        Delivery::Opened(record) => {
            let committed = record.as_ref().map_or_else(|| "nothing".to_owned(), |record| record.position.to_string());
            debug!(%stream, %committed, "opened");
        }
        Delivery::Entries(_) => {}
        Delivery::Gap { after, next, missing } => {
            warn!(%stream, %after, ?next, ?missing, "entries were trimmed or deleted before they were read");
        }
        Delivery::Rewound { after, last } => {
            warn!(%stream, %after, %last, "the stream was deleted and created anew, or Redis has forgotten entries");
        }
        Delivery::RolledBack(to) => warn!(%stream, %to, "Redis has forgotten commits: what is behind comes again"),
        Delivery::Broken(why) => error!(%stream, %why, "cannot be read: tried again every few seconds"),
    }
}

/// An entry that cannot be decoded stands in `S-dead-entries`.
pub(crate) fn set_aside(stream: &StreamName, id: EntryId) {
    warn!(%stream, %id, "an entry that cannot be decoded was set aside");
}

pub(crate) fn remark(remark: &Remark, outages: &mut Outages, now: Time) {
    match remark {
        Remark::LinkDown { link, trouble, pause } => outages.link_down(*link, trouble, *pause, now),
        Remark::CallFailed { call, trouble } => outages.call_failed(call, trouble, now),
        Remark::StrayAnswer(_) => trace!(?remark),
        Remark::Prepared(server) => {
            info!(version = %server.version, counts_added = server.counts_added, "server prepared");
        }
        Remark::CannotWake => {
            warn!("CLIENT UNBLOCK or CLIENT ID is refused: what is opened is read up to 100 ms later");
        }
        // Said once for each stream.
        Remark::Broken(stream, what) => {
            error!(%stream, what, "this stream cannot be worked on until that is mended");
        }
    }
}
