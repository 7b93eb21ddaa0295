//! The command line of Millpond: everything that is typed at a server that runs somewhere.
//!
//! One verb is one file in [`verbs`]. The binary `millpond` flattens [`ClientVerb`] and [`GlobalArgs`] into
//! its own command and adds the verbs that run a server; [`main`] is the same command without those.
//!
//! This crate speaks to servers only through `millpond-client` and knows nothing of engines, stores or
//! wire formats. Environment, clock, files and terminal are each touched in one module (`environment`,
//! `profile` and `local`, `terminal`, `output`).

mod environment;
mod exit;
mod failure;
mod local;
pub mod output;
mod paging;
pub mod profile;
mod session;
mod settings;
mod terminal;
mod uri;
mod verbs;

pub use environment::Environment;
pub use exit::Exit;
pub use failure::Failure;
pub use session::Session;
pub use verbs::{ClientVerb, upkeep};

use clap::{Args, CommandFactory, Parser};
use output::{Color, Format, Output};
use std::ffi::OsString;
use std::process::ExitCode;

/// Flags that every verb has.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Address of the server [env: MILLPOND_SERVER, LAKECTL_SERVER_ENDPOINT_URL]
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// Access key id [env: MILLPOND_ACCESS_KEY_ID]
    #[arg(long, global = true, value_name = "ID")]
    pub access_key_id: Option<String>,
    /// Secret of the key; other users of this machine can see flags, so prefer the environment or a
    /// profile [env: MILLPOND_SECRET_ACCESS_KEY]
    #[arg(long, global = true, value_name = "SECRET")]
    pub secret_access_key: Option<String>,
    /// Trust only these certificates (PEM) for https [env: MILLPOND_CA_CERT]
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_cert: Option<String>,
    /// Saved server and keys to use [env: MILLPOND_PROFILE] [default: default]
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// How to write data [default: table on a terminal, else tsv]
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// When to colour
    #[arg(long, global = true, value_enum, value_name = "WHEN")]
    pub color: Option<Color>,
    /// Show whole commit ids in tables
    #[arg(long, global = true)]
    pub full_ids: bool,
    /// No messages and no progress, only data and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Answer every question with yes
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Never ask; fail where a question would be needed
    #[arg(long, global = true)]
    pub no_input: bool,
}

/// Version control for data.
#[derive(Debug, Parser)]
#[command(name = "millpond", version, about, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    verb: ClientVerb,
}

/// The command with the client verbs only.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the arguments (the first is the program's name), runs the verb and waits for its end.
pub fn main(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to tell if even the usage cannot be printed.
            drop(error.print());
            return exit_code(error.exit_code());
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let environment = Environment::of_process();
            let output = Output::of_process(None, Color::Auto, false, false, &environment);
            output.failure(&Failure::local("start", &error));
            return exit_code(Exit::Failed.code());
        }
    };
    let code = runtime.block_on(cli.verb.run(cli.global));
    // A question or a read of stdin may still be waiting for input.
    runtime.shutdown_background();
    exit_code(code)
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::error::ErrorKind;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_verb_and_flag_has_help() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} has no help");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path} {} has no help", argument.get_id());
            }
            command.get_subcommands().for_each(|c| check(c, &path));
        }
        check(&command(), "");
    }

    #[test]
    fn global_flags_go_before_or_after_the_verb() {
        for line in ["millpond -o json --server x ls demo/main", "millpond ls demo/main -o json --server x"] {
            let cli = parse(line).expect(line);
            assert_eq!(cli.global.output, Some(Format::Json), "{line}");
            assert_eq!(cli.global.server.as_deref(), Some("x"), "{line}");
        }
    }

    #[test]
    fn mistakes_are_usage_errors_with_advice() {
        for (line, part) in [
            ("millpond comit demo/main -m x", "commit"),
            ("millpond ls s3://demo/main", "not a Millpond address"),
            ("millpond commit demo/main/a -m x", "only a ref is wanted"),
            ("millpond reset demo/main", "--all"),
            ("millpond merge demo/dev demo/main --strategy mine", "source-wins"),
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), Exit::Usage.code(), "{line}");
            let text = error.to_string();
            assert!(text.contains(part), "{line}: {text}");
        }
    }

    #[test]
    fn help_and_version_are_no_errors() {
        assert_eq!(parse("millpond --version").expect_err("display").exit_code(), 0);
        let help = parse("millpond cp --help").expect_err("display");
        assert_eq!((help.kind(), help.exit_code()), (ErrorKind::DisplayHelp, 0));
    }
}
