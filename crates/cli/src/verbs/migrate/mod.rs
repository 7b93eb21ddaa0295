//! `millpond migrate lakefs`: everything that another server has, made again here (`docs/design/migrate.md`).
//!
//! A file for each step: `history` reads which commits there are, `trees` makes the tree of one, `repository` goes
//! through a repository in the order that lets it break off anywhere, `people` copies users and policies, `source`
//! asks either server again as long as that may help.

mod history;
mod people;
mod repository;
mod source;
mod trees;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Cell, Column};
use crate::session::Session;
use crate::{profile, session, settings};
use clap::{Args, Subcommand};
use millpond_client::{Client, Credentials, PageQuery, Repository, normalize_server};
use serde::Serialize;
use source::{Patience, every_page};
use std::time::Duration;

/// What comes from where.
#[derive(Debug, Clone, Subcommand)]
pub enum Migrate {
    /// Take over repositories and people of a server that speaks the lakeFS API
    Lakefs(Lakefs),
}

/// Take over repositories and people of a server that speaks the lakeFS API.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond migrate lakefs --from https://lakefs.example.org --dry-run
  millpond migrate lakefs --from https://lakefs.example.org
  millpond migrate lakefs --from https://lakefs.example.org --repository sales --as sales-2026

The key for the other server comes from MILLPOND_FROM_ACCESS_KEY_ID and MILLPOND_FROM_SECRET_ACCESS_KEY, from
--from-profile, or from LAKECTL_CREDENTIALS_* if LAKECTL_SERVER_ENDPOINT_URL names that server. It should be that of
an administrator there, as the key for this one.

Commits keep author, date, message, metadata and parents; their old ids stay good. Uncommitted changes are not
copied: commit them first. What was broken off goes on when the same command is typed again; after its end, it takes
over what is new. Objects stay where they are if this server sees the same bytes there (setting 'local_import'); then
the garbage collection of the other server must stay off. Access keys and passwords cannot be copied.")]
pub struct Lakefs {
    /// The server to take over from
    #[arg(long, value_name = "URL")]
    from: String,
    /// Saved keys for it
    #[arg(long, value_name = "NAME")]
    from_profile: Option<String>,
    /// Trust only these certificates (PEM) for it
    #[arg(long, value_name = "FILE")]
    from_ca_cert: Option<String>,
    /// Only this repository; may be repeated. People are then left out
    #[arg(long = "repository", value_name = "REPOSITORY")]
    repositories: Vec<String>,
    /// Name it differently here (with one --repository)
    #[arg(long = "as", value_name = "NAME", requires = "repositories")]
    name: Option<String>,
    /// Copy every object, also those that could stay where they are
    #[arg(long)]
    copy: bool,
    /// Leave users, groups and policies out
    #[arg(long)]
    no_people: bool,
    /// Only say what there is to do
    #[arg(long)]
    dry_run: bool,
    /// At the end, compare every object of every commit, not only the beginning of every branch and tag
    #[arg(long)]
    verify: bool,
    /// Objects that are copied at a time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: u16,
    /// How long a server that does not answer is asked again
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    patience: u64,
}

/// The two servers and how to deal with them.
pub struct Route {
    /// The server that has it.
    pub from: Client,
    /// The one that gets it.
    pub to: Client,
    /// For both.
    pub patience: Patience,
    /// Objects may not stay where they are.
    pub copy: bool,
    /// See the flag.
    pub verify: bool,
    /// Objects at a time.
    pub parallel: usize,
}

/// What became of one repository.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    /// Its name there.
    pub repository: String,
    /// Its name here.
    pub name: String,
    /// `planned`, `complete` or `failed`.
    pub state: &'static str,
    /// That branches and tags lead to.
    pub commits: u64,
    /// Of these, made now.
    pub commits_new: u64,
    /// Here as there.
    pub branches: u64,
    /// Here as there.
    pub tags: u64,
    /// Branch protection.
    pub rules: u64,
    /// Read there and written here, now.
    pub objects_copied: u64,
    /// Their bytes.
    pub bytes_copied: u64,
    /// That stay where they are, now.
    pub objects_linked: u64,
    /// That the other server itself cannot read any more.
    pub objects_gone: u64,
    /// Objects that were compared at the end.
    pub objects_compared: u64,
    /// What people should know.
    pub notes: Vec<String>,
}

const COLUMNS: &[Column] = &[
    Column::left("repository"),
    Column::left("state"),
    Column::right("commits"),
    Column::right("new"),
    Column::right("branches"),
    Column::right("tags"),
    Column::right("copied"),
    Column::right("bytes"),
    Column::right("linked"),
];

impl Migrate {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::Lakefs(verb) => verb.run(session).await,
        }
    }
}

