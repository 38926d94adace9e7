//! Services of `tower` as workers: their layers limit time, rate and concurrency.

use std::{
    fmt::Display,
    future::poll_fn,
    sync::{Mutex, PoisonError},
};

use tower_service::Service;

use super::{context::Context, outcome::Outcome, worker::Worker};

/// A message, as a service is asked for it.
#[derive(Clone, Debug)]
pub struct Request<T> {
    /// What it says.
    pub message: T,
    /// Where it comes from, and how often it was tried.
    pub context: Context,
}

/// A worker that asks a `tower` service; see [`from_service`].
#[derive(Debug)]
pub struct FromService<S>(Mutex<S>);

/// Makes a worker of a `tower` service. Each message has a clone of it, waits until that is ready, and calls it: so
/// layers count what all clones do together (`ConcurrencyLimit`), or stand behind a `Buffer` (`RateLimit`). An answer
/// becomes an [`Outcome`], an error a failure.
///
/// A service sees what can be decoded, and is still to be processed. For what is broken or dead, wrap the worker in one
/// of your own.
///
/// ```
/// use std::{convert::Infallible, time::Duration};
/// use streamkeeper::messages::{Request, from_service};
/// use tower::{ServiceBuilder, service_fn};
///
/// let service = ServiceBuilder::new()
///     .concurrency_limit(10)
///     .timeout(Duration::from_secs(5))
///     .service(service_fn(|request: Request<String>| async move {
///         println!("{}: {}", request.context.entry(), request.message);
///         Ok::<(), Infallible>(())
///     }));
/// let worker = from_service(service);
/// ```
pub fn from_service<S>(service: S) -> FromService<S> {
    FromService(Mutex::new(service))
}

impl<T, S> Worker<T> for FromService<S>
where
    T: Send + 'static,
    S: Service<Request<T>, Response: Into<Outcome>, Error: Display, Future: Send> + Clone + Send + 'static,
{
    async fn process(&self, message: T, context: Context) -> Outcome {
        let mut service = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Err(error) = poll_fn(|task| service.poll_ready(task)).await {
            return Outcome::retry().because(error);
        }
        service.call(Request { message, context }).await.into()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use futures::future::join_all;
    use streamkeeper_core::messages::Stage;
    use tower::{ServiceBuilder, service_fn};

    use super::*;
    use crate::messages::context::tests::handed;

    async fn process<T: Send + 'static>(worker: &impl Worker<T>, message: T) -> Outcome {
        worker.process(message, Context::new(handed(1, Stage::Process, &[]))).await
    }

    #[tokio::test(start_paused = true)]
    async fn layers_limit_time_and_concurrency() {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        let service = ServiceBuilder::new().concurrency_limit(3).timeout(Duration::from_secs(2)).service(service_fn(
            |request: Request<u64>| async move {
                MOST.fetch_max(RUNNING.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(request.message)).await;
                RUNNING.fetch_sub(1, Ordering::SeqCst);
                Ok::<(), Infallible>(())
            },
        ));
        let worker = from_service(service);
        assert_eq!(process(&worker, 9).await, Outcome::retry().because("request timed out"));
        RUNNING.store(0, Ordering::SeqCst);
        let outcomes = join_all((0..10).map(|_| process(&worker, 1))).await;
        assert_eq!((outcomes, MOST.load(Ordering::SeqCst)), (vec![Outcome::ack(); 10], 3));
    }

    #[tokio::test]
    async fn what_a_service_answers_is_the_outcome() {
        let worker = from_service(service_fn(|request: Request<&'static str>| async move {
            if request.message == "bad" { Err("no") } else { Ok(Outcome::dead(request.message)) }
        }));
        assert_eq!(process(&worker, "never").await, Outcome::dead("never"));
        assert_eq!(process(&worker, "bad").await, Outcome::retry().because("no"));
    }
}
