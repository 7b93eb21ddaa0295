//! Work that goes on after its answer, and what is known of it afterwards.

use crate::support::*;
use futures::future::{BoxFuture, join_all};
use millpond_engine::tasks::{LongWork, Places, Tasks, TokioTasks};
use millpond_engine::*;
use millpond_types::limits::JOBS_KEPT_MAX;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Loses every task of the engine from some moment on, as if the server had died before it ran.
#[derive(Debug, Default)]
struct Losing {
    tasks: TokioTasks,
    lose: AtomicBool,
}

impl Tasks for Losing {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        if !self.lose.load(Ordering::Relaxed) {
            self.tasks.spawn(task);
        }
    }
    fn pause(&self, how_long: Duration) -> BoxFuture<'static, ()> {
        self.tasks.pause(how_long)
    }
    fn long(&self, places: Places, work: LongWork) -> BoxFuture<'static, ()> {
        self.tasks.long(places, work)
    }
}

fn request(message: &str) -> CommitRequest {
    CommitRequest { message: message.into(), ..Default::default() }
}

async fn submit(engine: &Engine, message: &str) -> String {
    engine.commit_job(&me(), &repo(), &branch("main"), request(message)).await.unwrap()
}

async fn outcome(engine: &Engine, kind: JobKind, id: &str) -> JobOutcome {
    engine.job_status(&repo(), kind, id).await.unwrap().outcome
}

/// What became of it, when it has ended.
async fn ended(engine: &Engine, kind: JobKind, id: &str) -> std::result::Result<CommitInfo, Error> {
    loop {
        match outcome(engine, kind, id).await {
            JobOutcome::Running => tokio::task::yield_now().await,
            JobOutcome::Failed(error) => return Err(error),
            JobOutcome::Completed(JobResult::Commit(made)) => return Ok(made),
            JobOutcome::Completed(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_job_commits_or_merges_and_is_known_for_a_day() {
    let world = World::new(1);
    let engine = with_repo(&world).await;
    engine.create_branch(&me(), &repo(), &branch("dev"), &at("main"), false, false).await.unwrap();
    put(&engine, "main", b"a", b"1").await;
    let committing = submit(&engine, "one").await;
    let made = ended(&engine, JobKind::Commit, &committing).await.unwrap();
    assert_eq!((made.commit.message.as_str(), made.commit.committer.as_str()), ("one", "ada"));
    assert_eq!(engine.get_branch(&repo(), &branch("main")).unwrap().commit, made.id);
    let nothing = submit(&engine, "nothing").await;
    assert_eq!(ended(&engine, JobKind::Commit, &nothing).await.unwrap_err().kind, Kind::NoChanges);
    let merging =
        engine.merge_job(&me(), &repo(), &at("main"), &branch("dev"), MergeRequest::default()).await.unwrap();
    let merged = ended(&engine, JobKind::Merge, &merging).await.unwrap();
    assert_eq!(engine.get_branch(&repo(), &branch("dev")).unwrap().commit, merged.id);
    let other = engine.job_status(&repo(), JobKind::Commit, &merging).await;
    assert_eq!(other.unwrap_err().kind, Kind::NotFound(Thing::Other), "it is no commit");
    for _ in 0..2 {
        let engine = world.open().await;
        assert_eq!(ended(&engine, JobKind::Commit, &committing).await.unwrap(), made);
        assert_eq!(ended(&engine, JobKind::Commit, &nothing).await.unwrap_err().kind, Kind::NoChanges);
        engine.checkpoint().await.unwrap();
    }
    world.clock.advance(24 * 3600 * 1000 + 1);
    let engine = world.open().await;
    engine.checkpoint().await.unwrap();
    engine.checkpoint().await.unwrap();
    let gone = engine.job_status(&repo(), JobKind::Commit, &committing).await;
    assert_eq!(gone.unwrap_err().kind, Kind::NotFound(Thing::Other));
}

/// The same submission repeated is the same job; what can be refused at once is.
#[tokio::test]
async fn a_job_is_submitted_once_and_refused_at_once() {
    let world = World::new(2);
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    let keyed = Actor { idempotency_key: Some("k".into()), ..me() };
    let submit = async || engine.commit_job(&keyed, &repo(), &branch("main"), request("m")).await.unwrap();
    let first = submit().await;
    assert_eq!(submit().await, first);
    ended(&engine, JobKind::Commit, &first).await.unwrap();
    let nowhere = engine.commit_job(&me(), &repo(), &branch("none"), request("m")).await;
    assert_eq!(nowhere.unwrap_err().kind, Kind::NotFound(Thing::Branch));
    engine.change_branch_protection(&me(), &repo(), ProtectionChange::Add("main".into())).await.unwrap();
    let protected = engine.commit_job(&me(), &repo(), &branch("main"), request("m")).await;
    assert_eq!(protected.unwrap_err().kind, Kind::Protected);
}

#[tokio::test]
async fn a_job_whose_server_died_says_so_or_what_it_made() {
    let tasks = Arc::new(Losing::default());
    let mut world = World::new(3);
    world.options.tasks = tasks.clone();
    let engine = with_repo(&world).await;
    put(&engine, "main", b"a", b"1").await;
    tasks.lose.store(true, Ordering::Relaxed);
    let (lost, made) = (submit(&engine, "lost").await, submit(&engine, "made").await);
    // The second one's commit was made, but the server died before it wrote the end of the job.
    let worker = Actor { idempotency_key: Some(format!("job/{made}")), ..me() };
    let commit = engine.commit(&worker, &repo(), &branch("main"), request("made")).await.unwrap();
    assert!(matches!(outcome(&engine, JobKind::Commit, &lost).await, JobOutcome::Running));
    tasks.lose.store(false, Ordering::Relaxed);
    for _ in 0..2 {
        let engine = world.open().await;
        let error = ended(&engine, JobKind::Commit, &lost).await.unwrap_err();
        assert_eq!(error.kind, Kind::Interrupted, "{error}");
        assert_eq!(ended(&engine, JobKind::Commit, &made).await.unwrap().id, commit.id);
        engine.checkpoint().await.unwrap();
    }
}

#[tokio::test]
async fn running_jobs_are_bounded_and_ended_ones_make_room() {
    let tasks = Arc::new(Losing::default());
    let mut world = World::new(4);
    world.options.tasks = tasks.clone();
    let engine = with_repo(&world).await;
    tasks.lose.store(true, Ordering::Relaxed);
    let jobs = join_all((0..JOBS_KEPT_MAX).map(|_| submit(&engine, "m"))).await;
    let one_more = engine.commit_job(&me(), &repo(), &branch("main"), request("m")).await;
    assert_eq!(one_more.unwrap_err().kind, Kind::Busy);
    tasks.lose.store(false, Ordering::Relaxed);
    let engine = world.open().await;
    let new = submit(&engine, "m").await;
    ended(&engine, JobKind::Commit, &new).await.unwrap_err();
    let oldest = jobs.iter().max().unwrap();
    let gone = engine.job_status(&repo(), JobKind::Commit, oldest).await;
    assert_eq!(gone.unwrap_err().kind, Kind::NotFound(Thing::Other));
}
