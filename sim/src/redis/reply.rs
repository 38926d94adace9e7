//! What a command answers, before it is written in one of the two protocols.

use bytes::Bytes;

/// A reply. Where RESP2 and RESP3 differ, the encoder decides.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+OK`
    Status(Bytes),
    /// `-ERR …`: the code and the text, without the minus.
    Error(String),
    /// `:1`
    Int(i64),
    /// `$3`
    Bulk(Bytes),
    /// A missing string: `$-1`, in RESP3 `_`.
    Nil,
    /// A missing list: `*-1`, in RESP3 `_`.
    NilArray,
    /// `*2`
    Array(Vec<Reply>),
    /// Key and value by turns in RESP2, `%1` in RESP3.
    Map(Vec<(Reply, Reply)>),
    /// A list of pairs in RESP2, `%1` in RESP3: XREAD and XREADGROUP.
    MapOfPairs(Vec<(Reply, Reply)>),
    /// One and the other by turns in RESP2, a list of pairs in RESP3: WITHSCORES, WITHVALUES.
    Pairs(Vec<(Reply, Reply)>),
    /// A list in RESP2, `~2` in RESP3.
    Set(Vec<Reply>),
    /// A string in RESP2, `,1.5` in RESP3.
    Double(f64),
    /// A string in RESP2, `=…txt:` in RESP3.
    Verbatim(Bytes),
    /// A list in RESP2, `>3` in RESP3: pushed, not answered.
    Push(Vec<Reply>),
}

impl Reply {
    /// `+OK`
    pub fn ok() -> Reply {
        Reply::status("OK")
    }

    /// A status.
    pub fn status(text: &'static str) -> Reply {
        Reply::Status(Bytes::from_static(text.as_bytes()))
    }

    /// A string.
    pub fn bulk(text: impl Into<Bytes>) -> Reply {
        Reply::Bulk(text.into())
    }

    /// An error, with its code.
    pub fn error(text: impl Into<String>) -> Reply {
        Reply::Error(text.into())
    }
}
