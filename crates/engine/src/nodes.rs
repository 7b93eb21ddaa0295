//! Tree nodes of one repository: cached in memory, stored in packs, found by id.
//!
//! New nodes wait in `fresh` from the moment a verb made them until the pack that holds them is durable,
//! so the next verb of a train can build on them at once.

use crate::keys::{self, RepoUid};
use crate::tasks::{Places, Tasks, Wait, wait_for};
use crate::{Error, Kind, Result};
use bytes::Bytes;
use millpond_blob::{BlobError, BlobKey, BlobReader, Blobs};
use millpond_tree::{NewNodes, Node, NodeSource, TreeError, pack};
use millpond_types::{NodeId, Reader, Writer};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What is kept in memory of the nodes of all repositories, bounded by bytes.
///
/// A commit of scattered changes makes new versions of hundreds of leaves, 57 KB each, of which a few rows are new.
/// Kept whole they would push out everything else, and the next commit would read it all again. So versions that
/// are stored as edits are kept as edits, and share the leaf they are edits of: putting one together takes less
/// than a tenth of the time of reading and hashing it.
pub struct NodeCache {
    /// Inner nodes have room of their own, since every request passes through them.
    inner: quick_cache::sync::Cache<NodeKey, Arc<Node>, ByWeight>,
    /// Leaves stored plain, and those stored as edits that look-ups came to.
    leaves: quick_cache::sync::Cache<NodeKey, Arc<Node>, ByWeight>,
    /// Records of leaves stored as edits. Each was written by this process or has given the right hash once.
    edits: quick_cache::sync::Cache<NodeKey, Bytes, ByWeight>,
    /// Open packs.
    packs: quick_cache::sync::Cache<(RepoUid, u64), Arc<dyn BlobReader>>,
}

type NodeKey = (RepoUid, NodeId);

/// Packs that stay open. Small ones are in memory as a whole, at most 64 KiB each.
const OPEN_PACKS_MAX: usize = 64;

/// Weighs what is cached by the memory that it holds.
#[derive(Clone)]
struct ByWeight;

impl quick_cache::Weighter<NodeKey, Arc<Node>> for ByWeight {
    fn weight(&self, _: &NodeKey, node: &Arc<Node>) -> u64 {
        node.bytes().len() as u64 + 512
    }
}

impl quick_cache::Weighter<NodeKey, Bytes> for ByWeight {
    fn weight(&self, _: &NodeKey, record: &Bytes) -> u64 {
        record.len() as u64 + 160
    }
}

impl NodeCache {
    /// A cache of about this many bytes.
    pub fn new(bytes: u64) -> Arc<Self> {
        let (inner, edits) = (bytes / 8, bytes / 8);
        let leaves = bytes - inner - edits;
        let items = |bytes: u64, each: u64| (bytes / each).max(64) as usize;
        Arc::new(Self {
            inner: quick_cache::sync::Cache::with_weighter(items(inner, 16_384), inner, ByWeight),
            leaves: quick_cache::sync::Cache::with_weighter(items(leaves, 32_768), leaves, ByWeight),
            edits: quick_cache::sync::Cache::with_weighter(items(edits, 1_024), edits, ByWeight),
            packs: quick_cache::sync::Cache::new(OPEN_PACKS_MAX),
        })
    }

    fn node(&self, key: &NodeKey) -> Option<Arc<Node>> {
        self.leaves.get(key).or_else(|| self.inner.get(key))
    }

    fn insert(&self, key: NodeKey, node: Arc<Node>) {
        if node.level() == 0 { self.leaves.insert(key, node) } else { self.inner.insert(key, node) }
    }
}

/// How a leaf that is stored as edits is kept in memory after a read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// Look-ups come back to it.
    Whole,
    /// Long work touches it once.
    Edits,
}

/// Where a stored node is, and the node whose edits it is stored as, if it is. That one is stored plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) pack: u64,
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) base: Option<Box<NodeId>>,
}

/// Packs of more nodes than this are encoded on a thread of their own.
const ENCODE_AT_ONCE_MAX: usize = 8;

/// Packs that no saved index covers are read whole by the next start, so an index is saved after so many of them,
/// or so many bytes.
const UNSAVED_PACKS_MAX: usize = 256;
const UNSAVED_BYTES_MAX: usize = 32 << 20;

