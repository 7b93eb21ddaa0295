//! One history: clients that ask for anything at any time, and what befalls the servers meanwhile.

use crate::check;
use crate::executor::{Executor, Process, SimClock, SimTasks, of_this_thread};
use crate::history::{Call, History, Outcome, leaves_unknown};
use crate::ops::{self, Answer, At, Condition, Doing, MAIN, Op, Parts, Scope, Source, Upload};
use crate::outside::{Folder, Outside};
use crate::stores::{Counts, Disk, Faults, Life};
use bytes::Bytes;
use futures::channel::oneshot;
use millpond_engine::{Actor, Engine, FsckRequest, Kind, MergeStrategy, Options, Stores, Watch};
use millpond_testkit::{Seeded, model};
use millpond_types::{CommitId, RepositoryName};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed};

/// A branch on which seldom anything is staged, so that imports succeed.
const QUIET: &str = "quiet";
/// The clients and whoever keeps the servers up: nobody kills these.
const OUTSIDE: Process = Process(0);
/// A call that takes longer hangs, in nanoseconds.
const CALL_NANOS_MAX: u64 = 600_000_000_000;
/// One in so many histories has trees of several leaves: their checks take long.
const LARGE_ONE_IN: usize = 100;
/// What is imported then begins with this.
const LARGE: &str = "large/";
/// How often a server that does not come up is started again before that is a defect.
const STARTS_MAX: usize = 50;

/// What a history is made of. [`Plan::of`] draws one.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Clients at the same time.
    pub clients: usize,
    /// Requests of each.
    pub requests: usize,
    /// How the stores misbehave.
    pub faults: Faults,
    /// One in how many requests loses its connection; 0 is none.
    pub dropped: usize,
    /// Whether servers crash.
    pub crashes: bool,
    /// Whether a second server takes over while the first still runs.
    pub takeovers: bool,
    /// Different keys.
    pub keys: usize,
    /// Objects of an import at the beginning: enough for trees of several leaves, or none.
    pub imported: u32,
    /// Changes after which an import notes how far it is.
    pub import_step_changes: usize,
    /// Whether parts of uploads are large enough for an upload of several.
    pub large_parts: bool,
    /// Options of the engine.
    pub memtable_entries_max: usize,
    /// See there.
    pub checkpoint_rows: u64,
    /// See there.
    pub node_cache_bytes: u64,
}

impl Plan {
    /// The seed's own plan. Some faults are left out of most, so that a failure points somewhere.
    pub fn of(seed: u64) -> Self {
        let rng = Seeded::new(seed ^ 0x706c_616e);
        let often = |n: usize, one_in: usize| if rng.below(n) == 0 { one_in } else { 0 };
        let faults = Faults {
            busy: often(3, 10 + rng.below(60)),
            write_fails: often(3, 60 + rng.below(300)),
            read_fails: often(4, 60 + rng.below(300)),
            stall: often(3, 30 + rng.below(200)),
            late: rng.below(2) == 0,
            sticky: rng.below(2) == 0,
            bug: None,
        };
        Self {
            clients: 2 + rng.below(4),
            requests: 20 + rng.below(50),
            faults,
            dropped: often(2, 6 + rng.below(20)),
            crashes: rng.below(4) > 0,
            takeovers: rng.below(3) == 0,
            keys: 3 + rng.below(25),
            imported: if rng.below(LARGE_ONE_IN) == 0 { 2_000 + rng.below(2_000) as u32 } else { 0 },
            import_step_changes: *rng.pick(&[1, 3, 10, 1000]),
            large_parts: rng.below(16) == 0,
            memtable_entries_max: *rng.pick(&[1, 2, 4, 8, 1000]),
            checkpoint_rows: *rng.pick(&[2, 5, 20, 1000]),
            node_cache_bytes: *rng.pick(&[1, 128 << 20]),
        }
    }
}

/// What a history was, in numbers.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Polls of the executor.
    pub steps: u64,
    /// Simulated nanoseconds.
    pub nanos: u64,
    /// Requests made.
    pub calls: usize,
    /// Changes acknowledged.
    pub acknowledged: usize,
    /// Mutations in the journal.
    pub mutations: usize,
    /// Crashes of servers.
    pub crashes: usize,
    /// Second servers while a first one ran.
    pub takeovers: usize,
    /// Dropped connections.
    pub dropped: usize,
    /// What the stores did.
    pub stores: Counts,
    /// The course of it all, as one number.
    pub trace: u64,
}

