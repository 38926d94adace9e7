//! Who is asked whether he notices a mutant: what is cheap first.

use std::{
    panic::{self, AssertUnwindSafe},
    rc::Rc,
    time::Duration,
};

use streamkeeper::Settings;
use streamkeeper_core::config::Config;

use super::mutant::Mutant;
use crate::{
    conformance::{Part, Sequence, Simulated, Step, differences, run},
    explore::{Bounds, explore},
    plan::{Plan, Profile},
    redis::lua,
    world::{self, Net},
};

/// For as long as it lives, the simulated servers of this thread run scripts with a change in them.
pub struct Planted(());

impl Planted {
    /// Plants a mutant. An endless loop ends with an error of the script.
    #[must_use]
    pub fn new(mutant: &Mutant) -> Planted {
        let mutant = mutant.clone();
        lua::run_instead(Some(Rc::new(move |body| mutant.planted_in(body))));
        Planted(())
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        lua::run_instead(None);
    }
}

/// From now on the simulated servers of this thread tell of each script of ours that they compile, by its name, and run
/// all of them as they are.
pub fn hear(told: impl Fn(&str) + 'static) {
    lua::run_instead(Some(Rc::new(move |body| {
        streamkeeper::scripts().filter(|(_, script)| body.ends_with(script)).for_each(|(name, _)| told(name));
        None
    })));
}

/// What a sequence of commands with the replies of real servers says to it: the first reply that is another one.
#[must_use]
pub fn by_sequences(mutant: &Mutant) -> Option<String> {
    let scripts = mutant.scripts();
    let mentions = |part: &Part| match &part.step {
        Some(Step::Call { words, .. }) => words.iter().any(|word| {
            let name = word.strip_prefix(b"@lua/").or_else(|| word.strip_prefix(b"@sha/"));
            name.is_some_and(|name| scripts.iter().any(|script| script.as_bytes() == name))
        }),
        _ => false,
    };
    let sequences = Sequence::all();
    let _planted = Planted::new(mutant);
    sequences.iter().filter(|sequence| sequence.parts.iter().any(mentions)).find_map(|sequence| {
        let ran = caught(|| run(sequence, &mut Simulated::of(sequence)));
        match ran {
            Ok(replies) => {
                let different = differences(sequence, &replies, |part| &part.reply);
                different.lines().nth(1).map(|line| line.trim().to_owned())
            }
            Err(panic) => Some(format!("{}.txt: {panic}", sequence.name)),
        }
    })
}

/// What every life of two consumers and a stream with one fault says to it.
#[must_use]
pub fn by_exploring(mutant: &Mutant) -> Option<String> {
    let config = Config::new(Settings { reap_interval: Duration::from_millis(200), ..Settings::default() }).ok()?;
    let bounds = Bounds {
        faults: 1,
        wishes: 1,
        window: Duration::from_millis(300),
        config,
        most: Some(100_000),
        ..Bounds::new(2, 1)
    };
    let _planted = Planted::new(mutant);
    match caught(|| explore(&bounds, None, |_| {})) {
        Ok(explored) => explored.found.map(|found| found.broken.to_string()),
        Err(panic) => Some(panic),
    }
}

/// What runs of the simulation say to it: so many seeds of each profile whose consumers use the script.
#[must_use]
pub fn by_seeds(mutant: &Mutant, seeds: u64) -> Option<String> {
    let _planted = Planted::new(mutant);
    let profiles = profiles(mutant);
    (0..seeds).flat_map(|seed| profiles.iter().map(move |profile| (seed, *profile))).find_map(|(seed, profile)| {
        let outcome = match caught(|| world::run(&Plan::draw(seed, profile), Net::Events)) {
            Ok(outcome) => outcome,
            Err(panic) => return Some(format!("seed {seed} of {profile}: {panic}")),
        };
        let how = outcome.violations.first().map(|violation| format!("{}: {}", violation.promise, violation.how));
        let how = how.or_else(|| outcome.panics.first().cloned())?;
        Some(format!("seed {seed} of {profile}: {how}"))
    })
}

/// The profiles whose consumers run the mutant's scripts.
fn profiles(mutant: &Mutant) -> Vec<Profile> {
    let scripts = mutant.scripts();
    let in_folder = |name: &str| scripts.iter().any(|script| script.split_once('/').is_some_and(|(at, _)| at == name));
    let owns = scripts.iter().any(|script| !script.contains('/'));
    let profiles =
        [(owns, Profile::Swarm), (in_folder("messages"), Profile::Messages), (in_folder("entries"), Profile::Entries)];
    profiles.into_iter().filter(|(is_used, _)| *is_used).map(|(_, profile)| profile).collect()
}

/// A panic is an answer, too.
fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(run)).map_err(|why| {
        let text = why.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| why.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
    })
}

/// Whether lives of a small cluster run this mutant's scripts at all: those of ownership.
#[must_use]
pub fn is_explored(mutant: &Mutant) -> bool {
    mutant.scripts().iter().any(|script| !script.contains('/'))
}
