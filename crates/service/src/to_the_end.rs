//! Changes run to their end even if the one who waits for them goes away.
//!
//! The accident this prevents: a client hangs up, its request is dropped at whatever step it had come to, and a
//! verb is half done. A task for each change would do as well, and cost every change a tenth of its CPU for what
//! hardly ever happens; so a change runs where it is waited for, and becomes a task only when it is left behind.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::runtime::Handle;

/// Runs a change to its end, whether or not the returned future is.
pub fn to_the_end<F>(change: F) -> impl Future<Output = F::Output> + Send
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    ToTheEnd(Some(Box::pin(change)))
}

/// There as long as it has to go on. A change that panics is not there any more.
struct ToTheEnd<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send + 'static> Future for ToTheEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut change = self.0.take().expect("a future is not polled again when it has ended");
        let outcome = change.as_mut().poll(cx);
        if outcome.is_pending() {
            self.0 = Some(change);
        }
        outcome
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for ToTheEnd<F> {
    fn drop(&mut self) {
        // Without a runtime the process is ending.
        if let Some(change) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move { drop(change.await) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::panic::AssertUnwindSafe;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_change_that_is_left_behind_goes_on() {
        let ((go, told), (tell, done)) = (oneshot::channel::<()>(), oneshot::channel());
        let mut change = Box::pin(to_the_end(async move {
            told.await.expect("told");
            tell.send(7).expect("awaited");
        }));
        assert!(change.as_mut().now_or_never().is_none(), "it waits");
        drop(change);
        go.send(()).expect("it is still there");
        assert_eq!(done.await, Ok(7));
    }

    #[tokio::test]
    async fn a_change_that_was_not_begun_runs_too() {
        let (tell, done) = oneshot::channel();
        drop(to_the_end(async move { tell.send(7) }));
        assert_eq!(done.await, Ok(7));
    }

    #[tokio::test]
    async fn a_change_that_ended_or_panicked_does_not_run_again() {
        let runs = Arc::new(AtomicUsize::new(0));
        for panics in [false, true] {
            let runs = runs.clone();
            let change = to_the_end(async move {
                runs.fetch_add(1, Ordering::Relaxed);
                assert!(!panics);
            });
            assert_eq!(AssertUnwindSafe(change).catch_unwind().await.is_err(), panics);
        }
        tokio::task::yield_now().await;
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    }
}
