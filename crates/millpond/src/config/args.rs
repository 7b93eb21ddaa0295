//! The flags of the verbs that run or explain a server.

use clap::Args;
use std::path::PathBuf;

/// Name of each setting and of its flag.
#[cfg(test)]
pub const FLAGS: &[(&str, &str)] = &[
    ("listen", "listen"),
    ("data", "data"),
    ("master_key_file", "master-key-file"),
    ("admin.access_key_id", "admin-access-key-id"),
    ("admin.secret_access_key", "admin-secret-access-key"),
    ("local_import", "local-import"),
    ("backup", "backup-directory"),
    ("audit_retention_days", "audit-retention-days"),
    ("external_url", "external-url"),
    ("tls.cert", "tls-cert"),
    ("tls.key", "tls-key"),
    ("trusted_proxies", "trusted-proxy"),
    ("s3.domains", "s3-domain"),
    ("s3.region", "s3-region"),
    ("log.format", "log-format"),
    ("log.level", "log-level"),
    ("log.requests", "log-requests"),
    ("connections_max", "connections-max"),
    ("requests_max", "requests-max"),
    ("body_memory_mib", "body-memory-mib"),
    ("body_rate_min", "body-rate-min"),
    ("timeouts.first_request", "first-request-timeout"),
    ("timeouts.head", "head-timeout"),
    ("timeouts.idle", "idle-timeout"),
    ("timeouts.stalled", "stalled-timeout"),
];

/// Flags of a server. Each can also be set by its variable or in millpond.toml.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Server options")]
pub struct ServerArgs {
    /// Configuration file [env: MILLPOND_CONFIG] [default: ./millpond.toml, then
    /// ~/.config/millpond/millpond.toml, where they exist]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port; port 0 takes any free one [env: MILLPOND_LISTEN] [default: 127.0.0.1:8000]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Directory that holds everything stored [env: MILLPOND_DATA] [default: ~/.local/share/millpond]
    #[arg(long, value_name = "DIRECTORY")]
    pub data: Option<String>,
    /// File with the key that seals stored secrets, made at the first start
    /// [env: MILLPOND_MASTER_KEY_FILE] [default: ~/.config/millpond/master.key]
    #[arg(long, value_name = "FILE")]
    pub master_key_file: Option<String>,
    /// Access key id of the administrator [env: MILLPOND_ADMIN_ACCESS_KEY_ID] [default: random]
    #[arg(long, value_name = "ID")]
    pub admin_access_key_id: Option<String>,
    /// Secret of that key; other users of this machine can see flags, so prefer the environment
    /// [env: MILLPOND_ADMIN_SECRET_ACCESS_KEY] [default: random]
    #[arg(long, value_name = "SECRET")]
    pub admin_secret_access_key: Option<String>,
    /// Directory that may be imported from; repeat for more [env: MILLPOND_LOCAL_IMPORT] [default: none]
    #[arg(long, value_name = "DIRECTORY")]
    pub local_import: Vec<String>,
    /// Directory below which backups may be made through this server; repeat for more
    /// [env: MILLPOND_BACKUP] [default: none]
    #[arg(long, value_name = "DIRECTORY")]
    pub backup_directory: Vec<String>,
    /// Days after which the audit trail may forget [env: MILLPOND_AUDIT_RETENTION_DAYS] [default: it never does]
    #[arg(long, value_name = "DAYS")]
    pub audit_retention_days: Option<String>,
    /// Address at which browsers reach this server, for sign-in through a provider
    /// [env: MILLPOND_EXTERNAL_URL]
    #[arg(long, value_name = "URL")]
    pub external_url: Option<String>,
    /// Certificate chain (PEM): https beside http on the same port; read again when it changes
    /// [env: MILLPOND_TLS_CERT]
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<String>,
    /// Private key of the certificate (PEM) [env: MILLPOND_TLS_KEY]
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<String>,
    /// Address or network (10.0.0.0/8) of a proxy whose X-Forwarded-For is believed; repeat for more
    /// [env: MILLPOND_TRUSTED_PROXIES] [default: none]
    #[arg(long, value_name = "NETWORK")]
    pub trusted_proxy: Vec<String>,
    /// Host name whose requests go to the S3 door, also as <bucket>.<name>; repeat for more
    /// [env: MILLPOND_S3_DOMAINS] [default: s3.localhost]
    #[arg(long, value_name = "NAME")]
    pub s3_domain: Vec<String>,
    /// Region that S3 clients are told [env: MILLPOND_S3_REGION] [default: us-east-1]
    #[arg(long, value_name = "NAME")]
    pub s3_region: Option<String>,
    /// text or json [env: MILLPOND_LOG_FORMAT] [default: text on a terminal, json otherwise]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// error, warn, info, debug or trace; also per module: info,millpond_engine=debug
    /// [env: MILLPOND_LOG_LEVEL] [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Which requests are logged: all, errors or none [env: MILLPOND_LOG_REQUESTS] [default: errors]
    #[arg(long, value_name = "WHICH")]
    pub log_requests: Option<String>,
    /// Connections served at the same time; more are answered 503 [env: MILLPOND_CONNECTIONS_MAX]
    /// [default: 2048]
    #[arg(long, value_name = "NUMBER")]
    pub connections_max: Option<String>,
    /// Requests in work at the same time, a quarter kept for reads; more are answered 503
    /// [env: MILLPOND_REQUESTS_MAX] [default: 2048]
    #[arg(long, value_name = "NUMBER")]
    pub requests_max: Option<String>,
    /// Memory that bodies of requests may take together, in MiB; more of them wait 10 s, then get 503
    /// [env: MILLPOND_BODY_MEMORY_MIB] [default: 256]
    #[arg(long, value_name = "MIB")]
    pub body_memory_mib: Option<String>,
    /// Bytes a second of a body below which a client is cut off [env: MILLPOND_BODY_RATE_MIN]
    /// [default: 1024]
    #[arg(long, value_name = "BYTES")]
    pub body_rate_min: Option<String>,
    /// From connecting to the first request, TLS included [env: MILLPOND_FIRST_REQUEST_TIMEOUT]
    /// [default: 20]
    #[arg(long, value_name = "SECONDS")]
    pub first_request_timeout: Option<String>,
    /// From the first byte of a request's head to its last [env: MILLPOND_HEAD_TIMEOUT] [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub head_timeout: Option<String>,
    /// Between requests of a connection [env: MILLPOND_IDLE_TIMEOUT] [default: 75]
    #[arg(long, value_name = "SECONDS")]
    pub idle_timeout: Option<String>,
    /// For a client that takes nothing of a response, and for the rate of bodies
    /// [env: MILLPOND_STALLED_TIMEOUT] [default: 60]
    #[arg(long, value_name = "SECONDS")]
    pub stalled_timeout: Option<String>,
}

