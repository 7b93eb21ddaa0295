//! Work on directories instead of on a server: `fsck --data`, `backup`, `restore`.
//!
//! A backup is a directory with the two stores that a data directory has, so all of this is opening stores and
//! handing them to the engine. What it finds is shown by the command line's own code, as a server's answer is.
#![allow(clippy::disallowed_methods, reason = "part of the adapters for the data directory and backups")]

use crate::data_folder::{DataFolder, Restored, restored};
use crate::folder;
use crate::machine::{OsRandom, SystemClock};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use millpond_blob::LocalBlobs;
use millpond_cli::upkeep::{Backup, BackupVerb, BackupVerify, Follow, Fsck};
use millpond_cli::{Environment, Exit, GlobalArgs, Session};
use millpond_engine::{Error, FsckRequest, Kind, Options, Stores, Watch};
use millpond_http::upkeep as as_json;
use millpond_kv::LocalKv;
use millpond_origin::{LocalFolders, Origin};
use millpond_service::{BackupPlaces, Clock, RepositoryName};
use serde_json::{Value, json};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at the progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// Where a backup keeps its catalogue and metadata.
const CATALOGUE: &str = "catalogue.redb";

/// Make a new data directory from a backup.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:
  millpond restore /mnt/backup/millpond /var/lib/millpond
  millpond serve --data /var/lib/millpond

Every byte is checked on the way, and the result by fsck. What is damaged in the backup is named and left
out, everything else is restored, and the exit code is 1. A server then opens the directory only once you
have said so, with the same command and --accept-damaged. The master key is not in a backup: put the file
of the old server where --master-key-file says.")]
pub struct Restore {
    /// Where the backup is
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// The new data directory; it must be empty or not there yet
    #[arg(value_name = "DIRECTORY")]
    data: PathBuf,
    /// Let a server open the directory although something in the backup is damaged; of one that was
    /// restored with damage already, only say so
    #[arg(long)]
    accept_damaged: bool,
}

/// Whether the verb is ours: it names a directory to work on.
pub fn is_local(verb: &millpond_cli::ClientVerb) -> bool {
    match verb {
        millpond_cli::ClientVerb::Fsck(fsck) => fsck.data.is_some(),
        millpond_cli::ClientVerb::Backup(backup) => backup.data.is_some() || backup.other.is_some(),
        _ => false,
    }
}

/// Runs one of those verbs. The exit code.
pub async fn run(verb: millpond_cli::ClientVerb, mut global: GlobalArgs) -> Result<i32> {
    if let millpond_cli::ClientVerb::Fsck(fsck) = &verb {
        fsck.adjust(&mut global);
    }
    let session = session(global);
    match verb {
        millpond_cli::ClientVerb::Fsck(fsck) => check(&session, fsck).await,
        millpond_cli::ClientVerb::Backup(Backup { other: Some(BackupVerb::Verify(verify)), .. }) => {
            prove(&session, verify).await
        }
        millpond_cli::ClientVerb::Backup(Backup { directory: Some(to), data: Some(data), .. }) => {
            copy(&session, &data, &to).await
        }
        _ => bail!("this verb works on a server"),
    }
}

fn session(global: GlobalArgs) -> Session {
    let environment = Environment::of_process();
    let output = millpond_cli::output::Output::of_process(
        global.output,
        global.color.unwrap_or_default(),
        global.full_ids,
        global.quiet,
        &environment,
    );
    Session::new(global, environment, output)
}

/// Shows work until it ends.
async fn follow(
    session: &Session,
    watch: Arc<Watch>,
    work: impl Future<Output = millpond_engine::Result<Value>>,
) -> Result<i32> {
    let mut follow = Follow::new(session);
    let mut work = std::pin::pin!(work);
    loop {
        let ended = tokio::time::timeout(PROGRESS_EVERY, &mut work).await.ok();
        let mut lines: Vec<Value> = as_json::found(&watch).collect();
        let is_over = ended.is_some();
        lines.push(match ended {
            None => json!({"progress": as_json::progress(&watch.progress())}),
            Some(Ok(report)) => json!({"report": report}),
            Some(Err(error)) => json!({"error": error.message}),
        });
        for line in &lines {
            if let Err(failure) = follow.line(line) {
                session.output.failure(&failure);
                return Ok(failure.exit.code());
            }
        }
        if is_over {
            break;
        }
    }
    let exit = follow.finish().and_then(|exit| session.output.flush().map(|()| exit));
    Ok(match exit {
        Ok(exit) => exit.code(),
        Err(failure) => {
            session.output.failure(&failure);
            failure.exit.code()
        }
    })
}

