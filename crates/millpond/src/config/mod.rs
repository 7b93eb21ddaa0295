//! What the server was told: defaults, then `millpond.toml`, then `MILLPOND_*`, then flags; later ones win.
//!
//! [`SETTINGS`] is the one list of settings; the file, the environment, `config explain` and the tests go
//! by it. Values are text until [`Config::build`] turns them into types, so that each keeps its [`Origin`].

mod args;
mod build;
mod explain;
mod file;
mod oidc;

#[cfg(test)]
pub use args::FLAGS;
pub use args::ServerArgs;
pub use build::{Config, LogFormat, LogRequests, TlsFiles};
pub use explain::explain;
pub use oidc::Oidc;

use crate::machine;
use crate::server::Bounds;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// One thing that can be set.
pub struct Setting {
    /// Its name in the file (a dot stands for a table) and in `config explain`.
    pub name: &'static str,
    /// Its variable in the environment.
    pub variable: &'static str,
    /// Whether its value is never shown.
    pub secret: bool,
}

const fn setting(name: &'static str, variable: &'static str) -> Setting {
    Setting { name, variable, secret: false }
}

/// Every setting. What each means is in `--help` and in `docs/configuration.md`.
pub const SETTINGS: &[Setting] = &[
    setting("listen", "MILLPOND_LISTEN"),
    setting("data", "MILLPOND_DATA"),
    setting("master_key_file", "MILLPOND_MASTER_KEY_FILE"),
    setting("admin.access_key_id", "MILLPOND_ADMIN_ACCESS_KEY_ID"),
    Setting { secret: true, ..setting("admin.secret_access_key", "MILLPOND_ADMIN_SECRET_ACCESS_KEY") },
    setting("local_import", "MILLPOND_LOCAL_IMPORT"),
    setting("backup", "MILLPOND_BACKUP"),
    setting("audit_retention_days", "MILLPOND_AUDIT_RETENTION_DAYS"),
    setting("external_url", "MILLPOND_EXTERNAL_URL"),
    setting("auth.oidc.issuer", "MILLPOND_AUTH_OIDC_ISSUER"),
    setting("auth.oidc.client_id", "MILLPOND_AUTH_OIDC_CLIENT_ID"),
    Setting { secret: true, ..setting("auth.oidc.client_secret", "MILLPOND_AUTH_OIDC_CLIENT_SECRET") },
    setting("auth.oidc.scopes", "MILLPOND_AUTH_OIDC_SCOPES"),
    setting("auth.oidc.username_claim", "MILLPOND_AUTH_OIDC_USERNAME_CLAIM"),
    setting("auth.oidc.groups_claim", "MILLPOND_AUTH_OIDC_GROUPS_CLAIM"),
    setting("auth.oidc.groups", "MILLPOND_AUTH_OIDC_GROUPS"),
    setting("auth.oidc.default_groups", "MILLPOND_AUTH_OIDC_DEFAULT_GROUPS"),
    setting("auth.oidc.required_claims", "MILLPOND_AUTH_OIDC_REQUIRED_CLAIMS"),
    setting("auth.oidc.create_users", "MILLPOND_AUTH_OIDC_CREATE_USERS"),
    setting("tls.cert", "MILLPOND_TLS_CERT"),
    setting("tls.key", "MILLPOND_TLS_KEY"),
    setting("trusted_proxies", "MILLPOND_TRUSTED_PROXIES"),
    setting("s3.domains", "MILLPOND_S3_DOMAINS"),
    setting("s3.region", "MILLPOND_S3_REGION"),
    setting("log.format", "MILLPOND_LOG_FORMAT"),
    setting("log.level", "MILLPOND_LOG_LEVEL"),
    setting("log.requests", "MILLPOND_LOG_REQUESTS"),
    setting("connections_max", "MILLPOND_CONNECTIONS_MAX"),
    setting("requests_max", "MILLPOND_REQUESTS_MAX"),
    setting("body_memory_mib", "MILLPOND_BODY_MEMORY_MIB"),
    setting("body_rate_min", "MILLPOND_BODY_RATE_MIN"),
    setting("timeouts.first_request", "MILLPOND_FIRST_REQUEST_TIMEOUT"),
    setting("timeouts.head", "MILLPOND_HEAD_TIMEOUT"),
    setting("timeouts.idle", "MILLPOND_IDLE_TIMEOUT"),
    setting("timeouts.stalled", "MILLPOND_STALLED_TIMEOUT"),
];

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// The environment.
    Variable(&'static str),
    /// The command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// A value and its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// As given.
    pub text: String,
    /// Who gave it.
    pub origin: Origin,
}

