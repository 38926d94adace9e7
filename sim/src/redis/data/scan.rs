//! SCAN and its like: a walk in steps, in the order of hashes, during which what is there all the time is met.

use bytes::Bytes;

use super::super::reply::Reply;
use super::call::{Answer, Call, syntax};
use super::db::hash;
use super::pattern;
use super::value::{Hash, Kind, Set};
use super::zsets::Zset;

pub(crate) fn scan(call: &mut Call) -> Answer {
    let options = Options::parse(call, 1)?;
    let (cursor, mut keys) = options.step(call.db.keys(), |key| call.db.hash(key));
    keys.retain(|key| options.matches(key));
    // Those that have lapsed are deleted, but only if they would have been answered.
    keys.retain(|key| match &options.kind {
        Some(kind) => call.entry(key).is_some_and(|entry| kind.eq_ignore_ascii_case(entry.value.kind().as_bytes())),
        None => call.meet(key),
    });
    Ok(page(cursor, keys.into_iter().map(Reply::Bulk).collect()))
}

pub(crate) fn hscan(call: &mut Call) -> Answer {
    within(call, |hash: &Hash, options| {
        let (cursor, fields) = options.step_of_value(hash.keys(), hash.len());
        let fields = fields.into_iter().filter_map(|field| Some((field.clone(), hash.get(&field)?.clone())));
        (cursor, fields.flat_map(|(field, value)| [Reply::Bulk(field), Reply::Bulk(value)]).collect())
    })
}

pub(crate) fn sscan(call: &mut Call) -> Answer {
    within(call, |set: &Set, options| {
        let (cursor, members) = options.step_of_value(set.iter(), set.len());
        (cursor, members.into_iter().map(Reply::Bulk).collect())
    })
}

pub(crate) fn zscan(call: &mut Call) -> Answer {
    within(call, |zset: &Zset, options| {
        let (cursor, members) = options.step_of_value(zset.ordered().map(|(member, _)| member), zset.len());
        let members = members.into_iter().filter_map(|member| {
            let score = super::number::general(zset.score(&member)?);
            Some([Reply::Bulk(member), Reply::bulk(score)])
        });
        (cursor, members.flatten().collect())
    })
}

struct Options {
    cursor: u64,
    count: usize,
    pattern: Option<Bytes>,
    kind: Option<Bytes>,
}

impl Options {
    fn parse(call: &Call, cursor_at: usize) -> Result<Options, Reply> {
        let mut options = Options { cursor: cursor(call, cursor_at)?, count: 10, pattern: None, kind: None };
        let mut at = cursor_at + 1;
        while at < call.args.len() {
            if at + 1 == call.args.len() {
                return Err(syntax());
            }
            if call.is_word(at, "count") {
                options.count = usize::try_from(call.int(at + 1)?).ok().filter(|n| *n > 0).ok_or_else(syntax)?;
            } else if call.is_word(at, "match") {
                options.pattern = Some(call.args[at + 1].clone());
            } else if call.is_word(at, "type") && cursor_at == 1 {
                options.kind = Some(call.args[at + 1].clone());
            } else {
                return Err(syntax());
            }
            at += 2;
        }
        Ok(options)
    }

    fn matches(&self, item: &[u8]) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern::matches(pattern, item))
    }

    /// The next items from the cursor on, and where to go on: 0 at the end.
    fn step<'a>(&self, items: impl Iterator<Item = &'a Bytes>, hash: impl Fn(&[u8]) -> u64) -> (u64, Vec<Bytes>) {
        let mut ahead: Vec<(u64, &Bytes)> = items.map(|item| (hash(item), item)).collect();
        ahead.retain(|(hash, _)| *hash >= self.cursor);
        if ahead.len() > self.count {
            ahead.select_nth_unstable(self.count);
        }
        // All that share a hash go together: the cursor could not tell them apart.
        let end = ahead.get(self.count).map(|(hash, _)| *hash);
        let mut taken = ahead;
        if let Some(end) = end {
            taken.retain(|(hash, _)| *hash < end);
        }
        taken.sort_unstable();
        (end.unwrap_or(0), taken.into_iter().map(|(_, item)| item.clone()).collect())
    }

    /// Within a value; a small one is answered at once, as Redis does with its compact encodings.
    fn step_of_value<'a>(&self, items: impl Iterator<Item = &'a Bytes>, length: usize) -> (u64, Vec<Bytes>) {
        const SMALL: usize = 128;
        if length <= SMALL {
            return (0, items.filter(|item| self.matches(item)).cloned().collect());
        }
        let (cursor, mut items) = self.step(items, |item| hash(0, item));
        items.retain(|item| self.matches(item));
        (cursor, items)
    }
}

fn within<K: Kind>(call: &mut Call, step: impl Fn(&K, &Options) -> (u64, Vec<Reply>)) -> Answer {
    cursor(call, 2)?;
    // The other options of a value that is not there may be wrong.
    if call.read::<K>(call.key())?.is_none() {
        return Ok(page(0, Vec::new()));
    }
    let options = Options::parse(call, 2)?;
    let (cursor, items) = call.read::<K>(call.key())?.map_or((0, Vec::new()), |value| step(value, &options));
    Ok(page(cursor, items))
}

fn cursor(call: &Call, at: usize) -> Result<u64, Reply> {
    let cursor = std::str::from_utf8(&call.args[at]).ok().and_then(|text| text.parse().ok());
    cursor.ok_or_else(|| Reply::error("ERR invalid cursor"))
}

fn page(cursor: u64, items: Vec<Reply>) -> Reply {
    Reply::Array(vec![Reply::bulk(cursor.to_string()), Reply::Array(items)])
}