/// A rule that was broken, with everything needed to look at it.
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// Which rule.
    pub what: String,
    /// The plan.
    pub plan: Plan,
    /// The history as a picture.
    pub picture: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}\nseed {}: {}\n{:?}", self.picture, self.seed, self.what, self.plan)
    }
}

impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[derive(Clone)]
struct Server {
    life: Arc<Life>,
    engine: Arc<Engine>,
    /// Every mutation before this is known to have been acknowledged by it.
    acknowledged: Arc<AtomicUsize>,
}

/// The one backup that is being made. Its death with its server ends it.
struct BackingUp(Arc<World>);

impl Drop for BackingUp {
    fn drop(&mut self) {
        self.0.backing_up.store(false, Relaxed);
    }
}

struct World {
    executor: Executor,
    disk: Arc<Disk>,
    /// Where backups go.
    vault: Arc<Disk>,
    backing_up: AtomicBool,
    /// Nothing is to happen by itself any more.
    ending: AtomicBool,
    clock: Arc<SimClock>,
    random: Arc<Seeded>,
    plan: Plan,
    history: Mutex<History>,
    servers: Mutex<Vec<Server>>,
    lives: AtomicUsize,
    /// A server has said that it must be restarted.
    sick: Mutex<Vec<u32>>,
    /// Ids that some client was told.
    commits: Mutex<Vec<(String, CommitId)>>,
    bodies: Mutex<Vec<Bytes>>,
    running: AtomicUsize,
    broken: Mutex<Option<String>>,
    crashes: AtomicUsize,
    takeovers: AtomicUsize,
    dropped: AtomicUsize,
}

/// Runs one history and checks it.
///
/// # Errors
/// With the broken rule and a picture.
pub fn run(seed: u64, plan: &Plan) -> Result<Report, Box<Failure>> {
    let executor = Executor::new(seed);
    let disk = Disk::new(&executor, plan.faults.clone());
    let world = Arc::new(World {
        clock: Arc::new(SimClock { executor: executor.clone(), ahead_millis: AtomicI64::new(0) }),
        random: Arc::new(Seeded::new(seed ^ 0x7261_6e64)),
        plan: plan.clone(),
        history: Mutex::default(),
        servers: Mutex::default(),
        lives: AtomicUsize::new(0),
        sick: Mutex::default(),
        commits: Mutex::default(),
        bodies: Mutex::default(),
        running: AtomicUsize::new(plan.clients),
        broken: Mutex::default(),
        crashes: AtomicUsize::new(0),
        takeovers: AtomicUsize::new(0),
        dropped: AtomicUsize::new(0),
        vault: Disk::new(&executor, Faults::default()),
        backing_up: AtomicBool::new(false),
        ending: AtomicBool::new(false),
        executor: executor.clone(),
        disk,
    });
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let running = world.clone();
        executor.run(OUTSIDE, async move { running.play().await })
    }));
    let outcome = match outcome {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(stuck)) => Err(stuck),
        Err(panic) => Err(format!("panic: {}", panic_text(&*panic))),
    };
    world.servers.lock().clear();
    executor.clear();
    let history = world.history.lock();
    match outcome {
        Err(what) => Err(Box::new(Failure { seed, what, plan: plan.clone(), picture: history.picture() })),
        Ok(()) => Ok(Report {
            steps: executor.steps(),
            nanos: executor.now(),
            calls: history.calls.len(),
            acknowledged: history
                .calls
                .iter()
                .filter(|c| c.op.changes() && matches!(c.outcome, Outcome::Done(_)))
                .count(),
            mutations: world.disk.durable(),
            crashes: world.crashes.load(Relaxed),
            takeovers: world.takeovers.load(Relaxed),
            dropped: world.dropped.load(Relaxed),
            stores: world.disk.counts(),
            trace: executor.trace(),
        }),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
}

