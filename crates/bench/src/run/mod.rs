//! `millpond-bench run`: one server, one repository of N objects, one scenario after the other.

mod catalogue;
mod command_line;
mod history;
mod imports;
mod people;
mod points;
mod store;
mod transfers;

pub use catalogue::list;

use crate::chance::scramble;
use crate::load::{Limit, Measured, closed_loop, one_by_one};
use crate::machine::Machine;
use crate::report::{Fact, Report, Row};
use crate::server::{Server, Setup};
use crate::sigv4::moment;
use crate::site::{Payload, Site};
use crate::wire::{Answer, Connection, Request};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use catalogue::{Amounts, Scenario};
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use store::OnDisk;

/// The repository of a run.
const REPOSITORY: &str = "bench";
/// Small objects of different content, of which the N objects are copies.
const SEEDS: u64 = 64;
const SMALL_BYTES: usize = 4096;
/// Directories that the N objects are spread over.
const CLASSES: u64 = 1000;

/// Arguments of `run`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Only these scenarios; `commit` stands for `commit-1` and its siblings.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Objects in the repository, at least 1000.
    #[arg(long, default_value = "1e6", value_parser = count)]
    size: u64,
    /// How the repository gets its objects.
    #[arg(long, default_value = "copy", value_name = "HOW")]
    load: Load,
    /// Seconds after which a scenario of many small requests ends.
    #[arg(long, default_value = "4", value_name = "SECONDS")]
    seconds: f64,
    /// Who sends the requests.
    #[arg(long, default_value = "admin", value_name = "WHO")]
    user: User,
    /// Little of everything, to see that each scenario works; the figures mean nothing.
    #[arg(long)]
    tiny: bool,
    /// Write the figures there as JSON [default: target/bench/<time>.json]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep everything in this folder, which must exist and be empty, instead of a temporary one.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
}

/// Who sends the requests of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum User {
    /// The administrator, whom no policy binds.
    Admin,
    /// A user with three policies through a group and two of its own, denials among them.
    Rbac,
}

/// How the repository gets its N objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Load {
    /// Copies within the branch, then one commit: a request for each object, and the entries are verified.
    Copy,
    /// Import of tiny local files: faster, entries are declared.
    Import,
}

/// A number of objects, as the command line takes it.
pub fn count(text: &str) -> Result<u64, String> {
    let number: f64 = text.parse().map_err(|_| format!("{text} is not a number"))?;
    if (CLASSES as f64..=1e9).contains(&number) {
        Ok(number as u64)
    } else {
        Err(format!("{CLASSES} to 1e9"))
    }
}

