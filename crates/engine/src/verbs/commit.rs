//! Commit: everything staged up to one point, or chosen paths of it.

use super::train::{Move, Staging, commit_answer};
use crate::engine::Engine;
use crate::idempotency::Begin;
use crate::state::Repo;
use crate::{Actor, CommitInfo, CommitRequest, Error, Kind, Result};
use millpond_tree::{Diff, NewNodes, Overlay};
use millpond_types::limits::{COMMIT_MESSAGE_BYTES_MAX, COMMIT_METADATA_BYTES_MAX, COMMIT_METADATA_KEYS_MAX};
use millpond_types::{BranchName, Commit, Metadata, RepositoryName, TreeId, Writer};
use std::ops::Bound;
use std::sync::Arc;

impl Engine {
    /// Commits what is staged at this moment. Writes go on meanwhile and stay staged.
    pub async fn commit(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &BranchName,
        request: CommitRequest,
    ) -> Result<CommitInfo> {
        self.journal.admit()?;
        check_words(&request.message, &request.metadata)?;
        let mut keyed = match self.begin(actor, "commit", repository, || fingerprint(name, &request)).await? {
            Begin::Again(answer) => return self.same_commit_info(repository, answer).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        self.changeable(&repo, name, "commit", request.force)?;
        let branch = self.branch(&repo, name)?;
        let train = branch.train.lock().await;
        let staging = self.staging(&repo, &branch).await?;
        let partial = !request.paths.is_empty() || !request.prefixes.is_empty();
        let (tree, working, mut nodes) = if let Some(tree) = request.source_tree {
            if staging.dirty {
                return Err(Error::new(
                    Kind::Dirty,
                    "uncommitted changes (dirty branch): a tree can only be committed on a clean branch",
                ));
            }
            self.check_tree(&repo, tree).await?;
            (tree, tree, vec![])
        } else if partial {
            let (tree, new) = self.chosen(&repo, &staging, &request).await?;
            (tree, staging.tree, vec![new])
        } else if staging.dirty {
            (staging.tree, staging.tree, vec![])
        } else {
            (staging.at.head_tree, staging.at.head_tree, vec![])
        };
        if tree == staging.at.head_tree && !request.allow_empty && request.source_tree.is_none() {
            self.journal.barrier().await?;
            return Err(Error::new(Kind::NoChanges, format!("no changes: nothing to commit on '{name}'")));
        }
        let parent = self.stored_commit(&repo, &staging.at.head).await?;
        let commit = Commit {
            committer: actor.name.clone(),
            message: request.message,
            tree,
            creation_date: request.date.unwrap_or_else(|| self.clock.now().seconds()),
            metadata: request.metadata,
            parents: vec![staging.at.head],
            generation: parent.generation + 1,
        };
        let id = commit.id();
        let upto_seq = staging.upto_seq();
        nodes.push(staging.new);
        let to = Move { new: id, tree, commit: Some(Arc::new(commit.clone())), upto_seq, working, nodes };
        let moved = self.move_head(actor, "commit", &repo, &branch, &mut keyed, commit_answer(&id), to);
        drop(train);
        self.settle(moved).await?;
        Ok(CommitInfo { id, commit })
    }

    /// The head's tree with only the chosen staged changes.
    async fn chosen(
        &self,
        repo: &Arc<Repo>,
        staging: &Staging,
        request: &CommitRequest,
    ) -> Result<(TreeId, NewNodes)> {
        let (head, all, overlay) = (staging.at.head_tree, staging.tree, staging.new.clone());
        let (paths, prefixes) = (request.paths.clone(), request.prefixes.clone());
        repo.nodes
            .work(move |base| {
                let source = Overlay { new: &overlay, base };
                let mut changes = std::collections::BTreeMap::new();
                for path in paths {
                    let (old, new) = (
                        millpond_tree::get(&source, head, path.as_bytes())?,
                        millpond_tree::get(&source, all, path.as_bytes())?,
                    );
                    if old != new {
                        changes.insert(path, new);
                    }
                }
                for prefix in prefixes {
                    let mut diff = Diff::new(&source, head, all, &prefix, Bound::Unbounded);
                    while let Some((path, change)) = diff.next()? {
                        changes.insert(path, change.into_right());
                    }
                }
                let mut new = NewNodes::default();
                let tree = millpond_tree::apply(&source, head, changes.into_iter(), &mut new)?;
                Ok((tree, new))
            })
            .await
    }

    /// Refuses a tree whose root is not stored (API-12.6 accepts it; clients gain nothing from that).
    pub(super) async fn check_tree(&self, repo: &Repo, tree: TreeId) -> Result<()> {
        let found = repo.nodes.read(|source| millpond_tree::get(source, tree, b"\0").map(|_| ())).await;
        found.map_err(|_| Error::new(Kind::Invalid, format!("tree {tree} does not exist in this repository")))
    }
}

/// Holds what a caller writes into a commit against its limits. Keys that begin with `.millpond.` bind facts
/// under the commit id; only the server writes them.
pub(super) fn check_words(message: &str, metadata: &Metadata) -> Result<()> {
    if message.len() > COMMIT_MESSAGE_BYTES_MAX {
        return Err(Error::new(
            Kind::TooLarge,
            format!("the message has {} bytes; the limit is {COMMIT_MESSAGE_BYTES_MAX}", message.len()),
        ));
    }
    let bytes = metadata_bytes(metadata);
    if bytes > COMMIT_METADATA_BYTES_MAX || metadata.len() > COMMIT_METADATA_KEYS_MAX {
        return Err(Error::new(
            Kind::TooLarge,
            format!(
                "the metadata has {} keys and {bytes} bytes; the limits are {COMMIT_METADATA_KEYS_MAX} and \
                 {COMMIT_METADATA_BYTES_MAX}",
                metadata.len()
            ),
        ));
    }
    match metadata.keys().find(|key| key.starts_with(".millpond.")) {
        None => Ok(()),
        Some(key) => {
            Err(Error::new(Kind::Invalid, format!("metadata key '{key}' is reserved: choose another name")))
        }
    }
}

/// Bytes of keys and values.
pub(super) fn metadata_bytes(metadata: &Metadata) -> usize {
    metadata.iter().map(|(key, value)| key.len() + value.len()).sum()
}

fn fingerprint(branch: &BranchName, request: &CommitRequest) -> Vec<u8> {
    let mut w = Writer::new();
    w.text(branch.as_str()).text(&request.message).map(request.metadata.iter());
    w.text(&format!(
        "{:?}",
        (request.date, request.allow_empty, &request.paths, &request.prefixes, request.source_tree)
    ));
    w.finish()
}
