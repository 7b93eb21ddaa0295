//! A disk whose power can be cut: an ext4 file system in a file, mounted over a loop device.
//!
//! The cut is ext4's shutdown request: from then on every write and fsync fails, and
//! what was not on the "disk" by then never gets there. Whatever the server had not synced is gone after the next
//! mount, names of new files and renames included. What it does not test: a disk whose own cache lies (blocks that
//! ext4 handed to the device survive, synced or not), and writes torn inside a sector.

use anyhow::{Context, Result, ensure};
use rustix::ioctl::{Opcode, Setter, opcode};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `EXT4_IOC_SHUTDOWN` of the kernel's `include/uapi/linux/ext4.h`.
const SHUTDOWN: Opcode = opcode::read::<u32>(b'X', 125);
/// `EXT4_GOING_FLAGS_LOGFLUSH`: what the journal holds in memory reaches the disk.
const LOG_FLUSH: u32 = 1;
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: it is lost, too.
const NO_LOG_FLUSH: u32 = 2;

/// A mounted file system. Dropping it unmounts.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mounted_at: PathBuf,
}

impl Disk {
    /// Why there can be none here, or `None` if there can.
    pub fn unavailable(folder: &Path) -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("it needs root, to mount a file system".into());
        }
        match Self::create(&folder.join("probe.img"), &folder.join("probe"), 16 << 20) {
            Err(error) => Some(format!("no ext4 image can be mounted here: {error:#}")),
            Ok(disk) => disk.cut(false).err().map(|error| format!("no power can be cut here: {error:#}")),
        }
    }

    /// Makes a sparse image of that many bytes with an empty file system, and mounts it on a new directory.
    pub fn create(image: &Path, mounted_at: &Path, bytes: u64) -> Result<Self> {
        File::create(image)?.set_len(bytes).context("make an image")?;
        std::fs::create_dir_all(mounted_at)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(image))?;
        let disk = Self { image: image.to_owned(), mounted_at: mounted_at.to_owned() };
        disk.mount()?;
        Ok(disk)
    }

    /// Cuts the power. Nothing that is not durable now will be, except, with `flush`, what ext4's journal holds: names
    /// and lengths of files, perhaps without the bytes that were written in place.
    #[allow(unsafe_code, reason = "an ioctl that rustix has no function for")]
    pub fn cut(&self, flush: bool) -> Result<()> {
        let flags = if flush { LOG_FLUSH } else { NO_LOG_FLUSH };
        let root = File::open(&self.mounted_at)?;
        // SAFETY: the request reads one `u32` from the pointer that `Setter` passes, and writes nothing.
        unsafe { rustix::ioctl::ioctl(&root, Setter::<SHUTDOWN, u32>::new(flags)) }
            .context("shut the file system down")
    }

    /// Unmounts and mounts again, as the next boot would: the journal is replayed.
    pub fn reboot(&self) -> Result<()> {
        run(Command::new("umount").arg(&self.mounted_at))?;
        self.mount()
    }

    fn mount(&self) -> Result<()> {
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).args([&self.image, &self.mounted_at]))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, because a server may still run after a failure; there is nobody to tell about another one.
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.mounted_at));
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
