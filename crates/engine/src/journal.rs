//! Makes decisions durable: groups them, stores their new tree nodes, writes one row, publishes, answers.
//!
//! A success reply must not come before the row is on disk, and readers must not see what a power cut
//! could still take back; both follow from the one order here: packs, row, publish, answer.

use crate::keys;
use crate::record::{Context, Record, Row};
use crate::state::Repo;
use crate::tasks::Tasks;
use crate::{Error, Kind, Result};
use millpond_blob::Blobs;
use millpond_kv::{Batch, Expect, Kv, KvError, Write};
use millpond_tree::NewNodes;
use millpond_types::limits::{JOURNAL_QUEUE_BYTES_MAX, JOURNAL_QUEUE_MUTATIONS_MAX};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Most mutations of one row.
const GROUP_MUTATIONS_MAX: usize = 4096;
/// A row is closed when its records are estimated to exceed this, in bytes.
const ROW_BYTES_MAX: usize = 8 << 20;

/// How often a store that is busy is asked again before new changes are refused, or a checkpoint is put off.
pub(crate) const BUSY_TRIES_MAX: usize = 20;
/// How long to wait in between.
pub(crate) const BUSY_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// A decision on its way to disk.
pub struct Submission {
    /// Who, when, why.
    pub context: Context,
    /// What.
    pub records: Vec<Record>,
    /// Tree nodes that the records refer to and that are not stored yet.
    pub nodes: Option<(Arc<Repo>, Vec<NewNodes>)>,
    /// The thing that the records create, as deciders already hold it.
    pub created: Option<crate::engine::Created>,
}

impl Submission {
    /// About how much room it takes in a row.
    fn bytes(&self) -> usize {
        256 + self.records.iter().map(Record::bytes).sum::<usize>()
    }
}

/// What waits for the disk: an attacker of the memory may send few large changes as well as many small ones.
#[derive(Default)]
struct Load {
    mutations: AtomicU64,
    bytes: AtomicU64,
}

