//! What simulated clients do: one value per request, with everything that it asks for, so that the checks know
//! what should have become of it.

use crate::outside::{self, Folder};
use bytes::Bytes;
use futures::StreamExt;
use md5::{Digest, Md5};
use millpond_engine::*;
use millpond_testkit::model;
use millpond_types::*;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// What tells two objects apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The hash in the entry.
    pub content: ContentHash,
    /// The request that has described it; empty if none has.
    pub by: String,
}

impl Value {
    /// Content that nobody has described.
    pub fn plain(content: ContentHash) -> Self {
        Self { content, by: String::new() }
    }

    /// What an entry says.
    pub fn of(entry: &Entry) -> Self {
        let by = entry.attributes.metadata.get("by").cloned().unwrap_or_default();
        let content = match &entry.content {
            Content::Declared => declared(entry.size, &entry.checksum),
            _ => entry.hash(),
        };
        Self { content, by }
    }
}

/// What stands for the content of an object whose bytes nobody has hashed.
pub fn declared(size: u64, checksum: &Checksum) -> ContentHash {
    ContentHash::of(format!("{size} {checksum:?}").as_bytes())
}

/// One state of a branch.
pub type Files = model::Files<Value>;

/// A state to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// A branch with what is staged.
    Branch(String),
    /// The head of a branch.
    Head(String),
    /// A commit.
    Commit(CommitId),
}

impl At {
    fn expr(&self) -> RefExpr {
        let text = match self {
            Self::Branch(name) => name.clone(),
            Self::Head(name) => format!("{name}@"),
            Self::Commit(id) => id.to_hex(),
        };
        RefExpr::parse(&text).expect("the simulation names refs that can be parsed")
    }
}

/// A condition on the entry that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// None.
    Always,
    /// Nothing is there.
    Absent,
    /// This content is there.
    Is(Bytes),
}

impl Condition {
    fn write(&self) -> WriteCondition {
        match self {
            Self::Always => WriteCondition::default(),
            Self::Absent => WriteCondition { if_none_match: Some(EtagMatch::Any), ..Default::default() },
            Self::Is(body) => {
                WriteCondition { if_match: Some(EtagMatch::OneOf(vec![etag(body)])), ..Default::default() }
            }
        }
    }

    /// Whether it holds for what is there.
    pub fn holds(&self, there: Option<&Value>) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => there.is_none(),
            Self::Is(body) => there.is_some_and(|there| there.content == hash(body)),
        }
    }
}

/// Bodies as large as the parts of an upload but its last must be. They are hashed once.
static PARTS: LazyLock<[(Bytes, ContentHash, String); 2]> = LazyLock::new(|| {
    [b'.', b':'].map(|byte| {
        let body = Bytes::from(vec![byte; limits::PART_BYTES_MIN as usize]);
        let (hash, etag) = (ContentHash::of(&body), hex::encode(Md5::digest(&body)));
        (body, hash, etag)
    })
});

/// One of them.
pub fn large_part(number: usize) -> Bytes {
    PARTS[number % PARTS.len()].0.clone()
}

fn known(body: &Bytes) -> Option<&'static (Bytes, ContentHash, String)> {
    let is_large = body.len() as u64 == limits::PART_BYTES_MIN;
    PARTS.iter().find(|(known, ..)| is_large && known.as_ptr() == body.as_ptr())
}

fn etag(body: &Bytes) -> String {
    known(body).map_or_else(|| hex::encode(Md5::digest(body)), |(_, _, etag)| etag.clone())
}

/// The hash of a body.
pub fn hash(body: &Bytes) -> ContentHash {
    known(body).map_or_else(|| ContentHash::of(body), |(_, hash, _)| *hash)
}

/// What a reset or a partial commit is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// Paths beginning with this.
    Prefix(Vec<u8>),
    /// One path.
    Path(Vec<u8>),
}

impl Scope {
    /// Whether it is about a path.
    pub fn hits(&self, path: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => path.starts_with(prefix),
            Self::Path(one) => path == &one[..],
        }
    }
}

