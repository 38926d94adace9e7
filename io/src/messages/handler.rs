//! From a run to the application's worker: decodes the message, and calls what the stage says.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use futures::future::BoxFuture;
use streamkeeper_core::messages::{self, Stage, call::Reason};

use super::{
    codec::{CodecError, Decode},
    context::{Context, Handed},
    worker::{Broken, Dead, Worker},
};

/// A worker of whatever type.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Runs it for one message. Whoever polls catches the panics.
    fn handle(self: Arc<Self>, handed: Arc<Handed>) -> BoxFuture<'static, messages::Outcome>;
}

/// A worker for messages of type `T`.
pub(crate) struct Typed<T, W> {
    pub(crate) worker: W,
    pub(crate) codec: Arc<dyn Decode<T>>,
}

impl<T: Send + 'static, W: Worker<T>> Handler for Typed<T, W> {
    fn handle(self: Arc<Self>, handed: Arc<Handed>) -> BoxFuture<'static, messages::Outcome> {
        Box::pin(async move {
            let fields = handed.run.fields.clone();
            let decoded = self.decode(&fields).map_err(|error| Broken::new(error, fields));
            let context = Context::new(handed);
            match (context.stage(), decoded) {
                (Stage::Process, Ok(message)) => {
                    self.worker.process(message, context).await.into_core(Reason::Rejected)
                }
                (Stage::Process, Err(broken)) => {
                    self.worker.process_broken(broken, context).await.into_core(Reason::Broken)
                }
                (Stage::Dead(reason), decoded) => {
                    let dead = Dead::new(decoded, reason, &context);
                    self.worker.process_dead(dead, context).await.into_core(reason)
                }
            }
        })
    }
}

impl<T: 'static, W> Typed<T, W> {
    /// A codec that panics says that this is no message, as one that answers an error does: it would do so again.
    fn decode(&self, fields: &[(Vec<u8>, Vec<u8>)]) -> Result<T, CodecError> {
        catch_unwind(AssertUnwindSafe(|| self.codec.decode(fields)))
            .unwrap_or_else(|panic| Err(format!("the codec panicked: {}", words(&*panic)).into()))
    }
}

/// What a panic says.
pub(crate) fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
