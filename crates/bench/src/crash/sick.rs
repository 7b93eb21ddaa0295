//! `millpond-bench sickdisk`: a disk that fails at one system call, and a disk that fills up.
//!
//! The accidents this looks for: an error of fsync that is passed over, so that the next one "succeeds"; a write
//! acknowledged after that; a full disk that leaves half an object, or a server that must be restarted when there is
//! room again. System calls fail through strace's injection; the full disk is a small file system in a file.

use super::check::{Depth, Findings};
use super::disk::Disk;
use super::worker::{REPOSITORY, Worker};
use super::{check_all, create_branch, create_branches, create_repository};
use crate::chance::Chance;
use crate::machine::Machine;
use crate::server::{Server, Setup, injecting};
use crate::site::{Payload, Site};
use crate::wire::{Answer, Connection, Request};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::future::join_all;
use std::cell::Cell;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const CLIENTS: usize = 4;
/// How long the load runs with a disk that may fail.
const LOAD: Duration = Duration::from_millis(400);
/// How long a request may go without an answer while the disk is full.
const HUNG: Duration = Duration::from_secs(4);
/// Size of the disk that fills up, and what a file of ballast, removed later, leaves of it.
const SMALL_DISK_BYTES: u64 = 128 << 20;
const LEFT_BYTES: u64 = 12 << 20;
const FILL_MAX: Duration = Duration::from_secs(60);
/// The branch of the writes that belong to no client. Not `main`: what is staged there has every merge into it refused,
/// and rightly.
const PROBES: &str = "probes";
/// How soon writing must go on once there is room.
const ROOM_NOTICED_MAX: Duration = Duration::from_secs(10);

/// Which calls fail, and with what.
const FAULTS: [(&str, &str); 4] =
    [("fdatasync", "EIO"), ("fsync", "EIO"), ("pwrite64", "EIO"), ("pwrite64", "ENOSPC")];

/// Arguments of `sickdisk`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Each call fails once as the first of its thread, in another round as the second, and so on up to this.
    #[arg(long, default_value = "5")]
    rounds: u64,
    /// Chooses operations and bodies.
    #[arg(long, default_value = "1")]
    seed: u64,
    /// Keep everything in this folder, which must exist and be empty, instead of a temporary one.
    #[arg(long, value_name = "FOLDER")]
    data: Option<std::path::PathBuf>,
}

#[derive(Default)]
struct Tally {
    rounds: u64,
    refused_to_start: u64,
    refused_writes: u64,
    unnoticed: u64,
    acknowledged: u64,
    wrong: Vec<String>,
    findings: Findings,
    full: Option<Full>,
}

impl Tally {
    fn bad(&self) -> usize {
        self.wrong.len() + self.findings.lost.len() + self.findings.partial.len()
    }
}

/// When calls begin to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// From the start of the process.
    Start,
    /// Once it serves.
    Work,
}

/// The `n`-th of these calls of each thread fails.
struct Fault {
    calls: &'static str,
    error: &'static str,
    n: u64,
    when: When,
}

impl Fault {
    fn name(&self) -> String {
        let from = if self.when == When::Start { "of its start" } else { "at work" };
        format!("{} number {} of a thread, {from}, fails with {}", self.calls, self.n, self.error)
    }
}

/// What the full disk did.
struct Full {
    acknowledged: u64,
    refused: u64,
    room_noticed: Duration,
}

