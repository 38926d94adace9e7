//! A server as a sequence sees it: one of several that have to answer alike.

use std::time::Duration;

use super::value::Value;

/// What there is to read on a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Got {
    /// A value.
    Value(Value),
    /// Nothing came in time.
    Nothing,
    /// The server has closed it.
    Closed,
}

/// A server, and the clients that are connected to it, by name. A client is connected when it first sends.
pub trait Side {
    /// Sends bytes.
    fn send(&mut self, client: &str, bytes: &[u8]);

    /// The next value for this client, if it comes within that time.
    fn read(&mut self, client: &str, within: Duration) -> Got;

    /// Waits until everything that was sent has been executed.
    fn settle(&mut self);

    /// Lets time pass.
    fn wait(&mut self, span: Duration);

    /// Ends the server without a warning and starts it again; every connection ends with it.
    fn restart(&mut self);

    /// Closes a client's connection.
    fn hang_up(&mut self, client: &str);

    /// The state of a new server, without clients, for the next sequence.
    fn reset(&mut self);
}
