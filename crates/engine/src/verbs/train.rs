//! What every head-moving verb has in common: take the branch's turn, judge staging, move the head.
//!
//! The head moves as soon as it is decided, so the next verb in line builds on it at once; the answer
//! waits until it is durable. Object writes never wait for the turn.

use crate::engine::Engine;
use crate::idempotency::{Begin, Keyed};
use crate::journal::{Submission, Ticket};
use crate::record::{Context, Record};
use crate::state::{Branch, BranchState, Repo, RepoState};
use crate::{Actor, CommitInfo, Error, Kind, Result, Thing};
use bytes::Bytes;
use millpond_tree::{Diff, NewNodes, Overlay};
use millpond_types::{BranchName, Commit, CommitId, DecodeError, Reader, RefExpr, RepositoryName, TreeId};
use std::ops::Bound;
use std::sync::Arc;

/// Everything staged up to one point, as a tree.
pub(crate) struct Staging {
    /// The branch at that point.
    pub at: BranchState,
    /// Head plus everything staged.
    pub tree: TreeId,
    /// Nodes of `tree` that are not stored yet.
    pub new: NewNodes,
    /// Whether `tree` differs from the head's tree in any object.
    pub dirty: bool,
}

impl Staging {
    /// The branch sequence of the last change in it.
    pub fn upto_seq(&self) -> u64 {
        self.at.next_seq - 1
    }
}

/// Where a head goes.
pub(crate) struct Move {
    pub new: CommitId,
    pub tree: TreeId,
    pub commit: Option<Arc<Commit>>,
    pub upto_seq: u64,
    pub working: TreeId,
    pub nodes: Vec<NewNodes>,
}

/// Decides what else is to happen together with a head's move, from the repository's state at that moment.
pub(crate) type Also<'a> = Box<dyn FnOnce(&RepoState) -> Result<Vec<Record>> + Send + 'a>;

impl Engine {
    /// The branch as decided now, refusing one that is gone.
    pub(crate) async fn decided(&self, branch: &Branch) -> Result<BranchState> {
        let state = branch.state.decide().clone();
        if state.deleted {
            self.journal.barrier().await?;
            return Err(branch_gone(&branch.name));
        }
        Ok(state)
    }

    /// Turns everything staged so far into a tree. Call with the branch's turn.
    pub(crate) async fn staging(&self, repo: &Arc<Repo>, branch: &Branch) -> Result<Staging> {
        let at = self.decided(branch).await?;
        let (tree, new) = self.fold_view(repo, &at).await?;
        let dirty = if tree == at.head_tree {
            false
        } else {
            let (left, overlay) = (at.head_tree, new.clone());
            repo.nodes
                .work(move |base| {
                    let source = Overlay { new: &overlay, base };
                    Ok(Diff::new(&source, left, tree, b"", Bound::Unbounded).next()?.is_some())
                })
                .await?
        };
        Ok(Staging { at, tree, new, dirty })
    }

    /// The tree of a branch's working tree and memtable.
    pub(crate) async fn fold_view(&self, repo: &Arc<Repo>, at: &BranchState) -> Result<(TreeId, NewNodes)> {
        if at.memtable.is_empty() {
            return Ok((at.working, NewNodes::default()));
        }
        let (working, memtable) = (at.working, at.memtable.clone());
        repo.nodes
            .work(move |source| {
                let mut new = NewNodes::default();
                let changes =
                    memtable.iter().map(|(path, staged)| (path.clone(), staged.value.as_deref().cloned()));
                let tree = millpond_tree::apply(source, working, changes, &mut new)?;
                Ok((tree, new))
            })
            .await
    }

    /// Refuses a branch with staged differences; returns what is staged without effect, to be folded away.
    pub(crate) async fn clean(&self, repo: &Arc<Repo>, branch: &Branch) -> Result<Staging> {
        let staging = self.staging(repo, branch).await?;
        if staging.dirty {
            self.journal.barrier().await?;
            return Err(Error::new(
                Kind::Dirty,
                format!("uncommitted changes (dirty branch): commit or reset '{}' first", branch.name),
            ));
        }
        Ok(staging)
    }

    /// The commit that an expression leads to, for a verb that has the branch's turn. One that starts from
    /// the branch itself (`main~1`) means the head as decided, so what is decided must be published first.
    pub(crate) async fn resolve_on_turn(
        &self,
        repo: &Arc<Repo>,
        branch: &Branch,
        expr: &RefExpr,
    ) -> Result<(CommitId, Arc<Commit>)> {
        if expr.base == branch.name.as_str() {
            self.journal.barrier().await?;
        }
        self.resolve_commit(repo, expr).await
    }

