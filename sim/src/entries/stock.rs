//! Takes stock: data streams, positions and effects as they stand in Redis.

use std::{str::FromStr, sync::Arc};

use super::{
    DATA, EFFECTS, checkpoints,
    facts::{Id, Stock},
    is_data,
    witness::record_of,
};
use crate::redis::reply::Reply;

/// Takes stock, by asking the server.
pub(crate) fn take(why: &'static str, mut ask: impl FnMut(Vec<String>) -> Reply) -> Stock {
    let mut list = |words: &[&str]| match ask(words.iter().map(|word| (*word).to_owned()).collect()) {
        Reply::Array(items) => items,
        Reply::Pairs(pairs) | Reply::Map(pairs) => pairs.into_iter().flat_map(|(one, other)| [one, other]).collect(),
        _ => Vec::new(),
    };
    let mut stock = Stock { why, ..Stock::default() };
    for key in list(&["KEYS", &format!("{DATA}*")]).iter().filter_map(text) {
        if !is_data(key.as_bytes()) {
            continue;
        }
        let entries = list(&["XRANGE", &key, "-", "+"]);
        stock.streams.push((key, entries.iter().filter_map(id_of).collect()));
    }
    for pair in list(&["HGETALL", &checkpoints()]).chunks_exact(2) {
        let position = text(&pair[1]).and_then(|record| record_of(&record));
        if let (Some(stream), Some((position, _))) = (text(&pair[0]), position) {
            stock.positions.push((stream, position));
        }
    }
    for key in list(&["KEYS", &format!("{EFFECTS}*")]).iter().filter_map(text) {
        let counts = list(&["HGETALL", &key]);
        let counts = counts.chunks_exact(2).filter_map(|pair| Some((parsed(&pair[0])?, parsed(&pair[1])?))).collect();
        stock.effects.push((key[EFFECTS.len()..].into(), counts));
    }
    stock.streams.sort();
    stock.effects.sort();
    stock
}

fn id_of(entry: &Reply) -> Option<Id> {
    match entry {
        Reply::Array(parts) => parsed(parts.first()?),
        _ => None,
    }
}

fn parsed<T: FromStr>(reply: &Reply) -> Option<T> {
    text(reply)?.parse().ok()
}

fn text(reply: &Reply) -> Option<Arc<str>> {
    match reply {
        Reply::Bulk(bytes) | Reply::Status(bytes) => std::str::from_utf8(bytes).ok().map(Arc::from),
        Reply::Int(number) => Some(number.to_string().into()),
        _ => None,
    }
}
