//! How a copy goes: a bar on a terminal, a line every ten seconds elsewhere, nothing with `--quiet`.

use crate::environment::Stopwatch;
use crate::output::cell::human_size;
use crate::session::Session;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::atomic::{AtomicU64, Ordering};

const LINE_SECONDS: u64 = 10;

/// Counts and shows.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    lines: bool,
    stopwatch: Stopwatch,
    files: AtomicU64,
    bytes: AtomicU64,
    next_line_seconds: AtomicU64,
}

impl Progress {
    /// `total` is files and bytes, where they are known.
    pub fn start(session: &Session, total: Option<(u64, u64)>, stopwatch: Stopwatch) -> Self {
        let wanted = !session.output.is_quiet();
        let bar = (wanted && session.environment.stderr_is_terminal).then(|| bar(total));
        Self {
            lines: wanted && bar.is_none(),
            bar,
            stopwatch,
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            next_line_seconds: AtomicU64::new(LINE_SECONDS),
        }
    }

    /// Bytes have moved.
    pub fn bytes_done(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    /// A file is complete.
    pub fn file_done(&self, session: &Session) {
        let files = self.files.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{files} files"));
        } else if self.lines {
            let elapsed = self.stopwatch.elapsed().as_secs();
            if elapsed >= self.next_line_seconds.load(Ordering::Relaxed) {
                self.next_line_seconds.store(elapsed + LINE_SECONDS, Ordering::Relaxed);
                let bytes = human_size(self.bytes.load(Ordering::Relaxed));
                session.output.note(&format!("{files} files, {bytes} after {elapsed} s"));
            }
        }
    }

    /// Runs something that writes to the terminal.
    pub fn suspend(&self, work: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(work),
            None => work(),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: Option<(u64, u64)>) -> ProgressBar {
    let (bar, template) = match total {
        Some((_, bytes)) => (
            ProgressBar::new(bytes),
            "{wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} ETA {eta} {msg}",
        ),
        None => (ProgressBar::no_length(), "{spinner} {bytes} {binary_bytes_per_sec} {msg}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
