//! The bytes of objects: listed once, read once each, and what is left over.

use super::{Check, FsckReport, RESTORE, REWRITE, SOURCE};
use crate::address::{DataName, Place, place};
use crate::keys::{self, RepoUid};
use crate::manifest::Manifest;
use crate::nodes::store_error;
use crate::record::StoredPart;
use crate::state::{Repo, RepoState};
use crate::tasks::{Wait, wait_for};
use crate::watch::Defect;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use millpond_blob::{BlobError, BlobKey, Blobs};
use millpond_origin::{Location, Mark, Origin, OriginErrorKind};
use millpond_types::{Commit, CommitId, Content, ContentHash, Entry, ObjectPath};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// Names of one page of a listing.
const LIST_PAGE: usize = 100_000;
/// Bytes of one read.
const READ_BYTES: u64 = 1 << 20;
/// A batch goes to a reader when it holds this many blobs,
const BATCH_OBJECTS: usize = 256;
/// or this many bytes.
const BATCH_BYTES: u64 = 8 << 20;

/// A stored blob with object bytes: its size, and whether anything refers to it.
#[derive(Clone, Copy)]
pub struct Stored(u64);

impl Stored {
    const NEEDED: u64 = 1 << 63;

    pub fn bytes(self) -> u64 {
        self.0 & !Self::NEEDED
    }
}

/// Blobs by a fingerprint of their names: names are from content or chance, so 64 bits tell them apart.
pub type Objects = HashMap<u64, Stored>;

/// What is in the object store.
#[derive(Default)]
pub struct Listed {
    pub objects: HashMap<RepoUid, Objects>,
    /// Number and bytes of packs.
    pub packs: HashMap<RepoUid, BTreeMap<u64, u64>>,
}

fn fingerprint(name: &DataName) -> u64 {
    u64::from_le_bytes(name.0[..8].try_into().expect("a name has 25 bytes"))
}

impl Check {
    /// Everything in the object store. Comes first: what is written later is in no list, and no orphan.
    pub async fn list(&self) -> Result<Listed> {
        self.watch.phase("list of stored blobs");
        let mut listed = Listed::default();
        let mut after = String::new();
        loop {
            let page = self.blobs.list("", &after, LIST_PAGE).await.map_err(store_error)?;
            let Some((last, _)) = page.last() else { return Ok(listed) };
            after = last.as_str().to_owned();
            for (key, size) in page {
                let Some((uid, rest)) = owner(&key) else { continue };
                if let Some(number) = keys::pack_number(uid, &key) {
                    listed.packs.entry(uid).or_default().insert(number, size);
                } else if let Some(name) = rest.strip_prefix("data/").and_then(DataName::parse)
                    && !self.request.quick
                {
                    listed.objects.entry(uid).or_default().insert(fingerprint(&name), Stored(size));
                    self.watch.objects_total.fetch_add(1, Ordering::Relaxed);
                    self.watch.bytes_total.fetch_add(size, Ordering::Relaxed);
                }
            }
        }
    }
}

/// The repository that a blob belongs to, and the rest of its name.
fn owner(key: &BlobKey) -> Option<(RepoUid, &str)> {
    let (owner, rest) = key.as_str().split_once('/')?;
    Some((u64::from_str_radix(owner.strip_prefix('r')?, 16).ok()?, rest))
}

/// A blob that something refers to, or an imported object.
#[derive(Clone)]
pub enum Wanted {
    Blob { name: DataName, size: u64, proof: Proof },
    Source { location: Location, mark: Mark },
}

#[derive(Clone)]
pub enum Proof {
    /// SHA-256 of the bytes.
    Whole(ContentHash),
    /// It is a part list with this hash.
    Parts(ContentHash),
}

/// A blob on its way to be read, and who needs it.
struct Order {
    label: Arc<str>,
    path: ObjectPath,
    wanted: Wanted,
}

/// What reading a batch found.
#[derive(Default)]
struct Outcome {
    defects: Vec<Defect>,
    /// Sources that are gone or changed.
    gone: Vec<Defect>,
    objects: u64,
    bytes: u64,
    /// Parts that were read with their object.
    parts: Vec<DataName>,
    sources: Sources,
}

/// Imported objects that cannot be read as what they were.
#[derive(Default)]
struct Sources {
    missing: u64,
    changed: u64,
    unreadable: u64,
}

