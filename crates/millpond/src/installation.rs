//! Everything a server is made of, opened in order: port, data directory, master key, stores, engine,
//! authority, service. What opens first is what fails most often and costs least.

use crate::config::Config;
use crate::data_folder::DataFolder;
use crate::doors::ServiceDoors;
use crate::machine::{self, OsRandom, SystemClock};
use crate::master_key::{self, DataIs};
use crate::server::body::Pace;
use crate::server::metrics::Metrics;
use crate::server::tls::Certificates;
use crate::server::{Admission, Requests, Server, Stopped};
use anyhow::{Context, Result};
use bytes::Bytes;
use millpond_auth::{AdminKeys, Auth, Sealer};
use millpond_blob::{Blobs, LocalBlobs};
use millpond_engine::{Actor, Engine};
use millpond_kv::{Batch, Expect, Kv, KvError, LocalKv, Write};
use millpond_oidc::RelyingParty;
use millpond_origin::LocalFolders;
use millpond_service::audit::audit_note;
use millpond_service::{Random, Service};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// The user that a single administrator is.
pub const ADMINISTRATOR: &str = "admin";

/// Most threads that look at the files of one import.
const IMPORT_THREADS_MAX: usize = 8;

/// Where the id of the installation is in the metadata store (`docs/formats/server.md`).
const INSTALLATION_ID: &[u8] = b"s/installation-id";

/// An open installation whose port is bound; connections wait until [`serve`](Self::serve).
pub struct Installation {
    /// The verbs.
    pub service: Arc<Service>,
    /// The administrator's key.
    pub keys: AdminKeys,
    /// The data directory.
    pub data: DataFolder,
    /// Where it listens.
    pub address: SocketAddr,
    listener: TcpListener,
    certificates: Option<Arc<Certificates>>,
    metrics: Metrics,
}

impl Installation {
    /// Opens everything.
    ///
    /// # Errors
    /// Each says what to type next.
    pub async fn open(config: &Config) -> Result<Self> {
        machine::raise_file_limit();
        let listener = bind(&config.listen).await?;
        let address = listener.local_addr().context("find out the port")?;
        let certificates = config.tls.clone().map(Certificates::load).transpose()?;
        let data = DataFolder::take(&config.data)?;
        let data_is = if data.metadata_file().exists() { DataIs::Existing } else { DataIs::New };
        let master_key = master_key::load_or_create(&config.master_key_file, data_is, &OsRandom)?;
        for folder in config.local_import.iter().filter(|folder| !folder.is_dir()) {
            tracing::warn!(folder = %folder.display(), "the directory to import from is not there");
        }

        let (clock, random) = (Arc::new(SystemClock), Arc::new(OsRandom));
        let kv: Arc<dyn Kv> = Arc::new(LocalKv::open(data.metadata_file())?);
        let blobs = LocalBlobs::open(data.blobs_folder())?;
        for damage in blobs.damage() {
            tracing::error!(
                file = %damage.file.display(),
                offset = damage.offset,
                what = damage.what,
                "stored bytes are damaged; what they held cannot be read, everything else can"
            );
        }
        let blobs: Arc<dyn Blobs> = blobs;
        let sealed_with = millpond_auth::sealed_with(&*kv).await.context("read which key seals secrets")?;
        let master_key = master_key::settle(&config.master_key_file, master_key, sealed_with.as_deref())?;
        let auth = Auth::open(kv.clone(), Sealer::new(&master_key), random.clone(), clock.clone()).await;
        let auth = Arc::new(auth.with_context(|| {
            format!("is {} the master key of this data directory?", config.master_key_file.display())
        })?);
        // Nobody asked for it but whoever started the server.
        let note = |told| audit_note(told, &Actor::default(), "set-up-administrator");
        let given = config.admin.as_ref().map(|(id, secret)| (id.as_str(), secret.as_str()));
        let keys = auth
            .ensure_admin_beside(ADMINISTRATOR, given, note)
            .await
            .context("set up the administrator's key")?;
        let id = installation_id(&*kv, &OsRandom).await.context("find the id of the installation")?;
        let options = millpond_engine::Options {
            origin: Arc::new(origin(config)),
            audit_retention: config.audit_retention,
            ..Default::default()
        };
        let engine = Engine::open(kv, blobs, clock.clone(), random.clone(), options).await;
        let engine = engine.with_context(|| format!("open the data directory {}", data.path().display()))?;
        data.note_format()?;
        engine.resume_imports();
        let places = crate::upkeep::Places { allowed: config.backup.clone(), data: config.data.clone() };
        let key_file = master_key::KeyFile(config.master_key_file.clone());
        let provider = provider(config, clock.clone(), random.clone())?;
        let service = Service::new(engine, auth, clock, random, id)
            .with_backups(Arc::new(places))
            .with_master_keys(Arc::new(key_file));
        let service = match provider {
            Some(provider) => service.with_provider(provider),
            None => service,
        };
        let service = Arc::new(service);
        let metrics = Metrics::install()?;
        Ok(Self { service, keys, data, address, listener, certificates, metrics })
    }

