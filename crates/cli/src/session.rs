//! What every verb is given: the connection, the output, the surroundings, and leave to ask questions.

use crate::GlobalArgs;
use crate::environment::Environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::{profile, settings, terminal};
use futures::future::BoxFuture;
use millpond_client::{Client, Settings};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// One run of one verb.
pub struct Session {
    /// Flags that every verb has.
    pub global: GlobalArgs,
    /// Variables, terminals, time.
    pub environment: Environment,
    /// Where data and messages go.
    pub output: Output,
    client: OnceLock<Client>,
    /// What an interrupted verb still has to do.
    farewell: Mutex<Option<BoxFuture<'static, ()>>>,
}

/// How long an interrupted verb may take to clean up.
const FAREWELL: Duration = Duration::from_secs(5);

impl Session {
    /// A session that has not spoken to a server yet.
    pub fn new(global: GlobalArgs, environment: Environment, output: Output) -> Self {
        Self { global, environment, output, client: OnceLock::new(), farewell: Mutex::default() }
    }

    /// Says what is to be done when Ctrl-C ends this verb.
    pub fn before_interrupt(&self, work: BoxFuture<'static, ()>) {
        *self.farewell.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
    }

    /// Does it, within a few seconds.
    pub async fn interrupted(&self) {
        let work = self.farewell.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(work) = work {
            // Too slow is as good as impossible: whoever pressed Ctrl-C wants the prompt back.
            let _ = tokio::time::timeout(FAREWELL, work).await;
        }
    }

    /// The connection, set up at first use.
    ///
    /// # Errors
    /// No server or keys are known, or they are not usable.
    pub fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let resolved =
            settings::resolve(settings::given(&self.global, &self.environment), self.profile()?.as_ref())?;
        let client = connect(resolved)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// The profile asked for, if there is one.
    ///
    /// # Errors
    /// The file is broken, or a profile named by flag or variable does not exist.
    pub fn profile(&self) -> Result<Option<profile::Profile>, Failure> {
        let Some(path) = self.environment.profile_path() else { return Ok(None) };
        let loaded = profile::load(&path, self.profile_name())
            .map_err(|e| Failure::local(&format!("read the profile in {}", path.display()), &e))?;
        if loaded.is_none() && self.profile_name() != profile::DEFAULT {
            return Err(Failure::usage(format!(
                "there is no profile '{}' in {}",
                self.profile_name(),
                path.display()
            ))
            .hint(format!("millpond login --profile {}", self.profile_name())));
        }
        Ok(loaded)
    }

    /// Name of the profile: flag, then `MILLPOND_PROFILE`, then `default`.
    pub fn profile_name(&self) -> &str {
        self.global
            .profile
            .as_deref()
            .or(self.environment.variable("MILLPOND_PROFILE"))
            .unwrap_or(profile::DEFAULT)
    }

    /// Whether a question can be asked.
    pub fn may_ask(&self) -> bool {
        self.environment.stdin_is_terminal && !self.global.no_input
    }

    /// Asks before something that cannot be taken back.
    ///
    /// # Errors
    /// Exit 2 when nobody can answer and `--yes` is missing; exit 1 when the answer is no.
    pub async fn confirm(&self, question: &str) -> Result<(), Failure> {
        if self.global.yes {
            return Ok(());
        }
        if !self.may_ask() {
            return Err(Failure::usage(format!("{question} Nobody can be asked here.")).hint("add --yes"));
        }
        let answer = terminal::ask(format!("{question} [y/N] ")).await?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::new(Exit::Failed, "nothing was done")),
        }
    }

    /// Asks for a name to be typed before something severe.
    ///
    /// # Errors
    /// As [`Session::confirm`].
    pub async fn confirm_by_name(&self, question: &str, name: &str) -> Result<(), Failure> {
        if self.global.yes {
            return Ok(());
        }
        if !self.may_ask() {
            return Err(Failure::usage(format!("{question} Nobody can be asked here.")).hint("add --yes"));
        }
        let answer = terminal::ask(format!("{question}\nType '{name}' to confirm: ")).await?;
        if answer.trim() == name {
            Ok(())
        } else {
            Err(Failure::new(Exit::Failed, "the name does not match; nothing was done"))
        }
    }
}

/// Sets up a connection.
///
/// # Errors
/// The certificates cannot be read, or the settings make no client.
pub fn connect(resolved: settings::Resolved) -> Result<Client, Failure> {
    let ca_pem = match &resolved.ca_cert {
        Some(path) => Some(
            profile::read_certificates(path)
                .map_err(|e| Failure::local(&format!("read the CA certificates in {path}"), &e))?,
        ),
        None => None,
    };
    Ok(Client::new(Settings {
        server: resolved.server,
        credentials: resolved.credentials,
        ca_pem,
        user_agent: concat!("millpond/", env!("CARGO_PKG_VERSION")).to_owned(),
    })?)
}
