//! What people read: each notification and remark as a `tracing` event with the fields stream, entry and token. The
//! consumer and the service are fields of the driver's span. No secrets: troubles name servers, never passwords.

use streamkeeper_core::{
    streams::{LostReason, Notification, Remark},
    time::Time,
    trouble::TroubleKind,
};
use tracing::{debug, error, info, trace, warn};

use crate::outages::Outages;

pub(crate) fn notification(fact: &Notification) {
    match fact {
        Notification::Ready => info!("ready: announcements are taken"),
        Notification::Added(added) => {
            let (stream, entry, token) = (&added.stream, added.entry, added.token);
            debug!(%stream, %entry, %token, takeover = added.takeover, deliveries = added.deliveries, "owned");
        }
        Notification::Expired { entry, stream } => debug!(%stream, %entry, "has lost its owner"),
        Notification::ClaimLost { entry, why, .. } => debug!(%entry, why = why.label(), "claim not granted"),
        Notification::Disowned { entry, stream, token, reason } => match reason {
            LostReason::Gone => info!(%stream, %entry, %token, "disowned: it is gone from the LBS"),
            reason => warn!(%stream, %entry, %token, reason = reason.label(), detail = ?reason, "disowned"),
        },
        Notification::Done { entry, stream, token } => debug!(%stream, %entry, %token, "done"),
        Notification::Released { entry, stream, token } => debug!(%stream, %entry, %token, "released"),
        Notification::Rejected { entry, stream, reason, error } => {
            let stream = stream.as_ref().map_or("", |stream| stream.as_str());
            warn!(stream, %entry, reason = reason.label(), %error, "set aside: `streamkeeper dead` puts it back");
        }
        Notification::Terminated(trouble) => error!(%trouble, "terminated: nothing can go on"),
        Notification::Stopped(report) => info!(?report, "stopped"),
    }
}

pub(crate) fn remark(remark: &Remark, outages: &mut Outages, now: Time) {
    match remark {
        Remark::LinkDown { link, trouble, pause } => outages.link_down(*link, trouble, *pause, now),
        Remark::CallFailed { call, trouble } => outages.call_failed(call, trouble, now),
        Remark::Quarantine(span) => {
            warn!(?span, "the server may have forgotten leases: nothing is acquired until the fleet has settled on it");
        }
        Remark::Settled => info!("the fleet has settled on the server"),
        Remark::Server(server) => {
            let notifications = server.expiry_notifications;
            info!(version = %server.version, notifications, skipped = server.skipped, "server prepared");
            if server.skipped > 0 {
                let skipped = server.skipped;
                warn!(
                    skipped,
                    "announcements made before the group was created are not handed out: announce them again"
                );
            }
            server.warnings.iter().for_each(|warning| warn!("{warning}"));
        }
        Remark::Paused(span) => warn!(?span, "this process or machine stood still"),
        Remark::HintDropped | Remark::HintSeen | Remark::HintLeft | Remark::StrayAnswer | Remark::Orphans(_) => {
            trace!(?remark);
        }
        Remark::NotificationMissed(entry) => debug!(%entry, "orphan found by looking, not by a notification"),
        Remark::TakenOver(delay) => debug!(?delay, "taken over"),
        Remark::TakenBack(entry) => warn!(%entry, "the entry was no longer pending under us and was taken back"),
        Remark::Recreated(entry) => warn!(%entry, "the server had forgotten the lease: created again"),
        Remark::Broken { entry, error } => match outages.refused("stream", TroubleKind::WrongType, now) {
            Some(unsaid) => {
                error!(%entry, %error, unsaid, "a key of a wrong type: remove it, this stream cannot be handled");
            }
            None => debug!(%entry, %error, "a key of a wrong type"),
        },
        Remark::GroupRecreated => warn!("the group or the LBS was gone: created again at 0"),
        Remark::LateGrant(entry) => warn!(%entry, "granted too late to be used: given back"),
        Remark::Forgotten(entries) => {
            warn!(?entries, "announcements without payload were acknowledged: do not trim the LBS");
        }
        Remark::Cleaned(consumers) => info!(?consumers, "consumers not heard of for an hour were deleted"),
    }
}