/// The value of each setting that has one.
pub type Values = BTreeMap<&'static str, Value>;

/// What surrounds the process, as an argument so that tests bring their own.
pub struct Surroundings<'a> {
    /// A variable that is set and not empty.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Whether people read the log.
    pub stderr_is_terminal: bool,
    /// Where relative paths begin.
    pub folder: PathBuf,
}

/// Gathers the values of all settings.
///
/// # Errors
/// A named file is missing; a file cannot be read or holds something that is no setting.
pub fn gather(args: &ServerArgs, around: &Surroundings<'_>) -> Result<Values> {
    let mut values = defaults(around);
    if let Some(path) = file_path(args, around) {
        let found =
            file::read(&path).with_context(|| format!("the configuration file {}", path.display()))?;
        values.extend(
            found.into_iter().map(|(name, text)| (name, Value { text, origin: Origin::File(path.clone()) })),
        );
    }
    for setting in SETTINGS {
        if let Some(text) = (around.variable)(setting.variable) {
            values.insert(setting.name, Value { text, origin: Origin::Variable(setting.variable) });
        }
    }
    for (name, flag, text) in args.given() {
        values.insert(name, Value { text, origin: Origin::Flag(flag) });
    }
    Ok(values)
}

fn defaults(around: &Surroundings<'_>) -> Values {
    let path = |path: Option<PathBuf>| path.map(|path| path.display().to_string());
    let log_format = if around.stderr_is_terminal { "text" } else { "json" };
    [
        ("listen", Some("127.0.0.1:8000".to_owned())),
        ("data", path(machine::data_folder(around.variable))),
        (
            "master_key_file",
            path(machine::config_folder(around.variable).map(|folder| folder.join("master.key"))),
        ),
        ("s3.domains", Some("s3.localhost".to_owned())),
        ("s3.region", Some("us-east-1".to_owned())),
        ("log.format", Some(log_format.to_owned())),
        ("auth.oidc.scopes", Some("openid,profile,email".to_owned())),
        ("auth.oidc.username_claim", Some("sub".to_owned())),
        ("auth.oidc.create_users", Some("true".to_owned())),
        ("log.level", Some("info".to_owned())),
        // Each line costs about as much as a small read, so the default names what went wrong.
        ("log.requests", Some("errors".to_owned())),
    ]
    .into_iter()
    .chain(build::BOUNDS.iter().map(|bound| (bound.name, Some((bound.of)(&Bounds::default()).to_string()))))
    .filter_map(|(name, text)| Some((name, Value { text: text?, origin: Origin::Default })))
    .collect()
}

