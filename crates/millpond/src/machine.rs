//! The machine: its clock, its chance, its environment, and what this process costs it. The ports of the
//! crates below end here.
#![allow(clippy::disallowed_methods, reason = "this is the adapter for clock, chance, environment and files")]

use anyhow::Context;
use millpond_types::{Clock, Random, Timestamp};
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The wall clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let now = SystemTime::now();
        let millis = match now.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
        };
        Timestamp(millis)
    }
}

/// The operating system's random numbers.
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&self, buffer: &mut [u8]) {
        // Without chance there are no keys, and nothing else to do than to stop.
        getrandom::fill(buffer).expect("the operating system gives random numbers");
    }
}

/// A moment to measure from; not a time of day.
pub fn moment() -> Instant {
    Instant::now()
}

/// A variable of the environment that is set and not empty. One that is not UTF-8 counts as not set.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What to type to run this program again: the path it was started by, or its bare name if it was found in
/// `PATH` or the path would need quotes.
pub fn program() -> String {
    let plain = |text: &String| {
        text.contains('/') && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c))
    };
    std::env::args().next().filter(plain).unwrap_or_else(|| "millpond".to_owned())
}

/// Where relative paths begin.
///
/// # Errors
/// The directory is gone.
pub fn working_folder() -> anyhow::Result<PathBuf> {
    std::env::current_dir().context("find the working directory")
}

/// `$XDG_CONFIG_HOME/millpond`, by default `~/.config/millpond`.
pub fn config_folder(variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    home_folder(variable, "XDG_CONFIG_HOME", ".config")
}

/// `$XDG_DATA_HOME/millpond`, by default `~/.local/share/millpond`.
pub fn data_folder(variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    home_folder(variable, "XDG_DATA_HOME", ".local/share")
}

fn home_folder(variable: &dyn Fn(&str) -> Option<String>, name: &str, below_home: &str) -> Option<PathBuf> {
    let base = match variable(name) {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(variable("HOME")?).join(below_home),
    };
    Some(base.join("millpond"))
}

/// What the process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time of all threads, user and system.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// Threads.
    pub threads: u64,
}

/// Reads `/proc/self`; zeros where that does not exist.
pub fn usage() -> Usage {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let (cpu_ticks, threads) = parse_stat(&read("stat")).unwrap_or_default();
    let pages = read("statm").split(' ').nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
    Usage {
        cpu_seconds: cpu_ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
        resident_bytes: pages * rustix::param::page_size() as u64,
        open_files: std::fs::read_dir("/proc/self/fd").map_or(0, |folder| folder.count() as u64),
        threads,
    }
}

/// CPU ticks and threads in `/proc/self/stat` (proc(5): fields 14, 15 and 20). The second field is the
/// program's name, which may hold blanks and parentheses.
fn parse_stat(text: &str) -> Option<(u64, u64)> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some((field(14)? + field(15)?, field(20)?))
}

/// Raises the number of files this process may open to what the system allows: one connection is one file,
/// and the usual soft limit of 1024 is for programs that use select(2).
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && let Err(error) =
            setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_follow_the_xdg_rules() {
        let home = |name: &str| (name == "HOME").then(|| "/home/a".to_owned());
        assert_eq!(config_folder(&home), Some("/home/a/.config/millpond".into()));
        assert_eq!(data_folder(&home), Some("/home/a/.local/share/millpond".into()));
        let xdg = |name: &str| (name == "XDG_DATA_HOME").then(|| "/data".to_owned());
        assert_eq!(data_folder(&xdg), Some("/data/millpond".into()));
        assert_eq!(config_folder(&xdg), None);
    }

    #[test]
    fn cpu_time_is_read_behind_any_program_name() {
        let text = "7 (mill) pond) S 1 2 3 4 5 6 7 8 9 10 150 25 13 14 15 16 9 0 0";
        assert_eq!(parse_stat(text), Some((175, 9)));
        assert_eq!(parse_stat("7 (x"), None);
    }

    #[test]
    fn this_process_costs_something() {
        let usage = usage();
        assert!(usage.resident_bytes > 100_000 && usage.threads >= 1 && usage.open_files >= 3, "{usage:?}");
    }

    #[test]
    fn chance_differs() {
        let (mut one, mut two) = ([0; 16], [0; 16]);
        OsRandom.fill(&mut one);
        OsRandom.fill(&mut two);
        assert_ne!(one, two);
    }
}