    /// Moves a branch's head; `answer` is what a repeated request is told. Call with the branch's turn, on the
    /// state that was judged.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn move_head(
        &self,
        actor: &Actor,
        verb: &str,
        repo: &Arc<Repo>,
        branch: &Branch,
        keyed: &mut Keyed,
        answer: Bytes,
        to: Move,
    ) -> Result<Ticket> {
        self.move_head_and(actor, verb, repo, branch, keyed, answer, to, None)
    }

    /// As [`Engine::move_head`], together with what `also` decides about the repository: both or nothing.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn move_head_and(
        &self,
        actor: &Actor,
        verb: &str,
        repo: &Arc<Repo>,
        branch: &Branch,
        keyed: &mut Keyed,
        answer: Bytes,
        to: Move,
        also: Option<Also<'_>>,
    ) -> Result<Ticket> {
        let mut context = self.context(actor, verb);
        let mut state = branch.state.decide();
        if state.deleted {
            return Err(branch_gone(&branch.name));
        }
        let record = Record::HeadMoved {
            uid: repo.uid,
            branch: branch.name.clone(),
            old: state.head,
            new: to.new,
            tree: to.tree,
            commit: to.commit.clone(),
            upto_seq: to.upto_seq,
            working: to.working,
        };
        let mut records = vec![record];
        // After the branch's lock, and held until both are submitted.
        let mut of_repo = repo.decide_on(&branch.name, verb)?;
        if let Some(also) = also {
            records.extend(also(&of_repo)?);
        }
        for nodes in &to.nodes {
            repo.nodes.announce(nodes);
        }
        if let Some(commit) = to.commit {
            repo.unsaved.write().commits.insert(to.new, commit);
        }
        state.apply(&records[0]);
        records[1..].iter().for_each(|record| of_repo.apply(record, None));
        keyed.answer(&mut context, || answer);
        Ok(self.submit(Submission { context, records, nodes: Some((repo.clone(), to.nodes)), created: None }))
    }

    /// Takes a branch's memtable into its working tree, if it has that many entries.
    pub(crate) async fn fold(&self, repo: &Arc<Repo>, branch: &Branch, entries_min: usize) -> Result<()> {
        let train = branch.train.lock().await;
        let Ok(at) = self.decided(branch).await else { return Ok(()) };
        if at.memtable.len() < entries_min {
            return Ok(());
        }
        let (tree, new) = self.fold_view(repo, &at).await?;
        let context = self.context(&Actor::default(), "fold");
        let folded =
            self.replace_staging(context, &mut Keyed::none(), repo, branch, at.next_seq - 1, tree, vec![new]);
        drop(train);
        match folded {
            Ok(ticket) => ticket.durable().await,
            // Its repository was deleted meanwhile.
            Err(_) => Ok(()),
        }
    }

    /// Makes the staging up to a branch sequence this tree. Call with the branch's turn.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn replace_staging(
        &self,
        mut context: Context,
        keyed: &mut Keyed,
        repo: &Arc<Repo>,
        branch: &Branch,
        upto_seq: u64,
        working: TreeId,
        nodes: Vec<NewNodes>,
    ) -> Result<Ticket> {
        let mut state = branch.state.decide();
        if state.deleted {
            return Err(branch_gone(&branch.name));
        }
        let _allowed = repo.decide_on(&branch.name, &context.verb)?;
        let record = Record::Folded { uid: repo.uid, branch: branch.name.clone(), upto_seq, working };
        for new in &nodes {
            repo.nodes.announce(new);
        }
        state.apply(&record);
        keyed.answer(&mut context, Bytes::new);
        Ok(self.submit(Submission {
            context,
            records: vec![record],
            nodes: Some((repo.clone(), nodes)),
            created: None,
        }))
    }

    /// Starts a request that may carry an idempotency key.
    pub(crate) async fn begin(
        &self,
        actor: &Actor,
        verb: &str,
        repo: &RepositoryName,
        request: impl FnOnce() -> Vec<u8>,
    ) -> Result<Begin> {
        self.idempotency.begin(&*self.kv, actor, verb, repo, request, self.clock.now()).await
    }

    /// The commit id that a repeated request was answered with.
    pub(crate) async fn same_commit(&self, answer: Bytes) -> Result<CommitId> {
        self.same(answer, |r| Ok(CommitId(r.digest()?))).await
    }

    /// A remembered answer, read, when the change that it tells of is durable.
    pub(crate) async fn same<T>(
        &self,
        answer: Bytes,
        read: impl FnOnce(&mut Reader) -> std::result::Result<T, DecodeError>,
    ) -> Result<T> {
        self.journal.barrier().await?;
        read(&mut Reader::new(answer))
            .map_err(|e| Error::new(Kind::Damaged, format!("a remembered answer cannot be read: {e}")))
    }

    /// The same with the commit itself.
    pub(crate) async fn same_commit_info(
        &self,
        repository: &RepositoryName,
        answer: Bytes,
    ) -> Result<CommitInfo> {
        let id = self.same_commit(answer).await?;
        let repo = self.repo(repository)?;
        // The answer outlives its repository, and another one may have its name by now.
        let commit = self.commit_by_id(&repo, &id).await?.ok_or_else(|| {
            Error::new(
                Kind::NotFound(Thing::Commit),
                format!(
                    "this request made commit {id}, but repository '{repository}' was deleted and created again since"
                ),
            )
        })?;
        Ok(CommitInfo { id, commit: (*commit).clone() })
    }
}

/// The answer to remember where a commit id says it all.
pub(super) fn commit_answer(id: &CommitId) -> Bytes {
    id.0.to_vec().into()
}

pub(super) fn branch_gone(name: &BranchName) -> Error {
    Error::new(Kind::NotFound(Thing::Branch), format!("branch '{name}' not found"))
}
