//! `millpond serve`: a server for service managers and containers.

use crate::config::{Config, LogRequests};
use crate::installation::Installation;
use crate::server::Stopped;
use crate::{logging, say};
use anyhow::{Context, Result};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// The server cannot start, or not close its stores.
pub async fn run(config: &Config) -> Result<ExitCode> {
    logging::start(config);
    let stop = stop_signal()?;
    let installation = Installation::open(config).await?;
    if installation.keys.created && config.admin.is_none() {
        let keys = &installation.keys;
        say(&format!(
            "\nFirst start. This is the administrator's key; it is not shown again:\n\n  \
             access key id      {id}\n  secret access key  {secret}\n\n\
             Save it for the command line with:\n\n  millpond login {url} --access-key-id {id}\n\n",
            id = keys.access_key_id,
            secret = keys.secret.expose(),
            url = installation.url(),
        ));
    }
    finish(installation, config, stop).await
}

/// Serves, and turns the way it stopped into an exit code.
pub async fn finish(
    installation: Installation,
    config: &Config,
    stop: impl Future<Output = ()>,
) -> Result<ExitCode> {
    let stopped = installation.serve(config, stop).await?;
    if stopped == Stopped::CutOff && config.log_requests != LogRequests::None {
        tracing::warn!("some requests took too long and were cut off");
    }
    Ok(match stopped {
        Stopped::Orderly => ExitCode::SUCCESS,
        Stopped::CutOff => ExitCode::FAILURE,
    })
}

/// Ready at the first SIGTERM or SIGINT. The second one ends the process at once.
pub fn stop_signal() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    Ok(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let name = next().await;
        tracing::info!(signal = name, "stopping; requests that run are finished first");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::warn!("a second signal: stopping at once");
            std::process::exit(1);
        });
    })
}
