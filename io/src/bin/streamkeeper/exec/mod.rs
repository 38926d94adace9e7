//! The command that `consume` hands messages to: long-lived children that are told a message a line, and answer a line.

mod child;
mod children;
mod group;
mod line;
mod reply;

pub(crate) use children::{Children, Trouble};
pub(crate) use group::{Group, shell};
pub(crate) use line::Line;
pub(crate) use reply::Reply;
