//! `millpond up`: from nothing to a running server with something in it, in one command.
//!
//! Whatever a start has made (keys, profile, sample repository), the next one finds; nothing is made twice,
//! and nothing of the user's is overwritten.

use crate::config::Config;
use crate::data_folder::SampleState;
use crate::installation::{ADMINISTRATOR, Installation};
use crate::sample::{self, Made};
use crate::serve::{finish, stop_signal};
use crate::{logging, machine, say};
use anyhow::{Context, Result};
use millpond_auth::AdminKeys;
use millpond_cli::profile::{self, Profile};
use millpond_service::limits::LINK_SECONDS_DEFAULT;
use millpond_service::{Caller, Link};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Runs until SIGTERM or SIGINT. `profile_name`: as given by `--profile`.
///
/// # Errors
/// The server cannot start, or not close its stores.
pub async fn run(
    config: &Config,
    profile_path: Option<PathBuf>,
    profile_name: Option<&str>,
) -> Result<ExitCode> {
    logging::start(config);
    let stop = stop_signal()?;
    let installation = Installation::open(config).await?;
    let url = installation.url();
    let saved = match &profile_path {
        None => None,
        Some(path) => {
            let saved = save_profile(path, profile_name, &url, &installation.keys);
            Some((path, saved.with_context(|| format!("save the profile in {}", path.display()))?))
        }
    };
    let administrator = administrator(&installation).await?;
    let sample = make_sample(&installation, &administrator).await?;
    let link = installation.service.create_link(&administrator, ADMINISTRATOR, None).await;
    let link = link.context("make the sign-in link")?;
    say(&welcome(
        &installation,
        config,
        saved.as_ref().map(|(path, name)| (path.as_path(), name.as_str())),
        sample,
        &link,
    )?);
    finish(installation, config, stop).await
}

/// Puts this server into the profile, and returns the profile's name. The default profile is used unless it
/// is of another server: then that stays, and this one is called `local`.
fn save_profile(path: &Path, given: Option<&str>, url: &str, keys: &AdminKeys) -> Result<String> {
    let own = |saved: &Profile| saved.server == url || saved.access_key_id == keys.access_key_id;
    let name = match given {
        Some(name) => name,
        None => match profile::load(path, profile::DEFAULT)? {
            Some(saved) if !own(&saved) => "local",
            _ => profile::DEFAULT,
        },
    };
    let new = Profile {
        server: url.to_owned(),
        access_key_id: keys.access_key_id.clone(),
        secret_access_key: keys.secret.expose().to_owned(),
        ca_cert: None,
    };
    if profile::load(path, name)?.as_ref() != Some(&new) {
        profile::save(path, name, &new)?;
    }
    Ok(name.to_owned())
}

/// What there is to say about the sample repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sample {
    New,
    NameTaken,
    Earlier,
}

async fn administrator(installation: &Installation) -> Result<Caller> {
    let (service, keys) = (&installation.service, &installation.keys);
    let principal = service.authenticate_key(&keys.access_key_id, keys.secret.expose()).await?;
    Ok(Caller {
        principal: Some(principal),
        request_id: service.new_request_id(),
        idempotency_key: None,
        address: None,
    })
}

async fn make_sample(installation: &Installation, administrator: &Caller) -> Result<Sample> {
    let state = installation.data.sample_state()?;
    if state == SampleState::Finished {
        return Ok(Sample::Earlier);
    }
    let service = &installation.service;
    let name = sample::repository_name()?;
    if state == SampleState::Untouched && service.get_repository(administrator, &name).await.is_ok() {
        installation.data.note_sample(SampleState::Finished)?;
        return Ok(Sample::NameTaken);
    }
    // From the note on, a repository of that name is ours to remove and make again.
    installation.data.note_sample(SampleState::Begun)?;
    let made = sample::create(service, administrator, state == SampleState::Begun).await;
    let made = made.context("make the sample repository")?;
    installation.data.note_sample(SampleState::Finished)?;
    Ok(match made {
        Made::New => Sample::New,
        Made::NameTaken => Sample::NameTaken,
    })
}

