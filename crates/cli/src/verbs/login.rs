//! `millpond login`: the keys are checked before they are saved.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Cell;
use crate::profile::{self, Profile};
use crate::session::{Session, connect};
use crate::settings::{self, Resolved};
use crate::terminal;
use clap::Args;
use millpond_client::{Credentials, normalize_server};
use serde::Serialize;

/// Save a server and its keys, after checking them.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond login http://127.0.0.1:8000
  echo \"$SECRET\" | millpond login https://data.example.org --access-key-id AKIA... --secret-stdin
  millpond login https://data.example.org --profile work --ca-cert ca.pem")]
pub struct Login {
    /// Address of the server; asked for when missing
    url: Option<String>,
    /// Read the secret from stdin
    #[arg(long)]
    secret_stdin: bool,
}

#[derive(Serialize)]
struct SignedIn<'a> {
    server: &'a str,
    user: &'a str,
    access_key_id: &'a str,
    profile: &'a str,
    file: String,
}

impl Login {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        if self.secret_stdin && session.global.secret_access_key.is_some() {
            return Err(Failure::usage(
                "the secret is given twice: by --secret-access-key and --secret-stdin",
            ));
        }
        let given = settings::given(&session.global, &session.environment);
        let path = session.environment.profile_path().ok_or_else(|| {
            Failure::usage("there is no place for the profile: neither HOME nor XDG_CONFIG_HOME is set")
        })?;
        let server = match self.url.clone().or(given.server) {
            Some(server) => server,
            None => answer(session, "Server: ", "the address of the server", "millpond login URL").await?,
        };
        let server = normalize_server(&server)?;
        let access_key_id = match given.access_key_id {
            Some(id) => id,
            None => answer(session, "Access key id: ", "the access key id", "add --access-key-id").await?,
        };
        let secret_access_key = if self.secret_stdin {
            terminal::read_line().await?
        } else {
            match given.secret_access_key {
                Some(secret) => secret,
                None if session.may_ask() => {
                    terminal::ask_secret("Secret access key (not shown): ".to_owned()).await?
                }
                None => {
                    return Err(Failure::usage("the secret is missing").hint("add --secret-stdin"));
                }
            }
        };
        let ca_cert = match given.ca_cert {
            Some(file) => Some(absolute(&file)?),
            None => None,
        };
        let credentials = Credentials {
            access_key_id: access_key_id.trim().to_owned(),
            secret_access_key: secret_access_key.trim().to_owned(),
        };
        let client = connect(Resolved {
            server: server.clone(),
            credentials: Some(credentials.clone()),
            ca_cert: ca_cert.clone(),
        })?;
        let user = client.current_user().await.map_err(|error| match error.kind() {
            millpond_client::Kind::Denied => {
                Failure::from(error).hint("check the key and its secret; nothing was saved")
            }
            _ => error.into(),
        })?;
        if user.id.is_empty() {
            return Err(Failure::new(
                Exit::Denied,
                format!("sign in to {server}: the server does not know the key"),
            )
            .hint("check the key and its secret; nothing was saved"));
        }
        let name = session.profile_name();
        let saved = Profile {
            server: server.clone(),
            access_key_id: credentials.access_key_id.clone(),
            secret_access_key: credentials.secret_access_key,
            ca_cert,
        };
        profile::save(&path, name, &saved)
            .map_err(|e| Failure::local(&format!("save the profile in {}", path.display()), &e))?;
        let file = path.display().to_string();
        let fields = [
            ("server", Cell::text(&server)),
            ("user", Cell::text(&user.id)),
            ("access key id", Cell::text(&credentials.access_key_id)),
            ("profile", Cell::text(name)),
            ("file", Cell::text(&file)),
        ];
        let item = SignedIn {
            server: &server,
            user: &user.id,
            access_key_id: &credentials.access_key_id,
            profile: name,
            file: file.clone(),
        };
        session.output.record(&item, &fields)?;
        session.output.note("next: millpond repo list");
        Ok(Exit::Ok)
    }
}

async fn answer(session: &Session, question: &str, what: &str, hint: &str) -> Result<String, Failure> {
    if !session.may_ask() {
        return Err(Failure::usage(format!("{what} is missing")).hint(hint));
    }
    terminal::ask(question.to_owned()).await
}

/// The profile is used from any folder.
fn absolute(file: &str) -> Result<String, Failure> {
    std::path::absolute(file)
        .map(|path| path.display().to_string())
        .map_err(|e| Failure::local(&format!("find {file}"), &e))
}
