//! What was done to chosen keys, whoever did it in whichever way: the truth about a stream and its group, independent of
//! what the scripts are called and how they are asked.

use bytes::Bytes;

use super::{
    Output, Redis,
    connection::{ConnId, OPERATOR},
    data::{self, Done, Spec},
    reply::Reply,
};

/// A command that may change keys, executed on its own or by a script.
#[derive(Clone, Debug, PartialEq)]
pub struct Touched {
    /// For whom; `None`: the operator, by hand.
    pub conn: Option<ConnId>,
    /// By this script, if it is one of Streamkeeper's.
    pub script: Option<&'static str>,
    /// The command.
    pub args: Vec<Bytes>,
    /// What it answered; no error.
    pub reply: Reply,
    /// The first entry that is left, after XTRIM; the last one, after XGROUP CREATE.
    pub left: Option<Bytes>,
}

impl Redis {
    /// From now on [`Output::Touched`] tells of every command that may change keys whose names begin like this, on
    /// database 0.
    pub fn observe_keys(&mut self, prefix: impl Into<Bytes>) {
        self.observed_keys = Some(prefix.into());
    }

    /// A command was executed.
    pub(crate) fn touched(
        &mut self,
        conn: ConnId,
        script: Option<&'static str>,
        spec: &Spec,
        args: &[Bytes],
        reply: &Reply,
    ) {
        let Some(prefix) = &self.observed_keys else { return };
        let wanted = spec.write && !matches!(reply, Reply::Error(_));
        if wanted && spec.keys(args).iter().any(|key| key.starts_with(prefix)) {
            let (args, reply) = (args.to_vec(), reply.clone());
            let conn = (conn != OPERATOR).then_some(conn);
            let left = match spec.name {
                "xtrim" => self.an_end(["XRANGE", "-", "+"], args.get(1)),
                "xgroup|create" => self.an_end(["XREVRANGE", "+", "-"], args.get(2)),
                _ => None,
            };
            self.out.push_back(Output::Touched(Touched { conn, script, args, reply, left }));
        }
    }

    /// The id of the first or the last entry of a stream.
    fn an_end(&mut self, [name, from, to]: [&'static str; 3], key: Option<&Bytes>) -> Option<Bytes> {
        let [name, from, to, count, one] =
            [name, from, to, "COUNT", "1"].map(|word| Bytes::from_static(word.as_bytes()));
        let args = [name, key?.clone(), from, to, count, one];
        let Done::Reply(Reply::Array(entries)) = data::execute(&mut self.dbs[0], &mut self.cx, &args)? else {
            return None;
        };
        match entries.first() {
            Some(Reply::Array(entry)) => match entry.first() {
                Some(Reply::Bulk(id)) => Some(id.clone()),
                _ => None,
            },
            _ => None,
        }
    }
}