/// The object bytes of one repository.
pub struct Data<'a> {
    check: &'a Check,
    uid: RepoUid,
    name: String,
    /// For what addresses refer to.
    state: Arc<RepoState>,
    objects: Objects,
    /// Fingerprints of imported objects that were met.
    sources: HashSet<u64>,
    /// Commits that are only in the journal yet.
    pub journal_commits: HashMap<CommitId, Arc<Commit>>,
    label: Arc<str>,
    batch: Vec<Order>,
    batch_bytes: u64,
    running: FuturesUnordered<oneshot::Receiver<Result<Outcome>>>,
    done: Outcome,
}

impl<'a> Data<'a> {
    pub fn new(check: &'a Check, repo: &Repo, objects: Option<Objects>) -> Self {
        let state = repo.state.read();
        Self {
            check,
            uid: repo.uid,
            name: state.info.name.to_string(),
            state,
            objects: objects.unwrap_or_default(),
            sources: HashSet::new(),
            journal_commits: HashMap::new(),
            label: "".into(),
            batch: Vec::new(),
            batch_bytes: 0,
            running: FuturesUnordered::new(),
            done: Outcome::default(),
        }
    }

    /// An entry somewhere in a tree or in staging.
    pub async fn entry(
        &mut self,
        label: &str,
        path: &ObjectPath,
        entry: &Entry,
        report: &mut FsckReport,
    ) -> Result<()> {
        self.check.watch.entries.fetch_add(1, Ordering::Relaxed);
        let placed = match place(&self.state, path, entry) {
            Err(_) if self.check.read_new_rules(self.uid, &mut self.state).await? => {
                place(&self.state, path, entry)
            }
            placed => placed,
        };
        let name = match placed {
            Ok(Place::Data(name)) => name,
            Ok(Place::Origin(location, mark)) => {
                report.imported += 1;
                return self.source(label, path, location, mark).await;
            }
            // Not ours to check.
            Ok(Place::Foreign(_)) => {
                report.declared += 1;
                return Ok(());
            }
            Err(error) => {
                self.defect(label, path, "entry".into(), error.message, RESTORE);
                return Ok(());
            }
        };
        let proof = match entry.content {
            Content::Whole(hash) => Proof::Whole(hash),
            Content::Parts(hash) => Proof::Parts(hash),
            Content::Declared => {
                report.declared += 1;
                let size = match self.check.request.quick {
                    true => return Ok(()),
                    false => self.check.blobs.size(&keys::data(self.uid, &name)).await,
                };
                if !matches!(size, Ok(Some(size)) if size == entry.size) {
                    report.declared_unreadable += 1;
                }
                self.mark(&name);
                return Ok(());
            }
        };
        self.want(label, path, name, entry.size, proof).await
    }

    /// Sees to it that a blob is read, unless it was.
    async fn want(
        &mut self,
        label: &str,
        path: &ObjectPath,
        name: DataName,
        size: u64,
        proof: Proof,
    ) -> Result<()> {
        if self.check.request.quick || !self.mark(&name) {
            return Ok(());
        }
        self.order(label, path, Wanted::Blob { name, size, proof }, size).await
    }

    /// A part of an upload.
    pub async fn part(&mut self, label: &str, path: &ObjectPath, part: &StoredPart) -> Result<()> {
        self.want(label, path, part.name, part.info.size, Proof::Whole(part.info.sha256)).await
    }

    /// Sees to it that an imported object is looked at, unless it was.
    async fn source(&mut self, label: &str, path: &ObjectPath, location: Location, mark: Mark) -> Result<()> {
        if self.check.request.quick || self.check.request.origin.is_none() {
            return Ok(());
        }
        let mut hasher = Sha256::new();
        hasher.update(mark.0);
        hasher.update(&location.0);
        let hash: [u8; 32] = hasher.finalize().into();
        if !self.sources.insert(u64::from_le_bytes(hash[..8].try_into().expect("8 of 32 bytes"))) {
            return Ok(());
        }
        self.order(label, path, Wanted::Source { location, mark }, 0).await
    }

