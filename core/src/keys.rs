//! Every name that Streamkeeper uses in Redis, made in one place.

use crate::id::{EntryId, IdError, LEASE_SEPARATOR, StreamName};

/// The keys and channels of one service. The layout is the Go library's where it has one: `<service>-input`,
/// `<service>-group`, `<stream><MUTEX_KEY_SEP><entry id>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Keys {
    service: Box<str>,
    tagged: bool,
}

impl Keys {
    /// The plain layout, which Go peers share. Its keys lie in different slots of a Redis Cluster.
    ///
    /// # Errors
    /// An empty service name, or one that contains the lease key's separator.
    pub fn plain(service: &str) -> Result<Keys, IdError> {
        Keys::new(service, false)
    }

    /// The layout for Redis Cluster: every key begins with `{<service>}`, leases too, so that all share one slot.
    /// A name that contains the tag already is left as it is.
    ///
    /// # Errors
    /// An empty service name, or one that contains the lease key's separator.
    pub fn hash_tagged(service: &str) -> Result<Keys, IdError> {
        Keys::new(service, true)
    }

    fn new(service: &str, tagged: bool) -> Result<Keys, IdError> {
        if service.is_empty() {
            return Err(IdError::EmptyService);
        }
        if service.contains(LEASE_SEPARATOR) {
            return Err(IdError::ServiceSeparator(service.into()));
        }
        let keys = Keys { service: service.into(), tagged };
        if tagged && hash_tag(&keys.tag()).is_none() {
            return Err(IdError::ServiceBrace(service.into()));
        }
        Ok(keys)
    }

    /// The service's name as it was given.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Whether it is the layout for Redis Cluster.
    pub fn is_hash_tagged(&self) -> bool {
        self.tagged
    }

    /// The LBS: the stream of announcements.
    pub fn lbs(&self) -> String {
        self.own("input")
    }

    /// The consumer group on the LBS.
    pub fn group(&self) -> String {
        format!("{}-group", self.service)
    }

    /// Hash: data stream → the record of its latest ownership.
    pub fn fences(&self) -> String {
        self.own("fences")
    }

    /// String: the highest token of the service.
    pub fn token(&self) -> String {
        self.own("token")
    }

    /// Hash: data stream → committed position.
    pub fn checkpoints(&self) -> String {
        self.own("checkpoints")
    }

    /// Stream: announcements that were set aside.
    pub fn dead(&self) -> String {
        self.own("dead")
    }

    /// Stream: entries of data streams that could not be decoded.
    pub fn dead_entries(&self) -> String {
        self.own("dead-entries")
    }

    /// Hash: the server identity that the fleet has settled on.
    pub fn epoch(&self) -> String {
        self.own("epoch")
    }

    /// String with a ttl: who looks for orphans.
    pub fn reaper(&self) -> String {
        self.own("reaper")
    }

    /// String with a ttl: written before replicas are waited for.
    pub fn witness(&self) -> String {
        self.own("witness")
    }

    /// String, of a service's first partition: how many partitions there have ever been.
    pub fn partitions(&self) -> String {
        self.own("partitions")
    }

    /// Hash, of a partition: for which number of partitions its streams have been told apart.
    pub fn layout(&self) -> String {
        self.own("layout")
    }

    /// Hash, of a partition: streams that live here until they are finished, though their home is elsewhere by now.
    pub fn staying(&self) -> String {
        self.own("staying")
    }

    /// Channel: the doorbell that the reaper rings.
    pub fn orphans(&self) -> String {
        self.own("orphans")
    }

    /// String with a ttl: the entry that the announcement with this idempotency key became.
    pub fn once(&self, idempotency_key: &str) -> String {
        self.own(&format!("once:{idempotency_key}"))
    }

    /// The lease of one announcement of a data stream.
    pub fn lease(&self, stream: &StreamName, entry: EntryId) -> String {
        let (name, tag) = (stream.as_str(), self.tag());
        let key = if tag.is_empty() || hash_tag(name) == Some(&tag) {
            format!("{name}{LEASE_SEPARATOR}{entry}")
        } else {
            format!("{tag}{name}{LEASE_SEPARATOR}{entry}")
        };
        debug_assert_eq!(key.matches(LEASE_SEPARATOR).count(), 1, "{key} can be read back");
        debug_assert!(self.is_in_the_slot(&key), "{key} lies in another slot than {}", self.lbs());
        key
    }

