//! One repository: its packs, its commits, its refs, and every node of every tree that one of them names.

use super::data::Data;
use super::{Check, FsckReport, REBUILT, RESTORE};
use crate::engine::kv_error;
use crate::keys::{self, RepoUid};
use crate::nodes::{Alone, Location, PackIndex, store_error, tree_error};
use crate::state::{Repo, RepoState};
use crate::watch::Defect;
use crate::{Kind, Result};
use bytes::Bytes;
use millpond_blob::{BlobKey, BlobReader};
use millpond_kv::KvError;
use millpond_tree::verify::{self, Ending};
use millpond_tree::{Node, TreeError, pack};
use millpond_types::{Commit, CommitId, Entry, NodeId, ObjectPath, TreeId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Packs that are kept open.
const OPEN_PACKS: usize = 16;
/// Bases of edits that are kept decoded.
const BASES: usize = 64;

impl Check {
    /// Checks one repository.
    pub(super) async fn repository(
        &self,
        repo: &Repo,
        packs: BTreeMap<u64, u64>,
        data: Data<'_>,
        report: &mut FsckReport,
    ) -> Result<()> {
        let name = repo.info().name.to_string();
        let mut walk = Walk {
            check: self,
            uid: repo.uid,
            name: name.clone(),
            packs,
            index: HashMap::new(),
            visited: HashMap::new(),
            needed_as_base: HashSet::new(),
            bases: quick_cache::unsync::Cache::new(BASES),
            open: Vec::new(),
            data,
            report,
        };
        self.watch.phase(format!("packs of {name}"));
        let all: Vec<u64> = walk.packs.keys().copied().collect();
        for pack in all {
            walk.read_pack(pack).await?;
        }
        self.watch.phase(format!("trees and objects of {name}"));
        walk.refs(&repo.state.read()).await?;
        self.watch.phase(format!("commits of {name}"));
        walk.commits(repo).await?;
        walk.check_indexes().await?;
        walk.end().await
    }
}

struct Walk<'a> {
    check: &'a Check,
    uid: RepoUid,
    name: String,
    /// Number and bytes of each pack.
    packs: BTreeMap<u64, u64>,
    index: HashMap<NodeId, Location>,
    /// Nodes met, and how they end; `None` is one that is damaged, or that was only needed as a base.
    visited: HashMap<NodeId, Option<Ending>>,
    /// Nodes whose edits are some visited node: needed, though perhaps part of no tree any more.
    needed_as_base: HashSet<NodeId>,
    bases: quick_cache::unsync::Cache<NodeId, Arc<Node>>,
    open: Vec<(u64, Arc<dyn BlobReader>)>,
    data: Data<'a>,
    report: &'a mut FsckReport,
}

/// A node on the way down.
struct Frame {
    node: Arc<Node>,
    next: usize,
    /// Whether it is the last node of its level.
    is_last: bool,
}

