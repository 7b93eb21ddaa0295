//! Checkpoints: brings the look-up tables up to what the journal says, so that old rows can go.
//!
//! The accident this prevents: rows that still hold staged changes are dropped. So the order is: note
//! where the journal stands, fold every branch's staging into its working tree (everything noted is then
//! in trees), capture what the tables lack at one exact point, write the tables, keep the rows before the note for
//! the audit trail, and only then drop them. A crash anywhere in between leaves more rows than needed, never fewer.
//!
//! And: one damaged node stops the checkpoints of all repositories. So a branch that cannot be folded is passed
//! over; then all rows stay, and only the tables go on.

use crate::engine::{Engine, kv_error};
use crate::journal::{BUSY_PAUSE, BUSY_TRIES_MAX};
use crate::record::Idempotency;
use crate::state::{Branch, Repo, Unsaved};
use crate::{Error, Kind, RefMove, Result, keys, tables};
use bytes::Bytes;
use millpond_kv::{Batch, Expect, Kv, KvError, Write};
use millpond_types::{Commit, CommitId, Reader, Timestamp, Writer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most writes of one batch.
const BATCH_WRITES_MAX: usize = 10_000;
/// Completed uploads and idempotency keys are forgotten after this long, in milliseconds (24 h).
pub(crate) const REMEMBER_MILLIS: i64 = 24 * 3600 * 1000;

/// Where replay begins, and the hash of the row before it.
pub(crate) async fn read(kv: &dyn Kv) -> Result<(u64, [u8; 32])> {
    let Some(bytes) = kv.get(keys::CHECKPOINT).await.map_err(kv_error)? else { return Ok((1, [0; 32])) };
    let (first, previous, _) = decode(bytes)?;
    Ok((first, previous))
}

/// The number that the next repository gets at least.
pub(crate) async fn next_uid(kv: &dyn Kv) -> Result<u64> {
    match kv.get(keys::CHECKPOINT).await.map_err(kv_error)? {
        None => Ok(1),
        Some(bytes) => Ok(decode(bytes)?.2),
    }
}

/// The checkpoint record: where replay begins, the hash of the row before, the number of the next repository.
pub(crate) fn encode(first: u64, previous: &[u8; 32], next_uid: u64) -> Bytes {
    let mut w = Writer::new();
    w.u8(1).uint(first).raw(previous).uint(next_uid);
    w.finish().into()
}

/// The inverse of [`encode`].
pub(crate) fn decode(bytes: Bytes) -> Result<(u64, [u8; 32], u64)> {
    let mut r = Reader::new(bytes);
    let mut parse = || Ok::<_, millpond_types::DecodeError>((r.u8()?, r.uint()?, r.digest()?, r.uint()?));
    match parse() {
        Ok((1, first, previous, next_uid)) => Ok((first, previous, next_uid)),
        _ => Err(Error::new(Kind::Damaged, "the checkpoint record cannot be read")),
    }
}

/// Every pair with this key prefix.
pub(crate) async fn scan_all(kv: &dyn Kv, prefix: &[u8]) -> Result<Vec<(Bytes, Bytes)>> {
    let end = millpond_kv::prefix_end(prefix).expect("no table prefix is all 0xff");
    let mut from = Bytes::copy_from_slice(prefix);
    let mut all = Vec::new();
    loop {
        let page = kv.scan(&from, &end, 4096).await.map_err(kv_error)?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        from = millpond_kv::key_after(last);
        all.extend(page);
    }
}

/// What the tables lack, of one exact state.
struct Captured {
    repos: Vec<CapturedRepo>,
    deleted: Vec<Arc<Repo>>,
    idempotency: Vec<(Idempotency, Timestamp)>,
    next_uid: u64,
}

struct CapturedRepo {
    repo: Arc<Repo>,
    /// What the writes are made from, to be given back if they fail.
    taken: Unsaved,
    writes: Vec<Write>,
    commits: Vec<(CommitId, Arc<Commit>)>,
    moves: Vec<Arc<RefMove>>,
    aliases: BTreeMap<CommitId, CommitId>,
}

impl Engine {
    /// Brings the tables up to date and drops journal rows that are no longer needed.
    ///
    /// # Errors
    /// Nothing is lost by any: the journal still has it all. After `Busy` it may be tried again.
    pub async fn checkpoint(&self) -> Result<()> {
        let _one_at_a_time = self.checkpointing.lock().await;
        let (mut first, mut previous) = self.journal.capture(|next, previous| (next, previous)).await?;
        let covered = *self.since_checkpoint.lock();
        let now = self.clock.now();
        let mut unfoldable = BTreeSet::new();
        for repo in self.root.read().by_uid.values() {
            self.forget_completed_uploads(repo, now);
            self.forget_ended_imports(repo, now);
            self.forget_ended_jobs(repo, now);
            for branch in repo.state.read().branches.values() {
                if !branch.state.look(|s| s.has_unfolded()) {
                    continue;
                }
                if let Err(error) = self.fold(repo, branch, 1).await {
                    // Of the journal: then nothing can be written at all.
                    self.journal.alive()?;
                    self.cannot_fold(repo, branch, &error);
                    unfoldable.insert((repo.uid, branch.name.clone()));
                }
            }
        }
        if !unfoldable.is_empty() {
            // What they have staged is nowhere else: replay begins where it did. It passes over what the tables
            // have already.
            (first, previous) = read(&*self.kv).await?;
        }
        *self.unfoldable.lock() = unfoldable;
        let engine = self.owned();
        let captured = self.journal.capture(move |_, _| capture(&engine)).await?;
        if let Err(error) = self.save(&captured, first, &previous, now).await {
            self.give_back(captured);
            return Err(error);
        }
        self.idempotency.saved(&captured.idempotency);
        for part in captured.repos {
            let mut unsaved = part.repo.unsaved.write();
            for (id, commit) in part.commits {
                unsaved.commits.remove(&id);
                self.commit_cache.insert((part.repo.uid, id), commit);
            }
            unsaved.moves.drain(..part.moves.len());
            unsaved.aliases.retain(|alias, _| !part.aliases.contains_key(alias));
        }
        let mut backlog = self.since_checkpoint.lock();
        backlog.rows -= covered.rows;
        backlog.bytes -= covered.bytes;
        Ok(())
    }

    /// A branch's staged changes do not become a tree, as when a node of it is damaged. Said once, until it works.
    pub(crate) fn cannot_fold(&self, repo: &Repo, branch: &Branch, error: &Error) {
        if self.unfoldable.lock().insert((repo.uid, branch.name.clone())) {
            tracing::error!(
                error = %error,
                repository = %repo.info().name,
                branch = %branch.name,
                "staged changes cannot be made a tree; they are safe, but the journal grows until the branch is \
                 reset or deleted, or its tree is whole again"
            );
        }
    }

    /// Branches whose staged changes could not be made a tree when that was last tried.
    pub fn unfoldable_branches(&self) -> usize {
        self.unfoldable.lock().len()
    }

    async fn save(&self, captured: &Captured, first: u64, previous: &[u8; 32], now: Timestamp) -> Result<()> {
        for part in &captured.repos {
            self.write_tables(part).await?;
            if let Err(error) = part.repo.nodes.save_index().await {
                // The next start reads the packs themselves.
                tracing::warn!(error = %error, repository = part.repo.uid, "the pack index was not written");
            }
        }
        // Old answers first: a key that is used again a day later has one of each.
        let outdated = self.idempotency.outdated(&*self.kv, now).await?;
        let mut writes: Vec<Write> = outdated.into_iter().map(Write::Delete).collect();
        let new = captured.idempotency.iter();
        writes.extend(
            new.map(|(i, time)| {
                Write::Put(keys::idempotency(&i.scope), crate::idempotency::encode(i, *time))
            }),
        );
        let archived = self.archive(first, previous, now).await?;
        writes.extend(archived.writes);
        let record = encode(first, previous, captured.next_uid);
        writes.push(Write::Put(Bytes::from_static(keys::CHECKPOINT), record));
        writes.push(Write::DeleteRange(keys::journal(0), keys::journal(first)));
        self.write_fenced(writes).await?;
        self.delete_unnamed(archived.unnamed).await;
        Ok(())
    }

    /// The tables lack it still. Some of it may be in them by now: writing a row again does no harm.
    fn give_back(&self, captured: Captured) {
        for CapturedRepo { repo, taken, .. } in captured.repos {
            let mut unsaved = repo.unsaved.write();
            unsaved.repository |= taken.repository;
            unsaved.settings |= taken.settings;
            unsaved.pulls.extend(taken.pulls);
            unsaved.branches.extend(taken.branches);
            unsaved.tags.extend(taken.tags);
            unsaved.uploads.extend(taken.uploads);
            unsaved.imports.extend(taken.imports);
            unsaved.jobs.extend(taken.jobs);
            unsaved.rules.extend(taken.rules);
            unsaved.durable_commits.extend(taken.durable_commits);
        }
        self.deleted.lock().extend(captured.deleted);
        self.idempotency.give_back(captured.idempotency.into_iter().map(|(answer, _)| answer.scope));
    }

    async fn write_tables(&self, part: &CapturedRepo) -> Result<()> {
        let uid = part.repo.uid;
        let mut writes = part.writes.clone();
        for (id, commit) in &part.commits {
            let mut w = Writer::new();
            commit.encode(&mut w);
            writes.push(Write::Put(keys::commit(uid, id), w.finish().into()));
        }
        for moved in &part.moves {
            let row = tables::encode_move(moved);
            writes.push(Write::Put(keys::ref_move(uid, moved.sequence), row.clone()));
            writes.push(Write::Put(keys::ref_move_of(uid, &moved.name, moved.sequence), row));
        }
        for (alias, commit) in &part.aliases {
            writes.push(Write::Put(keys::alias(uid, alias), Bytes::copy_from_slice(&commit.0)));
        }
        for chunk in writes.chunks(BATCH_WRITES_MAX) {
            self.write_fenced(chunk.to_vec()).await?;
        }
        Ok(())
    }

    /// Writes unless another server has taken over: its tables are newer, and rows that this one would drop
    /// may be all that the other has.
    pub(crate) async fn write_fenced(&self, writes: Vec<Write>) -> Result<()> {
        let mine = Expect::Value(self.epoch.to_be_bytes().to_vec().into());
        let batch = Batch { preconditions: vec![(keys::EPOCH.into(), mine)], writes };
        let mut tries = 0;
        loop {
            self.journal.alive()?;
            return match self.kv.commit(batch.clone()).await {
                Err(KvError::Busy(_)) if tries < BUSY_TRIES_MAX => {
                    tries += 1;
                    self.options.tasks.pause(BUSY_PAUSE).await;
                    continue;
                }
                Err(KvError::PreconditionFailed(_)) => {
                    Err(Error::new(Kind::Internal, "another server has taken over this data directory"))
                }
                Err(error) => {
                    let error = kv_error(error);
                    if error.kind == Kind::Internal {
                        self.journal.fail(&error);
                    }
                    Err(error)
                }
                Ok(()) => Ok(()),
            };
        }
    }
}

/// Runs in the journal's committer, where nothing changes meanwhile.
fn capture(engine: &Engine) -> Captured {
    let root = engine.root.read();
    let mut repos = Vec::new();
    let mut all: Vec<Arc<Repo>> = root.by_uid.values().cloned().collect();
    let deleted = std::mem::take(&mut *engine.deleted.lock());
    all.extend(deleted.iter().cloned());
    for repo in all {
        let uid = repo.uid;
        let state = repo.state.read();
        let mut unsaved = repo.unsaved.write();
        let mut writes = Vec::new();
        let taken = Unsaved {
            repository: std::mem::take(&mut unsaved.repository),
            settings: std::mem::take(&mut unsaved.settings),
            pulls: std::mem::take(&mut unsaved.pulls),
            branches: std::mem::take(&mut unsaved.branches),
            tags: std::mem::take(&mut unsaved.tags),
            uploads: std::mem::take(&mut unsaved.uploads),
            imports: std::mem::take(&mut unsaved.imports),
            jobs: std::mem::take(&mut unsaved.jobs),
            rules: std::mem::take(&mut unsaved.rules),
            durable_commits: std::mem::take(&mut unsaved.durable_commits),
            ..Default::default()
        };
        if taken.repository {
            let key = keys::repository(&state.info.name);
            let newer = root.by_name.get(&state.info.name).is_some_and(|r| r.uid != uid);
            if !state.deleted {
                writes.push(Write::Put(key, tables::encode_repository(uid, &state.info)));
            } else if !newer {
                writes.push(Write::Delete(key));
            }
            let name = crate::audit::encode_name(state.info.name.as_str());
            writes.push(Write::Put(keys::audit_repository(uid), name));
        }
        if taken.settings {
            writes.push(Write::Put(keys::settings(uid), tables::encode_settings(&state.settings)));
        }
        for id in &taken.pulls {
            let pull = state.pulls.get(id);
            writes.extend(pull.map(|pull| Write::Put(keys::pull(uid, id), tables::encode_pull(pull))));
        }
        for name in &taken.branches {
            let key = keys::branch(uid, name);
            writes.push(match state.branches.get(name) {
                Some(branch) => {
                    Write::Put(key, branch.state.look(|s| tables::encode_branch(branch.hidden, s)))
                }
                None => Write::Delete(key),
            });
        }
        for name in &taken.tags {
            let key = keys::tag(uid, name);
            writes.push(match state.tags.get(name) {
                Some(commit) => Write::Put(key, Bytes::copy_from_slice(&commit.0)),
                None => Write::Delete(key),
            });
        }
        for id in &taken.uploads {
            let key = keys::upload(uid, id);
            writes.push(match state.uploads.get(id) {
                Some(upload) => Write::Put(key, tables::encode_upload(upload)),
                None => Write::Delete(key),
            });
        }
        for id in &taken.imports {
            let key = keys::import(uid, id);
            writes.push(match state.imports.get(id) {
                Some(import) => Write::Put(key, tables::encode_import(import)),
                None => Write::Delete(key),
            });
        }
        for id in &taken.jobs {
            let key = keys::job(uid, id);
            writes.push(match state.jobs.get(id) {
                Some(job) => Write::Put(key, tables::encode_job(job)),
                None => Write::Delete(key),
            });
        }
        for number in &taken.rules {
            let rule = state.rules.get(number);
            writes.extend(rule.map(|rule| Write::Put(keys::rule(uid, *number), tables::encode_rule(rule))));
        }
        let commits = taken
            .durable_commits
            .iter()
            .filter_map(|id| Some((*id, unsaved.commits.get(id)?.clone())))
            .collect();
        let (moves, aliases) = (unsaved.moves.clone(), unsaved.aliases.clone());
        drop(unsaved);
        repos.push(CapturedRepo { repo, taken, writes, commits, moves, aliases });
    }
    Captured { repos, deleted, idempotency: engine.idempotency.drain_unsaved(), next_uid: root.next_uid }
}
