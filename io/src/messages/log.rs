//! What people read: facts and remarks as `tracing` events with the field entry. Stream, group and consumer are fields
//! of the driver's span. No payloads; no secrets either: troubles name servers, never passwords.

use streamkeeper_core::{
    id::EntryId,
    messages::{Fate, Notification, Remark},
    time::Time,
    trouble::TroubleKind,
};
use tracing::{Level, debug, enabled, error, info, trace, warn};

use crate::outages::Outages;

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

pub(crate) fn remark(remark: &Remark, outages: &mut Outages, now: Time) {
    match remark {
        Remark::LinkDown { link, trouble, pause } => outages.link_down(*link, trouble, *pause, now),
        Remark::CallFailed { call, trouble } => outages.call_failed(call, trouble, now),
        Remark::StrayAnswer(_) => trace!(?remark),
        Remark::Prepared(server) => {
            info!(version = %server.version, created = server.created, "server prepared");
            server.warnings.iter().for_each(|warning| warn!("{warning}"));
        }
        Remark::GroupLost => warn!("the group was gone: created again at 0, what was in flight comes again"),
        Remark::Paused(span) => warn!(?span, "this process or machine stood still"),
        Remark::Broken(entry, what) => match outages.refused("message", TroubleKind::WrongType, now) {
            Some(unsaid) => error!(%entry, what, unsaid, "a key of a wrong type: this message cannot be handled"),
            None => debug!(%entry, what, "a key of a wrong type"),
        },
        Remark::Reclaimed(entry, crashed) => info!(%entry, crashed, "taken from a consumer that was not heard of"),
        Remark::Hangs(entry, span) => warn!(%entry, ?span, "its run may hang: set a `timeout`"),
        Remark::TimedOut(entry) => warn!(%entry, "its run was over its time and was cancelled"),
        Remark::Swept(swept) => debug!(?swept, "cleared away"),
    }
}
