//! Ref expressions to commits and views (API area 7).

use crate::engine::{Engine, kv_error};
use crate::state::{Branch, BranchState, Memtable, Repo};
use crate::{Error, Kind, Result, Thing, keys};
use millpond_types::{BranchName, Commit, CommitId, Entry, Modifier, ObjectPath, RefExpr, TagName, TreeId};
use std::sync::Arc;

/// One state of a repository's content: a tree, and staged changes above it.
#[derive(Clone)]
pub struct View {
    /// What is in trees.
    pub tree: TreeId,
    /// What is staged above.
    pub memtable: Memtable,
}

impl View {
    /// A committed state.
    pub fn of_tree(tree: TreeId) -> Self {
        Self { tree, memtable: Memtable::new() }
    }
    /// A branch with its staging.
    pub fn of_branch(state: &BranchState) -> Self {
        Self { tree: state.working, memtable: state.memtable.clone() }
    }
    /// The entry at a path.
    pub async fn get(&self, repo: &Repo, path: &ObjectPath) -> Result<Option<Arc<Entry>>> {
        if let Some(staged) = self.memtable.get(path) {
            return Ok(staged.value.clone());
        }
        let tree = self.tree;
        let found = repo.nodes.read(|source| millpond_tree::get(source, tree, path.as_bytes())).await?;
        Ok(found.map(Arc::new))
    }
}

/// Where an expression leads.
pub enum Resolved {
    /// A bare branch name, or `branch$`: staging included.
    Branch(Arc<Branch>),
    /// Anything else.
    Commit(CommitId),
}

fn not_found(text: &str) -> Error {
    Error::new(Kind::NotFound(Thing::Ref), format!("ref '{text}' not found"))
}

impl Engine {
    /// Resolves an expression.
    pub(crate) async fn resolve(&self, repo: &Arc<Repo>, expr: &RefExpr) -> Result<Resolved> {
        let (mut commit, branch) = self.resolve_base(repo, expr).await?;
        for (position, modifier) in expr.modifiers.iter().enumerate() {
            match modifier {
                Modifier::Staging | Modifier::Head if branch.is_none() => {
                    return Err(Error::new(
                        Kind::Invalid,
                        format!("'{}' is not a branch, so '@' and '$' cannot follow it", expr.base),
                    ));
                }
                Modifier::Staging => {
                    return branch.map(Resolved::Branch).ok_or_else(|| not_found(&expr.text));
                }
                Modifier::Head => {}
                Modifier::At(time) => {
                    debug_assert_eq!(position, 0, "the parser puts a time first");
                    commit = self.head_at(repo, &expr.base, *time).await?;
                }
                Modifier::Ancestor(n) => {
                    for _ in 0..*n {
                        let parents = &self.stored_commit(repo, &commit).await?.parents;
                        commit = *parents.first().ok_or_else(|| not_found(&expr.text))?;
                    }
                }
                Modifier::Parent(0) => {}
                Modifier::Parent(n) => {
                    let found = self.stored_commit(repo, &commit).await?;
                    commit = *usize::try_from(*n - 1).ok().and_then(|i| found.parents.get(i)).ok_or_else(
                        || {
                            Error::new(
                                Kind::Invalid,
                                format!(
                                    "commit {commit} has {} parents, so there is no parent {n}",
                                    found.parents.len()
                                ),
                            )
                        },
                    )?;
                }
            }
        }
        match branch {
            Some(branch) if expr.is_bare() => Ok(Resolved::Branch(branch)),
            _ => Ok(Resolved::Commit(commit)),
        }
    }

    /// The base's commit, and the branch if it is one. With `@{time}` the name need not exist any more.
    async fn resolve_base(
        &self,
        repo: &Arc<Repo>,
        expr: &RefExpr,
    ) -> Result<(CommitId, Option<Arc<Branch>>)> {
        let base = expr.base.as_str();
        if let Ok(id) = CommitId::from_hex(base)
            && self.commit_by_id(repo, &id).await?.is_some()
        {
            return Ok((id, None));
        }
        let state = repo.state.read();
        if let Ok(name) = BranchName::parse(base)
            && let Some(branch) = state.branches.get(&name)
        {
            return Ok((branch.state.look(|s| s.head), Some(branch.clone())));
        }
        if let Ok(name) = TagName::parse(base)
            && let Some(commit) = state.tags.get(&name)
        {
            return Ok((*commit, None));
        }
        if let Some(id) = self.commit_by_prefix(repo, base).await? {
            return Ok((id, None));
        }
        if let Some(Modifier::At(time)) = expr.modifiers.first() {
            return Ok((self.head_at(repo, base, *time).await?, None));
        }
        Err(not_found(base))
    }

