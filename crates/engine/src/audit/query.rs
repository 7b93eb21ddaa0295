//! Rows as events, newest first: filtered, a page at a time, read from the end of the trail.

use super::segment::{Beginning, Begun, Segment, decode_name};
use crate::engine::{Engine, kv_error};
use crate::keys::{self, RepoUid};
use crate::record::{Context, Record, Row};
use crate::tasks::Places;
use crate::{Result, checkpoint};
use bytes::Bytes;
use millpond_types::{Content, Timestamp};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

/// Bytes of rows that one page reads at most; then it ends early and says where it is.
const PAGE_BYTES_MAX: u64 = 64 << 20;
/// Rows about segments that one page looks at.
const PAGE_SEGMENTS_MAX: usize = 4096;
/// Journal rows of one read.
const PAGE_ROWS: usize = 1024;

/// A mutation's place in the trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditPlace {
    /// Journal row.
    pub row: u64,
    /// Position in the row.
    pub position: u64,
}

/// What is wanted of the trail. Empty fields ask for nothing.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Who.
    pub actor: Option<String>,
    /// What they did, or tried to.
    pub verb: Option<String>,
    /// In which repository, by name; one that is gone keeps its name.
    pub repository: Option<String>,
    /// On which branch or tag.
    pub reference: Option<String>,
    /// On an object whose path begins so.
    pub path_prefix: Option<Bytes>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Only what was refused, or only what was done.
    pub refused: Option<bool>,
    /// Only what is older than this place.
    pub before: Option<AuditPlace>,
    /// Most events.
    pub amount: usize,
}

/// One thing that somebody did, or was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// Where it is in the trail.
    pub place: AuditPlace,
    /// When.
    pub time: Timestamp,
    /// Who.
    pub actor: String,
    /// From where, if that is known.
    pub address: Option<IpAddr>,
    /// Under which request.
    pub request_id: String,
    /// What.
    pub verb: String,
    /// In which repository; empty for what is in none.
    pub repository: String,
    /// On which branch or tag; empty for what is on none.
    pub reference: String,
    /// The resource that the caller may not act on; `None`: it was done.
    pub refused: Option<String>,
    /// How many alike, this one among them, are not told apart; 1 unless too many were refused at once.
    pub count: u64,
    /// What it changed.
    pub changes: Vec<AuditChange>,
}

/// One change of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditChange {
    /// What kind of change: `put`, `delete`, `move-branch`, ...; of what is not in a repository `set` and `remove`.
    pub kind: &'static str,
    /// What it changed: a path, the name of a branch or tag, the id of an upload.
    pub on: Bytes,
    /// What it was; empty if it was not or that is not noted.
    pub old: String,
    /// What it is now; the same.
    pub new: String,
}

/// Some of the trail.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// Newest first.
    pub events: Vec<AuditEvent>,
    /// Where the next page begins; `None`: there is no more. A page may end early, even empty, when it has read a
    /// lot.
    pub next: Option<AuditPlace>,
    /// Where the trail begins.
    pub begun: Begun,
}

impl Engine {
    /// Reads the trail from its newest end. Segments outside the wanted time are passed over unread.
    ///
    /// # Errors
    /// A store fails, or what is wanted is damaged: then `verify_audit` says more.
    pub async fn audit(&self, query: AuditQuery) -> Result<AuditPage> {
        if self.health().is_ok() {
            self.take_in_notes().await;
        }
        self.without_deletions(self.page(&Arc::new(query))).await
    }

