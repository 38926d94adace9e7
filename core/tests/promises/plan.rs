//! What a test case consists of: how the world is set up, and what happens to it, one action after the other. Pure
//! data, so that proptest can make it up and shrink it.

use proptest::prelude::*;
use streamkeeper_core::{
    streams::{End, Link},
    trouble::TroubleKind,
};

/// A whole test case.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) setup: Setup,
    pub(crate) actions: Vec<Action>,
}

/// How the world begins.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    /// How many consumers, two at least.
    pub(crate) nodes: usize,
    /// The last consumer has the name of the first.
    pub(crate) namesake: bool,
    /// The second consumer has room for two streams only.
    pub(crate) small: bool,
    /// The second consumer claims by hand.
    pub(crate) manual: bool,
    /// How fast each consumer's clock runs, in percent.
    pub(crate) rates: [u64; 4],
    /// Redis deletes lapsed keys at once, instead of when somebody touches them.
    pub(crate) active_expiry: bool,
    /// INFO is refused: nobody knows which server it is.
    pub(crate) anonymous: bool,
    /// Streams may be announced twice, and trimmed; otherwise lease keys may vanish. Not both: where the record names
    /// another announcement, its lease key is the only witness (rule 4 of 5.2).
    pub(crate) duplicates: bool,
    /// Nobody may be without an owner for longer than so many milliseconds (and crashes make nothing a suspect).
    pub(crate) in_time: Option<u64>,
    /// In the end all but this consumer crash, and it has to own everything alone.
    pub(crate) survivor: Option<usize>,
}

/// What happens next.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Time passes, in milliseconds.
    Run(u64),
    Announce(u8),
    AnnounceMalformed(u8),
    /// The next call of that kind by that consumer fares so.
    Fare(usize, Kind, Fate),
    /// A connection breaks.
    Cut(usize, Link),
    /// No connection leads from this consumer to Redis for so long, and those that stand are silent.
    Partition(usize, u64),
    /// The consumer stands still for so long.
    Pause(usize, u64),
    /// Redis stands still for so long.
    Freeze(u64),
    Crash(usize),
    Boot(usize),
    Server(ServerFault),
    /// The application does this with one of its streams.
    App(usize, u8, Wish),
    /// The application is about to stop, and is to end by itself what it owns.
    Drain(usize),
    Shutdown(usize, End, u64),
    Backlogged(usize, bool),
    /// A Go peer takes an orphan and holds it for so long.
    GoTakes(u8, u64),
    /// An answer that nobody asked for.
    Stray(usize, u8, u8),
    /// A lease's key vanishes.
    Evict(u8),
    /// A list stands where a lease should, or stands there no more.
    Break(u8),
    Mend,
    Trim(u8),
    OutOfMemory(bool),
    Notifications(Told),
    /// A notification of an expiry that did not happen, perhaps for another service's stream.
    FalseHint(usize, u8, bool),
    FalseBell(usize, u8),
}

/// What befalls the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerFault {
    /// It starts again, and has forgotten nothing.
    Restart,
    RestartWithoutLeases,
    RestartEmpty,
    /// A replica that stopped following a while ago takes over.
    Failover,
    /// The replica catches up.
    Sync,
    FlushAll,
    DestroyGroup,
    /// Its wall clock goes back by so many milliseconds.
    ClockBack(u64),
}

/// What an application may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Done,
    Release,
    /// Given back, and nobody is to have it for so many milliseconds.
    Rest(u64),
    Fail,
    Claim,
}

/// What becomes of notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Well,
    Never,
    /// So many milliseconds late.
    Late(u64),
    Twice,
}

/// Which calls a fate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Any,
    Acquire,
    Renew,
    Ends,
    Epoch,
    Taking,
    Looking,
}

/// How a call fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// So many milliseconds on the way there, and back.
    Slow(u64, u64),
    /// It never arrives.
    LostThere,
    /// It is executed; the answer never arrives.
    LostBack,
    /// The server refuses it.
    Refused(TroubleKind),
    /// It is executed, and answered twice.
    Twice,
    /// It is executed, and answered with something that is no answer to it.
    Mismatched(u8),
}

pub(crate) const NODES: usize = 4;

fn node() -> impl Strategy<Value = usize> {
    0..NODES
}

