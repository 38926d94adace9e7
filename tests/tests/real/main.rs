//! Streamkeeper against real servers: every situation on Redis 7.0 and on Valkey 9, judged from outside.
//!
//! One file a family of situations. Each situation is a function of the server's [`Flavor`](streamkeeper_tests::flavor::Flavor),
//! turned into one test for each server by [`on_both!`].

/// Turns situations into tests: `on_redis::<situation>` and `on_valkey::<situation>`.
macro_rules! on_both {
    ($($situation:ident),+ $(,)?) => {
        mod on_redis {
            $(#[test]
            fn $situation() {
                super::$situation(streamkeeper_tests::flavor::Flavor::Redis);
            })+
        }
        mod on_valkey {
            $(#[test]
            fn $situation() {
                super::$situation(streamkeeper_tests::flavor::Flavor::Valkey);
            })+
        }
    };
}

mod announcements;
mod commands;
mod connections;
mod crash;
mod crash_loop;
mod damage;
mod distribution;
mod failing_handler;
mod go_peers;
mod harness;
mod names;
mod notifications;
mod pause;
mod privileges;
mod restart;
mod services;
mod shutdown;
mod slow_application;
mod trouble;
