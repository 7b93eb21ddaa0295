//! Merge, revert and cherry-pick: one three-way merge, three choices of base and source.

use super::commit::check_words;
use super::train::{Also, Move, Staging, commit_answer};
use crate::engine::Engine;
use crate::idempotency::{Begin, Keyed};
use crate::record::Record;
use crate::state::{Branch, Repo, RepoState};
use crate::{Actor, CommitInfo, CommitOverrides, Error, Kind, MergeRequest, MergeStrategy, Result};
use millpond_tree::{NewNodes, Strategy};
use millpond_types::{BranchName, Commit, CommitId, Metadata, RefExpr, RepositoryName, TreeId, Writer};
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

/// Conflicting paths that an error names.
const CONFLICTS_NAMED_MAX: usize = 10;
/// Metadata key that clients read the strategy from (API-14.3).
const STRATEGY_KEY: &str = ".lakefs.merge.strategy";

/// Decides what else is to happen together with a merge, whose commit it is told.
pub(super) type AlsoMerged<'a> = Box<dyn FnOnce(&RepoState, CommitId) -> Result<Vec<Record>> + Send + 'a>;

impl CommitOverrides {
    fn check(&self) -> Result<()> {
        let none = Metadata::new();
        check_words(self.message.as_deref().unwrap_or_default(), self.metadata.as_ref().unwrap_or(&none))
    }
}

