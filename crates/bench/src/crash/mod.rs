//! `millpond-bench crash` and `powercut`: end the server at random points under load and check what it acknowledged.
//!
//! Every client keeps a ledger of what the server answered. After each accident the server is started again on
//! the same data and asked about everything. SIGKILL ends the process, not the machine: what the process had
//! written is still in the page cache. A power cut ([`disk`]) takes that as well, and shows a missing `fsync`.

mod check;
mod disk;
pub mod sick;
mod state;
mod verdict;
mod worker;

use crate::chance::Chance;
use crate::machine::Machine;
use crate::server::{Server, Setup, injecting};
use crate::site::Site;
use crate::wire::Connection;
use anyhow::{Context, Result};
use check::{Depth, Findings, check, check_main};
use disk::Disk;
use futures::future::join_all;
use serde_json::json;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use worker::{REPOSITORY, Worker};

const KILL_AFTER_MS_MIN: u64 = 50;
const KILL_AFTER_MS_MAX: u64 = 1500;
/// One restart in so many is killed as well, before it is ready or shortly after.
const KILL_AT_START_ONE_IN: u64 = 4;
const KILL_AT_START_MS_MAX: u64 = 200;
/// How long clients may go on with a disk without power before the server is killed, too: whatever it still
/// acknowledges must be there afterwards.
const POWERLESS_MS_MAX: u64 = 40;
/// Size of the image whose power is cut; sparse, so it takes what is written. Nothing is collected between rounds.
const DISK_BYTES: u64 = 16 << 30;
/// Details of failures that are printed.
const SHOWN_MAX: usize = 20;

/// What happens to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accident {
    /// SIGKILL.
    Kill,
    /// The disk loses its power and forgets what was not synced; the server is killed a moment later.
    PowerCut,
}

/// Arguments of `crash` and `powercut`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How many accidents.
    #[arg(long, default_value = "20")]
    rounds: u64,
    /// Chooses operations, bodies and the moments of the kills; printed, random if absent.
    #[arg(long)]
    seed: Option<u64>,
    /// Clients at the same time.
    #[arg(long, default_value = "16")]
    clients: usize,
    /// Keep everything in this folder, which must exist and be empty, instead of a temporary one.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Put back the data of before the last round, as a lying disk would: the check must then fail.
    #[arg(long, hide = true)]
    forget_last_round: bool,
    /// System calls of the server that do nothing and succeed, as "fsync,fdatasync,syncfs" (strace must be installed):
    /// a power cut must then lose something.
    #[arg(long, value_name = "CALLS", hide = true)]
    without: Option<String>,
}

/// Everything that is counted over the rounds.
#[derive(Default)]
struct Tally {
    rounds: u64,
    acknowledged: BTreeMap<&'static str, u64>,
    findings: Findings,
    unexpected: Vec<String>,
    deferred: u64,
    restarts: Vec<Duration>,
    hit_at_start: u64,
    acknowledged_after: u64,
}

impl Tally {
    fn is_clean(&self) -> bool {
        self.findings.lost.is_empty() && self.findings.partial.is_empty() && self.unexpected.is_empty()
    }
}