fn link() -> impl Strategy<Value = Link> {
    prop_oneof![3 => Just(Link::Commands), 1 => Just(Link::Reader), 1 => Just(Link::Subscriber)]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Any),
        Just(Kind::Acquire),
        Just(Kind::Renew),
        Just(Kind::Ends),
        Just(Kind::Epoch),
        Just(Kind::Taking),
        Just(Kind::Looking),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    use TroubleKind::{GroupLost, NotNow, Other, OutOfMemory, Refused, WrongServer, WrongType};
    let trouble = prop_oneof![
        Just(NotNow),
        Just(OutOfMemory),
        Just(WrongServer),
        Just(GroupLost),
        Just(Other),
        Just(WrongType),
        Just(Refused)
    ];
    prop_oneof![
        3 => (0..4_000_u64, 0..4_000_u64).prop_map(|(there, back)| Fate::Slow(there, back)),
        2 => Just(Fate::LostThere),
        3 => Just(Fate::LostBack),
        2 => trouble.prop_map(Fate::Refused),
        1 => Just(Fate::Twice),
        1 => any::<u8>().prop_map(Fate::Mismatched),
    ]
}

fn server_fault() -> impl Strategy<Value = ServerFault> {
    prop_oneof![
        Just(ServerFault::Restart),
        Just(ServerFault::RestartWithoutLeases),
        Just(ServerFault::RestartEmpty),
        Just(ServerFault::Failover),
        Just(ServerFault::Failover),
        Just(ServerFault::Sync),
        Just(ServerFault::Sync),
        Just(ServerFault::FlushAll),
        Just(ServerFault::DestroyGroup),
        (1..5_000_u64).prop_map(ServerFault::ClockBack),
    ]
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        3 => Just(Wish::Done),
        2 => Just(Wish::Release),
        2 => (0..9_000_u64).prop_map(Wish::Rest),
        2 => Just(Wish::Fail),
        1 => Just(Wish::Claim)
    ]
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![Just(Told::Well), Just(Told::Never), (1..3_000_u64).prop_map(Told::Late), Just(Told::Twice)]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![1 => Just(End::Done), 2 => Just(End::Release)]
}

/// One action.
pub(crate) fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => (1..400_u64).prop_map(Action::Run),
        12 => (100..3_500_u64).prop_map(Action::Run),
        8 => (0..6_u8).prop_map(Action::Announce),
        1 => any::<u8>().prop_map(Action::AnnounceMalformed),
        12 => (node(), kind(), fate()).prop_map(|(n, k, f)| Action::Fare(n, k, f)),
        2 => (node(), link()).prop_map(|(n, l)| Action::Cut(n, l)),
        2 => (node(), 1..6_000_u64).prop_map(|(n, ms)| Action::Partition(n, ms)),
        3 => (node(), 1..7_000_u64).prop_map(|(n, ms)| Action::Pause(n, ms)),
        1 => (1..6_000_u64).prop_map(Action::Freeze),
        2 => node().prop_map(Action::Crash),
        3 => node().prop_map(Action::Boot),
        2 => server_fault().prop_map(Action::Server),
        6 => (node(), any::<u8>(), wish()).prop_map(|(n, p, w)| Action::App(n, p, w)),
        1 => node().prop_map(Action::Drain),
        1 => (node(), end(), 0..4_000_u64).prop_map(|(n, e, ms)| Action::Shutdown(n, e, ms)),
        1 => (node(), any::<bool>()).prop_map(|(n, b)| Action::Backlogged(n, b)),
        2 => (any::<u8>(), 500..6_000_u64).prop_map(|(p, ms)| Action::GoTakes(p, ms)),
        1 => (node(), any::<u8>(), any::<u8>()).prop_map(|(n, id, what)| Action::Stray(n, id, what)),
        1 => any::<u8>().prop_map(Action::Evict),
        1 => any::<u8>().prop_map(Action::Break),
        1 => Just(Action::Mend),
        1 => any::<u8>().prop_map(Action::Trim),
        1 => any::<bool>().prop_map(Action::OutOfMemory),
        2 => told().prop_map(Action::Notifications),
        1 => (node(), any::<u8>(), any::<bool>()).prop_map(|(n, p, o)| Action::FalseHint(n, p, o)),
        1 => (node(), any::<u8>()).prop_map(|(n, p)| Action::FalseBell(n, p)),
    ]
}

/// How a world may begin.
pub(crate) fn setup() -> impl Strategy<Value = Setup> {
    let rare = || prop::bool::weighted(0.2);
    let rates = prop::array::uniform4(prop_oneof![3 => Just(100_u64), 1 => 96..=104_u64]);
    let survivor = prop_oneof![1 => Just(None), 1 => (0..NODES).prop_map(Some)];
    let first = (any::<u64>(), 2..=NODES, rare(), rare(), rare());
    (first, rates, any::<bool>(), prop::bool::weighted(0.1), any::<bool>(), survivor).prop_map(
        |((seed, nodes, namesake, small, manual), rates, active_expiry, anonymous, duplicates, survivor)| Setup {
            seed,
            nodes,
            namesake,
            small,
            manual,
            rates,
            active_expiry,
            anonymous,
            duplicates,
            in_time: None,
            survivor,
        },
    )
}

