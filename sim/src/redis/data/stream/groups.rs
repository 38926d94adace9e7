//! XGROUP.

use bytes::Bytes;

use super::super::super::reply::Reply;
use super::super::call::{Answer, Call, count};
use super::Stream;
use super::group::Group;
use super::id::Id;

pub(crate) fn create(call: &mut Call) -> Answer {
    let options = Options::parse(call, true)?;
    let (key, name, id) = (&call.args[2], &call.args[3], &call.args[4]);
    let stream = call.read::<Stream>(key)?;
    if stream.is_none() && !options.make_stream {
        return Err(no_key());
    }
    let id = if id == "$" { last_id(stream) } else { Id::strict(id, 0)? };
    let stream: &mut Stream = call.create(key)?;
    if stream.groups.contains_key(name) {
        return Err(Reply::error("BUSYGROUP Consumer Group name already exists"));
    }
    stream.groups.insert(name.clone(), Group::new(id, options.entries_read));
    call.changed('t', "xgroup-create", key);
    Ok(Reply::ok())
}

pub(crate) fn setid(call: &mut Call) -> Answer {
    let options = Options::parse(call, false)?;
    let (key, name, id) = (&call.args[2], &call.args[3], &call.args[4]);
    check_group(call, key, name)?;
    // `-` and `+` too, unlike when it is created.
    let id = if id == "$" { last_id(call.read::<Stream>(key)?) } else { Id::lenient(id, 0)? };
    let group = group_mut(call, key, name)?;
    group.last_id = id;
    group.entries_read = options.entries_read;
    call.changed('t', "xgroup-setid", key);
    Ok(Reply::ok())
}

pub(crate) fn destroy(call: &mut Call) -> Answer {
    let (key, name) = (&call.args[2], &call.args[3]);
    let was_there = call.change::<Stream>(key)?.ok_or_else(no_key)?.groups.remove(name).is_some();
    if was_there {
        call.changed('t', "xgroup-destroy", key);
    }
    Ok(Reply::Int(i64::from(was_there)))
}

pub(crate) fn createconsumer(call: &mut Call) -> Answer {
    let (key, name, consumer) = (&call.args[2], &call.args[3], &call.args[4]);
    check_group(call, key, name)?;
    let now_ms = call.cx.now_ms;
    let group = group_mut(call, key, name)?;
    let is_new = !group.consumers.contains_key(consumer) && group.meet(consumer, now_ms);
    if is_new {
        call.changed('t', "xgroup-createconsumer", key);
    }
    Ok(Reply::Int(i64::from(is_new)))
}

pub(crate) fn delconsumer(call: &mut Call) -> Answer {
    let (key, name, consumer) = (&call.args[2], &call.args[3], &call.args[4]);
    check_group(call, key, name)?;
    let Some(pending) = group_mut(call, key, name)?.forget(consumer) else { return Ok(Reply::Int(0)) };
    call.changed('t', "xgroup-delconsumer", key);
    Ok(count(pending))
}

struct Options {
    make_stream: bool,
    entries_read: Option<u64>,
}

impl Options {
    fn parse(call: &Call, is_create: bool) -> Result<Options, Reply> {
        let mut options = Options { make_stream: false, entries_read: None };
        let mut at = 5;
        while at < call.args.len() {
            if is_create && call.is_word(at, "mkstream") {
                options.make_stream = true;
                at += 1;
            } else if at + 1 < call.args.len() && call.is_word(at, "entriesread") {
                let read = call.int(at + 1)?;
                if read < -1 {
                    return Err(Reply::error("ERR value for ENTRIESREAD must be positive or -1"));
                }
                options.entries_read = u64::try_from(read).ok();
                at += 2;
            } else {
                return Err(subcommand_syntax(call, "XGROUP"));
            }
        }
        Ok(options)
    }
}

/// The subcommand's options are wrong.
pub(crate) fn subcommand_syntax(call: &Call, command: &str) -> Reply {
    let sub: String = String::from_utf8_lossy(&call.args[1]).chars().take(128).collect();
    Reply::error(format!("ERR unknown subcommand or wrong number of arguments for '{sub}'. Try {command} HELP."))
}

/// The key has no such group.
pub(crate) fn no_such_group(key: &[u8], group: &[u8]) -> Reply {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    Reply::error(format!("NOGROUP No such consumer group '{group}' for key name '{key}'"))
}

fn no_key() -> Reply {
    Reply::error(
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM \
         option to create an empty stream automatically.",
    )
}

fn last_id(stream: Option<&Stream>) -> Id {
    stream.map_or(Id::MIN, |stream| stream.last_id)
}

fn check_group(call: &mut Call, key: &Bytes, name: &Bytes) -> Result<(), Reply> {
    let stream = call.read::<Stream>(key)?.ok_or_else(no_key)?;
    if stream.groups.contains_key(name) { Ok(()) } else { Err(no_such_group(key, name)) }
}

fn group_mut<'a>(call: &'a mut Call, key: &Bytes, name: &Bytes) -> Result<&'a mut Group, Reply> {
    let stream = call.change::<Stream>(key)?.ok_or_else(no_key)?;
    stream.groups.get_mut(name).ok_or_else(|| no_such_group(key, name))
}