/// A multipart upload, as its client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its id.
    pub id: String,
    /// Branch.
    pub branch: String,
    /// Path.
    pub path: Vec<u8>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Op {
    Put { branch: String, path: Vec<u8>, body: Bytes, condition: Condition },
    Delete { branch: String, paths: Vec<Vec<u8>>, condition: Condition },
    Copy { branch: String, path: Vec<u8>, source: CommitId, source_path: Vec<u8> },
    Describe { branch: String, path: Vec<u8> },
    Commit { branch: String, scope: Scope, allow_empty: bool },
    Merge { source: At, dest: String, wins: MergeStrategy, squash: bool },
    Revert { branch: String, commit: CommitId },
    CherryPick { branch: String, commit: CommitId },
    Reset { branch: String, scope: Scope },
    HardReset { branch: String, to: CommitId },
    Undo { branch: String },
    CreateBranch { branch: String, source: At },
    DeleteBranch { branch: String },
    CreateTag { tag: String, source: At },
    DeleteTag { tag: String },
    CreateRepository,
    DeleteRepository,
    BeginUpload { branch: String, path: Vec<u8> },
    Part { upload: Upload, number: u32, body: Bytes },
    Complete { upload: Upload, parts: Parts },
    Abort { upload: Upload },
    List { at: At, page: usize },
    Get { at: At, path: Vec<u8> },
    Uncommitted { branch: String },
    Branches,
    Tags,
    Log { branch: String },
    Check { quick: bool },
    Backup,
    Import { branch: String, sources: Vec<Source> },
    ImportStatus { import: String },
    ImportCancel { import: String },
}

/// A folder outside, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The folder.
    pub folder: Folder,
    /// What everything begins with that gives way to it.
    pub destination: Vec<u8>,
}

/// What an import brings. Of two objects at the same path the one of the later source counts.
pub fn brought(sources: &[Source]) -> Files {
    let mut files = Files::new();
    for Source { folder, destination } in sources {
        let slash: &[u8] = if destination.is_empty() || destination.ends_with(b"/") { b"" } else { b"/" };
        for (name, seen) in folder.objects() {
            let path = [destination, slash, &name].concat();
            let value = Value::plain(declared(seen.size, &Checksum::Declared(seen.mark.to_text())));
            files.insert(path, value);
        }
    }
    files
}

/// The engine's request of an import.
pub fn import_request(sources: &[Source], actor: &Actor) -> ImportRequest {
    let path = |source: &Source| ImportPath {
        kind: SourceKind::Prefix,
        source: source.folder.url(),
        destination: Bytes::copy_from_slice(&source.destination),
    };
    ImportRequest {
        paths: sources.iter().map(path).collect(),
        message: message(actor),
        metadata: Default::default(),
        force: false,
    }
}

/// How an import is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Not at its end.
    Running,
    /// Done: its commit.
    Done(CommitId),
    /// Failed or cancelled: why.
    Failed(String),
}

/// Parts of an upload, as the client that sent them knows them.
pub type Parts = BTreeMap<u32, Bytes>;

/// What a request was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Answer {
    Nothing,
    Commit(CommitId),
    Object(Value),
    Files(Vec<(Vec<u8>, Value)>),
    Changed(Vec<(Vec<u8>, DiffSide, DiffSide)>),
    Refs(Vec<(String, CommitId)>),
    Commits(Vec<CommitId>),
    Upload(String),
    Moved {
        from: Option<CommitId>,
        to: Option<CommitId>,
    },
    /// What a check found wrong.
    Defects(Vec<String>),
    Import(String),
    Imported(Doing),
    /// The row of the journal up to which a backup holds everything.
    BackedUp(u64),
}

/// One side of a difference.
pub type DiffSide = Option<Value>;

fn branch(name: &str) -> BranchName {
    BranchName::parse(name).expect("the simulation's branch names are valid")
}
fn object(path: &[u8]) -> ObjectPath {
    ObjectPath::new(Bytes::copy_from_slice(path)).expect("the simulation's paths are valid")
}

/// The default branch of every repository.
pub const MAIN: &str = "main";

fn wrong(what: impl Into<String>) -> Error {
    Error::new(Kind::Damaged, what)
}

/// What an object is that was written with this body.
pub fn value_of(body: &Bytes) -> Value {
    Value::plain(hash(body))
}