/// Consumers that crash, notifications that are lost; Redis and the first consumer are well. With `again` they start
/// and pause as well, so that they fail again and again.
pub(crate) fn crashes(others: std::ops::Range<usize>, again: bool, in_time: u64) -> impl Strategy<Value = Plan> {
    let others = move || others.clone();
    let again = u32::from(again);
    let action = prop_oneof![
        6 => (1..4_000_u64).prop_map(Action::Run),
        6 => (0..6_u8).prop_map(Action::Announce),
        3 => others().prop_map(Action::Crash),
        3 * again => others().prop_map(Action::Boot),
        again => others().prop_map(Action::Drain),
        again => (others(), 1..9_000_u64).prop_map(|(n, ms)| Action::Pause(n, ms)),
        1 => told().prop_map(Action::Notifications),
        1 => (0..NODES, any::<u8>(), wish()).prop_map(|(n, p, w)| Action::App(n, p, w)),
    ];
    let setup = setup().prop_map(move |setup| Setup {
        namesake: false,
        small: false,
        manual: false,
        duplicates: false,
        in_time: Some(in_time),
        survivor: None,
        ..setup
    });
    (setup, prop::collection::vec(action, 1..60)).prop_map(|(setup, actions)| Plan { setup, actions })
}

/// Misfortunes that seldom come together by chance.
fn misfortune() -> impl Strategy<Value = Vec<Action>> {
    let late = (node(), prop_oneof![Just(Kind::Renew), Just(Kind::Acquire)], 310..990_u64, 0..1_200_u64);
    let late = late.prop_flat_map(|(n, kind, back, after)| {
        // The last answer of a consumer that is cut off then comes late, and others hear of the end at once.
        (3_000..5_000_u64).prop_map(move |ms| {
            let answer = Action::Fare(n, kind, Fate::Slow(0, back));
            vec![answer, Action::Run(1_000 + after % 600), Action::Partition(n, ms), Action::Run(ms)]
        })
    });
    let ending = (node(), any::<u8>(), fate(), any::<bool>(), 0..3_500_u64);
    let ending = ending.prop_map(|(n, pick, fate, done, ms)| {
        let wish = if done { Wish::Done } else { Wish::Release };
        vec![Action::Fare(n, Kind::Ends, fate), Action::App(n, pick, wish), Action::Run(ms)]
    });
    let rollback = (0..4_000_u64, node(), 2_500..5_000_u64, 0..3_000_u64).prop_map(|(ms, n, pause, after)| {
        let (sync, failover) = (Action::Server(ServerFault::Sync), Action::Server(ServerFault::Failover));
        vec![sync, Action::Pause(n, pause), Action::Run(ms), failover, Action::Run(after)]
    });
    // Done is said at the last moment, heard of after somebody else has taken over, and by a server that forgot that.
    let done_too_late = (node(), any::<u8>(), 1_500..2_650_u64, 400..1_500_u64).prop_map(|(n, pick, before, after)| {
        let (sync, failover) = (Action::Server(ServerFault::Sync), Action::Server(ServerFault::Failover));
        let cut_off = Action::Partition(n, before + after);
        let done = Action::App(n, pick, Wish::Done);
        vec![sync, cut_off, Action::Run(before), done, Action::Run(after), failover, Action::Run(2_000)]
    });
    let forgotten = (node(), 1..600_u64, 1..4_000_u64).prop_map(|(n, cut, ms)| {
        let restart = Action::Server(ServerFault::RestartWithoutLeases);
        vec![restart, Action::Partition(n, cut), Action::Run(ms)]
    });
    let paused = (node(), 2_600..4_500_u64).prop_map(|(n, ms)| {
        vec![Action::Fare(n, Kind::Renew, Fate::Slow(0, 900)), Action::Pause(n, ms), Action::Run(ms)]
    });
    prop_oneof![3 => late, 2 => ending, 1 => rollback, 1 => done_too_late, 1 => forgotten, 1 => paused]
}

/// A whole case of about that many actions.
pub(crate) fn plan(actions: std::ops::Range<usize>) -> impl Strategy<Value = Plan> {
    let step = prop_oneof![12 => action().prop_map(|action| vec![action]), 1 => misfortune()];
    (setup(), prop::collection::vec(step, actions))
        .prop_map(|(setup, steps)| Plan { setup, actions: steps.into_iter().flatten().collect() })
}