impl World {
    async fn play(self: Arc<Self>) -> Result<(), String> {
        self.start(false).await?;
        // With faults the first requests may find less than this.
        for (n, op) in [
            Op::CreateRepository,
            Op::CreateBranch { branch: "dev".into(), source: At::Branch(MAIN.into()) },
            Op::CreateBranch { branch: "exp".into(), source: At::Branch(MAIN.into()) },
            Op::CreateBranch { branch: QUIET.into(), source: At::Branch(MAIN.into()) },
        ]
        .into_iter()
        .enumerate()
        {
            self.call(0, format!("first-{n}"), None, "lake", op).await;
        }
        if self.plan.imported > 0 {
            self.import_much().await;
        }
        for client in 0..self.plan.clients {
            let world = self.clone();
            let work = async move {
                world.client(client).await;
                world.running.fetch_sub(1, Relaxed);
            };
            self.executor.spawn(OUTSIDE, of_this_thread(work));
        }
        self.befall().await?;
        if let Some(broken) = self.broken.lock().take() {
            return Err(broken);
        }
        // The end: imports may come to theirs.
        self.disk.heal();
        self.kill_all("the end");
        self.end_imports().await?;
        // Everything dies once more, and what is left must be right without any help.
        self.kill_all("no more imports");
        self.ending.store(true, Relaxed);
        let server = self.start(false).await?;
        let calls = self.history.lock().calls.clone();
        let checked = check::replay(&self.disk, &calls)?;
        checked.against(&server.engine).await?;
        server.engine.checkpoint().await.map_err(|e| format!("the last checkpoint failed: {e}"))?;
        checked.against(&server.engine).await?;
        drop(server);
        self.kill_all("once more");
        let server = self.start(false).await?;
        checked.against(&server.engine).await?;
        let watch = Watch::new();
        let proved = server.engine.fsck(FsckRequest::default(), watch.clone()).await;
        proved.map_err(|e| format!("the last check failed: {e}"))?;
        if let Some(defect) = ops::defects(&watch).into_iter().next() {
            return Err(format!("the last check found {defect}"));
        }
        drop(server);
        self.restore(&calls).await?;
        match self.disk.complaints().into_iter().next() {
            Some(complaint) => Err(complaint),
            None => Ok(()),
        }
    }

    /// Fills the trees of the branches before anybody works on them, if it can.
    async fn import_much(self: &Arc<Self>) {
        let folder = Folder { version: 1, count: self.plan.imported };
        let sources = vec![Source { folder, destination: LARGE.into() }];
        let op = Op::Import { branch: MAIN.into(), sources };
        let outcome = self.call(0, "first-import".into(), None, "lake", op).await;
        let Outcome::Done(Answer::Import(import)) = outcome else { return };
        for n in 0..100 {
            self.executor.sleep(20_000_000).await;
            let op = Op::ImportStatus { import: import.clone() };
            let doing = self.call(0, format!("first-status-{n}"), None, "lake", op).await;
            if !matches!(doing, Outcome::Done(Answer::Imported(Doing::Running)) | Outcome::Unknown(_)) {
                return;
            }
        }
    }

