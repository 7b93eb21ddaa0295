//! Differences between refs, and of a branch's staging against its head (API area 15).

use crate::engine::Engine;
use crate::resolve::Resolved;
use crate::state::{BranchState, Repo};
use crate::{DiffItem, DiffKind, DiffRequest, DiffType, Page, Result};
use bytes::Bytes;
use millpond_tree::{Change, Diff, NewNodes, NodeSource, Overlay, TreeError};
use millpond_types::{BranchName, Entry, ObjectPath, RefExpr, RepositoryName, TreeId};
use std::ops::Bound;
use std::sync::Arc;

impl Engine {
    /// Differences between two refs.
    pub async fn diff_refs(
        &self,
        repository: &RepositoryName,
        left: &RefExpr,
        right: &RefExpr,
        kind: DiffKind,
        request: DiffRequest,
    ) -> Result<Page<DiffItem>> {
        let repo = self.repo(repository)?;
        let (left_id, left_commit) = self.resolve_commit(&repo, left).await?;
        match kind {
            DiffKind::TwoDot => {
                let (tree, new) = match self.resolve(&repo, right).await? {
                    Resolved::Branch(branch) if !right.is_bare() => {
                        self.fold_view(&repo, &branch.state.read()).await?
                    }
                    _ => (self.resolve_commit(&repo, right).await?.1.tree, NewNodes::default()),
                };
                let left = left_commit.tree;
                page(&repo, new, request, move |source| Differ { source, left, right: tree, dest: None })
                    .await
            }
            DiffKind::ThreeDot => {
                let (right_id, right_commit) = self.resolve_commit(&repo, right).await?;
                let base = self.base_of(&repo, left_id, right_id).await?;
                let base_tree = self.stored_commit(&repo, &base).await?.tree;
                let (right, dest) = (right_commit.tree, Some(left_commit.tree));
                page(&repo, NewNodes::default(), request, move |source| Differ {
                    source,
                    left: base_tree,
                    right,
                    dest,
                })
                .await
            }
        }
    }

    /// Uncommitted changes of a branch.
    pub async fn diff_branch(
        &self,
        repository: &RepositoryName,
        name: &BranchName,
        request: DiffRequest,
    ) -> Result<Page<DiffItem>> {
        let repo = self.repo(repository)?;
        let state: Arc<BranchState> = self.branch(&repo, name)?.state.read();
        if state.is_clean() {
            return Ok(Page { items: vec![], has_more: false });
        }
        let (right, new) = self.fold_view(&repo, &state).await?;
        let left = state.head_tree;
        page(&repo, new, request, move |source| Differ { source, left, right, dest: None }).await
    }
}

/// What to compare. With `dest`, changes from left (the merge base) to right are judged against it.
struct Differ<'a> {
    source: &'a dyn NodeSource,
    left: TreeId,
    right: TreeId,
    dest: Option<TreeId>,
}

impl Differ<'_> {
    fn judge(&self, path: ObjectPath, change: Change) -> std::result::Result<Option<DiffItem>, TreeError> {
        let (mut left, right) = match change {
            Change::Added(right) => (None, Some(right)),
            Change::Removed(left) => (Some(left), None),
            Change::Changed { left, right } => (Some(left), Some(right)),
        };
        let mut conflict = false;
        if let Some(dest) = self.dest {
            let theirs = millpond_tree::get(self.source, dest, path.as_bytes())?;
            if same(&theirs, &right) {
                return Ok(None);
            }
            conflict = !same(&theirs, &left);
            left = theirs;
        }
        let kind = match (&left, &right) {
            _ if conflict => DiffType::Conflict,
            (None, _) => DiffType::Added,
            (_, None) => DiffType::Removed,
            _ => DiffType::Changed,
        };
        Ok(Some(DiffItem::Object { path, kind, left, right }))
    }
}

fn same(a: &Option<Entry>, b: &Option<Entry>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.same_object(b),
        _ => false,
    }
}

async fn page(
    repo: &Arc<Repo>,
    new: NewNodes,
    request: DiffRequest,
    differ: impl for<'a> FnOnce(&'a dyn NodeSource) -> Differ<'a> + Send + 'static,
) -> Result<Page<DiffItem>> {
    repo.nodes
        .work(move |base| {
            let source = Overlay { new: &new, base };
            let differ = differ(&source);
            let skip = super::list::after_bound(&request.prefix, &request.after, &request.delimiter);
            let from = match &skip {
                None => Bound::Unbounded,
                Some(Bound::Excluded(after)) => Bound::Excluded(after.as_ref()),
                Some(Bound::Included(after)) => Bound::Included(after.as_ref()),
                Some(Bound::Unbounded) => return Ok(Page { items: vec![], has_more: false }),
            };
            let mut diff = Diff::new(&source, differ.left, differ.right, &request.prefix, from);
            let mut items = Vec::new();
            while let Some((path, change)) = diff.next()? {
                let Some(item) = differ.judge(path.clone(), change)? else { continue };
                if items.len() == request.amount {
                    return Ok(Page { items, has_more: true });
                }
                match super::list::fold_at(path.as_bytes(), &request.prefix, &request.delimiter) {
                    None => items.push(item),
                    Some(folded) => {
                        let folded = Bytes::copy_from_slice(folded);
                        let beyond = millpond_kv::prefix_end(&folded);
                        items.push(DiffItem::CommonPrefix(folded));
                        match beyond {
                            Some(beyond) => diff.seek(Bound::Included(&beyond))?,
                            None => break,
                        }
                    }
                }
            }
            Ok(Page { items, has_more: false })
        })
        .await
}