/// What an upload of these parts becomes.
pub fn value_of_parts(parts: &Parts) -> Value {
    let hashes: Vec<_> = parts.values().map(|body| (hash(body), body.len() as u64)).collect();
    Value::plain(match &hashes[..] {
        [(one, _)] => *one,
        _ => entry::parts_hash(hashes.iter().copied()),
    })
}

/// Makes a backup.
pub async fn back_up(engine: &Engine, to: &Stores) -> Result<Answer> {
    let watch = Watch::new();
    let report = engine.backup(to, &watch).await?;
    match defects(&watch) {
        found if found.is_empty() => Ok(Answer::BackedUp(report.upto_row)),
        found => Ok(Answer::Defects(found)),
    }
}

/// Makes a request other than a backup.
pub async fn perform(engine: &Arc<Engine>, repo: &RepositoryName, actor: &Actor, op: Op) -> Result<Answer> {
    let attributes = || Attributes { content_type: "text/plain".into(), ..Default::default() };
    match op {
        Op::Put { branch: name, path, body, condition } => {
            let request = PutRequest {
                attributes: attributes(),
                condition: condition.write(),
                force: false,
                verified_sha256: None,
                size_hint: None,
            };
            let mut writer = engine.put_object(actor, repo, &branch(&name), &object(&path), request).await?;
            writer.write(body).await?;
            Ok(Answer::Object(Value::of(&writer.finish(Default::default()).await?.entry)))
        }
        Op::Delete { branch: name, paths, condition } => {
            let paths = paths.iter().map(|path| (object(path), condition.write())).collect();
            let failed = engine.delete_objects(actor, repo, &branch(&name), paths, false).await?;
            match failed.into_iter().next() {
                None => Ok(Answer::Nothing),
                Some(failure) => Err(failure.error),
            }
        }
        Op::Copy { branch: name, path, source, source_path } => {
            let (source, source_path) = (At::Commit(source).expr(), object(&source_path));
            let request = CopyRequest {
                source: &source,
                source_path: &source_path,
                attributes: None,
                source_condition: WriteCondition::default(),
                condition: WriteCondition::default(),
                force: false,
            };
            let copied = engine.copy_object(actor, repo, &branch(&name), &object(&path), request).await?;
            Ok(Answer::Object(Value::of(&copied.entry)))
        }
        Op::Describe { branch: name, path } => {
            let metadata = [("by".to_owned(), message(actor))].into();
            engine.set_object_metadata(actor, repo, &branch(&name), &object(&path), metadata, false).await?;
            Ok(Answer::Nothing)
        }
        Op::Commit { branch: name, scope, allow_empty } => {
            let mut request = CommitRequest { message: message(actor), allow_empty, ..Default::default() };
            match scope {
                Scope::All => {}
                Scope::Prefix(prefix) => request.prefixes.push(prefix.into()),
                Scope::Path(path) => request.paths.push(object(&path)),
            }
            Ok(Answer::Commit(engine.commit(actor, repo, &branch(&name), request).await?.id))
        }
        Op::Merge { source, dest, wins, squash } => {
            let request =
                MergeRequest { message: message(actor), strategy: wins, squash, ..Default::default() };
            Ok(Answer::Commit(engine.merge(actor, repo, &source.expr(), &branch(&dest), request).await?))
        }
        Op::Revert { branch: name, commit } => {
            let overrides = CommitOverrides { message: Some(message(actor)), metadata: None };
            let target = At::Commit(commit).expr();
            let parents = engine.get_commit(repo, &target).await?.commit.parents.len();
            let number = u64::from(parents > 1);
            let done =
                engine.revert(actor, repo, &branch(&name), &target, number, overrides, false, false).await?;
            Ok(Answer::Commit(done.id))
        }
        Op::CherryPick { branch: name, commit } => {
            let overrides = CommitOverrides { message: Some(message(actor)), metadata: None };
            let target = At::Commit(commit).expr();
            let done =
                engine.cherry_pick(actor, repo, &branch(&name), &target, Some(1), overrides, false).await?;
            Ok(Answer::Commit(done.id))
        }
        Op::Reset { branch: name, scope } => {
            let scope = match scope {
                Scope::All => ResetScope::All,
                Scope::Prefix(prefix) => ResetScope::Prefix(prefix.into()),
                Scope::Path(path) => ResetScope::Path(object(&path)),
            };
            engine.reset(actor, repo, &branch(&name), scope, false).await?;
            Ok(Answer::Nothing)
        }
        Op::HardReset { branch: name, to } => {
            engine.hard_reset(actor, repo, &branch(&name), &At::Commit(to).expr(), false).await?;
            Ok(Answer::Nothing)
        }
        Op::Undo { branch: name } => {
            let (made, _) = engine.undo(actor, repo, &branch(&name), false).await?;
            Ok(Answer::Moved { from: made.old, to: made.new })
        }
        Op::CreateBranch { branch: name, source } => {
            let head =
                engine.create_branch(actor, repo, &branch(&name), &source.expr(), false, false).await?;
            Ok(Answer::Commit(head))
        }
        Op::DeleteBranch { branch: name } => {
            engine.delete_branch(actor, repo, &branch(&name), false).await?;
            Ok(Answer::Nothing)
        }
        Op::CreateTag { tag, source } => {
            let tag = TagName::parse(&tag).expect("the simulation's tag names are valid");
            Ok(Answer::Commit(engine.create_tag(actor, repo, &tag, &source.expr(), false).await?))
        }
        Op::DeleteTag { tag } => {
            let tag = TagName::parse(&tag).expect("the simulation's tag names are valid");
            engine.delete_tag(actor, repo, &tag, false).await?;
            Ok(Answer::Nothing)
        }
        Op::CreateRepository => {
            let new = NewRepository {
                name: repo.clone(),
                storage_namespace: format!("local://{repo}"),
                default_branch: branch(MAIN),
                read_only: false,
            };
            engine.create_repository(actor, new).await?;
            Ok(Answer::Nothing)
        }
        Op::DeleteRepository => {
            engine.delete_repository(actor, repo, false).await?;
            Ok(Answer::Nothing)
        }
        Op::BeginUpload { branch: name, path } => {
            let upload = engine
                .create_upload(actor, repo, &branch(&name), &object(&path), attributes(), "", "")
                .await?;
            Ok(Answer::Upload(upload.id))
        }
        Op::Part { upload, number, body } => {
            let (name, path) = (branch(&upload.branch), object(&upload.path));
            let mut writer = engine.put_part(actor, repo, &name, &path, &upload.id, number, None).await?;
            writer.write(body).await?;
            Ok(Answer::Object(Value::plain(writer.finish(Default::default()).await?.sha256)))
        }
        Op::Complete { upload, parts } => {
            let (name, path) = (branch(&upload.branch), object(&upload.path));
            let part = |(number, body): (&u32, &Bytes)| CompletedPart {
                number: *number,
                etag: etag(body),
                checksums: Default::default(),
            };
            let parts = parts.iter().map(part).collect();
            let request = CompleteRequest { parts, ..Default::default() };
            let done = engine.complete_upload(actor, repo, &name, &path, &upload.id, request).await?;
            Ok(Answer::Object(Value::of(&done.entry)))
        }
        Op::Abort { upload } => {
            let (name, path) = (branch(&upload.branch), object(&upload.path));
            engine.abort_upload(actor, repo, &name, &path, &upload.id).await?;
            Ok(Answer::Nothing)
        }
        Op::List { at, page } => {
            let snapshot = engine.snapshot(repo, &at.expr()).await?;
            Ok(Answer::Files(list(&snapshot, page).await?))
        }
        Op::Get { at, path } => {
            let open = engine.open_object(repo, &at.expr(), &object(&path)).await?;
            let mut stream = open.read(0..open.info.entry.size);
            let mut bytes = Vec::new();
            while let Some(piece) = stream.next().await {
                bytes.extend_from_slice(&piece?);
            }
            if let Content::Whole(hash) = open.info.entry.content
                && hash != ContentHash::of(&bytes)
            {
                return Err(wrong("the bytes that were read are not those that the entry names"));
            }
            if let Checksum::Declared(mark) = &open.info.entry.checksum
                && bytes != outside::bytes_of(open.info.entry.size, mark)
            {
                return Err(wrong("the bytes that were read are not those that were seen outside"));
            }
            Ok(Answer::Object(Value::of(&open.info.entry)))
        }
        Op::Uncommitted { branch: name } => {
            let request = DiffRequest { amount: 100_000, ..Default::default() };
            let page = engine.diff_branch(repo, &branch(&name), request).await?;
            let side = |entry: Option<Entry>| entry.map(|e| Value::of(&e));
            let line = |item| match item {
                DiffItem::Object { path, left, right, .. } => {
                    Ok((path.as_bytes().to_vec(), side(left), side(right)))
                }
                DiffItem::CommonPrefix(_) => Err(wrong("a folded prefix without a delimiter")),
            };
            Ok(Answer::Changed(page.items.into_iter().map(line).collect::<Result<_>>()?))
        }
        Op::Branches => {
            let all = PageRequest { amount: 1000, ..Default::default() };
            let found = engine.list_branches(repo, &all, true)?.items;
            Ok(Answer::Refs(found.into_iter().map(|b| (b.name.to_string(), b.commit)).collect()))
        }
        Op::Tags => {
            let all = PageRequest { amount: 1000, ..Default::default() };
            let found = engine.list_tags(repo, &all)?.items;
            Ok(Answer::Refs(found.into_iter().map(|t| (t.name.to_string(), t.commit)).collect()))
        }
        Op::Log { branch: name } => {
            let request = LogRequest { amount: 100_000, first_parent: true, ..Default::default() };
            let found = engine.log(repo, &At::Branch(name).expr(), &request).await?.items;
            Ok(Answer::Commits(found.into_iter().map(|c| c.id).collect()))
        }
        Op::Check { quick } => {
            let watch = Watch::new();
            engine.fsck(FsckRequest { quick, ..FsckRequest::default() }, watch.clone()).await?;
            Ok(Answer::Defects(defects(&watch)))
        }
        Op::Backup => Err(wrong("a backup needs a place")),
        Op::Import { branch: name, sources } => {
            let request = import_request(&sources, actor);
            Ok(Answer::Import(engine.import_start(actor, repo, &branch(&name), request).await?))
        }
        Op::ImportStatus { import } => Ok(Answer::Imported(doing(engine, repo, &import).await?)),
        Op::ImportCancel { import } => {
            engine.import_cancel(actor, repo, &import).await?;
            Ok(Answer::Nothing)
        }
    }
}

