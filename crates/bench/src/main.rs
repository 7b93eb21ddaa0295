//! Measures and torments a Millpond server from outside.
//!
//! `run` loads a repository with many objects and prints what each kind of request costs; `crash` kills the
//! server again and again under load and checks that nothing it acknowledged is lost. Both start `millpond
//! serve` themselves and speak only its public protocols; this crate links nothing of the server, so that a
//! figure or a failure seen here is what a client would see.
//!
//! Everything here is about the machine (wall clocks, processes, files): the whole crate is an adapter.
#![allow(clippy::disallowed_methods)]

mod crash;
mod growth;
mod load;
mod machine;
mod markdown;
mod report;
mod run;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use crash::Accident;
use millpond_bench::{chance, server, sigv4, site, wire};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures a Millpond server, or kills it and checks what is left. The server's program is taken from
/// MILLPOND_BIN, else target/release/millpond.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load a repository and print what each kind of request costs.
    Run(run::Options),
    /// Name the scenarios of `run`.
    List,
    /// Print the JSON of a run as the tables of docs/performance.md.
    Page {
        /// A file that `run` wrote.
        json: PathBuf,
    },
    /// Measure the same work at growing sizes, and draw it.
    Growth(growth::Options),
    /// Kill the server under load, restart it, check everything it had acknowledged.
    Crash(crash::Options),
    /// The same with the power of the disk cut under the server (root and loop devices; else it is skipped).
    Powercut(crash::Options),
    /// System calls that fail and a disk that fills up: no false success, no write after a failure.
    Sickdisk(crash::sick::Options),
}

fn main() -> ExitCode {
    match work(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("millpond-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work(command: Command) -> Result<ExitCode> {
    // One thread: on a machine with two cores the other one is the server's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Command::Run(options) => runtime.block_on(run::run(&options)),
        Command::Crash(options) => runtime.block_on(crash::crash(&options, Accident::Kill)),
        Command::Sickdisk(options) => runtime.block_on(crash::sick::sickdisk(&options)),
        Command::Powercut(options) => runtime.block_on(crash::crash(&options, Accident::PowerCut)),
        Command::Page { json } => {
            let report = std::fs::read(&json).with_context(|| format!("read {}", json.display()))?;
            let page = markdown::page(&serde_json::from_slice(&report)?);
            std::io::stdout().write_all(page.as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Growth(options) => runtime.block_on(growth::growth(&options)),
        Command::List => {
            std::io::stdout().write_all(run::list().as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
