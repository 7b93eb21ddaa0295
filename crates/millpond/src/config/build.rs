//! Values become types here, once; what is wrong is said with where it came from.

use super::{Origin, Surroundings, Values};
use crate::server::{Bounds, TrustedProxies};
use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing_subscriber::filter::Targets;

/// Everything a server needs to know.
pub struct Config {
    /// `host:port`.
    pub listen: String,
    /// The file that some of this came from.
    pub file: Option<PathBuf>,
    /// The data directory.
    pub data: PathBuf,
    /// The file with the master key.
    pub master_key_file: PathBuf,
    /// The administrator's key, if configured. Both halves.
    pub admin: Option<(String, String)>,
    /// Directories that may be imported from.
    pub local_import: Vec<PathBuf>,
    /// Directories below which backups may be made.
    pub backup: Vec<PathBuf>,
    /// Where browsers reach this server, if said.
    pub external_url: Option<String>,
    /// Sign-in through a provider.
    pub oidc: Option<super::Oidc>,
    /// For how long the audit trail is kept; `None`: for ever.
    pub audit_retention: Option<Duration>,
    /// Where certificate and key are, if https is served.
    pub tls: Option<TlsFiles>,
    /// Proxies whose word about a client's address counts.
    pub trusted_proxies: TrustedProxies,
    /// Host names of the S3 door.
    pub s3_domains: Vec<String>,
    /// Region that S3 clients are told.
    pub s3_region: String,
    /// How to write the log.
    pub log_format: LogFormat,
    /// What to write to it.
    pub log_targets: Targets,
    /// Which requests to write to it.
    pub log_requests: LogRequests,
    /// How much at a time, and how long.
    pub bounds: Bounds,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// The look of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Which requests are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogRequests {
    /// Every one.
    All,
    /// Status 500 and more, and those that were cut off.
    Errors,
    /// None.
    None,
}

/// A number among the settings.
pub struct Bound {
    /// The setting.
    pub name: &'static str,
    max: u64,
    set: fn(&mut Bounds, u64),
    /// Its value.
    pub of: fn(&Bounds) -> u64,
}

/// All of them. Times are in seconds.
pub const BOUNDS: &[Bound] = &[
    Bound {
        name: "connections_max",
        max: 1_000_000,
        set: |bounds, n| bounds.connections_max = n as usize,
        of: |bounds| bounds.connections_max as u64,
    },
    Bound {
        name: "requests_max",
        max: 1_000_000,
        set: |bounds, n| bounds.requests_max = n as usize,
        of: |bounds| bounds.requests_max as u64,
    },
    Bound {
        name: "body_memory_mib",
        max: 1_000_000,
        set: |bounds, n| bounds.body_memory_bytes = (n as usize) << 20,
        of: |bounds| bounds.body_memory_bytes as u64 >> 20,
    },
    Bound {
        name: "body_rate_min",
        max: 1_000_000_000,
        set: |bounds, n| bounds.body_rate_min = n,
        of: |bounds| bounds.body_rate_min,
    },
    Bound {
        name: "timeouts.first_request",
        max: TIME_MAX,
        set: |bounds, n| bounds.first_request = Duration::from_secs(n),
        of: |bounds| bounds.first_request.as_secs(),
    },
    Bound {
        name: "timeouts.head",
        max: TIME_MAX,
        set: |bounds, n| bounds.head = Duration::from_secs(n),
        of: |bounds| bounds.head.as_secs(),
    },
    Bound {
        name: "timeouts.idle",
        max: TIME_MAX,
        set: |bounds, n| bounds.idle = Duration::from_secs(n),
        of: |bounds| bounds.idle.as_secs(),
    },
    Bound {
        name: "timeouts.stalled",
        max: TIME_MAX,
        set: |bounds, n| bounds.stalled = Duration::from_secs(n),
        of: |bounds| bounds.stalled.as_secs(),
    },
];

/// A day, in seconds.
const TIME_MAX: u64 = 86_400;
/// A hundred years.
const DAYS_MAX: u64 = 36_500;

/// What stands between the items of a list setting: paths may hold commas, host names no colon.
pub fn separator(name: &str) -> &'static str {
    if matches!(name, "local_import" | "backup") { ":" } else { "," }
}