/// Runs the scenarios, prints the report and writes it as JSON. Fails if any operation failed.
pub async fn run(options: &Options) -> Result<ExitCode> {
    let (report, taken_at) = measure(options).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "taken at {taken_at}")?;
    write!(out, "{}", report.table())?;
    let path = match &options.json {
        Some(path) => path.clone(),
        None => {
            std::fs::create_dir_all("target/bench").context("make target/bench")?;
            format!("target/bench/{taken_at}.json").into()
        }
    };
    let mut json = report.json();
    json["taken_at"] = taken_at.into();
    std::fs::write(&path, format!("{json:#}\n")).with_context(|| format!("write {}", path.display()))?;
    writeln!(out, "the same as JSON: {}", path.display())?;
    Ok(if report.failures() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The medians (ms) and single figures of some scenarios at one size, by name, with machine and time.
pub async fn figures(only: Vec<String>, size: u64, load: Load) -> Result<Value> {
    let options =
        Options { only, size, load, seconds: 4.0, user: User::Admin, tiny: false, json: None, data: None };
    let (report, taken_at) = measure(&options).await?;
    ensure!(report.failures() == 0, "some operations failed:\n{}", report.table());
    let mut figures = report.figures();
    figures["taken_at"] = taken_at.into();
    Ok(figures)
}

/// Runs the scenarios; returns what they found and when they began.
async fn measure(options: &Options) -> Result<(Report, String)> {
    let chosen = catalogue::select(&options.only)?;
    let taken_at = moment(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
    let temporary = tempfile::tempdir().context("make a temporary folder")?;
    let folder = options.data.as_deref().unwrap_or(temporary.path());
    ensure!(!folder.join("data").exists(), "{} is not empty", folder.display());
    let mut setup = Setup::new(folder)?;
    let mut report = Report::new(Machine::describe(&setup.folder), options.size);
    let sync_ms = sync_ms(&setup.folder)?;
    let mut server = Server::start(&setup, "/repositories", 200).await?;
    if options.user == User::Rbac {
        setup.caller = people::with_five_policies(&server.site).await.context("make the user")?;
        server.site = Site::new(server.site.address, setup.caller.clone());
        report.note(
            "--user rbac: requests of a user with five policies; imports are the administrator's".to_owned(),
        );
    }
    let mut bench = Bench {
        options,
        amounts: if options.tiny { Amounts::TINY } else { Amounts::FULL },
        setup,
        server,
        report,
        loaded: String::new(),
        histories: BTreeMap::new(),
        small: None,
        on_disk: 0,
        object_bytes: Cell::new(0),
    };
    bench.fact(
        "fdatasync",
        "this disk, without a server: append of 4 KiB and fdatasync, p50 of 200; the floor under a durable write",
        sync_ms,
        "ms",
    );
    let resident = bench.resident_mb()?;
    bench.fact("rss-idle", "resident memory of a server without data", resident, "MB");
    if options.tiny {
        bench.report.note("--tiny: little of everything, the figures mean nothing".to_owned());
    }
    if chosen.iter().any(|scenario| scenario.needs_load) {
        bench.load().await.context("load")?;
    }
    for Scenario { name, .. } in chosen {
        eprintln!("{name} ...");
        bench.scenario(name).await.with_context(|| format!("scenario {name}"))?;
    }
    let Bench { report, mut server, .. } = bench;
    server.stop().await?;
    Ok((report, taken_at))
}

/// A server with its repository, and what was found so far.
struct Bench<'a> {
    options: &'a Options,
    amounts: Amounts,
    setup: Setup,
    server: Server,
    report: Report,
    /// The commit with the N objects.
    loaded: String,
    /// Commits of k changes and their parents, by k.
    histories: BTreeMap<u64, Vec<(String, String)>>,
    /// A commit of small objects of different content, and their number.
    small: Option<(String, u64)>,
    /// Bytes on disk when the last row was finished.
    on_disk: u64,
    /// Bytes of objects uploaded; all of them are of different content.
    object_bytes: Cell<u64>,
}

impl Bench<'_> {
    async fn scenario(&mut self, name: &'static str) -> Result<()> {
        match name {
            "stat-64" => self.stat(name, 64).await,
            "stat-1" => self.stat(name, 1).await,
            "stage-64" => self.stage(name, 64).await,
            "stage-1" => self.stage(name, 1).await,
            "stage-api-64" => self.stage_api(name, 64).await,
            "put-4k-64" => self.put_small(name, 64).await,
            "put-4k-1" => self.put_small(name, 1).await,
            "get-4k-64" => self.get_small(name, 64).await,
            "get-4k-1" => self.get_small(name, 1).await,
            "put-64m-unsigned" => self.put_large(name, Payload::Unsigned).await,
            "put-64m-trailer" => self.put_large(name, Payload::Trailer).await,
            "put-64m-signed" => self.put_large(name, Payload::Signed).await,
            "put-64m-chunks" => self.put_large(name, Payload::SignedChunks).await,
            "get-64m" => self.get_large(name).await,
            "commit-1" => self.commit(name, 1).await,
            "commit-100" => self.commit(name, 100).await,
            "commit-1000" => self.commit(name, 1000).await,
            "diff-1" => self.diff(name, 1).await,
            "diff-100" => self.diff(name, 100).await,
            "diff-1000" => self.diff(name, 1000).await,
            "list-flat" => self.list_flat(name).await,
            "list-dirs" => self.list_directories(name).await,
            "list-s3-flat" => self.list_s3_flat(name).await,
            "list-s3-dirs" => self.list_s3_directories(name).await,
            "branch-64" => self.branches(name, 64).await,
            "merge-rounds-64" => self.merge_rounds(name, 64).await,
            "restart" => self.restart().await,
            "import" => self.import(name).await,
            "cli-upload" | "cli-again" => self.command_line(name).await,
            _ => unreachable!("scenario {name} has a name and no code"),
        }?;
        self.report.ended(name);
        Ok(())
    }

    /// Makes the repository, small objects to copy from, its N objects and the branches of the scenarios.
    async fn load(&mut self) -> Result<()> {
        self.create_repository(REPOSITORY).await?;
        let mut connection = self.connection();
        for seed in 0..SEEDS {
            self.put(&mut connection, &format!("main/seed/{seed}"), small_body(seed)).await?;
        }
        for fresh in 0..history::FRESH {
            self.put(&mut connection, &format!("main/fresh/{fresh}"), small_body(1_000_000 + fresh)).await?;
        }
        eprintln!("load of {} objects ...", self.options.size);
        match self.options.load {
            Load::Copy => self.load_by_copies().await?,
            Load::Import => self.load_by_import().await?,
        }
        self.loaded = self.head(&mut connection, "main").await?;
        for branch in ["edits", "puts", "small", "big", "staging"] {
            self.branch(&mut connection, branch).await?;
        }
        self.metadata(
            "metadata-bytes",
            "bytes on disk without those of objects uploaded, for each object, after load and commit",
        );
        let resident = self.resident_mb()?;
        self.fact("rss-loaded", "resident memory after the load", resident, "MB");
        Ok(())
    }

    /// Copies within the branch, which move no bytes, so that a million objects cost a million requests and
    /// not a million files.
    async fn load_by_copies(&mut self) -> Result<()> {
        let size = self.options.size;
        let site = &self.server.site;
        let limit = Limit { operations: size, time: Duration::MAX };
        let measured = closed_loop(&self.server, 64, limit, async |connection, number| {
            let source = format!("/{REPOSITORY}/main/seed/{}", scramble(number) % SEEDS);
            let path = format!("{REPOSITORY}/main/{}", object_key(number, size));
            send(connection, &site.s3("PUT", &path, &[], &[("x-amz-copy-source", &source)])).await?;
            Ok(())
        })
        .await?;
        ensure!(
            measured.failures == 0,
            "the load failed {} times: {:?}",
            measured.failures,
            measured.first_failure
        );
        self.row("load", "ops", 1.0, measured);
        let measured = one_by_one(
            &self.server,
            1,
            async |_: &mut Connection, _| Ok(()),
            async |connection, ()| self.commit_branch(connection, "main").await.map(drop),
        )
        .await?;
        ensure!(measured.failures == 0, "the commit of the load failed: {:?}", measured.first_failure);
        self.row("commit-load", "ops", 1.0, measured);
        Ok(())
    }

    fn connection(&self) -> Connection {
        Connection::new(self.server.site.address)
    }

    fn resident_mb(&self) -> Result<f64> {
        Ok(self.server.usage()?.resident_bytes as f64 / 1e6)
    }

    fn row(
        &mut self,
        name: &'static str,
        unit: &'static str,
        units_per_operation: f64,
        mut measured: Measured,
    ) {
        if measured.disk_bytes.is_none() {
            let on_disk = OnDisk::of(&self.setup.data()).total();
            measured.disk_bytes = Some(on_disk as i64 - self.on_disk as i64);
            self.on_disk = on_disk;
        }
        eprintln!(
            "  {} done, {} failed, {:.0}/s, p50 {:.2} ms",
            measured.operations,
            measured.failures,
            measured.operations as f64 / measured.wall.as_secs_f64(),
            measured.quantile_ms(0.5)
        );
        self.report.row(Row { name, what: catalogue::what(name), unit, units_per_operation, measured });
    }

    fn fact(&mut self, name: &'static str, what: &str, value: f64, unit: &'static str) {
        eprintln!("  {name} {value:.1} {unit}");
        self.report.fact(Fact { name, what: what.to_owned(), value, unit });
    }

    /// A limit for scenarios of many small requests.
    fn limit(&self, operations: u64) -> Limit {
        Limit { operations, time: Duration::from_secs_f64(self.options.seconds) }
    }

    async fn create_repository(&self, name: &str) -> Result<()> {
        let body =
            json!({"name": name, "storage_namespace": format!("local://{name}"), "default_branch": "main"});
        self.ask(&mut self.connection(), "POST", "/repositories", Some(&body))
            .await
            .with_context(|| format!("create repository {name}"))?;
        Ok(())
    }

    async fn ask(
        &self,
        connection: &mut Connection,
        method: &str,
        target: &str,
        body: Option<&Value>,
    ) -> Result<Answer> {
        send(connection, &self.server.site.api(method, target, body)).await
    }

    async fn put(&self, connection: &mut Connection, path: &str, body: Bytes) -> Result<()> {
        self.object_bytes.set(self.object_bytes.get() + body.len() as u64);
        let request = self.server.site.s3_with(
            "PUT",
            &format!("{REPOSITORY}/{path}"),
            &[],
            &[],
            Payload::Unsigned,
            body,
        );
        send(connection, &request).await.with_context(|| format!("PUT {path}"))?;
        Ok(())
    }

    async fn branch(&self, connection: &mut Connection, name: &str) -> Result<()> {
        let body = json!({"name": name, "source": "main"});
        self.ask(connection, "POST", &format!("/repositories/{REPOSITORY}/branches"), Some(&body)).await?;
        Ok(())
    }

    async fn commit_branch(&self, connection: &mut Connection, branch: &str) -> Result<String> {
        let body = json!({"message": "bench"});
        let target = format!("/repositories/{REPOSITORY}/branches/{branch}/commits");
        text(&self.ask(connection, "POST", &target, Some(&body)).await?.json()?, "id")
    }

    async fn head(&self, connection: &mut Connection, branch: &str) -> Result<String> {
        let target = format!("/repositories/{REPOSITORY}/branches/{branch}");
        text(&self.ask(connection, "GET", &target, None).await?.json()?, "commit_id")
    }
}

