//! The fuzz targets as plain functions, so that a test on the stable toolchain can replay their corpora.

pub mod entries;
pub mod machine;
pub mod messages;
pub mod settings;
pub mod simulated;

use arbitrary::{Arbitrary, Unstructured};
use streamkeeper_core::{
    announcement::{Announcement, FIELD},
    id::{EntryId, LEASE_SEPARATOR, StreamName},
    keys::Keys,
};

/// The announcement's parser: no panic whatever stands in the LBS, and what it accepts it writes and reads again.
pub fn announcement(data: &[u8]) {
    let parse = |text: &[u8]| Announcement::parse([(b"other".as_slice(), text), (FIELD.as_bytes(), text)]);
    let Ok(read) = parse(data) else { return };
    assert!(!read.stream.as_str().is_empty());
    assert!(!read.stream.as_str().contains(LEASE_SEPARATOR));
    let written = Announcement::to_json(&read.stream, read.info.as_deref());
    assert_eq!(parse(written.as_bytes()), Ok(read), "{written}");
}

#[derive(Arbitrary, Debug)]
struct Lease<'a> {
    tagged: bool,
    service: &'a str,
    stream: &'a str,
    ms: u64,
    seq: u64,
    /// A key that nobody may have made.
    key: &'a str,
}

/// The lease key's parser: no panic whatever a notification names, and what is written is read again.
pub fn lease_key(data: &[u8]) {
    let Ok(input) = Lease::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let keys = if input.tagged { Keys::hash_tagged(input.service) } else { Keys::plain(input.service) };
    let Ok(keys) = keys else { return };
    if let Ok((stream, entry)) = keys.parse_lease(input.key) {
        // It names a lease, and that lease's key names it.
        assert_eq!(keys.parse_lease(&keys.lease(&stream, entry)).map(|(_, entry)| entry), Ok(entry));
    }
    let Ok(stream) = StreamName::new(input.stream) else { return };
    let entry = EntryId { ms: input.ms, seq: input.seq };
    let key = keys.lease(&stream, entry);
    let (read, id) = keys.parse_lease(&key).expect("it was written as a lease's key");
    assert_eq!(id, entry);
    // A stream whose own name begins with the tag shares its lease keys with one whose name does not.
    assert_eq!(keys.lease(&read, id), key);
    if !input.tagged {
        assert_eq!(read, stream);
    }
}