    async fn order(&mut self, label: &str, path: &ObjectPath, wanted: Wanted, bytes: u64) -> Result<()> {
        if &*self.label != label {
            self.label = label.into();
        }
        self.batch_bytes += bytes;
        self.batch.push(Order { label: self.label.clone(), path: path.clone(), wanted });
        if self.batch.len() >= BATCH_OBJECTS || self.batch_bytes >= BATCH_BYTES {
            self.send().await?;
        }
        Ok(())
    }

    /// Notes that a blob is needed; false if it was known.
    fn mark(&mut self, name: &DataName) -> bool {
        let stored = self.objects.entry(fingerprint(name)).or_insert(Stored(0));
        let new = stored.0 & Stored::NEEDED == 0;
        stored.0 |= Stored::NEEDED;
        new
    }

    fn defect(&self, label: &str, path: &ObjectPath, thing: String, what: String, remedy: &'static str) {
        self.check.watch.defect(Defect {
            repository: Some(self.name.clone()),
            reference: Some(label.to_owned()),
            path: Some(path.clone()),
            thing,
            what,
            remedy,
        });
    }

    /// Hands the batch to a reader, waiting for one if all are at work.
    async fn send(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        while self.running.len() >= self.check.request.parallel.max(1) {
            self.take_one().await?;
        }
        let (tasks, blobs, watch) =
            (self.check.tasks.clone(), self.check.blobs.clone(), self.check.watch.clone());
        let (uid, name, origin) = (self.uid, self.name.clone(), self.check.request.origin.clone());
        let work = move |wait: &dyn Wait| {
            let mut outcome = Outcome::default();
            for order in batch {
                let before = (outcome.objects, outcome.bytes);
                let (blobs, origin) = (&*blobs, origin.as_deref());
                let mut reader = Reader { blobs, origin, wait, uid, name: &name, outcome: &mut outcome };
                reader.check(&order);
                watch.add(outcome.objects - before.0, outcome.bytes - before.1);
            }
            outcome
        };
        let (sender, receiver) = oneshot::channel();
        // The receiver is gone if the whole check was given up.
        tasks.clone().spawn(Box::pin(async move { drop(sender.send(tasks.run(work).await)) }));
        self.running.push(receiver);
        Ok(())
    }

    async fn take_one(&mut self) -> Result<bool> {
        let Some(outcome) = self.running.next().await else { return Ok(false) };
        let outcome =
            outcome.map_err(|_| Error::new(Kind::Internal, "a reader of objects has panicked"))??;
        outcome.defects.into_iter().for_each(|defect| self.check.watch.defect(defect));
        outcome.gone.into_iter().for_each(|gone| self.check.watch.gone(gone));
        for part in &outcome.parts {
            self.mark(part);
        }
        self.done.objects += outcome.objects;
        self.done.bytes += outcome.bytes;
        self.done.sources.missing += outcome.sources.missing;
        self.done.sources.changed += outcome.sources.changed;
        self.done.sources.unreadable += outcome.sources.unreadable;
        Ok(true)
    }

    /// Waits for all readers, and counts what nothing refers to.
    pub async fn end(mut self, report: &mut FsckReport) -> Result<()> {
        self.send().await?;
        while self.take_one().await? {}
        report.objects += self.done.objects;
        report.object_bytes += self.done.bytes;
        report.sources_missing += self.done.sources.missing;
        report.sources_changed += self.done.sources.changed;
        report.sources_unreadable += self.done.sources.unreadable;
        for stored in self.objects.values().filter(|stored| stored.0 & Stored::NEEDED == 0) {
            report.orphans.objects += 1;
            report.orphans.object_bytes += stored.bytes();
        }
        Ok(())
    }
}

/// Reads blobs on a thread that may wait.
struct Reader<'r> {
    blobs: &'r dyn Blobs,
    origin: Option<&'r dyn Origin>,
    wait: &'r dyn Wait,
    uid: RepoUid,
    name: &'r str,
    outcome: &'r mut Outcome,
}

