//! Import of local files: entries that name bytes where they are.

use super::store::{DATABASE, DATABASE_LOG, OnDisk, PACK_INDEX, PACKS};
use super::{Bench, CLASSES, REPOSITORY, object_key, send, text};
use crate::load::{Measured, one_by_one};
use crate::server::{Server, Setup};
use crate::wire::Connection;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// Directory of all classes in `object_key`; what is below it is imported.
const PREFIX: &str = "datasets/imagenet/train/";
const FILE_BYTES: usize = 100;
/// ext4 takes 65,000 links to a file.
const LINKS_MAX: u64 = 60_000;
const POLL: Duration = Duration::from_millis(2);

impl Bench<'_> {
    /// Import into an empty repository of a second server, so that everything on its disk is the import's.
    pub(super) async fn import(&mut self, name: &'static str) -> Result<()> {
        let setup = self.setup.beside("import-server")?;
        self.make_files()?;
        let listing = list(&setup.sources)?;
        let server = Server::start(&setup, "/repositories", 200).await?;
        let body = json!({"name": REPOSITORY, "storage_namespace": format!("local://{REPOSITORY}"), "default_branch": "main"});
        send(
            &mut Connection::new(server.site.address),
            &server.site.api("POST", "/repositories", Some(&body)),
        )
        .await
        .context("create the repository")?;
        let mut measured = import(&server, &setup, self.options.size).await?;
        measured.disk_bytes = Some(OnDisk::of(&setup.data()).total() as i64);
        self.row(name, "objects", self.options.size as f64, measured);
        self.fact(
            "import-listing",
            "the listing alone: readdir and stat of the same files by one thread of the load generator",
            self.options.size as f64 / listing.as_secs_f64(),
            "files/s",
        );
        self.import_bytes(&setup);
        Ok(())
    }

    /// What the second server keeps on disk, for each object.
    fn import_bytes(&mut self, setup: &Setup) {
        let on_disk = OnDisk::of(&setup.data());
        let figures = [
            ("import-metadata-bytes", "all bytes on disk for each object after the import", on_disk.total()),
            ("import-bytes-trees", "of these, trees in packs", on_disk.part(PACKS)),
            ("import-bytes-index", "of these, the index of the packs", on_disk.part(PACK_INDEX)),
            ("import-bytes-database", "of these, the database with its free pages", on_disk.part(DATABASE)),
            ("import-bytes-log", "of these, the log in front of the database", on_disk.part(DATABASE_LOG)),
        ];
        for (name, what, bytes) in figures {
            self.fact(name, what, bytes as f64 / self.options.size as f64, "B");
        }
        self.report.note(format!("import: on disk {on_disk}"));
    }

    /// The N objects of the run by import.
    pub(super) async fn load_by_import(&mut self) -> Result<()> {
        self.make_files()?;
        self.commit_branch(&mut self.connection(), "main").await?;
        let measured = import(&self.server, &self.setup, self.options.size).await?;
        self.row("load-import", "objects", self.options.size as f64, measured);
        Ok(())
    }

    /// N tiny files under the keys of the N objects. Hard links, so that they cost names and no inodes.
    fn make_files(&self) -> Result<()> {
        let (root, size) = (&self.setup.sources, self.options.size);
        if root.join("datasets").exists() {
            return Ok(());
        }
        eprintln!("  {size} files to import ...");
        let mut file = root.join("file-0");
        for number in 0..size {
            let path = root.join(object_key(number, size));
            if number % size.div_ceil(CLASSES) == 0
                && let Some(folder) = path.parent()
            {
                std::fs::create_dir_all(folder)?;
            }
            if number % LINKS_MAX == 0 {
                file = root.join(format!("file-{}", number / LINKS_MAX));
                std::fs::write(&file, vec![b'x'; FILE_BYTES])?;
            }
            std::fs::hard_link(&file, &path).with_context(|| format!("make {}", path.display()))?;
        }
        Ok(())
    }
}

fn start_body(setup: &Setup, folder: &str) -> serde_json::Value {
    let path = format!("local://{}/{folder}", setup.sources.display());
    json!({
        "paths": [{"type": "common_prefix", "path": path, "destination": folder}],
        "commit": {"message": "import"},
    })
}

/// From the request to the commit.
async fn import(server: &Server, setup: &Setup, size: u64) -> Result<Measured> {
    let target = format!("/repositories/{REPOSITORY}/branches/main/import");
    let measured = one_by_one(
        server,
        1,
        async |_: &mut Connection, _| Ok(server.site.api("POST", &target, Some(&start_body(setup, PREFIX)))),
        async |connection, request| {
            let id = text(&send(connection, &request).await?.json()?, "id")?;
            let imported = wait(server, connection, &target, &id).await?;
            ensure!(imported == size, "{imported} objects were imported instead of {size}");
            Ok(())
        },
    )
    .await?;
    ensure!(measured.failures == 0, "{:?}", measured.first_failure);
    Ok(measured)
}

/// Waits for the end of an import; returns its number of objects.
async fn wait(server: &Server, connection: &mut Connection, target: &str, id: &str) -> Result<u64> {
    let request = server.site.api("GET", &format!("{target}?id={id}"), None);
    loop {
        let status = send(connection, &request).await?.json()?;
        if let Some(error) = status.get("error").filter(|error| !error.is_null()) {
            anyhow::bail!("the import failed: {error}");
        }
        if status["completed"].as_bool() == Some(true) {
            return Ok(status["ingested_objects"].as_u64().unwrap_or(0));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// How long one thread takes to read the directories and the facts of each file.
fn list(root: &Path) -> Result<Duration> {
    let started = Instant::now();
    let mut folders = vec![root.join(PREFIX)];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += entry.metadata()?.len();
            }
        }
    }
    ensure!(bytes > 0, "there is nothing to import");
    Ok(started.elapsed())
}
