//! `millpond completion`: scripts generated from the definition of the command.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use clap::{Args, ValueEnum};
use clap_complete::{Generator, Shell};

/// Print the completion script for a shell.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond completion bash > ~/.local/share/bash-completion/completions/millpond
  millpond completion zsh > ~/.zfunc/_millpond
  millpond completion fish > ~/.config/fish/completions/millpond.fish")]
pub struct Completion {
    /// Which shell
    #[arg(value_enum)]
    shell: CompletionShell,
}

/// The shells that are supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompletionShell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// Fish
    Fish,
}

impl Completion {
    pub fn run(self, session: &Session, whole: clap::Command) -> Result<Exit, Failure> {
        session.output.bytes(&script(self.shell, whole)?)?;
        Ok(Exit::Ok)
    }
}

fn script(shell: CompletionShell, mut whole: clap::Command) -> std::io::Result<Vec<u8>> {
    let shell = match shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
    };
    let name = whole.get_name().to_owned();
    whole.set_bin_name(name);
    whole.build();
    let mut script = Vec::new();
    shell.try_generate(&whole, &mut script)?;
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn text(shell: CompletionShell) -> String {
        String::from_utf8(script(shell, crate::command()).expect("generated")).expect("UTF-8")
    }

    #[test]
    fn every_verb_is_in_every_script() {
        for shell in [CompletionShell::Bash, CompletionShell::Zsh, CompletionShell::Fish] {
            let text = text(shell);
            for verb in crate::command().get_subcommands() {
                assert!(text.contains(verb.get_name()), "{shell:?} lacks {}", verb.get_name());
            }
        }
    }

    /// Asks the shell itself whether it can parse the script; a shell that is not installed is passed over.
    #[test]
    fn the_shells_can_parse_their_scripts() {
        for (shell, name) in
            [(CompletionShell::Bash, "bash"), (CompletionShell::Zsh, "zsh"), (CompletionShell::Fish, "fish")]
        {
            let Ok(mut child) = Command::new(name)
                .args(["-n", "/dev/stdin"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
            else {
                continue;
            };
            let mut stdin = child.stdin.take().expect("piped");
            stdin.write_all(text(shell).as_bytes()).expect("written");
            drop(stdin);
            let output = child.wait_with_output().expect("ended");
            assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
