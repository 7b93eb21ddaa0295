//! One repository, in an order that may break off anywhere: commits first, then branches, tags and rules.
//!
//! How far it is stands in the destination: each commit that is there answers to its old id, and the repository's
//! metadata says what is being made, from where, and whether all of it is there.

use super::history::{self, History};
use super::source::{Patience, is_absent};
use super::trees::{Page, Progress, Trees};
use super::{Outcome, Route};
use crate::environment::Stopwatch;
use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::session::Session;
use crate::verbs::repo::default_namespace;
use futures::StreamExt;
use indicatif::ProgressBar;
use millpond_client::{
    AdoptedCommit, BranchCreation, Commit, DiffQuery, Error, Kind, ObjectQuery, ObjectStats, PageQuery,
    Repository, RepositoryCreation, TagCreation,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::pin;

/// The key of the repository's metadata.
const STATE_KEY: &str = "millpond.migration";
/// Commits whose changes are read ahead.
const AHEAD: usize = 8;
/// Questions at a time.
const QUESTIONS: usize = 32;
/// Between two lines of progress where there is no terminal.
const LINE_SECONDS: u64 = 10;
/// Objects of each branch and tag that are compared without `--verify`.
const COMPARED: usize = 1000;

/// What the repository's metadata says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// `running` or `complete`.
    state: String,
    /// Address of the other server.
    source: String,
    /// The repository there.
    repository: String,
    /// The tree that is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Progress>,
}

/// A commit here, with its tree.
#[derive(Debug, Clone)]
struct Made {
    id: String,
    tree: String,
}

/// Says what there is to do.
pub async fn plan(route: &Route, from: &Repository, outcome: &mut Outcome) -> Result<(), Failure> {
    let history = history::read(route, &from.id).await.in_repository(&from.id)?;
    let known = match find_state(route, &outcome.name).await? {
        None => HashMap::new(),
        Some(_) => known_commits(route, &outcome.name, &history).await?,
    };
    outcome.commits = history.order.len() as u64;
    outcome.commits_new = (history.order.len() - known.len()) as u64;
    outcome.branches = history.branches.len() as u64;
    outcome.tags = history.tags.len() as u64;
    outcome.rules = route.from.list_protection(&from.id).await.map_or(0, |rules| rules.len() as u64);
    note_uncommitted(route, &from.id, &history, outcome).await
}

