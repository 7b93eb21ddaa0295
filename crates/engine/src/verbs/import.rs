//! Import: objects that lie elsewhere become entries of one commit, without moving their bytes (API area 20).
//!
//! The accident this prevents: an import of a billion objects fails after a night and begins anew, or leaves
//! half of them on the branch. So it works on a tree of its own, from the branch's head as it was at the start,
//! in steps: the changes of a step are found in the order of keys (`feed`), applied like any others, stored as
//! packs, and noted in the journal with the last key. A restart goes on behind that key. Nobody sees anything
//! before the last step, which takes the branch's turn and moves the head together with the note that the import
//! has ended: both or nothing, also against a cancel at the same moment.
//!
//! Below the destinations the result is what was imported and nothing else (API-20.8). What others committed
//! elsewhere on the branch meanwhile is applied on top; that costs their changes, not the import again.

mod feed;

use super::commit::check_words;
use super::train::{Also, Move};
use crate::checkpoint::REMEMBER_MILLIS;
use crate::engine::Engine;
use crate::idempotency::{Begin, Keyed};
use crate::journal::{BUSY_PAUSE, Submission};
use crate::keys::RepoUid;
use crate::record::{Context, ImportEnd, ImportOrder, ImportProgress, ImportRule, Record};
use crate::state::{Branch, ImportState, Repo, RepoState};
use crate::{
    Actor, CommitInfo, Error, ImportInfo, ImportOutcome, ImportPath, ImportRequest, Kind, Result, SourceKind,
    Thing,
};
use bytes::Bytes;
use feed::{Destinations, Feed, Replacing, Source};
use futures::future::Either;
use millpond_origin::{Location, OriginError, OriginErrorKind};
use millpond_tree::{Diff, NewNodes, NodeSource, Overlay, TreeError};
use millpond_types::{BranchName, Commit, CommitId, RepositoryName, Timestamp, TreeId, Writer};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// Changes after which an import says how far it is and looks whether it is to stop.
const LOOK_UP_AFTER: usize = 1024;
/// Longest part of an error text that a status shows, in bytes: paths may be long.
const ERROR_BYTES_MAX: usize = 4096;
/// Repository metadata that says when the last import was, in Unix seconds (API-9.20).
const LAST_IMPORT_KEY: &str = ".lakefs.last.import.timestamp";
/// What clients expect in an import's commit (API-20.12).
const STRATEGY: (&str, &str) = (".lakefs.merge.strategy", "source-wins");

/// Imports that work at a time; others wait for their turn. Each takes a thread and about 50 MB.
const WORKING_MAX: usize = 4;

/// Pauses before an import is tried again whose source is away, in seconds. Progress begins them anew.
const SOURCE_PAUSES_SECS: [u64; 8] = [1, 2, 4, 8, 16, 32, 60, 60];
/// How long a stopping server waits for running imports.
const REST_MAX: Duration = Duration::from_secs(10);

/// The imports that this server runs.
pub struct Imports {
    running: Mutex<HashMap<(RepoUid, String), Arc<Live>>>,
    turns: tokio::sync::Semaphore,
}

impl Default for Imports {
    fn default() -> Self {
        Self { running: Mutex::default(), turns: tokio::sync::Semaphore::new(WORKING_MAX) }
    }
}

/// A running import as others see it.
#[derive(Default)]
struct Live {
    ingested: AtomicU64,
    skipped: AtomicU64,
    updated_millis: AtomicI64,
    /// Stop soon: it was cancelled, or the server stops.
    stop: AtomicBool,
    over: tokio::sync::watch::Sender<bool>,
}

