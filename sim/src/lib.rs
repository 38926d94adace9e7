//! Streamkeeper under simulated failures: the production shell and the real redis client, unchanged, on a simulated
//! network, against a simulated Redis, judged by what Streamkeeper promises.

mod calls;
pub mod conformance;
#[cfg(unix)]
pub mod demo;
pub mod entries;
pub mod explore;
pub mod facts;
pub mod judge;
pub mod messages;
pub mod metrics;
pub mod mutate;
pub mod plan;
pub mod redis;
pub mod report;
pub mod scale;
pub mod scenario;
pub mod simulation;
pub mod stage;
pub mod timeline;
pub mod world;