/// Numbers of packs. Several may be stored at a time: an import's beside those of the journal.
struct Packs {
    next: u64,
    being_stored: BTreeSet<u64>,
    /// Nodes that are in the index and in no saved one, with their packs.
    unsaved: Vec<(u64, NodeId)>,
    /// Packs stored since an index was last saved, and their bytes.
    since_saved: (usize, usize),
    /// The first pack that could not be read. No saved index covers it or a later one, so that the next start looks
    /// at it again: it may have been restored.
    unreadable: Option<u64>,
}

/// What is known of the saved indexes. Each covers the packs after those of the one before; see [`Nodes::save_index`].
#[derive(Default)]
struct Saved {
    chain: Vec<SavedIndex>,
    /// Damaged, or what others have taken the place of.
    stale: Vec<BlobKey>,
}

struct SavedIndex {
    after: u64,
    number: u64,
    nodes: usize,
}

/// A pack between getting its number and being in the index.
struct BeingStored<'a> {
    nodes: &'a Nodes,
    number: u64,
}

impl Drop for BeingStored<'_> {
    fn drop(&mut self) {
        self.nodes.packs.lock().being_stored.remove(&self.number);
    }
}

/// The nodes of one repository.
pub struct Nodes {
    uid: RepoUid,
    blobs: Arc<dyn Blobs>,
    tasks: Arc<dyn Tasks>,
    cache: Arc<NodeCache>,
    fresh: RwLock<HashMap<NodeId, Arc<Node>>>,
    index: RwLock<HashMap<NodeId, Location>>,
    loaded: tokio::sync::OnceCell<()>,
    /// Pack numbers begin with the writer's epoch, so that a server that was thought dead and is not cannot
    /// put its nodes in the place of its successor's.
    packs: Mutex<Packs>,
    saved: tokio::sync::Mutex<Saved>,
}

impl Nodes {
    /// The nodes of a repository; the index is read at first use.
    pub fn new(
        uid: RepoUid,
        epoch: u64,
        blobs: Arc<dyn Blobs>,
        tasks: Arc<dyn Tasks>,
        cache: Arc<NodeCache>,
    ) -> Arc<Self> {
        Arc::new(Self {
            uid,
            blobs,
            tasks,
            cache,
            fresh: RwLock::default(),
            index: RwLock::default(),
            loaded: tokio::sync::OnceCell::new(),
            packs: Mutex::new(Packs {
                next: epoch << 32 | 1,
                being_stored: BTreeSet::new(),
                unsaved: Vec::new(),
                since_saved: (0, 0),
                unreadable: None,
            }),
            saved: Default::default(),
        })
    }

    /// Makes new nodes readable before they are stored.
    pub fn announce(&self, new: &NewNodes) {
        let mut fresh = self.fresh.write();
        for node in new.nodes() {
            fresh.insert(node.id(), node.clone());
        }
    }

    /// Stores nodes as one pack. Returns when they are durable.
    pub async fn store(self: &Arc<Self>, new: &[NewNodes]) -> Result<()> {
        if new.iter().all(|new| new.nodes().next().is_none()) {
            return Ok(());
        }
        self.load_index().await?;
        let nodes = self.unstored(new);
        let mut edits = HashMap::new();
        if !nodes.is_empty() {
            let bases = self.bases(new, &nodes).await;
            let being_stored = self.begin_pack();
            let number = being_stored.number;
            let count = nodes.len();
            let encode = move || pack::encode_with(nodes.iter(), |node| bases.get(&node.id()).cloned());
            let packed = if count <= ENCODE_AT_ONCE_MAX {
                encode()
            } else {
                self.tasks.run_in(Places::Unbounded, move |_| encode()).await?
            };
            let located = locations(number, &packed.bytes, &packed.index)?;
            self.blobs.put(&keys::pack(self.uid, number), packed.bytes.clone()).await.map_err(store_error)?;
            for (id, at) in located.iter().filter(|(_, at)| at.base.is_some()) {
                edits.insert(
                    *id,
                    packed.bytes.slice(at.offset as usize..at.offset as usize + at.len as usize),
                );
            }
            self.is_stored(number, located, packed.bytes.len());
        }
        let mut fresh = self.fresh.write();
        for node in new.iter().flat_map(|n| n.nodes()) {
            if let Some(node) = fresh.remove(&node.id()) {
                let key = (self.uid, node.id());
                match edits.remove(&node.id()) {
                    Some(record) if node.level() == 0 => {
                        self.cache.edits.insert(key, Bytes::copy_from_slice(&record));
                    }
                    _ => self.cache.insert(key, node),
                }
            }
        }
        Ok(())
    }

