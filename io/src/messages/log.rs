//! What people read: facts and remarks as `tracing` events with the field entry. Stream, group and consumer are fields
//! of the driver's span. No payloads; no secrets either: troubles name servers, never passwords.

use streamkeeper_core::{
    id::EntryId,
    messages::{Fate, Notification, Remark},
    time::Time,
    trouble::TroubleKind,
};
use tracing::{Level, debug, enabled, error, info, trace, warn};

use crate::{Link, metrics::link_name, refusals::Refusals};

pub(crate) fn notification(fact: &Notification) {
    match fact {
        Notification::Ready => info!("ready: messages are taken"),
        Notification::Stopped(report) => info!(?report, "stopped"),
        Notification::Terminated(trouble) => error!(%trouble, "terminated: nothing can go on"),
    }
}

pub(crate) fn settled(fates: &[(EntryId, Fate)]) {
    for (entry, fate) in fates {
        match fate {
            Fate::Buried(reason) => {
                warn!(%entry, reason = reason.label(), "buried: `streamkeeper dead` shows it and puts it back");
            }
            Fate::Retried(pause) => debug!(%entry, ?pause, "failed: tried again"),
            Fate::Lost => info!(%entry, "is another consumer's now, or gone"),
            Fate::Acked | Fate::Dropped | Fate::Duplicate | Fate::Returned => {
                if !enabled!(Level::TRACE) {
                    continue;
                }
                trace!(%entry, ?fate, "settled");
            }
        }
    }
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
        Remark::Broken(..) => Some(("message", TroubleKind::WrongType)),
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
        Remark::CallFailed { call, trouble } if trouble.kind.is_fatal_at_start() => {
            error!(call, %trouble, unsaid, "call refused");
        }
        Remark::CallFailed { call, trouble } => debug!(call, %trouble, "call failed"),
        Remark::StrayAnswer(_) => trace!(?remark),
        Remark::Prepared(server) => {
            info!(version = %server.version, created = server.created, "server prepared");
            server.warnings.iter().for_each(|warning| warn!("{warning}"));
        }
        Remark::GroupLost => warn!("the group was gone: created again at 0, what was in flight comes again"),
        Remark::Paused(span) => warn!(?span, "this process or machine stood still"),
        Remark::Broken(entry, what) => {
            error!(%entry, what, unsaid, "a key of a wrong type: this message cannot be handled");
        }
        Remark::Reclaimed(entry, crashed) => info!(%entry, crashed, "taken from a consumer that was not heard of"),
        Remark::Hangs(entry, span) => warn!(%entry, ?span, "its run may hang: set a `timeout`"),
        Remark::TimedOut(entry) => warn!(%entry, "its run was over its time and was cancelled"),
        Remark::Swept(swept) => debug!(?swept, "cleared away"),
    }
}