impl Engine {
    /// Merges a commit into a branch. Always makes a commit (API-14.5).
    pub async fn merge(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        source: &RefExpr,
        destination: &BranchName,
        request: MergeRequest,
    ) -> Result<CommitId> {
        self.journal.admit()?;
        check_words(&request.message, &request.metadata)?;
        let mut fingerprint = Writer::new();
        fingerprint.text(&format!("{source:?}")).text(destination.as_str()).text(&format!("{request:?}"));
        let mut keyed = match self.begin(actor, "merge", repository, || fingerprint.finish()).await? {
            Begin::Again(answer) => return self.same_commit(answer).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        self.merge_and(actor, &mut keyed, &repo, source, destination, request, None).await
    }

    /// Merges, together with what `also` decides: both or nothing.
    #[allow(clippy::too_many_arguments)]
    pub(super) async fn merge_and(
        &self,
        actor: &Actor,
        keyed: &mut Keyed,
        repo: &Arc<Repo>,
        source: &RefExpr,
        destination: &BranchName,
        request: MergeRequest,
        also: Option<AlsoMerged<'_>>,
    ) -> Result<CommitId> {
        self.writable(repo, request.force)?;
        let branch = self.branch(repo, destination)?;
        let train = branch.train.lock().await;
        let staging = self.clean(repo, &branch).await?;
        let (source_id, source_commit) = self.resolve_commit(repo, source).await?;
        let head = staging.at.head;
        let base = self.base_of(repo, head, source_id).await?;
        let base_tree = self.stored_commit(repo, &base).await?.tree;
        if source_commit.tree == base_tree && !request.allow_empty && !request.force {
            self.journal.barrier().await?;
            return Err(Error::new(
                Kind::NoChanges,
                format!("no changes: '{source}' brings nothing new to '{destination}'"),
            ));
        }
        let (strategy, strategy_name) = match request.strategy {
            MergeStrategy::Refuse => (Strategy::Fail, "default"),
            MergeStrategy::SourceWins => (Strategy::SourceWins, "source-wins"),
            MergeStrategy::DestWins => (Strategy::DestWins, "dest-wins"),
        };
        let (tree, nodes) = self.three_way(repo, &staging, base_tree, source_commit.tree, strategy).await?;
        let mut metadata = request.metadata;
        metadata.insert(STRATEGY_KEY.to_owned(), strategy_name.to_owned());
        let message = match request.message {
            text if text.is_empty() => format!("Merge '{source}' into '{destination}'"),
            text => text,
        };
        let dest_commit = self.stored_commit(repo, &head).await?;
        let commit = Commit {
            committer: actor.name.clone(),
            message,
            tree,
            creation_date: self.clock.now().seconds(),
            metadata,
            // By its parents alone: whoever rebuilds it from the history must find the same.
            generation: 1 + if request.squash {
                dest_commit.generation
            } else {
                dest_commit.generation.max(source_commit.generation)
            },
            parents: if request.squash { vec![head] } else { vec![head, source_id] },
        };
        let id = commit.id();
        let also = also.map(|also| -> Also<'_> { Box::new(move |state| also(state, id)) });
        let moved = self.land(actor, "merge", repo, &branch, keyed, staging, &commit, nodes, also);
        drop(train);
        self.settle(moved).await?;
        Ok(id)
    }

    /// Undoes one commit's change with a new commit (API-13.7).
    #[allow(clippy::too_many_arguments)]
    pub async fn revert(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &BranchName,
        target: &RefExpr,
        parent_number: u64,
        overrides: CommitOverrides,
        allow_empty: bool,
        force: bool,
    ) -> Result<CommitInfo> {
        self.journal.admit()?;
        overrides.check()?;
        let mut fingerprint = Writer::new();
        fingerprint.text(name.as_str()).text(&format!("{target:?}{parent_number}{overrides:?}{allow_empty}"));
        let mut keyed = match self.begin(actor, "revert", repository, || fingerprint.finish()).await? {
            Begin::Again(answer) => return self.same_commit_info(repository, answer).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        self.changeable(&repo, name, "revert", force)?;
        let branch = self.branch(&repo, name)?;
        let train = branch.train.lock().await;
        let (_, reverted) = self.resolve_on_turn(&repo, &branch, target).await?;
        let parent_tree = match (reverted.parents.len(), parent_number) {
            (0 | 1, 0) => match reverted.parents.first() {
                Some(parent) => self.stored_commit(&repo, parent).await?.tree,
                None => TreeId::EMPTY,
            },
            (_, 0) => {
                return Err(Error::new(
                    Kind::ParentNumberNeeded,
                    "this is a merge commit: name the parent to go back to (parent number 1 or 2)",
                ));
            }
            (parents, n) => self.parent_tree(&repo, &reverted, n, parents).await?,
        };
        let staging = self.clean(&repo, &branch).await?;
        let no_changes =
            || Error::new(Kind::NoChanges, "no changes: the commit's effect is not on the branch");
        if parent_tree == reverted.tree && !allow_empty {
            return Err(no_changes());
        }
        let (tree, nodes) =
            self.three_way(&repo, &staging, reverted.tree, parent_tree, Strategy::Fail).await?;
        if tree == staging.at.head_tree && !allow_empty {
            self.journal.barrier().await?;
            return Err(no_changes());
        }
        let message =
            overrides.message.filter(|m| !m.is_empty()).unwrap_or_else(|| format!("Revert {target}"));
        let commit = self
            .next_commit(actor, &repo, &staging, tree, message, overrides.metadata.unwrap_or_default())
            .await?;
        let moved = self.land(actor, "revert", &repo, &branch, &mut keyed, staging, &commit, nodes, None);
        drop(train);
        self.settle(moved).await?;
        Ok(CommitInfo { id: commit.id(), commit })
    }

    /// Repeats one commit's change on a branch (API-13.14).
    #[allow(clippy::too_many_arguments)]
    pub async fn cherry_pick(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &BranchName,
        target: &RefExpr,
        parent_number: Option<u64>,
        overrides: CommitOverrides,
        force: bool,
    ) -> Result<CommitInfo> {
        self.journal.admit()?;
        overrides.check()?;
        let mut fingerprint = Writer::new();
        fingerprint.text(name.as_str()).text(&format!("{target:?}{parent_number:?}{overrides:?}"));
        let mut keyed = match self.begin(actor, "cherry-pick", repository, || fingerprint.finish()).await? {
            Begin::Again(answer) => return self.same_commit_info(repository, answer).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        self.changeable(&repo, name, "cherry-pick", force)?;
        let branch = self.branch(&repo, name)?;
        let train = branch.train.lock().await;
        let (picked_id, picked) = self.resolve_on_turn(&repo, &branch, target).await?;
        let number = match (picked.parents.len(), parent_number) {
            (2.., None) => {
                return Err(Error::new(
                    Kind::Invalid,
                    "this is a merge commit: name the parent to compare with (parent number 1 or 2)",
                ));
            }
            (_, number) => number.unwrap_or(1),
        };
        let base_tree = self.parent_tree(&repo, &picked, number, picked.parents.len()).await?;
        let staging = self.clean(&repo, &branch).await?;
        if base_tree == picked.tree {
            return Err(Error::new(Kind::NoChanges, "no changes: the picked commit changed nothing"));
        }
        let (tree, nodes) = self.three_way(&repo, &staging, base_tree, picked.tree, Strategy::Fail).await?;
        let message = overrides.message.filter(|m| !m.is_empty()).unwrap_or_else(|| picked.message.clone());
        let mut metadata = overrides.metadata.unwrap_or_else(|| picked.metadata.clone());
        metadata.insert("cherry-pick-origin".to_owned(), picked_id.to_hex());
        metadata.insert("cherry-pick-committer".to_owned(), picked.committer.clone());
        let commit = self.next_commit(actor, &repo, &staging, tree, message, metadata).await?;
        let moved =
            self.land(actor, "cherry-pick", &repo, &branch, &mut keyed, staging, &commit, nodes, None);
        drop(train);
        self.settle(moved).await?;
        Ok(CommitInfo { id: commit.id(), commit })
    }

    /// (base, source, destination) of a merge.
    pub async fn merge_base(
        &self,
        repository: &RepositoryName,
        source: &RefExpr,
        destination: &RefExpr,
    ) -> Result<(CommitId, CommitId, CommitId)> {
        let repo = self.repo(repository)?;
        let (source, _) = self.resolve_commit(&repo, source).await?;
        let (destination, _) = self.resolve_commit(&repo, destination).await?;
        Ok((self.base_of(&repo, destination, source).await?, source, destination))
    }

    /// The best common ancestor: the common one with the largest generation, and of several (criss-cross
    /// histories) the one with the smallest id, so that the result depends on the history alone.
    pub(crate) async fn base_of(
        &self,
        repo: &Arc<Repo>,
        left: CommitId,
        right: CommitId,
    ) -> Result<CommitId> {
        let mut heap = BinaryHeap::new();
        let mut sides: HashMap<CommitId, u8> = HashMap::new();
        for (id, side) in [(left, 1), (right, 2)] {
            let generation = self.stored_commit(repo, &id).await?.generation;
            *sides.entry(id).or_default() |= side;
            heap.push((generation, std::cmp::Reverse(id)));
        }
        while let Some((_, std::cmp::Reverse(id))) = heap.pop() {
            let side = sides[&id];
            if side == 3 {
                return Ok(id);
            }
            for parent in &self.stored_commit(repo, &id).await?.parents {
                let known = sides.entry(*parent).or_default();
                if *known == 0 {
                    heap.push((
                        self.stored_commit(repo, parent).await?.generation,
                        std::cmp::Reverse(*parent),
                    ));
                }
                *known |= side;
            }
        }
        Err(Error::new(Kind::Internal, format!("commits {left} and {right} have no common ancestor")))
    }

    async fn parent_tree(&self, repo: &Repo, commit: &Commit, number: u64, parents: usize) -> Result<TreeId> {
        let found =
            usize::try_from(number).ok().and_then(|n| n.checked_sub(1)).and_then(|i| commit.parents.get(i));
        match found {
            Some(parent) => Ok(self.stored_commit(repo, parent).await?.tree),
            None => Err(Error::new(
                Kind::Invalid,
                format!("the commit has {parents} parents, so there is no parent number {number}"),
            )),
        }
    }

    async fn three_way(
        &self,
        repo: &Arc<Repo>,
        staging: &Staging,
        base: TreeId,
        theirs: TreeId,
        strategy: Strategy,
    ) -> Result<(TreeId, NewNodes)> {
        let dest = staging.at.head_tree;
        let (merged, new) = repo
            .nodes
            .work(move |source| {
                let mut new = NewNodes::default();
                let merged = millpond_tree::merge(
                    source,
                    base,
                    dest,
                    theirs,
                    strategy,
                    CONFLICTS_NAMED_MAX + 1,
                    &mut new,
                )?;
                Ok((merged, new))
            })
            .await?;
        if merged.conflicts.is_empty() {
            return Ok((merged.tree, new));
        }
        self.journal.barrier().await?;
        let named: Vec<_> =
            merged.conflicts.iter().take(CONFLICTS_NAMED_MAX).map(|p| p.to_text().into_owned()).collect();
        let more = if merged.conflicts.len() > CONFLICTS_NAMED_MAX { " and more" } else { "" };
        Err(Error::new(
            Kind::Conflict,
            format!("conflict found: both sides changed {}{more}", named.join(", ")),
        ))
    }

    async fn next_commit(
        &self,
        actor: &Actor,
        repo: &Repo,
        staging: &Staging,
        tree: TreeId,
        message: String,
        metadata: millpond_types::Metadata,
    ) -> Result<Commit> {
        let parent = self.stored_commit(repo, &staging.at.head).await?;
        Ok(Commit {
            committer: actor.name.clone(),
            message,
            tree,
            creation_date: self.clock.now().seconds(),
            metadata,
            parents: vec![staging.at.head],
            generation: parent.generation + 1,
        })
    }

    /// Moves a clean branch's head to a new commit.
    #[allow(clippy::too_many_arguments)]
    fn land(
        &self,
        actor: &Actor,
        verb: &str,
        repo: &Arc<Repo>,
        branch: &Branch,
        keyed: &mut Keyed,
        staging: Staging,
        commit: &Commit,
        nodes: NewNodes,
        also: Option<Also<'_>>,
    ) -> Result<crate::journal::Ticket> {
        let to = Move {
            new: commit.id(),
            tree: commit.tree,
            commit: Some(Arc::new(commit.clone())),
            upto_seq: staging.upto_seq(),
            working: commit.tree,
            nodes: vec![nodes],
        };
        self.move_head_and(actor, verb, repo, branch, keyed, commit_answer(&to.new), to, also)
    }
}