    /// Stores a pack of another repository, as it is, under a number of this one. Packs that lean on others come after
    /// them. One whose nodes are all there is passed over.
    pub async fn take_in(self: &Arc<Self>, pack: Bytes) -> Result<()> {
        self.load_index().await?;
        let entries = pack::read_index(&pack).map_err(tree_error)?;
        let all_there = {
            let index = self.index.read();
            entries.iter().all(|entry| index.contains_key(&entry.id))
        };
        if all_there {
            return Ok(());
        }
        let being_stored = self.begin_pack();
        let number = being_stored.number;
        let mut located = locations(number, &pack, &entries)?;
        let bytes = pack.len();
        self.blobs.put(&keys::pack(self.uid, number), pack).await.map_err(store_error)?;
        // What is there stays where it is: a node that leans on another must not come to lean on itself.
        let index = self.index.read();
        located.retain(|(id, _)| !index.contains_key(id));
        drop(index);
        self.is_stored(number, located, bytes);
        Ok(())
    }

    /// Whether a node is stored.
    pub async fn has(&self, id: &NodeId) -> Result<bool> {
        self.load_index().await?;
        Ok(self.index.read().contains_key(id))
    }

    fn is_stored(self: &Arc<Self>, number: u64, located: Vec<(NodeId, Location)>, pack_bytes: usize) {
        let ids = located.iter().map(|(id, _)| (number, *id)).collect::<Vec<_>>();
        self.index.write().extend(located);
        let mut packs = self.packs.lock();
        packs.unsaved.extend(ids);
        packs.since_saved.0 += 1;
        packs.since_saved.1 += pack_bytes;
        if packs.since_saved.0 >= UNSAVED_PACKS_MAX || packs.since_saved.1 >= UNSAVED_BYTES_MAX {
            packs.since_saved = (0, 0);
            self.save_index_soon();
        }
    }