/// Does it.
pub async fn take_over(
    session: &Session,
    route: &Route,
    from: &Repository,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let name = outcome.name.clone();
    let history = history::read(route, &from.id).await.in_repository(&from.id)?;
    let mut state = begin(route, from, &name).await?;
    let mut made = known_commits(route, &name, &history).await?;
    outcome.commits = history.order.len() as u64;
    let bar = Bar::start(session, &name, history.order.len(), made.len());
    let trees = Trees::new(route, &from.id, &name, &from.storage_namespace);
    let todo = history.order.iter().filter(|id| !made.contains_key(*id));
    let todo: Vec<&Commit> = todo.filter_map(|id| history.commits.get(id)).collect();
    // What the last run came to in the middle of a commit. This run may make others first.
    let begun = state.at.clone();
    let begun = begun.as_ref();
    let (send, mut receive) = tokio::sync::mpsc::channel(AHEAD);
    // What the next commits change is read while one is made: it depends on the other server only.
    let reading = async {
        let send = send;
        let trees = &trees;
        let pages = futures::stream::iter(todo).map(|commit| async move {
            let begun = begun.filter(|at| at.commit == commit.id);
            let first = trees.page(commit, begun.map_or("", |at| &at.after)).await;
            (commit, first.map(|first| Ahead { begun, first }))
        });
        let mut pages = pin!(pages.buffered(AHEAD));
        while let Some(page) = pages.next().await {
            if send.send(page).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let making = async {
        while let Some((commit, ahead)) = receive.recv().await {
            let done = commit_of(route, &trees, commit, ahead?, &made, &mut state, outcome).await?;
            made.insert(commit.id.clone(), done);
            outcome.commits_new += 1;
            bar.step(session, outcome);
        }
        Ok::<_, Error>(())
    };
    let done = futures::future::try_join(reading, making).await;
    bar.end();
    done.in_repository(&name).map_err(|failure| {
        failure.hint_if_none("what is done is kept: type the same command again to go on")
    })?;
    refs(route, &name, &from.default_branch, &history, &made, outcome).await?;
    rules(route, from, &name, outcome).await?;
    compare(route, &from.id, &name, &history, outcome).await?;
    note_uncommitted(route, &from.id, &history, outcome).await?;
    if outcome.objects_gone > 0 {
        outcome.notes.push(format!(
            "{} objects cannot be read from {} any more (as after its garbage collection); they are listed \
             here, and reading one says so",
            outcome.objects_gone,
            route.from.server()
        ));
    }
    state.state = "complete".to_owned();
    state.at = None;
    save(route, &name, &state).await.in_repository(&name)?;
    outcome.state = "complete";
    Ok(())
}

/// The repository here: made now, or found as one that this migration made.
async fn begin(route: &Route, from: &Repository, name: &str) -> Result<State, Failure> {
    let Route { to, patience, .. } = route;
    if let Some(mut state) = find_state(route, name).await? {
        if state.source != route.from.server() || state.repository != from.id {
            return Err(Failure::new(
                Exit::Conflict,
                format!("repository {name} was taken over from {} of {}", state.repository, state.source),
            ));
        }
        "running".clone_into(&mut state.state);
        return Ok(state);
    }
    let there = patience.wait(async || to.get_repository(name).await).await;
    match there {
        Ok(_) => {
            // A migration that broke off between two steps made it and has not said so yet: then nothing is in it.
            if !is_bare(route, name).await.in_repository(name)? {
                return Err(Failure::new(
                    Exit::Conflict,
                    format!("repository {name} exists here and was not taken over from {}", from.id),
                )
                .hint("take it over under another name with --repository and --as, or delete the one here"));
            }
        }
        Err(error) if is_absent(&error) => {
            let config = patience.wait(async || to.config().await).await?;
            let creation = RepositoryCreation {
                name: name.to_owned(),
                storage_namespace: default_namespace(&config, name)?,
                default_branch: Some(from.default_branch.clone()),
                read_only: from.read_only,
                ..RepositoryCreation::default()
            };
            to.create_bare_repository(&creation).await.in_repository(name)?;
        }
        Err(error) => return Err(error).in_repository(name),
    }
    let state = State {
        state: "running".to_owned(),
        source: route.from.server().to_owned(),
        repository: from.id.clone(),
        at: None,
    };
    save(route, name, &state).await.in_repository(name)?;
    Ok(state)
}

/// Whether a repository has no refs at all.
async fn is_bare(route: &Route, name: &str) -> Result<bool, Error> {
    let Route { to, patience, .. } = route;
    let page = PageQuery { amount: 1, ..PageQuery::default() };
    let branches = patience.wait(async || to.list_branches(name, &page, true).await).await?;
    let tags = patience.wait(async || to.list_tags(name, &page).await).await?;
    Ok(branches.results.is_empty() && tags.results.is_empty())
}

async fn find_state(route: &Route, name: &str) -> Result<Option<State>, Failure> {
    let ask = async || route.to.get_repository_metadata(name).await;
    let metadata = match route.patience.wait(ask).await {
        Err(error) if is_absent(&error) => return Ok(None),
        answer => answer.in_repository(name)?,
    };
    let Some(text) = metadata.get(STATE_KEY) else { return Ok(None) };
    serde_json::from_str(text).map(Some).map_err(|error| {
        let text = format!("the metadata '{STATE_KEY}' of repository {name} cannot be read: {error}");
        Failure::new(Exit::Failed, text)
    })
}

async fn save(route: &Route, name: &str, state: &State) -> Result<(), Error> {
    let text = serde_json::to_string(state).unwrap_or_default();
    let metadata = BTreeMap::from([(STATE_KEY.to_owned(), text)]);
    route.patience.wait(async || route.to.set_repository_metadata(name, &metadata).await).await
}

/// Which of the commits are here, by their ids there.
async fn known_commits(
    route: &Route,
    name: &str,
    history: &History,
) -> Result<HashMap<String, Made>, Failure> {
    let ask = |id: &String| {
        let id = id.clone();
        async move {
            let found = route.patience.wait(async || route.to.get_commit(name, &id).await).await;
            match found {
                Ok(commit) => Ok(Some((id, Made { id: commit.id, tree: commit.meta_range_id }))),
                Err(error) if is_absent(&error) => Ok(None),
                Err(error) => Err(error),
            }
        }
    };
    let asked = futures::stream::iter(history.order.iter().map(ask));
    let mut asked = pin!(asked.buffer_unordered(QUESTIONS));
    let mut known = HashMap::new();
    while let Some(found) = asked.next().await {
        known.extend(found.in_repository(name)?);
    }
    Ok(known)
}

/// What was read of a commit before it is made: its first changes, behind what the last run came to in it.
struct Ahead<'a> {
    begun: Option<&'a Progress>,
    first: Page,
}

/// Makes one commit.
async fn commit_of(
    route: &Route,
    trees: &Trees<'_>,
    commit: &Commit,
    ahead: Ahead<'_>,
    made: &HashMap<String, Made>,
    state: &mut State,
    outcome: &mut Outcome,
) -> Result<Made, Error> {
    let name = trees.name.to_owned();
    let mut parents = Vec::new();
    for parent in &commit.parents {
        // The order has parents first, so this is a history that changes while it is read.
        let known = made.get(parent).ok_or_else(|| Error::Unreadable {
            attempt: format!("take over commit {}", commit.id),
            server: route.from.server().to_owned(),
            detail: format!("its parent {parent} is in no log"),
        })?;
        parents.push(known.clone());
    }
    let progress = ahead.begun.cloned().unwrap_or_else(|| Progress {
        commit: commit.id.clone(),
        tree: parents.first().map(|parent| parent.tree.clone()).unwrap_or_default(),
        after: String::new(),
    });
    let like: Vec<String> = parents.iter().skip(1).map(|parent| parent.id.clone()).collect();
    let tree = trees
        .make(commit, ahead.first, progress, &like, outcome, async |progress| {
            state.at = Some(progress.clone());
            save(route, &name, state).await
        })
        .await?;
    let adopted = AdoptedCommit {
        source_id: commit.id.clone(),
        tree: tree.clone(),
        parents: parents.into_iter().map(|parent| parent.id).collect(),
        committer: commit.committer.clone(),
        message: commit.message.clone(),
        creation_date: commit.creation_date,
        metadata: commit.metadata.clone(),
    };
    let answer = route.patience.wait(async || route.to.adopt_commit(&name, &adopted).await).await?;
    Ok(Made { id: answer.id, tree })
}

/// Tags and branches, the default branch last. One that has gone its own way here is left alone.
async fn refs(
    route: &Route,
    name: &str,
    default_branch: &str,
    history: &History,
    made: &HashMap<String, Made>,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let Route { to, patience, .. } = route;
    let ours: HashSet<&str> = made.values().map(|made| made.id.as_str()).collect();
    for tag in &history.tags {
        let Some(target) = made.get(&tag.commit_id) else { continue };
        let there = patience.wait(async || to.get_tag(name, &tag.id).await).await;
        match there {
            Ok(there) if there.commit_id == target.id => outcome.tags += 1,
            Ok(there) => outcome.notes.push(format!(
                "tag {} is at {} here and was not moved to {}",
                tag.id, there.commit_id, target.id
            )),
            Err(error) if is_absent(&error) => {
                let creation = TagCreation { id: tag.id.clone(), reference: target.id.clone(), force: true };
                match to.create_tag(name, &creation).await {
                    Ok(_) => outcome.tags += 1,
                    Err(error) if matches!(error.kind(), Kind::Invalid | Kind::Conflict) => {
                        outcome.notes.push(format!("tag {} was not made: {error}", tag.id));
                    }
                    Err(error) => return Err(error).in_repository(name),
                }
            }
            Err(error) => return Err(error).in_repository(name),
        }
    }
    let mut branches: Vec<_> = history.branches.iter().collect();
    branches.sort_by_key(|(branch, _)| branch.id == default_branch);
    for (branch, hidden) in branches {
        let Some(target) = made.get(&branch.commit_id) else { continue };
        let there = patience.wait(async || to.get_branch(name, &branch.id).await).await;
        let moved = match there {
            Ok(there) if there.commit_id == target.id => Ok(()),
            Ok(there) if ours.contains(&*there.commit_id) => {
                to.hard_reset_branch(name, &branch.id, &target.id, true).await
            }
            Ok(_) => {
                outcome.notes.push(format!(
                    "branch {} has commits of its own here and was not moved to {}",
                    branch.id, target.id
                ));
                continue;
            }
            Err(error) if is_absent(&error) => {
                let creation = BranchCreation {
                    name: branch.id.clone(),
                    source: target.id.clone(),
                    hidden: *hidden,
                    force: true,
                };
                to.create_branch(name, &creation).await.map(drop)
            }
            Err(error) => Err(error),
        };
        match moved {
            Ok(()) => outcome.branches += 1,
            Err(error) if matches!(error.kind(), Kind::Invalid | Kind::Precondition | Kind::Conflict) => {
                outcome.notes.push(format!("branch {} was not moved: {error}", branch.id));
            }
            Err(error) => return Err(error).in_repository(name),
        }
    }
    Ok(())
}

/// Branch protection, garbage collection rules and metadata of the repository.
async fn rules(route: &Route, from: &Repository, name: &str, outcome: &mut Outcome) -> Result<(), Failure> {
    let Route { to, patience, .. } = route;
    let protection = patience.wait(async || route.from.list_protection(&from.id).await).await;
    match protection {
        Ok(rules) => {
            for rule in &rules {
                let added = patience.wait(async || to.add_protection(name, rule).await).await;
                match added {
                    Ok(()) => outcome.rules += 1,
                    Err(error) if error.kind() == Kind::Invalid => {
                        let text =
                            format!("branch protection '{}' was not taken over: {error}", rule.pattern);
                        outcome.notes.push(text);
                    }
                    Err(error) => return Err(error).in_repository(name),
                }
            }
        }
        Err(error) => outcome.notes.push(format!("branch protection was not taken over: {error}")),
    }
    let collection = patience.wait(async || route.from.get_collection_rules(&from.id).await).await;
    match collection {
        Ok(rules) => {
            let set = patience.wait(async || to.set_collection_rules(name, &rules).await).await;
            set.in_repository(name)?;
        }
        Err(error) if is_absent(&error) => {}
        Err(error) => outcome.notes.push(format!("garbage collection rules were not taken over: {error}")),
    }
    let metadata = patience.wait(async || route.from.get_repository_metadata(&from.id).await).await;
    match metadata {
        Ok(mut metadata) => {
            metadata.remove(STATE_KEY);
            if !metadata.is_empty() {
                let set = patience.wait(async || to.set_repository_metadata(name, &metadata).await).await;
                set.in_repository(name)?;
            }
        }
        Err(error) => outcome.notes.push(format!("the repository's metadata was not taken over: {error}")),
    }
    Ok(())
}

/// Compares what the servers show: of each commit everything, or of each branch and tag the beginning.
async fn compare(
    route: &Route,
    there: &str,
    here: &str,
    history: &History,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let heads = history.branches.iter().map(|(branch, _)| branch).chain(&history.tags);
    let mut commits: Vec<&String> = heads.map(|head| &head.commit_id).collect();
    if route.verify {
        commits = history.order.iter().collect();
    }
    commits.sort_unstable();
    commits.dedup();
    for commit in commits {
        let mut after = String::new();
        loop {
            let page = PageQuery { after, amount: COMPARED, ..PageQuery::default() };
            let query = ObjectQuery { page, ..ObjectQuery::default() };
            let list = async |client: &millpond_client::Client, patience: Patience, repository: &str| {
                patience.wait(async || client.list_objects(repository, commit, &query).await).await
            };
            let theirs = list(&route.from, route.patience, there).await.in_repository(there)?;
            let ours = list(&route.to, route.patience, here).await.in_repository(here)?;
            let next = theirs.next().map(ToOwned::to_owned);
            let complete = next.is_none();
            let shown = theirs.results.iter().zip(&ours.results);
            let differs = shown.clone().find(|(theirs, ours)| !is_same(theirs, ours));
            let more_or_less =
                theirs.results.len() != ours.results.len() || complete != ours.next().is_none();
            if let Some((theirs, ours)) = differs {
                return Err(differ(commit, &format!("{theirs:?} there is {ours:?} here")));
            }
            if more_or_less {
                let (theirs, ours) = (theirs.results.len(), ours.results.len());
                return Err(differ(commit, &format!("{theirs} objects there, {ours} here")));
            }
            outcome.objects_compared += theirs.results.len() as u64;
            match next {
                Some(next) if route.verify => after = next,
                _ => break,
            }
        }
    }
    Ok(())
}

fn differ(commit: &str, what: &str) -> Failure {
    Failure::new(Exit::Failed, format!("commit {commit} is not the same on both servers: {what}"))
}

/// Whether two servers show the same object. A checksum of parts is not kept when the bytes were copied.
fn is_same(theirs: &ObjectStats, ours: &ObjectStats) -> bool {
    let sums = theirs.checksum == ours.checksum
        || theirs.checksum.len() != 32
        || !theirs.checksum.bytes().all(|byte| byte.is_ascii_hexdigit());
    theirs.path == ours.path
        && theirs.size_bytes == ours.size_bytes
        && theirs.mtime == ours.mtime
        && theirs.metadata == ours.metadata
        && theirs.content_type == ours.content_type
        && sums
}

/// Names branches whose uncommitted changes stay behind.
async fn note_uncommitted(
    route: &Route,
    repository: &str,
    history: &History,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let query = DiffQuery { page: PageQuery { amount: 1, ..Default::default() }, ..Default::default() };
    let mut dirty = Vec::new();
    for (branch, _) in &history.branches {
        let ask = async || route.from.diff_branch(repository, &branch.id, &query).await;
        let changes = route.patience.wait(ask).await;
        if !changes.in_repository(repository)?.results.is_empty() {
            dirty.push(branch.id.as_str());
        }
    }
    if !dirty.is_empty() {
        let text = format!("uncommitted changes stay behind, on {}: commit them and go on", dirty.join(", "));
        outcome.notes.push(text);
    }
    Ok(())
}

/// Progress: a bar on a terminal, lines elsewhere.
struct Bar {
    bar: Option<ProgressBar>,
    name: String,
    total: usize,
    begun_with: usize,
    stopwatch: Stopwatch,
    next_line_seconds: std::cell::Cell<u64>,
}

impl Bar {
    fn start(session: &Session, name: &str, total: usize, done: usize) -> Self {
        let shown = !session.output.is_quiet() && session.environment.stderr_is_terminal;
        let bar = shown.then(|| ProgressBar::new(total as u64).with_message(name.to_owned()));
        if let Some(bar) = &bar {
            bar.set_position(done as u64);
        }
        Self {
            bar,
            name: name.to_owned(),
            total,
            begun_with: done,
            stopwatch: Stopwatch::start(),
            next_line_seconds: std::cell::Cell::new(LINE_SECONDS),
        }
    }

    fn step(&self, session: &Session, outcome: &Outcome) {
        if let Some(bar) = &self.bar {
            return bar.inc(1);
        }
        let elapsed = self.stopwatch.elapsed().as_secs();
        if elapsed >= self.next_line_seconds.get() {
            self.next_line_seconds.set(elapsed + LINE_SECONDS);
            let done = self.begun_with as u64 + outcome.commits_new;
            session.output.note(&format!(
                "{}: {done} of {} commits, {} objects copied, {} linked",
                self.name, self.total, outcome.objects_copied, outcome.objects_linked
            ));
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
