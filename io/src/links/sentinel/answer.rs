//! What a sentinel says about a primary: the question, and the answer taken apart.

use redis::{Value, aio::MultiplexedConnection};
use streamkeeper_core::trouble::{Trouble, TroubleKind};

use crate::wire::{
    script::send,
    troubles::trouble,
    value::{field, list, number, odd, pairs, text},
};

/// What one sentinel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Name or address, and port.
    pub(super) primary: (String, u16),
    /// How new this is: it grows with every failover.
    pub(super) epoch: u64,
    /// The other sentinels of this primary.
    pub(super) others: Vec<(String, u16)>,
}

/// Asks for the primary of this name. During a failover the address is that of the server that was promoted, as soon as
/// the sentinel knows it; `SENTINEL MASTER` alone would still name the former one, with the new epoch.
pub(super) async fn ask(redis: &MultiplexedConnection, primary: &str) -> Result<Answer, Trouble> {
    let question = |what: &str| {
        let mut cmd = redis::cmd("SENTINEL");
        cmd.arg(what).arg(primary);
        let mut redis = redis.clone();
        async move { send(&mut redis, &cmd).await.map_err(|e| trouble(&e)) }
    };
    let (address, state, others) =
        futures::join!(question("GET-MASTER-ADDR-BY-NAME"), question("MASTER"), question("SENTINELS"));
    understand(primary, address?, allowed(state)?, allowed(others)?)
}

/// An answer without which one can do: `None` where the sentinel will not give it.
fn allowed(answer: Result<Value, Trouble>) -> Result<Option<Value>, Trouble> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(trouble) if trouble.kind == TroubleKind::Connection => Err(trouble),
        Err(trouble) => {
            tracing::debug!(%trouble, "a sentinel does not tell everything");
            Ok(None)
        }
    }
}

fn understand(primary: &str, address: Value, state: Option<Value>, others: Option<Value>) -> Result<Answer, Trouble> {
    if address == Value::Nil {
        return Err(Trouble::unsupported(format_args!(
            "it knows no primary called `{primary}`: check the name at the end of the URL (SENTINEL MASTERS lists them)"
        )));
    }
    let call = "SENTINEL GET-MASTER-ADDR-BY-NAME";
    let parts = list(address.clone()).ok_or_else(|| odd(call, &address))?;
    let [host, port] = &*parts else { return Err(odd(call, &address)) };
    let primary = endpoint(Some(host), Some(port)).ok_or_else(|| odd(call, &address))?;
    let epoch = state.and_then(pairs).and_then(|state| field(&state, "config-epoch").and_then(number)).unwrap_or(0);
    let others = others.and_then(list).unwrap_or_default().into_iter();
    let others = others.filter_map(|other| {
        let other = pairs(other)?;
        endpoint(field(&other, "ip"), field(&other, "port"))
    });
    Ok(Answer { primary, epoch, others: others.collect() })
}

fn endpoint(host: Option<&Value>, port: Option<&Value>) -> Option<(String, u16)> {
    let host = text(host?)?.into_owned();
    let port = u16::try_from(number(port?)?).ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn flat(texts: &[&str]) -> Value {
        Value::Array(texts.iter().map(|text| bulk(text)).collect())
    }

    #[test]
    fn an_answer_is_understood_in_both_protocols() {
        let map = |texts: &[&str]| Value::Map(texts.chunks(2).map(|two| (bulk(two[0]), bulk(two[1]))).collect());
        let state = ["name", "p", "ip", "10.0.0.9", "port", "1", "config-epoch", "7"];
        let others = ["name", "x", "ip", "::1", "port", "26379"];
        for (state, other) in [(flat(&state), flat(&others)), (map(&state), map(&others))] {
            let nonsense = flat(&["ip", "", "port", "0"]);
            let others = Value::Array(vec![other, nonsense, Value::Int(3)]);
            let answer = understand("p", flat(&["10.0.0.1", "6379"]), Some(state), Some(others)).unwrap();
            let expected =
                Answer { primary: ("10.0.0.1".to_owned(), 6379), epoch: 7, others: vec![("::1".to_owned(), 26379)] };
            assert_eq!(answer, expected);
        }
        // A user may lack the rights for everything else.
        let answer = understand("p", flat(&["h", "1"]), None, None).unwrap();
        assert_eq!((answer.epoch, answer.others.len()), (0, 0));
    }

    #[test]
    fn a_name_that_nobody_knows_is_an_error_that_names_it() {
        let trouble = understand("payments", Value::Nil, None, None).unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::Unsupported);
        assert!(trouble.message.contains("`payments`"), "{trouble}");
    }

    #[test]
    fn nonsense_is_an_error() {
        for address in [Value::Int(1), flat(&["h"]), flat(&["h", "x"]), flat(&["h", "70000"]), flat(&["", "1"])] {
            assert_eq!(
                understand("p", address.clone(), None, None).unwrap_err().kind,
                TroubleKind::Other,
                "{address:?}"
            );
        }
    }
}