/// Why an import did not go on to its end.
enum Stopped {
    /// It stays as it is: the server stops, or somebody else has ended it.
    Quietly,
    /// It has failed.
    Failed(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn no_import(id: &str) -> Error {
    Error::new(Kind::NotFound(Thing::Other), format!("import '{id}' not found"))
}

/// An origin's failure as the engine's.
fn origin_error(error: OriginError) -> Error {
    let kind = match error.kind {
        OriginErrorKind::Refused => Kind::Invalid,
        OriginErrorKind::Gone => Kind::NotFound(Thing::Other),
        OriginErrorKind::Busy => Kind::Busy,
        OriginErrorKind::Failed => Kind::Internal,
    };
    Error::new(kind, error.message)
}

/// Names the stage that failed (API-20.4).
fn at(stage: &'static str) -> impl Fn(Error) -> Error {
    move |error| Error::new(error.kind, format!("{stage}: {}", error.message))
}

impl Engine {
    /// Starts an import in the background and names it. Whether its sources can be read shows in its status.
    pub async fn import_start(
        &self,
        actor: &Actor,
        repository: &RepositoryName,
        name: &BranchName,
        request: ImportRequest,
    ) -> Result<String> {
        self.journal.admit()?;
        check_words(&request.message, &request.metadata)?;
        let mut fingerprint = Writer::new();
        fingerprint.text(name.as_str()).text(&format!("{request:?}"));
        let mut keyed = match self.begin(actor, "import-start", repository, || fingerprint.finish()).await? {
            Begin::Again(answer) => return self.same(answer, |r| r.text()).await,
            Begin::Go(keyed) => keyed,
        };
        let repo = self.repo(repository)?;
        // A read-only repository shows in the status (API-20), protection at once.
        repo.state.read().settings.protection.judge(name, "import")?;
        self.branch(&repo, name)?;
        check_sources(&repo.info().storage_namespace, &request.paths)?;
        let mut context = self.context(actor, "import-start");
        let id = self.random_id();
        let order = Arc::new(ImportOrder {
            id: id.clone(),
            branch: name.clone(),
            actor: actor.name.clone(),
            started: context.time,
            request,
        });
        let ticket = {
            let mut state = repo.decide()?;
            let record = Record::ImportStarted { uid: repo.uid, order };
            state.apply(&record, None);
            keyed.answer(&mut context, || {
                let mut w = Writer::new();
                w.text(&id);
                w.finish().into()
            });
            self.submit(Submission { context, records: vec![record], nodes: None, created: None })
        };
        ticket.durable().await?;
        self.run_import(&repo, &id);
        Ok(id)
    }

    /// How an import is doing. Ended ones are known for a day.
    pub async fn import_status(&self, repository: &RepositoryName, id: &str) -> Result<ImportInfo> {
        let repo = self.repo(repository)?;
        // Before the record: an import that ends in between is seen ended.
        let live = self.imports.running.lock().get(&(repo.uid, id.to_owned())).cloned();
        let state = repo.state.read();
        let import = state.imports.get(id).ok_or_else(|| no_import(id))?;
        let mut info = ImportInfo {
            id: id.to_owned(),
            branch: import.order.branch.clone(),
            updated: import.order.started,
            ingested: 0,
            skipped: 0,
            outcome: ImportOutcome::Running,
        };
        if let Some(end) = &import.end {
            info.updated = end.time;
            (info.ingested, info.skipped) = (end.ingested, end.skipped);
            info.outcome = match &end.outcome {
                Err(why) => ImportOutcome::Failed(why.clone()),
                Ok(id) => {
                    let commit = (*self.stored_commit(&repo, id).await?).clone();
                    ImportOutcome::Completed(CommitInfo { id: *id, commit })
                }
            };
        } else if let Some(live) = live {
            info.updated = info.updated.max(Timestamp(live.updated_millis.load(Ordering::Relaxed)));
            info.ingested = live.ingested.load(Ordering::Relaxed);
            info.skipped = live.skipped.load(Ordering::Relaxed);
        } else if let Some(progress) = &import.progress {
            info.updated = progress.time;
            (info.ingested, info.skipped) = (progress.ingested, progress.skipped);
        }
        Ok(info)
    }

    /// Ends an import that has not ended: from here on it cannot change the branch.
    pub async fn import_cancel(&self, actor: &Actor, repository: &RepositoryName, id: &str) -> Result<()> {
        self.journal.admit()?;
        let mut keyed =
            match self.begin(actor, "import-cancel", repository, || id.as_bytes().to_vec()).await? {
                Begin::Again(answer) => return self.same(answer, |_| Ok(())).await,
                Begin::Go(keyed) => keyed,
            };
        let repo = self.repo(repository)?;
        let decided = {
            let mut state = repo.decide()?;
            match state.imports.get(id) {
                None => Err(no_import(id)),
                Some(import) if import.end.is_some() => {
                    Err(Error::new(Kind::AlreadyExists, format!("import '{id}' has ended already")))
                }
                Some(_) => {
                    let live = self.imports.running.lock().get(&(repo.uid, id.to_owned())).cloned();
                    let mut context = self.context(actor, "import-cancel");
                    keyed.answer(&mut context, Bytes::new);
                    let (ingested, skipped) = live.as_ref().map_or((0, 0), |live| live.counts());
                    if let Some(live) = live {
                        live.stop.store(true, Ordering::Release);
                    }
                    let outcome = Err("Canceled".to_owned());
                    let end = ImportEnd { time: context.time, ingested, skipped, outcome };
                    Ok(self.end_import(&repo, &mut state, context, id, end))
                }
            }
        };
        match decided {
            Ok(ticket) => ticket.durable().await,
            Err(error) => {
                self.journal.barrier().await?;
                Err(error)
            }
        }
    }

    /// Goes on with the imports that the last server left, where each was. Call once, after opening.
    pub fn resume_imports(&self) {
        let repos: Vec<Arc<Repo>> = self.root.read().by_uid.values().cloned().collect();
        for repo in repos {
            let state = repo.state.read();
            for import in state.imports.values().filter(|import| import.end.is_none()) {
                tracing::info!(import = %import.order.id, repository = %state.info.name, "going on with an import");
                self.run_import(&repo, &import.order.id);
            }
        }
    }

    /// Has running imports stop where they are, to go on after a restart.
    pub(crate) async fn rest_imports(&self) {
        let running: Vec<Arc<Live>> = self.imports.running.lock().values().cloned().collect();
        for live in &running {
            live.stop.store(true, Ordering::Release);
        }
        let over = async {
            for live in running {
                // Fails only when the other side is gone, which is as good as over.
                let _ = live.over.subscribe().wait_for(|over| *over).await;
            }
        };
        futures::pin_mut!(over);
        // One that hangs in a file system of somebody else goes on after the restart from what it noted last.
        if let Either::Right(_) = futures::future::select(over, self.options.tasks.pause(REST_MAX)).await {
            tracing::warn!("an import hangs in reading its source; stopping without it");
        }
    }

    /// Forgets imports that ended a day ago.
    pub(crate) fn forget_ended_imports(&self, repo: &Repo, now: Timestamp) {
        let Ok(mut state) = repo.decide() else { return };
        let old = |import: &&ImportState| {
            let ended = import.end.as_ref().map(|end| end.time.millis());
            ended.is_some_and(|ended| ended.saturating_add(REMEMBER_MILLIS) < now.millis())
        };
        let doomed: Vec<String> = state.imports.values().filter(old).map(|i| i.order.id.clone()).collect();
        for import in doomed {
            let record = Record::ImportEnded { uid: repo.uid, import, end: None };
            state.apply(&record, None);
            let context = self.context(&Actor::default(), "forget-import");
            // Nobody waits for it; the journal logs a failure.
            drop(self.submit(Submission { context, records: vec![record], nodes: None, created: None }));
        }
    }

    fn run_import(&self, repo: &Arc<Repo>, id: &str) {
        let live = Arc::new(Live::default());
        let key = (repo.uid, id.to_owned());
        self.imports.running.lock().insert(key.clone(), live.clone());
        let (engine, repo) = (self.owned(), repo.clone());
        self.options.tasks.spawn(Box::pin(async move {
            let id = &key.1;
            if let Err(Stopped::Failed(error)) = engine.import_patiently(&repo, id, &live).await {
                tracing::warn!(import = %id, %error, "an import has failed");
                engine.fail_import(&repo, id, &live, error).await;
            }
            engine.imports.running.lock().remove(&key);
            live.over.send_replace(true);
        }));
    }

    /// Tries an import again, from where it is, when its source is away for a while: hours of listing must not be lost
    /// to one answer of a file server that was started again, or to a mount that comes after us.
    async fn import_patiently(
        self: &Arc<Self>,
        repo: &Arc<Repo>,
        id: &str,
        live: &Arc<Live>,
    ) -> std::result::Result<(), Stopped> {
        let progress = || repo.state.read().imports.get(id).and_then(|import| import.progress.clone());
        let mut pauses = SOURCE_PAUSES_SECS.iter();
        loop {
            let before = progress();
            let outcome = {
                // Nobody closes the semaphore, so this is a turn.
                let _turn = self.imports.turns.acquire().await;
                self.import(repo, id, live).await
            };
            let Err(Stopped::Failed(error)) = outcome else { return outcome };
            let after = progress();
            let may_pass = match error.kind {
                Kind::Busy => true,
                // It was there before.
                Kind::NotFound(Thing::Other) => after.is_some(),
                _ => false,
            };
            if before != after {
                pauses = SOURCE_PAUSES_SECS.iter();
            }
            let Some(pause) = pauses.next().filter(|_| may_pass) else { return Err(Stopped::Failed(error)) };
            tracing::warn!(import = %id, %error, "an import is tried again in {pause} s");
            for _ in 0..*pause {
                if live.stop.load(Ordering::Acquire) {
                    return Err(Stopped::Quietly);
                }
                self.options.tasks.pause(Duration::from_secs(1)).await;
            }
        }
    }

    /// All of an import, from where it is.
    async fn import(
        self: &Arc<Self>,
        repo: &Arc<Repo>,
        id: &str,
        live: &Arc<Live>,
    ) -> std::result::Result<(), Stopped> {
        let import = repo.state.read().imports.get(id).cloned().ok_or(Stopped::Quietly)?;
        if import.end.is_some() || live.stop.load(Ordering::Acquire) {
            return Err(Stopped::Quietly);
        }
        let order = import.order;
        let branch = self.branch(repo, &order.branch)?;
        let sources = self.import_sources(repo, &order).await.map_err(at("error on ingest"))?;
        let drops = Destinations::of(order.request.paths.iter().map(|path| path.destination.clone()));
        let mut progress = match import.progress {
            Some(progress) => (*progress).clone(),
            None => {
                let base = branch.state.look(|s| s.head_tree);
                // An import into everything replaces everything: nothing of the base is looked at.
                let tree = if drops.all() { TreeId::EMPTY } else { base };
                let (time, upto) = (self.clock.now(), Bytes::new());
                ImportProgress { time, base, tree, upto, ingested: 0, skipped: 0 }
            }
        };
        live.ingested.store(progress.ingested, Ordering::Relaxed);
        live.skipped.store(progress.skipped, Ordering::Relaxed);
        let mut feed = Feed::new(self.options.origin.clone(), sources, &progress.upto);
        loop {
            let step = Step { engine: self.clone(), live: live.clone(), drops: drops.clone(), progress };
            let (done, new, last);
            (progress, feed, new, last) = {
                let ran = self.options.tasks.run({
                    let nodes = repo.nodes.clone();
                    move |wait| step.run(&nodes.waiting(wait), feed)
                });
                ran.await?.map_err(|stopped| match stopped {
                    Stopped::Failed(error) => Stopped::Failed(at("error on ingest")(error)),
                    quietly => quietly,
                })?
            };
            done = last;
            self.store_step(repo, live, new).await?;
            if done {
                break;
            }
            self.note_progress(repo, id, &progress).await?;
        }
        self.land_import(repo, &branch, &order, &drops, progress).await
    }

    /// The sources with a rule each, in the order of the request.
    async fn import_sources(&self, repo: &Arc<Repo>, order: &ImportOrder) -> Result<Vec<Source>> {
        let mut wanted = Vec::new();
        for path in &order.request.paths {
            let location = self.options.origin.locate(&path.source, path.kind).map_err(origin_error)?;
            let (rule, name) = match path.kind {
                SourceKind::Prefix => {
                    let mut destination = path.destination.to_vec();
                    if !destination.is_empty() && !destination.ends_with(b"/") {
                        destination.push(b'/');
                    }
                    (ImportRule { source: location, destination: destination.into() }, None)
                }
                SourceKind::Object if path.destination.is_empty() => {
                    let text = format!("the destination of object '{}' is empty: name a path", path.source);
                    return Err(Error::new(Kind::Invalid, text));
                }
                SourceKind::Object => {
                    let cut = location.0.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
                    let name = location.0.slice(cut..);
                    let source = Location(location.0.slice(..cut));
                    (ImportRule { source, destination: Bytes::new() }, Some(name))
                }
            };
            wanted.push((rule, name, path.destination.clone()));
        }
        let actor = Actor { name: order.actor.clone(), ..Actor::default() };
        let numbers = self.rule_numbers(repo, &actor, wanted.iter().map(|(rule, _, _)| rule)).await?;
        let sources = wanted.into_iter().zip(numbers).map(|((rule, object, destination), number)| Source {
            rule: number,
            folder: rule.source,
            destination: if object.is_some() { destination } else { rule.destination },
            object,
        });
        Ok(sources.collect())
    }

    /// The numbers of rules. Those that are new are durable when this returns.
    pub(super) async fn rule_numbers(
        &self,
        repo: &Arc<Repo>,
        actor: &Actor,
        rules: impl Iterator<Item = &ImportRule>,
    ) -> Result<Vec<u32>> {
        let (numbers, ticket) = {
            let mut state = repo.decide()?;
            let mut known: HashMap<ImportRule, u32> =
                state.rules.iter().map(|(number, rule)| ((**rule).clone(), *number)).collect();
            let mut records = Vec::new();
            let mut numbers = Vec::new();
            for rule in rules {
                let number = match known.get(rule) {
                    Some(number) => *number,
                    None => {
                        let number = state.rules.get_max().map_or(1, |(greatest, _)| greatest + 1);
                        let record =
                            Record::RuleAdded { uid: repo.uid, number, rule: Arc::new(rule.clone()) };
                        state.apply(&record, None);
                        records.push(record);
                        known.insert(rule.clone(), number);
                        number
                    }
                };
                numbers.push(number);
            }
            let context = self.context(actor, "import-rule");
            let submission = Submission { context, records, nodes: None, created: None };
            (numbers, (!submission.records.is_empty()).then(|| self.submit(submission)))
        };
        match ticket {
            Some(ticket) => ticket.durable().await?,
            // Another import's, perhaps not durable yet.
            None => self.journal.barrier().await?,
        }
        Ok(numbers)
    }

    /// Stores the nodes of a step. A full disk makes an import wait, not fail.
    async fn store_step(&self, repo: &Repo, live: &Live, new: NewNodes) -> std::result::Result<(), Stopped> {
        loop {
            match repo.nodes.store(std::slice::from_ref(&new)).await {
                Err(error) if error.kind == Kind::Busy => {
                    if live.stop.load(Ordering::Acquire) {
                        return Err(Stopped::Quietly);
                    }
                    self.options.tasks.pause(BUSY_PAUSE).await;
                }
                outcome => return Ok(outcome.map_err(at("write range"))?),
            }
        }
    }

    async fn note_progress(
        &self,
        repo: &Arc<Repo>,
        id: &str,
        progress: &ImportProgress,
    ) -> std::result::Result<(), Stopped> {
        let ticket = {
            let mut state = repo.decide()?;
            if !still_runs(&state, id) {
                return Err(Stopped::Quietly);
            }
            let progress = Arc::new(progress.clone());
            let record = Record::ImportProgressed { uid: repo.uid, import: id.to_owned(), progress };
            state.apply(&record, None);
            let context = self.context(&Actor::default(), "import-progress");
            self.submit(Submission { context, records: vec![record], nodes: None, created: None })
        };
        Ok(ticket.durable().await?)
    }

    /// Makes the commit and moves the head, with the branch's turn.
    async fn land_import(
        &self,
        repo: &Arc<Repo>,
        branch: &Branch,
        order: &ImportOrder,
        drops: &Destinations,
        progress: ImportProgress,
    ) -> std::result::Result<(), Stopped> {
        let merge = at("merge import");
        self.writable(repo, order.request.force).map_err(&merge)?;
        let train = branch.train.lock().await;
        let staging = self.clean(repo, branch).await.map_err(&merge)?;
        let head_tree = staging.at.head_tree;
        let (tree, new) = if head_tree == progress.base || drops.all() {
            (progress.tree, NewNodes::default())
        } else {
            let (base, imported, drops) = (progress.base, progress.tree, drops.clone());
            let work =
                move |source: &dyn NodeSource| others_changes(source, base, head_tree, imported, &drops);
            repo.nodes.work(work).await.map_err(&merge)?
        };
        let parent = self.stored_commit(repo, &staging.at.head).await?;
        let now = self.clock.now();
        let mut metadata = order.request.metadata.clone();
        metadata.insert(STRATEGY.0.to_owned(), STRATEGY.1.to_owned());
        let commit = Commit {
            committer: order.actor.clone(),
            message: match order.request.message.as_str() {
                "" => "Import objects".to_owned(),
                text => text.to_owned(),
            },
            tree,
            creation_date: now.seconds(),
            metadata,
            parents: vec![staging.at.head],
            generation: parent.generation + 1,
        };
        let id = commit.id();
        let to = Move {
            new: id,
            tree,
            commit: Some(Arc::new(commit)),
            upto_seq: staging.upto_seq(),
            working: tree,
            nodes: vec![new],
        };
        let also: Also<'_> = Box::new(move |state| {
            if !still_runs(state, &order.id) {
                return Err(Error::new(Kind::AlreadyExists, "the import has ended already"));
            }
            Ok(import_records(repo.uid, state, &order.id, id, &progress, now))
        });
        let actor = Actor { name: order.actor.clone(), ..Actor::default() };
        let ticket = self.move_head_and(
            &actor,
            "import",
            repo,
            branch,
            &mut Keyed::none(),
            Bytes::new(),
            to,
            Some(also),
        );
        drop(train);
        match ticket {
            Ok(ticket) => Ok(ticket.durable().await?),
            Err(error) if error.kind == Kind::AlreadyExists => Err(Stopped::Quietly),
            Err(error) => Err(Stopped::Failed(merge(error))),
        }
    }