/// The file named by flag or variable, which must exist; else the first of the usual places that does.
fn file_path(args: &ServerArgs, around: &Surroundings<'_>) -> Option<PathBuf> {
    let named = args.config.clone().or_else(|| (around.variable)("MILLPOND_CONFIG").map(PathBuf::from));
    if let Some(path) = named {
        return Some(around.folder.join(path));
    }
    let usual = [Some(around.folder.clone()), machine::config_folder(around.variable)];
    usual.into_iter().flatten().map(|folder| folder.join("millpond.toml")).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: ServerArgs,
    }

    struct Machine {
        folder: tempfile::TempDir,
        variables: Vec<(&'static str, String)>,
    }

    impl Machine {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let home = folder.path().join("home").display().to_string();
            Self { folder, variables: vec![("HOME", home)] }
        }
        #[allow(clippy::disallowed_methods, reason = "the test writes the file that the product reads")]
        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(&path, text).expect("written");
            path
        }
        fn gather(&self, flags: &str) -> Result<Values> {
            let line = std::iter::once("millpond").chain(flags.split_whitespace());
            let args = Command::try_parse_from(line).expect("flags").args;
            let variable = |name: &str| {
                self.variables.iter().rev().find(|(n, _)| *n == name).map(|(_, value)| value.clone())
            };
            let folder = self.folder.path().to_owned();
            gather(&args, &Surroundings { variable: &variable, stderr_is_terminal: false, folder })
        }
    }

    fn shown(values: &Values, name: &str) -> String {
        format!("{} ({})", values[name].text, values[name].origin)
    }

    #[test]
    fn flags_win_over_environment_over_file_over_defaults() {
        let mut machine = Machine::new();
        assert_eq!(shown(&machine.gather("").expect("defaults"), "listen"), "127.0.0.1:8000 (default)");
        let file = machine.write("millpond.toml", "listen = \"file:1\"\n[log]\nlevel = \"debug\"\n");
        let from_file = format!("file:1 ({})", file.display());
        assert_eq!(shown(&machine.gather("").expect("file"), "listen"), from_file);
        machine.variables.push(("MILLPOND_LISTEN", "env:2".into()));
        assert_eq!(shown(&machine.gather("").expect("environment"), "listen"), "env:2 (MILLPOND_LISTEN)");
        let values = machine.gather("--listen flag:3").expect("flag");
        assert_eq!(shown(&values, "listen"), "flag:3 (--listen)");
        assert_eq!(shown(&values, "log.level"), format!("debug ({})", file.display()));
    }

    #[test]
    fn the_first_file_counts() {
        let mut machine = Machine::new();
        machine.write("home/.config/millpond/millpond.toml", "listen = \"home:1\"");
        assert_eq!(machine.gather("").expect("file")["listen"].text, "home:1");
        machine.write("millpond.toml", "listen = \"here:1\"");
        assert_eq!(machine.gather("").expect("file")["listen"].text, "here:1");
        machine.write("named.toml", "listen = \"named:1\"");
        machine.variables.push(("MILLPOND_CONFIG", "named.toml".into()));
        assert_eq!(machine.gather("").expect("file")["listen"].text, "named:1");
        machine.write("flag.toml", "listen = \"flag:1\"");
        assert_eq!(machine.gather("--config flag.toml").expect("file")["listen"].text, "flag:1");
        let error = machine.gather("--config missing.toml").expect_err("a named file must exist");
        assert!(format!("{error:#}").contains("missing.toml"), "{error:#}");
    }

    #[test]
    fn every_setting_can_be_set_in_each_way() {
        let flags: BTreeMap<_, _> = args::FLAGS.iter().map(|(name, flag)| (*name, *flag)).collect();
        for setting in SETTINGS {
            let mut machine = Machine::new();
            // What is set once, and holds a secret that a command line shows, has no flag.
            assert_eq!(
                flags.contains_key(setting.name),
                !setting.name.starts_with("auth.oidc."),
                "{}",
                setting.name
            );
            if let Some(flag) = flags.get(setting.name) {
                let values = machine.gather(&format!("--{flag} x7")).expect("flag");
                assert_eq!(values[setting.name], Value { text: "x7".into(), origin: Origin::Flag(flag) });
            }
            machine.variables.push((setting.variable, "x8".into()));
            let values = machine.gather("").expect("variable");
            assert_eq!(values[setting.name].origin, Origin::Variable(setting.variable));
            machine.variables.pop();
            let path = machine.write("millpond.toml", &format!("{} = \"x9\"", setting.name));
            let values = machine.gather("").expect("file");
            assert_eq!(values[setting.name], Value { text: "x9".into(), origin: Origin::File(path) });
        }
    }

    #[test]
    fn the_documentation_names_every_setting() {
        let page = include_str!("../../../../docs/configuration.md");
        for setting in SETTINGS {
            let flag = args::FLAGS.iter().find(|(name, _)| *name == setting.name);
            let flag = flag.map_or("none".to_owned(), |(_, flag)| format!("`--{flag}`"));
            let row = format!("| `{}` | `{}` | {flag} |", setting.name, setting.variable);
            assert!(page.contains(&row), "docs/configuration.md lacks {row:?}");
        }
    }

    #[test]
    fn fuzz_configuration() {
        let seed = "listen = \"0.0.0.0:8000\"\nconnections_max = 7\nlocal_import = [\"/a\"]\n[tls]\ncert = \"c\"\n[log]\nlevel = \"info,a=debug\"\n";
        let words: Vec<&str> =
            SETTINGS.iter().map(|setting| setting.name).chain(["[", "]", " = ", "\"", "\n"]).collect();
        let fuzz =
            millpond_testkit::fuzz::Fuzz { name: "configuration", seeds: vec![seed.into()], words: &words };
        let around = Surroundings { variable: &|_| None, stderr_is_terminal: false, folder: "/work".into() };
        fuzz.run(|input| {
            let found = match file::parse(&String::from_utf8_lossy(input)) {
                Ok(found) => found,
                Err(error) => return format!("{error:#}").chars().take(40).collect(),
            };
            let mut values = defaults(&around);
            let data = ("data", "/d".to_owned());
            let key = ("master_key_file", "/k".to_owned());
            for (name, text) in [data, key].into_iter().chain(found) {
                values.insert(name, Value { text, origin: Origin::Variable("TEST") });
            }
            Config::build(&values, &around)
                .err()
                .map_or("built".to_owned(), |error| error.to_string().chars().take(30).collect())
        });
    }
}
