//! What goes on while the primary fails: streams are announced all the time, and the time is measured in which a stream
//! has no owner.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::Connection;
use streamkeeper_tests::fleet::Fleet;
use streamkeeper_tests::keys::announcement;
use streamkeeper_tests::ledger::Ledger;
use streamkeeper_tests::sentinel::Watched;
use streamkeeper_tests::server::Server;
use streamkeeper_tests::wait::UntilDropped;

/// Announces a stream every now and then, on whichever server is the primary.
pub(crate) struct Announcer<'w> {
    pub(crate) watched: &'w Watched,
    pub(crate) lbs: String,
    /// The failover is over: from now on what the primary says is kept.
    pub(crate) safe: AtomicBool,
    stop: AtomicBool,
}

impl<'w> Announcer<'w> {
    pub(crate) fn new(watched: &'w Watched, fleet: &Fleet<'_>) -> Self {
        Self { watched, lbs: fleet.keys().lbs(), safe: AtomicBool::new(false), stop: AtomicBool::new(false) }
    }

    /// What is to be kept for as long as it is to run.
    pub(crate) fn until_dropped(&self) -> UntilDropped<'_> {
        UntilDropped(&self.stop)
    }

    /// Until it is stopped. Answers the streams that no failover may lose: those that both replicas had, and those of
    /// afterwards. What a primary alone has heard of dies with it, as the operator's manual says.
    pub(crate) fn run(&self) -> Vec<String> {
        let mut kept = Vec::new();
        for number in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let stream = format!("during{number}");
            let safe = self.safe.load(Ordering::Relaxed);
            if self.announce(&stream).is_some_and(|replicas| safe || replicas == 2) {
                kept.push(stream);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        kept
    }

    /// Announces it; how many replicas have it.
    fn announce(&self, stream: &str) -> Option<u64> {
        let mut primary = connect(self.watched.primary()?)?;
        let mut add = redis::cmd("XADD");
        add.arg(&self.lbs).arg("*").arg("lbs-input").arg(announcement(stream)).exec(&mut primary).ok()?;
        redis::cmd("WAIT").arg(2).arg(200).query(&mut primary).ok()
    }
}

/// A connection that gives up soon: the server may be frozen.
fn connect(server: &Server) -> Option<Connection> {
    let client = redis::Client::open(server.url()).ok()?;
    let connection = client.get_connection_with_timeout(Duration::from_millis(500)).ok()?;
    connection.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
    Some(connection)
}

/// Waits until both replicas have everything that the primary has now.
pub(crate) fn wait_replicated(primary: &Server) {
    primary.wait_writable();
    let mut connection = primary.connect();
    redis::cmd("SET").arg("replicated").arg(1).exec(&mut connection).unwrap();
    let replicas: u64 = redis::cmd("WAIT").arg(2).arg(60_000).query(&mut connection).unwrap();
    assert_eq!(replicas, 2);
}

/// For how long each of the streams had no owner in all.
pub(crate) fn print_ownerless(what: &str, ledger: &Ledger, streams: &[String]) {
    let ownerships = ledger.ownerships();
    let mut gaps: Vec<u64> = streams
        .iter()
        .map(|stream| {
            let list = ownerships.get(stream).map_or(&[][..], Vec::as_slice);
            let gap = |two: &[_]| {
                let [earlier, later]: &[streamkeeper_tests::ledger::Ownership; 2] = two.try_into().unwrap();
                let ended = earlier.last.as_ref().map_or(later.from_us, |last| last.at_us);
                later.from_us.saturating_sub(ended)
            };
            list.windows(2).map(gap).sum()
        })
        .collect();
    gaps.sort_unstable();
    let kept = gaps.iter().filter(|gap| **gap == 0).count();
    let ms = |at: usize| gaps[at] / 1_000;
    println!(
        "{what}: of {} streams {kept} kept their owner; without owner p50 {} ms, max {} ms",
        gaps.len(),
        ms(gaps.len() / 2),
        ms(gaps.len() - 1)
    );
}
