//! Streamkeeper under simulated failures: the production shell and the real redis client, unchanged, on a simulated
//! network, against a simulated Redis, judged by what Streamkeeper promises.

#[cfg(unix)]
pub mod demo;
pub mod facts;
pub mod judge;
pub mod messages;
pub mod metrics;
pub mod plan;
pub mod redis;
pub mod report;
pub mod scenario;
pub mod simulation;
pub mod stage;
pub mod timeline;
pub mod world;
