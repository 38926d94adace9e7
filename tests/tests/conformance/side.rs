//! A server as a sequence sees it: one of several that have to answer alike.

use std::time::Duration;

use crate::value::Value;

/// What there is to read on a connection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Got {
    Value(Value),
    /// Nothing came in time.
    Nothing,
    Closed,
}

/// A server, and the clients that are connected to it, by name. A client is connected when it first sends.
pub(crate) trait Side {
    fn send(&mut self, client: &str, bytes: &[u8]);

    /// The next value for this client, if it comes within that time.
    fn read(&mut self, client: &str, within: Duration) -> Got;

    /// Waits until everything that was sent has been executed.
    fn settle(&mut self);

    fn wait(&mut self, span: Duration);

    /// Ends the server without a warning and starts it again; every connection ends with it.
    fn restart(&mut self);

    fn hang_up(&mut self, client: &str);

    /// The state of a new server, without clients, for the next sequence.
    fn reset(&mut self);
}