    /// Records that an import has failed, unless it has ended already.
    async fn fail_import(&self, repo: &Repo, id: &str, live: &Live, error: Error) {
        let ticket = {
            let Ok(mut state) = repo.decide() else { return };
            if !still_runs(&state, id) {
                return;
            }
            let mut text = format!("import error: {}", error.message);
            if text.len() > ERROR_BYTES_MAX {
                text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
            }
            let (ingested, skipped) = live.counts();
            let context = self.context(&Actor::default(), "import-failed");
            let end = ImportEnd { time: context.time, ingested, skipped, outcome: Err(text) };
            self.end_import(repo, &mut state, context, id, end)
        };
        if let Err(error) = ticket.durable().await {
            tracing::error!(import = %id, %error, "the end of an import was not written");
        }
    }

    fn end_import(
        &self,
        repo: &Repo,
        state: &mut RepoState,
        context: Context,
        id: &str,
        end: ImportEnd,
    ) -> crate::journal::Ticket {
        let end = Some(Arc::new(end));
        let record = Record::ImportEnded { uid: repo.uid, import: id.to_owned(), end };
        state.apply(&record, None);
        self.submit(Submission { context, records: vec![record], nodes: None, created: None })
    }
}

impl Live {
    fn counts(&self) -> (u64, u64) {
        (self.ingested.load(Ordering::Relaxed), self.skipped.load(Ordering::Relaxed))
    }
}

