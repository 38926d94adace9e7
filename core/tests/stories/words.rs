//! Events, calls, answers and notifications in words.

use std::time::Duration;

use streamkeeper_core::{
    id::EntryId,
    streams::{
        Answer, Call, ClaimLost, Command, End, Event, Load, LostReason, Notification, Output, Remark,
        call::{Acquired, Delivery, Released, RenewException},
    },
};

fn span(span: Duration) -> String {
    format!("{} ms", span.as_millis())
}

fn list<T>(items: &[T], one: impl Fn(&T) -> String) -> String {
    if items.is_empty() { "none".to_owned() } else { items.iter().map(one).collect::<Vec<_>>().join(", ") }
}

pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::Timeout => "the consumer starts".to_owned(),
        Event::Connected(link) => format!("connected: {link:?}"),
        Event::Disconnected(link, trouble) => format!("disconnected: {link:?} ({trouble})"),
        Event::Answered(id, _) => format!("an answer to {id:?}"),
        Event::KeyExpired(key) => format!("Redis says that {key} has expired"),
        Event::Doorbell(text) => format!("the doorbell rings for {text}"),
        Event::Claim(entry) => format!("the application claims {entry}"),
        Event::Done(entry) => format!("the application has done {entry}"),
        Event::Release(entry, None) => format!("the application releases {entry}"),
        Event::Release(entry, Some(error)) => format!("the handler of {entry} fails: {error}"),
        Event::Elsewhere(Load { held, owned }) => format!("other partitions hold {held}, and own {owned} of them"),
        Event::Begun => "the client has begun without this partition".to_owned(),
        Event::Backlogged(true) => "the application does not read its notifications".to_owned(),
        Event::Backlogged(false) => "the application has caught up".to_owned(),
        Event::Rest(entry, pause) => format!("the application lets {entry} rest for {} ms", pause.as_millis()),
        Event::Drain => "the application is told to end by itself what it works on".to_owned(),
        Event::Shutdown(end, deadline) => {
            let how = if *end == End::Done { "done with" } else { "releasing" };
            format!("shutdown, {how} everything, until {} ms", deadline.as_micros() / 1_000)
        }
    }
}

/// One line, or nothing if it is of no interest.
pub(crate) fn output(output: &Output) -> String {
    match output {
        Output::Command(Command::Connect(link)) => format!("→ connect {link:?}"),
        Output::Command(Command::Disconnect(link)) => format!("→ disconnect {link:?}"),
        Output::Command(Command::Call(_, what)) => format!("→ {}", call(what)),
        Output::Notification(what) => format!("⇒ {}", notification(what)),
        Output::Extended { until, entries } => {
            format!("· valid until {} ms: {}", until.as_micros() / 1_000, list(entries, EntryId::to_string))
        }
        Output::Remark(Remark::Orphans(_) | Remark::Server(_) | Remark::HintSeen) => String::new(),
        Output::Remark(what) => format!("· {}", remark(what)),
        Output::Wait(_) => String::new(),
    }
}

