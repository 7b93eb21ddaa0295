//! Which server with which keys: flags, then `MILLPOND_*`, then `LAKECTL_*`, then the profile.
//!
//! Keys of a profile go only to the server of that profile: naming another server must not hand it a
//! secret that was saved for someone else.

use crate::GlobalArgs;
use crate::environment::Environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::profile::Profile;
use millpond_client::{Credentials, normalize_server};

/// The answer, before any file is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Address in normal form.
    pub server: String,
    /// The keys.
    pub credentials: Option<Credentials>,
    /// File with certificates to trust.
    pub ca_cert: Option<String>,
}

/// The values that flags and environment give, each possibly missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// Address.
    pub server: Option<String>,
    /// Public half of the key.
    pub access_key_id: Option<String>,
    /// Secret half of the key.
    pub secret_access_key: Option<String>,
    /// File with certificates to trust.
    pub ca_cert: Option<String>,
}

/// Flags over `MILLPOND_*` over `LAKECTL_*`. Of `LAKECTL_*` the keys are taken only as a pair and only when
/// nothing else gives a key.
pub fn given(global: &GlobalArgs, environment: &Environment) -> Given {
    let pick = |flag: &Option<String>, names: &[&str]| {
        flag.clone().or_else(|| names.iter().find_map(|n| environment.variable(n)).map(ToOwned::to_owned))
    };
    let mut access_key_id = pick(&global.access_key_id, &["MILLPOND_ACCESS_KEY_ID"]);
    let mut secret_access_key = pick(&global.secret_access_key, &["MILLPOND_SECRET_ACCESS_KEY"]);
    if access_key_id.is_none() && secret_access_key.is_none() {
        access_key_id = pick(&None, &["LAKECTL_CREDENTIALS_ACCESS_KEY_ID"]);
        secret_access_key = pick(&None, &["LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY"]);
    }
    Given {
        server: pick(&global.server, &["MILLPOND_SERVER", "LAKECTL_SERVER_ENDPOINT_URL"]),
        access_key_id,
        secret_access_key,
        ca_cert: pick(&global.ca_cert, &["MILLPOND_CA_CERT"]),
    }
}

/// Fills what is missing from the profile.
///
/// # Errors
/// No server, half a key, or no key.
pub fn resolve(given: Given, profile: Option<&Profile>) -> Result<Resolved, Failure> {
    let sign_in = "sign in with 'millpond login', or start a server here with 'millpond up'";
    let Some(server) = given.server.as_deref().or(profile.map(|p| p.server.as_str())) else {
        return Err(Failure::usage(
            "no server is known: neither --server, MILLPOND_SERVER nor a profile names one",
        )
        .hint(sign_in));
    };
    let server = normalize_server(server)?;
    let profile = profile.filter(|p| normalize_server(&p.server).is_ok_and(|s| s == server));
    let credentials = match (given.access_key_id, given.secret_access_key) {
        (Some(access_key_id), Some(secret_access_key)) => Credentials { access_key_id, secret_access_key },
        (Some(id), None) => match profile.filter(|p| p.access_key_id == id) {
            Some(profile) => {
                Credentials { access_key_id: id, secret_access_key: profile.secret_access_key.clone() }
            }
            None => {
                return Err(Failure::usage(format!("the secret for access key {id} is missing"))
                    .hint("give --secret-access-key or set MILLPOND_SECRET_ACCESS_KEY"));
            }
        },
        (None, Some(_)) => {
            return Err(Failure::usage("there is a secret but no access key id")
                .hint("give --access-key-id or set MILLPOND_ACCESS_KEY_ID"));
        }
        (None, None) => match profile {
            Some(profile) => Credentials {
                access_key_id: profile.access_key_id.clone(),
                secret_access_key: profile.secret_access_key.clone(),
            },
            None => {
                return Err(Failure::new(Exit::Denied, format!("there are no keys for {server}")).hint(
                    format!("'millpond login {server}', or set MILLPOND_ACCESS_KEY_ID and MILLPOND_SECRET_ACCESS_KEY"),
                ));
            }
        },
    };
    let ca_cert = given.ca_cert.or_else(|| profile.and_then(|p| p.ca_cert.clone()));
    Ok(Resolved { server, credentials: Some(credentials), ca_cert })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile {
            server: "http://localhost:8000/".into(),
            access_key_id: "PID".into(),
            secret_access_key: "PSECRET".into(),
            ca_cert: Some("ca.pem".into()),
        }
    }

    fn run(
        flags: &GlobalArgs,
        variables: &[(&str, &str)],
        with_profile: bool,
    ) -> Result<(String, String, String), Failure> {
        let environment = Environment::fixed(variables, jiff::Timestamp::UNIX_EPOCH);
        let profile = profile();
        let resolved = resolve(given(flags, &environment), with_profile.then_some(&profile))?;
        let keys = resolved.credentials.expect("keys");
        Ok((resolved.server, keys.access_key_id, keys.secret_access_key))
    }

    fn answer(a: &str, b: &str, c: &str) -> (String, String, String) {
        (a.into(), b.into(), c.into())
    }

    const MILLPOND: [(&str, &str); 3] = [
        ("MILLPOND_SERVER", "http://m"),
        ("MILLPOND_ACCESS_KEY_ID", "MID"),
        ("MILLPOND_SECRET_ACCESS_KEY", "MSECRET"),
    ];
    const LAKECTL: [(&str, &str); 3] = [
        ("LAKECTL_SERVER_ENDPOINT_URL", "http://l/api/v1"),
        ("LAKECTL_CREDENTIALS_ACCESS_KEY_ID", "LID"),
        ("LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY", "LSECRET"),
    ];

    #[test]
    fn flags_win_over_millpond_over_lakectl_over_the_profile() {
        let none = GlobalArgs::default();
        let flags = GlobalArgs {
            server: Some("http://f".into()),
            access_key_id: Some("FID".into()),
            secret_access_key: Some("FSECRET".into()),
            ..GlobalArgs::default()
        };
        let both: Vec<_> = MILLPOND.into_iter().chain(LAKECTL).collect();
        assert_eq!(run(&flags, &both, true), Ok(answer("http://f", "FID", "FSECRET")));
        assert_eq!(run(&none, &both, true), Ok(answer("http://m", "MID", "MSECRET")));
        assert_eq!(run(&none, &LAKECTL, true), Ok(answer("http://l", "LID", "LSECRET")));
        assert_eq!(run(&none, &[], true), Ok(answer("http://localhost:8000", "PID", "PSECRET")));
    }

    #[test]
    fn keys_of_a_profile_never_go_to_another_server() {
        let flags = GlobalArgs { server: Some("http://evil".into()), ..GlobalArgs::default() };
        assert_eq!(run(&flags, &[], true).expect_err("refused").exit, Exit::Denied);
        let same = GlobalArgs { server: Some("localhost:8000/api/v1".into()), ..GlobalArgs::default() };
        assert_eq!(run(&same, &[], true), Ok(answer("http://localhost:8000", "PID", "PSECRET")));
    }

    #[test]
    fn keys_of_two_families_are_never_mixed() {
        let id_only = [("MILLPOND_ACCESS_KEY_ID", "MID"), LAKECTL[0], LAKECTL[1], LAKECTL[2]];
        assert_eq!(run(&GlobalArgs::default(), &id_only, false).expect_err("refused").exit, Exit::Usage);
    }

    #[test]
    fn nothing_at_all_says_how_to_begin() {
        let failure = run(&GlobalArgs::default(), &[], false).expect_err("refused");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.hint.expect("a hint").contains("millpond login"));
    }
}
