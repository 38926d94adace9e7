//! What is explored, and how far.

use std::time::Duration;

use streamkeeper::Settings;
use streamkeeper_core::config::Config;

use super::truth::Bound;

/// The size of a world, and what may go wrong in it.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// How many consumers.
    pub consumers: usize,
    /// How many streams are announced.
    pub streams: usize,
    /// From where on everything that may happen does.
    pub from: Beginning,
    /// How many faults may happen, in all.
    pub faults: u8,
    /// How many times an application may finish a stream, give one back, or stop its consumer.
    pub wishes: u8,
    /// How long after the beginning faults and wishes may happen.
    pub window: Duration,
    /// Which faults.
    pub kinds: Vec<Kind>,
    /// So many percent slower than Redis's runs the clock of every second consumer, the first among them, and so much
    /// faster those of the others. Less than half.
    pub drift: u64,
    /// All consumers have the same name.
    pub namesakes: bool,
    /// The consumers' settings.
    pub config: Config,
    /// Not more states than these.
    pub most: Option<u64>,
    /// Not longer than this, by the wall clock.
    pub span: Option<Duration>,
}

/// Where exploring begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Beginning {
    /// The consumers start, all at once, and the streams are announced already.
    Start,
    /// The fleet has settled, and every stream has its owner.
    Owned,
}

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A call or its answer is lost with the connection, or for ever in silence.
    Lost,
    /// A call or its answer is late.
    Late,
    /// A connection breaks.
    Cut,
    /// A notification is lost, or late.
    Hint,
    /// A consumer crashes; starting it again is another fault.
    Crash,
    /// A consumer stands still.
    Pause,
    /// Redis starts again without some of its data, or all of them.
    Restart,
}

impl Kind {
    /// All.
    pub const ALL: [Kind; 7] = [Kind::Lost, Kind::Late, Kind::Cut, Kind::Hint, Kind::Crash, Kind::Pause, Kind::Restart];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Lost => "lost",
            Kind::Late => "late",
            Kind::Cut => "cut",
            Kind::Hint => "hint",
            Kind::Crash => "crash",
            Kind::Pause => "pause",
            Kind::Restart => "restart",
        }
    }
}

impl Bounds {
    /// So many consumers and streams, each owned; one fault of any kind within a heartbeat; the usual settings.
    pub fn new(consumers: usize, streams: usize) -> Bounds {
        Bounds {
            consumers,
            streams,
            from: Beginning::Owned,
            faults: 1,
            wishes: 0,
            window: Duration::from_secs(1),
            kinds: Kind::ALL.to_vec(),
            drift: 0,
            namesakes: false,
            config: Config::new(Settings::default()).expect("the defaults hold"),
            most: None,
            span: None,
        }
    }

    /// What `kept` allows with these settings.
    pub(crate) fn kept(&self) -> Bound {
        let config = &self.config;
        let by_slow_clocks = |span: Duration| span * 100 / (100 - u32::try_from(self.drift.min(99)).unwrap_or(0));
        Bound {
            kept: by_slow_clocks(config.lease_ttl + Duration::from_millis(500)),
            reaper: by_slow_clocks(config.reap_interval * 3 / 2),
            wait: by_slow_clocks(config.lease_ttl + config.heartbeat),
        }
    }
}
