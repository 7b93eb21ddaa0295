//! The commit log (API-12.13 to 12.20).

use crate::engine::Engine;
use crate::state::Repo;
use crate::{CommitInfo, LogRequest, Page, Result};
use millpond_tree::Diff;
use millpond_types::{Commit, CommitId, RefExpr, RepositoryName, Timestamp, TreeId};
use std::collections::{BinaryHeap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

impl Engine {
    /// Commits reachable from a ref, by date descending. Dates have whole seconds: within one, children come
    /// before their parents, then the larger id.
    pub async fn log(
        &self,
        repository: &RepositoryName,
        from: &RefExpr,
        request: &LogRequest,
    ) -> Result<Page<CommitInfo>> {
        let repo = self.repo(repository)?;
        let (start, commit) = self.resolve_commit(&repo, from).await?;
        let mut after = match &request.after {
            Some(expr) => Some(self.resolve_commit(&repo, expr).await?.0),
            None => None,
        };
        let stop_at = match &request.stop_at {
            Some(expr) => Some(self.resolve_commit(&repo, expr).await?.0),
            None => None,
        };
        let filtered = !request.paths.is_empty() || !request.prefixes.is_empty();
        let mut seen = HashSet::from([start]);
        let mut heap = BinaryHeap::from([(commit.creation_date, commit.generation, start)]);
        let mut items = Vec::new();
        while let Some((date, _, id)) = heap.pop() {
            if request.since.is_some_and(|since| Timestamp::from_seconds(date) < since) {
                continue;
            }
            let commit = self.stored_commit(&repo, &id).await?;
            let parents = if request.first_parent {
                &commit.parents[..commit.parents.len().min(1)]
            } else {
                &commit.parents
            };
            for parent in parents {
                if seen.insert(*parent) {
                    let commit = self.stored_commit(&repo, parent).await?;
                    heap.push((commit.creation_date, commit.generation, *parent));
                }
            }
            let skipped = match after {
                Some(last) => {
                    if last == id {
                        after = None;
                    }
                    true
                }
                None => false,
            };
            let stop = stop_at == Some(id);
            if !skipped && (!filtered || self.touches(&repo, &commit, request).await?) {
                if items.len() == request.amount {
                    return Ok(Page { items, has_more: true });
                }
                items.push(CommitInfo { id, commit: (*commit).clone() });
                if request.limit && items.len() == request.amount {
                    break;
                }
            }
            if stop {
                break;
            }
        }
        Ok(Page { items, has_more: false })
    }

    /// Whether a commit changed one of the paths against its only parent.
    async fn touches(&self, repo: &Arc<Repo>, commit: &Arc<Commit>, request: &LogRequest) -> Result<bool> {
        let [parent] = commit.parents[..] else { return Ok(false) };
        let before = self.stored_commit(repo, &parent).await?.tree;
        let after = commit.tree;
        if before == after {
            return Ok(false);
        }
        for path in &request.paths {
            let differs = repo
                .nodes
                .read(|source| {
                    let get = |tree: TreeId| millpond_tree::get(source, tree, path.as_bytes());
                    Ok(match (get(before)?, get(after)?) {
                        (None, None) => false,
                        (Some(a), Some(b)) => !a.same_object(&b),
                        _ => true,
                    })
                })
                .await?;
            if differs {
                return Ok(true);
            }
        }
        for prefix in &request.prefixes {
            let prefix = prefix.clone();
            let differs = repo
                .nodes
                .work(move |source| {
                    Ok(Diff::new(source, before, after, &prefix, Bound::Unbounded).next()?.is_some())
                })
                .await?;
            if differs {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The commit that a ref leads to.
    pub async fn get_commit(&self, repository: &RepositoryName, at: &RefExpr) -> Result<CommitInfo> {
        let repo = self.repo(repository)?;
        let (id, commit): (CommitId, _) = self.resolve_commit(&repo, at).await?;
        Ok(CommitInfo { id, commit: (*commit).clone() })
    }
}