fn still_runs(state: &RepoState, id: &str) -> bool {
    state.imports.get(id).is_some_and(|import| import.end.is_none())
}

/// What happens to the repository when an import's head moves.
fn import_records(
    uid: RepoUid,
    state: &RepoState,
    import: &str,
    commit: CommitId,
    progress: &ImportProgress,
    now: Timestamp,
) -> Vec<Record> {
    let end =
        ImportEnd { time: now, ingested: progress.ingested, skipped: progress.skipped, outcome: Ok(commit) };
    let mut metadata = state.info.metadata.clone();
    metadata.insert(LAST_IMPORT_KEY.to_owned(), now.seconds().to_string());
    vec![
        Record::ImportEnded { uid, import: import.to_owned(), end: Some(Arc::new(end)) },
        Record::RepositoryMetadata { uid, metadata },
    ]
}

/// Refuses sources in the repository's own namespace, or around it (API-20.1).
fn check_sources(namespace: &str, paths: &[ImportPath]) -> Result<()> {
    for path in paths {
        let around = path.kind == SourceKind::Prefix && namespace.starts_with(&path.source);
        if path.source.starts_with(namespace) || around {
            return Err(Error::new(
                Kind::Invalid,
                format!("import source '{}' overlaps the repository's own storage namespace", path.source),
            ));
        }
    }
    Ok(())
}

