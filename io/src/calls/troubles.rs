//! What an error of the redis crate means: the core's table, behind what the crate and Lua wrap around a reply.

use streamkeeper_core::{
    keys::Keys,
    trouble::{Trouble, TroubleKind},
};

/// The commands that the protocol uses, as an ACL rule: what to allow when something is refused.
const RIGHTS: &str = "+eval +evalsha +xgroup|create +xgroup|delconsumer +xreadgroup +xclaim +xpending +xack +xdel +xadd \
                      +xrange +xrevrange +xlen +xinfo +get +mget +set +del +exists +pexpire +pttl +hget +hmget +hset +hdel \
                      +hrandfield \
                      +time +info +ping +publish +subscribe +psubscribe";

/// Adds what a person can do about it, where Redis says only what is wrong.
pub(super) fn advise(trouble: Trouble, keys: &Keys) -> Trouble {
    let text = &trouble.message;
    let advice = match trouble.kind {
        TroubleKind::Refused if text.starts_with("NOPERM") => {
            // `this user has no permissions to run the 'xgroup|create' command`
            let command = text.split_once("run the '").and_then(|(_, rest)| rest.split_once('\''));
            let rule = match command {
                Some((command, _)) => format!("+{command}"),
                None if text.contains("key") || text.contains("channel") => format!(
                    "~*{0}-* ~*<MUTEX_KEY_SEP>* &*{0}-orphans &__keyspace@<db>__:*<MUTEX_KEY_SEP>*",
                    keys.service()
                ),
                None => RIGHTS.to_owned(),
            };
            format!("; allow it: ACL SETUSER <user> {rule}")
        }
        TroubleKind::WrongType => format!(
            "; a key of the service `{}` holds something else: look at {}, {}, {}, {}, {}, {} with TYPE, and delete \
             or rename the wrong one",
            keys.service(),
            keys.lbs(),
            keys.fences(),
            keys.token(),
            keys.epoch(),
            keys.checkpoints(),
            keys.dead()
        ),
        TroubleKind::Unsupported if text.starts_with("CROSSSLOT") => {
            "; the keys of a service must share one slot of a Redis Cluster: use `Builder::hash_tagged` (`--hash-tagged`)".to_owned()
        }
        _ => return trouble,
    };
    Trouble { kind: trouble.kind, message: format!("{text}{advice}").into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::troubles::reply;

    #[test]
    fn what_is_refused_is_named_with_the_rule_that_allows_it() {
        let keys = Keys::plain("svc").unwrap();
        for (text, rule) in [
            ("this user has no permissions to run the 'xgroup|create' command", "+xgroup|create"),
            ("this user has no permissions to access one of the keys used as arguments", "~*svc-*"),
            ("The user executing the script can't run this command or subcommand", "+xclaim"),
        ] {
            let trouble = advise(reply("NOPERM", text), &keys);
            assert!(trouble.message.contains(rule), "{trouble}");
        }
    }
}