fn welcome(
    installation: &Installation,
    config: &Config,
    profile: Option<(&Path, &str)>,
    sample: Sample,
    link: &Link,
) -> Result<String> {
    let url = installation.url();
    let repo = sample::repository_name()?;
    let keys = &installation.keys;
    let mut text = format!("\nMillpond {} is up at {url}\n\n", env!("CARGO_PKG_VERSION"));
    let mut row = |name: &str, value: String| text.push_str(&format!("  {name:<11} {value}\n"));
    row("data", config.data.display().to_string());
    row("master key", format!("{} (keep a copy elsewhere)", config.master_key_file.display()));
    row("user", format!("{ADMINISTRATOR}, access key id {}", keys.access_key_id));
    let profile_flag = match profile {
        Some((path, name)) => {
            row("profile", format!("'{name}' in {}, with the secret access key", path.display()));
            if name == profile::DEFAULT { String::new() } else { format!(" --profile {name}") }
        }
        None => {
            let secret = if keys.created { keys.secret.expose() } else { "shown at the first start" };
            row("secret", format!("{secret} (no profile: neither HOME nor XDG_CONFIG_HOME is set)"));
            String::new()
        }
    };
    row(
        "sample",
        match sample {
            Sample::New => format!("repository '{repo}': branches main and experiment, tag v1.0"),
            Sample::NameTaken => format!("none: a repository '{repo}' was here already"),
            Sample::Earlier => format!("repository '{repo}', made at an earlier start"),
        },
    );
    row("sign in", installation.browser_url() + &millpond_http::link_path(link));
    row(
        "",
        format!(
            "once, within {} minutes; later: '{} auth login-link'",
            LINK_SECONDS_DEFAULT / 60,
            machine::program()
        ),
    );
    text.push_str(&format!(
        "\nTry next, in another terminal:\n\n  \
         {program} diff {repo}/main {repo}/experiment{profile_flag}\n\n  \
         # S3 with boto3 (pip install boto3): bucket = repository, key = ref/path; the secret is in the profile\n  \
         python3 -c \"import boto3; s3 = boto3.client('s3', endpoint_url='{url}', \
         aws_access_key_id='{id}', aws_secret_access_key='...'); \
         print([o['Key'] for o in s3.list_objects_v2(Bucket='{repo}', Prefix='main/')['Contents']])\"\n\n  \
         # the lakefs package (pip install lakefs)\n  \
         python3 -c \"import lakefs; from lakefs.client import Client; c = Client(host='{url}', username='{id}', \
         password='...'); print([b.id for b in lakefs.repository('{repo}', client=c).branches()])\"\n\n\
         Ctrl-C stops the server; '{program} up' starts it again with everything in place.\n\n",
        id = keys.access_key_id,
        program = machine::program(),
    ));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_auth::Secret;

    fn keys(id: &str) -> AdminKeys {
        AdminKeys { access_key_id: id.to_owned(), secret: Secret::new("secret"), created: true }
    }

    #[test]
    fn a_profile_of_another_server_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.toml");
        let (here, there) = ("http://127.0.0.1:8000", "https://elsewhere");
        let save = |given, url, id| save_profile(&path, given, url, &keys(id)).expect("saved");
        let server = |name| profile::load(&path, name).expect("read").map(|saved| saved.server);
        assert_eq!(save(None, here, "K1"), "default");
        assert_eq!(save(None, here, "K2"), "default", "new keys of the same server");
        assert_eq!(save(None, "http://127.0.0.1:9", "K2"), "default", "a new port of the same server");
        save(Some("default"), there, "K3");
        assert_eq!(save(None, here, "K2"), "local");
        assert_eq!(server("default").as_deref(), Some(there));
        assert_eq!(server("local").as_deref(), Some(here));
        assert_eq!(save(Some("work"), here, "K2"), "work");
    }
}
