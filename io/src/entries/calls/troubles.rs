//! What a person can do about a call that failed, where Redis says only what is wrong; and what concerns one stream of
//! many only.

use streamkeeper_core::{
    keys::Keys,
    trouble::{Trouble, TroubleKind},
};

/// The commands that reading and committing use, as an ACL rule. The application's own writes need theirs, too.
const RIGHTS: &str = "+eval +evalsha +xread +xrange +xrevrange +xinfo|stream +xadd +multi +exec +client|id +client|unblock +get +hget \
     +hmget +hset +hdel +type +time +info";

/// Whether it is about one key, and not about the command or the server.
pub(super) fn about_a_key(trouble: &Trouble) -> bool {
    let text = &trouble.message;
    match trouble.kind {
        TroubleKind::WrongType => true,
        // `this user has no permissions to access one of the keys used as arguments`, Redis 7: `No permissions to access
        // a key`.
        TroubleKind::Refused => text.starts_with("NOPERM") && text.contains("key"),
        _ => false,
    }
}

/// What is wrong with a key, in words.
///
/// # Errors
/// It is not about a key.
pub(super) fn broken(trouble: Trouble, keys: &Keys) -> Result<Box<str>, Trouble> {
    match about_a_key(&trouble) {
        true => Ok(advise(trouble, keys).message),
        false => Err(trouble),
    }
}

/// Adds what can be done.
pub(super) fn advise(trouble: Trouble, keys: &Keys) -> Trouble {
    let text = &trouble.message;
    let advice = match trouble.kind {
        TroubleKind::Refused if text.starts_with("NOPERM") => {
            // `this user has no permissions to run the 'client|unblock' command`
            let command = text.split_once("run the '").and_then(|(_, rest)| rest.split_once('\''));
            let rule = match command {
                Some((command, _)) => format!("+{command}"),
                None if text.contains("key") => {
                    format!("~*{}-* ~*<MUTEX_KEY_SEP>* and ~ with the names of the data streams", keys.service())
                }
                None => RIGHTS.to_owned(),
            };
            format!("; allow it: ACL SETUSER <user> {rule}")
        }
        TroubleKind::WrongType => format!(
            "; a data stream of the service `{}` or one of {} (a hash) and {} (a stream) holds something else: look at \
             them with TYPE, and delete or rename the wrong one",
            keys.service(),
            keys.checkpoints(),
            keys.dead_entries()
        ),
        TroubleKind::Unsupported if text.starts_with("CROSSSLOT") => {
            "; the keys of a service and its data streams must share one slot of a Redis Cluster: use \
             `Builder::hash_tagged` (`--hash-tagged`), and its tag in their names"
                .to_owned()
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
    fn advice_names_what_to_do() {
        let keys = Keys::plain("orders").unwrap();
        for (code, text, key, advice) in [
            ("NOPERM", "this user has no permissions to run the 'client|unblock' command", false, "+client|unblock"),
            ("NOPERM", "this user has no permissions to access one of the keys used as arguments", true, "~*orders-*"),
            ("NOPERM", "No permissions to access a key", true, "~*orders-*"),
            ("ERR", "The user executing the script can't run this command or subcommand", false, "+hmget"),
            ("WRONGTYPE", "Operation against a key", true, "orders-checkpoints"),
            // Streams in other slots are not asked for, so that it is the slot of all that has moved.
            ("MOVED", "3999 127.0.0.1:6381", false, "3999"),
            ("CROSSSLOT", "Keys in request don't hash to the same slot", false, "hash_tagged"),
        ] {
            let trouble = reply(code, text);
            assert_eq!(about_a_key(&trouble), key, "{trouble}");
            let advised = advise(trouble, &keys);
            assert!(advised.message.contains(advice), "{advised}");
        }
        assert!(broken(reply("LOADING", "Redis is loading the dataset in memory"), &keys).is_err());
    }
}