impl Load {
    fn is_full(&self) -> bool {
        self.mutations.load(Ordering::Relaxed) >= JOURNAL_QUEUE_MUTATIONS_MAX
            || self.bytes.load(Ordering::Relaxed) >= JOURNAL_QUEUE_BYTES_MAX
    }
    fn add(&self, bytes: usize) {
        self.mutations.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
    fn remove(&self, mutations: usize, bytes: usize) {
        self.mutations.fetch_sub(mutations as u64, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

#[allow(clippy::large_enum_variant, reason = "nearly all messages are submissions")]
enum Message {
    /// With its bytes.
    Submit(Submission, usize, oneshot::Sender<Result<()>>),
    /// Answered when everything before it is durable, with the sequence of the next row. The reply is made
    /// while nothing is being published.
    Barrier(Box<dyn FnOnce(u64, [u8; 32]) + Send>),
}

/// Where a durable mutation is in the journal.
#[derive(Clone, Copy)]
pub struct Place {
    /// Its row.
    pub row: u64,
    /// Its position in the row.
    pub position: usize,
    /// Bytes of the row.
    pub row_bytes: usize,
}

/// Applies a durable mutation to the published state.
pub type Publish = Box<dyn FnMut(&Submission, Place) + Send>;

/// The handle for submitting.
pub struct Journal {
    /// Not bounded itself: a decision that was made cannot be taken back. [`Journal::admit`] is the bound.
    queue: mpsc::UnboundedSender<Message>,
    load: Arc<Load>,
    blobs: Arc<dyn Blobs>,
    shared: Arc<Shared>,
}

/// What the committer tells those who submit.
#[derive(Default)]
struct Shared {
    /// Something is in `refusing`: what everybody asks, before anything is decided.
    refuses: AtomicBool,
    refusing: Mutex<Option<Refusing>>,
    closing: AtomicBool,
}

/// Why nothing new is accepted.
enum Refusing {
    /// A store has been busy for a while, as it is when the disk is full. What was decided waits for it.
    Busy(String),
    /// A store failed: what is on it is unknown until a restart reads it.
    Failed(String),
}

impl Shared {
    fn set(&self, refusing: Option<Refusing>) {
        let mut now = self.refusing.lock();
        if !matches!(*now, Some(Refusing::Failed(_))) {
            *now = refusing;
        }
        self.refuses.store(now.is_some(), Ordering::Release);
    }

    /// Refuses once a store has failed. Asked before each single write to the metadata store.
    fn alive(&self) -> Result<()> {
        match &*self.refusing.lock() {
            Some(Refusing::Failed(why)) => Err(failed(why)),
            _ => Ok(()),
        }
    }

    fn refusal(&self) -> Option<Error> {
        Some(match &*self.refusing.lock() {
            None => return None,
            Some(Refusing::Busy(why)) => Error::new(
                Kind::Busy,
                format!(
                    "nothing is written at the moment: {why}; as soon as that ends, writing goes on by itself"
                ),
            ),
            Some(Refusing::Failed(why)) => failed(why),
        })
    }
}

fn failed(why: &str) -> Error {
    Error::new(
        Kind::Internal,
        format!("the server refuses writes until a restart, since its disk failed: {why}"),
    )
}

/// Resolves when a submission is durable and published.
pub struct Ticket(oneshot::Receiver<Result<()>>);

impl Ticket {
    /// Waits for it.
    pub async fn durable(self) -> Result<()> {
        self.0.await.unwrap_or_else(|_| Err(stopped()))
    }
}

fn stopped() -> Error {
    Error::new(
        Kind::Internal,
        "the server has stopped writing; whether this change was made will show after a restart",
    )
}

impl Journal {
    /// Starts the committer. `next` and `previous` continue the chain found at start-up.
    pub fn start(
        kv: Arc<dyn Kv>,
        blobs: Arc<dyn Blobs>,
        tasks: Arc<dyn Tasks>,
        epoch: u64,
        next: u64,
        previous: [u8; 32],
        publish: Publish,
    ) -> Self {
        let (queue, receiver) = mpsc::unbounded_channel();
        let load = Arc::new(Load::default());
        let shared = Arc::new(Shared::default());
        let committer = Committer {
            kv,
            tasks: tasks.clone(),
            epoch,
            next,
            previous,
            publish,
            load: load.clone(),
            shared: shared.clone(),
        };
        tasks.spawn(Box::pin(committer.run(receiver)));
        Self { queue, load, blobs, shared }
    }

    /// Refuses early when a store has failed or is full, or too much is waiting. Call before deciding anything.
    ///
    /// # Errors
    /// `Busy` if the same may succeed later, `Internal` if only a restart helps.
    pub fn admit(&self) -> Result<()> {
        if self.shared.refuses.load(Ordering::Acquire)
            && let Some(refusal) = self.shared.refusal()
        {
            return Err(refusal);
        }
        if let Some(why) = self.blobs.failure() {
            return Err(failed(&why));
        }
        if self.load.is_full() {
            return Err(Error::new(Kind::Busy, "too many changes are waiting for the disk; try again"));
        }
        Ok(())
    }

    /// Refuses once a store has failed here or elsewhere: not one more write goes to it.
    pub fn alive(&self) -> Result<()> {
        self.shared.alive()
    }

    /// A store failed elsewhere than in the journal: nothing more is accepted.
    pub fn fail(&self, why: &Error) {
        self.shared.set(Some(Refusing::Failed(why.message.clone())));
    }

    /// From now on a busy store is a failed one: nobody is left to wait for it.
    pub fn close(&self) {
        self.shared.closing.store(true, Ordering::Release);
    }

    /// Hands over a decision. Call while holding the lock under which it was decided.
    pub fn submit(&self, submission: Submission) -> Ticket {
        let (sender, receiver) = oneshot::channel();
        let bytes = submission.bytes();
        self.load.add(bytes);
        if self.queue.send(Message::Submit(submission, bytes, sender)).is_err() {
            tracing::error!("the journal has stopped");
        }
        Ticket(receiver)
    }

    /// Waits until everything submitted before is durable. A refusal that rests on a decision which is not
    /// durable yet must wait here before it is told.
    pub async fn barrier(&self) -> Result<()> {
        self.capture(|_, _| ()).await
    }

    /// Runs `capture` in the committer, between two groups: it sees one exact state. Its arguments are the
    /// sequence of the next row and the hash of the last.
    pub async fn capture<T: Send + 'static>(
        &self,
        capture: impl FnOnce(u64, [u8; 32]) -> T + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        let run = Box::new(move |next, previous| {
            let _ = sender.send(capture(next, previous));
        });
        self.queue.send(Message::Barrier(run)).map_err(|_| stopped())?;
        receiver.await.map_err(|_| stopped())
    }
}

struct Committer {
    kv: Arc<dyn Kv>,
    tasks: Arc<dyn Tasks>,
    epoch: u64,
    next: u64,
    previous: [u8; 32],
    publish: Publish,
    load: Arc<Load>,
    shared: Arc<Shared>,
}

impl Committer {
    async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Message>) {
        let mut messages = Vec::new();
        while queue.recv_many(&mut messages, GROUP_MUTATIONS_MAX).await > 0 {
            // Requests that are ready to decide go first, as long as any are: a group costs a sync however
            // small it is, and whoever missed it waits for the next.
            loop {
                let before = messages.len();
                tokio::task::yield_now().await;
                while messages.len() < GROUP_MUTATIONS_MAX {
                    let Ok(message) = queue.try_recv() else { break };
                    messages.push(message);
                }
                if messages.len() == before || messages.len() >= GROUP_MUTATIONS_MAX {
                    break;
                }
            }
            let mut group = Vec::new();
            let mut bytes = 0;
            for message in messages.drain(..) {
                let barrier = match message {
                    Message::Submit(submission, taken, reply) => {
                        bytes += taken;
                        group.push((submission, reply));
                        None
                    }
                    Message::Barrier(run) => Some(run),
                };
                if (barrier.is_some() || bytes > ROW_BYTES_MAX)
                    && self.commit(std::mem::take(&mut group), std::mem::take(&mut bytes)).await.is_err()
                {
                    return;
                }
                if let Some(run) = barrier {
                    run(self.next, self.previous);
                }
            }
            // After a failed disk nothing more is written: what is on it is unknown until a restart reads it.
            if self.commit(group, bytes).await.is_err() {
                return;
            }
        }
    }

    fn patience(&self) -> Patience {
        Patience { shared: self.shared.clone(), tasks: self.tasks.clone(), tries: 0 }
    }

    async fn commit(
        &mut self,
        mut group: Vec<(Submission, oneshot::Sender<Result<()>>)>,
        bytes: usize,
    ) -> Result<()> {
        if group.is_empty() {
            return Ok(());
        }
        let outcome = self.write(&mut group).await;
        self.load.remove(group.len(), bytes);
        if let Err(error) = &outcome {
            self.shared.set(Some(Refusing::Failed(error.message.clone())));
            tracing::error!(error = %error, "journal write failed; refusing writes from now on");
        }
        if let Ok(row_bytes) = outcome {
            for (position, (submission, _)) in group.iter().enumerate() {
                (self.publish)(submission, Place { row: self.next - 1, position, row_bytes });
            }
        }
        let outcome = outcome.map(|_| ());
        for (_, reply) in group {
            let _ = reply.send(outcome.clone());
        }
        outcome
    }

    /// Returns the bytes of the row.
    async fn write(&mut self, group: &mut [(Submission, oneshot::Sender<Result<()>>)]) -> Result<usize> {
        let mut packs: Vec<(Arc<Repo>, Vec<NewNodes>)> = Vec::new();
        for (submission, _) in group.iter_mut() {
            if let Some((repo, new)) = submission.nodes.take() {
                match packs.iter_mut().find(|(r, _)| r.uid == repo.uid) {
                    Some((_, all)) => all.extend(new),
                    None => packs.push((repo, new)),
                }
            }
        }
        let stored = packs.into_iter().map(|(repo, new)| store_patiently(repo, new, self.patience()));
        futures::future::try_join_all(stored.collect::<Vec<_>>()).await?;

        let mutations: Vec<(&Context, &[Record])> =
            group.iter().map(|(s, _)| (&s.context, s.records.as_slice())).collect();
        let row = Row::encode(self.epoch, &self.previous, &mutations);
        let hash: [u8; 32] = Sha256::digest(&row).into();
        let bytes = row.len();
        let key = keys::journal(self.next);
        let notes = group.iter().filter_map(|(submission, _)| submission.context.beside.as_ref());
        let taken_in = notes.map(|beside| Write::Delete(keys::note(beside.number)));
        let batch = Batch {
            preconditions: vec![
                (key.clone(), Expect::Absent),
                (keys::EPOCH.into(), Expect::Value(self.epoch.to_be_bytes().to_vec().into())),
            ],
            writes: std::iter::once(Write::Put(key, row.into())).chain(taken_in).collect(),
        };
        let mut patience = self.patience();
        loop {
            self.shared.alive()?;
            let Err(error) = self.kv.commit(batch.clone()).await else { break };
            let error = match error {
                KvError::PreconditionFailed(_) => {
                    Error::new(Kind::Internal, "another server has taken over this data directory")
                }
                error => crate::engine::kv_error(error),
            };
            patience.wait(error).await?;
        }
        patience.end();
        self.next += 1;
        self.previous = hash;
        Ok(bytes)
    }
}

async fn store_patiently(repo: Arc<Repo>, new: Vec<NewNodes>, mut patience: Patience) -> Result<()> {
    while let Err(error) = repo.nodes.store(&new).await {
        patience.wait(error).await?;
    }
    patience.end();
    Ok(())
}

/// Asking a store again as long as it is busy: it has done nothing, and what was decided cannot be undecided, since
/// later decisions rest on it. New changes are refused meanwhile.
struct Patience {
    shared: Arc<Shared>,
    tasks: Arc<dyn Tasks>,
    tries: usize,
}

impl Patience {
    /// Waits before the next try.
    ///
    /// # Errors
    /// The given one, if it is no reason to try again.
    async fn wait(&mut self, error: Error) -> Result<()> {
        if error.kind != Kind::Busy {
            return Err(error);
        }
        self.tries += 1;
        if self.tries > BUSY_TRIES_MAX {
            if self.shared.closing.load(Ordering::Acquire) {
                return Err(error);
            }
            if self.tries == BUSY_TRIES_MAX + 1 {
                tracing::warn!(error = %error, "changes wait for a busy store; new ones are refused");
            }
            self.shared.set(Some(Refusing::Busy(error.message)));
        }
        self.tasks.pause(BUSY_PAUSE).await;
        Ok(())
    }

    /// The store has done it.
    fn end(self) {
        if self.tries > BUSY_TRIES_MAX {
            tracing::info!("the store takes writes again");
            self.shared.set(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::TokioTasks;
    use millpond_kv::MemoryKv;

    /// A current-thread runtime runs the committer only when the test waits: until then everything is queued.
    #[tokio::test]
    async fn the_queue_is_bounded_by_mutations_and_opens_again() {
        let kv = MemoryKv::new();
        let epoch = Batch {
            preconditions: vec![],
            writes: vec![Write::Put(keys::EPOCH.into(), 1u64.to_be_bytes().to_vec().into())],
        };
        kv.commit(epoch).await.expect("written");
        let blobs = Arc::new(millpond_blob::MemoryBlobs::new());
        let (kv, tasks) = (Arc::new(kv), Arc::new(TokioTasks::default()));
        let journal = Journal::start(kv, blobs, tasks, 1, 1, [0; 32], Box::new(|_, _| {}));
        let submit = || {
            let submission =
                Submission { context: Context::default(), records: vec![], nodes: None, created: None };
            journal.submit(submission)
        };
        let mut tickets: Vec<Ticket> = (1..JOURNAL_QUEUE_MUTATIONS_MAX).map(|_| submit()).collect();
        journal.admit().expect("one below");
        tickets.push(submit());
        assert_eq!(journal.admit().expect_err("full").kind, Kind::Busy);
        tickets.push(submit());
        assert_eq!(journal.admit().expect_err("beyond").kind, Kind::Busy);
        for ticket in tickets {
            ticket.durable().await.expect("whatever was taken is written");
        }
        journal.admit().expect("empty");
        assert_eq!(journal.load.bytes.load(Ordering::Relaxed), 0);
    }
}
