//! Reset drops staged changes; hard reset moves the head.

use super::train::{Move, commit_answer};
use crate::engine::Engine;
use crate::idempotency::Begin;
use crate::{Actor, ResetScope, Result};
use millpond_tree::{Diff, NewNodes, Overlay};
use millpond_types::{BranchName, RefExpr, RepositoryName, Writer};
use std::ops::Bound;

impl Engine {
    /// Drops staged changes, all of them or by path; what is committed shows again. Nothing staged is no error.
    pub async fn reset(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &BranchName,
        scope: ResetScope,
        force: bool,
    ) -> Result<()> {
        self.journal.admit()?;
        let mut request = Writer::new();
        request.text(name.as_str()).u8(u8::from(force));
        match &scope {
            ResetScope::All => request.u8(0),
            ResetScope::Prefix(prefix) => request.u8(1).bytes(prefix),
            ResetScope::Path(path) => request.u8(2).bytes(path.as_bytes()),
        };
        let mut keyed = match self.begin(actor, "reset", repository, || request.finish()).await? {
            Begin::Again(answer) => return self.same(answer, |_| Ok(())).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        self.changeable(&repo, name, "reset", force)?;
        let branch = self.branch(&repo, name)?;
        let train = branch.train.lock().await;
        let (upto, working, nodes) = match scope {
            ResetScope::All => {
                let at = self.decided(&branch).await?;
                (at.next_seq - 1, at.head_tree, vec![])
            }
            ResetScope::Prefix(prefix) => {
                let staging = self.staging(&repo, &branch).await?;
                let (head, all, overlay) = (staging.at.head_tree, staging.tree, staging.new.clone());
                let (working, new) = repo
                    .nodes
                    .work(move |base| {
                        let source = Overlay { new: &overlay, base };
                        let mut changes = Vec::new();
                        let mut diff = Diff::new(&source, all, head, &prefix, Bound::Unbounded);
                        while let Some((path, change)) = diff.next()? {
                            changes.push((path, change.into_right()));
                        }
                        let mut new = NewNodes::default();
                        let working = millpond_tree::apply(&source, all, changes.into_iter(), &mut new)?;
                        Ok((working, new))
                    })
                    .await?;
                (staging.upto_seq(), working, vec![staging.new, new])
            }
            ResetScope::Path(path) => {
                let staging = self.staging(&repo, &branch).await?;
                let (head, all, overlay) = (staging.at.head_tree, staging.tree, staging.new.clone());
                let (working, new) = repo
                    .nodes
                    .work(move |base| {
                        let source = Overlay { new: &overlay, base };
                        let old = millpond_tree::get(&source, head, path.as_bytes())?;
                        let mut new = NewNodes::default();
                        let change = std::iter::once((path, old));
                        let working = millpond_tree::apply(&source, all, change, &mut new)?;
                        Ok((working, new))
                    })
                    .await?;
                (staging.upto_seq(), working, vec![staging.new, new])
            }
        };
        let staged = self.replace_staging(
            self.context(actor, "reset"),
            &mut keyed,
            &repo,
            &branch,
            upto,
            working,
            nodes,
        );
        drop(train);
        self.settle(staged).await
    }

    /// Moves a clean branch's head to any commit of the repository.
    pub async fn hard_reset(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &BranchName,
        target: &RefExpr,
        force: bool,
    ) -> Result<()> {
        self.journal.admit()?;
        let mut request = Writer::new();
        request.text(name.as_str()).text(&target.text);
        let mut keyed = match self.begin(actor, "hard-reset", repository, || request.finish()).await? {
            Begin::Again(answer) => return self.same_commit(answer).await.map(|_| ()),
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        self.changeable(&repo, name, "hard-reset", force)?;
        let branch = self.branch(&repo, name)?;
        let train = branch.train.lock().await;
        let staging = self.clean(&repo, &branch).await?;
        let (id, commit) = self.resolve_on_turn(&repo, &branch, target).await?;
        let upto_seq = staging.upto_seq();
        let to =
            Move { new: id, tree: commit.tree, commit: None, upto_seq, working: commit.tree, nodes: vec![] };
        let moved = self.move_head(actor, "hard-reset", &repo, &branch, &mut keyed, commit_answer(&id), to);
        drop(train);
        self.settle(moved).await
    }
}
