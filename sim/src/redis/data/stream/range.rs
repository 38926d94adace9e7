//! XRANGE and XREVRANGE.

use super::super::super::reply::Reply;
use super::super::call::{Answer, Call, syntax};
use super::Stream;
use super::id::Id;
use super::node::Entry;

pub(crate) fn xrange(call: &mut Call) -> Answer {
    let (start, end) = (Id::start(&call.args[2])?, Id::end(&call.args[3])?);
    range(call, start, end, false)
}

pub(crate) fn xrevrange(call: &mut Call) -> Answer {
    let (end, start) = (&call.args[2], &call.args[3]);
    let (start, end) = (Id::start(start)?, Id::end(end)?);
    range(call, start, end, true)
}

fn range(call: &mut Call, start: Id, end: Id, backwards: bool) -> Answer {
    let mut most = usize::MAX;
    let mut at = 4;
    while at < call.args.len() {
        if !call.is_word(at, "count") || at + 1 == call.args.len() {
            return Err(syntax());
        }
        most = usize::try_from(call.int(at + 1)?).unwrap_or(0);
        at += 2;
    }
    let Some(stream) = call.read::<Stream>(call.key())? else { return Ok(Reply::Array(Vec::new())) };
    if most == 0 {
        return Ok(Reply::NilArray);
    }
    let entries = stream.range(start, end);
    Ok(Reply::Array(if backwards {
        entries.rev().take(most).map(Entry::reply).collect()
    } else {
        entries.take(most).map(Entry::reply).collect()
    }))
}
