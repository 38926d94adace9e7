//! An application that reads the entries of what it owns, and writes down whatever it is given and told.

use std::{future::Future, time::Duration};

use serde::Deserialize;
use streamkeeper::{
    Commits, EntriesError, EntryId, Lease,
    entries::{CommitError, Entries},
};

use super::scene::Scene;
use crate::{
    entries::{
        effects,
        facts::{Id, Said},
    },
    facts::{Owned, What, Who},
    plan::{self, Reading},
};

/// What an entry says.
#[derive(Debug, Deserialize)]
struct Body {
    /// Which entry of the run.
    #[serde(rename = "n")]
    _number: u64,
}

/// The reader of one ownership.
pub(crate) struct Reader<'a> {
    pub(crate) who: Who,
    pub(crate) owned: Owned,
    pub(crate) lease: &'a Lease,
    pub(crate) reading: &'a Reading,
    pub(crate) scene: &'a Scene,
}

impl Reader<'_> {
    /// Reads until the ownership has ended. `takes` says how long each batch is worked on.
    pub(crate) async fn read(&self, mut takes: impl FnMut() -> Duration) {
        let Ok(position) = self.lease.position().await else { return self.wait().await };
        let (who, owned) = (self.who, self.owned.clone());
        let position = position.map_or(Id::default(), id);
        self.note(Said::Opened { who, owned, position });
        let mut entries = self.open();
        // Read, and not committed.
        let mut open: Vec<EntryId> = Vec::new();
        while let Some(batch) = entries.next_batch().await {
            match batch {
                Ok(batch) => {
                    let ids = batch.iter().map(|entry| id(entry.id)).collect();
                    self.note(Said::Yielded { who: self.who, owned: self.owned.clone(), ids });
                    open.extend(batch.iter().map(|entry| entry.id));
                    tokio::time::sleep(takes()).await;
                    let first = open.first().copied().filter(|first| open.last() != Some(first));
                    self.commit(&mut open).await;
                    // A mistake of an application: it commits what lies behind what it has committed.
                    if let (Some(first), plan::Commits::Hand, true) = (first, self.reading.commits, open.is_empty()) {
                        drop(self.asked(first, || self.lease.commit(first)).await);
                    }
                }
                Err(error) => {
                    self.told(&error);
                    match error {
                        EntriesError::Undecodable { id, .. } => {
                            open.push(id);
                            self.commit(&mut open).await;
                        }
                        EntriesError::RolledBack { .. } => open.clear(),
                        EntriesError::Draining { .. } => {
                            self.commit(&mut open).await;
                            self.scene.note(What::Asked { who: self.who, owned: self.owned.clone(), end: "release" });
                            drop(self.lease.release());
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    fn open(&self) -> Entries<Body> {
        let commits = match self.reading.commits {
            plan::Commits::Batch => Commits::AfterBatch,
            plan::Commits::Every(ms) => Commits::Every(Duration::from_millis(ms)),
            plan::Commits::Hand | plan::Commits::Effects => Commits::Manual,
        };
        self.lease.read().batch(self.reading.batch).prefetch(self.reading.prefetch).commits(commits).open()
    }

    /// By hand, with the effects where they are wanted.
    async fn commit(&self, open: &mut Vec<EntryId>) {
        let Some(to) = open.last().copied() else { return };
        let committed = match self.reading.commits {
            plan::Commits::Batch | plan::Commits::Every(_) => return open.clear(),
            plan::Commits::Hand => self.asked(to, || self.lease.commit(to)).await,
            plan::Commits::Effects => {
                let key = effects(&self.owned.stream);
                let write = || {
                    self.lease.commit_with(to, |writes| {
                        for id in open.iter() {
                            writes.hincr_by(&key, id.to_string(), 1);
                        }
                    })
                };
                self.asked(to, write).await
            }
        };
        match committed {
            // Nothing has changed, and nothing comes again: the next commit is about these too.
            Err(CommitError::Rejected { .. } | CommitError::Broken { .. } | CommitError::Unavailable { .. }) => {}
            // The entries are committed, or come again, here or elsewhere.
            _ => open.clear(),
        }
    }

    async fn asked<F>(&self, to: EntryId, commit: impl FnOnce() -> F) -> Result<(), CommitError>
    where
        F: Future<Output = Result<(), CommitError>>,
    {
        let (who, commit_number) = (self.who, self.scene.next_run());
        self.note(Said::Asked { who, owned: self.owned.clone(), commit: commit_number, to: id(to) });
        let answer = commit().await;
        let how = answer.as_ref().map_or_else(CommitError::label, |()| "done");
        self.note(Said::Answered { who, owned: self.owned.clone(), commit: commit_number, how });
        answer
    }

    fn told(&self, error: &EntriesError) {
        let behind = match error {
            EntriesError::Gap { after, .. } | EntriesError::Rewound { after, .. } => Some(id(*after)),
            EntriesError::RolledBack { to, .. } => Some(id(*to)),
            EntriesError::Undecodable { id: entry, .. } => Some(id(*entry)),
            _ => None,
        };
        self.note(Said::Told { who: self.who, owned: self.owned.clone(), what: error.label(), id: behind });
    }

    /// Until the ownership has ended.
    async fn wait(&self) {
        self.lease.lost().await;
    }

    fn note(&self, said: Said) {
        self.scene.note(What::Entry(said));
    }
}

fn id(entry: EntryId) -> Id {
    Id(entry.ms, entry.seq)
}
