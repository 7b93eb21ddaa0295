//! Listing objects of one state, staged changes over trees, folded at a delimiter (API area 8).

use crate::engine::Engine;
use crate::resolve::View;
use crate::state::{Repo, RepoState, Staged};
use crate::{ListItem, ListRequest, ObjectInfo, Page, Result, address};
use bytes::Bytes;
use millpond_tree::{NodeSource, Scan, TreeError};
use millpond_types::{ObjectPath, RefExpr, RepositoryName, TreeId};
use std::ops::Bound;
use std::sync::Arc;

/// One state of a repository's content that can be listed again and again.
#[derive(Clone)]
pub struct Snapshot {
    repo: Arc<Repo>,
    view: View,
}

impl Snapshot {
    /// The tree, if nothing is staged above it: such a state can be named by its tree alone.
    pub fn tree_only(&self) -> Option<TreeId> {
        self.view.memtable.is_empty().then_some(self.view.tree)
    }

    /// Staged changes that keeping this state keeps in memory.
    pub fn staged_len(&self) -> usize {
        self.view.memtable.len()
    }

    /// One page of it.
    pub async fn list(&self, request: &ListRequest) -> Result<Page<ListItem>> {
        let state = self.repo.state.read();
        let (view, request) = (self.view.clone(), request.clone());
        self.repo.nodes.page(move |source| list(source, &view, &state, &request)).await
    }
}

impl Engine {
    /// The state that an expression shows now.
    pub async fn snapshot(&self, repository: &RepositoryName, at: &RefExpr) -> Result<Snapshot> {
        let repo = self.repo(repository)?;
        let view = self.resolve_view(&repo, at).await?;
        Ok(Snapshot { repo, view })
    }

    /// The state that a tree is, for a page token that names one.
    pub fn snapshot_of_tree(&self, repository: &RepositoryName, tree: TreeId) -> Result<Snapshot> {
        Ok(Snapshot { repo: self.repo(repository)?, view: View::of_tree(tree) })
    }
}

/// The common prefix that a path folds into, if it does: up to and including the first delimiter after
/// the listing's prefix.
pub(super) fn fold_at<'a>(path: &'a [u8], prefix: &[u8], delimiter: &[u8]) -> Option<&'a [u8]> {
    if delimiter.is_empty() {
        return None;
    }
    let rest = &path[prefix.len()..];
    let at = rest.windows(delimiter.len()).position(|w| w == delimiter)?;
    Some(&path[..prefix.len() + at + delimiter.len()])
}

/// Where a listing with this `after` begins; `None` is the start, `Unbounded` is beyond the end. An
/// `after` that is itself a folded prefix skips all of it; one inside a group gives the group again
/// (API-8.9).
pub(super) fn after_bound(prefix: &[u8], after: &[u8], delimiter: &[u8]) -> Option<Bound<Bytes>> {
    if after.is_empty() || after < prefix {
        return None;
    }
    if !after.starts_with(prefix) {
        return Some(Bound::Unbounded);
    }
    match fold_at(after, prefix, delimiter) {
        Some(group) if group == after => {
            Some(millpond_kv::prefix_end(group).map_or(Bound::Unbounded, Bound::Included))
        }
        Some(group) => Some(Bound::Included(Bytes::copy_from_slice(group))),
        None => Some(Bound::Excluded(Bytes::copy_from_slice(after))),
    }
}

fn list(
    source: &dyn NodeSource,
    view: &View,
    state: &RepoState,
    request: &ListRequest,
) -> std::result::Result<Page<ListItem>, TreeError> {
    let mut items = Vec::new();
    let start = match after_bound(&request.prefix, &request.after, &request.delimiter) {
        None => Bound::Included(request.prefix.clone()),
        Some(Bound::Unbounded) => return Ok(Page { items, has_more: false }),
        Some(bound) => bound,
    };
    let mut merged = Merged::new(source, view, start);
    while let Some(path) = merged.peek()? {
        if !path.as_bytes().starts_with(&request.prefix) {
            break;
        }
        if items.len() == request.amount {
            return Ok(Page { items, has_more: true });
        }
        match fold_at(path.as_bytes(), &request.prefix, &request.delimiter) {
            None => {
                let entry = merged.take()?;
                let physical_address = address::to_text(state, &path, &entry);
                items.push(ListItem::Object(ObjectInfo { path, entry, physical_address }));
            }
            Some(folded) => {
                let folded = Bytes::copy_from_slice(folded);
                let beyond = millpond_kv::prefix_end(&folded);
                items.push(ListItem::CommonPrefix(folded));
                match beyond {
                    Some(beyond) => merged.seek(Bound::Included(beyond))?,
                    None => break,
                }
            }
        }
    }
    Ok(Page { items, has_more: false })
}

/// Staged changes over a tree, in order, deletions left out.
struct Merged<'a> {
    scan: Scan<'a>,
    view: &'a View,
    staged: std::iter::Peekable<Box<dyn Iterator<Item = (&'a ObjectPath, &'a Staged)> + 'a>>,
}

fn staged_from(
    view: &View,
    from: Bound<Bytes>,
) -> std::iter::Peekable<Box<dyn Iterator<Item = (&ObjectPath, &Staged)> + '_>> {
    // By bytes: the start need not be a path, it may be empty or longer than any.
    let lower = as_slice(&from);
    let range: Box<dyn Iterator<Item = _>> =
        Box::new(view.memtable.range::<_, [u8]>((lower, Bound::Unbounded)));
    range.peekable()
}

fn as_slice(bound: &Bound<Bytes>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(bytes) => Bound::Included(bytes),
        Bound::Excluded(bytes) => Bound::Excluded(bytes),
        Bound::Unbounded => Bound::Unbounded,
    }
}

impl<'a> Merged<'a> {
    fn new(source: &'a dyn NodeSource, view: &'a View, from: Bound<Bytes>) -> Self {
        let scan = Scan::new(source, view.tree, as_slice(&from));
        Self { scan, view, staged: staged_from(view, from) }
    }

    fn seek(&mut self, to: Bound<Bytes>) -> std::result::Result<(), TreeError> {
        self.scan.seek(as_slice(&to))?;
        self.staged = staged_from(self.view, to);
        Ok(())
    }

    /// The next path that exists.
    fn peek(&mut self) -> std::result::Result<Option<ObjectPath>, TreeError> {
        loop {
            let stored = self.scan.peek_path()?;
            let Some((path, staged)) = self.staged.peek() else { return Ok(stored) };
            if stored.as_ref().is_some_and(|s| s < *path) {
                return Ok(stored);
            }
            if staged.value.is_some() {
                return Ok(Some((*path).clone()));
            }
            if stored.as_ref() == Some(*path) {
                self.scan.next_path()?;
            }
            self.staged.next();
        }
    }

    /// The entry at the path that `peek` gave.
    fn take(&mut self) -> std::result::Result<millpond_types::Entry, TreeError> {
        let stored = self.scan.peek_path()?;
        if let Some((path, staged)) = self.staged.peek()
            && stored.as_ref().is_none_or(|s| *path <= s)
        {
            let entry = staged.value.as_deref().cloned().expect("peek passes over deletions");
            if stored.as_ref() == Some(*path) {
                self.scan.next_path()?;
            }
            self.staged.next();
            return Ok(entry);
        }
        let (_, entry) = self.scan.next()?.expect("peek has seen it");
        Ok(entry)
    }
}