impl Walk<'_> {
    fn defect(
        &self,
        reference: &str,
        path: Option<&ObjectPath>,
        thing: String,
        what: String,
        remedy: &'static str,
    ) {
        self.check.watch.defect(Defect {
            repository: Some(self.name.clone()),
            reference: (!reference.is_empty()).then(|| reference.to_owned()),
            path: path.cloned(),
            thing,
            what,
            remedy,
        });
    }

    /// Takes a pack's own index. Its nodes are checked when a tree leads to them.
    async fn read_pack(&mut self, number: u64) -> Result<()> {
        self.report.packs += 1;
        let key = keys::pack(self.uid, number);
        match self.pack_index(&key).await {
            Ok(entries) => {
                for e in entries {
                    // A node may be in two packs. What is known of the first by now is not to be forgotten.
                    let at = Location { pack: number, offset: e.offset, len: e.len, base: None };
                    self.index.entry(e.id).or_insert(at);
                }
                Ok(())
            }
            Err(error) if error.kind == Kind::Internal || error.kind == Kind::Busy => Err(error),
            Err(error) => {
                let what = format!("{}; nodes in it are named where they are needed", error.message);
                self.defect("", None, format!("pack {}", key.as_str()), what, RESTORE);
                Ok(())
            }
        }
    }

    async fn pack_index(&self, key: &BlobKey) -> Result<Vec<pack::PackEntry>> {
        let reader = self.check.blobs.open(key).await.map_err(store_error)?;
        let size = reader.size();
        let range = pack::trailer_range(size).map_err(tree_error)?;
        let header = reader.read(0..pack::HEADER_LEN as u64).await.map_err(store_error)?;
        let trailer = reader.read(range).await.map_err(store_error)?;
        let range = pack::index_range(size, &header, &trailer).map_err(tree_error)?;
        let index = reader.read(range).await.map_err(store_error)?;
        pack::decode_index(size, &header, &index).map_err(tree_error)
    }

    /// Compares the indexes over many packs, which a start reads, with the packs. Comes last, when it is known which
    /// nodes are stored as edits of others.
    async fn check_indexes(&mut self) -> Result<()> {
        let prefix = keys::pack_indexes(self.uid);
        for (key, _) in self.check.blobs.list(&prefix, "", 10_000).await.map_err(store_error)? {
            self.check_index(&key).await?;
        }
        Ok(())
    }

    async fn check_index(&mut self, key: &BlobKey) -> Result<()> {
        let thing = format!("pack index {}", key.as_str());
        let read = async {
            let reader = self.check.blobs.open(key).await?;
            reader.read(0..reader.size()).await
        };
        let decoded = match read.await {
            Ok(bytes) => PackIndex::decode(bytes).map_err(|e| e.to_string()),
            Err(millpond_blob::BlobError::NotFound(_)) => return Ok(()), // another has taken its place
            Err(error) => Err(error.to_string()),
        };
        let found = match decoded {
            Ok(found) => found.nodes,
            Err(what) => {
                self.defect("", None, thing, what, REBUILT);
                return Ok(());
            }
        };
        // It may be newer than what this check has seen.
        self.read_new_packs().await?;
        let wrong = found.iter().filter(|(id, at)| {
            // A node may be in two packs; then either will do.
            self.index.get(id).is_none_or(|own| {
                // Of a node that could not be read nobody knows what it is an edit of.
                let is_known =
                    matches!(self.visited.get(id), Some(Some(_))) || self.needed_as_base.contains(id);
                let same_base = own.base == at.base || !is_known;
                own.pack == at.pack && ((own.offset, own.len) != (at.offset, at.len) || !same_base)
            })
        });
        let (count, example) = wrong.fold((0, None), |(count, _), (id, _)| (count + 1, Some(*id)));
        if let Some(id) = example {
            let what = format!("{count} of its nodes are not where it says, for example {id}");
            self.defect("", None, thing, what, REBUILT);
        }
        Ok(())
    }

    /// Everything that branches, tags and uploads name.
    async fn refs(&mut self, state: &RepoState) -> Result<()> {
        for branch in state.branches.values() {
            self.report.branches += 1;
            let label = format!("branch {}", branch.name);
            let at = branch.state.read();
            self.target(&label, at.head, Some(at.head_tree)).await?;
            self.tree(&label, at.head_tree).await?;
            let label = format!("{label}, uncommitted");
            self.tree(&label, at.working).await?;
            for (path, staged) in &at.memtable {
                if let Some(entry) = &staged.value {
                    self.entry(&label, path, entry).await?;
                }
            }
        }
        for (tag, commit) in &state.tags {
            self.report.tags += 1;
            let label = format!("tag {tag}");
            if let Some(commit) = self.target(&label, *commit, None).await? {
                self.tree(&label, commit.tree).await?;
            }
        }
        for import in state.imports.values().filter(|import| import.end.is_none()) {
            if let Some(progress) = &import.progress {
                let label = format!("import {} to branch {}", import.order.id, import.order.branch);
                self.tree(&label, progress.base).await?;
                self.tree(&label, progress.tree).await?;
            }
        }
        for upload in state.uploads.values() {
            let label = format!("upload {} to branch {}", upload.info.id, upload.info.branch);
            for part in upload.parts.values() {
                self.data.part(&label, &upload.info.path, part).await?;
            }
            if let Some(done) = &upload.completed {
                self.entry(&label, &done.path, &done.entry).await?;
            }
        }
        self.report.repositories += 1;
        Ok(())
    }

    /// The commit that a ref points at, which must exist and have that tree.
    async fn target(&mut self, label: &str, id: CommitId, tree: Option<TreeId>) -> Result<Option<Commit>> {
        let thing = format!("commit {id}");
        match self.commit(&id).await? {
            Err(what) => {
                self.defect(label, None, thing, what, RESTORE);
                Ok(None)
            }
            Ok(commit) => {
                if tree.is_some_and(|tree| tree != commit.tree) {
                    self.defect(
                        label,
                        None,
                        thing,
                        "the branch has another tree than its head".into(),
                        RESTORE,
                    );
                }
                Ok(Some(commit))
            }
        }
    }

    /// A commit by id, or what is wrong with it.
    async fn commit(&self, id: &CommitId) -> Result<std::result::Result<Commit, String>> {
        if let Some(commit) = self.data.journal_commits.get(id) {
            return Ok(check_commit(id, commit).map(|()| (**commit).clone()));
        }
        Ok(match self.check.kv.get(&keys::commit(self.uid, id)).await {
            Ok(None) => Err("it is not stored".to_owned()),
            Ok(Some(bytes)) => decode_commit(id, bytes),
            Err(KvError::Damaged(_, what)) => Err(what),
            Err(error) => return Err(kv_error(error)),
        })
    }

    /// Every commit: its id, its parents, its generation, its tree. And every move of a ref, and every alias: it leads
    /// to one.
    async fn commits(&mut self, repo: &Repo) -> Result<()> {
        let mut ids: Vec<CommitId> = self.data.journal_commits.keys().copied().collect();
        ids.sort_unstable();
        for id in &ids {
            self.one_commit(id).await?;
        }
        let prefix = keys::commits(self.uid, b"");
        let mut from = prefix.clone();
        let end = millpond_kv::prefix_end(&prefix).expect("no table prefix is all 0xff");
        loop {
            let mut page: Vec<CommitId> = Vec::new();
            // Only the ids: each commit is read again by id, as everybody else reads it.
            match self.check.kv.scan(&from, &end, 1024).await {
                Ok(rows) => page.extend(rows.iter().filter_map(|(key, _)| commit_id(&key[prefix.len()..]))),
                Err(KvError::Damaged(key, _)) if key.len() > prefix.len() => {
                    let before = self.check.kv.scan(&from, &key, usize::MAX).await.map_err(kv_error)?;
                    page.extend(before.iter().filter_map(|(key, _)| commit_id(&key[prefix.len()..])));
                    page.extend(commit_id(&key[prefix.len()..]));
                }
                Err(KvError::Damaged(_, what)) => {
                    self.defect("", None, "table of commits".into(), what, RESTORE);
                    break;
                }
                Err(error) => return Err(kv_error(error)),
            }
            let Some(last) = page.last() else { break };
            from = millpond_kv::key_after(&keys::commit(self.uid, last));
            for id in page.iter().filter(|id| ids.binary_search(id).is_err()) {
                self.one_commit(id).await?;
            }
        }
        let unsaved: Vec<_> = repo.unsaved.read().moves.clone();
        self.report.moves += unsaved.len() as u64;
        let mut moves: Vec<(String, CommitId)> = Vec::new();
        let targets = |moved: &crate::RefMove| {
            let kind = if moved.is_tag { "tag" } else { "branch" };
            let label = format!("{kind} {}, ref log {}", moved.name, moved.sequence);
            [moved.old, moved.new]
                .into_iter()
                .flatten()
                .map(move |id| (label.clone(), id))
                .collect::<Vec<_>>()
        };
        moves.extend(unsaved.iter().flat_map(|moved| targets(moved)));
        self.check
            .rows(&keys::moves(self.uid), |_, value| {
                // What cannot be read was named when the tables were loaded.
                moves.extend(crate::tables::decode_move(value).iter().flat_map(targets));
                Ok(())
            })
            .await?;
        let label = |alias: &CommitId| format!("alias {alias}");
        moves.extend(repo.unsaved.read().aliases.iter().map(|(alias, id)| (label(alias), *id)));
        let prefix = keys::aliases(self.uid);
        self.check
            .rows(&prefix, |key, value| {
                let (alias, id) = crate::tables::decode_alias(&key[prefix.len()..], &value)?;
                moves.push((label(&alias), id));
                Ok(())
            })
            .await?;
        let mut known = std::collections::HashSet::new();
        for (label, id) in moves {
            if known.insert(id)
                && let Err(what) = self.commit(&id).await?
            {
                self.defect(&label, None, format!("commit {id}"), what, RESTORE);
            }
        }
        Ok(())
    }

    async fn one_commit(&mut self, id: &CommitId) -> Result<()> {
        self.report.commits += 1;
        let thing = || format!("commit {id}");
        let commit = match self.commit(id).await? {
            Ok(commit) => commit,
            Err(what) => {
                self.defect("", None, thing(), what, RESTORE);
                return Ok(());
            }
        };
        let mut generation = 1;
        let mut parents_known = true;
        for parent in &commit.parents {
            match self.commit(parent).await? {
                Ok(parent) => generation = generation.max(parent.generation + 1),
                Err(what) => {
                    parents_known = false;
                    self.defect("", None, thing(), format!("its parent {parent}: {what}"), RESTORE);
                }
            }
        }
        if parents_known && commit.generation != generation {
            let what = format!("its generation is {}, by its parents it is {generation}", commit.generation);
            self.defect("", None, thing(), what, RESTORE);
        }
        self.tree(&format!("commit {id}"), commit.tree).await
    }

    /// Every node of a tree that was not met before.
    async fn tree(&mut self, label: &str, tree: TreeId) -> Result<()> {
        let Some(root) = tree.0 else { return Ok(()) };
        let mut frames: Vec<Frame> = Vec::new();
        if let Some(node) = self.node(label, None, None, root, true).await? {
            if let Err(error) = verify::verify_root(&node) {
                self.tree_defect(label, None, &error);
            }
            frames.push(Frame { node, next: 0, is_last: true });
        }
        while let Some(frame) = frames.last_mut() {
            let (node, index) = (frame.node.clone(), frame.next);
            if node.level() == 0 || index == node.len() {
                frames.pop();
                continue;
            }
            frame.next += 1;
            let is_last = frame.is_last && index + 1 == node.len();
            let (id, before, last) = verify::child(&node, index);
            let Some(child) =
                self.node(label, Some((&node, index)), Some((before, last)), id, is_last).await?
            else {
                continue;
            };
            frames.push(Frame { node: child, next: 0, is_last });
        }
        Ok(())
    }

    /// A node and the check of it; `None` if it was met before, or is damaged.
    async fn node(
        &mut self,
        label: &str,
        parent: Option<(&Arc<Node>, usize)>,
        range: Option<(Option<ObjectPath>, ObjectPath)>,
        id: NodeId,
        is_last: bool,
    ) -> Result<Option<Arc<Node>>> {
        if let Some(known) = self.visited.get(&id) {
            // Its place in this tree may be another one.
            if *known == Some(Ending::Open) && !is_last {
                let error = TreeError::Damaged(
                    millpond_tree::Place::Node(id),
                    "it ends before a boundary though more follows".into(),
                );
                self.tree_defect(label, range, &error);
            }
            return Ok(None);
        }
        let node = match self.fetch(id).await? {
            Ok(node) => node,
            Err(error) => {
                self.visited.insert(id, None);
                self.tree_defect(label, range, &error);
                return Ok(None);
            }
        };
        self.report.nodes += 1;
        let (checked, of_parent) = {
            let (node, parent) = (node.clone(), parent.map(|(node, index)| (node.clone(), index)));
            let work = move |_: &dyn crate::tasks::Wait| {
                let mut rows = Vec::new();
                let checked = verify::verify(&node, |path, entry| rows.push((path, entry)));
                let of_parent =
                    parent.map_or(Ok(()), |(parent, at)| verify::verify_child(&parent, at, &node));
                (checked.map(|ending| (ending, rows)), of_parent)
            };
            self.check.tasks.run(work).await?
        };
        if let Err(error) = of_parent {
            self.tree_defect(label, range.clone(), &error);
        }
        let ending = match checked {
            Err(error) => {
                self.tree_defect(label, range, &error);
                None
            }
            Ok((ending, rows)) => {
                if ending == Ending::Open && !is_last {
                    let what = "it ends before a boundary though more follows".to_owned();
                    let error = TreeError::Damaged(millpond_tree::Place::Node(id), what);
                    self.tree_defect(label, range, &error);
                }
                for (path, entry) in rows {
                    self.entry(label, &path, &entry).await?;
                }
                Some(ending)
            }
        };
        self.visited.insert(id, ending);
        Ok(Some(node))
    }

    fn tree_defect(&self, label: &str, range: Option<(Option<ObjectPath>, ObjectPath)>, error: &TreeError) {
        let (thing, mut what) = match error {
            TreeError::Missing(id) => (format!("tree node {id}"), "it is in no pack".to_owned()),
            TreeError::Damaged(place, what) => (place.to_string(), what.clone()),
            other => ("tree node".to_owned(), other.to_string()),
        };
        let path = match range {
            None => {
                what.push_str("; the whole tree hangs on it");
                None
            }
            Some((before, last)) => {
                match before {
                    Some(before) => {
                        what.push_str(&format!("; it holds the paths after '{}'", before.to_text()))
                    }
                    None => what.push_str("; it holds the paths from the first"),
                }
                what.push_str(&format!(" to '{}'", last.to_text()));
                Some(last)
            }
        };
        self.defect(label, path.as_ref(), thing, what, RESTORE);
    }

    async fn entry(&mut self, label: &str, path: &ObjectPath, entry: &Entry) -> Result<()> {
        self.report.entries += 1;
        self.data.entry(label, path, entry, self.report).await
    }

    /// A node from its pack. The inner error is a defect.
    async fn fetch(&mut self, id: NodeId) -> Result<std::result::Result<Arc<Node>, TreeError>> {
        let record = match self.record(id).await? {
            Ok(record) => record,
            Err(error) => return Ok(Err(error)),
        };
        let base = match pack::record_base(id, &record) {
            Err(error) => return Ok(Err(error)),
            Ok(None) => return Ok(pack::decode_record(id, record)),
            Ok(Some(base)) => base,
        };
        if let Some(at) = self.index.get_mut(&id) {
            at.base = Some(Box::new(base));
        }
        let base = match self.bases.get(&base) {
            Some(node) => node.clone(),
            None => {
                // A base is stored plain.
                let record = match self.record(base).await? {
                    Ok(record) => record,
                    Err(error) => return Ok(Err(as_base_of(id, &error))),
                };
                match pack::decode_record(base, record) {
                    Ok(node) => {
                        self.bases.insert(base, node.clone());
                        node
                    }
                    Err(error) => return Ok(Err(as_base_of(id, &error))),
                }
            }
        };
        self.needed_as_base.insert(base.id());
        Ok(pack::decode_record_with(id, record, &Alone(base)))
    }

    async fn record(&mut self, id: NodeId) -> Result<std::result::Result<Bytes, TreeError>> {
        if !self.index.contains_key(&id) {
            self.read_new_packs().await?;
        }
        let Some(at) = self.index.get(&id).cloned() else { return Ok(Err(TreeError::Missing(id))) };
        let damaged = |error: millpond_blob::BlobError| {
            let what = format!("pack {}: {error}", keys::pack(self.uid, at.pack).as_str());
            TreeError::Damaged(millpond_tree::Place::Node(id), what)
        };
        let open = self.open.iter().position(|(number, _)| *number == at.pack);
        let reader = match open {
            Some(open) => self.open[open].1.clone(),
            None => match self.check.blobs.open(&keys::pack(self.uid, at.pack)).await {
                Ok(reader) => {
                    if self.open.len() == OPEN_PACKS {
                        self.open.remove(0);
                    }
                    self.open.push((at.pack, reader.clone()));
                    reader
                }
                Err(error) => return Ok(Err(damaged(error))),
            },
        };
        Ok(reader.read(at.offset..at.offset + u64::from(at.len)).await.map_err(damaged))
    }

    /// Packs written since the check began: commits that came meanwhile may need them, and writes that had begun
    /// before it. Those have smaller numbers than some that were there already.
    async fn read_new_packs(&mut self) -> Result<()> {
        let prefix = keys::packs(self.uid);
        let mut after = String::new();
        loop {
            let page = self.check.blobs.list(&prefix, &after, 10_000).await.map_err(store_error)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = last.as_str().to_owned();
            for (key, size) in page {
                if let Some(number) = keys::pack_number(self.uid, &key)
                    && self.packs.insert(number, size).is_none()
                {
                    self.read_pack(number).await?;
                }
            }
        }
    }

    fn is_needed(&self, id: &NodeId) -> bool {
        self.visited.contains_key(id) || self.needed_as_base.contains(id)
    }

    /// What is left over.
    async fn end(self) -> Result<()> {
        let wanted: HashSet<NodeId> = self.index.keys().filter(|id| self.is_needed(id)).copied().collect();
        let Self { packs, index, data, report, .. } = self;
        let mut needed: HashSet<u64> = HashSet::new();
        for (id, at) in &index {
            if wanted.contains(id) {
                needed.insert(at.pack);
            } else {
                report.orphans.nodes += 1;
                report.orphans.node_bytes += u64::from(at.len);
            }
        }
        for (_, bytes) in packs.iter().filter(|(number, _)| !needed.contains(number)) {
            report.orphans.packs += 1;
            report.orphans.pack_bytes += bytes;
        }
        data.end(report).await
    }
}

fn as_base_of(id: NodeId, error: &TreeError) -> TreeError {
    TreeError::Damaged(millpond_tree::Place::Node(id), format!("it is stored as edits of another: {error}"))
}

fn commit_id(bytes: &[u8]) -> Option<CommitId> {
    bytes.try_into().ok().map(CommitId)
}

fn decode_commit(id: &CommitId, bytes: Bytes) -> std::result::Result<Commit, String> {
    let commit = Commit::from_bytes(bytes).map_err(|e| e.to_string())?;
    check_commit(id, &commit).map(|()| commit)
}

fn check_commit(id: &CommitId, commit: &Commit) -> std::result::Result<(), String> {
    let own = commit.id();
    match own == *id {
        true => Ok(()),
        false => Err(format!("its content has the id {own}: it was changed")),
    }
}
