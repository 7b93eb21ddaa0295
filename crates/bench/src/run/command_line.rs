//! The command line as people use it: a folder of small files uploaded and committed, then again after a few
//! of them changed.

use super::Bench;
use crate::chance::Chance;
use crate::load::{Measured, Meter};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const FOLDERS: u64 = 100;
/// File sizes are spread evenly between these: 249 MB in 20,000 files.
const FILE_BYTES: std::ops::Range<u64> = 1_024..23_876;
/// One file in so many is rewritten before the second upload.
const CHANGED_ONE_IN: u64 = 100;

impl Bench<'_> {
    /// Both scenarios, since the second needs the first; `name` is the one that was asked for.
    pub(super) async fn command_line(&mut self, name: &'static str) -> Result<()> {
        if self.report.has_row(name) {
            return Ok(());
        }
        let folder = self.setup.folder.join("files");
        let (mut upload, mut again) = (Measured::default(), Measured::default());
        for round in 0..self.amounts.uploads {
            let bytes = make_files(&folder, self.amounts.files, round)?;
            self.object_bytes.set(self.object_bytes.get() + bytes);
            if round == 0 {
                self.copy_locally(&folder)?;
            }
            let repository = format!("files-{round}");
            self.create_repository(&repository).await?;
            self.upload(&folder, &repository, &mut upload)?;
            self.count_objects(&repository).await?;
            self.object_bytes
                .set(self.object_bytes.get() + rewrite_some(&folder, self.amounts.files, round)?);
            self.upload(&folder, &repository, &mut again)?;
            self.count_objects(&repository).await?;
        }
        for (name, mut measured) in [("cli-upload", upload), ("cli-again", again)] {
            measured.latencies.sort_unstable();
            self.row(name, "ops", 1.0, measured);
        }
        Ok(())
    }

    /// The two commands.
    fn upload(&self, folder: &Path, repository: &str, into: &mut Measured) -> Result<()> {
        let meter = Meter::start(&self.server)?;
        let outcome = self
            .millpond(&["cp", "-r", &folder.display().to_string(), &format!("mp://{repository}/main/files/")])
            .and_then(|()| self.millpond(&["commit", &format!("{repository}/main"), "-m", "files"]));
        into.record(meter.started.elapsed(), outcome);
        meter.stop(&self.server, into)
    }

    fn millpond(&self, arguments: &[&str]) -> Result<()> {
        let output = Command::new(&self.setup.binary)
            .args(arguments)
            .env("MILLPOND_SERVER", format!("http://{}", self.server.site.address))
            .env("MILLPOND_ACCESS_KEY_ID", &self.setup.caller.id)
            .env("MILLPOND_SECRET_ACCESS_KEY", &self.setup.caller.secret)
            .env("HOME", &self.setup.folder)
            .env("XDG_CONFIG_HOME", self.setup.folder.join("config"))
            .stdin(Stdio::null())
            .output()
            .context("start the command line")?;
        ensure!(
            output.status.success(),
            "millpond {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// Every file must be in the commit.
    async fn count_objects(&self, repository: &str) -> Result<()> {
        let found = self.count(repository, "main", "files/").await?;
        ensure!(found == self.amounts.files, "{found} of {} files are in {repository}", self.amounts.files);
        Ok(())
    }

    /// The yardstick.
    fn copy_locally(&mut self, folder: &Path) -> Result<()> {
        let copy = self.setup.folder.join("files-copy");
        let started = Instant::now();
        let status = Command::new("cp").arg("-r").arg(folder).arg(&copy).status().context("start cp")?;
        let took = started.elapsed().as_secs_f64() * 1000.0;
        ensure!(status.success(), "cp failed");
        std::fs::remove_dir_all(&copy)?;
        self.fact("cli-cp-r", "`cp -r` of the same files beside them (not synced), wall time", took, "ms");
        Ok(())
    }
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{:02}/{number:06}.bin", number % FOLDERS))
}

/// Content that no other file, round or version has.
fn content(number: u64, round: u64, version: u64) -> Vec<u8> {
    let mut chance = Chance::new(crate::chance::scramble(number << 8 | round << 1 | version));
    let length = FILE_BYTES.start + chance.below(FILE_BYTES.end - FILE_BYTES.start);
    chance.bytes(length as usize)
}

fn make_files(folder: &Path, files: u64, round: u64) -> Result<u64> {
    for number in 0..FOLDERS {
        std::fs::create_dir_all(folder.join(format!("{number:02}")))?;
    }
    write_files(folder, (0..files).map(|number| (number, content(number, round, 0))))
}

fn rewrite_some(folder: &Path, files: u64, round: u64) -> Result<u64> {
    let changed = (0..files).filter(|number| number % CHANGED_ONE_IN == CHANGED_ONE_IN / 2);
    write_files(folder, changed.map(|number| (number, content(number, round, 1))))
}

fn write_files(folder: &Path, files: impl Iterator<Item = (u64, Vec<u8>)>) -> Result<u64> {
    let mut bytes = 0;
    for (number, content) in files {
        std::fs::write(path(folder, number), &content).with_context(|| format!("write file {number}"))?;
        bytes += content.len() as u64;
    }
    Ok(bytes)
}
