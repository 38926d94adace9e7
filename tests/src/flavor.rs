//! Which server a test runs against: every situation is tried on Redis 7.0 and on Valkey 9, which differ in how
//! blocked readers, expiry and errors behave.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// `redis-server` from the environment variable `REDIS_SERVER`, or from the PATH.
    Redis,
    /// `valkey-server` from the environment variable `VALKEY_SERVER`, or where `tests/run` puts it.
    Valkey,
}

impl Flavor {
    /// The program to run.
    ///
    /// # Panics
    /// If it is not there. A missing server never skips a test.
    #[must_use]
    pub fn program(self) -> PathBuf {
        match self {
            Flavor::Redis => std::env::var_os("REDIS_SERVER")
                .map(PathBuf::from)
                .or_else(|| on_path("redis-server"))
                .unwrap_or_else(|| panic!("there is no redis-server on the PATH: run tests/run, which installs one")),
            Flavor::Valkey => {
                let place = std::env::var_os("VALKEY_SERVER").map_or_else(cached_valkey, PathBuf::from);
                assert!(
                    place.is_file(),
                    "there is no valkey-server at {}: run tests/run, which fetches one, or set VALKEY_SERVER",
                    place.display()
                );
                place
            }
        }
    }

    /// Whether it is a Redis before 7, which has no setting that allows DEBUG, and does not count what was added.
    ///
    /// # Panics
    /// If the program does not say its version.
    #[must_use]
    pub fn is_before_7(self) -> bool {
        let answer = Command::new(self.program()).arg("--version").output().expect("the server's version");
        String::from_utf8_lossy(&answer.stdout).contains(" v=6.")
    }
}

/// Turns situations into tests: `on_redis::<situation>` and `on_valkey::<situation>`.
#[macro_export]
macro_rules! on_both {
    ($($situation:ident),+ $(,)?) => {
        mod on_redis {
            $(#[test]
            fn $situation() {
                super::$situation($crate::flavor::Flavor::Redis);
            })+
        }
        mod on_valkey {
            $(#[test]
            fn $situation() {
                super::$situation($crate::flavor::Flavor::Valkey);
            })+
        }
    };
}

fn cached_valkey() -> PathBuf {
    repository().join(".cache/valkey/valkey-server")
}

/// The root of the repository that these tests belong to.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_path_buf()
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
