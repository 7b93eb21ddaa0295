//! Verbs from the command line to the wire and back, against a small server in memory.
//!
//! `server` is no model of Millpond: it stores objects of one branch and answers the rest with fixed
//! texts. What the real server makes of the same commands is tested with the binary.

mod copy;
mod reference;
mod server;
mod verbs;

use clap::Parser;
use millpond_cli::output::{Captured, Format, Output};
use millpond_cli::{ClientVerb, Environment, Exit, GlobalArgs, Session};

/// The way in which the binary takes the verbs in.
#[derive(Parser)]
#[command(name = "millpond")]
struct Whole {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Stands for the binary's own verbs
    Serve,
    #[command(flatten)]
    Client(ClientVerb),
}

/// What a run left behind.
struct Ran {
    exit: Exit,
    stdout: Captured,
    stderr: Captured,
}

/// 2026-11-24T12:00:00Z
const NOW: i64 = 1_795_521_600;

/// Runs a command line without a terminal. Tests say `-o` when they want something other than TSV.
async fn run(variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
    let whole = Whole::try_parse_from(std::iter::once(&"millpond").chain(arguments)).expect("a command line");
    let Verb::Client(verb) = whole.verb else { panic!("not a client verb") };
    let now = jiff::Timestamp::from_second(NOW).expect("valid");
    let format = whole.global.output.unwrap_or(Format::Tsv);
    let (output, stdout, stderr) = Output::captured(format, now);
    let output = output.with_quiet(whole.global.quiet);
    let session = Session::new(whole.global, Environment::fixed(variables, now), output);
    let exit = verb.run_in(&session, millpond_cli::command()).await;
    Ran { exit, stdout, stderr }
}
