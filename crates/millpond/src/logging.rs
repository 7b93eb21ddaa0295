//! The log: one line per event on stderr, for people or for machines.

use crate::config::{Config, LogFormat};
use std::io::IsTerminal;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// Starts logging. A second start in one process changes nothing.
pub fn start(config: &Config) {
    let layer = match config.log_format {
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(std::io::stderr)
            .boxed(),
        LogFormat::Text => {
            fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).boxed()
        }
    };
    // Only a log that was started before makes this fail, and that one goes on.
    drop(tracing_subscriber::registry().with(layer.with_filter(config.log_targets.clone())).try_init());
}