/// The imported tree with what others committed outside the destinations since the import began.
fn others_changes(
    base: &dyn NodeSource,
    before: TreeId,
    now: TreeId,
    imported: TreeId,
    drops: &Destinations,
) -> std::result::Result<(TreeId, NewNodes), TreeError> {
    let mut diff = Diff::new(base, before, now, b"", Bound::Unbounded);
    let changes = std::iter::from_fn(|| {
        loop {
            match diff.next() {
                Err(error) => return Some(Err(error)),
                Ok(None) => return None,
                Ok(Some((path, change))) => match drops.covers(path.as_bytes()) {
                    None => return Some(Ok((path, change.into_right()))),
                    Some(dropped) => {
                        let beyond = millpond_kv::prefix_end(dropped);
                        let to = beyond.as_deref().map(Bound::Included)?;
                        if let Err(error) = diff.seek(to) {
                            return Some(Err(error));
                        }
                    }
                },
            }
        }
    });
    let mut new = NewNodes::default();
    let source = Overlay { new: &NewNodes::default(), base };
    let tree = millpond_tree::replace(&source, imported, changes, &mut new)?;
    Ok((tree, new))
}

/// One step of an import.
struct Step {
    engine: Arc<Engine>,
    live: Arc<Live>,
    drops: Destinations,
    progress: ImportProgress,
}

