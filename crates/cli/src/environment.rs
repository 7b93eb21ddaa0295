//! What the process was given: environment variables, terminals, the time of day. The only module that
//! asks the machine for them; everything else gets an [`Environment`].
#![allow(clippy::disallowed_methods, reason = "this is the adapter for environment and clock")]

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A snapshot of the process's surroundings.
#[derive(Debug, Clone)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Whether someone can answer a question.
    pub stdin_is_terminal: bool,
    /// Whether someone reads the data.
    pub stdout_is_terminal: bool,
    /// Whether someone watches progress.
    pub stderr_is_terminal: bool,
    /// The time at the start.
    pub now: jiff::Timestamp,
}

impl Environment {
    /// Of this process.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            variables,
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
            now: jiff::Timestamp::now(),
        }
    }

    /// A made-up one without terminals.
    pub fn fixed(variables: &[(&str, &str)], now: jiff::Timestamp) -> Self {
        Self {
            variables: variables.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect(),
            stdin_is_terminal: false,
            stdout_is_terminal: false,
            stderr_is_terminal: false,
            now,
        }
    }

    /// A variable that is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Where profiles live: `$XDG_CONFIG_HOME/millpond/config.toml`, by default under `~/.config`.
    pub fn profile_path(&self) -> Option<PathBuf> {
        let folder = match self.variable("XDG_CONFIG_HOME") {
            Some(folder) => PathBuf::from(folder),
            None => PathBuf::from(self.variable("HOME")?).join(".config"),
        };
        Some(folder.join("millpond").join("config.toml"))
    }
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
