//! `millpond auth password`: what somebody signs in with who has no key at hand.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::terminal;
use clap::Args;

/// Set a password; sessions of the user end.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond auth password
  echo \"$PASSWORD\" | millpond auth password ann --password-stdin

A password signs in at POST /auth/login of the API, with the user's name as access key id. For
everything else there are keys and, for browsers, 'millpond auth login-link'.")]
pub struct Password {
    /// Whose [default: your own]
    #[arg(value_name = "USER")]
    user: Option<String>,
    /// Read the password from stdin
    #[arg(long)]
    password_stdin: bool,
}

impl Password {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let password = if self.password_stdin {
            terminal::read_line().await?
        } else if session.may_ask() {
            let first = terminal::ask_secret("New password (not shown): ".to_owned()).await?;
            let again = terminal::ask_secret("The same again: ".to_owned()).await?;
            if first != again {
                return Err(Failure::usage("the two are not the same; nothing was changed"));
            }
            first
        } else {
            return Err(Failure::usage("the password is missing").hint("add --password-stdin"));
        };
        client.set_password(self.user.as_deref(), &password).await?;
        session.output.note("set; earlier sessions of the user have ended");
        Ok(Exit::Ok)
    }
}