impl Reader<'_> {
    fn check(&mut self, order: &Order) {
        match &order.wanted {
            Wanted::Blob { name, size, proof: Proof::Whole(hash) } => self.whole(order, name, *size, hash),
            Wanted::Blob { name, size, proof: Proof::Parts(hash) } => self.parts(order, name, *size, hash),
            Wanted::Source { location, mark } => self.source(order, location, *mark),
        }
    }

    /// Not damage here, but a read of it will fail.
    fn source(&mut self, order: &Order, location: &Location, mark: Mark) {
        let Some(origin) = self.origin else { return };
        let sources = &mut self.outcome.sources;
        let (count, what) = match origin.look(location) {
            Ok(seen) if seen.mark == mark => return,
            Ok(_) => (&mut sources.changed, "it is not what was imported any more".to_owned()),
            Err(error) if error.kind == OriginErrorKind::Gone => (&mut sources.missing, error.message),
            Err(error) => (&mut sources.unreadable, error.message),
        };
        *count += 1;
        self.outcome.gone.push(Defect {
            repository: Some(self.name.to_owned()),
            reference: Some(order.label.to_string()),
            path: Some(order.path.clone()),
            thing: format!("source {}", location.to_text()),
            what,
            remedy: SOURCE,
        });
    }

    fn whole(&mut self, order: &Order, name: &DataName, size: u64, hash: &ContentHash) {
        match self.hash(name, size) {
            Ok(found) if found == *hash => {
                self.outcome.objects += 1;
                self.outcome.bytes += size;
            }
            Ok(found) => {
                let what = format!("its bytes have the SHA-256 {found} instead of {hash}");
                self.defect(order, name, what, Some(hash));
            }
            Err(what) => self.defect(order, name, what, Some(hash)),
        }
    }

    fn parts(&mut self, order: &Order, name: &DataName, size: u64, hash: &ContentHash) {
        let manifest = self.read(name).and_then(|bytes| {
            let bytes_len = bytes.len() as u64;
            let manifest = Manifest::decode(bytes).map_err(|e| e.message)?;
            let of_parts = manifest.parts.iter().map(|part| (part.sha256, part.size));
            let found = millpond_types::entry::parts_hash(of_parts);
            let total: u64 = manifest.parts.iter().map(|part| part.size).sum();
            match (found == *hash, total == size) {
                (true, true) => Ok((manifest, bytes_len)),
                (false, _) => Err(format!("its part list has the hash {found} instead of {hash}")),
                (_, false) => Err(format!("its parts have {total} bytes, the entry says {size}")),
            }
        });
        match manifest {
            Err(what) => self.defect(order, name, what, None),
            Ok((manifest, bytes)) => {
                self.outcome.objects += 1;
                self.outcome.bytes += bytes;
                for part in &manifest.parts {
                    self.outcome.parts.push(part.name);
                    self.whole(order, &part.name, part.size, &part.sha256);
                }
            }
        }
    }

    fn defect(&mut self, order: &Order, name: &DataName, what: String, hash: Option<&ContentHash>) {
        let by_content = hash.is_some_and(|hash| DataName::of(hash) == *name);
        self.outcome.defects.push(Defect {
            repository: Some(self.name.to_owned()),
            reference: Some(order.label.to_string()),
            path: Some(order.path.clone()),
            thing: format!("blob {}", keys::data(self.uid, name).as_str()),
            what,
            remedy: if by_content { REWRITE } else { RESTORE },
        });
    }

    /// SHA-256 of a blob of this size.
    fn hash(&self, name: &DataName, size: u64) -> std::result::Result<ContentHash, String> {
        let reader = wait_for(self.wait, self.blobs.open(&keys::data(self.uid, name))).map_err(told)?;
        if reader.size() != size {
            return Err(format!("it has {} bytes instead of {size}", reader.size()));
        }
        let mut hasher = Sha256::new();
        let mut at = 0;
        while at < size {
            let next = (at + READ_BYTES).min(size);
            hasher.update(wait_for(self.wait, reader.read(at..next)).map_err(told)?);
            at = next;
        }
        Ok(ContentHash(hasher.finalize().into()))
    }

    fn read(&self, name: &DataName) -> std::result::Result<Bytes, String> {
        let reader = wait_for(self.wait, self.blobs.open(&keys::data(self.uid, name))).map_err(told)?;
        wait_for(self.wait, reader.read(0..reader.size())).map_err(told)
    }
}

/// What is wrong, without the blob's name, which is told apart.
fn told(error: BlobError) -> String {
    match error {
        BlobError::NotFound(_) => "its bytes are missing".to_owned(),
        BlobError::Damaged(_, what) => format!("its bytes are damaged: {what}"),
        other => format!("it cannot be read: {other}"),
    }
}