    async fn page(&self, query: &Arc<AuditQuery>) -> Result<AuditPage> {
        let begun = Beginning::read(&*self.kv).await?.begun();
        let mut names = Names { engine: self, known: HashMap::new() };
        let mut page = AuditPage { events: Vec::new(), next: None, begun };
        // Everything older than this is still to be read. It goes by place, so that a checkpoint that takes rows in
        // meanwhile makes nothing come twice.
        let mut below = query.before.unwrap_or(AuditPlace { row: u64::MAX, position: 0 });
        for event in self.live(query, below, &mut names).await? {
            below = event.place;
            page.events.push(event);
            if page.events.len() >= query.amount {
                page.next = Some(below);
                return Ok(page);
            }
        }
        // The first segment that holds anything older.
        let newest = if below.position == 0 { below.row.saturating_sub(1) } else { below.row };
        let (from, end) = (keys::audit_segment(newest), keys::audit_segment(0));
        let newest_first = self.kv.scan(&from, &end, PAGE_SEGMENTS_MAX).await.map_err(kv_error)?;
        let all = newest_first.len() < PAGE_SEGMENTS_MAX;
        let mut bytes = 0;
        for (_, row) in newest_first {
            let segment = Segment::decode(row)?;
            // The next page may begin above it, or in it.
            let end = AuditPlace { row: segment.next(), position: 0 };
            let wanted = query.since.is_none_or(|since| segment.until >= since)
                && query.until.is_none_or(|until| segment.from < until);
            if !wanted {
                below = AuditPlace { row: segment.first, position: 0 };
                continue;
            }
            if bytes > 0 && bytes + segment.raw_bytes > PAGE_BYTES_MAX {
                page.next = Some(below.min(end));
                return Ok(page);
            }
            bytes += segment.raw_bytes;
            let rows = segment.read(&*self.blobs, &*self.options.tasks).await?;
            let (first, asked, before) = (segment.first, query.clone(), below);
            let mut found = self
                .options
                .tasks
                .run_in(Places::Unbounded, move |_| {
                    let mut found = VecDeque::new();
                    for (index, row) in rows.into_iter().enumerate() {
                        gather(&mut found, first + index as u64, row, &asked, before)?;
                    }
                    Ok::<_, crate::Error>(found)
                })
                .await??;
            while let Some((uid, event)) = found.pop_back() {
                let Some(event) = names.judge(uid, event, query).await? else { continue };
                page.events.push(event);
                if page.events.len() >= query.amount {
                    page.next = page.events.last().map(|event| event.place);
                    return Ok(page);
                }
            }
            below = AuditPlace { row: segment.first, position: 0 };
        }
        page.next = (!all).then_some(below);
        Ok(page)
    }

    /// Events of the journal, newest first, at most as many as wanted.
    async fn live(
        &self,
        query: &AuditQuery,
        below: AuditPlace,
        names: &mut Names<'_>,
    ) -> Result<Vec<AuditEvent>> {
        let (first, _) = checkpoint::read(&*self.kv).await?;
        let (mut from, end) = (keys::journal(first), keys::journal(below.row.saturating_add(1)));
        let mut newest = VecDeque::new();
        loop {
            let rows = self.kv.scan(&from, &end, PAGE_ROWS).await.map_err(kv_error)?;
            let Some((last, _)) = rows.last() else { break };
            from = millpond_kv::key_after(last);
            for (key, row) in rows {
                let number = key[keys::JOURNAL.len()..].try_into().map_or(0, u64::from_be_bytes);
                let mut found = VecDeque::new();
                gather(&mut found, number, row, query, below)?;
                for (uid, event) in found {
                    newest.extend(names.judge(uid, event, query).await?);
                    if newest.len() > query.amount {
                        newest.pop_front();
                    }
                }
            }
        }
        Ok(newest.into_iter().rev().collect())
    }
}

/// Adds a row's events that are wanted, as far as that can be told without the name of their repository.
fn gather(
    found: &mut VecDeque<(RepoUid, AuditEvent)>,
    number: u64,
    row: Bytes,
    query: &AuditQuery,
    below: AuditPlace,
) -> Result<()> {
    if number > below.row {
        return Ok(());
    }
    let row = Row::decode(row).map_err(|e| {
        crate::Error::new(
            crate::Kind::Damaged,
            format!("row {number} of the audit trail cannot be read: {e}; millpond audit verify says more"),
        )
    })?;
    for (position, (context, records)) in row.mutations.iter().enumerate() {
        let place = AuditPlace { row: number, position: position as u64 };
        if place < below && query.wants(context) {
            let (uid, event) = event_of(place, context, records);
            if query.wants_event(&event) {
                found.push_back((uid, event));
            }
        }
    }
    Ok(())
}

