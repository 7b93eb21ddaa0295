//! The tree of one commit, made here from that of its first parent.

use super::source::{Patience, is_absent};
use super::{Outcome, Route};
use crate::environment::Stopwatch;
use futures::StreamExt;
use futures::stream;
use millpond_client::{
    AdoptedChange, AdoptedObject, AdoptedTreeCreation, Body, Commit, DiffQuery, DotDiff, Error, ObjectQuery,
    ObjectStats, PageQuery, PathType,
};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Receipts that are kept, so that an object which several commits or paths have is read once.
const RECEIPTS_MAX: usize = 200_000;
/// How long one is used: less than the day that it is good for.
const RECEIPT_USED: Duration = Duration::from_secs(20 * 3600);
/// After so many objects of a place that this server does not see, it is not asked about others there.
const OFFERS_MAX: u64 = 200;
/// From so many paths on, a listing is tried before each is asked for.
const LIST_FROM: usize = 50;
/// A listing goes on while at least one in so many objects is wanted.
const LIST_SPARSE: usize = 20;
/// Bytes of the texts of one request: a document here has at most 4 MiB.
const REQUEST_BYTES_MAX: usize = 2 << 20;

/// Makes trees in one repository.
pub struct Trees<'a> {
    pub route: &'a Route,
    /// Its name there.
    pub repository: &'a str,
    /// Its name here.
    pub name: &'a str,
    /// Where the other server keeps its objects.
    pub storage: &'a str,
    /// By physical address.
    receipts: RefCell<HashMap<String, Kept>>,
    /// Where objects lie, how many of them this server was offered, and how many it sees.
    places: RefCell<HashMap<String, (u64, u64)>>,
    stopwatch: Stopwatch,
}

/// A receipt, the checksum of its bytes, and when it was given.
#[derive(Clone)]
struct Kept {
    receipt: String,
    checksum: String,
    since: Duration,
}

/// Paths with what is there, and where the next page begins.
pub type Page = (Vec<(String, Option<ObjectStats>)>, Option<String>);

/// How far a tree has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Progress {
    /// The commit there.
    pub commit: String,
    /// The tree here.
    pub tree: String,
    /// The last path that is in it.
    pub after: String,
}

/// What became of an object that had to be copied.
enum Copied {
    Receipt(String, u64, String),
    Gone,
}

impl<'a> Trees<'a> {
    /// Nothing is known yet.
    pub fn new(route: &'a Route, repository: &'a str, name: &'a str, storage: &'a str) -> Self {
        let stopwatch = Stopwatch::start();
        Self {
            route,
            repository,
            name,
            storage,
            receipts: RefCell::default(),
            places: RefCell::default(),
            stopwatch,
        }
    }

    /// The receipt for what lies at an address.
    fn known(&self, address: &str) -> Option<Kept> {
        let kept = self.receipts.borrow().get(address).cloned()?;
        Some(kept).filter(|kept| self.stopwatch.elapsed().saturating_sub(kept.since) < RECEIPT_USED)
    }