    /// The data stream and announcement of a lease key, as its *text* says; whose it is, only the entry's own payload
    /// tells.
    ///
    /// # Errors
    /// A key that is not `<stream><MUTEX_KEY_SEP><entry id>`.
    pub fn parse_lease(&self, key: &str) -> Result<(StreamName, EntryId), IdError> {
        let wrong = || IdError::Lease(key.into());
        let (name, entry) = key.split_once(LEASE_SEPARATOR).ok_or_else(wrong)?;
        let entry = entry.parse().map_err(|_| wrong())?;
        let tag = self.tag();
        let bare = name.strip_prefix(tag.as_str()).filter(|bare| !bare.is_empty()).unwrap_or(name);
        let stream = StreamName::new(bare).map_err(|_| wrong())?;
        debug_assert!(name.ends_with(bare), "what is left of {name} without the tag is {bare}");
        if self.lease(&stream, entry) == key {
            return Ok((stream, entry));
        }
        // The tag was part of the stream's own name.
        StreamName::new(name).map(|stream| (stream, entry)).map_err(|_| wrong())
    }

    /// The pattern that the expiry notifications of all leases in database `db` match.
    pub fn expiry_pattern(db: i64) -> String {
        format!("{}*{LEASE_SEPARATOR}*", Keys::expiry_prefix(db))
    }

    /// What stands before the key in the name of a keyspace notification's channel.
    pub fn expiry_prefix(db: i64) -> String {
        format!("__keyspace@{db}__:")
    }

    fn own(&self, what: &str) -> String {
        let key = match self.service_tag() {
            None if self.tagged => format!("{{{}}}-{what}", self.service),
            _ => format!("{}-{what}", self.service),
        };
        debug_assert!(self.is_in_the_slot(&key), "{key} lies in another slot than the rest of {}", self.service);
        key
    }

    /// Whether a key has the hash tag that all keys of the service share, where they share one.
    fn is_in_the_slot(&self, key: &str) -> bool {
        !self.tagged || hash_tag(key) == hash_tag(&self.tag())
    }

    /// The hash tag in front of lease keys; empty in the plain layout.
    fn tag(&self) -> String {
        match self.service_tag() {
            _ if !self.tagged => String::new(),
            Some(tag) => tag.to_owned(),
            None => format!("{{{}}}", self.service),
        }
    }

    /// The hash tag that the service's name already contains.
    fn service_tag(&self) -> Option<&str> {
        hash_tag(&self.service)
    }
}