impl AuditQuery {
    fn wants(&self, context: &Context) -> bool {
        self.actor.as_ref().is_none_or(|actor| *actor == context.actor)
            && self.verb.as_ref().is_none_or(|verb| *verb == context.verb)
            && self.since.is_none_or(|since| context.time >= since)
            && self.until.is_none_or(|until| context.time < until)
            && self.refused.is_none_or(|refused| refused == context.refusal.is_some())
    }

    fn wants_event(&self, event: &AuditEvent) -> bool {
        let path = |prefix: &Bytes| event.changes.iter().any(|change| change.on.starts_with(prefix));
        self.reference.as_ref().is_none_or(|reference| *reference == event.reference)
            && self.path_prefix.as_ref().is_none_or(path)
    }
}

/// The names of repositories.
struct Names<'a> {
    engine: &'a Engine,
    known: HashMap<RepoUid, String>,
}

impl Names<'_> {
    /// The event with the name of its repository, if it is wanted.
    async fn judge(
        &mut self,
        uid: RepoUid,
        mut event: AuditEvent,
        query: &AuditQuery,
    ) -> Result<Option<AuditEvent>> {
        if uid > 0 {
            event.repository = self.name(uid).await?;
        }
        let wanted = query.repository.as_ref().is_none_or(|name| *name == event.repository);
        Ok(wanted.then_some(event))
    }

    async fn name(&mut self, uid: RepoUid) -> Result<String> {
        if let Some(name) = self.known.get(&uid) {
            return Ok(name.clone());
        }
        let name = match self.engine.root.read().by_uid.get(&uid) {
            Some(repo) => Some(repo.info().name.to_string()),
            None => {
                let deleted = self.engine.deleted.lock();
                deleted.iter().find(|repo| repo.uid == uid).map(|repo| repo.info().name.to_string())
            }
        };
        let name = match name {
            Some(name) => name,
            None => {
                let row = self.engine.kv.get(&keys::audit_repository(uid)).await.map_err(kv_error)?;
                let name = row.and_then(|row| decode_name(row).ok());
                name.unwrap_or_else(|| format!("#{uid}"))
            }
        };
        self.known.insert(uid, name.clone());
        Ok(name)
    }
}

/// A mutation as an event, and the number of its repository; 0: it names it itself, or is in none.
pub(crate) fn event_of(place: AuditPlace, context: &Context, records: &[Record]) -> (RepoUid, AuditEvent) {
    let mut event = AuditEvent {
        place,
        time: context.time,
        actor: context.actor.clone(),
        address: context.address,
        request_id: context.request_id.clone(),
        verb: context.verb.clone(),
        repository: String::new(),
        reference: String::new(),
        refused: None,
        count: 1,
        changes: Vec::new(),
    };
    if let Some(refusal) = &context.refusal {
        event.refused = Some(refusal.resource.clone());
        event.repository.clone_from(&refusal.repository);
        event.reference.clone_from(&refusal.reference);
        event.count = refusal.count;
        if !refusal.path.is_empty() {
            event.changes.push(change("object", refusal.path.clone()));
        }
    }
    for done in context.beside.iter().flat_map(|beside| &beside.changes) {
        let kind = if done.is_deletion { "remove" } else { "set" };
        event.changes.push(AuditChange { new: done.new.clone(), ..change(kind, done.on.clone()) });
    }
    for record in records {
        event.add(record);
    }
    (records.first().map_or(0, Record::uid), event)
}

/// What an object holds, by hash; empty for what was only declared.
fn content(content: &Content) -> String {
    match content {
        Content::Whole(hash) | Content::Parts(hash) => hash.to_hex(),
        Content::Declared => String::new(),
    }
}

fn change(kind: &'static str, on: impl Into<Bytes>) -> AuditChange {
    AuditChange { kind, on: on.into(), old: String::new(), new: String::new() }
}

impl AuditEvent {
    fn on(&mut self, reference: &str) -> Bytes {
        if self.reference.is_empty() {
            reference.clone_into(&mut self.reference);
        }
        Bytes::copy_from_slice(reference.as_bytes())
    }