/// Runs the rounds and prints the report. Fails on anything lost, partial, or acknowledged after a failure.
pub async fn sickdisk(options: &Options) -> Result<ExitCode> {
    let temporary = tempfile::tempdir().context("make a temporary folder")?;
    let setup = Setup::new(options.data.as_deref().unwrap_or(temporary.path()))?;
    let machine = Machine::describe(&setup.folder);
    let mut tally = Tally::default();
    if can_trace() {
        for (calls, error) in FAULTS {
            for n in 1..=options.rounds {
                for when in [When::Start, When::Work] {
                    let name = format!("{calls}-{error}-{n}-{when:?}");
                    let before = tally.bad();
                    let fault = Fault { calls, error, n, when };
                    one_fault(&setup.beside(&name)?, &fault, options.seed, &mut tally)
                        .await
                        .with_context(|| name.clone())?;
                    eprintln!("{}: {} wrong", fault.name(), tally.bad() - before);
                    std::fs::remove_dir_all(setup.folder.join(&name))?;
                }
            }
        }
    } else {
        eprintln!("skipped, no system call failed: strace is not installed or not allowed here");
    }
    match Disk::unavailable(&setup.folder) {
        Some(why) => eprintln!("skipped, no disk was filled: {why}"),
        None => full_disk(&setup.beside("full")?, options.seed, &mut tally).await.context("the full disk")?,
    }
    let clean = tally.bad() == 0;
    if !clean {
        eprintln!("the server's data and log are kept in {}", temporary.keep().display());
    }
    std::io::stdout().lock().write_all(report(&tally, &machine).as_bytes())?;
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn can_trace() -> bool {
    let traced =
        std::process::Command::new("strace").args(["--seccomp-bpf", "--follow-forks", "true"]).output();
    traced.is_ok_and(|output| output.status.success())
}

/// A server on a healthy disk, then on one that fails once, then on a healthy one again.
async fn one_fault(setup: &Setup, fault: &Fault, seed: u64, tally: &mut Tally) -> Result<()> {
    let Fault { calls, error, n, when } = fault;
    let name = fault.name();
    let mut chance = Chance::new(seed ^ n);
    let (mut server, mut workers) = populated(setup, seed ^ n << 8).await?;
    server.stop().await?;
    let what = format!("error={error}:when={n}");
    let mut sick = setup.clone();
    if *when == When::Start {
        sick.wrapper = injecting(calls, &what);
    }
    // A disk that is full once is no failure of the server: nothing may end or be lost, no answer be strange.
    let is_full = *error == "ENOSPC";
    match Server::start(&sick, "/repositories", 200).await {
        Err(_) => tally.refused_to_start += 1,
        Ok(mut running) => {
            let _tracer = match when {
                When::Start => None,
                When::Work => Some(running.inject(calls, &what).await?),
            };
            let struck = Cell::new((!is_full).then(Instant::now));
            load(&running.site, &mut workers, &struck, Instant::now() + LOAD).await;
            let health = ask(&running.site, "/_health").await?;
            let metrics = text(&ask(&running.site, "/metrics").await?);
            let says =
                |reason: &str| metrics.contains(&format!("millpond_writes_refused{{reason=\"{reason}\"}} 1"));
            if health.status == 503 {
                tally.refused_writes += 1;
                if is_full {
                    tally.wrong.push(format!("{name}: a full disk stopped the server: {}", text(&health)));
                }
                if !says("failed") {
                    tally.wrong.push(format!("{name}: the metrics do not say that writes are refused"));
                }
                let late = put(&running.site, "late").await?;
                if late.is_success() {
                    tally.wrong.push(format!("{name}: a write after the failure answers {}", late.status));
                }
            } else {
                tally.unnoticed += 1;
                ensure!(health.status == 200, "health answers {}", health.status);
                let late = put(&running.site, "late").await?;
                if is_full && !late.is_success() {
                    tally.wrong.push(format!("{name}: after the full disk a write answers {}", late.status));
                }
            }
            running.kill()?;
        }
    }
    server = match Server::start(setup, "/repositories", 200).await {
        Ok(server) => server,
        Err(error) => {
            tally.findings.lost.push(format!("{name}: everything, the server does not start: {error:#}"));
            return Ok(());
        }
    };
    settle(&server, &mut workers, &mut chance, tally).await?;
    let after = put(&server.site, "after").await?;
    if !after.is_success() {
        tally.wrong.push(format!("{name}: a write after the restart answers {}", after.status));
    }
    tally.rounds += 1;
    server.stop().await
}

/// Fills the disk under load, looks, makes room. The load goes on without a restart, and what waited is answered.
async fn full_disk(setup: &Setup, seed: u64, tally: &mut Tally) -> Result<()> {
    let mut chance = Chance::new(seed);
    let _disk = Disk::create(&setup.folder.join("disk.img"), &setup.data(), SMALL_DISK_BYTES)?;
    let ballast = setup.data().join("ballast");
    let (mut server, mut workers) = populated(setup, seed).await?;
    // The last client stands by: what it has written is read while the disk is full.
    let (busy, reader) = workers.split_at_mut(CLIENTS - 1);
    let disk = rustix::fs::statvfs(setup.data().as_path())?;
    let ballast_bytes = (disk.f_bavail * disk.f_frsize).saturating_sub(LEFT_BYTES);
    std::fs::write(&ballast, vec![0; ballast_bytes as usize])?;
    let over = Cell::new(false);
    let never = Cell::new(None);
    let is_over = || over.get();
    let load = join_all(busy.iter_mut().map(|worker| worker.work(&server.site, &never, &is_over)));
    let accident = async {
        let begun = Instant::now();
        while put(&server.site, "large").await.is_ok_and(|answer| answer.is_success()) {
            ensure!(begun.elapsed() < FILL_MAX, "the disk did not fill up");
        }
        tokio::time::sleep(LOAD).await;
        let findings = &mut tally.findings;
        check_all(&server, reader, Depth::Everything, &mut chance, findings).await?;
        std::fs::remove_file(&ballast)?;
        let room = Instant::now();
        while !put(&server.site, "room").await.is_ok_and(|answer| answer.is_success()) {
            if room.elapsed() > ROOM_NOTICED_MAX {
                tally.wrong.push("no write succeeds although there is room".to_owned());
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let room_noticed = room.elapsed();
        tokio::time::sleep(LOAD * 2).await;
        over.set(true);
        Ok(room_noticed)
    };
    let end = async {
        let (_, noticed) = tokio::join!(load, accident);
        noticed
    };
    let room_noticed = tokio::time::timeout(FILL_MAX + ROOM_NOTICED_MAX, end)
        .await
        .context("a request has no answer although there is room")??;
    let refused = workers.iter().map(|worker| worker.deferred).sum();
    server.kill()?;
    server = Server::start(setup, "/repositories", 200).await?;
    let before = tally.acknowledged;
    settle(&server, &mut workers, &mut chance, tally).await?;
    tally.full = Some(Full { acknowledged: tally.acknowledged - before, refused, room_noticed });
    server.stop().await
}

/// A server with a repository, clients and a little of their work.
async fn populated(setup: &Setup, seed: u64) -> Result<(Server, Vec<Worker>)> {
    let server = Server::start(setup, "/repositories", 200).await?;
    let head = create_repository(&server).await?;
    let mut workers: Vec<Worker> = (0..CLIENTS).map(|number| Worker::new(number, seed, &head)).collect();
    create_branches(&server, &workers).await?;
    create_branch(&server, PROBES).await?;
    load(&server.site, &mut workers, &Cell::new(None), Instant::now() + LOAD / 4).await;
    Ok((server, workers))
}

async fn load(site: &Site, workers: &mut [Worker], struck: &Cell<Option<Instant>>, until: Instant) {
    let hung = tokio::time::Instant::from_std(until + HUNG);
    let is_over = || Instant::now() >= until;
    let work = |worker| tokio::time::timeout_at(hung, Worker::work(worker, site, struck, &is_over));
    join_all(workers.iter_mut().filter(|worker| worker.pending.is_none()).map(work)).await;
}

/// Compares all clients' ledgers with the server, after a restart.
async fn settle(
    server: &Server,
    workers: &mut [Worker],
    chance: &mut Chance,
    tally: &mut Tally,
) -> Result<()> {
    check_all(server, workers, Depth::Everything, chance, &mut tally.findings).await?;
    for worker in workers {
        tally.acknowledged += worker.acknowledged.values().sum::<u64>();
        tally.wrong.append(&mut worker.unexpected);
    }
    Ok(())
}

async fn ask(site: &Site, path: &str) -> Result<Answer> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", site.address).into_bytes();
    Connection::new(site.address).exchange(&Request { head, body: Bytes::new() }).await
}

/// A write that belongs to no client.
async fn put(site: &Site, key: &str) -> Result<Answer> {
    let body = Bytes::from(vec![7; if key == "large" { 1 << 20 } else { 1000 }]);
    let request =
        site.s3_with("PUT", &format!("{REPOSITORY}/{PROBES}/{key}"), &[], &[], Payload::Unsigned, body);
    let answer = tokio::time::timeout(HUNG, Connection::new(site.address).exchange(&request)).await;
    answer.context("no answer to a write")?
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

fn report(tally: &Tally, machine: &Machine) -> String {
    let findings = &tally.findings;
    let mut lines = vec![
        format!("machine                          {}", machine.line()),
        format!("rounds with one failing call     {}", tally.rounds),
        format!("  the server did not start       {}", tally.refused_to_start),
        format!("  it refused writes until restart {}", tally.refused_writes),
        format!("  nothing was to be refused      {}", tally.unnoticed),
        format!("acknowledged operations checked  {}", tally.acknowledged),
        format!("lost                             {}", findings.lost.len()),
        format!("partial states seen              {}", findings.partial.len()),
        format!("wrong answers                    {}", tally.wrong.len()),
    ];
    if let Some(full) = &tally.full {
        lines.push(format!(
            "full disk                        {} acknowledged, {} refused; writing again {} ms after there was room",
            full.acknowledged,
            full.refused,
            full.room_noticed.as_millis()
        ));
    }
    for (title, details) in
        [("LOST", &findings.lost), ("PARTIAL", &findings.partial), ("WRONG", &tally.wrong)]
    {
        lines.extend(details.iter().take(super::SHOWN_MAX).map(|detail| format!("{title}  {detail}")));
    }
    lines.push(String::new());
    lines.join("\n")
}