/// Runs the rounds and prints the report. Fails on anything lost, partial or unexpected.
pub async fn crash(options: &Options, accident: Accident) -> Result<ExitCode> {
    let seed = options.seed.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos().into())
    });
    eprintln!("seed {seed}");
    let temporary = tempfile::tempdir().context("make a temporary folder")?;
    let folder = options.data.as_deref().unwrap_or(temporary.path()).to_owned();
    let mut setup = Setup::new(&folder)?;
    let disk = match accident {
        Accident::Kill => None,
        Accident::PowerCut => {
            if let Some(why) = Disk::unavailable(&setup.folder) {
                eprintln!("skipped, no power was cut: {why}");
                return Ok(ExitCode::SUCCESS);
            }
            Some(Disk::create(&setup.folder.join("disk.img"), &setup.data(), DISK_BYTES)?)
        }
    };
    if let Some(calls) = &options.without {
        setup.wrapper = injecting(calls, "retval=0");
    }
    let machine = Machine::describe(&setup.folder);
    let outcome = rounds(options, seed, &setup, disk.as_ref()).await;
    let clean = outcome.as_ref().is_ok_and(Tally::is_clean);
    if !clean {
        let kept = temporary.keep();
        let kept = options.data.as_deref().unwrap_or(&kept);
        eprintln!("seed {seed}; the server's data and log are kept in {}", kept.display());
    }
    let text = report(&outcome?, accident, options.clients, seed, &machine);
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn rounds(options: &Options, seed: u64, setup: &Setup, disk: Option<&Disk>) -> Result<Tally> {
    let mut chance = Chance::new(seed);
    let mut tally = Tally::default();
    let mut server = Server::start(setup, "/repositories", 200).await?;
    let mut main_head = create_repository(&server).await?;
    let mut workers: Vec<Worker> =
        (0..options.clients).map(|number| Worker::new(number, seed, &main_head)).collect();
    create_branches(&server, &workers).await?;
    for round in 1..=options.rounds {
        let forget = options.forget_last_round && round == options.rounds;
        if forget {
            server.stop().await?;
            copy_folder(&setup.data(), &setup.folder.join("old-data"))?;
            server = Server::start(setup, "/repositories", 200).await?;
        }
        let struck = Cell::new(None);
        let delay = KILL_AFTER_MS_MIN + chance.below(KILL_AFTER_MS_MAX - KILL_AFTER_MS_MIN);
        let mut ended_early = None;
        workers.iter_mut().for_each(Worker::begin_round);
        // The server is needed for the kill while the clients use the site: they get one of their own.
        let site = Site::new(server.site.address, setup.keys.clone());
        let load = join_all(workers.iter_mut().map(|worker| worker.work(&site, &struck, &|| false)));
        // What ext4's journal holds may or may not reach the disk.
        let flush = chance.one_in(2);
        let powerless = chance.below(POWERLESS_MS_MAX);
        let strike = async {
            tokio::time::sleep(Duration::from_millis(delay)).await;
            ended_early = server.ended()?;
            struck.set(Some(Instant::now()));
            if let Some(disk) = disk {
                disk.cut(flush)?;
                tokio::time::sleep(Duration::from_millis(powerless)).await;
            }
            server.kill()
        };
        let (_, result) = tokio::join!(load, strike);
        result.context("strike the server")?;
        disk.map_or(Ok(()), Disk::reboot)?;
        if let Some(status) = ended_early {
            tally.unexpected.push(format!("round {round}: the server ended by itself with {status}"));
        }
        if forget {
            std::fs::remove_dir_all(setup.data())?;
            std::fs::rename(setup.folder.join("old-data"), setup.data())?;
        }
        if chance.one_in(KILL_AT_START_ONE_IN) {
            // Recovery must survive its own death.
            let mut starting = Server::spawn(setup)?;
            tokio::time::sleep(Duration::from_millis(chance.below(KILL_AT_START_MS_MAX))).await;
            disk.map_or(Ok(()), |disk| disk.cut(chance.one_in(2)))?;
            starting.kill()?;
            disk.map_or(Ok(()), Disk::reboot)?;
            tally.hit_at_start += 1;
        }
        tally.rounds += 1;
        match Server::start(setup, "/repositories", 200).await {
            Ok(restarted) => server = restarted,
            Err(error) => {
                tally.findings.lost.push(format!("everything: the server does not start again: {error:#}"));
                return Ok(tally);
            }
        }
        tally.restarts.push(server.first_answer);
        for worker in &mut workers {
            for (kind, count) in &worker.acknowledged {
                *tally.acknowledged.entry(kind).or_default() += count;
            }
            tally.unexpected.append(&mut worker.unexpected);
            tally.deferred += std::mem::take(&mut worker.deferred);
            tally.acknowledged_after += std::mem::take(&mut worker.acknowledged_after);
        }
        if !repository_is_there(&server).await? {
            tally.findings.lost.push("everything: the repository is gone".into());
            break;
        }
        let depth = if round == options.rounds { Depth::Everything } else { Depth::Sample };
        check_all(&server, &mut workers, depth, &mut chance, &mut tally.findings).await?;
        let merges: BTreeSet<String> =
            workers.iter().flat_map(|worker| worker.new_merges.iter().cloned()).collect();
        main_head = check_main(&server.site, &main_head, &merges, &mut tally.findings).await?;
        eprintln!(
            "round {round}: struck after {delay} ms, up again after {:.0} ms, {} acknowledged so far, {} lost, {} partial",
            server.first_answer.as_secs_f64() * 1000.0,
            tally.acknowledged.values().sum::<u64>(),
            tally.findings.lost.len(),
            tally.findings.partial.len()
        );
        if !tally.is_clean() {
            break;
        }
    }
    server.stop().await?;
    Ok(tally)
}

