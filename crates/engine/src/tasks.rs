//! Where the engine's own work runs: in the background, on a thread that may wait, after a pause.
//!
//! The accident this prevents: a bug that needs two tasks in one certain order shows up once a month and never
//! again. Behind this port the simulation (`crates/sim`) decides the order itself, from a seed.

use crate::{Error, Kind, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use millpond_types::limits::LONG_WORK_MAX;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Long work: runs to its end once it has begun, and may wait for futures on the way.
pub type LongWork = Box<dyn FnOnce(&dyn Wait) + Send>;

/// Runs the engine's own work.
pub trait Tasks: std::fmt::Debug + Send + Sync + 'static {
    /// Runs a task in the background.
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// Resolves after this time.
    fn pause(&self, how_long: Duration) -> BoxFuture<'static, ()>;
    /// Runs long work away from the tasks that answer requests. Resolves when it is over, also by a panic.
    fn long(&self, work: LongWork) -> BoxFuture<'static, ()>;
}

/// What long work waits with.
pub trait Wait: Send + Sync {
    /// Returns when the future is ready.
    fn wait(&self, future: Pin<&mut (dyn Future<Output = ()> + Send)>);
}

/// The tokio runtime that the engine was opened in.
#[derive(Debug)]
pub struct TokioTasks {
    places: Arc<Semaphore>,
}

impl Default for TokioTasks {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(LONG_WORK_MAX)) }
    }
}

impl Tasks for TokioTasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
    fn pause(&self, how_long: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(how_long).boxed()
    }
    fn long(&self, work: LongWork) -> BoxFuture<'static, ()> {
        let runtime = tokio::runtime::Handle::current();
        let span = tracing::Span::current();
        let places = self.places.clone();
        async move {
            // The place is given back by the thread: the caller may go away before the work is done.
            let place = places.acquire_owned().await;
            let work = move || {
                span.in_scope(|| work(&runtime));
                drop(place);
            };
            drop(tokio::task::spawn_blocking(work).await);
        }
        .boxed()
    }
}

impl Wait for tokio::runtime::Handle {
    fn wait(&self, future: Pin<&mut (dyn Future<Output = ()> + Send)>) {
        self.block_on(future);
    }
}

impl dyn Tasks {
    /// Runs long work and gives its result.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Wait) -> T + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.long(Box::new(move |wait| drop(sender.send(work(wait))))).await;
        receiver.await.map_err(|_| Error::new(Kind::Internal, "long work has panicked"))
    }
}

/// Waits for a future on a thread that may.
pub(crate) fn wait_for<T: Send>(wait: &dyn Wait, future: impl Future<Output = T> + Send) -> T {
    let mut output = None;
    wait.wait(std::pin::pin!(async { output = Some(future.await) }));
    output.expect("the future is ready, so it has an output")
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::join_all;

    /// Each piece of long work holds a thread and waits for a read that needs another.
    #[test]
    fn long_work_leaves_threads_for_the_reads_that_it_waits_for() {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.enable_all().max_blocking_threads(LONG_WORK_MAX + 1);
        let runtime = runtime.build().expect("a runtime");
        let tasks: Arc<dyn Tasks> = Arc::new(TokioTasks::default());
        let one = |number: usize| {
            let tasks = tasks.clone();
            async move {
                let read = async move { tokio::task::spawn_blocking(move || number).await.expect("read") };
                tasks.run(move |wait| wait_for(wait, read)).await.expect("done")
            }
        };
        let all = runtime.block_on(join_all((0..LONG_WORK_MAX * 4).map(one)));
        assert_eq!(all, (0..LONG_WORK_MAX * 4).collect::<Vec<_>>());
    }
}
