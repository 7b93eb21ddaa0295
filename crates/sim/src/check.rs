//! Judges a history. The journal gives the order in which things happened; the model says what each of them
//! had to be at its place in that order; what clients were told must agree with it:
//!
//! - a change that was acknowledged is there, once, and was durable before the answer;
//! - one that was refused is not there, and at some moment of the call there was a reason;
//! - one whose answer was lost is there whole, once, or not at all;
//! - a commit is everything staged up to one point, which lies within the call; merges, reverts and so on are
//!   what the model makes of the same commits;
//! - a reader saw one state between what its server had acknowledged when it asked and what was durable when it
//!   got its answer;
//! - the engine that is opened on what is left shows exactly the model's last state, and every commit ever made.

use crate::history::{Call, Outcome};
use crate::ops::{self, Answer, At, Condition, Doing, Files, MAIN, Op, Scope, Value};
use crate::stores::{Disk, Durable};
use futures::future::BoxFuture;
use millpond_engine::record::Record;
use millpond_engine::{Actor, Engine, Kind, LogRequest, MergeStrategy, PageRequest, Thing};
use millpond_testkit::model::{self, History, Wins};
use millpond_types::limits::PART_BYTES_MIN;
use millpond_types::{CommitId, RefExpr, RepositoryName, TreeId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Verdict<T = ()> = Result<T, String>;

/// A branch at one place of the journal.
struct View {
    head: CommitId,
    committed: Arc<Files>,
    visible: Arc<Files>,
    /// The last change staged on it.
    seq: u64,
    /// Where it was created: a branch that is created again is another one.
    born: usize,
}

/// The states that something went through: from which number of mutations on, and what.
type Course<T> = Vec<(usize, T)>;

fn during<T>(course: Option<&Course<T>>, from: usize, to: usize) -> impl Iterator<Item = &T> {
    let course = course.map_or(&[][..], |c| &c[..]);
    let first = course.partition_point(|(at, _)| *at <= from).saturating_sub(1);
    course[first..].iter().take_while(move |(at, _)| *at <= to).map(|(_, state)| state)
}

fn last<T>(course: Option<&Course<T>>) -> Option<&T> {
    course?.last().map(|(_, state)| state)
}

struct Branch {
    head: CommitId,
    /// Everything up to `folded`.
    working: Files,
    /// What was staged after that.
    staged: Vec<(u64, Vec<u8>, Option<Value>)>,
    folded: u64,
    next_seq: u64,
    born: usize,
}

impl Branch {
    fn new(head: CommitId, files: Files, born: usize) -> Self {
        Self { head, working: files, staged: vec![], folded: 0, next_seq: 1, born }
    }

    /// Everything staged up to a point.
    fn upto(&self, seq: u64) -> Files {
        let mut files = self.working.clone();
        for (_, path, value) in self.staged.iter().take_while(|(at, ..)| *at <= seq) {
            match value {
                Some(value) => files.insert(path.clone(), value.clone()),
                None => files.remove(path),
            };
        }
        files
    }

    fn fold(&mut self, upto: u64, working: Files) {
        self.working = working;
        self.folded = upto;
        self.staged.retain(|(seq, ..)| *seq > upto);
        self.next_seq = self.next_seq.max(upto + 1);
    }
}

#[derive(Default)]
struct Upload {
    made: usize,
    parts: BTreeMap<u32, Value>,
    ended: Option<usize>,
    completed: Option<(Value, BTreeMap<u32, Value>)>,
}

struct Import {
    started: usize,
    branch: String,
    message: String,
    /// What it brings, and what everything begins with that gives way to it.
    brings: Files,
    drops: Vec<Vec<u8>>,
    /// The branch as it was when it began, and the last path that it had dealt with, once it has noted them.
    noted: Option<(TreeId, Vec<u8>)>,
    ended: Option<(usize, Doing)>,
}

impl Import {
    fn drops(&self, path: &[u8]) -> bool {
        self.drops.iter().any(|prefix| path.starts_with(prefix))
    }

    /// What becomes of a branch. Not yet of what lies behind `upto`.
    fn onto(&self, files: &Files, upto: Option<&[u8]>) -> Files {
        let dealt_with = |path: &[u8]| upto.is_none_or(|upto| path <= upto);
        let mut files = files.clone();
        for path in files.clone().keys().filter(|path| self.drops(path) && dealt_with(path)) {
            files.remove(path);
        }
        files.extend(self.brings.iter().filter(|(p, _)| dealt_with(p)).map(|(p, v)| (p.clone(), v.clone())));
        files
    }
}

#[derive(Default)]
struct Repo {
    name: String,
    deleted: bool,
    branches: BTreeMap<String, Branch>,
    tags: BTreeMap<String, CommitId>,
    commits: History<Value>,
    /// Where each commit was made.
    made: BTreeMap<CommitId, usize>,
    trees: BTreeMap<TreeId, Files>,
    moves: Vec<(String, Option<CommitId>, Option<CommitId>)>,
    uploads: BTreeMap<String, Upload>,
    imports: BTreeMap<String, Import>,
    rules: BTreeSet<u32>,
}

/// The journal gone through; what must be there in the end.
pub struct Checked {
    repos: BTreeMap<u64, Repo>,
}

struct Replay<'a> {
    calls: BTreeMap<&'a str, &'a Call>,
    repos: BTreeMap<u64, Repo>,
    branches: BTreeMap<(String, String), Course<Option<Arc<View>>>>,
    tags: BTreeMap<(String, String), Course<Option<CommitId>>>,
    names: BTreeMap<String, Course<Option<u64>>>,
}

/// Goes through the journal, and compares every call with it.
///
/// # Errors
/// With the first rule that was broken.
pub fn replay(disk: &Disk, calls: &[Call]) -> Verdict<Checked> {
    judge(&disk.mutations(), calls)
}

/// What must be there once the journal's rows as far as this one have been made, and no others.
///
/// # Errors
/// As [`replay`].
pub fn as_of(disk: &Disk, calls: &[Call], upto_row: u64) -> Verdict<Checked> {
    let mutations: Vec<_> = disk.mutations().into_iter().filter(|m| m.row <= upto_row).collect();
    Ok(Checked { repos: gone_through(&mutations, calls)?.repos })
}

fn gone_through<'a>(mutations: &[Arc<Durable>], calls: &'a [Call]) -> Verdict<Replay<'a>> {
    let mut replay = Replay {
        calls: calls.iter().map(|c| (c.request.as_str(), c)).collect(),
        repos: BTreeMap::new(),
        branches: BTreeMap::new(),
        tags: BTreeMap::new(),
        names: BTreeMap::new(),
    };
    let mut life = 0;
    for (at, mutation) in mutations.iter().enumerate() {
        let who = &mutation.context.request_id;
        let told = |e: String| format!("row {} ({} {who}): {e}", mutation.row, mutation.context.verb);
        if mutation.life < life {
            return Err(told(format!("server {} wrote after server {life} had taken over", mutation.life)));
        }
        life = mutation.life;
        replay.mutation(at, mutation).map_err(told)?;
    }
    Ok(replay)
}