/// Sends a request that must succeed.
async fn send(connection: &mut Connection, request: &Request) -> Result<Answer> {
    connection.exchange(request).await?.success()
}

fn text(json: &Value, field: &str) -> Result<String> {
    Ok(json[field].as_str().with_context(|| format!("the answer has no {field}: {json}"))?.to_owned())
}

/// The key of object `number` of `size`, in the shape of a well-known image dataset.
fn object_key(number: u64, size: u64) -> String {
    let of_class = size.div_ceil(CLASSES);
    let class = 1_440_764 + number / of_class * 1_013;
    format!("datasets/imagenet/train/n{class:08}/n{class:08}_{}.JPEG", 10_000 + number % of_class)
}

fn small_body(number: u64) -> Bytes {
    crate::chance::Chance::new(scramble(number ^ 0x5eed)).bytes(SMALL_BYTES).into()
}

/// The median of appending 4 KiB to a file and syncing it, in milliseconds.
fn sync_ms(folder: &Path) -> Result<f64> {
    let path = folder.join("sync-probe");
    let mut file = std::fs::File::create(&path)?;
    let mut took = Vec::new();
    for _ in 0..200 {
        let started = Instant::now();
        file.write_all(&[1; 4096])?;
        file.sync_data()?;
        took.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    std::fs::remove_file(&path)?;
    took.sort_unstable_by(f64::total_cmp);
    Ok(took[took.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_distinct_and_spread_over_a_thousand_directories() {
        let keys: std::collections::BTreeSet<String> =
            (0..5_000).map(|number| object_key(number, 5_000)).collect();
        assert_eq!(keys.len(), 5_000);
        let directories: std::collections::BTreeSet<&str> =
            keys.iter().filter_map(|key| key.rsplit_once('/')).map(|(directory, _)| directory).collect();
        assert_eq!(directories.len(), 1_000);
    }

    #[test]
    fn sizes() {
        assert_eq!(count("1e6"), Ok(1_000_000));
        assert!(count("999").is_err() && count("x").is_err());
    }
}
