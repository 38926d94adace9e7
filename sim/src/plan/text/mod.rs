//! Plans and actions as text: what `plan.txt` holds, what scenario files say, and what reports show. Printing and
//! parsing lose nothing.
//!
//! A plan is made of settings, consumers and actions, one a line, in any order; what is not said has a default, and a
//! word that begins with `#` begins a comment:
//!
//! ```text
//! seed 17
//! latency 200us..1ms             # one way, at least and at most
//! heal-at 38s                    # when the faults end
//! calm 22s                       # how long the run lasts after that
//! finish yes                     # in the calm, everything is finished
//! redis persistence=aof hz=10 notify=KEx config=allowed replica-lag=20ms other-keys=0 uptime=1h
//! consumer a ttl=3s heartbeat=1s capacity=100 app=reads work=100ms..2s ends=done:5,release:1
//! consumer b go
//! 0s       announce orders-1..40
//! 12.345s  pause c1 4s at answer
//! 20s      redis failover 900ms
//! ```
//!
//! A consumer is named as in its line, or `c0`, `c1` … by its place. Its settings are `ttl`, `heartbeat` (a third of the
//! ttl, unless said), `reap`, `claim-delay`, `heirs`, `capacity`, `claim=auto|manual`, `max-takeovers`, `max-failures`, `buffer`,
//! `drift` (`150ppm`), the words `go` and `absent` (does not take part before a `start`); and its application's: `app=reads|runs`, `work`
//! (`never`, or a range), `ends` (weights of `done`, `release`, `fail`, `panic`, `hang`), `reads-every`, `never-reads`.
//! A `worker` takes part in the work on messages: it has `absent` and `drift` as well, and `concurrency`, `prefetch`,
//! `batch`, `block`, `idle` (`reclaim_idle`), `reclaim`, `due`, `ack-delay`, `sweep`, `attempts`, `crashes`,
//! `backoff=100ms..5s` (base and limit), `factor`, `jitter` (percent), `timeout` (`never`, or a length of time), `rate`
//! and `group-rate` (`10/1s`), `processed` (its age), and the words `deletes`, `trims`, `buries`, `ordered`.
//! Redis's `persistence` is `none`, `rdb:30s`, `aof` or `aof-always`, its `config` `allowed` or `forbidden`.
//!
//! The actions, each with its time in front; lengths of time are written `4s`, `1.5s`, `250ms`, `100us`, `2m`, `1h`:
//!
//! | action | what happens |
//! |---|---|
//! | `announce orders-1..40`, `announce orders-7` | these streams are announced; if the prefix ends in a digit, or is no single word: `announce "shard 2 " 1..40` |
//! | `malformed 3` | something that is no announcement stands in the LBS: the kind is any number |
//! | `start c2`, `start c2 renamed` | a consumer that does not run is started; or under a name that nobody has had |
//! | `crash c2` | its process is killed |
//! | `drain c2 5s` | it gives everything back and stops, within so long |
//! | `pause c2 4s`, `… at answer`, `… at handler`, `… at call` | its process stands still; not at once, but at the next such point |
//! | `suspend c2 30s` | its machine is suspended |
//! | `partition c2 4s`, `… out`, `… in` | no bytes pass; only from, or to, the consumer. Its connections are dead afterwards |
//! | `stall c2 4s`, `… out`, `… in` | bytes are held back, and arrive afterwards |
//! | `reset c2` | its connections break |
//! | `slow c2 by 50ms for 4s` | bytes take so much longer |
//! | `lose-answer c2`, `… after 3` | its next call is executed, its answer is lost; or the call after 3 more |
//! | `send 40`, `send 3 fails 2 taking 50ms` | messages are sent; each makes its worker do as it says: `succeeds`, `fails`, `panics`, `crashes` (so many times, or always), `hangs`, `rejects`, `drops`, `broken` (cannot be decoded), `dead-fails`, `dead-acks`, `dead-crashes` (what is called once the attempts are used up); `delayed 2s`; `once 7`: with this idempotency key; `keyed 3`: serialised by this key |
//! | `lose-send`, `lose-send after 3` | a call of the producer of messages is executed, its answer is lost |
//! | `done orders-7`, `release orders-7`, `fail orders-7` | whoever owns the stream finishes it, gives it back, fails |
//! | `redis crash 900ms` | Redis is killed, and back after so long with what its persistence has kept |
//! | `redis restart 900ms` | it restarts in order |
//! | `redis failover 900ms` | its replica is promoted, with what it had received |
//! | `redis clock +5s`, `redis clock -5s` | its wall clock steps |
//! | `redis stall 2s` | it stands still, and answers afterwards |
//! | `redis drop-messages 5s`, `redis double-messages 5s`, `redis delay-messages by 300ms for 5s` | notifications and messages are lost, come twice, come late |
//! | `redis clear-flags` | `notify-keyspace-events` is set to nothing |
//! | `redis refuse oom 5s` | commands are refused: `loading`, `readonly`, `masterdown`, `oom`, `busy`, `misconf`, `noreplicas`, `maxclients`, `noperm`, `tryagain`, `clusterdown` |
//! | `redis disconnect`, `redis forget-scripts` | all connections break; SCRIPT FLUSH |
//! | `redis destroy-group`, `redis delete-lbs`, `redis trim 10`, `redis flush-all` | by hand: the group, the LBS, all but 10 of its entries, everything is deleted |
//! | `redis evict 3`, `redis wrong-type 3 5s` | a lease key is deleted; has another type for so long |
//! | `redis delete-attempts`, `redis delete-delayed`, `redis unpark 3` | by hand: what is known of failed messages is deleted, or what is due when, all of it or one |
//! | `redis delete-consumer c2`, `redis redeliver` | XGROUP DELCONSUMER; XGROUP SETID 0 |
//! | `note the zone is cut off` | nothing: a word for the reader |

mod action;
mod consumer;
mod redis;
mod span;
mod whole;
mod words;
mod worker;

use thiserror::Error;

pub use span::{parse_span, print_span};

/// Text that is no plan, or no action.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {}, expected {expected}", self.found())]
pub struct Unreadable {
    /// The line, from 1 on.
    pub line: usize,
    /// The word that does not fit; none if the line ends too early.
    pub word: Option<String>,
    /// What should stand there.
    pub expected: String,
}

impl Unreadable {
    fn found(&self) -> String {
        match &self.word {
            Some(word) => format!("found `{word}`"),
            None => "the line ends".to_owned(),
        }
    }
}