    fn begin_pack(&self) -> BeingStored<'_> {
        let mut packs = self.packs.lock();
        let number = packs.next;
        packs.next += 1;
        packs.being_stored.insert(number);
        BeingStored { nodes: self, number }
    }

    fn unstored(&self, new: &[NewNodes]) -> Vec<Arc<Node>> {
        let index = self.index.read();
        let mut seen = std::collections::HashSet::new();
        let all = new.iter().flat_map(|n| n.nodes());
        all.filter(|node| !index.contains_key(&node.id()) && seen.insert(node.id())).cloned().collect()
    }

    /// For each node that took the place of a stored one, the plain node to store it against: a small change
    /// of a leaf then costs its edits, not the leaf. Chains are one step deep, so a read needs at most one
    /// node more.
    async fn bases(&self, new: &[NewNodes], nodes: &[Arc<Node>]) -> HashMap<NodeId, pack::Base> {
        let named: Vec<(NodeId, NodeId, u32)> = {
            let index = self.index.read();
            let stored_base = |node: &Arc<Node>| {
                let mut id = node.id();
                // What was replaced may be as new as the node itself, made by the verb before in the train.
                for _ in 0..=new.len() {
                    id = new.iter().find_map(|n| n.replaced_by(&id))?;
                    if let Some(at) = index.get(&id) {
                        return Some(match &at.base {
                            None => (node.id(), id, 0),
                            Some(base) => (node.id(), **base, at.len),
                        });
                    }
                }
                None
            };
            nodes.iter().filter_map(stored_base).collect()
        };
        let mut bases = HashMap::new();
        for (id, base, replaced_len) in named {
            // A base that cannot be read costs room, not the write.
            if let Ok(node) = self.fetch(base, Keep::Whole).await {
                bases.insert(id, pack::Base { node, replaced_len });
            }
        }
        bases
    }

    /// Runs a short read. It runs at once on nodes in memory; what is missing is fetched and it runs again,
    /// so `read` must be cheap to repeat and touch few nodes: a look-up.
    pub async fn read<T>(
        &self,
        read: impl Fn(&dyn NodeSource) -> std::result::Result<T, TreeError>,
    ) -> Result<T> {
        // Held until the read is over: a cache that is too small must not make it run for ever.
        let mut fetched = HashMap::new();
        loop {
            match read(&Resident { nodes: self, fetched: &fetched }) {
                Ok(value) => return Ok(value),
                Err(TreeError::NotResident(id)) => {
                    fetched.insert(id, self.fetch(id, Keep::Whole).await?);
                }
                Err(other) => return Err(tree_error(other)),
            }
        }
    }

    /// Runs a read that may touch many nodes: at once if all are in memory, else on a thread that may wait.
    pub async fn page<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl Fn(&dyn NodeSource) -> std::result::Result<T, TreeError> + Send + 'static,
    ) -> Result<T> {
        let at_once = read(&Resident { nodes: self, fetched: &HashMap::new() });
        match at_once {
            Ok(value) => Ok(value),
            Err(TreeError::NotResident(_)) => self.work(move |source| read(source)).await,
            Err(other) => Err(tree_error(other)),
        }
    }

    /// Runs long work on a thread that may wait for the object store.
    pub async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&dyn NodeSource) -> std::result::Result<T, TreeError> + Send + 'static,
    ) -> Result<T> {
        let nodes = self.clone();
        self.tasks.run(move |wait| work(&Waiting { nodes: &nodes, wait })).await?.map_err(tree_error)
    }

    /// All nodes, for work on a thread that may wait.
    pub fn waiting<'a>(&'a self, wait: &'a dyn Wait) -> impl NodeSource + 'a {
        Waiting { nodes: self, wait }
    }

    fn resident(&self, id: &NodeId, keep: Keep) -> Option<Arc<Node>> {
        let key = (self.uid, *id);
        let whole = self.cache.node(&key).or_else(|| self.fresh.read().get(id).cloned());
        whole.or_else(|| {
            let record = self.cache.edits.get(&key)?;
            let base = pack::record_base(*id, &record).ok()??;
            let base = self.cache.leaves.get(&(self.uid, base))?;
            let node = pack::decode_known_record(*id, record, &base).ok()?;
            if keep == Keep::Whole {
                self.cache.insert(key, node.clone());
            }
            Some(node)
        })
    }

    async fn fetch(&self, id: NodeId, keep: Keep) -> Result<Arc<Node>> {
        self.load_index().await?;
        if let Some(node) = self.resident(&id, keep) {
            return Ok(node);
        }
        let found = self.index.read().get(&id).cloned();
        let at = found.ok_or_else(|| tree_error(TreeError::Missing(id)))?;
        let key = (self.uid, id);
        let Some(base) = &at.base else {
            let node = pack::decode_record(id, self.record(&at).await?).map_err(tree_error)?;
            self.cache.insert(key, node.clone());
            return Ok(node);
        };
        // A node that was stored twice at once may have edits of another base in memory than the index names.
        let known = self.cache.edits.get(&key).and_then(|record| {
            let base = pack::record_base(id, &record).ok()??;
            Some((record, base))
        });
        let node = match known {
            Some((record, base)) => {
                let base = Box::pin(self.fetch(base, keep)).await?;
                pack::decode_known_record(id, record, &base).map_err(tree_error)?
            }
            None => {
                let base = Box::pin(self.fetch(**base, keep)).await?;
                let record = self.record(&at).await?;
                let node = pack::decode_record_with(id, record.clone(), &Alone(base)).map_err(tree_error)?;
                if node.level() == 0 {
                    self.cache.edits.insert(key, record);
                }
                node
            }
        };
        if keep == Keep::Whole || node.level() > 0 {
            self.cache.insert(key, node.clone());
        }
        Ok(node)
    }

    /// The bytes of a stored node, in memory of their own: what a reader gives may be part of a larger buffer, which
    /// a cache must not hold.
    async fn record(&self, at: &Location) -> Result<Bytes> {
        let key = (self.uid, at.pack);
        let reader = match self.cache.packs.get(&key) {
            Some(reader) => reader,
            None => {
                let opened = self.blobs.open(&keys::pack(self.uid, at.pack)).await;
                let reader = opened.map_err(store_error)?;
                self.cache.packs.insert(key, reader.clone());
                reader
            }
        };
        let bytes = reader.read(at.offset..at.offset + u64::from(at.len)).await.map_err(store_error)?;
        Ok(Bytes::copy_from_slice(&bytes))
    }

    async fn load_index(&self) -> Result<()> {
        self.loaded.get_or_try_init(|| self.read_index()).await?;
        Ok(())
    }

    async fn read_index(&self) -> Result<()> {
        let mut index = HashMap::new();
        let mut saved = self.saved.lock().await;
        *saved = Saved::default();
        let mut covered = 0;
        for key in self.list(&keys::pack_indexes(self.uid), "").await? {
            match self.read_saved_index(&key).await {
                Ok(read) if read.after <= covered => {
                    // A crash may have left those that this one has taken in.
                    while let Some(old) = saved.chain.pop_if(|old| old.after >= read.after) {
                        saved.stale.push(keys::pack_index(self.uid, old.number));
                    }
                    covered = read.number;
                    let PackIndex { after, number, nodes } = read;
                    saved.chain.push(SavedIndex { after, number, nodes: nodes.len() });
                    index.extend(nodes);
                }
                // One before it is lost.
                Ok(_) => saved.stale.push(key),
                Err(error) if matches!(error.kind, Kind::Damaged | Kind::Gone) => {
                    // All it says is in the packs, and the next checkpoint saves it anew.
                    tracing::error!(error = %error, repository = self.uid, "reading the packs themselves");
                    saved.stale.push(key);
                }
                Err(error) => return Err(error),
            }
        }
        let after =
            if covered == 0 { String::new() } else { keys::pack(self.uid, covered).as_str().to_owned() };
        let (mut unsaved, mut unreadable) = (Vec::new(), None);
        for key in self.list(&keys::packs(self.uid), &after).await? {
            let Some(number) = keys::pack_number(self.uid, &key) else { continue };
            match self.read_pack(number, &key).await {
                Ok(located) => {
                    unsaved.extend(located.iter().map(|(id, _)| (number, *id)));
                    index.extend(located);
                }
                // Whoever needs one of its nodes is told that it is missing; everybody else goes on.
                Err(error) if matches!(error.kind, Kind::Damaged | Kind::Gone) => {
                    tracing::error!(error = %error, repository = self.uid, "nodes of a damaged pack are missing");
                    unreadable.get_or_insert(number);
                }
                Err(error) => return Err(error),
            }
        }
        {
            let mut packs = self.packs.lock();
            (packs.unsaved, packs.unreadable) = (unsaved, unreadable);
        }
        *self.index.write() = index;
        Ok(())
    }

    /// Where the nodes of a stored pack are, by what the pack itself says.
    async fn read_pack(&self, number: u64, key: &BlobKey) -> Result<Vec<(NodeId, Location)>> {
        let reader = self.blobs.open(key).await.map_err(store_error)?;
        let bytes = reader.read(0..reader.size()).await.map_err(store_error)?;
        let entries = pack::read_index(&bytes).map_err(|e| in_pack(key, e))?;
        locations(number, &bytes, &entries)
    }

    async fn read_saved_index(&self, key: &BlobKey) -> Result<PackIndex> {
        let reader = self.blobs.open(key).await.map_err(store_error)?;
        let bytes = reader.read(0..reader.size()).await.map_err(store_error)?;
        PackIndex::decode(bytes)
            .map_err(|e| Error::new(Kind::Damaged, format!("pack index {}: {e}", key.as_str())))
    }

    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<BlobKey>> {
        let mut keys: Vec<BlobKey> = Vec::new();
        loop {
            let after = keys.last().map_or(after, |k| k.as_str());
            let page = self.blobs.list(prefix, after, 10_000).await.map_err(store_error)?;
            if page.is_empty() {
                return Ok(keys);
            }
            keys.extend(page.into_iter().map(|(key, _)| key));
        }
    }

    fn save_index_soon(self: &Arc<Self>) {
        let nodes = self.clone();
        self.tasks.spawn(Box::pin(async move {
            if let Err(error) = nodes.save_index().await {
                tracing::warn!(error = %error, repository = nodes.uid, "the pack index was not written");
            }
        }));
    }

    /// Writes what no saved index says yet, so that a restart need not open those packs.
    ///
    /// It takes in the files before it that hold fewer than twice as many nodes: so there are few files, and a node
    /// is written a few times in all, however many there are of all versions.
    ///
    /// # Errors
    /// Nothing is lost by any: the packs say it all, and the next save tries again.
    pub async fn save_index(&self) -> Result<()> {
        if self.loaded.get().is_none() {
            return Ok(());
        }
        let mut saved = self.saved.lock().await;
        let new = self.take_unsaved();
        if let Err(error) = self.write_index(&mut saved, &new).await {
            self.packs.lock().unsaved.extend(new);
            return Err(error);
        }
        while let Some(key) = saved.stale.last() {
            self.blobs.delete(key).await.map_err(store_error)?;
            saved.stale.pop();
        }
        Ok(())
    }

    /// Of the packs up to which all are in the index: one with a smaller number than another may be stored later.
    fn take_unsaved(&self) -> Vec<(u64, NodeId)> {
        let mut packs = self.packs.lock();
        packs.since_saved = (0, 0);
        let mut beyond = packs.being_stored.first().copied().unwrap_or(packs.next);
        beyond = beyond.min(packs.unreadable.unwrap_or(u64::MAX));
        packs.unsaved.extract_if(.., |(number, _)| *number < beyond).collect()
    }

    async fn write_index(&self, saved: &mut Saved, new: &[(u64, NodeId)]) -> Result<()> {
        let Some(number) = new.iter().map(|(number, _)| *number).max() else { return Ok(()) };
        let mut nodes: HashMap<NodeId, Location> = {
            let index = self.index.read();
            new.iter().filter_map(|(_, id)| Some((*id, index.get(id)?.clone()))).collect()
        };
        let (mut kept, mut after) = (saved.chain.len(), 0);
        while let Some(before) = kept.checked_sub(1).map(|last| &saved.chain[last]) {
            after = before.number;
            if before.nodes >= 2 * nodes.len() {
                break;
            }
            let read = self.read_saved_index(&keys::pack_index(self.uid, before.number)).await;
            match read {
                Ok(read) => {
                    for (id, at) in read.nodes {
                        nodes.entry(id).or_insert(at);
                    }
                }
                Err(error) if matches!(error.kind, Kind::Damaged | Kind::Gone) => {
                    // The memory has it all.
                    tracing::error!(error = %error, repository = self.uid, "the pack index is written anew");
                    nodes = self.index.read().clone();
                    (kept, after) = (0, 0);
                    break;
                }
                Err(error) => return Err(error),
            }
            (kept, after) = (kept - 1, before.after);
        }
        let index = PackIndex { after, number, nodes: nodes.into_iter().collect() };
        let count = index.nodes.len();
        self.blobs.put(&keys::pack_index(self.uid, number), index.encode()).await.map_err(store_error)?;
        for old in saved.chain.drain(kept..).filter(|old| old.number != number) {
            saved.stale.push(keys::pack_index(self.uid, old.number));
        }
        saved.stale.retain(|key| *key != keys::pack_index(self.uid, number));
        saved.chain.push(SavedIndex { after, number, nodes: count });
        Ok(())
    }
}

