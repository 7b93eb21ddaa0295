//! The ref log, and undo of the last move of a branch.

use super::train::Move;
use crate::engine::{Created, Engine, kv_error};
use crate::idempotency::{Begin, Keyed};
use crate::journal::Submission;
use crate::record::Record;
use crate::state::{Branch, BranchState, Repo};
use crate::{Actor, Error, Kind, Page, RefMove, Result, Thing, keys, tables};
use bytes::Bytes;
use millpond_types::{BranchName, Reader, RepositoryName, Writer};
use std::sync::Arc;

impl Engine {
    /// Moves of refs, newest first; of one branch or tag, and only those older than `before`, if wanted.
    pub async fn ref_log(
        &self,
        repository: &RepositoryName,
        name: Option<&str>,
        before: Option<u64>,
        amount: usize,
    ) -> Result<Page<RefMove>> {
        let repo = self.repo(repository)?;
        self.moves_of(&repo, name, before, amount).await
    }

    pub(crate) async fn moves_of(
        &self,
        repo: &Repo,
        name: Option<&str>,
        before: Option<u64>,
        amount: usize,
    ) -> Result<Page<RefMove>> {
        let before = before.unwrap_or(u64::MAX);
        let mut items: Vec<RefMove> = {
            let unsaved = repo.unsaved.read();
            let wanted = |m: &&Arc<RefMove>| m.sequence < before && name.is_none_or(|n| n == m.name);
            unsaved.moves.iter().rev().filter(wanted).take(amount + 1).map(|m| (**m).clone()).collect()
        };
        if items.len() <= amount {
            // Moves that a checkpoint is just writing are in both; the table's are the older ones.
            let oldest = items.last().map_or(before, |m| m.sequence);
            let table = name.map_or_else(|| keys::moves(repo.uid), |n| keys::moves_of(repo.uid, n));
            let from = match name {
                None => keys::ref_move(repo.uid, oldest),
                Some(n) => keys::ref_move_of(repo.uid, n, oldest),
            };
            let end = millpond_kv::prefix_end(&table).expect("no table prefix is all 0xff");
            let wanted = amount + 2 - items.len();
            for (_, value) in self.kv.scan(&from, &end, wanted).await.map_err(kv_error)? {
                let moved = tables::decode_move(value)?;
                if moved.sequence < oldest {
                    items.push(moved);
                }
            }
        }
        let has_more = items.len() > amount;
        items.truncate(amount);
        Ok(Page { items, has_more })
    }

    /// Undoes the last move of a branch, by a new move. Returns that and the one undone. Undoing an undo
    /// is redo; undoing a deletion brings the branch back.
    pub async fn undo(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &BranchName,
        force: bool,
    ) -> Result<(RefMove, RefMove)> {
        self.journal.admit()?;
        let mut request = Writer::new();
        request.text(name.as_str()).u8(u8::from(force));
        let mut keyed = match self.begin(actor, "undo", repository, || request.finish()).await? {
            Begin::Again(answer) => {
                let undone = self.same(answer, Reader::uint).await?;
                return self.undo_of(&*self.repo(repository)?, name, undone).await;
            }
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        self.writable(&repo, force)?;
        let found = repo.state.read().branches.get(name).cloned();
        let undone = match found {
            Some(branch) => {
                self.changeable(&repo, name, "undo", force)?;
                let train = branch.train.lock().await;
                let staging = self.clean(&repo, &branch).await?;
                self.journal.barrier().await?;
                let last = self.last_move(&repo, name).await?;
                let old = last.old.ok_or_else(|| {
                    Error::new(
                        Kind::Invalid,
                        format!("'{name}' has only been created since; delete it to undo that"),
                    )
                })?;
                if last.new != Some(staging.at.head) {
                    return Err(Error::new(Kind::Busy, format!("'{name}' is being moved; try again")));
                }
                let commit = self.stored_commit(&repo, &old).await?;
                let upto_seq = staging.upto_seq();
                let to = Move {
                    new: old,
                    tree: commit.tree,
                    commit: None,
                    upto_seq,
                    working: commit.tree,
                    nodes: vec![],
                };
                let moved = self.move_head(actor, "undo", &repo, &branch, &mut keyed, undo_answer(&last), to);
                drop(train);
                self.settle(moved).await?;
                last
            }
            None => self.undelete(actor, &mut keyed, &repo, name).await?,
        };
        // It has happened: an error that promises the contrary must not come from here on.
        self.undo_of(&repo, name, undone.sequence).await.map_err(|e| {
            Error::new(Kind::Internal, format!("'{name}' was moved back, but that cannot be described: {e}"))
        })
    }

    /// The undo of a move, and the move: the first such move of that name after it. There may be any number
    /// of newer ones by now.
    async fn undo_of(&self, repo: &Repo, name: &BranchName, undone: u64) -> Result<(RefMove, RefMove)> {
        let mut newer: Vec<RefMove> = Vec::new();
        let mut before = None;
        loop {
            let page = self.moves_of(repo, Some(name.as_str()), before, 64).await?;
            for moved in page.items {
                if moved.sequence == undone {
                    let is_undo = |m: &RefMove| m.cause == "undo" && !m.is_tag && m.new == moved.old;
                    let made = newer.into_iter().rev().find(is_undo);
                    return made.map(|made| (made, moved)).ok_or_else(|| lost_move(name));
                }
                before = Some(moved.sequence);
                newer.push(moved);
            }
            if !page.has_more {
                return Err(lost_move(name));
            }
        }
    }

    async fn last_move(&self, repo: &Arc<Repo>, name: &BranchName) -> Result<RefMove> {
        let page = self.moves_of(repo, Some(name.as_str()), None, 16).await?;
        page.items.into_iter().find(|m| !m.is_tag).ok_or_else(|| {
            Error::new(
                Kind::NotFound(Thing::Branch),
                format!("branch '{name}' not found, nor any trace of one"),
            )
        })
    }

    async fn undelete(
        &self,
        actor: &Actor,
        keyed: &mut Keyed,
        repo: &Arc<Repo>,
        name: &BranchName,
    ) -> Result<RefMove> {
        let last = self.last_move(repo, name).await?;
        let (Some(head), None) = (last.old, last.new) else {
            return Err(Error::new(Kind::Busy, format!("'{name}' is being deleted; try again")));
        };
        let tree = self.stored_commit(repo, &head).await?.tree;
        let decided = (|| {
            let mut state = repo.decide()?;
            super::branches::clashes_with_tag(&state, name)?;
            if state.branches.contains_key(name) {
                return Err(Error::new(Kind::AlreadyExists, "branch already exists: not unique"));
            }
            let branch = Branch::new(name.clone(), false, BranchState::new(head, tree));
            let record =
                Record::BranchCreated { uid: repo.uid, branch: name.clone(), head, tree, hidden: false };
            state.apply(&record, Some(&branch));
            let created = Some(Created::Branch(branch));
            let mut context = self.context(actor, "undo");
            keyed.answer(&mut context, || undo_answer(&last));
            Ok(self.submit(Submission { context, records: vec![record], nodes: None, created }))
        })();
        self.settle(decided).await?;
        Ok(last)
    }
}

/// The answer to remember: which move was undone. The rest is in the ref log.
fn undo_answer(undone: &RefMove) -> Bytes {
    let mut w = Writer::new();
    w.uint(undone.sequence);
    w.finish().into()
}

fn lost_move(name: &BranchName) -> Error {
    Error::new(Kind::Internal, format!("'{name}' was moved back, but its ref log does not tell"))
}