/// The part of a key, braces included, that alone decides on its slot in a Redis Cluster: from the first `{` to the first
/// `}` after it, if there is something between them.
pub fn hash_tag(key: &str) -> Option<&str> {
    let open = key.find('{')?;
    let close = open + key[open..].find('}')?;
    assert!(close > open, "a brace closes behind the one that it closes");
    (close > open + 1).then(|| &key[open..=close])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> StreamName {
        StreamName::new(text).unwrap()
    }

    #[test]
    fn plain_names_are_the_go_librarys() {
        let keys = Keys::plain("svc").unwrap();
        assert_eq!(keys.lbs(), "svc-input");
        assert_eq!(keys.group(), "svc-group");
        let entry = EntryId { ms: 7, seq: 1 };
        assert_eq!(keys.lease(&name("s"), entry), "s<MUTEX_KEY_SEP>7-1");
        assert_eq!(Keys::expiry_pattern(3), "__keyspace@3__:*<MUTEX_KEY_SEP>*");
    }

    /// A key that changes its name strands what lies under the old one.
    #[test]
    fn every_key_has_the_name_that_protocol_md_gives_it() {
        for (keys, service) in [(Keys::plain("svc").unwrap(), "svc"), (Keys::hash_tagged("svc").unwrap(), "{svc}")] {
            assert_eq!((keys.service(), keys.is_hash_tagged()), ("svc", service == "{svc}"));
            let all = [
                (keys.lbs(), "input"),
                (keys.fences(), "fences"),
                (keys.token(), "token"),
                (keys.checkpoints(), "checkpoints"),
                (keys.dead(), "dead"),
                (keys.dead_entries(), "dead-entries"),
                (keys.epoch(), "epoch"),
                (keys.reaper(), "reaper"),
                (keys.witness(), "witness"),
                (keys.partitions(), "partitions"),
                (keys.layout(), "layout"),
                (keys.staying(), "staying"),
                (keys.orphans(), "orphans"),
                (keys.once("k"), "once:k"),
            ];
            for (key, what) in all {
                assert_eq!(key, format!("{service}-{what}"));
            }
        }
    }

    #[test]
    fn tagged_names_share_a_slot() {
        let keys = Keys::hash_tagged("svc").unwrap();
        let entry = EntryId { ms: 7, seq: 1 };
        assert_eq!(keys.lbs(), "{svc}-input");
        assert_eq!(keys.lease(&name("s"), entry), "{svc}s<MUTEX_KEY_SEP>7-1");
        assert_eq!(keys.lease(&name("s{svc}"), entry), "s{svc}<MUTEX_KEY_SEP>7-1");
        // These contain the tag, but Redis would go by another, or by the whole key.
        assert_eq!(keys.lease(&name("{u}{svc}"), entry), "{svc}{u}{svc}<MUTEX_KEY_SEP>7-1");
        assert_eq!(keys.lease(&name("{}{svc}"), entry), "{svc}{}{svc}<MUTEX_KEY_SEP>7-1");
        let own = Keys::hash_tagged("a{b}").unwrap();
        assert_eq!(own.lbs(), "a{b}-input");
        assert_eq!(own.lease(&name("s"), entry), "{b}s<MUTEX_KEY_SEP>7-1");
    }

    #[test]
    fn service_names_are_checked() {
        assert_eq!(Keys::plain(""), Err(IdError::EmptyService));
        for service in ["<MUTEX_KEY_SEP>", "{a<MUTEX_KEY_SEP>b}"] {
            assert!(matches!(Keys::hash_tagged(service), Err(IdError::ServiceSeparator(_))), "{service}");
        }
        // Between braces these would begin with `{}`: Redis would go by the whole key, and each lie in a slot of its own.
        for service in ["}", "}orders", "}a{b"] {
            assert!(matches!(Keys::hash_tagged(service), Err(IdError::ServiceBrace(_))), "{service}");
            assert!(Keys::plain(service).is_ok(), "{service}: without Redis Cluster there are no slots");
        }
        for service in ["a}b", "{}", "{", "{a", "a{}b"] {
            let keys = Keys::hash_tagged(service).unwrap();
            let tag = hash_tag(&keys.lbs()).map(str::to_owned);
            assert!(
                tag.is_some() && hash_tag(&keys.lease(&name("s"), EntryId::default())) == tag.as_deref(),
                "{service}"
            );
        }
    }

    #[test]
    fn lease_keys_parse_back() {
        let entry = EntryId { ms: 7, seq: 1 };
        for keys in [Keys::plain("svc").unwrap(), Keys::hash_tagged("svc").unwrap()] {
            for stream in ["s", "s{svc}", "{svc}s", "{svc}", "a-b", "ü"] {
                let key = keys.lease(&name(stream), entry);
                let (parsed, id) = keys.parse_lease(&key).unwrap();
                assert_eq!((keys.lease(&parsed, id), id), (key, entry));
            }
            // The tag in front is the layout's, not the stream's, unless the stream's name begins with it.
            assert_eq!(keys.parse_lease(&keys.lease(&name("s"), entry)), Ok((name("s"), entry)));
            assert_eq!(keys.parse_lease(&keys.lease(&name("s{svc}"), entry)), Ok((name("s{svc}"), entry)));
            for key in ["", "s", "s<MUTEX_KEY_SEP>", "<MUTEX_KEY_SEP>7-1", "s<MUTEX_KEY_SEP>7-1<MUTEX_KEY_SEP>8-1"] {
                assert!(keys.parse_lease(key).is_err(), "{key:?}");
            }
        }
    }
}
