//! What the figures were taken on: without it they mean nothing to the next reader.

use serde_json::{Value, json};
use std::path::Path;

/// The machine, as the header of a report shows it.
#[derive(Clone, Debug)]
pub struct Machine {
    processor: String,
    cores: usize,
    memory_bytes: u64,
    kernel: String,
    file_system: String,
    load_average: String,
    commit: String,
}

impl Machine {
    /// This machine; `folder` is where the server keeps its data.
    pub fn describe(folder: &Path) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo");
        let processor = cpu
            .lines()
            .find(|line| line.starts_with("model name"))
            .and_then(|line| line.split_once(':'))
            .map_or("unknown", |(_, name)| name.trim())
            .to_owned();
        let memory_bytes = read("/proc/meminfo")
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))
            .and_then(|text| text.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
            .unwrap_or(0)
            * 1024;
        let uname = rustix::system::uname();
        Self {
            processor,
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes,
            kernel: uname.release().to_string_lossy().into_owned(),
            file_system: file_system(&read("/proc/mounts"), folder),
            load_average: read("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" "),
            commit: commit().unwrap_or_else(|| "unknown".to_owned()),
        }
    }

    /// One line.
    pub fn line(&self) -> String {
        format!(
            "{}, {} cores, {:.1} GB, Linux {}, {}; load average at the start {}; commit {}",
            self.processor,
            self.cores,
            self.memory_bytes as f64 / 1e9,
            self.kernel,
            self.file_system,
            self.load_average,
            self.commit
        )
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        json!({
            "processor": self.processor, "cores": self.cores, "memory_bytes": self.memory_bytes,
            "kernel": self.kernel, "file_system": self.file_system, "load_average": self.load_average,
            "commit": self.commit,
        })
    }
}

/// The commit of the working tree that the load generator was started in, and whether it was changed since.
fn commit() -> Option<String> {
    let output = std::process::Command::new("git")
        .args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Type and device of the mount that holds the folder: the longest mount point that is a prefix of it.
fn file_system(mounts: &str, folder: &Path) -> String {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            Some((fields.next()?, fields.next()?, fields.next()?))
        })
        .filter(|(_, point, _)| folder.starts_with(point))
        .max_by_key(|(_, point, _)| point.len())
        .map_or_else(|| "unknown file system".to_owned(), |(device, _, kind)| format!("{kind} on {device}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\ntmpfs /tm tmpfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/tmp/x")), "tmpfs on tmpfs");
        assert_eq!(file_system(mounts, Path::new("/tmpx")), "ext4 on /dev/vda");
    }
}
