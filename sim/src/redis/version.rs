//! Which version of Redis is played: 7.0, or as much of 6.2 as scripts of ours can tell from it, and as was seen on a real
//! 6.2.14.
//!
//! * Scripts: no `REDIS_VERSION`, no `REDIS_VERSION_NUM`, no `acl_check_cmd`; other words for what fails in them.
//! * XCLAIM and XAUTOCLAIM take entries whose payload is gone, and keep them pending.
//! * XINFO GROUPS and XINFO STREAM do not count what was added and read.

use super::Redis;

/// A version of Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// 6.2, the oldest that Streamkeeper works with.
    Redis6,
    /// 7.0.
    #[default]
    Redis7,
}

impl Version {
    /// The version of this name, `6.2` or `7.0`.
    #[must_use]
    pub fn named(name: &str) -> Option<Version> {
        match name {
            "6.2" => Some(Version::Redis6),
            "7.0" => Some(Version::Redis7),
            _ => None,
        }
    }

    /// What INFO and HELLO say.
    pub(crate) fn number(self) -> &'static str {
        match self {
            Version::Redis6 => "6.2.14",
            Version::Redis7 => "7.0.15",
        }
    }

    /// Whether it is older than 7.
    pub(crate) fn is_before_7(self) -> bool {
        self == Version::Redis6
    }
}

impl Redis {
    /// It is of this version, from now on.
    pub(crate) fn play(&mut self, version: Version) {
        self.cx.version = version;
        self.history.play(version);
    }
}