/// `fsck --data`
async fn check(session: &Session, fsck: Fsck) -> Result<i32> {
    let data = fsck.data.context("a data directory")?;
    let held = DataFolder::take_to_look(&data)?;
    let repository = fsck.repository.as_deref().map(RepositoryName::parse).transpose();
    let repository = repository.context("--repository")?;
    let (kv, pages) = LocalKv::open_untouched(held.metadata_file())?;
    let stores = Stores { kv: Arc::new(kv), blobs: LocalBlobs::open(held.blobs_folder())? };
    // Whoever may read the directory may look anywhere, and only looks.
    let origin: Arc<dyn Origin> = Arc::new(LocalFolders::new(vec!["/".into()], vec![], 1));
    let request = FsckRequest { repository, quick: fsck.quick, parallel: threads(), origin: Some(origin) };
    let watch = Watch::new();
    if let Some(what) = pages {
        watch.report(&format!("file {}", held.metadata_file().display()), &what);
    }
    let work = async {
        let tasks = Options::default().tasks;
        let report = millpond_engine::fsck(stores.kv, stores.blobs, tasks, request, watch.clone()).await?;
        Ok(as_json::fsck_report(&report))
    };
    follow(session, watch.clone(), work).await
}

/// `backup verify`
async fn prove(session: &Session, verify: BackupVerify) -> Result<i32> {
    let folder = BackupFolder::existing(&verify.directory)?;
    let stores = folder.stores()?;
    let watch = Watch::new();
    let work = async {
        let request = FsckRequest { quick: verify.quick, parallel: threads(), ..FsckRequest::default() };
        let tasks = Options::default().tasks;
        let (backup, checked) =
            millpond_engine::verify_backup(&stores, tasks, request, watch.clone()).await?;
        let mut report = as_json::fsck_report(&checked);
        report["backup"] = as_json::backup_report(&backup);
        Ok(report)
    };
    follow(session, watch.clone(), work).await
}

/// `backup --data`
async fn copy(session: &Session, data: &Path, to: &Path) -> Result<i32> {
    let held = DataFolder::take_existing(data)?;
    ensure!(!folder::is_inside(to, data)?, "a backup inside the data directory would be lost with it");
    let from = Stores {
        kv: Arc::new(LocalKv::open(held.metadata_file())?),
        blobs: LocalBlobs::open(held.blobs_folder())?,
    };
    let to = BackupFolder::new(to)?.stores()?;
    let watch = Watch::new();
    let work = async {
        let report = millpond_engine::backup(&from, &to, &OsRandom, SystemClock.now(), &watch).await?;
        Ok(as_json::backup_report(&report))
    };
    follow(session, watch.clone(), work).await
}

