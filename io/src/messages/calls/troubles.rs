//! What a person can do about a call that failed, where Redis says only what is wrong.

use streamkeeper_core::{
    messages::Keys,
    trouble::{Trouble, TroubleKind},
};

/// The commands that the second half uses, as an ACL rule: what to allow when something is refused.
pub(super) const RIGHTS: &str = "+eval +evalsha +xgroup|create +xgroup|delconsumer +xreadgroup +xclaim +xpending +xack +xdel +xadd +xrange +xlen \
     +xinfo|groups +xinfo|consumers +xtrim +get +mget +set +del +pttl +pexpire +hget +hmget +hset +hdel +hlen \
     +hscan +hexists +zadd +zrem +zcard +zscore +zmscore +zrange +zrangebyscore +time +info";

/// Adds what can be done.
pub(super) fn advise(trouble: Trouble, keys: &Keys) -> Trouble {
    let (text, stream, group) = (&trouble.message, keys.stream(), keys.group());
    let advice = match trouble.kind {
        TroubleKind::Refused if text.starts_with("NOPERM") => {
            // `this user has no permissions to run the 'xgroup|create' command`
            let command = text.split_once("run the '").and_then(|(_, rest)| rest.split_once('\''));
            let rule = match command {
                Some((command, _)) => format!("+{command}"),
                None if text.contains("key") => {
                    format!("~{stream} ~{}*", keys.scheduled().trim_end_matches("scheduled"))
                }
                None => RIGHTS.to_owned(),
            };
            format!("; allow it: ACL SETUSER <user> {rule}")
        }
        TroubleKind::WrongType => format!(
            "; a key of the group `{group}` on the stream `{stream}` holds something else: look at {stream}, {}, {}, \
             {}, {}, {}, {}, {} with TYPE, and delete or rename the wrong one",
            keys.attempts(),
            keys.delayed(),
            keys.dead(),
            keys.reclaimer(),
            keys.rate(),
            keys.scheduled(),
            keys.scheduled_body()
        ),
        TroubleKind::Unsupported if text.starts_with("CROSSSLOT") => {
            "; the keys of a stream must share one slot of a Redis Cluster: use the hash-tagged layout".to_owned()
        }
        _ => return trouble,
    };
    Trouble { kind: trouble.kind, message: format!("{text}{advice}").into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_what_to_do() {
        let keys = Keys::hash_tagged("orders", "billing").unwrap();
        for (code, text, advice) in [
            ("NOPERM", "this user has no permissions to run the 'xtrim' command", "+xtrim"),
            ("NOPERM", "this user has no permissions to access one of the keys used", "~orders ~{orders}:*"),
            ("NOPERM", "The user executing the script can't run this command", "+zmscore"),
            ("WRONGTYPE", "Operation against", "{orders}:billing:attempts"),
            ("CROSSSLOT", "Keys in request don't hash to the same slot", "hash-tagged"),
        ] {
            let advised = advise(Trouble::from_reply(code, text), &keys);
            assert!(advised.message.contains(advice), "{advised}");
        }
    }
}