impl Lakefs {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        if self.name.is_some() && self.repositories.len() != 1 {
            return Err(Failure::usage("--as names one repository, so it needs one --repository"));
        }
        let route = Route {
            from: self.connect(session)?,
            to: session.client()?.clone(),
            patience: Patience(Duration::from_secs(self.patience)),
            copy: self.copy,
            verify: self.verify,
            parallel: usize::from(self.parallel),
        };
        if route.from.server() == route.to.server() {
            return Err(Failure::usage("--from is the server that everything is to come to"));
        }
        let repositories = self.wanted(&route).await?;
        let mut list = session.output.list(COLUMNS);
        let (mut exit, mut linked) = (Exit::Ok, 0);
        if !self.no_people && self.repositories.is_empty() && !self.dry_run {
            for note in people::copy(&route).await? {
                session.output.message(&note);
            }
        }
        for repository in &repositories {
            let name = self.name.as_deref().unwrap_or(&repository.id);
            let mut outcome = Outcome {
                repository: repository.id.clone(),
                name: name.to_owned(),
                state: "planned",
                ..Outcome::default()
            };
            let done = match self.dry_run {
                true => repository::plan(&route, repository, &mut outcome).await,
                false => repository::take_over(session, &route, repository, &mut outcome).await,
            };
            if let Err(failure) = done {
                outcome.state = "failed";
                session.output.failure(&failure);
                exit = if repositories.len() == 1 { failure.exit } else { Exit::Partial };
            }
            linked += outcome.objects_linked;
            for note in &outcome.notes {
                session.output.message(&format!("{name}: {note}"));
            }
            let number = |count: u64| Cell::text(&count.to_string());
            let cells = [
                Cell::text(&outcome.name),
                Cell::text(outcome.state),
                number(outcome.commits),
                number(outcome.commits_new),
                number(outcome.branches),
                number(outcome.tags),
                number(outcome.objects_copied),
                Cell::Size(Some(outcome.bytes_copied)),
                number(outcome.objects_linked),
            ];
            list.push(&outcome, &cells)?;
        }
        list.finish()?;
        if linked > 0 {
            session.output.message(&format!(
                "{linked} objects stay where {} keeps them: its garbage collection must stay off for good, \
                 and nothing there may be deleted. Millpond never deletes them",
                route.from.server()
            ));
        }
        if exit == Exit::Partial {
            session.output.message("some repositories are not complete: type the same command again");
        }
        Ok(exit)
    }

    /// The other server. Its key never comes from where ours is, unless that is said.
    fn connect(&self, session: &Session) -> Result<Client, Failure> {
        let server = normalize_server(&self.from)?;
        let environment = &session.environment;
        let pair = |id: &str, secret: &str| {
            Some(Credentials {
                access_key_id: environment.variable(id)?.to_owned(),
                secret_access_key: environment.variable(secret)?.to_owned(),
            })
        };
        let mut ca_cert = self.from_ca_cert.clone();
        let credentials = match &self.from_profile {
            Some(name) => {
                let path = environment.profile_path();
                let path = path.ok_or_else(|| Failure::usage("there is no home folder for profiles"))?;
                let loaded = profile::load(&path, name)
                    .map_err(|e| Failure::local(&format!("read the profile in {}", path.display()), &e))?;
                let profile = loaded.ok_or_else(|| {
                    Failure::usage(format!("there is no profile '{name}' in {}", path.display()))
                        .hint(format!("millpond login {server} --profile {name}"))
                })?;
                if normalize_server(&profile.server)? != server {
                    let text = format!("profile '{name}' has keys for {}, not for {server}", profile.server);
                    return Err(Failure::usage(text));
                }
                ca_cert = ca_cert.or(profile.ca_cert);
                Some(Credentials {
                    access_key_id: profile.access_key_id,
                    secret_access_key: profile.secret_access_key,
                })
            }
            None => pair("MILLPOND_FROM_ACCESS_KEY_ID", "MILLPOND_FROM_SECRET_ACCESS_KEY").or_else(|| {
                let named = normalize_server(environment.variable("LAKECTL_SERVER_ENDPOINT_URL")?).ok()?;
                let keys = pair("LAKECTL_CREDENTIALS_ACCESS_KEY_ID", "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY");
                keys.filter(|_| named == server)
            }),
        };
        let Some(credentials) = credentials else {
            return Err(Failure::new(Exit::Denied, format!("there is no key for {server}")).hint(
                "set MILLPOND_FROM_ACCESS_KEY_ID and MILLPOND_FROM_SECRET_ACCESS_KEY, or add --from-profile",
            ));
        };
        session::connect(settings::Resolved { server, credentials: Some(credentials), ca_cert })
    }

    /// The repositories that are asked for.
    async fn wanted(&self, route: &Route) -> Result<Vec<Repository>, Failure> {
        let mut all = Vec::new();
        if self.repositories.is_empty() {
            let list = async |query: PageQuery| route.from.list_repositories(&query).await;
            every_page(route.patience, "", list, |repository| all.push(repository)).await?;
        }
        for name in &self.repositories {
            all.push(route.patience.wait(async || route.from.get_repository(name).await).await?);
        }
        Ok(all)
    }
}
