//! Sentinels asked: one of them, or as many as it takes, so that a dead one costs little.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use redis::{AsyncConnectionConfig, ErrorKind, ProtocolVersion, RedisConnectionInfo, aio::MultiplexedConnection};
use streamkeeper_core::trouble::{Trouble, TroubleKind};

use super::{
    super::{address::Address, dial::Dial},
    answer::{self, Answer},
};
use crate::wire::troubles::trouble;

/// After so long without an answer the next sentinel is asked as well.
const NEXT_AFTER: Duration = Duration::from_millis(100);

/// How long one sentinel may take for connection and answer at least. Otherwise it is half as long as a call may take: three
/// that are silent cost less than a call then.
const AT_LEAST: Duration = Duration::from_millis(500);

/// What it takes to ask.
pub(super) struct Asking {
    pub(super) primary: String,
    pub(super) login: RedisConnectionInfo,
    pub(super) dial: Arc<dyn Dial>,
    /// How long a call may take.
    pub(super) call_timeout: Duration,
}

impl Asking {
    /// Asks one sentinel after the other until one gives an answer that is not old; if all are, the newest.
    pub(super) async fn first_that_is_new(
        &self,
        sentinels: Vec<Address>,
        is_old: impl Fn(&Answer) -> bool,
    ) -> Result<(Address, Answer), Trouble> {
        let mut left = sentinels.into_iter();
        let mut asked = FuturesUnordered::new();
        let mut newest: Option<(Address, Answer)> = None;
        let mut troubles = Vec::new();
        asked.extend(left.next().map(|sentinel| self.one(sentinel)));
        loop {
            tokio::select! {
                biased;
                Some((sentinel, said)) = asked.next() => match said {
                    Ok(answer) if !is_old(&answer) => return Ok((sentinel, answer)),
                    Ok(answer) => {
                        if newest.as_ref().is_none_or(|(_, newest)| answer.epoch > newest.epoch) {
                            newest = Some((sentinel, answer));
                        }
                        asked.extend(left.by_ref().map(|sentinel| self.one(sentinel)));
                    }
                    Err(trouble) => {
                        troubles.push(advise(&sentinel, trouble));
                        asked.extend(left.next().map(|sentinel| self.one(sentinel)));
                    }
                },
                () = tokio::time::sleep(NEXT_AFTER), if left.len() > 0 => {
                    asked.extend(left.next().map(|sentinel| self.one(sentinel)));
                }
                else => break,
            }
        }
        newest.ok_or_else(|| no_answer(&self.primary, &troubles))
    }

    /// A connection to a sentinel, and what moves its bytes.
    pub(super) async fn connect(
        &self,
        sentinel: &Address,
        protocol: ProtocolVersion,
        settings: AsyncConnectionConfig,
    ) -> Result<(MultiplexedConnection, BoxFuture<'static, ()>), Trouble> {
        let bytes = self.dial.dial(sentinel).await.map_err(Trouble::connection)?;
        let login = self.login.clone().set_protocol(protocol);
        let login = login.set_lib_name("streamkeeper", env!("CARGO_PKG_VERSION"));
        let made = MultiplexedConnection::new_with_config(&login, bytes, settings).await;
        let (redis, running) = made.map_err(|e| match e.kind() {
            // The redis crate has an error of its own for a password that was not accepted.
            ErrorKind::AuthenticationFailed => Trouble::from_reply("WRONGPASS", &e.to_string()),
            _ => trouble(&e),
        })?;
        Ok((redis, Box::pin(running)))
    }

    async fn one(&self, sentinel: Address) -> (Address, Result<Answer, Trouble>) {
        let asking = async {
            let settings = AsyncConnectionConfig::new();
            let (redis, running) = self.connect(&sentinel, ProtocolVersion::RESP2, settings).await?;
            tokio::select! {
                biased;
                answer = answer::ask(&redis, &self.primary) => answer,
                () = running => Err(Trouble::connection("the connection was closed")),
            }
        };
        let limit = (self.call_timeout / 2).max(AT_LEAST);
        let silent = |_| Err(Trouble::connection(format_args!("no answer within {limit:?}")));
        let answer = tokio::time::timeout(limit, asking).await.unwrap_or_else(silent);
        (sentinel, answer)
    }
}

/// Says which sentinel it is, and what can be done.
pub(super) fn advise(sentinel: &Address, trouble: Trouble) -> Trouble {
    let message = match trouble.kind {
        TroubleKind::Refused => format!(
            "the sentinel {sentinel} refuses: {trouble}. Sentinels have users and passwords of their own: give them \
             with `sentinel_login` (`--sentinel-user` and REDIS_SENTINEL_PASSWORD); the rights that the user needs are \
             in docs/operations.md"
        ),
        TroubleKind::Other if trouble.message.contains("unknown command") => {
            let message = format!(
                "{sentinel} is no sentinel ({trouble}): the URL must name the sentinels, which listen on another port \
                 than the server (usually 26379)"
            );
            return Trouble::unsupported(message);
        }
        // The address stands in what the system says.
        _ if trouble.message.contains(&sentinel.to_string()) => format!("sentinel {trouble}"),
        _ => format!("sentinel {sentinel}: {trouble}"),
    };
    Trouble { kind: trouble.kind, message: message.into() }
}

/// Why nobody could say where the primary is. What waiting cannot mend comes to the front.
fn no_answer(primary: &str, troubles: &[Trouble]) -> Trouble {
    let lasting = troubles.iter().find(|trouble| trouble.kind.is_fatal_at_start());
    let kind = lasting.map_or(TroubleKind::Connection, |trouble| trouble.kind);
    let (first, rest): (Vec<&Trouble>, Vec<&Trouble>) =
        troubles.iter().partition(|trouble| trouble.kind.is_fatal_at_start());
    let said: Vec<String> = first.into_iter().chain(rest).map(Trouble::to_string).collect();
    let message = format!("no sentinel says where the primary `{primary}` is: {}", said.join("; "));
    Trouble { kind, message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentinel() -> Address {
        Address::Tcp { host: "s".to_owned(), port: 26_379, tls: false }
    }

    #[test]
    fn who_has_no_password_is_told_where_to_give_it() {
        let refused = advise(&sentinel(), Trouble::from_reply("NOAUTH", "Authentication required."));
        assert_eq!(refused.kind, TroubleKind::Refused);
        assert!(refused.message.contains("redis://s:26379 refuses: NOAUTH"), "{refused}");
        assert!(refused.message.contains("REDIS_SENTINEL_PASSWORD"), "{refused}");
    }

    #[test]
    fn a_server_is_no_sentinel() {
        let server = advise(&sentinel(), Trouble::from_reply("ERR", "unknown command 'SENTINEL', with args"));
        assert_eq!(server.kind, TroubleKind::Unsupported);
        assert!(server.message.starts_with("redis://s:26379 is no sentinel"), "{server}");
    }

    #[test]
    fn what_waiting_cannot_mend_is_what_counts() {
        let dead = advise(&sentinel(), Trouble::connection("redis://s:26379: refused"));
        let unknown = advise(&sentinel(), Trouble::unsupported("it knows no primary called `p`"));
        assert_eq!(&*dead.message, "sentinel redis://s:26379: refused");
        assert_eq!(no_answer("p", std::slice::from_ref(&dead)).kind, TroubleKind::Connection);
        let both = no_answer("p", &[dead, unknown]);
        assert_eq!(both.kind, TroubleKind::Unsupported);
        let at = |what: &str| both.message.find(what).unwrap();
        assert!(at("knows no primary") < at("refused"), "{both}");
    }
}