    fn add(&mut self, record: &Record) {
        let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let made = match record {
            Record::RepositoryCreated { name, commit, .. } => AuditChange {
                new: commit.as_ref().map(|commit| commit.id().to_hex()).unwrap_or_default(),
                ..change("create-repository", text(name.as_str()))
            },
            Record::RepositoryDeleted { .. } => change("delete-repository", Bytes::new()),
            Record::RepositoryMetadata { .. } => change("set-repository-metadata", Bytes::new()),
            Record::BranchCreated { branch, head, .. } => {
                AuditChange { new: head.to_hex(), ..change("create-branch", self.on(branch.as_str())) }
            }
            Record::BranchDeleted { branch, head, .. } => {
                AuditChange { old: head.to_hex(), ..change("delete-branch", self.on(branch.as_str())) }
            }
            Record::TagCreated { tag, commit, .. } => {
                AuditChange { new: commit.to_hex(), ..change("create-tag", self.on(tag.as_str())) }
            }
            Record::TagDeleted { tag, commit, .. } => {
                AuditChange { old: commit.to_hex(), ..change("delete-tag", self.on(tag.as_str())) }
            }
            Record::Staged { branch, ops, .. } => {
                self.on(branch.as_str());
                self.changes.extend(ops.iter().map(|(path, entry)| match entry {
                    None => change("delete", Bytes::copy_from_slice(path.as_bytes())),
                    Some(entry) => AuditChange {
                        new: content(&entry.content),
                        ..change("put", Bytes::copy_from_slice(path.as_bytes()))
                    },
                }));
                return;
            }
            Record::HeadMoved { branch, old, new, .. } => AuditChange {
                old: old.to_hex(),
                new: new.to_hex(),
                ..change("move-branch", self.on(branch.as_str()))
            },
            // The server's own: it changes nothing that anybody sees.
            Record::Folded { branch, .. } => change("fold", self.on(branch.as_str())),
            Record::UploadCreated { upload, .. } => {
                self.on(upload.branch.as_str());
                AuditChange {
                    new: upload.id.clone(),
                    ..change("begin-upload", Bytes::copy_from_slice(upload.path.as_bytes()))
                }
            }
            Record::PartStored { upload, part, .. } => {
                AuditChange { new: part.info.number.to_string(), ..change("upload-part", text(upload)) }
            }
            Record::UploadEnded { upload, result: None, .. } => change("abort-upload", text(upload)),
            Record::UploadEnded { upload, result: Some(_), .. } => change("complete-upload", text(upload)),
            Record::RuleAdded { number, rule, .. } => AuditChange {
                new: String::from_utf8_lossy(&rule.source.0).into_owned(),
                ..change("add-import-rule", text(&number.to_string()))
            },
            Record::ImportStarted { order, .. } => {
                self.on(order.branch.as_str());
                change("begin-import", text(&order.id))
            }
            Record::ImportProgressed { import, .. } => change("import-step", text(import)),
            Record::ImportEnded { import, .. } => change("end-import", text(import)),
            Record::SettingsChanged { settings, .. } => {
                AuditChange { new: settings.protection.etag(), ..change("set-rules", Bytes::new()) }
            }
            Record::CommitsStored { commits, .. } => {
                let ids = commits.iter().map(|commit| commit.id().to_hex());
                self.changes.extend(ids.map(|id| change("store-commit", text(&id))));
                return;
            }
            Record::AliasAdded { alias, commit, .. } => {
                AuditChange { new: commit.to_hex(), ..change("add-alias", text(&alias.to_hex())) }
            }
            Record::RefsRestored { branches, tags, .. } => {
                let branches = branches.iter().map(|b| ("create-branch", b.name.as_str(), b.head));
                let tags = tags.iter().map(|(tag, commit)| ("create-tag", tag.as_str(), *commit));
                self.changes.extend(branches.chain(tags).map(|(kind, name, head)| AuditChange {
                    new: head.to_hex(),
                    ..change(kind, text(name))
                }));
                return;
            }
            Record::JobChanged { id, job, .. } => match job.as_deref() {
                None => change("forget-job", text(id)),
                Some(job) => {
                    if !job.branch.is_empty() {
                        self.on(&job.branch);
                    }
                    change(if job.end.is_none() { "begin-job" } else { "end-job" }, text(id))
                }
            },
            Record::PullRequestChanged { pull, .. } => {
                self.on(pull.destination.as_str());
                change("set-pull-request", text(pull.id.as_str()))
            }
        };
        self.changes.push(made);
    }
}