/// How an import is doing.
pub async fn doing(engine: &Engine, repo: &RepositoryName, import: &str) -> Result<Doing> {
    Ok(match engine.import_status(repo, import).await?.outcome {
        ImportOutcome::Running => Doing::Running,
        ImportOutcome::Completed(commit) => Doing::Done(commit.id),
        ImportOutcome::Failed(why) => Doing::Failed(why),
    })
}

/// Everything that was found wrong, in words.
pub fn defects(watch: &Watch) -> Vec<String> {
    let told = |d: Defect| {
        format!(
            "{} {}: {}: {}",
            d.repository.unwrap_or_default(),
            d.reference.unwrap_or_default(),
            d.thing,
            d.what
        )
    };
    watch.take_defects().into_iter().map(told).collect()
}

/// All paths of one state, in pages.
pub async fn list(snapshot: &Snapshot, page: usize) -> Result<Vec<(Vec<u8>, Value)>> {
    let mut all = Vec::new();
    let mut request = ListRequest { amount: page, ..Default::default() };
    loop {
        let page = snapshot.list(&request).await?;
        for item in page.items {
            let ListItem::Object(info) = item else {
                return Err(wrong("a folded prefix without a delimiter"));
            };
            request.after = info.path.to_bytes();
            all.push((info.path.as_bytes().to_vec(), Value::of(&info.entry)));
        }
        if !page.has_more {
            return Ok(all);
        }
    }
}