/// Where the nodes of some packs are: `docs/formats/metadata.md`, `midx`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackIndex {
    /// Packs up to this number are not in it.
    pub(crate) after: u64,
    /// All later ones up to this number are. Nodes of some packs beyond it may be in it too; a reader reads those
    /// packs' own indexes all the same.
    pub(crate) number: u64,
    /// Each once.
    pub(crate) nodes: Vec<(NodeId, Location)>,
}

impl PackIndex {
    /// Sorted by id, whatever the order here.
    pub(crate) fn encode(mut self) -> Bytes {
        self.nodes.sort_unstable_by_key(|(id, _)| *id);
        let mut w = Writer::new();
        w.raw(b"MPMI");
        match self.after {
            0 => w.u8(1),
            after => w.u8(2).uint(after),
        };
        w.uint(self.number).uint(self.nodes.len() as u64);
        for (id, at) in &self.nodes {
            w.raw(&id.0).uint(at.pack).uint(at.offset).uint(u64::from(at.len));
            match &at.base {
                None => w.u8(0),
                Some(base) => w.u8(1).raw(&base.0),
            };
        }
        w.finish().into()
    }

    pub(crate) fn decode(bytes: Bytes) -> std::result::Result<Self, millpond_types::DecodeError> {
        let mut r = Reader::new(bytes);
        let version = if r.raw(4)?.as_ref() == b"MPMI" { r.u8()? } else { 0 };
        let after = match version {
            1 => 0,
            2 => r.uint()?,
            _ => return Err(millpond_types::DecodeError("not a pack index of version 1 or 2")),
        };
        let number = r.uint()?;
        let mut nodes = Vec::new();
        for _ in 0..r.uint()? {
            let id = NodeId(r.digest()?);
            let (pack, offset, len) = (r.uint()?, r.uint()?, r.uint()?);
            let len =
                u32::try_from(len).map_err(|_| millpond_types::DecodeError("node length does not fit"))?;
            let base = match r.u8()? {
                0 => None,
                1 => Some(Box::new(NodeId(r.digest()?))),
                _ => return Err(millpond_types::DecodeError("unknown form of a node's base")),
            };
            nodes.push((id, Location { pack, offset, len, base }));
        }
        r.end()?;
        Ok(Self { after, number, nodes })
    }
}

