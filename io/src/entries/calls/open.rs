//! Where owned streams stand.

use redis::{Value, aio::MultiplexedConnection};
use streamkeeper_core::{
    entries::call::{OpenItem, Opened, Record},
    id::EntryId,
    trouble::Trouble,
};

use super::{
    BATCH, Calls,
    read::{Found, found},
    troubles::broken,
    value::{list, odd, text},
};
use crate::wire::troubles::trouble;

impl Calls {
    pub(super) async fn open(
        &self,
        connection: &mut MultiplexedConnection,
        items: &[OpenItem],
    ) -> Result<Vec<Opened>, Trouble> {
        let (names, mut all) = (&*self.0, Vec::with_capacity(items.len()));
        for items in items.chunks(BATCH) {
            let mut pipe = redis::Pipeline::with_capacity(1 + items.len());
            let records = pipe.cmd("HMGET").arg(&names.checkpoints);
            for item in items {
                records.arg(item.stream.as_str());
            }
            for item in items.iter().filter(|item| item.last) {
                pipe.cmd("XINFO").arg("STREAM").arg(item.stream.as_str());
            }
            let mut answers = self.send_all(connection, &pipe).await?.into_iter();
            let records = answers.next().unwrap_or(Value::Nil);
            let mut records = match records {
                Value::ServerError(error) => {
                    let wrong = broken(trouble(&error.into()), &names.keys)?;
                    items.iter().map(|_| Err(wrong.clone())).collect()
                }
                records => read_all(records, items.len())?,
            }
            .into_iter();
            for item in items {
                // The last id is looked at even if the record is broken: its answer is not the next one's.
                let last = match item.last {
                    true => self.last(answers.next().unwrap_or(Value::Nil))?.map(Some),
                    false => Ok(None),
                };
                let record = records.next().unwrap_or(Ok(None));
                all.push(match (record, last) {
                    (Ok(record), Ok(last)) => Opened::Known { record, last },
                    (Err(wrong), _) | (_, Err(wrong)) => Opened::Broken(wrong),
                });
            }
        }
        Ok(all)
    }

    /// The last id of a stream, or what is wrong with it.
    fn last(&self, about: Value) -> Result<Result<EntryId, Box<str>>, Trouble> {
        Ok(match found("open", about, &self.0.keys)? {
            Found::There(about) => Ok(about.last),
            Found::Missing => Ok(EntryId::default()),
            Found::Broken(wrong) => Err(wrong),
        })
    }
}

/// The record of a stream, `None` if there is none, or what is wrong with it.
type Stored = Result<Option<Record>, Box<str>>;

/// The record of each stream.
fn read_all(records: Value, items: usize) -> Result<Vec<Stored>, Trouble> {
    let records = list(records).ok_or_else(|| Trouble::other("open: Redis answered no list"))?;
    if records.len() != items {
        return Err(Trouble::other(format_args!("open: {} records of {items} streams", records.len())));
    }
    records.iter().map(read).collect()
}

fn read(value: &Value) -> Result<Stored, Trouble> {
    if *value == Value::Nil {
        return Ok(Ok(None));
    }
    let text = text(value).ok_or_else(|| odd("open", value))?;
    Ok(text.parse::<Record>().map(Some).map_err(|error| error.to_string().into()))
}