    /// Waits for all imports that were begun.
    async fn end_imports(&self) -> Result<(), String> {
        let begun: Vec<(String, String)> = {
            let history = self.history.lock();
            let begun = history.calls.iter().filter_map(|call| match &call.outcome {
                Outcome::Done(Answer::Import(import)) => Some((call.repo.clone(), import.clone())),
                _ => None,
            });
            begun.collect()
        };
        let asked = self.history.lock().calls.iter().any(|call| matches!(call.op, Op::Import { .. }));
        if !asked {
            return Ok(());
        }
        let server = self.start(false).await?;
        // Also those whose answer was lost.
        self.executor.sleep(20_000_000_000).await;
        for (repo, import) in begun {
            let name = RepositoryName::parse(&repo).expect("the simulation's names are valid");
            match ops::doing(&server.engine, &name, &import).await {
                Ok(Doing::Running) => return Err(format!("import {import} does not end")),
                Err(error) if !matches!(error.kind, Kind::NotFound(_)) => {
                    return Err(format!("import {import}: {error}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The last backup, if there is one, is all that was stored at its row.
    async fn restore(&self, calls: &[Call]) -> Result<(), String> {
        let made = |call: &Call| matches!(call.outcome, Outcome::Done(Answer::BackedUp(_)));
        // Of a blob that could not be read a backup says so, and is without it.
        let incomplete = |call: &Call| {
            matches!((&call.op, &call.outcome), (Op::Backup, Outcome::Done(Answer::Defects(_))))
        };
        if !calls.iter().any(made) || calls.iter().any(incomplete) {
            return Ok(());
        }
        self.kill_all("restored");
        let life = Life::new(self.lives.fetch_add(1, Relaxed) as u32 + 1);
        let restored = Disk::new(&self.executor, Faults::default());
        let stores = |disk: &Arc<Disk>| Stores { kv: disk.kv(&life), blobs: disk.blobs(&life) };
        let watch = Watch::new();
        let report = millpond_engine::restore(&stores(&self.vault), &stores(&restored), &watch).await;
        let report = report.map_err(|e| format!("the backup cannot be restored: {e}"))?;
        if let Some(defect) = ops::defects(&watch).into_iter().next() {
            return Err(format!("of the backup is damaged: {defect}"));
        }
        let expected = check::as_of(&self.disk, calls, report.upto_row)?;
        let Stores { kv, blobs } = stores(&restored);
        let (clock, random) = (self.clock.clone(), self.random.clone());
        let engine = Engine::open(kv, blobs, clock, random, self.options(&life)).await;
        let engine = engine.map_err(|e| format!("what was restored cannot be opened: {e}"))?;
        expected.against(&engine).await.map_err(|e| format!("restored as of row {}: {e}", report.upto_row))
    }

    fn options(&self, life: &Arc<Life>) -> Options {
        let tasks = SimTasks { executor: self.executor.clone(), process: life.process };
        Options {
            node_cache_bytes: self.plan.node_cache_bytes,
            memtable_entries_max: self.plan.memtable_entries_max,
            checkpoint_rows: self.plan.checkpoint_rows,
            // A large import is not noted at each object.
            import_step_changes: self.plan.import_step_changes.max(self.plan.imported as usize / 8),
            tasks: Arc::new(tasks),
            origin: Arc::new(Outside {
                executor: self.executor.clone(),
                life: life.clone(),
                disk: self.disk.clone(),
            }),
            ..Default::default()
        }
    }

    fn note(&self, text: impl Into<String>) {
        self.history.lock().server(self.executor.now(), text);
    }

    fn server(&self) -> Option<Server> {
        let servers = self.servers.lock();
        if servers.is_empty() { None } else { Some(self.executor.rng.pick(&servers).clone()) }
    }

    fn kill(&self, life: u32, why: &str) {
        let server = {
            let mut servers = self.servers.lock();
            let Some(at) = servers.iter().position(|s| s.life.number == life) else { return };
            servers.remove(at)
        };
        let process = server.life.process;
        drop(server);
        self.crash(process, life, why);
    }

    fn crash(&self, process: Process, life: u32, why: &str) {
        self.note(format!("DEAD server {life}: {why}"));
        self.disk.crash(process);
        self.vault.crash(process);
        self.executor.kill(process);
        self.crashes.fetch_add(1, Relaxed);
    }

    fn kill_all(&self, why: &str) {
        let lives: Vec<u32> = self.servers.lock().iter().map(|s| s.life.number).collect();
        for life in lives {
            self.kill(life, why);
        }
    }

    /// Opens an engine on what is left, as often as it takes.
    async fn start(&self, crashing: bool) -> Result<Server, String> {
        let mut last = String::new();
        for _ in 0..STARTS_MAX {
            let number = self.lives.fetch_add(1, Relaxed) as u32 + 1;
            let life = Life::new(number);
            let options = self.options(&life);
            let (kv, blobs) = (self.disk.kv(&life), self.disk.blobs(&life));
            let (clock, random) = (self.clock.clone(), self.random.clone());
            let (sender, receiver) = oneshot::channel();
            let opening = async move {
                let _ = sender.send(Engine::open(kv, blobs, clock, random, options).await);
            };
            self.note(format!("server {number} starts"));
            self.executor.spawn(life.process, Box::pin(opening));
            if crashing && self.executor.once_in(4) {
                self.executor.sleep(self.executor.rng.below(5_000_000) as u64).await;
                self.crash(life.process, number, "crash while it starts");
                continue;
            }
            match receiver.await {
                Ok(Ok(engine)) => {
                    if !self.ending.load(Relaxed) {
                        engine.resume_imports();
                    }
                    self.note(format!("server {number} is up"));
                    let acknowledged = Arc::new(AtomicUsize::new(life.base.load(Relaxed) as usize));
                    let server = Server { life, engine, acknowledged };
                    self.servers.lock().push(server.clone());
                    return Ok(server);
                }
                Ok(Err(error)) => {
                    if !life.hurt.load(Relaxed) && !error.message.contains("precondition failed") {
                        return Err(format!("server {number} does not start: {error}"));
                    }
                    last = error.to_string();
                    self.crash(life.process, number, "does not start");
                }
                Err(_) => {}
            }
        }
        Err(format!("no server starts: {last}"))
    }

    /// Everything that happens to servers while clients work.
    async fn befall(&self) -> Result<(), String> {
        let rng = self.executor.rng.clone();
        while self.running.load(Relaxed) > 0 {
            let pause = *rng.pick(&[1_000_000, 20_000_000, 200_000_000]);
            self.executor.sleep(rng.below(pause) as u64).await;
            if self.broken.lock().is_some() {
                return Ok(());
            }
            let sick = std::mem::take(&mut *self.sick.lock());
            for life in sick {
                self.kill(life, "restarted, it asked for it");
            }
            if self.servers.lock().is_empty() {
                self.start(self.plan.crashes).await?;
            }
            let Some(server) = self.server() else { continue };
            let life = server.life.number;
            match rng.below(20) {
                0..=2 if self.plan.crashes => {
                    drop(server);
                    self.kill(life, "crash");
                }
                3..=4 if self.plan.takeovers && self.servers.lock().len() == 1 => {
                    self.takeovers.fetch_add(1, Relaxed);
                    self.start(self.plan.crashes).await?;
                    // The old one has not noticed.
                    self.executor.sleep(rng.below(30_000_000) as u64).await;
                    if self.executor.once_in(2) {
                        self.kill(life, "was fenced");
                    }
                }
                5..=6 => {
                    let engine = server.engine.clone();
                    let work = async move { drop(engine.checkpoint().await) };
                    self.executor.spawn(server.life.process, Box::pin(work));
                }
                7 if self.plan.faults.busy > 0 => {
                    self.disk.storm(true);
                    self.executor.sleep(rng.below(2_000_000_000) as u64).await;
                    self.disk.storm(false);
                }
                8 => {
                    let by = rng.below(240_000) as i64 - 120_000;
                    self.clock.ahead_millis.store(by, Relaxed);
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn client(self: &Arc<Self>, client: usize) {
        let rng = self.executor.rng.clone();
        let mut uploads: Vec<(String, Upload, Parts)> = Vec::new();
        let mut imports: Vec<(String, String)> = Vec::new();
        for n in 0..self.plan.requests {
            self.executor.sleep(rng.below(*rng.pick(&[100_000, 3_000_000])) as u64).await;
            let repo = if self.executor.once_in(8) { "pond" } else { "lake" };
            let op = self.draw(repo, &uploads, &imports);
            let repo = match &op {
                Op::Part { upload, .. } | Op::Complete { upload, .. } | Op::Abort { upload } => {
                    let known = uploads.iter().find(|(_, u, _)| u.id == upload.id);
                    known.map_or(repo.to_owned(), |(repo, ..)| repo.clone())
                }
                Op::ImportStatus { import } | Op::ImportCancel { import } => {
                    let known = imports.iter().find(|(_, known)| known == import);
                    known.map_or(repo.to_owned(), |(repo, _)| repo.clone())
                }
                _ => repo.to_owned(),
            };
            let keyed = op.takes_key() && self.executor.once_in(3);
            let key = keyed.then(|| format!("k{client}-{n}"));
            for attempt in 0..6 {
                if self.broken.lock().is_some() {
                    return;
                }
                let request = format!("{client}-{n}{}", ["", "'", "''", "'3", "'4", "'5"][attempt]);
                let outcome = self.call(client, request, key.clone(), &repo, op.clone()).await;
                match outcome {
                    Outcome::Done(answer) => {
                        match (&op, answer) {
                            (_, Answer::Commit(id)) => self.commits.lock().push((repo.clone(), id)),
                            (Op::BeginUpload { branch, path }, Answer::Upload(id)) => {
                                let upload = Upload { id, branch: branch.clone(), path: path.clone() };
                                uploads.push((repo.clone(), upload, Parts::new()));
                            }
                            (_, Answer::Import(import)) => imports.push((repo.clone(), import)),
                            (Op::Part { upload, number, body }, _) => {
                                for (_, known, parts) in &mut uploads {
                                    if known.id == upload.id {
                                        parts.insert(*number, body.clone());
                                    }
                                }
                            }
                            _ => {}
                        }
                        if keyed && self.executor.once_in(3) {
                            // Sent twice, and who knows what happened meanwhile.
                            self.executor.sleep(rng.below(200_000_000) as u64).await;
                            let request = format!("{client}-{n}again");
                            self.call(client, request, key.clone(), &repo, op.clone()).await;
                        }
                        break;
                    }
                    // A lost answer is asked for again with the key; without one it stays lost.
                    Outcome::Unknown(_) if keyed => {
                        self.executor.sleep(rng.below(50_000_000) as u64).await;
                    }
                    Outcome::Refused(e)
                        if keyed && matches!(e.kind, Kind::Busy | Kind::IdempotencyRunning) =>
                    {
                        self.executor.sleep(rng.below(50_000_000) as u64).await;
                    }
                    _ => break,
                }
            }
        }
    }

    /// Makes one request to some server, and waits for its end or for the loss of the connection.
    async fn call(
        self: &Arc<Self>,
        client: usize,
        request: String,
        key: Option<String>,
        repo: &str,
        op: Op,
    ) -> Outcome {
        let server = loop {
            match self.server() {
                Some(server) => break server,
                None => self.executor.sleep(1_000_000).await,
            }
            if self.broken.lock().is_some() {
                return Outcome::Unknown("broken");
            }
        };
        let actor = Actor {
            name: "sim".into(),
            request_id: request.clone(),
            idempotency_key: key.clone(),
            ..Actor::default()
        };
        let call = Call {
            client,
            request: request.clone(),
            key,
            repo: repo.to_owned(),
            op: op.clone(),
            life: server.life.number,
            known_at_start: server.acknowledged.load(Relaxed),
            durable_at_start: self.disk.durable(),
            durable_at_end: usize::MAX,
            outcome: Outcome::Running,
        };
        let number = self.history.lock().begin(self.executor.now(), call);
        let (sender, receiver) = oneshot::channel();
        let name = RepositoryName::parse(repo).expect("the simulation's names are valid");
        let (engine, asked) = (server.engine.clone(), op.clone());
        let vault = Stores { kv: self.vault.kv(&server.life), blobs: self.vault.blobs(&server.life) };
        let turn = (op == Op::Backup).then(|| BackingUp(self.clone()));
        let handler = async move {
            let done = match asked {
                Op::Backup => ops::back_up(&engine, &vault).await,
                asked => ops::perform(&engine, &name, &actor, asked).await,
            };
            drop(turn);
            let _ = sender.send(done);
        };
        let task = self.executor.spawn(server.life.process, of_this_thread(handler));
        // A backup is no request of a connection.
        let is_dropped = self.plan.dropped > 0 && op != Op::Backup;
        let patience = if is_dropped && self.executor.once_in(self.plan.dropped) {
            let most = *self.executor.rng.pick(&[100_000, 2_000_000, 20_000_000]);
            self.executor.rng.below(most) as u64
        } else {
            CALL_NANOS_MAX
        };
        let timeout = self.executor.sleep(patience);
        let outcome = match futures::future::select(receiver, Box::pin(timeout)).await {
            futures::future::Either::Left((Ok(Ok(answer)), _)) => Outcome::Done(answer),
            futures::future::Either::Left((Ok(Err(error)), _)) if leaves_unknown(&error) => {
                if !server.life.hurt.load(Relaxed)
                    && !error.message.contains("taken over")
                    && !self.fenced(&server)
                {
                    self.break_off(format!("{request}: an internal error without a fault: {error}"));
                }
                self.sick.lock().push(server.life.number);
                Outcome::Unknown("internal")
            }
            futures::future::Either::Left((Ok(Err(error)), _)) => {
                // A fenced server does not know its successor's packs (docs/SHORTCOMINGS.md).
                if matches!(error.kind, Kind::Damaged | Kind::Gone) && !self.fenced(&server) {
                    self.break_off(format!("{request}: {:?}: {error}", error.kind));
                }
                Outcome::Refused(error)
            }
            futures::future::Either::Left((Err(_), _)) => Outcome::Unknown("crash"),
            futures::future::Either::Right(_) => {
                if patience == CALL_NANOS_MAX {
                    self.break_off(format!("{request} hangs: {op:?}"));
                }
                self.dropped.fetch_add(1, Relaxed);
                self.executor.cancel(task);
                Outcome::Unknown("dropped")
            }
        };
        if let Outcome::Done(Answer::Defects(found)) = &outcome
            && let Some(defect) = found.first()
            && !found.iter().any(|defect| defect.contains("simulated"))
            && !self.fenced(&server)
        {
            self.break_off(format!("{request} found {defect}"));
        }
        if let Outcome::Done(_) = outcome
            && let Some(position) = self.disk.position(&request)
        {
            server.acknowledged.fetch_max(position + 1, Relaxed);
        }
        self.executor.note(format!("{request} {outcome:?}").as_bytes());
        let durable = self.disk.durable();
        self.history.lock().end(self.executor.now(), number, durable, outcome.clone());
        outcome
    }

    /// Whether another server has opened the stores since.
    fn fenced(&self, server: &Server) -> bool {
        self.lives.load(Relaxed) as u32 > server.life.number
    }

    fn break_off(&self, what: String) {
        self.broken.lock().get_or_insert(what);
    }

    fn draw(&self, repo: &str, uploads: &[(String, Upload, Parts)], imports: &[(String, String)]) -> Op {
        let rng = &self.executor.rng;
        let keys = model::hostile_keys();
        let path = || match self.plan.imported as usize {
            count if count > 0 && rng.below(2) == 0 => {
                format!("{LARGE}{:04}", rng.below(count + 9)).into_bytes()
            }
            _ => keys[rng.below(self.plan.keys.min(keys.len()))].clone(),
        };
        let branch = || match rng.below(20) {
            0 => QUIET.to_owned(),
            _ => (*rng.pick(&[MAIN, MAIN, MAIN, "dev", "exp", "try"])).to_owned(),
        };
        let tag = || (*rng.pick(&["t1", "t2"])).to_owned();
        let commit = || {
            let known = self.commits.lock();
            let known: Vec<_> = known.iter().filter(|(r, _)| r == repo).map(|(_, id)| *id).collect();
            if known.is_empty() { None } else { Some(*rng.pick(&known)) }
        };
        let at = || match rng.below(4) {
            0 => commit().map_or(At::Branch(branch()), At::Commit),
            1 => At::Head(branch()),
            _ => At::Branch(branch()),
        };
        let body = || {
            let mut bodies = self.bodies.lock();
            let body = match rng.below(40) {
                0 => Bytes::new(),
                1..=6 => Bytes::from_static(b"same"),
                7 if bodies.len() % 16 == 3 => {
                    // Large enough not to be held in memory: a stream of its own.
                    Bytes::from([format!("{}", bodies.len()).as_bytes(), &[b'.'; (1 << 20) + 1]].concat())
                }
                8..=10 => Bytes::from([format!("{}", bodies.len()).as_bytes(), &[b'.'; 70_000]].concat()),
                _ => Bytes::from(format!("body {}", bodies.len())),
            };
            bodies.push(body.clone());
            body
        };
        let scope = || match rng.below(4) {
            0..=1 => Scope::All,
            2 => Scope::Prefix(rng.pick(&["a", "a/", "orders", "/"]).as_bytes().to_vec()),
            _ => Scope::Path(path()),
        };
        let merging = || {
            let wins =
                *rng.pick(&[MergeStrategy::Refuse, MergeStrategy::SourceWins, MergeStrategy::DestWins]);
            // What a squash merge took in can be checked if it was named by id.
            let source = at();
            let squash = matches!(source, At::Commit(_)) && rng.below(3) == 0;
            Op::Merge { source, dest: branch(), wins, squash }
        };
        match rng.below(63) {
            0..=12 => {
                let condition = match rng.below(8) {
                    0..=1 => Condition::Absent,
                    2 => {
                        let bodies = self.bodies.lock();
                        let recent = bodies.len().saturating_sub(6);
                        match &bodies[recent..] {
                            [] => Condition::Absent,
                            some => Condition::Is(rng.pick(some).clone()),
                        }
                    }
                    _ => Condition::Always,
                };
                Op::Put { branch: branch(), path: path(), body: body(), condition }
            }
            13..=15 => {
                let paths = (0..1 + rng.below(3)).map(|_| path()).collect::<std::collections::BTreeSet<_>>();
                Op::Delete {
                    branch: branch(),
                    paths: paths.into_iter().collect(),
                    condition: Condition::Always,
                }
            }
            16 => Op::Delete { branch: branch(), paths: vec![path()], condition: Condition::Is(body()) },
            17 => match commit() {
                Some(source) => Op::Copy { branch: branch(), path: path(), source, source_path: path() },
                None => Op::Branches,
            },
            18 => Op::Describe { branch: branch(), path: path() },
            19..=25 => {
                let scope = if rng.below(3) == 0 { scope() } else { Scope::All };
                Op::Commit { branch: branch(), scope, allow_empty: rng.below(10) == 0 }
            }
            26..=29 => merging(),
            30 => commit().map_or(Op::Tags, |commit| Op::Revert { branch: branch(), commit }),
            31 => commit().map_or(Op::Tags, |commit| Op::CherryPick { branch: branch(), commit }),
            32..=33 => Op::Reset { branch: branch(), scope: scope() },
            34 => commit().map_or(Op::Branches, |to| Op::HardReset { branch: branch(), to }),
            35 => Op::Undo { branch: branch() },
            36..=38 => Op::CreateBranch { branch: branch(), source: at() },
            39 => Op::DeleteBranch { branch: branch() },
            40 => Op::CreateTag { tag: tag(), source: at() },
            41 => Op::DeleteTag { tag: tag() },
            42 => Op::CreateRepository,
            43 if repo == "pond" => Op::DeleteRepository,
            44 => Op::BeginUpload { branch: branch(), path: path() },
            45..=47 => {
                let known: Vec<_> = uploads.iter().rev().take(3).collect();
                if known.is_empty() {
                    return Op::BeginUpload { branch: branch(), path: path() };
                }
                let (_, upload, parts) = rng.pick(&known);
                let upload = upload.clone();
                match rng.below(6) {
                    0 => Op::Abort { upload },
                    1..=3 if !parts.is_empty() => {
                        let mut parts = parts.clone();
                        if rng.below(4) == 0 {
                            parts.pop_first();
                        }
                        Op::Complete { upload, parts }
                    }
                    _ => {
                        let body = match self.plan.large_parts {
                            true if rng.below(3) > 0 => ops::large_part(rng.below(2)),
                            _ => Bytes::from(format!("part {}", rng.below(1_000_000))),
                        };
                        let number =
                            if self.plan.large_parts { 1 + rng.below(3) } else { 1 + rng.below(5) / 4 };
                        Op::Part { upload, number: number as u32, body }
                    }
                }
            }
            48..=51 if self.plan.imported > 0 => Op::List { at: at(), page: *rng.pick(&[300, 1000]) },
            48..=51 => Op::List { at: at(), page: *rng.pick(&[1, 3, 100]) },
            52..=54 => Op::Get { at: at(), path: path() },
            55 => Op::Uncommitted { branch: branch() },
            56 => Op::Branches,
            57 => Op::Tags,
            58 if rng.below(4) == 0 => Op::Check { quick: rng.below(2) == 0 },
            58 if rng.below(3) == 0 && !self.backing_up.swap(true, Relaxed) => Op::Backup,
            60 => {
                let source = |_| {
                    let destination = *rng.pick(&["", "a/", "orders", "b/c", "b/", LARGE]);
                    let count = match destination {
                        LARGE if self.plan.imported > 0 => self.plan.imported,
                        _ => rng.below(20) as u32,
                    };
                    let folder = Folder { version: 1 + rng.below(4) as u32, count };
                    Source { folder, destination: destination.into() }
                };
                let branch = if rng.below(2) == 0 { QUIET.to_owned() } else { branch() };
                Op::Import { branch, sources: (0..1 + rng.below(5) / 3).map(source).collect() }
            }
            61..=62 if !imports.is_empty() => {
                let import = rng.pick(&imports[imports.len().saturating_sub(3)..]).1.clone();
                if rng.below(5) == 0 { Op::ImportCancel { import } } else { Op::ImportStatus { import } }
            }
            _ => Op::Log { branch: branch() },
        }
    }
}