/// Where the nodes of a pack are.
fn locations(pack: u64, bytes: &Bytes, index: &[pack::PackEntry]) -> Result<Vec<(NodeId, Location)>> {
    let locate = |e: &pack::PackEntry| {
        let record = &bytes[e.offset as usize..e.offset as usize + e.len as usize];
        let base = pack::record_base(e.id, record).map_err(tree_error)?.map(Box::new);
        Ok((e.id, Location { pack, offset: e.offset, len: e.len, base }))
    };
    index.iter().map(locate).collect()
}

/// A source of one node.
pub(crate) struct Alone(pub(crate) Arc<Node>);

impl NodeSource for Alone {
    fn node(&self, id: &NodeId) -> std::result::Result<Arc<Node>, TreeError> {
        if self.0.id() == *id { Ok(self.0.clone()) } else { Err(TreeError::NotResident(*id)) }
    }
}

struct Resident<'a> {
    nodes: &'a Nodes,
    fetched: &'a HashMap<NodeId, Arc<Node>>,
}

impl NodeSource for Resident<'_> {
    fn node(&self, id: &NodeId) -> std::result::Result<Arc<Node>, TreeError> {
        let known = self.fetched.get(id).cloned().or_else(|| self.nodes.resident(id, Keep::Whole));
        known.ok_or(TreeError::NotResident(*id))
    }
}