/// `restore`
pub async fn restore(restore: Restore, global: GlobalArgs) -> Result<i32> {
    let session = session(global);
    let data = &restore.data;
    if restore.accept_damaged && restored(data)? == Some(Restored::Damaged) {
        DataFolder::take_to_look(data)?.end_restore(None)?;
        session.output.note("a server can open it now; what is damaged in it stays unreadable");
        return Ok(Exit::Ok.code());
    }
    let backup = BackupFolder::existing(&restore.backup)?;
    ensure!(
        !folder::is_inside(data, &restore.backup)?,
        "a data directory inside the backup would be lost with it"
    );
    let backup = backup.stores()?;
    if data.exists() {
        let mut inside = std::fs::read_dir(data).with_context(|| format!("look into {}", data.display()))?;
        ensure!(
            inside.next().is_none(),
            "{} is not empty; restore into a new directory and then start the server with --data",
            data.display()
        );
    }
    let held = DataFolder::begin_restore(data)?;
    let target = Stores {
        kv: Arc::new(LocalKv::open(held.metadata_file())?),
        blobs: LocalBlobs::open(held.blobs_folder())?,
    };
    let watch = Watch::new();
    let work = async {
        let copied = millpond_engine::restore(&backup, &target, &watch).await?;
        let request = FsckRequest { parallel: threads(), ..FsckRequest::default() };
        let tasks = Options::default().tasks;
        let (kv, blobs) = (target.kv.clone(), target.blobs.clone());
        // With the same watch, so that its count of defects is that of both.
        let checked = millpond_engine::fsck(kv, blobs, tasks, request, watch.clone()).await?;
        held.end_restore(match checked.defects > 0 && !restore.accept_damaged {
            true => Some(Restored::Damaged),
            false => None,
        })
        .map_err(|error| Error::new(Kind::Internal, format!("note that the restore is done: {error}")))?;
        let mut report = as_json::fsck_report(&checked);
        report["restored"] = as_json::backup_report(&copied);
        Ok(report)
    };
    let code = follow(&session, watch.clone(), work).await?;
    let serve =
        format!("start it with 'millpond serve --data {}' and the old server's master key", data.display());
    match restored(data)? {
        None if code == Exit::Ok.code() => session.output.note(&format!("restored; {serve}")),
        None => session.output.note(&format!("restored but for what is damaged, as accepted; {serve}")),
        Some(Restored::Damaged) => session.output.note(&format!(
            "everything that could be read was restored. To go on without the rest: millpond restore \
             --accept-damaged {} {}",
            restore.backup.display(),
            data.display()
        )),
        Some(Restored::Unfinished) => {}
    }
    Ok(code)
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

/// A directory with a backup.
struct BackupFolder(PathBuf);

impl BackupFolder {
    fn existing(path: &Path) -> Result<Self> {
        ensure!(path.join(CATALOGUE).is_file(), "{} holds no backup", path.display());
        Ok(Self(path.to_owned()))
    }

    /// One that is there, or a new or empty directory.
    fn new(path: &Path) -> Result<Self> {
        if !path.join(CATALOGUE).is_file() && path.exists() {
            let mut inside =
                std::fs::read_dir(path).with_context(|| format!("look into {}", path.display()))?;
            ensure!(
                inside.next().is_none(),
                "{} is not empty and holds no backup; name a new directory",
                path.display()
            );
        }
        folder::make_private(path).with_context(|| format!("make the directory {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }

    fn stores(&self) -> Result<Stores> {
        Ok(Stores {
            kv: Arc::new(LocalKv::open(self.0.join(CATALOGUE))?),
            blobs: LocalBlobs::open(self.0.join("blobs"))?,
        })
    }
}

/// The directories in which this server makes backups.
pub struct Places {
    /// From the configuration.
    pub allowed: Vec<PathBuf>,
    /// Never in here.
    pub data: PathBuf,
}

impl BackupPlaces for Places {
    fn open(&self, directory: &str) -> millpond_engine::Result<Stores> {
        let path = Path::new(directory);
        let plain = path.is_absolute() && path.components().all(|part| !matches!(part, Component::ParentDir));
        if !plain {
            return Err(Error::new(
                Kind::Invalid,
                "a backup's directory is an absolute path on the server's machine",
            ));
        }
        let is_in = |folder: &Path| folder::is_inside(path, folder).unwrap_or(false);
        // What cannot be judged is refused.
        let in_data = folder::is_inside(path, &self.data).unwrap_or(true);
        if in_data || !self.allowed.iter().any(|allowed| is_in(allowed)) {
            return Err(Error::new(
                Kind::Denied,
                "this server makes backups only below the directories that its setting 'backup' names \
                 (--backup-directory, MILLPOND_BACKUP)",
            ));
        }
        // What stands in the way is the caller's to know: another directory, or another disk.
        let open = || BackupFolder::new(path)?.stores();
        open().map_err(|error| Error::new(Kind::Invalid, format!("cannot open the backup: {error:#}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_go_where_they_may() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("real");
        let (allowed, data) = (root.join("backups"), root.join("backups/data"));
        std::fs::create_dir_all(&data).expect("made");
        std::fs::create_dir_all(root.join("else")).expect("made");
        std::os::unix::fs::symlink(root.join("else"), allowed.join("link")).expect("linked");
        let places = Places { allowed: vec![allowed.clone()], data: data.clone() };
        let open = |path: PathBuf| places.open(path.to_str().expect("UTF-8")).map(drop);
        let kind = |path: PathBuf| open(path).expect_err("refused").kind;
        open(allowed.join("one")).expect("allowed");
        assert_eq!(kind(root.join("else/one")), Kind::Denied);
        assert_eq!(kind(root.join("backups-not/one")), Kind::Denied);
        assert_eq!(kind(allowed.join("link/one")), Kind::Denied, "a link leads out");
        assert_eq!(kind(allowed.join("../else/one")), Kind::Invalid);
        assert_eq!(kind("relative".into()), Kind::Invalid);
        assert_eq!(kind(data.join("inside")), Kind::Denied, "inside the data");
        assert_eq!(kind(allowed.clone()), Kind::Invalid, "not empty and no backup");
        assert_eq!(
            Places { allowed: vec![], data }.open("/tmp/x").map(drop).expect_err("no").kind,
            Kind::Denied
        );
    }
}
