//! Where the engine's own work runs: in the background, on a thread that may wait, after a pause.
//!
//! The accident this prevents: a bug that needs two tasks in one certain order shows up once a month and never
//! again. Behind this port the simulation (`crates/sim`) decides the order itself, from a seed.

use crate::{Error, Kind, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use millpond_types::limits::{LONG_WORK_MAX, ORIGIN_OPENS_MAX};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Which places long work waits for: what hangs in one kind holds up no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// It reads trees: listings, diffs, merges, checks.
    Trees,
    /// It waits for a file system of somebody else.
    Origins,
    /// It only computes, so it ends by itself. What the journal needs is of this kind: a writer must not stand in
    /// line behind readers.
    Unbounded,
}

/// Long work: runs to its end once it has begun, and may wait for futures on the way.
pub type LongWork = Box<dyn FnOnce(&dyn Wait) + Send>;

/// Runs the engine's own work.
pub trait Tasks: std::fmt::Debug + Send + Sync + 'static {
    /// Runs a task in the background.
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// Resolves after this time.
    fn pause(&self, how_long: Duration) -> BoxFuture<'static, ()>;
    /// Runs long work away from the tasks that answer requests. Resolves when it is over, also by a panic.
    fn long(&self, places: Places, work: LongWork) -> BoxFuture<'static, ()>;
}

/// What long work waits with.
pub trait Wait: Send + Sync {
    /// Returns when the future is ready.
    fn wait(&self, future: Pin<&mut (dyn Future<Output = ()> + Send)>);
}

/// The tokio runtime that the engine was opened in.
#[derive(Debug)]
pub struct TokioTasks {
    trees: Arc<Semaphore>,
    origins: Arc<Semaphore>,
}

impl Default for TokioTasks {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { trees: places(LONG_WORK_MAX), origins: places(ORIGIN_OPENS_MAX) }
    }
}

impl Tasks for TokioTasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
    fn pause(&self, how_long: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(how_long).boxed()
    }
    fn long(&self, places: Places, work: LongWork) -> BoxFuture<'static, ()> {
        let runtime = tokio::runtime::Handle::current();
        let span = tracing::Span::current();
        let places = match places {
            Places::Trees => Some(self.trees.clone()),
            Places::Origins => Some(self.origins.clone()),
            Places::Unbounded => None,
        };
        async move {
            // The place is given back by the thread: the caller may go away before the work is done.
            let place = match places {
                Some(places) => Some(places.acquire_owned().await),
                None => None,
            };
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
    /// Runs long work on trees and gives its result.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Wait) -> T + Send + 'static,
    ) -> Result<T> {
        self.run_in(Places::Trees, work).await
    }

    /// Runs long work of this kind and gives its result.
    pub(crate) async fn run_in<T: Send + 'static>(
        &self,
        places: Places,
        work: impl FnOnce(&dyn Wait) -> T + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.long(places, Box::new(move |wait| drop(sender.send(work(wait))))).await;
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

    /// Every place of its kind is held by work that hangs: opening what was imported does not stop listings, and
    /// neither stops the journal.
    #[tokio::test]
    async fn what_hangs_holds_up_nothing_of_another_kind() {
        let tasks: Arc<dyn Tasks> = Arc::new(TokioTasks::default());
        let (go, hang) = tokio::sync::watch::channel(());
        let hang_in = |places: Places, count: usize| {
            let hanging = (0..count).map(|_| {
                let (tasks, mut hang) = (tasks.clone(), hang.clone());
                let wait = async move { drop(hang.changed().await) };
                tokio::spawn(async move { tasks.run_in(places, move |w| wait_for(w, wait)).await })
            });
            hanging.collect::<Vec<_>>()
        };
        let mut hanging = hang_in(Places::Origins, ORIGIN_OPENS_MAX + 1);
        assert_eq!(tasks.run(|_| 1).await.expect("not held up"), 1);
        hanging.extend(hang_in(Places::Trees, LONG_WORK_MAX + 1));
        assert_eq!(tasks.run_in(Places::Unbounded, |_| 2).await.expect("not held up"), 2);
        drop(go);
        for done in join_all(hanging).await {
            done.expect("no panic").expect("done");
        }
    }
}