/// What commits of this request are called, so that a doubled one shows.
pub fn message(actor: &Actor) -> String {
    actor.idempotency_key.clone().unwrap_or_else(|| actor.request_id.clone())
}

impl Op {
    /// Whether it asks for a change.
    pub fn changes(&self) -> bool {
        !matches!(
            self,
            Self::List { .. }
                | Self::Get { .. }
                | Self::Uncommitted { .. }
                | Self::Branches
                | Self::Tags
                | Self::Log { .. }
                | Self::Check { .. }
                | Self::Backup
                | Self::ImportStatus { .. }
        )
    }

    /// Whether its verb honours an idempotency key. A part that is sent again replaces itself.
    pub fn takes_key(&self) -> bool {
        self.changes() && !matches!(self, Self::Part { .. })
    }

    /// In a few words, for the picture.
    pub fn words(&self) -> String {
        let p = |path: &[u8]| {
            let text: String = String::from_utf8_lossy(path).escape_debug().take(10).collect();
            text
        };
        let b = |body: &Bytes| format!("{:?}", String::from_utf8_lossy(&body[..body.len().min(8)]));
        let at = |at: &At| match at {
            At::Branch(name) => name.clone(),
            At::Head(name) => format!("{name}@"),
            At::Commit(id) => id.to_hex()[..6].to_owned(),
        };
        let scope = |scope: &Scope| match scope {
            Scope::All => String::new(),
            Scope::Prefix(prefix) => format!(" {}*", p(prefix)),
            Scope::Path(path) => format!(" {}", p(path)),
        };
        let condition = |c: &Condition| match c {
            Condition::Always => String::new(),
            Condition::Absent => " if absent".into(),
            Condition::Is(body) => format!(" if {}", b(body)),
        };
        match self {
            Self::Put { branch, path, body, condition: c } => {
                format!("put {branch} {} {}{}", p(path), b(body), condition(c))
            }
            Self::Delete { branch, paths, condition: c } => {
                let paths: Vec<_> = paths.iter().map(|path| p(path)).collect();
                format!("delete {branch} {}{}", paths.join(","), condition(c))
            }
            Self::Copy { branch, path, source_path, .. } => {
                format!("copy {branch} {} to {}", p(source_path), p(path))
            }
            Self::Describe { branch, path } => format!("describe {branch} {}", p(path)),
            Self::Commit { branch, scope: s, .. } => format!("commit {branch}{}", scope(s)),
            Self::Merge { source, dest, .. } => format!("merge {} into {dest}", at(source)),
            Self::Revert { branch, commit } => format!("revert {branch} {}", at(&At::Commit(*commit))),
            Self::CherryPick { branch, commit } => format!("pick {branch} {}", at(&At::Commit(*commit))),
            Self::Reset { branch, scope: s } => format!("reset {branch}{}", scope(s)),
            Self::HardReset { branch, to } => format!("hard reset {branch} {}", at(&At::Commit(*to))),
            Self::Undo { branch } => format!("undo {branch}"),
            Self::CreateBranch { branch, source } => format!("branch {branch} at {}", at(source)),
            Self::DeleteBranch { branch } => format!("delete branch {branch}"),
            Self::CreateTag { tag, source } => format!("tag {tag} at {}", at(source)),
            Self::DeleteTag { tag } => format!("delete tag {tag}"),
            Self::CreateRepository => "create repository".into(),
            Self::DeleteRepository => "delete repository".into(),
            Self::BeginUpload { branch, path } => format!("upload {branch} {}", p(path)),
            Self::Part { upload, number, body } => format!("part {} {number} {}", &upload.id[..4], b(body)),
            Self::Complete { upload, parts } => {
                format!("complete {} of {:?}", &upload.id[..4], parts.keys().collect::<Vec<_>>())
            }
            Self::Abort { upload } => format!("abort {}", &upload.id[..4]),
            Self::List { at: a, .. } => format!("list {}", at(a)),
            Self::Get { at: a, path } => format!("get {} {}", at(a), p(path)),
            Self::Uncommitted { branch } => format!("diff {branch}"),
            Self::Branches => "branches".into(),
            Self::Tags => "tags".into(),
            Self::Log { branch } => format!("log {branch}"),
            Self::Check { quick: false } => "fsck".into(),
            Self::Check { quick: true } => "fsck quick".into(),
            Self::Backup => "backup".into(),
            Self::Import { branch, sources } => {
                let source =
                    |s: &Source| format!("{}*{} to {}", s.folder.version, s.folder.count, p(&s.destination));
                format!("import {} on {branch}", sources.iter().map(source).collect::<Vec<_>>().join(", "))
            }
            Self::ImportStatus { import } => format!("status {}", &import[..4]),
            Self::ImportCancel { import } => format!("cancel {}", &import[..4]),
        }
    }
}