impl ServerArgs {
    /// Setting, flag and value of each flag that was given.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, &'static str, String)> {
        let many = |name, values: &[String]| {
            (!values.is_empty()).then(|| values.join(super::build::separator(name)))
        };
        [
            ("listen", "listen", self.listen.clone()),
            ("data", "data", self.data.clone()),
            ("master_key_file", "master-key-file", self.master_key_file.clone()),
            ("admin.access_key_id", "admin-access-key-id", self.admin_access_key_id.clone()),
            ("admin.secret_access_key", "admin-secret-access-key", self.admin_secret_access_key.clone()),
            ("local_import", "local-import", many("local_import", &self.local_import)),
            ("backup", "backup-directory", many("backup", &self.backup_directory)),
            ("audit_retention_days", "audit-retention-days", self.audit_retention_days.clone()),
            ("external_url", "external-url", self.external_url.clone()),
            ("tls.cert", "tls-cert", self.tls_cert.clone()),
            ("tls.key", "tls-key", self.tls_key.clone()),
            ("trusted_proxies", "trusted-proxy", many("trusted_proxies", &self.trusted_proxy)),
            ("s3.domains", "s3-domain", many("s3.domains", &self.s3_domain)),
            ("s3.region", "s3-region", self.s3_region.clone()),
            ("log.format", "log-format", self.log_format.clone()),
            ("log.level", "log-level", self.log_level.clone()),
            ("log.requests", "log-requests", self.log_requests.clone()),
            ("connections_max", "connections-max", self.connections_max.clone()),
            ("requests_max", "requests-max", self.requests_max.clone()),
            ("body_memory_mib", "body-memory-mib", self.body_memory_mib.clone()),
            ("body_rate_min", "body-rate-min", self.body_rate_min.clone()),
            ("timeouts.first_request", "first-request-timeout", self.first_request_timeout.clone()),
            ("timeouts.head", "head-timeout", self.head_timeout.clone()),
            ("timeouts.idle", "idle-timeout", self.idle_timeout.clone()),
            ("timeouts.stalled", "stalled-timeout", self.stalled_timeout.clone()),
        ]
        .into_iter()
        .filter_map(|(name, flag, value)| Some((name, flag, value?)))
    }
}