/// See [`replay`].
///
/// # Errors
/// As there.
pub fn judge(mutations: &[Arc<Durable>], calls: &[Call]) -> Verdict<Checked> {
    let replay = gone_through(mutations, calls)?;
    let made: BTreeMap<&str, usize> =
        (0..).zip(mutations).map(|(at, m)| (m.context.request_id.as_str(), at)).collect();
    for call in calls {
        let told = |e: String| format!("{} {} ({:?}): {e}", call.request, call.op.words(), call.outcome);
        // What its server could know: nothing that a later one has written.
        let foreign = mutations.iter().position(|m| m.life > call.life).unwrap_or(mutations.len());
        let seen = (call.known_at_start, call.durable_at_end.min(foreign));
        let group: Vec<usize> = match &call.key {
            None => made.get(call.request.as_str()).copied().into_iter().collect(),
            Some(_) => {
                let same = calls.iter().filter(|c| c.key == call.key);
                same.filter_map(|c| made.get(c.request.as_str()).copied()).collect()
            }
        };
        if group.len() > 1 {
            return Err(told(format!("it was made {} times", group.len())));
        }
        let own = made.get(call.request.as_str()).map(|at| &*mutations[*at]);
        let is_known = |at: &usize| *at < call.known_at_start && has_effect(&mutations[*at]);
        let told_before = group.first().is_some_and(is_known);
        let outcome = match &call.outcome {
            Outcome::Running | Outcome::Unknown(_) => Ok(()),
            Outcome::Done(answer) if call.op.changes() => {
                let at = group.first().copied();
                replay.acknowledged(call, answer, at, at.map(|at| &*mutations[at]))
            }
            Outcome::Done(Answer::BackedUp(upto)) => {
                let before = call.known_at_start.checked_sub(1).map_or(0, |last| mutations[last].row);
                ensure(before <= *upto, || format!("row {before} was acknowledged before and is not in it"))
            }
            Outcome::Done(answer) => replay.read(call, answer, seen),
            Outcome::Refused(_) if own.is_some_and(has_effect) => Err("refused, but it was made".to_owned()),
            // What the same key was acknowledged for is told again; only a keyed write looks for its repository first.
            Outcome::Refused(error)
                if told_before
                    && !matches!(
                        error.kind,
                        Kind::Busy | Kind::IdempotencyRunning | Kind::NotFound(Thing::Repository)
                    ) =>
            {
                Err("refused, but the same key had been acknowledged".to_owned())
            }
            Outcome::Refused(error) => replay.refused(call, error.kind, seen),
        };
        outcome.map_err(told)?;
    }
    Ok(Checked { repos: replay.repos })
}