impl Config {
    /// Checks all values.
    ///
    /// # Errors
    /// A value breaks its rule or a needed one is missing; the message says which, and its origin.
    pub fn build(values: &Values, around: &Surroundings<'_>) -> Result<Self> {
        let text =
            |name: &str| values.get(name).map(|value| value.text.as_str()).filter(|text| !text.is_empty());
        let path = |name: &str| text(name).map(|path| absolute(values, name, path, around));
        let list = |name: &str| -> Vec<&str> {
            let items = text(name).unwrap_or_default().split(separator(name));
            items.map(str::trim).filter(|item| !item.is_empty()).collect()
        };
        let wrong = |name: &str, rule: &str| {
            let value = &values[name];
            anyhow::anyhow!("{name} is '{}' (from {}), but must be {rule}", value.text, value.origin)
        };
        let no_place = "neither it nor HOME is set; name a place, for example with";
        let data = path("data").with_context(|| format!("no data directory: {no_place} --data ./data"))?;
        let master_key_file = path("master_key_file").with_context(|| {
            format!("no file for the master key: {no_place} --master-key-file ./master.key")
        })?;
        ensure!(
            !master_key_file.starts_with(&data),
            "the master key file {} lies in the data directory: whoever copies the data would have the key; \
             name another place with --master-key-file",
            master_key_file.display()
        );
        let admin = match (text("admin.access_key_id"), text("admin.secret_access_key")) {
            (Some(id), Some(secret)) => Some((id.to_owned(), secret.to_owned())),
            (None, None) => None,
            _ => bail!(
                "only one half of the administrator's key is set; set both MILLPOND_ADMIN_ACCESS_KEY_ID and \
                 MILLPOND_ADMIN_SECRET_ACCESS_KEY, or neither"
            ),
        };
        let oidc = super::Oidc::build(&text, &list)?;
        let tls = match (path("tls.cert"), path("tls.key")) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            _ => bail!(
                "https needs both a certificate and its key; set both --tls-cert and --tls-key, or neither"
            ),
        };
        let log_format = match text("log.format") {
            Some("json") => LogFormat::Json,
            Some("text") | None => LogFormat::Text,
            Some(_) => return Err(wrong("log.format", "text or json")),
        };
        let log_requests = match text("log.requests") {
            Some("all") => LogRequests::All,
            Some("errors") | None => LogRequests::Errors,
            Some("none") => LogRequests::None,
            Some(_) => return Err(wrong("log.requests", "all, errors or none")),
        };
        let log_targets = log_targets(text("log.level").unwrap_or("info"))
            .ok_or_else(|| wrong("log.level", "error, warn, info, debug or trace, also per module"))?;
        let audit_retention = match text("audit_retention_days").map(str::parse::<u64>) {
            None => None,
            Some(Ok(days)) if (1..=DAYS_MAX).contains(&days) => Some(Duration::from_secs(days * TIME_MAX)),
            Some(_) => {
                return Err(wrong(
                    "audit_retention_days",
                    &format!("a number from 1 to {DAYS_MAX}, or unset"),
                ));
            }
        };
        let mut bounds = Bounds::default();
        for bound in BOUNDS {
            match text(bound.name).map(str::parse::<u64>) {
                None => {}
                Some(Ok(number)) if (1..=bound.max).contains(&number) => (bound.set)(&mut bounds, number),
                Some(_) => return Err(wrong(bound.name, &format!("a number from 1 to {}", bound.max))),
            }
        }
        let network = |item: &&str| {
            // An address is the network of that one address.
            item.parse()
                .or_else(|_| item.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| wrong("trusted_proxies", "addresses or networks, like 10.0.0.0/8 or 192.0.2.7"))
        };
        let trusted_proxies = list("trusted_proxies").iter().map(network).collect::<Result<_>>()?;
        let listen = text("listen").unwrap_or("127.0.0.1:8000");
        if !listen
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        {
            return Err(wrong("listen", "an address and a port, like 127.0.0.1:8000 or 0.0.0.0:8000"));
        }
        let paths = |name: &str| -> Vec<PathBuf> {
            list(name).iter().map(|item| absolute(values, name, item, around)).collect()
        };
        let file = values.values().find_map(|value| match &value.origin {
            Origin::File(path) => Some(path.clone()),
            _ => None,
        });
        Ok(Self {
            listen: listen.to_owned(),
            file,
            data,
            master_key_file,
            admin,
            local_import: paths("local_import"),
            backup: paths("backup"),
            audit_retention,
            external_url: text("external_url").map(str::to_owned),
            oidc,
            tls,
            trusted_proxies: TrustedProxies::new(trusted_proxies),
            s3_domains: list("s3.domains").into_iter().map(str::to_ascii_lowercase).collect(),
            s3_region: text("s3.region").unwrap_or("us-east-1").to_owned(),
            log_format,
            log_targets,
            log_requests,
            bounds,
        })
    }
}

/// A path in a file is relative to that file, any other to the working directory.
fn absolute(values: &Values, name: &str, path: &str, around: &Surroundings<'_>) -> PathBuf {
    let base = match values.get(name).map(|value| &value.origin) {
        Some(Origin::File(file)) => file.parent().unwrap_or(Path::new("/")),
        _ => &around.folder,
    };
    base.join(path)
}

