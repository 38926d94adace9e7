//! What has just happened, in words: from the facts.

use std::{collections::BTreeMap, time::Duration};

use streamkeeper::Time;

use crate::{
    facts::{Fact, What, Who},
    metrics::short,
    timeline::{Cause, Gap, Timeline},
};

/// Takeovers that follow each other so closely are one sentence.
const TOGETHER: Duration = Duration::from_millis(400);

/// One sentence, and when it became true.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Story {
    pub(super) at: Time,
    pub(super) text: String,
}

/// All that is worth a sentence, in order of time.
pub(super) fn stories(facts: &[Fact], timeline: &Timeline, names: &[&str]) -> Vec<Story> {
    let mut stories: Vec<Story> = facts.iter().filter_map(|fact| story(fact, timeline, names)).collect();
    stories.extend(takeovers(timeline, names));
    stories.sort_by_key(|story| story.at);
    stories
}

fn story(fact: &Fact, timeline: &Timeline, names: &[&str]) -> Option<Story> {
    let name = |who: &Who| names.get(who.consumer).copied().unwrap_or("?");
    let text = match &fact.what {
        What::Crashed { who } => format!("{} is killed (kill -9), with {}", name(who), owned(timeline, *who, fact.at)),
        What::Started { who, .. } if who.life > 0 => format!("another process takes the place of {}", name(who)),
        What::Paused { who, ms } => {
            let span = short(Duration::from_millis(*ms));
            format!("{} is frozen (SIGSTOP) for {span}, with {}", name(who), owned(timeline, *who, fact.at))
        }
        What::Resumed { who } => format!("{} goes on (SIGCONT)", name(who)),
        What::Struck { consumer: Some(consumer), action, ms: Some(ms), .. } => {
            let who = timeline.lives.iter().rfind(|life| life.who.consumer == *consumer && life.from <= fact.at)?.who;
            format!("{action} for {}, with {}", short(Duration::from_millis(*ms)), owned(timeline, who, fact.at))
        }
        What::Over { consumer: Some(consumer), .. } => format!("{} reaches Redis again", names.get(*consumer)?),
        What::Draining { who } => {
            format!("{} is told to stop (SIGTERM), with {}", name(who), owned(timeline, *who, fact.at))
        }
        What::Stopped { who } => format!("{} has given everything back, and stopped", name(who)),
        _ => return None,
    };
    Some(Story { at: fact.at, text })
}

/// How many streams a process owns just before a time.
fn owned(timeline: &Timeline, who: Who, at: Time) -> String {
    let owned = timeline.ownerships.iter().filter(|owned| owned.who == who && owned.from < at && owned.until >= at);
    streams(owned.count())
}

fn streams(count: usize) -> String {
    if count == 1 { "1 stream".to_owned() } else { format!("{count} streams") }
}

fn takeovers(timeline: &Timeline, names: &[&str]) -> Vec<Story> {
    let mut groups: BTreeMap<(usize, usize, Cause), Vec<Vec<&Gap>>> = BTreeMap::new();
    let mut gaps: Vec<_> = timeline.gaps.iter().filter_map(|gap| gap.after.map(|after| (gap, after))).collect();
    gaps.sort_by_key(|(gap, _)| gap.until);
    for (gap, after) in gaps {
        let (old, new) = (timeline.ownerships[gap.before].who.consumer, timeline.ownerships[after].who.consumer);
        let groups = groups.entry((old, new, gap.cause)).or_default();
        match groups
            .last_mut()
            .filter(|group| group.first().is_some_and(|first| gap.until.since(first.until) <= TOGETHER))
        {
            Some(group) => group.push(gap),
            None => groups.push(vec![gap]),
        }
    }
    let mut stories = Vec::new();
    for ((old, new, cause), groups) in groups {
        for group in groups {
            let longest = group.iter().map(|gap| gap.span()).max().unwrap_or_default();
            let at = group.last().map(|gap| gap.until).unwrap_or_default();
            let [old, new] = [old, new].map(|consumer| names.get(consumer).copied().unwrap_or("?"));
            let count = streams(group.len());
            let text = match cause {
                Cause::Release => format!("{new} takes {count} from {old} within {}", short(longest)),
                _ => format!("{new} takes over {count} of {old}, after {}", short(longest)),
            };
            stories.push(Story { at, text });
        }
    }
    stories
}