    /// Where an address is: the other server's own storage, or a folder.
    fn place<'b>(&self, address: &'b str) -> &'b str {
        let own = !self.storage.is_empty() && address.starts_with(self.storage);
        let end = if own { self.storage.len() } else { address.rfind('/').map_or(0, |slash| slash + 1) };
        &address[..end]
    }

    /// Whether this server is to be asked if it sees what lies at an address: not where it never saw anything.
    fn may_stay(&self, address: &str) -> bool {
        let places = self.places.borrow();
        let known = places.get(self.place(address));
        !self.route.copy
            && !address.is_empty()
            && known.is_none_or(|(offered, seen)| *seen > 0 || *offered < OFFERS_MAX)
    }

    fn note_offers(&self, offered: &[(String, String)], missing: &[String]) {
        let missing: HashSet<&String> = missing.iter().collect();
        let mut places = self.places.borrow_mut();
        for (path, address) in offered {
            let (offers, seen) = places.entry(self.place(address).to_owned()).or_default();
            *offers += 1;
            *seen += u64::from(!missing.contains(path));
        }
    }

    /// Makes the tree of a commit. `first` is the page behind `progress`, which has the tree to begin with; after each page but the last `save` is told
    /// how far it is. `like` are commits here that may have some of it.
    pub async fn make(
        &self,
        commit: &Commit,
        first: Page,
        mut progress: Progress,
        like: &[String],
        outcome: &mut Outcome,
        mut save: impl AsyncFnMut(&Progress) -> Result<(), Error>,
    ) -> Result<String, Error> {
        let mut page = first;
        loop {
            let (changes, next) = page;
            let mut rest = changes.as_slice();
            while !rest.is_empty() {
                let mut bytes = 0;
                let fits = rest.iter().take_while(|change| {
                    bytes += size_of_change(change);
                    bytes <= REQUEST_BYTES_MAX
                });
                let (now, later) = rest.split_at(fits.count().max(1));
                progress.tree = self.apply(commit, progress.tree, now.to_vec(), like, outcome).await?;
                rest = later;
            }
            match next {
                None => return Ok(progress.tree),
                Some(next) => progress.after = next,
            }
            save(&progress).await?;
            page = self.page(commit, &progress.after).await?;
        }
    }

    /// A page of what the commit changes of its first parent, or of what a root has.
    pub async fn page(&self, commit: &Commit, after: &str) -> Result<Page, Error> {
        let Route { from, patience, .. } = self.route;
        let page = PageQuery { after: after.to_owned(), ..PageQuery::prefix("") };
        let Some(parent) = commit.parents.first() else {
            let query = ObjectQuery { page, ..ObjectQuery::default() };
            let ask = async || from.list_objects(self.repository, &commit.id, &query).await;
            let page = patience.wait(ask).await?;
            let next = page.next().map(ToOwned::to_owned);
            let objects = page.results.into_iter().filter(|stats| stats.path_type == PathType::Object);
            return Ok((objects.map(|stats| (stats.path.clone(), Some(stats))).collect(), next));
        };
        let query = DiffQuery { page, ..DiffQuery::default() };
        let ask = async || from.diff_refs(self.repository, parent, &commit.id, DotDiff::Two, &query).await;
        let page = patience.wait(ask).await?;
        let next = page.next().map(ToOwned::to_owned);
        let there = page.results.iter().filter(|diff| diff.change != "removed");
        let there: Vec<String> = there.map(|diff| diff.path.clone()).collect();
        let mut described = self.describe(&commit.id, &there).await?;
        let changes = page.results.into_iter().map(|diff| {
            let stats = described.remove(&diff.path);
            (diff.path, stats)
        });
        Ok((changes.collect(), next))
    }

    /// The objects at these paths, which ascend: by listings where they lie close together.
    async fn describe(&self, at: &str, paths: &[String]) -> Result<HashMap<String, ObjectStats>, Error> {
        let Route { from, patience, parallel, .. } = self.route;
        let mut found = HashMap::new();
        let mut rest = paths;
        while rest.len() >= LIST_FROM {
            // A listing begins behind a path, so the first one is asked for.
            let first = patience.wait(async || from.stat_object(self.repository, at, &rest[0]).await).await?;
            let page = PageQuery { after: rest[0].clone(), ..PageQuery::prefix("") };
            found.insert(rest[0].clone(), first);
            rest = &rest[1..];
            let query = ObjectQuery { page, ..ObjectQuery::default() };
            let page = patience.wait(async || from.list_objects(self.repository, at, &query).await).await?;
            let listed = page.results.len();
            let mut hits = 0;
            for stats in page.results {
                // Whatever the order: what does not come in it is asked for by itself.
                if rest.first() == Some(&stats.path) {
                    rest = &rest[1..];
                    hits += 1;
                    found.insert(stats.path.clone(), stats);
                }
            }
            if hits * LIST_SPARSE < listed {
                break;
            }
        }
        let ask = |path: &String| {
            let path = path.clone();
            async move {
                let ask = async || from.stat_object(self.repository, at, &path).await;
                patience.wait(ask).await
            }
        };
        let mut asked = pin!(stream::iter(rest.iter().map(ask)).buffer_unordered(*parallel));
        while let Some(stats) = asked.next().await {
            let stats = stats?;
            found.insert(stats.path.clone(), stats);
        }
        Ok(found)
    }

    /// One tree from another: asks what is missing, copies that, and asks again.
    async fn apply(
        &self,
        commit: &Commit,
        base: String,
        changes: Vec<(String, Option<ObjectStats>)>,
        like: &[String],
        outcome: &mut Outcome,
    ) -> Result<String, Error> {
        let Route { to, patience, .. } = self.route;
        let mut objects: HashMap<String, ObjectStats> = HashMap::new();
        let mut described = Vec::new();
        for (path, stats) in changes {
            let object = stats.as_ref().map(|stats| match self.known(&stats.physical_address) {
                Some(Kept { receipt, checksum, .. }) => {
                    AdoptedObject { receipt: Some(receipt), checksum, ..object_of(stats) }
                }
                None => {
                    let address =
                        Some(stats.physical_address.clone()).filter(|address| self.may_stay(address));
                    AdoptedObject { physical_address: address, ..object_of(stats) }
                }
            });
            described.push(AdoptedChange { path: path.clone(), object });
            objects.extend(stats.map(|stats| (path, stats)));
        }
        let known = |change: &AdoptedChange| change.object.as_ref().is_none_or(|o| o.receipt.is_some());
        let offers = |change: &AdoptedChange| {
            change
                .object
                .as_ref()
                .and_then(|object| object.physical_address.clone())
                .map(|a| (change.path.clone(), a))
        };
        let offered: Vec<(String, String)> = described.iter().filter_map(offers).collect();
        let mut tree = base;
        let missing = if offered.is_empty() && like.is_empty() && !described.iter().all(known) {
            // Nothing can be found here: it is sent without a question.
            let (known, unknown): (Vec<_>, Vec<_>) = described.into_iter().partition(known);
            described = known;
            unknown.into_iter().map(|change| change.path).collect()
        } else {
            let creation = AdoptedTreeCreation {
                base: tree,
                changes: std::mem::take(&mut described),
                like: like.to_vec(),
                storage: self.storage.to_owned(),
            };
            let made = patience.wait(async || to.adopt_tree(self.name, &creation).await).await?;
            outcome.objects_linked += made.linked;
            tree = made.tree;
            if like.is_empty() {
                self.note_offers(&offered, &made.missing);
            }
            made.missing
        };
        let wanted: Vec<ObjectStats> = missing.iter().filter_map(|path| objects.remove(path)).collect();
        for (stats, copied) in self.copy_all(&commit.id, wanted).await? {
            let object = match copied {
                Copied::Gone => {
                    outcome.objects_gone += 1;
                    AdoptedObject {
                        gone: true,
                        physical_address: Some(stats.physical_address.clone()),
                        ..object_of(&stats)
                    }
                }
                Copied::Receipt(receipt, bytes, checksum) => {
                    outcome.objects_copied += 1;
                    outcome.bytes_copied += bytes;
                    let kept = Kept {
                        receipt: receipt.clone(),
                        checksum: checksum.clone(),
                        since: self.stopwatch.elapsed(),
                    };
                    let mut all = self.receipts.borrow_mut();
                    if all.len() >= RECEIPTS_MAX {
                        all.clear();
                    }
                    all.insert(stats.physical_address.clone(), kept);
                    AdoptedObject { receipt: Some(receipt), checksum, ..object_of(&stats) }
                }
            };
            described.push(AdoptedChange { path: stats.path.clone(), object: Some(object) });
        }
        if described.is_empty() {
            return Ok(tree);
        }
        let creation = AdoptedTreeCreation { base: tree, changes: described, ..Default::default() };
        let made = patience.wait(async || to.adopt_tree(self.name, &creation).await).await?;
        Ok(made.tree)
    }

    async fn copy_all(
        &self,
        at: &str,
        wanted: Vec<ObjectStats>,
    ) -> Result<Vec<(ObjectStats, Copied)>, Error> {
        // Each address once, also where several paths of one page have it.
        let mut by_address: HashMap<String, Vec<ObjectStats>> = HashMap::new();
        for stats in wanted {
            let key = match stats.physical_address.is_empty() {
                true => format!("path {}", stats.path),
                false => stats.physical_address.clone(),
            };
            by_address.entry(key).or_default().push(stats);
        }
        let copy = |group: Vec<ObjectStats>| async move {
            let copied = match group.first() {
                Some(stats) => self.copy(at, stats).await?,
                None => Copied::Gone,
            };
            Ok::<_, Error>((group, copied))
        };
        let groups = stream::iter(by_address.into_values().map(copy));
        let mut groups = pin!(groups.buffer_unordered(self.route.parallel));
        let mut all = Vec::new();
        while let Some(group) = groups.next().await {
            let (group, copied) = group?;
            for (index, stats) in group.into_iter().enumerate() {
                let copied = match &copied {
                    Copied::Gone => Copied::Gone,
                    // Its bytes have moved once.
                    Copied::Receipt(receipt, bytes, sum) => {
                        Copied::Receipt(receipt.clone(), if index == 0 { *bytes } else { 0 }, sum.clone())
                    }
                };
                all.push((stats, copied));
            }
        }
        Ok(all)
    }

    /// Reads an object there and writes it here. Bytes whose MD5 is not the checksum are read once more: if it is the
    /// same again, the checksum is none of the bytes (as of an encrypting store), and theirs counts.
    async fn copy(&self, at: &str, stats: &ObjectStats) -> Result<Copied, Error> {
        let Route { from, to, patience, .. } = self.route;
        let patience: Patience = *patience;
        let mut before = None;
        loop {
            let copied = patience
                .wait(async || {
                    let object = match from.get_object(self.repository, at, &stats.path, None).await {
                        Err(error) if is_absent(&error) => return Ok(None),
                        object => object?,
                    };
                    // What breaks there shows here as a body that ends early: the cause is kept.
                    let broken = Arc::new(Mutex::new(None));
                    let cause = broken.clone();
                    let body = object.into_stream().map(move |piece| {
                        piece.map_err(|error| {
                            let text = io::Error::other(error.to_string());
                            *cause.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                            text
                        })
                    });
                    let sent = to.adopt_content(self.name, Body::wrap_stream(body)).await;
                    let broken = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
                    match broken {
                        Some(error) => Err(error),
                        None => sent.map(Some),
                    }
                })
                .await?;
            let Some(copied) = copied else { return Ok(Copied::Gone) };
            let sizes_differ = stats.size_bytes.is_some_and(|size| size != copied.size_bytes);
            let is_md5 = stats.checksum.len() == 32 && stats.checksum.bytes().all(|b| b.is_ascii_hexdigit());
            let same = !is_md5 || copied.checksum.eq_ignore_ascii_case(&stats.checksum);
            if sizes_differ {
                return Err(Error::Unreadable {
                    attempt: format!("read {}/{at}/{}", self.repository, stats.path),
                    server: from.server().to_owned(),
                    detail: format!(
                        "{} bytes came, and it is said to have {}",
                        copied.size_bytes,
                        stats.size_bytes.unwrap_or_default()
                    ),
                });
            }
            if same || before.as_ref() == Some(&copied.checksum) {
                return Ok(Copied::Receipt(copied.receipt, copied.size_bytes, copied.checksum));
            }
            before = Some(copied.checksum);
        }
    }
}

fn object_of(stats: &ObjectStats) -> AdoptedObject {
    AdoptedObject {
        size_bytes: stats.size_bytes.unwrap_or_default(),
        checksum: stats.checksum.clone(),
        mtime: stats.mtime,
        content_type: stats.content_type.clone(),
        metadata: stats.metadata.clone(),
        ..AdoptedObject::default()
    }
}

/// About how many bytes a change takes in a request.
fn size_of_change((path, stats): &(String, Option<ObjectStats>)) -> usize {
    const FIXED: usize = 600;
    let of = |stats: &ObjectStats| {
        let texts: usize = stats.metadata.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
        stats.physical_address.len() + stats.checksum.len() + texts
    };
    // A byte may take six as JSON.
    FIXED + 2 * (path.len() + stats.as_ref().map_or(0, of))
}
