//! The scenarios that come with the tool.

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// Its file's text.
    pub text: &'static str,
}

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        /// All, in the order in which they are best read.
        const ALL: &[BuiltIn] =
            &[$(BuiltIn { name: $name, text: include_str!(concat!("../../scenarios/", $name, ".toml")) }),*];
    };
}

built_in! {
    "pod-crash",
    "rolling-deploy",
    "gc-pause",
    "zone-partition",
    "redis-failover",
    "notification-loss",
    "clock-step",
    "crash-loop",
    "herd",
    "scale-out",
    "go-peers",
    "config-forbidden",
    "failing-stream",
}

/// The scenarios that come with the tool.
pub fn built_in() -> &'static [BuiltIn] {
    ALL
}
