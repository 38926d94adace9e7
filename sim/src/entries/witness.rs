//! What Redis itself did to data streams, positions and effects, read off the commands that it executed, whoever sent them
//! and in whichever script: its own word.

use std::sync::Arc;

use super::{
    EFFECTS, checkpoints,
    facts::{Id, Said},
    is_data,
};
use crate::{
    facts::Who,
    redis::{Touched, reply::Reply},
};
use bytes::Bytes;

/// What this command did.
pub(crate) fn hear(by: Option<Who>, touched: &Touched) -> Vec<Said> {
    heard(by, touched).unwrap_or_default()
}

fn heard(by: Option<Who>, touched: &Touched) -> Option<Vec<Said>> {
    let text = |at: usize| touched.args.get(at).and_then(text);
    let (name, key) = (text(0)?.to_ascii_lowercase(), text(1)?);
    let changed = touched.reply != Reply::Int(0);
    let is_data_stream = is_data(key.as_bytes());
    let stream: Arc<str> = key.as_ref().into();
    Some(match name.as_str() {
        "xadd" if is_data_stream => {
            let Reply::Bulk(id) = &touched.reply else { return None };
            vec![Said::Appended { stream, id: text_of(id)?.parse().ok()? }]
        }
        "xtrim" if is_data_stream && changed => {
            let before = touched.left.as_ref().and_then(text_of).and_then(|id| id.parse().ok());
            vec![Said::Removed { stream, before }]
        }
        "del" | "unlink" if changed => {
            let keys = touched.args[1..].iter().filter(|key| is_data(key)).filter_map(text_of);
            keys.map(|key| Said::Removed { stream: key.into(), before: None }).collect()
        }
        "hset" if key == checkpoints() => {
            let pairs = touched.args.get(2..)?.chunks_exact(2);
            pairs.filter_map(|pair| stored(by, &pair[0], &pair[1])).collect()
        }
        "hdel" if key == checkpoints() && changed => {
            let streams = touched.args.get(2..)?.iter().filter_map(text_of);
            streams.map(|stream| Said::Dropped { stream: stream.into() }).collect()
        }
        "hincrby" => {
            let (of, id) = (key.strip_prefix(EFFECTS)?, text(2)?.parse().ok()?);
            vec![Said::Effect { by, stream: of.into(), id }]
        }
        _ => return None,
    })
}

fn stored(by: Option<Who>, stream: &Bytes, record: &Bytes) -> Option<Said> {
    let (position, marked) = record_of(text_of(record)?)?;
    Some(Said::Stored { by, stream: text_of(stream)?.into(), position, marked })
}

/// The position of a record, and whether it names a commit with writes.
pub(super) fn record_of(record: &str) -> Option<(Id, bool)> {
    let mut words = record.split(' ');
    let position = words.next()?.parse().ok()?;
    Some((position, words.nth(1).is_some_and(|mark| mark != "-")))
}

fn text(bytes: &Bytes) -> Option<std::borrow::Cow<'_, str>> {
    text_of(bytes).map(Into::into)
}

fn text_of(bytes: &Bytes) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(command: &str, reply: Reply, left: Option<&str>) -> Vec<Said> {
        let args = command.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let left = left.map(|id| Bytes::copy_from_slice(id.as_bytes()));
        let touched = Touched { conn: None, script: None, args, reply, left };
        hear(None, &touched)
    }

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn what_changes_streams_positions_and_effects_is_heard() {
        let stream: Arc<str> = "simulated:data-1".into();
        assert_eq!(
            touched("XADD simulated:data-1 * n 1", bulk("7-1"), None),
            [Said::Appended { stream: stream.clone(), id: Id(7, 1) }]
        );
        assert_eq!(
            touched("XTRIM simulated:data-1 MAXLEN 1", Reply::Int(3), Some("8-0")),
            [Said::Removed { stream: stream.clone(), before: Some(Id(8, 0)) }]
        );
        assert_eq!(
            touched("DEL simulated:data-1 other", Reply::Int(1), None),
            [Said::Removed { stream: stream.clone(), before: None }]
        );
        assert_eq!(
            touched("HINCRBY simulated:effects:simulated:data-1 7-1 1", Reply::Int(1), None),
            [Said::Effect { by: None, stream, id: Id(7, 1) }]
        );
        assert_eq!(touched("XADD simulated-input * lbs-input x", bulk("7-1"), None), []);
        assert_eq!(touched("DEL simulated:data-1", Reply::Int(0), None), []);
    }

    #[test]
    fn records_are_read() {
        let stored = |record: &str| {
            let args = ["HSET", "simulated-checkpoints", "simulated:data-1", record];
            let args = args.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
            let reply = Reply::Int(0);
            hear(None, &Touched { conn: None, script: None, args, reply, left: None })
        };
        let said =
            |position, marked| vec![Said::Stored { by: None, stream: "simulated:data-1".into(), position, marked }];
        assert_eq!(stored("7-1 12 -"), said(Id(7, 1), false));
        assert_eq!(stored("7-1 - 00ab.1:4"), said(Id(7, 1), true));
        assert_eq!(stored("7-1"), said(Id(7, 1), false));
        assert_eq!(stored("nonsense"), []);
    }
}
