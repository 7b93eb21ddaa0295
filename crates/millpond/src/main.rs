//! Millpond, the one binary: configuration, listener, composition, and the verbs of the command line.
//!
//! It decides nothing about data. It reads what the machine says (arguments, environment, files, clock,
//! chance), builds the crates below from it, and gives requests to the doors.

mod config;
mod data_folder;
mod doors;
mod folder;
mod installation;
mod logging;
mod machine;
mod master_key;
mod sample;
mod serve;
mod server;
mod up;
mod upkeep;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory, Parser, Subcommand};
use config::{Config, Origin, ServerArgs, Surroundings, Values};
use millpond_cli::{ClientVerb, Environment, GlobalArgs};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// The C library's allocator costs small writes an eighth of their CPU and keeps a third more memory after a
/// load, because tree nodes are made on one thread and freed on another (`docs/performance.md`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Version control for data.
#[derive(Debug, Parser)]
#[command(
    name = "millpond",
    version,
    about,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "Start here: millpond up"
)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a server here, with keys, a profile and a sample repository made at the first start
    ///
    /// The first start makes random keys for the administrator, saves them in the client profile
    /// (--profile, or 'default' unless that is of another server), and makes the repository 'quickstart'.
    /// Later starts find all that and make nothing again. Without other orders the log holds only
    /// warnings, and requests only when they fail.
    Up(Run),
    /// Run a server
    ///
    /// Without configured keys the first start makes random ones for the administrator and prints them
    /// once, to stderr. SIGTERM or SIGINT stops the server in order.
    Serve(Run),
    /// Make a new data directory from a backup
    Restore(upkeep::Restore),
    /// Show how a server is configured
    #[command(subcommand)]
    Config(ConfigVerb),
    #[command(flatten)]
    Client(ClientVerb),
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// Print each setting, its value, and where that came from; secrets are masked
    Explain(Run),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return report(&anyhow::Error::new(error).context("start the runtime")),
    };
    let outcome = runtime.block_on(run(cli));
    // Reads of a terminal and connections that were cut off may still be pending.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| report(&error))
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let threads = millpond_types::limits::BLOCKING_THREADS_MAX;
    tokio::runtime::Builder::new_multi_thread().max_blocking_threads(threads).enable_all().build()
}

async fn run(cli: Cli) -> Result<ExitCode> {
    let around = Surroundings {
        variable: &machine::variable,
        stderr_is_terminal: std::io::stderr().is_terminal(),
        folder: machine::working_folder()?,
    };
    match cli.verb {
        Verb::Client(verb) if upkeep::is_local(&verb) => code(upkeep::run(verb, cli.global).await?),
        Verb::Restore(restore) => code(upkeep::restore(restore, cli.global).await?),
        Verb::Client(verb) => code(verb.run_as(cli.global, Cli::command()).await),
        Verb::Config(ConfigVerb::Explain(args)) => {
            let values = config::gather(&args.server, &around)?;
            let text = config::explain(&values);
            std::io::stdout().write_all(text.as_bytes()).context("write the output")?;
            // What is wrong is said after all of it was shown.
            Config::build(&values, &around)?;
            Ok(ExitCode::SUCCESS)
        }
        Verb::Serve(args) => {
            let values = config::gather(&args.server, &around)?;
            serve::run(&Config::build(&values, &around)?).await
        }
        Verb::Up(args) => {
            let mut values = config::gather(&args.server, &around)?;
            make_quiet(&mut values);
            let config = Config::build(&values, &around)?;
            up::run(&config, Environment::of_process().profile_path(), cli.global.profile.as_deref()).await
        }
    }
}

fn code(number: i32) -> Result<ExitCode> {
    Ok(ExitCode::from(u8::try_from(number).unwrap_or(1)))
}

/// `up` is for a person at a terminal, who wants to hear of trouble only.
fn make_quiet(values: &mut Values) {
    for (name, text) in [("log.level", "warn"), ("log.requests", "errors")] {
        if let Some(value) = values.get_mut(name).filter(|value| value.origin == Origin::Default) {
            value.text = text.to_owned();
        }
    }
}

/// Speaks to the person who started the program: on stderr, beside the log.
fn say(text: &str) {
    // Nobody is left to hear that nobody hears.
    drop(std::io::stderr().write_all(text.as_bytes()));
}

fn report(error: &anyhow::Error) -> ExitCode {
    say(&format!("millpond: {error:#}\n"));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_command_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_of_a_server_names_its_variable() {
        let mut command = Cli::command();
        let help = command.find_subcommand_mut("serve").expect("serve").render_long_help().to_string();
        let with_flag =
            |setting: &&config::Setting| config::FLAGS.iter().any(|(name, _)| *name == setting.name);
        for setting in config::SETTINGS.iter().filter(with_flag) {
            assert!(help.contains(setting.variable), "--help lacks {}", setting.variable);
        }
    }

    /// What `engine::tasks` relies on.
    #[test]
    fn long_work_leaves_threads() {
        use millpond_types::limits::{BLOCKING_THREADS_MAX, LONG_WORK_MAX, ORIGIN_OPENS_MAX};
        const { assert!(LONG_WORK_MAX * 2 + ORIGIN_OPENS_MAX < BLOCKING_THREADS_MAX) }
        assert!(runtime().is_ok());
    }

    #[test]
    fn up_is_quiet_unless_told_otherwise() {
        let mut values = Values::new();
        let value = |text: &str, origin| config::Value { text: text.to_owned(), origin };
        values.insert("log.level", value("info", Origin::Default));
        values.insert("log.requests", value("all", Origin::Flag("log-requests")));
        make_quiet(&mut values);
        assert_eq!((&*values["log.level"].text, &*values["log.requests"].text), ("warn", "all"));
    }
}
