//! Deletions of blobs, put off while a check or a backup relies on what it was told is there.
//!
//! The accident this prevents: a backup notes an upload, the upload is aborted, and when the backup comes to the
//! parts they are gone: it names bytes that it does not hold. A check of a running server would call them lost. So
//! whoever looks at one moment of the metadata does so within [`Engine::without_deletions`], and until the last of them
//! has ended nothing that was named then is deleted. What waits is in memory only: a crash leaves it to be collected.

use crate::engine::Engine;
use millpond_blob::BlobKey;
use parking_lot::Mutex;

/// What waits for the end of the last hold.
#[derive(Default)]
pub(crate) struct Deletions(Mutex<State>);

#[derive(Default)]
struct State {
    holds: usize,
    waiting: Vec<BlobKey>,
}

/// While one is there, nothing is deleted.
struct Hold<'a>(&'a Deletions);

impl Deletions {
    /// From now on nothing is deleted. Deletions that have begun go on: what they delete is named no more.
    fn hold(&self) -> Hold<'_> {
        self.0.lock().holds += 1;
        Hold(self)
    }

    /// Adds to what is to go. Gives what may go now.
    fn due(&self, more: Vec<BlobKey>) -> Vec<BlobKey> {
        let mut state = self.0.lock();
        state.waiting.extend(more);
        if state.holds > 0 { Vec::new() } else { std::mem::take(&mut state.waiting) }
    }
}

impl Drop for Hold<'_> {
    /// What waits stays, if this comes from work that was given up: the next deletion takes it along.
    fn drop(&mut self) {
        self.0.0.lock().holds -= 1;
    }
}

impl Engine {
    /// Does what relies on one moment of the metadata: nothing that was named then is deleted before its end.
    pub(crate) async fn without_deletions<T>(&self, work: impl Future<Output = T>) -> T {
        let hold = self.deletions.hold();
        let done = work.await;
        drop(hold);
        self.delete_unnamed(Vec::new()).await;
        done
    }

    /// Deletes blobs that nothing names any more, as soon as nobody relies on them; and what has waited.
    pub(crate) async fn delete_unnamed(&self, blobs: Vec<BlobKey>) {
        for key in self.deletions.due(blobs) {
            // Nobody needs it, so a failure is nobody's either: it stays until it is collected.
            if let Err(error) = self.blobs.delete(&key).await {
                tracing::warn!(%error, blob = key.as_str(), "a blob that nothing names was not deleted");
            }
        }
    }
}