/// Libraries speak up only when something is wrong, unless named: some print headers, and with them secrets,
/// at lower levels.
fn log_targets(text: &str) -> Option<Targets> {
    let given: Targets = text.parse().ok()?;
    let mut targets: Targets =
        "hyper=error,hyper_util=error,h2=error,rustls=error,s3s=warn,reqwest=warn".parse().ok()?;
    if let Some(level) = given.default_level() {
        targets = targets.with_default(level);
    }
    Some(targets.with_targets(given.iter().map(|(target, level)| (target.to_owned(), level))))
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::*;

    fn build(pairs: &[(&'static str, &str)]) -> Result<Config> {
        let mut values = Values::new();
        for (name, text) in [("data", "d"), ("master_key_file", "/k/master.key")].iter().chain(pairs) {
            values.insert(name, Value { text: (*text).to_owned(), origin: Origin::Variable("TEST") });
        }
        let around = Surroundings { variable: &|_| None, stderr_is_terminal: false, folder: "/work".into() };
        Config::build(&values, &around)
    }

    #[test]
    fn lists_and_paths() {
        let config =
            build(&[("local_import", "/a:b: "), ("s3.domains", "S3.Example.org, x")]).expect("builds");
        assert_eq!(config.data, Path::new("/work/d"));
        assert_eq!(config.local_import, [Path::new("/a"), Path::new("/work/b")]);
        assert_eq!(config.s3_domains, ["s3.example.org", "x"]);
        assert_eq!(config.audit_retention, None, "nothing is forgotten unless somebody says so");
        let days = build(&[("audit_retention_days", "2")]).expect("builds").audit_retention;
        assert_eq!(days, Some(Duration::from_secs(2 * 86_400)));
        assert!(build(&[("trusted_proxies", "10.0.0.0/8, 192.0.2.7,fd00::/8")]).is_ok());
        for wrong in ["proxy", "10.0.0.0/33", "10.0.0.0-10.0.0.9"] {
            let error = build(&[("trusted_proxies", wrong)]).err().expect(wrong).to_string();
            assert!(error.contains("trusted_proxies") && error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn paths_in_a_file_are_relative_to_it() {
        let mut values = Values::new();
        let origin = Origin::File("/etc/millpond/millpond.toml".into());
        for (name, text) in [("data", "d"), ("master_key_file", "master.key")] {
            values.insert(name, Value { text: text.to_owned(), origin: origin.clone() });
        }
        let around = Surroundings { variable: &|_| None, stderr_is_terminal: false, folder: "/work".into() };
        let config = Config::build(&values, &around).expect("builds");
        assert_eq!(config.master_key_file, Path::new("/etc/millpond/master.key"));
        assert_eq!(config.file.as_deref(), Some(Path::new("/etc/millpond/millpond.toml")), "to be hidden");
    }

    #[test]
    fn mistakes_say_what_and_from_where() {
        let table: &[(&[(&'static str, &str)], &str)] = &[
            (&[("listen", "8000")], "listen is '8000' (from TEST)"),
            (&[("listen", ":8000")], "listen"),
            (&[("listen", "a:70000")], "listen"),
            (&[("admin.access_key_id", "A")], "MILLPOND_ADMIN_SECRET_ACCESS_KEY"),
            (&[("tls.cert", "c")], "--tls-key"),
            (&[("log.format", "xml")], "text or json"),
            (&[("log.level", "loud=very")], "log.level"),
            (&[("log.requests", "some")], "errors"),
            (&[("connections_max", "0")], "connections_max"),
            (&[("audit_retention_days", "0")], "audit_retention_days is '0' (from TEST)"),
            (&[("timeouts.head", "86401")], "from 1 to 86400"),
            (&[("master_key_file", "/work/d/master.key")], "lies in the data directory"),
        ];
        for (pairs, part) in table {
            let error = build(pairs).err().map(|error| error.to_string()).expect("refused");
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn libraries_are_quiet_at_every_level_unless_named() {
        let targets = log_targets("trace").expect("a level");
        assert!(targets.would_enable("millpond_engine", &tracing::Level::TRACE));
        assert!(!targets.would_enable("s3s::service", &tracing::Level::INFO));
        assert!(!targets.would_enable("hyper::proto", &tracing::Level::WARN));
        let targets = log_targets("warn,hyper=debug").expect("levels");
        assert!(targets.would_enable("hyper::proto", &tracing::Level::DEBUG));
        assert!(!targets.would_enable("millpond", &tracing::Level::INFO));
    }
}
