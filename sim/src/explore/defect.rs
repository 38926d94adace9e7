//! Defects planted on purpose: the exploration must find each of them.

use bytes::Bytes;

use crate::redis::lua;

/// Something that is broken in an explored world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Defect {
    /// A script is changed where its text says this: into that.
    Script {
        /// What stands in it.
        find: &'static str,
        /// What stands there instead.
        replace: &'static str,
    },
}

impl Defect {
    /// A command as it is executed with the defect.
    pub(crate) fn planted_in(&self, args: Vec<Bytes>) -> Vec<Bytes> {
        let (Defect::Script { find, replace }, Some(name)) = (self, args.first()) else { return args };
        if &name[..] != b"EVALSHA" && &name[..] != b"EVAL" {
            return args;
        }
        let body = match &name[..] {
            b"EVAL" => std::str::from_utf8(&args[1]).ok().map(str::to_owned),
            _ => script_of(&args[1]),
        };
        let Some(body) = body.filter(|body| body.contains(find)) else { return args };
        let mut changed = args;
        changed[0] = Bytes::from_static(b"EVAL");
        changed[1] = Bytes::from(body.replace(find, replace));
        changed
    }
}

/// The script with this hash.
fn script_of(hash: &[u8]) -> Option<String> {
    let known = |(_, body): &(&str, &str)| lua::hash(body.as_bytes()).as_bytes() == hash;
    streamkeeper::scripts().find(known).map(|(_, body)| body.to_owned())
}
