//! MAXLEN and MINID.

use std::sync::Arc;

use super::super::super::reply::Reply;
use super::super::call::{Call, syntax};
use super::Stream;
use super::id::Id;

/// How far to trim a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trim {
    to: To,
    /// `~`: whole nodes only.
    is_rough: bool,
    /// At most so many entries; 0: no limit.
    limit: u64,
}

#[derive(Clone, Copy, Debug)]
enum To {
    Length(usize),
    First(Id),
}

/// The options of trimming, as they are read word by word.
#[derive(Default)]
pub(crate) struct Words {
    trim: Option<(To, bool)>,
    limit: Option<u64>,
}

impl Words {
    /// Reads an option that begins here. How many words it was; none if it is not one of trimming.
    pub(crate) fn take(&mut self, call: &Call, at: usize) -> Result<usize, Reply> {
        let more = call.args.len() - 1 - at;
        if call.is_word(at, "limit") && more >= 1 {
            let limit = call.int(at + 1)?;
            let limit = u64::try_from(limit).map_err(|_| Reply::error("ERR The LIMIT argument must be >= 0."))?;
            self.limit = Some(limit);
            return Ok(2);
        }
        let is_length = call.is_word(at, "maxlen");
        if more == 0 || !(is_length || call.is_word(at, "minid")) {
            return Ok(0);
        }
        if self.trim.is_some() {
            return Err(Reply::error("ERR syntax error, MAXLEN and MINID options at the same time are not compatible"));
        }
        let sign = if more >= 2 && matches!(&call.args[at + 1][..], b"~" | b"=") { 1 } else { 0 };
        let is_rough = sign == 1 && call.args[at + 1] == "~";
        let value = at + 1 + sign;
        let to = if is_length {
            let length = usize::try_from(call.int(value)?);
            To::Length(length.map_err(|_| Reply::error("ERR The MAXLEN argument must be >= 0."))?)
        } else {
            To::First(Id::strict(&call.args[value], 0)?)
        };
        self.trim = Some((to, is_rough));
        Ok(2 + sign)
    }

    /// What the options come to, when all are read.
    pub(crate) fn finish(self) -> Result<Option<Trim>, Reply> {
        // 100 nodes' worth, if nothing is said.
        const DEFAULT_LIMIT: u64 = 10_000;
        let Some((to, is_rough)) = self.trim else {
            return match self.limit {
                Some(1..) => {
                    Err(Reply::error("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy"))
                }
                _ => Ok(None),
            };
        };
        if self.limit.is_some() && !is_rough {
            return Err(Reply::error("ERR syntax error, LIMIT cannot be used without the special ~ option"));
        }
        let limit = if is_rough { self.limit.unwrap_or(DEFAULT_LIMIT) } else { 0 };
        Ok(Some(Trim { to, is_rough, limit }))
    }
}

/// The options of XTRIM.
pub(crate) fn options(call: &Call, from: usize) -> Result<Trim, Reply> {
    let mut words = Words::default();
    let mut at = from;
    while at < call.args.len() {
        match words.take(call, at)? {
            0 => return Err(syntax()),
            taken => at += taken,
        }
    }
    words.finish()?.ok_or_else(|| Reply::error("ERR syntax error, XTRIM must be called with a trimming strategy"))
}

impl Stream {
    /// Trims. How many entries went.
    pub(crate) fn trim(&mut self, trim: Trim) -> usize {
        let mut gone = 0;
        while let Some(mut oldest) = self.nodes.first_entry() {
            let node = oldest.get();
            let left = node.entries.len();
            if matches!(trim.to, To::Length(length) if self.length <= length) {
                break;
            }
            if trim.limit > 0 && (gone + left) as u64 > trim.limit {
                break;
            }
            let whole = match trim.to {
                To::Length(length) => self.length - left >= length,
                To::First(first) => node.last < first,
            };
            if whole {
                oldest.remove();
                self.length -= left;
                gone += left;
                continue;
            }
            if trim.is_rough {
                break;
            }
            let cut = match trim.to {
                To::Length(length) => self.length - length,
                To::First(first) => node.entries.partition_point(|entry| entry.id < first),
            };
            if cut > 0 {
                Arc::make_mut(oldest.get_mut()).entries.drain(..cut);
            }
            self.length -= cut;
            gone += cut;
            break;
        }
        if gone > 0 {
            self.note_first();
        }
        gone
    }
}