fn has_effect(mutation: &Durable) -> bool {
    !mutation.records.iter().all(|r| matches!(r, Record::Staged { ops, .. } if ops.is_empty()))
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn same(what: &str, found: &Files, expected: &Files) -> Verdict {
    if found == expected {
        return Ok(());
    }
    let paths: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let different: Vec<String> = paths
        .into_iter()
        .filter(|p| found.get(*p) != expected.get(*p))
        .map(|p| {
            let short = |v: Option<&Value>| {
                v.map_or("nothing".to_owned(), |v| format!("{}{}", &v.content.to_hex()[..6], v.by))
            };
            let shown: String = String::from_utf8_lossy(p).escape_debug().take(20).collect();
            format!("{shown} is {} not {}", short(found.get(p)), short(expected.get(p)))
        })
        .collect();
    Err(format!("{what}: {}", different.join("; ")))
}

fn wins(strategy: MergeStrategy) -> Wins {
    match strategy {
        MergeStrategy::Refuse => Wins::Nobody,
        MergeStrategy::SourceWins => Wins::Source,
        MergeStrategy::DestWins => Wins::Dest,
    }
}

impl Replay<'_> {
    fn mutation(&mut self, at: usize, mutation: &Durable) -> Verdict {
        let request = mutation.context.request_id.as_str();
        let call = match request {
            "" => None,
            _ => Some(*self.calls.get(request).ok_or("nobody has asked for it")?),
        };
        if let Some(call) = call {
            ensure(call.op.changes(), || "a reader has changed something".into())?;
            ensure(call.durable_at_start <= at, || "made before it was asked for".into())?;
            ensure(call.life == mutation.life, || "made by a server that was not asked".into())?;
        }
        for record in &mutation.records {
            self.record(at, mutation, call, record)?;
        }
        Ok(())
    }

    fn record(&mut self, at: usize, mutation: &Durable, call: Option<&Call>, record: &Record) -> Verdict {
        let verb = &*mutation.context.verb;
        // The import whose commit this is.
        let landing = mutation.records.iter().find_map(|record| match record {
            Record::ImportEnded { import, end: Some(end), .. } if end.outcome.is_ok() => Some(import),
            _ => None,
        });
        if let Record::RepositoryCreated { uid, name, default_branch, commit, .. } = record {
            let commit = commit.as_ref().ok_or("a bare repository that nobody has asked for")?;
            let call = call.filter(|c| c.op == Op::CreateRepository && c.repo == name.as_str());
            call.ok_or("a repository that nobody has asked for")?;
            let there = last(self.names.get(name.as_str())).copied().flatten();
            ensure(there.is_none(), || "there are two repositories of this name".into())?;
            let mut repo = Repo { name: name.to_string(), ..Default::default() };
            repo.commits.add(commit.id(), Files::new(), vec![]);
            repo.made.insert(commit.id(), at);
            repo.trees.insert(TreeId::EMPTY, Files::new());
            repo.branches.insert(default_branch.to_string(), Branch::new(commit.id(), Files::new(), at));
            repo.moves.push((default_branch.to_string(), None, Some(commit.id())));
            ensure(self.repos.insert(*uid, repo).is_none(), || format!("number {uid} is used twice"))?;
            self.names.entry(name.to_string()).or_default().push((at + 1, Some(*uid)));
            self.show(at, *uid, default_branch.as_str());
            return Ok(());
        }
        let uid = record.uid();
        let repo = self.repos.get_mut(&uid).ok_or("it is about a repository that never was")?;
        ensure(!repo.deleted, || "it is about a repository that is deleted".into())?;
        if let Some(call) = call {
            ensure(call.repo == repo.name, || format!("it is about repository {}", repo.name))?;
        }
        match record {
            Record::RepositoryCreated { .. } => unreachable!("handled above"),
            Record::RepositoryDeleted { .. } => {
                call.filter(|c| c.op == Op::DeleteRepository).ok_or("nobody has asked for this deletion")?;
                repo.deleted = true;
                let name = repo.name.clone();
                let branches: Vec<String> = repo.branches.keys().cloned().collect();
                let tags: Vec<String> = repo.tags.keys().cloned().collect();
                for branch in branches {
                    self.branches.entry((name.clone(), branch)).or_default().push((at + 1, None));
                }
                for tag in tags {
                    self.tags.entry((name.clone(), tag)).or_default().push((at + 1, None));
                }
                self.names.entry(name).or_default().push((at + 1, None));
                return Ok(());
            }
            Record::SettingsChanged { .. }
            | Record::PullRequestChanged { .. }
            | Record::CommitsStored { .. }
            | Record::AliasAdded { .. }
            | Record::RefsRestored { .. }
            | Record::JobChanged { .. } => {
                return Err("nobody changes settings or pull requests, brings commits or starts jobs".into());
            }
            Record::RepositoryMetadata { .. } => {
                ensure(landing.is_some(), || "nobody changes repository metadata".into())?;
            }
            Record::RuleAdded { number, .. } => {
                ensure(call.is_none() && verb == "import-rule", || "nobody needs this rule".into())?;
                ensure(repo.rules.insert(*number), || format!("there are two rules {number}"))?;
            }
            Record::ImportStarted { order, .. } => {
                let call = call.ok_or("nobody has asked for this import")?;
                let Op::Import { branch, sources } = &call.op else {
                    return Err("nobody has asked for this import".into());
                };
                ensure(order.branch.as_str() == branch, || "it is on another branch".into())?;
                let request = ops::import_request(sources, &asker(call));
                ensure(order.request == request, || "it is another import than was asked for".into())?;
                let import = Import {
                    started: at,
                    branch: branch.clone(),
                    message: request.message,
                    brings: ops::brought(sources),
                    drops: sources.iter().map(|source| source.destination.clone()).collect(),
                    noted: None,
                    ended: None,
                };
                let there = repo.imports.insert(order.id.clone(), import);
                ensure(there.is_none(), || "the import was there already".into())?;
            }
            Record::ImportProgressed { import, progress, .. } => {
                ensure(call.is_none() && verb == "import-progress", || "who says so?".into())?;
                let trees = &repo.trees;
                let import = repo.imports.get_mut(import).ok_or("the import never was")?;
                ensure(import.ended.is_none(), || "the import has ended before".into())?;
                let base = trees.get(&progress.base).ok_or("it works on a tree that never was")?;
                if let Some((before, upto)) = &import.noted {
                    ensure(*before == progress.base, || "it works on another tree than before".into())?;
                    ensure(**upto < *progress.upto, || "it has not come further".into())?;
                }
                let nothing = Files::new();
                let base = if import.drops(b"") { &nothing } else { base };
                let files = import.onto(base, Some(&*progress.upto));
                let count = import.brings.keys().take_while(|path| ***path <= *progress.upto).count() as u64;
                ensure(progress.ingested == count, || format!("{} objects, not {count}", progress.ingested))?;
                import.noted = Some((progress.base, progress.upto.to_vec()));
                known_tree(repo, progress.tree, &files)?;
            }
            Record::ImportEnded { import: id, end, .. } => {
                let import = repo.imports.get_mut(id).ok_or("the import never was")?;
                let Some(end) = end else {
                    return ensure(call.is_none() && import.ended.is_some(), || "forgotten too early".into());
                };
                ensure(import.ended.is_none(), || "the import has ended before".into())?;
                let doing = match &end.outcome {
                    Ok(commit) => {
                        ensure(repo.made.get(commit) == Some(&at), || "its commit is another".into())?;
                        ensure(end.ingested == import.brings.len() as u64, || "it has brought more".into())?;
                        Doing::Done(*commit)
                    }
                    Err(why) => Doing::Failed(why.clone()),
                };
                import.ended = Some((at, doing));
                let failed = (repo.name.clone(), import.branch.clone(), import.started);
                match (&end.outcome, call.map(|call| &call.op)) {
                    (Ok(_), None) => {}
                    (Err(why), Some(Op::ImportCancel { import })) if import == id && why == "Canceled" => {}
                    (Err(why), None) if verb == "import-failed" => {
                        let (repo, branch, started) = failed;
                        let course = self.branches.get(&(repo, branch));
                        let reason = during(course, started, at)
                            .any(|view| view.as_ref().is_none_or(|view| view.visible != view.committed));
                        ensure(reason || mutation.hurt, || format!("it failed without a reason: {why}"))?;
                    }
                    _ => return Err("nobody has asked for the end of this import".into()),
                }
            }
            Record::Staged { branch, first_seq, ops, .. } => {
                let name = branch.to_string();
                let call = call.ok_or("nobody has asked for this change")?;
                let branch = repo.branches.get_mut(&name).ok_or("staged on a branch that is gone")?;
                ensure(*first_seq == branch.next_seq, || {
                    format!("staged as change {first_seq}, but the next one is {}", branch.next_seq)
                })?;
                let ops: Vec<Change> = ops
                    .iter()
                    .map(|(path, entry)| (path.as_bytes().to_vec(), entry.as_deref().map(Value::of)))
                    .collect();
                let visible = branch.upto(u64::MAX);
                let (on, wanted) = wanted(call, &visible, &repo.commits, &repo.uploads)?;
                ensure(on == name, || format!("staged on {name} instead of {on}"))?;
                ensure(ops == wanted, || format!("staged {ops:?} instead of {wanted:?}"))?;
                for (seq, (path, value)) in (*first_seq..).zip(ops) {
                    branch.staged.push((seq, path, value));
                    branch.next_seq = seq + 1;
                }
                self.show(at, uid, &name);
            }
            Record::HeadMoved { branch, old, new, tree, commit, upto_seq, working, .. } => {
                let name = branch.to_string();
                let moved = Moved { at, name: &name, old: *old, new: *new, upto: *upto_seq };
                let (message, (files, kept)) = match (call, landing) {
                    (Some(call), None) => {
                        self.in_time(call, &name, *upto_seq)?;
                        (ops::message(&asker(call)), self.moved(uid, call, &moved, commit.as_deref())?)
                    }
                    (None, Some(import)) => self.landed(uid, import, &moved, commit.as_deref())?,
                    _ => return Err("nobody has asked for this move".into()),
                };
                let repo = self.repos.get_mut(&uid).expect("it was there a moment ago");
                if let Some(commit) = commit {
                    ensure(commit.id() == *new, || "the head's id is not that of its commit".into())?;
                    ensure(commit.tree == *tree, || "the head's tree is not that of its commit".into())?;
                    ensure(repo.commits.get(new).is_none(), || "the commit was made before".into())?;
                    ensure(commit.message == message, || "its message is another's".into())?;
                    repo.commits.add(*new, files.clone(), commit.parents.clone());
                    repo.made.insert(*new, at);
                    let generation = repo.commits[*new].generation;
                    ensure(commit.generation == generation, || "its generation is wrong".into())?;
                }
                known_tree(repo, *tree, &files)?;
                known_tree(repo, *working, &kept)?;
                repo.moves.push((name.clone(), Some(*old), Some(*new)));
                let branch = repo.branches.get_mut(&name).ok_or("the branch is gone")?;
                branch.head = *new;
                branch.fold(*upto_seq, kept);
                self.show(at, uid, &name);
            }
            Record::Folded { branch, upto_seq, working, .. } => {
                let name = branch.to_string();
                let branch = repo.branches.get(&name).ok_or("folded on a branch that is gone")?;
                ensure(*upto_seq >= branch.folded, || "folded again what was folded before".into())?;
                let all = branch.upto(*upto_seq);
                let committed = &repo.commits[branch.head].files;
                let files = match call.map(|c| &c.op) {
                    None => {
                        ensure(verb == "fold", || format!("the engine does {verb} by itself"))?;
                        all
                    }
                    Some(Op::Reset { branch, scope }) if *branch == name => {
                        model::with_paths_of(&all, committed, |path| scope.hits(path))
                    }
                    Some(_) => return Err("nobody has asked for this reset".into()),
                };
                if let Some(call) = call {
                    self.in_time(call, &name, *upto_seq)?;
                }
                let repo = self.repos.get_mut(&uid).expect("it was there a moment ago");
                known_tree(repo, *working, &files)?;
                let branch = repo.branches.get_mut(&name).expect("it was there a moment ago");
                branch.fold(*upto_seq, files);
                self.show(at, uid, &name);
            }
            Record::BranchCreated { branch, head, tree, .. } => {
                let name = branch.to_string();
                ensure(!repo.branches.contains_key(&name), || "the branch was there already".into())?;
                let files =
                    repo.commits.get(head).ok_or("it starts at a commit that never was")?.files.clone();
                known_tree(repo, *tree, &files)?;
                let call = call.ok_or("nobody has asked for this branch")?;
                match &call.op {
                    Op::CreateBranch { branch, source } if *branch == name => {
                        let from = self.sources(call, source, at);
                        ensure(from.contains(head), || {
                            format!("it starts at {head}, not at one of {from:?}")
                        })?;
                    }
                    Op::Undo { branch } if *branch == name => {
                        let last = repo.moves.iter().rev().find(|(n, ..)| *n == name);
                        ensure(
                            last.is_some_and(|(_, old, new)| *old == Some(*head) && new.is_none()),
                            || "undone was something else than the last deletion".into(),
                        )?;
                    }
                    _ => return Err("another branch was asked for".into()),
                }
                let repo = self.repos.get_mut(&uid).expect("it was there a moment ago");
                repo.branches.insert(name.clone(), Branch::new(*head, files, at));
                repo.moves.push((name.clone(), None, Some(*head)));
                self.show(at, uid, &name);
            }
            Record::BranchDeleted { branch, head, .. } => {
                let name = branch.to_string();
                let asked = call.is_some_and(|c| c.op == Op::DeleteBranch { branch: name.clone() });
                ensure(asked, || "nobody has asked for this deletion".into())?;
                let gone = repo.branches.remove(&name).ok_or("the branch was gone before")?;
                ensure(gone.head == *head, || format!("its head was {}, not {head}", gone.head))?;
                repo.moves.push((name.clone(), Some(*head), None));
                self.branches.entry((repo.name.clone(), name)).or_default().push((at + 1, None));
            }
            Record::TagCreated { tag, commit, .. } => {
                let name = tag.to_string();
                let there = repo.tags.insert(name.clone(), *commit);
                ensure(there.is_none(), || "the tag was there already".into())?;
                repo.moves.push((name.clone(), None, Some(*commit)));
                let repo_name = repo.name.clone();
                match call.map(|c| (c, &c.op)) {
                    Some((call, Op::CreateTag { tag, source })) if *tag == name => {
                        let from = self.sources(call, source, at);
                        ensure(from.contains(commit), || {
                            format!("it is at {commit}, not at one of {from:?}")
                        })?;
                    }
                    _ => return Err("nobody has asked for this tag".into()),
                }
                self.tags.entry((repo_name, name)).or_default().push((at + 1, Some(*commit)));
            }
            Record::TagDeleted { tag, commit, .. } => {
                let name = tag.to_string();
                let asked = call.is_some_and(|c| c.op == Op::DeleteTag { tag: name.clone() });
                ensure(asked, || "nobody has asked for this deletion".into())?;
                let there = repo.tags.remove(&name);
                ensure(there == Some(*commit), || format!("the tag was at {there:?}"))?;
                repo.moves.push((name.clone(), Some(*commit), None));
                self.tags.entry((repo.name.clone(), name)).or_default().push((at + 1, None));
            }
            Record::UploadCreated { upload, .. } => {
                ensure(call.is_some_and(|c| matches!(&c.op, Op::BeginUpload { .. })), || {
                    "nobody has asked for this upload".into()
                })?;
                let there = repo.uploads.insert(upload.id.clone(), Upload { made: at, ..Default::default() });
                ensure(there.is_none(), || "the upload was there already".into())?;
            }
            Record::PartStored { upload, part, .. } => {
                let stored = Value::plain(part.info.sha256);
                let asked = call.is_some_and(|c| match &c.op {
                    Op::Part { upload: u, number, body } => {
                        u.id == *upload && *number == part.info.number && ops::value_of(body) == stored
                    }
                    _ => false,
                });
                ensure(asked, || "nobody has sent this part".into())?;
                let upload = repo.uploads.get_mut(upload).ok_or("the upload never was")?;
                ensure(upload.ended.is_none(), || "the upload has ended before".into())?;
                upload.parts.insert(part.info.number, stored);
            }
            Record::UploadEnded { upload: id, result, .. } => {
                let upload = repo.uploads.get_mut(id).ok_or("the upload never was")?;
                match (call.map(|c| &c.op), result) {
                    (None, None) => ensure(verb == "forget-upload" && upload.completed.is_some(), || {
                        "an upload was dropped by itself".into()
                    })?,
                    (Some(Op::Abort { upload: u }), None) if u.id == *id => {
                        ensure(upload.ended.is_none(), || "the upload has ended before".into())?;
                    }
                    (Some(Op::Complete { upload: u, parts }), Some(done)) if u.id == *id => {
                        ensure(upload.ended.is_none(), || "the upload has ended before".into())?;
                        let value = Value::of(&done.entry);
                        ensure(value == ops::value_of_parts(parts), || "made of other parts".into())?;
                        upload.completed = Some((value, values(parts)));
                    }
                    _ => return Err("nobody has asked for the end of this upload".into()),
                }
                upload.ended.get_or_insert(at);
            }
        }
        Ok(())
    }

    /// Notes how a branch looks now.
    fn show(&mut self, at: usize, uid: u64, name: &str) {
        let repo = &self.repos[&uid];
        let branch = &repo.branches[name];
        let view = View {
            head: branch.head,
            committed: Arc::new(repo.commits[branch.head].files.clone()),
            visible: Arc::new(branch.upto(u64::MAX)),
            seq: branch.next_seq - 1,
            born: branch.born,
        };
        let course = self.branches.entry((repo.name.clone(), name.to_owned())).or_default();
        course.push((at + 1, Some(Arc::new(view))));
    }

    /// A point in time that a verb works on may not lie before the call: all that was acknowledged before is in.
    fn in_time(&self, call: &Call, name: &str, upto: u64) -> Verdict {
        let key = (call.repo.clone(), name.to_owned());
        let born = last(self.branches.get(&key)).and_then(|v| v.as_ref()).map(|v| v.born);
        let at = call.known_at_start;
        match during(self.branches.get(&key), at, at).next() {
            Some(Some(before)) if Some(before.born) == born => ensure(before.seq <= upto, || {
                format!("taken up to change {upto}, though {} was acknowledged before", before.seq)
            }),
            _ => Ok(()),
        }
    }

    /// Commits that an expression may have meant at some moment of a call that took effect at `at`.
    fn sources(&self, call: &Call, source: &At, at: usize) -> Vec<CommitId> {
        match source {
            At::Commit(id) => vec![*id],
            At::Branch(name) | At::Head(name) => {
                let key = (call.repo.clone(), name.clone());
                let views = during(self.branches.get(&key), call.known_at_start, at);
                views.flatten().map(|v| v.head).collect()
            }
        }
    }

    /// As [`Replay::moved`], of an import's commit, with its message.
    fn landed(
        &self,
        uid: u64,
        import: &str,
        moved: &Moved<'_>,
        commit: Option<&millpond_types::Commit>,
    ) -> Verdict<(String, (Files, Files))> {
        let repo = &self.repos[&uid];
        let import = repo.imports.get(import).ok_or("the import never was")?;
        ensure(import.ended.is_none(), || "the import has ended before".into())?;
        ensure(import.branch == moved.name, || "it was for another branch".into())?;
        let branch = repo.branches.get(moved.name).ok_or("the branch is gone")?;
        ensure(branch.head == moved.old, || "the head was another".into())?;
        let head = &repo.commits[branch.head].files;
        same("the branch was dirty", &branch.upto(moved.upto), head)?;
        let parents = commit.map(|commit| &commit.parents[..]);
        ensure(parents == Some(&[moved.old]), || "its parent is not the head".into())?;
        let files = import.onto(head, None);
        Ok((import.message.clone(), (files.clone(), files)))
    }

    /// What the new head must hold, and what must be visible at its point in time.
    fn moved(
        &self,
        uid: u64,
        call: &Call,
        moved: &Moved<'_>,
        commit: Option<&millpond_types::Commit>,
    ) -> Verdict<(Files, Files)> {
        let repo = &self.repos[&uid];
        let branch = repo.branches.get(moved.name).ok_or("the branch is gone")?;
        ensure(branch.head == moved.old, || {
            format!("it moves from {}, but the head is {}", moved.old, branch.head)
        })?;
        ensure(moved.upto >= branch.folded, || "it takes in again what was folded before".into())?;
        let all = branch.upto(moved.upto);
        let head = &repo.commits[branch.head].files;
        let clean = || same("the branch was dirty", &all, head);
        let on = |name: &String| ensure(name == moved.name, || format!("{name} should have moved"));
        let parents = |expected: &[CommitId]| {
            let found = commit.map(|c| &c.parents[..]);
            ensure(found == Some(expected), || format!("its parents are {found:?}, not {expected:?}"))
        };
        let files_of = |id: CommitId| {
            repo.commits.get(&id).map(|c| &c.files).ok_or_else(|| format!("commit {id} never was"))
        };
        let parent_of = |id: CommitId| Ok::<_, String>(repo.commits[id].parents.first().copied());
        let merged = |base: &Files, source: &Files, wins| {
            model::merge(base, head, source, wins).ok_or("this is a conflict".to_owned())
        };
        match &call.op {
            Op::Commit { branch: name, scope, allow_empty } => {
                on(name)?;
                parents(&[branch.head])?;
                let files = match scope {
                    Scope::All => all.clone(),
                    _ => model::with_paths_of(head, &all, |path| scope.hits(path)),
                };
                ensure(*allow_empty || files != *head, || "a commit without changes".into())?;
                Ok((files, all))
            }
            Op::Merge { source, dest, wins: strategy, squash } => {
                on(dest)?;
                clean()?;
                let from = match (squash, commit.and_then(|c| c.parents.get(1))) {
                    (false, Some(second)) => *second,
                    (true, None) => {
                        *self.sources(call, source, moved.at).first().ok_or("it merges nothing")?
                    }
                    _ => return Err("its parents are not those of such a merge".into()),
                };
                let possible = self.sources(call, source, moved.at);
                ensure(possible.contains(&from), || format!("it merges {from}, not one of {possible:?}"))?;
                parents(&[moved.old, from][..if *squash { 1 } else { 2 }])?;
                let theirs = files_of(from)?;
                let base = repo.commits.base(branch.head, from);
                let files = merged(files_of(base)?, theirs, wins(*strategy))?;
                Ok((files.clone(), files))
            }
            Op::Revert { branch: name, commit } => {
                on(name)?;
                clean()?;
                parents(&[branch.head])?;
                let base = files_of(*commit)?;
                let files = match parent_of(*commit)? {
                    Some(parent) => merged(base, files_of(parent)?, Wins::Nobody)?,
                    None => merged(base, &Files::new(), Wins::Nobody)?,
                };
                Ok((files.clone(), files))
            }
            Op::CherryPick { branch: name, commit } => {
                on(name)?;
                clean()?;
                parents(&[branch.head])?;
                let source = files_of(*commit)?;
                let parent = parent_of(*commit)?.ok_or("a root commit cannot be picked")?;
                let files = merged(files_of(parent)?, source, Wins::Nobody)?;
                Ok((files.clone(), files))
            }
            Op::HardReset { branch: name, to } => {
                on(name)?;
                clean()?;
                ensure(moved.new == *to && commit.is_none(), || "it moves elsewhere".into())?;
                let files = files_of(*to)?.clone();
                Ok((files.clone(), files))
            }
            Op::Undo { branch: name } => {
                on(name)?;
                clean()?;
                let last = repo.moves.iter().rev().find(|(n, ..)| n == name);
                ensure(last.is_some_and(|(_, old, _)| *old == Some(moved.new)) && commit.is_none(), || {
                    format!("it should undo {last:?}")
                })?;
                let files = files_of(moved.new)?.clone();
                Ok((files.clone(), files))
            }
            _ => Err("nobody has asked for this move".into()),
        }
    }

    fn acknowledged(
        &self,
        call: &Call,
        answer: &Answer,
        at: Option<usize>,
        mutation: Option<&Durable>,
    ) -> Verdict {
        let (Some(at), Some(mutation)) = (at, mutation) else {
            // Repeated by the protocol's own rule: the upload tells what was made of it.
            if let Op::Complete { upload, .. } = &call.op {
                let known = self.repos.values().find_map(|r| r.uploads.get(&upload.id));
                if known.is_some_and(|u| {
                    u.completed.is_some() && u.ended.is_some_and(|e| e < call.durable_at_end)
                }) {
                    return Ok(());
                }
            }
            return Err("acknowledged, but it is not there".into());
        };
        ensure(at < call.durable_at_end, || "acknowledged before it was durable".into())?;
        for record in &mutation.records {
            let told: Answer = match record {
                Record::HeadMoved { new, .. } => match &call.op {
                    Op::HardReset { .. } => Answer::Nothing,
                    Op::Undo { .. } => continue,
                    _ => Answer::Commit(*new),
                },
                Record::BranchCreated { head, .. } if matches!(call.op, Op::CreateBranch { .. }) => {
                    Answer::Commit(*head)
                }
                Record::TagCreated { commit, .. } => Answer::Commit(*commit),
                Record::UploadCreated { upload, .. } => Answer::Upload(upload.id.clone()),
                Record::ImportStarted { order, .. } => Answer::Import(order.id.clone()),
                Record::Staged { ops, .. } => match (&call.op, ops.first()) {
                    (Op::Put { .. } | Op::Copy { .. }, Some((_, Some(entry)))) => {
                        Answer::Object(Value::of(entry))
                    }
                    _ => continue,
                },
                _ => continue,
            };
            ensure(*answer == told, || format!("it should have been told {told:?}"))?;
        }
        Ok(())
    }

    fn views(&self, call: &Call, name: &str, seen: (usize, usize)) -> Vec<Option<Arc<View>>> {
        let key = (call.repo.clone(), name.to_owned());
        let mut views: Vec<_> = during(self.branches.get(&key), seen.0, seen.1).cloned().collect();
        // Before its first state it was not there.
        let course = self.branches.get(&key);
        if course.is_none_or(|c| c.first().is_none_or(|(at, _)| *at > seen.0)) {
            views.retain(|_| course.is_some_and(|c| c.first().is_some_and(|(at, _)| *at <= seen.1)));
            views.push(None);
        }
        views
    }

    /// The states that an expression showed at some moment; `None` where it led nowhere.
    fn states(&self, call: &Call, at: &At, seen: (usize, usize)) -> Vec<Option<Arc<Files>>> {
        match at {
            At::Branch(name) => {
                let views = self.views(call, name, seen);
                views.into_iter().map(|v| v.map(|v| v.visible.clone())).collect()
            }
            At::Head(name) => {
                let views = self.views(call, name, seen);
                views.into_iter().map(|v| v.map(|v| v.committed.clone())).collect()
            }
            At::Commit(id) => {
                let uids = during(self.names.get(&call.repo), seen.0, seen.1).copied();
                let of = |uid: &u64| {
                    let repo = &self.repos[uid];
                    let files = repo.commits.get(id).map(|c| Arc::new(c.files.clone()));
                    // Made during the call: it may have been seen or not.
                    let made = repo.made.get(id);
                    let before = if made.is_some_and(|at| *at < seen.0) { files.clone() } else { None };
                    // Also a fenced server reads its successor's commits, in the tables.
                    [before, if made.is_some_and(|at| *at < call.durable_at_end) { files } else { None }]
                };
                uids.flat_map(|uid| uid.as_ref().map_or([None, None], of)).collect()
            }
        }
    }

    fn read(&self, call: &Call, answer: &Answer, seen: (usize, usize)) -> Verdict {
        match (&call.op, answer) {
            (Op::List { at, .. }, Answer::Files(files)) => {
                let found: Files = files.iter().cloned().collect();
                ensure(found.len() == files.len(), || "a path was listed twice".into())?;
                ensure(files.is_sorted_by(|a, b| a.0 < b.0), || "the listing is not in order".into())?;
                let states: Vec<_> = self.states(call, at, seen).into_iter().flatten().collect();
                if states.iter().any(|s| **s == found) {
                    return Ok(());
                }
                match states.last() {
                    None => Err("it was not there at all".into()),
                    Some(state) => {
                        same("not what was there at any moment of the call; at its end", &found, state)
                    }
                }
            }
            (Op::Get { at, path }, Answer::Object(value)) => {
                let states = self.states(call, at, seen);
                let there = states.iter().flatten().any(|s| s.get(path) == Some(value));
                ensure(there, || format!("{value:?} was there at no moment of the call"))
            }
            (Op::Uncommitted { branch }, Answer::Changed(lines)) => {
                let fits = |view: &Arc<View>| {
                    let paths: BTreeSet<_> = view.committed.keys().chain(view.visible.keys()).collect();
                    let changed = paths.into_iter().filter_map(|p| {
                        let (left, right) = (view.committed.get(p), view.visible.get(p));
                        (left != right).then(|| (p.clone(), left.cloned(), right.cloned()))
                    });
                    changed.eq(lines.iter().cloned())
                };
                let views = self.views(call, branch, seen);
                ensure(views.iter().flatten().any(fits), || "these were the changes at no moment".into())
            }
            (Op::Branches, Answer::Refs(refs)) => self.refs(call, refs, seen, |at| {
                let here = self.branches.iter().filter(|((repo, _), _)| *repo == call.repo);
                let heads = here.filter_map(|((_, name), course)| {
                    let view =
                        course[..course.partition_point(|(from, _)| *from <= at)].last()?.1.as_ref()?;
                    Some((name.clone(), view.head))
                });
                heads.collect()
            }),
            (Op::Tags, Answer::Refs(refs)) => self.refs(call, refs, seen, |at| {
                let here = self.tags.iter().filter(|((repo, _), _)| *repo == call.repo);
                let tags = here.filter_map(|((_, name), course)| {
                    let tag = course[..course.partition_point(|(from, _)| *from <= at)].last()?.1;
                    Some((name.clone(), tag?))
                });
                tags.collect()
            }),
            (Op::Log { branch }, Answer::Commits(ids)) => {
                let first = *ids.first().ok_or("an empty log")?;
                let views = self.views(call, branch, seen);
                ensure(views.iter().flatten().any(|v| v.head == first), || "it begins elsewhere".into())?;
                let known =
                    self.repos.values().find(|r| r.name == call.repo && r.commits.get(&first).is_some());
                let known = known.ok_or("it begins at a commit that never was")?;
                let mut chain = vec![first];
                while let Some(parent) = chain.last().and_then(|id| known.commits[*id].parents.first()) {
                    chain.push(*parent);
                }
                // Equal dates are ordered by generation, and a clock set back may order anything: the set counts.
                let (a, b): (BTreeSet<_>, BTreeSet<_>) = (chain.iter().collect(), ids.iter().collect());
                ensure(a == b && chain.len() == ids.len(), || format!("{ids:?} instead of {chain:?}"))
            }
            (Op::ImportStatus { import }, Answer::Imported(doing)) => {
                let import = self.import(call, import).ok_or("it never was")?;
                ensure(import.started < call.durable_at_end, || "it was seen before it was durable".into())?;
                let possible = match &import.ended {
                    None => *doing == Doing::Running,
                    Some((at, end)) => {
                        *doing == Doing::Running && *at >= seen.0 || doing == end && *at < call.durable_at_end
                    }
                };
                ensure(possible, || format!("it was {doing:?} at no moment of the call"))
            }
            // Defects are judged where they are met.
            (Op::Check { .. } | Op::Backup, Answer::Defects(_)) => Ok(()),
            _ => Err("an answer of another kind".into()),
        }
    }

    fn import(&self, call: &Call, id: &str) -> Option<&Import> {
        self.repos.values().filter(|repo| repo.name == call.repo).find_map(|repo| repo.imports.get(id))
    }

    fn refs(
        &self,
        call: &Call,
        found: &[(String, CommitId)],
        seen: (usize, usize),
        at: impl Fn(usize) -> Vec<(String, CommitId)>,
    ) -> Verdict {
        let _ = call;
        ensure((seen.0..=seen.1).any(|moment| at(moment) == found), || {
            format!("these refs were there at no moment of the call: {found:?}; at its end {:?}", at(seen.1))
        })
    }

    /// A refusal needs a reason at some moment of the call.
    fn refused(&self, call: &Call, kind: Kind, seen: (usize, usize)) -> Verdict {
        let uids: Vec<Option<u64>> = during(self.names.get(&call.repo), seen.0, seen.1).copied().collect();
        let gone_repo = uids.is_empty()
            || uids.contains(&None)
            || self.names[&call.repo].first().is_some_and(|(at, _)| *at > seen.0);
        let on: Option<&String> = match &call.op {
            Op::Put { branch, .. }
            | Op::Delete { branch, .. }
            | Op::Copy { branch, .. }
            | Op::Describe { branch, .. }
            | Op::Commit { branch, .. }
            | Op::Revert { branch, .. }
            | Op::CherryPick { branch, .. }
            | Op::Reset { branch, .. }
            | Op::HardReset { branch, .. }
            | Op::Undo { branch }
            | Op::CreateBranch { branch, .. }
            | Op::DeleteBranch { branch }
            | Op::BeginUpload { branch, .. }
            | Op::Uncommitted { branch }
            | Op::Import { branch, .. }
            | Op::Log { branch } => Some(branch),
            Op::Merge { dest, .. } => Some(dest),
            Op::Complete { upload, .. } | Op::Abort { upload } | Op::Part { upload, .. } => {
                Some(&upload.branch)
            }
            _ => None,
        };
        let views = on.map_or(vec![], |name| self.views(call, name, seen));
        let there = || views.iter().flatten();
        let commits = |id: &CommitId| {
            let here = uids.iter().flatten().find_map(|uid| self.repos[uid].commits.get(id));
            here.map(|c| (c.files.clone(), c.parents.clone()))
        };
        let pairs = |source: &At| -> Vec<(CommitId, CommitId)> {
            let theirs: Vec<CommitId> = match source {
                At::Commit(id) => vec![*id],
                At::Branch(name) | At::Head(name) => {
                    self.views(call, name, seen).iter().flatten().map(|v| v.head).collect()
                }
            };
            there().flat_map(|v| theirs.iter().map(|t| (v.head, *t))).collect()
        };
        let repo_of = |id: &CommitId| {
            uids.iter().flatten().map(|uid| &self.repos[uid]).find(|r| r.commits.get(id).is_some())
        };
        let source_gone = |source: &At| self.states(call, source, seen).iter().any(Option::is_none);
        let reason = match (kind, &call.op) {
            (Kind::NotFound(Thing::Repository), _) => gone_repo,
            (Kind::NotFound(Thing::Branch), _) => views.contains_none() || gone_repo,
            (Kind::NotFound(Thing::Ref), op) => {
                gone_repo
                    || match op {
                        Op::Merge { source, .. }
                        | Op::CreateBranch { source, .. }
                        | Op::CreateTag { source, .. } => source_gone(source),
                        Op::List { at, .. } | Op::Get { at, .. } => source_gone(at),
                        Op::Copy { source: id, .. }
                        | Op::Revert { commit: id, .. }
                        | Op::CherryPick { commit: id, .. }
                        | Op::HardReset { to: id, .. } => source_gone(&At::Commit(*id)),
                        Op::Log { .. } => views.contains_none(),
                        _ => false,
                    }
            }
            (Kind::NotFound(Thing::Object), Op::Get { at, path }) => {
                self.states(call, at, seen).iter().flatten().any(|s| !s.contains_key(path))
            }
            (Kind::NotFound(Thing::Object), Op::Copy { source, source_path, .. }) => {
                commits(source).is_some_and(|(files, _)| !files.contains_key(source_path))
            }
            (Kind::NotFound(Thing::Object), Op::Describe { path, .. } | Op::Put { path, .. }) => {
                there().any(|v| !v.visible.contains_key(path))
            }
            (Kind::NotFound(Thing::Tag), Op::DeleteTag { tag }) => {
                let course = self.tags.get(&(call.repo.clone(), tag.clone()));
                course.is_none_or(|c| c.first().is_none_or(|(at, _)| *at > seen.0))
                    || during(course, seen.0, seen.1).any(Option::is_none)
            }
            (
                Kind::NotFound(Thing::Upload),
                Op::Part { upload, .. } | Op::Complete { upload, .. } | Op::Abort { upload },
            ) => {
                // A repository that is created again has other uploads.
                let here = uids.iter().flatten().map(|uid| &self.repos[uid]);
                let known = here.filter_map(|r| r.uploads.get(&upload.id)).next();
                known.is_none_or(|u| u.made >= seen.0 || u.ended.is_some_and(|at| at < seen.1)) || gone_repo
            }
            (Kind::NotFound(Thing::Other), Op::ImportStatus { import } | Op::ImportCancel { import }) => {
                gone_repo || self.import(call, import).is_none_or(|import| import.started >= seen.0)
            }
            (Kind::AlreadyExists, Op::ImportCancel { import }) => {
                let ended = self.import(call, import).and_then(|import| import.ended.as_ref());
                ended.is_some_and(|(at, _)| *at < seen.1)
            }
            (Kind::AlreadyExists, Op::CreateBranch { .. } | Op::Undo { .. }) => there().next().is_some(),
            (Kind::AlreadyExists, Op::CreateTag { tag, .. }) => {
                during(self.tags.get(&(call.repo.clone(), tag.clone())), seen.0, seen.1).any(Option::is_some)
            }
            (Kind::AlreadyExists, Op::CreateRepository) => uids.iter().any(Option::is_some),
            (Kind::Dirty, _) => there().any(|v| v.visible != v.committed),
            (Kind::NoChanges, Op::Commit { scope, .. }) => there().any(|v| {
                model::with_paths_of(&v.committed, &v.visible, |path| scope.hits(path)) == *v.committed
            }),
            (Kind::NoChanges, Op::Merge { source, .. }) => pairs(source).iter().any(|(dest, theirs)| {
                repo_of(theirs).is_some_and(|r| {
                    r.commits.get(dest).is_some()
                        && r.commits[r.commits.base(*dest, *theirs)].files == r.commits[*theirs].files
                })
            }),
            (Kind::NoChanges, Op::Revert { commit, .. }) => {
                let Some((files, parents)) = commits(commit) else {
                    return Err("the commit never was".into());
                };
                let parent = parents.first().and_then(commits).map_or(Files::new(), |p| p.0);
                files == parent
                    || there().any(|v| {
                        model::merge(&files, &v.committed, &parent, Wins::Nobody).as_ref()
                            == Some(&*v.committed)
                    })
            }
            (Kind::NoChanges, Op::CherryPick { commit, .. }) => {
                let Some((files, parents)) = commits(commit) else {
                    return Err("the commit never was".into());
                };
                parents.first().and_then(commits).map(|p| p.0) == Some(files)
            }
            (Kind::Conflict, Op::Merge { source, wins: strategy, .. }) => {
                pairs(source).iter().any(|(dest, theirs)| {
                    repo_of(theirs).filter(|r| r.commits.get(dest).is_some()).is_some_and(|r| {
                        let files = |id: CommitId| &r.commits[id].files;
                        let base = r.commits.base(*dest, *theirs);
                        model::merge(files(base), files(*dest), files(*theirs), wins(*strategy)).is_none()
                    })
                })
            }
            (Kind::Conflict, Op::Revert { commit, .. } | Op::CherryPick { commit, .. }) => {
                let Some((files, parents)) = commits(commit) else {
                    return Err("the commit never was".into());
                };
                let parent = parents.first().and_then(commits).map_or(Files::new(), |p| p.0);
                let picks = matches!(call.op, Op::CherryPick { .. });
                let (base, theirs) = if picks { (parent, files) } else { (files, parent) };
                there().any(|v| model::merge(&base, &v.committed, &theirs, Wins::Nobody).is_none())
            }
            (Kind::PreconditionFailed, Op::Put { path, condition, .. }) => {
                there().any(|v| !condition.holds(v.visible.get(path)))
            }
            (Kind::PreconditionFailed, Op::Delete { paths, condition, .. }) => {
                there().any(|v| paths.iter().any(|path| !condition.holds(v.visible.get(path))))
            }
            (Kind::Protected, Op::DeleteBranch { branch }) => branch == MAIN,
            (Kind::Invalid, Op::CherryPick { commit, .. }) => {
                commits(commit).is_some_and(|(_, parents)| parents.is_empty())
            }
            (Kind::Invalid, Op::Undo { .. }) | (Kind::InvalidPart, Op::Complete { .. }) => true,
            (Kind::PartTooSmall, Op::Complete { parts, .. }) => has_small_part(parts),
            (Kind::IdempotencyRunning, _) => call.key.is_some(),
            // Damage is judged where it is met: only a fenced server may speak of it.
            (Kind::Busy | Kind::Damaged | Kind::Gone, _) => true,
            _ => false,
        };
        ensure(reason, || "there was no reason for it at any moment of the call".into())
    }
}