impl Step {
    /// Applies the next changes. Gives the new state, the feed, the new nodes, and whether that was all.
    fn run(
        self,
        nodes: &dyn NodeSource,
        feed: Feed,
    ) -> std::result::Result<(ImportProgress, Feed, NewNodes, bool), Stopped> {
        let Self { engine, live, drops, mut progress } = self;
        let from = progress.upto.clone();
        let mut replacing = Replacing::new(nodes, progress.base, &drops, &from, feed);
        let mut stopped = None;
        let mut new = NewNodes::default();
        let (mut changes, mut more) = (0, true);
        let mut upto = from.clone();
        let step = std::iter::from_fn(|| {
            if changes == engine.options.import_step_changes {
                return None;
            }
            match replacing.next() {
                Ok(None) => {
                    more = false;
                    None
                }
                Ok(Some((path, entry))) => {
                    changes += 1;
                    upto = path.to_bytes();
                    progress.ingested += u64::from(entry.is_some());
                    if changes.is_multiple_of(LOOK_UP_AFTER) {
                        live.ingested.store(progress.ingested, Ordering::Relaxed);
                        live.updated_millis.store(engine.clock.now().millis(), Ordering::Relaxed);
                        if live.stop.load(Ordering::Acquire) {
                            stopped = Some(Stopped::Quietly);
                            return Some(Err(TreeError::Store("the import was ended".into())));
                        }
                    }
                    Some(Ok((path, entry)))
                }
                Err(Error { message, kind }) => {
                    stopped = Some(Stopped::Failed(Error::new(kind, message.clone())));
                    Some(Err(TreeError::Store(message)))
                }
            }
        });
        let tree = millpond_tree::replace(nodes, progress.tree, step, &mut new);
        let tree = match (stopped, tree) {
            (Some(stopped), _) => return Err(stopped),
            (None, tree) => tree.map_err(|error| Stopped::Failed(crate::nodes::tree_error(error)))?,
        };
        progress.tree = tree;
        progress.upto = upto;
        progress.time = engine.clock.now();
        let (feed, skipped) = replacing.into_feed();
        progress.skipped += skipped;
        live.ingested.store(progress.ingested, Ordering::Relaxed);
        live.skipped.store(progress.skipped, Ordering::Relaxed);
        live.updated_millis.store(progress.time.millis(), Ordering::Relaxed);
        if live.stop.load(Ordering::Acquire) {
            return Err(Stopped::Quietly);
        }
        Ok((progress, feed, new, !more))
    }
}