    /// The commit that another server's id stands for.
    pub(crate) async fn by_alias(&self, repo: &Repo, alias: &CommitId) -> Result<Option<CommitId>> {
        if let Some(commit) = repo.unsaved.read().aliases.get(alias) {
            return Ok(Some(*commit));
        }
        let row = self.kv.get(&keys::alias(repo.uid, alias)).await.map_err(kv_error)?;
        row.map(|value| Ok(crate::tables::decode_alias(&alias.0, &value)?.1)).transpose()
    }

    /// The one commit whose id, or an alias of it, is this text or begins with it. An alias counts as much as an id: a
    /// beginning that is one's and the other's names nothing, so that no old id quietly means something else.
    async fn commit_by_prefix(&self, repo: &Repo, text: &str) -> Result<Option<CommitId>> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.is_empty() || text.len() > 64 || !text.bytes().all(hex) {
            return Ok(None);
        }
        let bound = |fill: char| {
            let padded: String = text.chars().chain(std::iter::repeat(fill)).take(64).collect();
            CommitId::from_hex(&padded).expect("64 hexadecimal digits")
        };
        let (low, high) = (bound('0'), bound('f'));
        let mut found: Vec<CommitId> = {
            let unsaved = repo.unsaved.read();
            let commits = unsaved.commits.keys().filter(|id| **id >= low && **id <= high);
            let aliases = unsaved.aliases.range(low..=high).map(|(_, commit)| commit);
            commits.chain(aliases).copied().collect()
        };
        let end = millpond_kv::key_after(&keys::commit(repo.uid, &high));
        let table = keys::commits(repo.uid, &[]).len();
        for (key, _) in self.kv.scan(&keys::commit(repo.uid, &low), &end, 2).await.map_err(kv_error)? {
            if let Ok(id) = <[u8; 32]>::try_from(&key[table..]) {
                found.push(CommitId(id));
            }
        }
        let end = millpond_kv::key_after(&keys::alias(repo.uid, &high));
        let table = keys::aliases(repo.uid).len();
        for (key, value) in self.kv.scan(&keys::alias(repo.uid, &low), &end, 2).await.map_err(kv_error)? {
            found.push(crate::tables::decode_alias(&key[table..], &value)?.1);
        }
        found.sort_unstable();
        found.dedup();
        Ok(if found.len() == 1 { found.pop() } else { None })
    }

    /// Where a branch or tag pointed at an instant, by the ref log.
    async fn head_at(
        &self,
        repo: &Arc<Repo>,
        name: &str,
        time: millpond_types::Timestamp,
    ) -> Result<CommitId> {
        let absent = || {
            Error::new(Kind::NotFound(Thing::Ref), format!("ref '{name}' not found: not there at that time"))
        };
        let mut before = None;
        loop {
            let page = self.moves_of(repo, Some(name), before, 256).await?;
            for moved in &page.items {
                if moved.time <= time {
                    return moved.new.ok_or_else(absent);
                }
            }
            match page.items.last() {
                Some(last) if page.has_more => before = Some(last.sequence),
                Some(_) => return Err(absent()),
                None => return Err(not_found(name)),
            }
        }
    }

    /// The commit that an expression leads to; a branch gives its head. `$` is refused.
    pub(crate) async fn resolve_commit(
        &self,
        repo: &Arc<Repo>,
        expr: &RefExpr,
    ) -> Result<(CommitId, Arc<Commit>)> {
        let id = match self.resolve(repo, expr).await? {
            Resolved::Branch(_) if !expr.is_bare() => {
                return Err(Error::new(
                    Kind::Invalid,
                    format!("'{}$' means uncommitted changes, but a commit is needed here", expr.base),
                ));
            }
            Resolved::Branch(branch) => branch.state.look(|s| s.head),
            Resolved::Commit(id) => id,
        };
        Ok((id, self.stored_commit(repo, &id).await?))
    }

    /// The state that an expression shows to readers.
    pub(crate) async fn resolve_view(&self, repo: &Arc<Repo>, expr: &RefExpr) -> Result<View> {
        match self.resolve(repo, expr).await? {
            Resolved::Branch(branch) => Ok(View::of_branch(&branch.state.read())),
            Resolved::Commit(id) => Ok(View::of_tree(self.stored_commit(repo, &id).await?.tree)),
        }
    }
}
