//! What people read: facts and remarks as `tracing` events with the field stream. Service and consumer are fields of the
//! driver's span. No payloads; no secrets either: troubles name servers, never passwords.

use streamkeeper_core::{
    entries::event::{Delivery, Remark},
    id::{EntryId, StreamName},
    time::Time,
    trouble::TroubleKind,
};
use tracing::{debug, error, info, trace, warn};

use crate::{Link, metrics::link_name, refusals::Refusals};

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

/// A connection is there again.
pub(crate) fn link_up(link: Link) {
    info!(link = link_name(link), "connection is back");
}

/// A connection that people know is down could not be made.
pub(crate) fn still_down(remark: &Remark) {
    debug!(?remark, "connection still down");
}

/// What only a person can mend is tried again all the same: what it is that is refused, if it is that.
fn refusal(remark: &Remark) -> Option<(&'static str, TroubleKind)> {
    match remark {
        Remark::CallFailed { call, trouble } if trouble.kind.is_fatal_at_start() => Some((call, trouble.kind)),
        _ => None,
    }
}

pub(crate) fn remark(remark: &Remark, refusals: &mut Refusals, now: Time) {
    let unsaid = match refusal(remark) {
        Some((what, kind)) => refusals.note(what, kind, now),
        None => Some(0),
    };
    let Some(unsaid) = unsaid else { return debug!(?remark, "still refused") };
    match remark {
        Remark::LinkDown { link, trouble, pause } => {
            warn!(link = link_name(*link), %trouble, retry_in = ?pause, "connection down: tried again until it is back");
        }
        // Only a person can mend these.
        Remark::CallFailed { call, trouble } if trouble.kind.is_fatal_at_start() => {
            error!(call, %trouble, unsaid, "call refused");
        }
        Remark::CallFailed { call, trouble } => debug!(call, %trouble, "call failed"),
        Remark::StrayAnswer(_) => trace!(?remark),
        Remark::Prepared(server) => {
            info!(version = %server.version, counts_added = server.counts_added, "server prepared");
        }
        Remark::CannotWake => {
            warn!("CLIENT UNBLOCK or CLIENT ID is refused: what is opened is read up to 100 ms later");
        }
        Remark::Broken(stream, what) => {
            error!(%stream, what, "this stream cannot be worked on until that is mended");
        }
    }
}