async fn create_repository(server: &Server) -> Result<String> {
    let mut connection = Connection::new(server.site.address);
    let body = json!({"name": REPOSITORY, "storage_namespace": format!("local://{REPOSITORY}"), "default_branch": "main"});
    let create = server.site.api("POST", "/repositories", Some(&body));
    connection.exchange(&create).await?.success().context("create the repository")?;
    let main = server.site.api("GET", &format!("/repositories/{REPOSITORY}/branches/main"), None);
    let main = connection.exchange(&main).await?.success()?.json()?;
    Ok(main["commit_id"].as_str().context("main has no head")?.to_owned())
}

async fn repository_is_there(server: &Server) -> Result<bool> {
    let get = server.site.api("GET", &format!("/repositories/{REPOSITORY}"), None);
    Ok(Connection::new(server.site.address).exchange(&get).await?.status == 200)
}

async fn create_branches(server: &Server, workers: &[Worker]) -> Result<()> {
    for worker in workers {
        create_branch(server, &worker.work_branch()).await?;
    }
    Ok(())
}

async fn create_branch(server: &Server, name: &str) -> Result<()> {
    let body = json!({"name": name, "source": "main"});
    let request = server.site.api("POST", &format!("/repositories/{REPOSITORY}/branches"), Some(&body));
    Connection::new(server.site.address).exchange(&request).await?.success().context("create a branch")?;
    Ok(())
}

async fn check_all(
    server: &Server,
    workers: &mut [Worker],
    depth: Depth,
    chance: &mut Chance,
    findings: &mut Findings,
) -> Result<()> {
    let checks = workers.iter_mut().map(|worker| {
        let mut chance = Chance::new(chance.next());
        async move { check(&server.site, worker, depth, &mut chance).await }
    });
    for found in join_all(checks).await {
        findings.add(found?);
    }
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn report(tally: &Tally, accident: Accident, clients: usize, seed: u64, machine: &Machine) -> String {
    let mut restarts: Vec<f64> = tally.restarts.iter().map(|took| took.as_secs_f64() * 1000.0).collect();
    restarts.sort_unstable_by(f64::total_cmp);
    let median = restarts.get(restarts.len() / 2).copied().unwrap_or(f64::NAN);
    let kinds: Vec<String> =
        tally.acknowledged.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let findings = &tally.findings;
    let (what, limits) = match accident {
        Accident::Kill => (
            "rounds (SIGKILL and restart)    ",
            "SIGKILL ends the process, not the machine: this does not test power loss.".to_owned(),
        ),
        Accident::PowerCut => (
            "rounds (power cut and restart)  ",
            format!(
                "ext4 on a loop device, shut down, half of the time without its journal; {} operations were acknowledged after a cut.",
                tally.acknowledged_after
            ),
        ),
    };
    let mut lines = vec![
        format!("machine                          {}", machine.line()),
        format!(
            "{what} {}   seed {seed}, {clients} clients; {} restarts were hit as well",
            tally.rounds, tally.hit_at_start
        ),
        format!("acknowledged operations checked  {}", tally.acknowledged.values().sum::<u64>()),
        format!("  of them                        {}", kinds.join(", ")),
        format!("lost                             {}", findings.lost.len()),
        format!("partial states seen              {}", findings.partial.len()),
        format!(
            "unexpected answers               {}   ({} deferred with 429 or 503)",
            tally.unexpected.len(),
            tally.deferred
        ),
        format!(
            "unanswered at the accident       {}   ({} had taken effect whole, {} not at all)",
            findings.took_effect + findings.no_effect,
            findings.took_effect,
            findings.no_effect
        ),
        format!(
            "objects read and hashed          {}   ({:.0} MB)",
            findings.objects_read,
            findings.bytes_read as f64 / 1e6
        ),
        format!("commits compared                 {}", findings.commits_read),
        format!(
            "restart to first answer          p50 {median:.0} ms, max {:.0} ms",
            restarts.last().copied().unwrap_or(f64::NAN)
        ),
        limits,
    ];
    for (title, details) in
        [("LOST", &findings.lost), ("PARTIAL", &findings.partial), ("UNEXPECTED", &tally.unexpected)]
    {
        lines.extend(details.iter().take(SHOWN_MAX).map(|detail| format!("{title}  {detail}")));
    }
    lines.push(String::new());
    lines.join("\n")
}
