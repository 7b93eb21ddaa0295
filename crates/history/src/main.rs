//! `millpond-history`: runs the history checker against a server of its own.
#![allow(clippy::disallowed_methods, reason = "a program")]

use anyhow::{Context, Result};
use clap::Parser;
use millpond_bench::server::Setup;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Records what concurrent clients of a Millpond server see while it is killed, paused and robbed of replies,
/// and checks it against what Millpond promises. The server's program is taken from MILLPOND_BIN, else
/// target/release/millpond.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Operations to do.
    #[arg(long, default_value = "100000")]
    ops: u64,
    /// Operations of one episode, which has a branch of its own and is judged as a whole.
    #[arg(long, default_value = "5000")]
    episode: u64,
    /// Chooses what is done and which accidents happen; printed, random if absent.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    match work(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("millpond-history: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work(arguments: &Arguments) -> Result<ExitCode> {
    let seed = arguments.seed.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos().into())
    });
    eprintln!("seed {seed}");
    let folder = tempfile::tempdir().context("make a temporary folder")?;
    let setup = Setup::new(folder.path())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report =
        runtime.block_on(millpond_history::run::run(setup, seed, arguments.ops, arguments.episode))?;
    std::io::stdout().lock().write_all(report.text().as_bytes())?;
    if !report.is_clean() {
        eprintln!("the server's data and log are kept in {}", folder.keep().display());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