fn call(call: &Call) -> String {
    match call {
        Call::Acquire(call) => {
            let items = list(&call.items, |item| {
                let other = item.other.map(|other| format!(", beside {other}")).unwrap_or_default();
                format!("{} of {} as attempt {}{other}", item.entry, item.stream, item.attempt.number)
            });
            format!("acquire {items}")
        }
        Call::Renew(call) => {
            let wait = call.recreate.as_ref().map(|wait| format!(", creating again under {wait}")).unwrap_or_default();
            format!("renew {}{wait}", list(&call.items, |item| item.entry.to_string()))
        }
        Call::Done(items) => format!("done {}", list(items, |item| item.entry.to_string())),
        Call::Release(items) => {
            let one = |item: &streamkeeper_core::streams::call::ReleaseItem| {
                let failure = item.failure.as_ref().map(|failure| {
                    let aside = if failure.set_aside { ", set aside" } else { "" };
                    let (count, pause) = (failure.failures, span(failure.pause));
                    format!(" (failure {count}: {}; pause {pause}{aside})", failure.error)
                });
                format!("{}{}", item.entry, failure.unwrap_or_default())
            };
            format!("release {}", list(items, one))
        }
        Call::Epoch(call) => match &call.settle {
            Some((wait, identity)) => format!("epoch, settling {wait} on {}", identity.as_str()),
            None if call.fresh => "epoch, new to the service".to_owned(),
            None => "epoch".to_owned(),
        },
        Call::Read { count, block } => format!("read {count}, waiting for {}", span(*block)),
        Call::Take { count, share } => {
            let share = share.map(|held| format!(" of the share, which {held} are held of")).unwrap_or_default();
            format!("take {count}{share}")
        }
        Call::Look(entries) => format!("look at {}", list(entries, EntryId::to_string)),
        Call::Mine { .. } => "mine".to_owned(),
        Call::Hint(leases) => format!("touch {}", list(leases, |(stream, entry)| format!("{entry} of {stream}"))),
        Call::Ring { entries, heirs } => {
            let heirs = heirs.map(|heirs| format!(" to {heirs} heirs")).unwrap_or_default();
            format!("ring{heirs} for {}", list(entries, EntryId::to_string))
        }
        Call::Reap { room, .. } => format!("reap, with room for {room}"),
        Call::Bury { entry, error } => format!("bury {entry}: {error}"),
        Call::Forget { entries, idle } => {
            format!("forget {} if idle for {}", list(entries, EntryId::to_string), span(*idle))
        }
        Call::Prepare | Call::Ping | Call::Clean => call.name().to_owned(),
    }
}

fn acquired(answer: &Acquired) -> String {
    match answer {
        Acquired::Granted(grant) => {
            let takeover = if grant.takeover { ", a takeover" } else { "" };
            let failures = if grant.failures > 0 { format!(", {} failures", grant.failures) } else { String::new() };
            format!("granted, token {}{takeover}{failures}", grant.token)
        }
        Acquired::Gone => "gone".to_owned(),
        Acquired::Trimmed => "trimmed".to_owned(),
        Acquired::Held(left) => format!("held for {}", span(*left)),
        Acquired::Busy(left) => format!("busy for {}", span(*left)),
        Acquired::Other(other) => format!("ask again, beside {other}"),
        Acquired::SetAside(takeovers) => format!("set aside after {takeovers} crashes"),
        Acquired::Broken(error) => format!("broken: {error}"),
    }
}

fn delivery(delivery: &Delivery) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields = delivery.fields.as_ref();
    let first = fields.and_then(|fields| fields.first()).map(|(_, value)| text(value));
    format!("{} {}", delivery.entry, first.unwrap_or_else(|| "without payload".to_owned()))
}

pub(crate) fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Prepared(server) => format!("Redis {} is prepared", server.version),
        Answer::Epoch(epoch) => match &epoch.wait {
            None => format!("settled on {}", epoch.identity.as_str()),
            Some(wait) => format!("{wait} stands on {}", epoch.identity.as_str()),
        },
        Answer::Read(deliveries) | Answer::Taken { deliveries, .. } => list(deliveries, delivery),
        Answer::Looked { deliveries, .. } => {
            list(deliveries, |(one, idle)| format!("{} idle for {}", delivery(one), span(*idle)))
        }
        Answer::Acquired(answers) => list(answers, acquired),
        Answer::EpochDiffers => "the server is not the settled one".to_owned(),
        Answer::Renewed(renewed) => {
            let what = list(&renewed.exceptions, |(_, exception)| match exception {
                RenewException::Lost(Some(holder)) => format!("lost to {holder}"),
                RenewException::Lost(None) => "lost, nobody holds it".to_owned(),
                RenewException::TakenBack => "taken back".to_owned(),
                RenewException::Recreated => "created again".to_owned(),
                RenewException::Gone => "the entry is gone".to_owned(),
                RenewException::Broken(error) => format!("broken: {error}"),
            });
            let group = renewed.group_lost.as_ref().map(|error| format!("; {error}")).unwrap_or_default();
            if renewed.exceptions.is_empty() { format!("all are kept{group}") } else { format!("{what}{group}") }
        }
        Answer::Done(answers) => list(answers, |answer| format!("{answer:?}").to_lowercase()),
        Answer::Released(answers) => list(answers, |answer| match answer {
            Released::SetAside => "set aside".to_owned(),
            answer => format!("{answer:?}").to_lowercase(),
        }),
        Answer::Mine(entries) => list(entries, EntryId::to_string),
        Answer::Reaped { idle, .. } => list(idle, |idle| format!("{} idle for {}", idle.entry, span(idle.idle))),
        Answer::ReaperIs(left) => format!("somebody else is the reaper, for {}", span(*left)),
        Answer::Buried(there) => if *there { "buried" } else { "it was gone" }.to_owned(),
        Answer::Forgotten(entries) => list(entries, EntryId::to_string),
        Answer::Pong | Answer::Hinted | Answer::Rung | Answer::Cleaned(_) => "ok".to_owned(),
    }
}