trait ContainsNone {
    fn contains_none(&self) -> bool;
}

impl<T> ContainsNone for Vec<Option<T>> {
    fn contains_none(&self) -> bool {
        self.iter().any(Option::is_none)
    }
}

fn asker(call: &Call) -> Actor {
    Actor { request_id: call.request.clone(), idempotency_key: call.key.clone(), ..Actor::default() }
}

struct Moved<'a> {
    at: usize,
    name: &'a str,
    old: CommitId,
    new: CommitId,
    upto: u64,
}

/// One tree id never stands for two contents.
fn known_tree(repo: &mut Repo, tree: TreeId, files: &Files) -> Verdict {
    match repo.trees.get(&tree) {
        None => {
            repo.trees.insert(tree, files.clone());
            Ok(())
        }
        Some(known) => same(&format!("tree {tree} stood for something else before"), files, known),
    }
}

/// What the parts of an upload are.
fn values(parts: &ops::Parts) -> BTreeMap<u32, Value> {
    parts.iter().map(|(number, body)| (*number, ops::value_of(body))).collect()
}

/// Whether one of the parts but the last is smaller than they may be.
fn has_small_part(parts: &ops::Parts) -> bool {
    parts.values().rev().skip(1).any(|body| (body.len() as u64) < PART_BYTES_MIN)
}