struct Waiting<'a> {
    nodes: &'a Nodes,
    wait: &'a dyn Wait,
}

impl NodeSource for Waiting<'_> {
    fn node(&self, id: &NodeId) -> std::result::Result<Arc<Node>, TreeError> {
        if let Some(node) = self.nodes.resident(id, Keep::Edits) {
            return Ok(node);
        }
        wait_for(self.wait, self.nodes.fetch(*id, Keep::Edits)).map_err(|e| TreeError::Store(e.message))
    }
}

/// A tree's failure as the engine's.
pub fn tree_error(error: TreeError) -> Error {
    match error {
        TreeError::Missing(_) | TreeError::Damaged(..) => Error::new(Kind::Damaged, error.to_string()),
        other => Error::new(Kind::Internal, other.to_string()),
    }
}

/// A pack's failure, with its name.
fn in_pack(key: &BlobKey, error: TreeError) -> Error {
    let error = tree_error(error);
    Error::new(error.kind, format!("pack {}: {}", key.as_str(), error.message))
}

/// An object store's failure as the engine's.
pub fn store_error(error: BlobError) -> Error {
    let kind = match &error {
        BlobError::NotFound(_) => Kind::Gone,
        BlobError::Damaged(..) => Kind::Damaged,
        BlobError::Busy(_) => Kind::Busy,
        BlobError::Range(..) | BlobError::Failed(_) => Kind::Internal,
    };
    Error::new(kind, error.to_string())
}