    /// The address for a client on this machine.
    pub fn url(&self) -> String {
        self.url_with("http")
    }

    /// The address for a browser on this machine: with https where there is a certificate, so that its cookie is kept.
    pub fn browser_url(&self) -> String {
        self.url_with(if self.certificates.is_some() { "https" } else { "http" })
    }

    fn url_with(&self, scheme: &str) -> String {
        let host = match self.address {
            SocketAddr::V4(address) if address.ip().is_unspecified() => "127.0.0.1".to_owned(),
            SocketAddr::V6(address) if address.ip().is_unspecified() => "[::1]".to_owned(),
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        format!("{scheme}://{host}:{}", self.address.port())
    }

    /// Serves until `stop`, finishes what runs, and closes the stores.
    pub async fn serve(self, config: &Config, stop: impl Future<Output = ()>) -> Result<Stopped> {
        let doors = Arc::new(ServiceDoors::new(&self.service, config));
        let upkeep = tokio::spawn(self.metrics.clone().keep_up());
        let accounts = tokio::spawn(keep_accounts(self.service.clone()));
        let bounds = config.bounds;
        let requests = Arc::new(Requests {
            doors,
            metrics: self.metrics,
            log: config.log_requests,
            admission: Admission::new(&bounds),
            pace: Pace::from(&bounds),
            trusted_proxies: config.trusted_proxies.clone(),
        });
        let server = Server { listener: self.listener, certificates: self.certificates, requests, bounds };
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            address = %self.address,
            https = config.tls.is_some(),
            data = %self.data.path().display(),
            "listening"
        );
        let stopped = server.serve(stop).await;
        upkeep.abort();
        accounts.abort();
        self.service.close().await.context("close the stores")?;
        tracing::info!(?stopped, "stopped");
        Ok(stopped)
    }
}

/// Every minute: how keys were used, and what has ended by itself.
async fn keep_accounts(service: Arc<Service>) {
    let mut minutes = tokio::time::interval(Duration::from_secs(60));
    minutes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        minutes.tick().await;
        if let Err(error) = service.keep_accounts().await {
            tracing::warn!(%error, "access keys and sessions were not kept up; the next minute tries again");
        }
    }
}

/// Who vouches for people, if a provider is set. It is asked when somebody signs in, and not before.
fn provider(
    config: &Config,
    clock: Arc<SystemClock>,
    random: Arc<OsRandom>,
) -> Result<Option<millpond_service::Provider>> {
    let Some(oidc) = &config.oidc else { return Ok(None) };
    let party = RelyingParty::new(oidc.settings.clone(), clock, random)
        .context("set up sign-in through the provider of auth.oidc.issuer")?;
    Ok(Some(millpond_service::Provider { party, create_users: oidc.create_users }))
}

/// What may be imported: the configured directories without what the server keeps for itself.
fn origin(config: &Config) -> LocalFolders {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(IMPORT_THREADS_MAX);
    LocalFolders::new(config.local_import.clone(), hidden(config), threads)
}

/// What holds secrets, or is the server's own.
fn hidden(config: &Config) -> Vec<PathBuf> {
    let mut hidden = vec![config.data.clone(), config.master_key_file.clone()];
    hidden.extend(config.file.clone());
    hidden.extend(config.backup.iter().cloned());
    hidden.extend(machine::config_folder(&machine::variable));
    hidden.extend(config.tls.as_ref().map(|tls| tls.key.clone()));
    hidden
}

async fn bind(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let next = match error.kind() {
            ErrorKind::AddrInUse => {
                ": another program has the port. If that is a Millpond server, use it ('millpond repo list'); \
                 else take another port, for example --listen 127.0.0.1:8001"
            }
            ErrorKind::PermissionDenied => ": ports below 1024 need a privilege; take another with --listen",
            _ => "; name an address of this machine with --listen",
        };
        anyhow::anyhow!("cannot listen on {address}: {error}{next}")
    })
}

/// The id of this installation, made at its first start.
async fn installation_id(kv: &dyn Kv, random: &dyn Random) -> Result<String> {
    let key = Bytes::from_static(INSTALLATION_ID);
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    let new = Bytes::from(hex::encode(bytes));
    let batch = Batch {
        preconditions: vec![(key.clone(), Expect::Absent)],
        writes: vec![Write::Put(key.clone(), new)],
    };
    match kv.commit(batch).await {
        Ok(()) | Err(KvError::PreconditionFailed(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let stored = kv.get(&key).await?.context("it was just written")?;
    Ok(String::from_utf8_lossy(&stored).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_installation_keeps_its_id() {
        let kv = millpond_kv::MemoryKv::new();
        let first = installation_id(&kv, &OsRandom).await.expect("made");
        assert_eq!(first.len(), 32);
        assert_eq!(installation_id(&kv, &OsRandom).await.expect("found"), first);
    }

    #[tokio::test]
    async fn a_taken_port_says_what_to_type() {
        let holder = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = holder.local_addr().expect("an address").to_string();
        let error = bind(&address).await.expect_err("taken").to_string();
        assert!(error.contains(&address) && error.contains("--listen 127.0.0.1:8001"), "{error}");
    }
}
