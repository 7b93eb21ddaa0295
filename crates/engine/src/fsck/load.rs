//! Refs, commits and staging as a start would find them: tables, then the journal on top, up to a row.
//!
//! Unlike a start, which refuses at the first row that it cannot read, this goes on and names every one.

use super::{Check, FsckReport, RESTORE};
use crate::audit::{Trail, decode_note};
use crate::engine::{self, Stores, kv_error};
use crate::keys::{self, RepoUid};
use crate::nodes::NodeCache;
use crate::record::Row;
use crate::state::{RepoState, RootState, Versioned};
use crate::watch::Defect;
use crate::{Result, checkpoint, idempotency, tables};
use bytes::Bytes;
use millpond_kv::{KvError, key_after, key_text};
use millpond_types::ContentHash;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Rows of one read.
const PAGE_ROWS: usize = 4096;

/// The refs of all repositories at one row of the journal.
pub struct Loaded {
    pub root: Versioned<RootState>,
    pub report: FsckReport,
    /// The audit trail before the journal, unless what is said about it cannot be read.
    pub trail: Option<Trail>,
}

impl Check {
    /// Loads everything before the journal row `next`.
    pub async fn load(&self, next: u64) -> Result<Loaded> {
        self.watch.phase("journal and tables");
        let mut report = FsckReport::default();
        let root = Versioned::new(RootState { next_uid: 1, ..Default::default() });
        let cache = NodeCache::new(1 << 20);
        let stores = Stores { blobs: &self.blobs, tasks: &self.tasks, cache: &cache, epoch: 0 };
        let mut repositories: Vec<(RepoUid, RepoState)> = Vec::new();
        self.rows(keys::REPOSITORIES, |key, value| {
            let (uid, state) = tables::decode_repository(value)?;
            if key != keys::repository(&state.info.name) {
                return Err(crate::Error::new(crate::Kind::Damaged, "it is filed under another name"));
            }
            repositories.push((uid, state));
            Ok(())
        })
        .await?;
        for (uid, mut state) in repositories {
            self.tables(uid, &mut state, &mut report).await?;
            let name = state.info.name.clone();
            root.publish(|root| root.insert(&name, &engine::new_repo(stores, uid, state)));
        }
        self.rows(keys::NOTES, |key, value| decode_note(&key, value).map(drop)).await?;
        self.rows(keys::IDEMPOTENCY, |_, value| idempotency::decode(value).map(drop)).await?;
        let (first, previous) = match checkpoint::read(&*self.kv).await {
            Ok(read) => read,
            Err(error) => {
                self.row_defect(keys::CHECKPOINT, &error.message);
                (0, [0; 32])
            }
        };
        // Without a checkpoint record the journal has to speak for itself.
        let mut chain = Chain { expected: first, previous: (first > 0).then_some(previous) };
        let mut from = keys::journal(first);
        let end = keys::journal(next);
        loop {
            let page = match self.kv.scan(&from, &end, 256).await {
                Ok(page) => page,
                Err(KvError::Damaged(key, what)) if !key.is_empty() => {
                    // What lies before it is read again, without it.
                    let before = self.kv.scan(&from, &key, usize::MAX).await.map_err(kv_error)?;
                    self.journal(&root, stores, before, &mut chain, &mut report);
                    self.row_defect(&key, &what);
                    chain = Chain { expected: row_number(&key) + 1, previous: None };
                    from = key_after(&key);
                    continue;
                }
                Err(KvError::Damaged(key, what)) => {
                    self.row_defect(&key, &what);
                    break;
                }
                Err(error) => return Err(kv_error(error)),
            };
            let Some((last, _)) = page.last() else { break };
            from = key_after(last);
            self.journal(&root, stores, page, &mut chain, &mut report);
        }
        report.upto_row = chain.expected.saturating_sub(1);
        let trail = match Trail::load(&*self.kv, None).await {
            Ok(trail) => Some(trail),
            Err(error) if error.kind == crate::Kind::Damaged => {
                self.trail_defect("audit trail", &error.message);
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Loaded { root, report, trail })
    }

    fn journal(
        &self,
        root: &Versioned<RootState>,
        stores: Stores<'_>,
        rows: Vec<(Bytes, Bytes)>,
        chain: &mut Chain,
        report: &mut FsckReport,
    ) {
        for (key, value) in rows {
            let number = row_number(&key);
            if number != chain.expected && chain.expected > 0 {
                self.row_defect(
                    &key,
                    &format!("rows {} to {} before it are missing", chain.expected, number - 1),
                );
                chain.previous = None;
            }
            let hash: [u8; 32] = Sha256::digest(&value).into();
            chain.expected = number + 1;
            let broken = match Row::decode(value) {
                Err(error) => Some(error.to_string()),
                Ok(row) => {
                    for (position, (context, records)) in row.mutations.iter().enumerate() {
                        let sequence = engine::sequence(number, position);
                        engine::publish(root, stores, context, records, sequence, None);
                    }
                    let holds = chain.previous.is_none_or(|previous| previous == row.previous);
                    (!holds)
                        .then(|| "it does not follow from the row before it: one of them was changed".into())
                }
            };
            chain.previous = Some(hash);
            if let Some(what) = broken {
                self.row_defect(&key, &what);
                chain.previous = None;
            }
            report.journal_rows += 1;
        }
    }

    async fn rules(&self, uid: RepoUid, state: &mut RepoState) -> Result<()> {
        let prefix = keys::rules(uid);
        self.rows(&prefix.clone(), |key, value| {
            let (number, rule) = tables::decode_rule(&key[prefix.len()..], value)?;
            state.rules.insert(number, rule);
            Ok(())
        })
        .await
    }

    /// Adds rules that came since the check began: so may commits with entries that go by them, and a rule comes to
    /// its table no later than they. Whether there were any.
    pub async fn read_new_rules(&self, uid: RepoUid, state: &mut Arc<RepoState>) -> Result<bool> {
        let known = state.rules.len();
        self.rules(uid, Arc::make_mut(state)).await?;
        Ok(state.rules.len() > known)
    }

    async fn tables(&self, uid: RepoUid, state: &mut RepoState, report: &mut FsckReport) -> Result<()> {
        let prefix = keys::branches(uid);
        self.rows(&prefix.clone(), |key, value| {
            let branch = tables::decode_branch(&key[prefix.len()..], value)?;
            state.branches.insert(branch.name.clone(), branch);
            Ok(())
        })
        .await?;
        let prefix = keys::tags(uid);
        self.rows(&prefix.clone(), |key, value| {
            let (tag, commit) = tables::decode_tag(&key[prefix.len()..], &value)?;
            state.tags.insert(tag, commit);
            Ok(())
        })
        .await?;
        self.rows(&keys::uploads(uid), |_, value| {
            let upload = tables::decode_upload(value)?;
            state.uploads.insert(upload.info.id.clone(), upload);
            Ok(())
        })
        .await?;
        self.rules(uid, state).await?;
        self.rows(&keys::imports(uid), |_, value| {
            let import = tables::decode_import(value)?;
            state.imports.insert(import.order.id.clone(), import);
            Ok(())
        })
        .await?;
        self.rows(&keys::jobs(uid), |_, value| {
            let job = tables::decode_job(value)?;
            state.jobs.insert(job.id.clone(), job);
            Ok(())
        })
        .await?;
        self.rows(&keys::pulls(uid), |_, value| {
            state.pulls.keep(tables::decode_pull(value)?);
            Ok(())
        })
        .await?;
        self.rows(&keys::settings(uid), |_, value| {
            state.settings = tables::decode_settings(value)?;
            Ok(())
        })
        .await?;
        // Each move is in two tables; a digest over both in the order of sequences shows a difference.
        let (mut all, mut by_name) = ((0u64, [0u8; 32]), (0u64, [0u8; 32]));
        let add = |sum: &mut (u64, [u8; 32]), value: &[u8]| {
            sum.0 += 1;
            sum.1.iter_mut().zip(ContentHash::of(value).0).for_each(|(sum, byte)| *sum ^= byte);
        };
        self.rows(&keys::moves(uid), |key, value| {
            add(&mut all, &value);
            let moved = tables::decode_move(value)?;
            match key == keys::ref_move(uid, moved.sequence) {
                true => Ok(()),
                false => Err(crate::Error::new(crate::Kind::Damaged, "it is filed under another number")),
            }
        })
        .await?;
        let prefix = crate::keys::moves_of_all(uid);
        self.rows(&prefix, |key, value| {
            add(&mut by_name, &value);
            let moved = tables::decode_move(value)?;
            match key == keys::ref_move_of(uid, &moved.name, moved.sequence) {
                true => Ok(()),
                false => Err(crate::Error::new(crate::Kind::Damaged, "it is filed under another name")),
            }
        })
        .await?;
        if all != by_name {
            self.watch.defect(Defect {
                repository: Some(state.info.name.to_string()),
                reference: None,
                path: None,
                thing: "ref log".to_owned(),
                what: format!(
                    "the log has {} moves, the logs of single refs {}, or they differ",
                    all.0, by_name.0
                ),
                remedy: RESTORE,
            });
        }
        report.moves += all.0;
        Ok(())
    }

    /// Gives every row with this prefix to `take`; what it refuses, and what cannot be read, is a defect.
    pub async fn rows(&self, prefix: &[u8], mut take: impl FnMut(Bytes, Bytes) -> Result<()>) -> Result<()> {
        let end = millpond_kv::prefix_end(prefix).expect("no table prefix is all 0xff");
        let mut from = Bytes::copy_from_slice(prefix);
        let mut to = end.clone();
        loop {
            let page = match self.kv.scan(&from, &to, PAGE_ROWS).await {
                Ok(page) => page,
                Err(KvError::Damaged(key, what)) if !key.is_empty() && to != key => {
                    self.row_defect(&key, &what);
                    // First what lies before it, then on behind it.
                    to = key;
                    continue;
                }
                Err(KvError::Damaged(key, what)) => {
                    self.row_defect(&key, &what);
                    return Ok(());
                }
                Err(error) => return Err(kv_error(error)),
            };
            let last = page.last().map(|(key, _)| key.clone());
            for (key, value) in page {
                if let Err(error) = take(key.clone(), value) {
                    self.row_defect(&key, &error.message);
                }
            }
            from = match last {
                Some(last) => key_after(&last),
                None if to == end => return Ok(()),
                None => key_after(&std::mem::replace(&mut to, end.clone())),
            };
        }
    }

    /// Walks along the audit trail up to the journal, which was judged as it was loaded.
    pub async fn trail(&self, trail: Trail) -> Result<()> {
        self.watch.phase("audit trail");
        let proof = trail.walk(&*self.blobs, &*self.tasks, None, !self.request.quick).await?;
        for found in proof.faults {
            self.trail_defect(&format!("audit trail, row {}", found.row), &found.what);
        }
        Ok(())
    }

    fn trail_defect(&self, thing: &str, what: &str) {
        self.watch.report(thing, what);
    }

    fn row_defect(&self, key: &[u8], what: &str) {
        let thing = match key {
            [] => "the metadata store".to_owned(),
            _ if key.starts_with(keys::JOURNAL) => format!("journal row {}", row_number(key)),
            _ => format!("metadata row {}", key_text(key)),
        };
        self.watch.defect(Defect {
            repository: None,
            reference: None,
            path: None,
            thing,
            what: what.to_owned(),
            remedy: RESTORE,
        });
    }
}

struct Chain {
    /// Number of the next row; 0 if any may be the first.
    expected: u64,
    /// Hash of the row before, where it is known.
    previous: Option<[u8; 32]>,
}

fn row_number(key: &[u8]) -> u64 {
    let number = key.get(keys::JOURNAL.len()..).and_then(|number| number.try_into().ok());
    number.map_or(0, u64::from_be_bytes)
}
