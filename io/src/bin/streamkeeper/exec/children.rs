//! All children of one `consume`: a slot for each message that is handled at once, and a child for each slot in use.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tracing::warn;

use super::{
    child::{Child, Gone, Groups},
    reply::Reply,
};

/// The pause before a child is started after two have died in a row without an answer; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The children.
pub(crate) struct Children {
    command: String,
    /// How long a child may take to answer.
    timeout: Option<Duration>,
    groups: Groups,
    room: Semaphore,
    /// Slots that nobody uses: those with a child are last, and taken first.
    idle: Mutex<Vec<Slot>>,
    /// Children on their way to their end.
    ending: Mutex<JoinSet<()>>,
}

/// Where a child is, or will be.
#[derive(Default)]
struct Slot {
    child: Option<Child>,
    /// How many have died in a row without having answered.
    deaths: u32,
    /// When the next one may be started.
    not_before: Option<Instant>,
}

/// A slot in use. Dropping it before the child has answered ends the child: its answer would be taken for another's.
struct Lease<'a> {
    children: &'a Children,
    slot: Slot,
    answered: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The command cannot be run: that is not the message's doing.
    CannotRun(String),
    /// The child ended or hung while it had the message.
    Failed(String),
}

impl Children {
    /// Room for so many at once. None is started before there is a message for it.
    pub(crate) fn new(command: &str, concurrency: usize, timeout: Option<Duration>) -> Arc<Children> {
        Arc::new(Children {
            command: command.to_owned(),
            timeout,
            groups: Groups::default(),
            room: Semaphore::new(concurrency.min(Semaphore::MAX_PERMITS)),
            idle: Mutex::default(),
            ending: Mutex::default(),
        })
    }

    /// Hands a message to a child and waits for its answer. Cancel safe: the child is ended then.
    pub(crate) async fn ask(&self, line: &[u8]) -> Result<Reply, Trouble> {
        // Nobody closes the semaphore. A slot is made when all others are in use.
        let _room = self.room.acquire().await.map_err(|e| Trouble::CannotRun(e.to_string()))?;
        let mut lease = Lease { children: self, slot: self.idle().pop().unwrap_or_default(), answered: false };
        let (mut child, mut fresh) = lease.child().await?;
        loop {
            let answer = self.in_time(child.ask(line)).await;
            match answer {
                Some(Ok(reply)) => {
                    lease.answered = true;
                    lease.slot.deaths = 0;
                    return Ok(reply);
                }
                // It ended in good order after its last answer, before it saw this message.
                Some(Err(Gone::Ended(status))) if status.success() && !fresh => {
                    lease.slot.child = None;
                    (child, fresh) = lease.child().await?;
                }
                Some(Err(gone)) => return Err(lease.died(&gone)),
                None => {
                    let span = self.timeout.unwrap_or_default();
                    return Err(Trouble::Failed(format!("the command has not answered within {span:?}")));
                }
            }
        }
    }

    /// Ends all children, and waits for it.
    pub(crate) async fn end(&self) {
        for child in self.idle().drain(..).filter_map(|slot| slot.child) {
            self.ending().spawn(child.end());
        }
        let ending = std::mem::take(&mut *self.ending());
        ending.join_all().await;
    }

    /// Kills all children.
    pub(crate) fn kill(&self) {
        self.groups.kill();
    }

    /// None if it takes too long.
    async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        match self.timeout {
            Some(span) => timeout(span, answer).await.ok(),
            None => Some(answer.await),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ending(&self) -> MutexGuard<'_, JoinSet<()>> {
        let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        while ending.try_join_next().is_some() {}
        ending
    }
}

