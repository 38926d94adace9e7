//! Announcing in partitions: each stream goes through its homes, oldest first, until one of them says that it lives there.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::join_all;
use streamkeeper_core::{
    id::{EntryId, Token},
    partitions::Counts,
    trouble::Trouble,
};

use super::places::{Place, Places};
use crate::{
    calls::{Heard, OnItsWay, ToAnnounce},
    errors::AskError,
};

/// How far an announcement has come.
struct Way<'a> {
    item: &'a ToAnnounce,
    /// How many homes have sent it on.
    left: usize,
    /// The highest token that they have given.
    floor: Option<Token>,
    end: Option<Result<EntryId, AskError>>,
}

impl Places {
    /// Announces streams, those of one partition at a time pipelined, in order. Each has its own result.
    pub(crate) async fn announce(&self, items: Vec<ToAnnounce>) -> Vec<Result<EntryId, AskError>> {
        if !self.are_many() {
            let first = self.first();
            return first
                .ask_each(items, |calls, mut redis, items| async move { calls.announce(&mut redis, &items).await })
                .await;
        }
        let mut counts = match self.counts().await {
            Ok(counts) => counts,
            Err(error) => return items.iter().map(|_| Err(error.clone())).collect(),
        };
        let mut ways: Vec<Way<'_>> = items.iter().map(|item| Way { item, left: 0, floor: None, end: None }).collect();
        loop {
            let mut by_home: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
            for (index, way) in ways.iter_mut().enumerate().filter(|(_, way)| way.end.is_none()) {
                match counts.homes(self.service(), &way.item.stream).get(way.left) {
                    Some(home) => by_home.entry(*home).or_default().push(index),
                    // Who sends a stream on knows of a next home.
                    None => way.end = Some(Err(AskError::Refused(Trouble::other("no partition takes this stream")))),
                }
            }
            if by_home.is_empty() {
                return ways.into_iter().map(|way| way.end.expect("all have ended")).collect();
            }
            let asked = by_home.into_iter().map(|(home, indices)| {
                let on_their_way: Vec<_> =
                    indices.iter().map(|&i| OnItsWay { item: ways[i].item, floor: ways[i].floor }).collect();
                let counts = counts.clone();
                async move { (indices, self.ask(home, &counts, on_their_way).await) }
            });
            for (indices, heard) in join_all(asked).await {
                for (index, heard) in indices.into_iter().zip(heard) {
                    let way = &mut ways[index];
                    match heard {
                        Ok(Heard::Announced(entry)) => way.end = Some(Ok(entry)),
                        Ok(Heard::Elsewhere { counts: told, token }) => {
                            way.left += 1;
                            way.floor = way.floor.max(token);
                            match self.told(&told) {
                                Ok(known) => counts = known,
                                Err(error) => way.end = Some(Err(error)),
                            }
                        }
                        Err(error) => way.end = Some(Err(error)),
                    }
                }
            }
        }
    }

    /// A partition has told for which numbers it has told its streams apart. What is known with that.
    fn told(&self, counts: &str) -> Result<Counts, AskError> {
        self.learn(&counts.parse()?)
    }

    async fn ask(&self, home: u32, counts: &Counts, items: Vec<OnItsWay<'_>>) -> Vec<Result<Heard, AskError>> {
        let all = |error: AskError| items.iter().map(|_| Err(error.clone())).collect();
        let place: Arc<Place> = match self.place(home) {
            Ok(place) => place,
            Err(error) => return all(error),
        };
        let (part, counts) = (&place.part_of(self.service()), &*counts.to_string());
        let asked = place.ask_each(items, |calls, mut redis, items| async move {
            calls.announce_here(&mut redis, part, counts, &items).await
        });
        asked.await
    }
}
