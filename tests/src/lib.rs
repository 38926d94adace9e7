//! The harness of the tests against real servers.
//!
//! The tests judge Streamkeeper from outside: servers and consumers are processes, consumers are the command line
//! program `streamkeeper work --json`, and what they say on standard output is all that counts. A test reads as
//! one situation:
//!
//! ```no_run
//! use streamkeeper_tests::{fleet::Fleet, flavor::Flavor, server::Server};
//!
//! let server = Server::start(Flavor::Redis);
//! let fleet = Fleet::on(&server);
//! let (a, b) = (fleet.start("a"), fleet.start("b"));
//! let streams = fleet.announce("s", 10);
//! fleet.wait_owned(&streams);
//! a.kill();
//! fleet.wait_owned_by(&streams, &[&b]);
//! fleet.conclude();
//! ```
//!
//! The promises (`exclusive`, `fenced`, `in-order`, ...) are judged in one place, [`judge`], for every test alike.

pub mod acl;
pub mod certificates;
pub mod cluster;
pub mod command;
pub mod consumer;
pub mod crew;
pub mod event;
pub mod flavor;
pub mod fleet;
pub mod go_peer;
pub mod home;
pub mod judge;
pub mod keys;
pub mod ledger;
pub mod process;
pub mod program;
pub mod proxy;
pub mod sentinel;
pub mod server;
pub mod wait;