impl Lease<'_> {
    /// The slot's child, started if it has none that is ready; and whether it is a fresh one.
    async fn child(&mut self) -> Result<(&mut Child, bool), Trouble> {
        let ready = self.slot.child.as_mut().is_some_and(Child::is_ready);
        if !ready {
            // One that has ended, or that says something that nobody asked for.
            if let Some(old) = self.slot.child.take() {
                self.children.ending().spawn(old.end());
            }
            if let Some(not_before) = self.slot.not_before.take() {
                sleep_until(not_before).await;
            }
            let (command, groups) = (&self.children.command, &self.children.groups);
            let started = Child::start(command, groups);
            let started = started.map_err(|e| Trouble::CannotRun(format!("the shell `sh` cannot be started: {e}")))?;
            self.slot.child = Some(started);
        }
        match &mut self.slot.child {
            Some(child) => {
                let fresh = !child.answered;
                Ok((child, fresh))
            }
            None => Err(Trouble::CannotRun("there is no child".to_owned())),
        }
    }

    fn died(&mut self, gone: &Gone) -> Trouble {
        let answered = self.slot.child.take().is_some_and(|child| child.answered);
        let what = gone.describe();
        if gone.cannot_run() && !answered {
            return Trouble::CannotRun(format!("`{}` cannot be run: {what}", self.children.command));
        }
        self.slot.deaths = if answered { 1 } else { self.slot.deaths.saturating_add(1) };
        let pause = pause(self.slot.deaths);
        self.slot.not_before = Some(Instant::now() + pause);
        warn!(deaths = self.slot.deaths, ?pause, "{what}");
        Trouble::Failed(what)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut slot = std::mem::take(&mut self.slot);
        if !self.answered
            && let Some(child) = slot.child.take()
        {
            self.children.ending().spawn(child.end_at_once());
        }
        let mut idle = self.children.idle();
        match slot.child {
            Some(_) => idle.push(slot),
            None => idle.insert(0, slot),
        }
    }
}

/// The pause after so many deaths in a row.
fn pause(deaths: u32) -> Duration {
    match deaths {
        0 | 1 => Duration::ZERO,
        deaths => LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow((deaths - 2).min(16))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each message with its own process's id.
    const WHO: &str = "while read -r x; do case $x in die) exit 1;; hang) sleep 100;; *) echo $$;; esac; done";

    async fn say(children: &Children, line: &str) -> String {
        match children.ask(format!("{line}\n").as_bytes()).await {
            Ok(reply) => reply.error().unwrap_or("ok").to_owned(),
            Err(Trouble::Failed(why) | Trouble::CannotRun(why)) => why,
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses: Vec<u128> = (0..12).map(|deaths| pause(deaths).as_millis()).collect();
        assert_eq!(pauses, [0, 0, 100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000, 10_000]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[tokio::test]
    async fn one_child_serves_for_long_and_a_dead_one_has_a_successor() {
        let children = Children::new(WHO, 3, None);
        let first = say(&children, "x").await;
        assert_eq!(say(&children, "y").await, first);
        let both = tokio::join!(say(&children, "x"), say(&children, "y"));
        assert_ne!(both.0, both.1, "two messages at once are with two children");
        let dead = say(&children, "die").await;
        assert_eq!(dead, "the command ended without an answer: exit status: 1");
        assert!(!say(&children, "x").await.is_empty());
        children.end().await;
        assert!(children.idle().is_empty());
    }

    #[tokio::test]
    async fn a_child_that_hangs_is_ended_and_its_slot_is_free_again() {
        let children = Children::new(WHO, 1, Some(Duration::from_millis(300)));
        let first = say(&children, "x").await;
        assert_eq!(say(&children, "hang").await, "the command has not answered within 300ms");
        let second = say(&children, "x").await;
        assert_ne!(first, second);
        // Whoever does not wait for the answer leaves no answer behind for the next one.
        let cancelled = timeout(Duration::from_millis(50), say(&children, "hang")).await;
        assert!(cancelled.is_err());
        assert_ne!(say(&children, "x").await, second);
        children.end().await;
    }

    #[tokio::test]
    async fn a_child_may_leave_after_its_answer() {
        let children = Children::new("read -r x; echo ok", 1, None);
        for _ in 0..20 {
            assert_eq!(say(&children, "x").await, "ok");
        }
        // One that leaves instead of an answer is at fault, however politely it does so.
        let rude = Children::new("read -r x; exit 0", 1, None);
        assert_eq!(say(&rude, "x").await, "the command ended without an answer: exit status: 0");
    }

    #[tokio::test]
    async fn a_command_that_cannot_be_run_is_not_the_messages_doing() {
        let children = Children::new("/no/such/command", 1, None);
        let answer = children.ask(b"x\n").await;
        assert!(matches!(&answer, Err(Trouble::CannotRun(why)) if why.contains("/no/such/command")), "{answer:?}");
    }
}