/// A path and what is there from now on.
type Change = (Vec<u8>, Option<Value>);

/// The branch and the changes that a staging request must lead to, given what is visible.
fn wanted(
    call: &Call,
    visible: &Files,
    commits: &History<Value>,
    uploads: &BTreeMap<String, Upload>,
) -> Verdict<(String, Vec<Change>)> {
    Ok(match &call.op {
        Op::Put { branch, path, body, condition } => {
            ensure(condition.holds(visible.get(path)), || {
                format!("its condition does not hold: there is {:?}", visible.get(path))
            })?;
            (branch.clone(), vec![(path.clone(), Some(ops::value_of(body)))])
        }
        Op::Delete { branch, paths, condition } => {
            let holds = |path: &&Vec<u8>| match condition {
                Condition::Always => true,
                condition => condition.holds(visible.get(*path)),
            };
            (branch.clone(), paths.iter().filter(holds).map(|path| (path.clone(), None)).collect())
        }
        Op::Copy { branch, path, source, source_path } => {
            let files = commits.get(source).map(|c| &c.files).ok_or("copied from a commit that never was")?;
            let value = files.get(source_path).ok_or("copied from a path that never was")?;
            (branch.clone(), vec![(path.clone(), Some(value.clone()))])
        }
        Op::Describe { branch, path } => {
            let there = visible.get(path).ok_or("nothing is there to be described")?;
            let value = Value { content: there.content, by: ops::message(&asker(call)) };
            (branch.clone(), vec![(path.clone(), Some(value))])
        }
        Op::Complete { upload, parts } => {
            let known = uploads.get(&upload.id).ok_or("the upload never was")?;
            let named = values(parts);
            match &known.completed {
                // The same call again.
                Some((_, before)) if *before == named => (upload.branch.clone(), vec![]),
                _ => {
                    let stored = |(number, value)| known.parts.get(number) == Some(value);
                    ensure(named.iter().all(stored), || "made of parts that are not stored".into())?;
                    ensure(!has_small_part(parts), || "made of parts that are too small".into())?;
                    (upload.branch.clone(), vec![(upload.path.clone(), Some(ops::value_of_parts(parts)))])
                }
            }
        }
        _ => return Err("nobody has asked for this change".into()),
    })
}

