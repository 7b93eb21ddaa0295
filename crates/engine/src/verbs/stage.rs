//! Staging: how one or more changes get onto a branch. Conditions are judged here, by the branch's
//! writer, against what is visible at that moment, so of two contenders exactly one wins.

use super::train::branch_gone;
use crate::engine::Engine;
use crate::journal::{Submission, Ticket};
use crate::record::{Context, Record, StagedOp};
use crate::resolve::View;
use crate::state::{Branch, BranchState, Repo, RepoState};
use crate::{Error, EtagMatch, Kind, Result, Thing, WriteCondition};
use millpond_types::{Entry, ObjectPath, Writer};
use std::sync::Arc;

impl WriteCondition {
    /// Whether there is nothing to judge.
    pub fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Its part of what makes two requests the same.
    pub(crate) fn fingerprint(&self, w: &mut Writer) {
        for etags in [&self.if_match, &self.if_none_match] {
            match etags {
                None => w.u8(0),
                Some(EtagMatch::Any) => w.u8(1),
                Some(EtagMatch::OneOf(list)) => {
                    w.u8(2).uint(list.len() as u64);
                    list.iter().for_each(|etag| {
                        w.text(etag);
                    });
                    &mut *w
                }
            };
        }
    }

    /// Judges the condition against what is there.
    pub fn judge(&self, path: &ObjectPath, current: Option<&Entry>) -> Result<()> {
        let etag = current.map(|entry| entry.checksum.to_text());
        if let Some(wanted) = &self.if_match {
            match &etag {
                None => {
                    return Err(Error::new(
                        Kind::NotFound(Thing::Object),
                        format!("object '{}' not found", path.to_text()),
                    ));
                }
                Some(etag) if !wanted.matches(etag) => {
                    return Err(failed(path));
                }
                Some(_) => {}
            }
        }
        match (&self.if_none_match, &etag) {
            (Some(unwanted), Some(etag)) if unwanted.matches(etag) => Err(failed(path)),
            _ => Ok(()),
        }
    }
}

fn failed(path: &ObjectPath) -> Error {
    Error::new(
        Kind::PreconditionFailed,
        format!("precondition failed: path already exists or differs: '{}'", path.to_text()),
    )
}

impl Engine {
    /// Stages changes that do not depend on what is there. They become visible together.
    pub(crate) fn stage(
        &self,
        context: Context,
        repo: &Arc<Repo>,
        branch: &Arc<Branch>,
        ops: Vec<StagedOp>,
    ) -> Result<Ticket> {
        let mut state = branch.state.decide();
        if state.deleted {
            return Err(branch_gone(&branch.name));
        }
        let _allowed = repo.decide_on(&branch.name, &context.verb)?;
        Ok(self.stage_in(context, repo, branch, &mut state, ops, vec![]))
    }

    /// Cannot refuse: the caller has judged the branch, too.
    fn stage_in(
        &self,
        context: Context,
        repo: &Arc<Repo>,
        branch: &Arc<Branch>,
        state: &mut BranchState,
        ops: Vec<StagedOp>,
        also: Vec<Record>,
    ) -> Ticket {
        let record =
            Record::Staged { uid: repo.uid, branch: branch.name.clone(), first_seq: state.next_seq, ops };
        state.apply(&record);
        if state.memtable.len() >= self.options.memtable_entries_max && branch.train.try_lock().is_ok() {
            let (engine, repo, branch) = (self.owned(), repo.clone(), branch.clone());
            self.options.tasks.spawn(Box::pin(async move {
                let enough = engine.options.memtable_entries_max;
                if let Err(error) = engine.fold(&repo, &branch, enough).await {
                    engine.cannot_fold(&repo, &branch, &error);
                }
            }));
        }
        let mut records = vec![record];
        records.extend(also);
        self.submit(Submission { context, records, nodes: None, created: None })
    }

    /// Stages changes that are decided from what is there. `decide` sees the repository's state, which it may change
    /// by the records it returns, and the current entries of `paths`, in order, and may refuse; it may run more than
    /// once, and its last run counts. The records it returns beside the changes become durable with them. It may
    /// complete the context (the answer to remember for an idempotency key).
    pub(crate) async fn stage_judged<T>(
        &self,
        context: Context,
        repo: &Arc<Repo>,
        branch: &Arc<Branch>,
        paths: &[ObjectPath],
        mut decide: impl FnMut(
            &mut Context,
            &mut RepoState,
            &[Option<Arc<Entry>>],
        ) -> Result<(Vec<StagedOp>, Vec<Record>, T)>,
    ) -> Result<T> {
        loop {
            let before = branch.state.decide().clone();
            if before.deleted {
                self.journal.barrier().await?;
                return Err(branch_gone(&branch.name));
            }
            let view = View::of_branch(&before);
            let mut current = Vec::with_capacity(paths.len());
            for path in paths {
                current.push(view.get(repo, path).await?);
            }
            let outcome = {
                let mut state = branch.state.decide();
                let unmoved = state.working == before.working
                    && paths.iter().all(|p| {
                        state.memtable.get(p).map(|s| s.seq) == before.memtable.get(p).map(|s| s.seq)
                    });
                if !unmoved {
                    continue;
                }
                let mut context = context.clone();
                // What `decide` says yes to must happen: it may have promised an answer or ended an upload.
                if state.deleted {
                    Err(branch_gone(&branch.name))
                } else {
                    repo.decide_on(&branch.name, &context.verb).and_then(|mut of_repo| {
                        let (ops, also, answer) = decide(&mut context, &mut of_repo, &current)?;
                        Ok((self.stage_in(context, repo, branch, &mut state, ops, also), answer))
                    })
                }
            };
            return match outcome {
                Ok((ticket, answer)) => {
                    ticket.durable().await?;
                    Ok(answer)
                }
                // The refusal may rest on a change that is decided but not yet durable.
                Err(error) => {
                    self.journal.barrier().await?;
                    Err(error)
                }
            };
        }
    }
}