fn notification(notification: &Notification) -> String {
    match notification {
        Notification::Ready => "Ready".to_owned(),
        Notification::Added(added) => {
            let takeover = if added.takeover { ", a takeover" } else { "" };
            let failures = if added.failures > 0 { format!(", {} failures", added.failures) } else { String::new() };
            let until = added.valid_until.as_micros() / 1_000;
            let (stream, entry, token) = (&added.stream, added.entry, added.token);
            format!("Added {stream} ({entry}), token {token}{takeover}{failures}, valid until {until} ms")
        }
        Notification::Expired { entry, stream } => format!("Expired {stream} ({entry})"),
        Notification::ClaimLost { entry, why, .. } => format!("ClaimLost {entry}: {}", claim_lost(why)),
        Notification::Disowned { entry, stream, token, reason } => {
            format!("Disowned {stream} ({entry}), token {token}: {}", lost(reason))
        }
        Notification::Done { entry, stream, token } => format!("Done {stream} ({entry}), token {token}"),
        Notification::Released { entry, stream, token } => format!("Released {stream} ({entry}), token {token}"),
        Notification::Rejected { entry, reason, error, .. } => {
            format!("Rejected {entry}, {}: {error}", reason.label())
        }
        Notification::Terminated(trouble) => format!("Terminated: {trouble}"),
        Notification::Stopped(report) => format!(
            "Stopped: {} done, {} released, {} disowned, {} unanswered",
            report.done, report.released, report.disowned, report.unanswered
        ),
    }
}

fn lost(reason: &LostReason) -> String {
    match reason {
        LostReason::Expired(late) => format!("expired, noticed {} late", span(*late)),
        LostReason::Taken(holder) => format!("taken by {holder}"),
        LostReason::Paused(paused) => format!("paused for {}", span(*paused)),
        LostReason::Unreachable(silent) => format!("Redis unreachable for {}", span(*silent)),
        LostReason::Unknown(end) => format!("unknown whether {end:?} has happened").to_lowercase(),
        other => other.label().to_owned(),
    }
}

fn claim_lost(why: &ClaimLost) -> String {
    match why {
        ClaimLost::Held(left) => format!("held for {}", span(*left)),
        other => other.label().to_owned(),
    }
}

fn remark(remark: &Remark) -> String {
    match remark {
        Remark::LinkDown { link, pause, .. } => format!("{link:?} is tried again in {}", span(*pause)),
        Remark::CallFailed { call, trouble } => format!("{call} failed: {trouble}"),
        Remark::Quarantine(wait) => format!("quarantine for {}", span(*wait)),
        Remark::Settled => "the fleet has settled on this server".to_owned(),
        Remark::Paused(paused) => format!("this process stood still for {}", span(*paused)),
        Remark::HintDropped => "a hint is dropped".to_owned(),
        Remark::HintLeft => "a hint is left to the heirs".to_owned(),
        Remark::NotificationMissed(entry) => format!("{entry} was found by looking"),
        Remark::StrayAnswer => "a stray answer is dropped".to_owned(),
        Remark::TakenOver(delay) => format!("taken over {} after it was known", span(*delay)),
        Remark::TakenBack(entry) => format!("{entry} was not pending and was taken back"),
        Remark::Recreated(entry) => format!("the lease of {entry} was created again"),
        Remark::Broken { entry, error } => format!("{entry} cannot be judged: {error}"),
        Remark::GroupRecreated => "the group is to be created again".to_owned(),
        Remark::LateGrant(entry) => format!("the grant of {entry} is of no use any more"),
        Remark::Forgotten(entries) => format!("forgotten: {}", list(entries, EntryId::to_string)),
        other => format!("{other:?}"),
    }
}