impl Checked {
    /// Whether an engine shows exactly what must be there.
    ///
    /// # Errors
    /// With the first difference.
    pub fn against<'a>(&'a self, engine: &'a Arc<Engine>) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            let all = PageRequest { amount: 100, ..Default::default() };
            let found: Vec<String> =
                engine.list_repositories(&all, "").items.iter().map(|r| r.name.to_string()).collect();
            let mut expected: Vec<&String> =
                self.repos.values().filter(|r| !r.deleted).map(|r| &r.name).collect();
            expected.sort();
            let same = expected.iter().copied().eq(&found);
            ensure(same, || format!("repositories {found:?}, not {expected:?}"))?;
            for repo in self.repos.values().filter(|r| !r.deleted) {
                repo.against(engine).await.map_err(|e| format!("in the end, {}: {e}", repo.name))?;
            }
            Ok(())
        })
    }
}

impl Repo {
    async fn against(&self, engine: &Arc<Engine>) -> Verdict {
        let name = RepositoryName::parse(&self.name).map_err(|e| format!("{e:?}"))?;
        let actor = Actor::default();
        let ask = async |op: Op| {
            ops::perform(engine, &name, &actor, op.clone()).await.map_err(|e| format!("{}: {e}", op.words()))
        };
        let heads: Vec<_> = self.branches.iter().map(|(name, b)| (name.clone(), b.head)).collect();
        let found = ask(Op::Branches).await?;
        ensure(found == Answer::Refs(heads.clone()), || format!("branches {found:?}, not {heads:?}"))?;
        let tags: Vec<_> = self.tags.iter().map(|(name, id)| (name.clone(), *id)).collect();
        let found = ask(Op::Tags).await?;
        ensure(found == Answer::Refs(tags.clone()), || format!("tags {found:?}, not {tags:?}"))?;
        let mut read = BTreeSet::new();
        for (branch, state) in &self.branches {
            let visible = state.upto(u64::MAX);
            let page = if visible.len() < 200 { 7 } else { 900 };
            let Answer::Files(files) = ask(Op::List { at: At::Branch(branch.clone()), page }).await? else {
                return Err("a listing of another kind".into());
            };
            same(&format!("visible on {branch}"), &files.into_iter().collect(), &visible)?;
            for (path, value) in &visible {
                let at = At::Branch(branch.clone());
                if read.insert(value.content) {
                    let found = ask(Op::Get { at, path: path.clone() }).await?;
                    ensure(found == Answer::Object(value.clone()), || {
                        format!("{found:?} instead of {value:?}")
                    })?;
                }
            }
        }
        for id in self.commits.ids() {
            let expected = &self.commits[id];
            let expr = RefExpr::parse(&id.to_hex()).map_err(|e| format!("{e:?}"))?;
            let info = engine.get_commit(&name, &expr).await.map_err(|e| format!("commit {id}: {e}"))?;
            ensure(info.commit.parents == expected.parents && info.commit.id() == id, || {
                format!("commit {id} has changed")
            })?;
            for (path, value) in &expected.files {
                if read.insert(value.content) {
                    let found = ask(Op::Get { at: At::Commit(id), path: path.clone() }).await?;
                    ensure(found == Answer::Object(value.clone()), || {
                        format!("{found:?} instead of {value:?}")
                    })?;
                }
            }
            let known = self.trees.get(&info.commit.tree).ok_or(format!("commit {id} has another tree"))?;
            same(&format!("commit {id}"), known, &expected.files)?;
        }
        for (tree, expected) in &self.trees {
            let snapshot = engine.snapshot_of_tree(&name, *tree).map_err(|e| e.to_string())?;
            let found = ops::list(&snapshot, 1000).await.map_err(|e| format!("tree {tree}: {e}"))?;
            same(&format!("tree {tree}"), &found.into_iter().collect(), expected)?;
        }
        let log = engine.ref_log(&name, None, None, 100_000).await.map_err(|e| e.to_string())?.items;
        let log: Vec<_> = log.into_iter().rev().map(|m| (m.name, m.old, m.new)).collect();
        ensure(log == self.moves, || format!("the ref log is {log:?}, not {:?}", self.moves))?;
        let whole = LogRequest { amount: 100_000, ..Default::default() };
        for (branch, state) in &self.branches {
            let expr = RefExpr::parse(branch).map_err(|e| format!("{e:?}"))?;
            let log = engine.log(&name, &expr, &whole).await.map_err(|e| e.to_string())?.items;
            let found: BTreeSet<CommitId> = log.into_iter().map(|c| c.id).collect();
            ensure(found == self.commits.ancestors(state.head), || format!("the log of {branch} is wrong"))?;
        }
        for (id, import) in &self.imports {
            let doing = ops::doing(engine, &name, id).await.map_err(|e| format!("import {id}: {e}"))?;
            let expected = import.ended.as_ref().map_or(&Doing::Running, |(_, end)| end);
            ensure(doing == *expected, || format!("import {id} is {doing:?}, not {expected:?}"))?;
        }
        let uploads = engine.list_uploads(&name, "", "", "", 1000).map_err(|e| e.to_string())?.items;
        let found: BTreeSet<&String> = uploads.iter().map(|u| &u.id).collect();
        let open: BTreeSet<&String> =
            self.uploads.iter().filter(|(_, u)| u.ended.is_none()).map(|(id, _)| id).collect();
        ensure(found == open, || format!("open uploads {found:?}, not {open:?}"))
    }
}
