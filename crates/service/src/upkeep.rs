//! Verbs for whoever keeps the server: check everything stored, back it up, seal its secrets with a new master key.

use crate::gate::{Caller, Service, auth_error};
use millpond_auth::{Action, Resource, Sealer};
use millpond_engine::{BackupReport, Error, FsckReport, FsckRequest, Kind, Result, Stores, Watch};
use std::sync::Arc;

/// Opens the stores of a backup. The binary knows which directories may hold one.
pub trait BackupPlaces: Send + Sync {
    /// The stores in a directory, made if it is new or empty.
    ///
    /// # Errors
    /// `Denied` for a directory that is not allowed; others when it cannot be opened.
    fn open(&self, directory: &str) -> Result<Stores>;
}

/// No backup may be made through this server.
pub(crate) struct Nowhere;

impl BackupPlaces for Nowhere {
    fn open(&self, _: &str) -> Result<Stores> {
        Err(Error::new(Kind::NotImplemented, "this server makes no backups"))
    }
}

/// Keeps the master key. The binary knows in which file.
pub trait MasterKeys: Send + Sync {
    /// Makes a new key and keeps it durably beside the present one.
    ///
    /// # Errors
    /// `Invalid` when there is no place for it.
    fn prepare(&self) -> Result<Sealer>;
    /// Puts the prepared key in the place of the other, durably.
    ///
    /// # Errors
    /// `Internal`; both keys are still there then, and the next start does it.
    fn adopt(&self) -> Result<()>;
}

impl MasterKeys for Nowhere {
    fn prepare(&self) -> Result<Sealer> {
        Err(Error::new(Kind::NotImplemented, "this server does not keep its master key"))
    }
    fn adopt(&self) -> Result<()> {
        self.prepare().map(drop)
    }
}

impl Service {
    /// With a master key that may be exchanged.
    pub fn with_master_keys(mut self, keys: Arc<dyn MasterKeys>) -> Self {
        self.master_keys = keys;
        self
    }

    /// Makes a new master key and seals every secret with it; gives its id. Cut off anywhere, one of the two keys opens
    /// everything, and the next start keeps that one.
    ///
    /// # Errors
    /// The caller may not, there is no place for the key, or the store fails.
    pub async fn rotate_master_key(&self, caller: &Caller) -> Result<String> {
        let needs = [(Action::RotateMasterKey, Resource::Any)];
        self.permit(caller, &needs)?;
        // One at a time: the one prepared is the one adopted.
        let mut change = self.auth.change().await;
        let p = self.permit(caller, &needs)?;
        let keys = self.master_keys.clone();
        let sealer = blocking(move || keys.prepare()).await?;
        change.rotate_master_key(sealer).await.map_err(auth_error)?;
        self.commit_noted(&p.actor, Action::RotateMasterKey.name(), change).await?;
        let keys = self.master_keys.clone();
        blocking(move || keys.adopt()).await?;
        Ok(self.auth.master_key_id())
    }

    /// With directories that backups may be made in.
    pub fn with_backups(mut self, places: Arc<dyn BackupPlaces>) -> Self {
        self.backups = places;
        self
    }

    /// Makes sure that everything stored may be checked, and gives the check. See [`millpond_engine::Engine::fsck`].
    ///
    /// # Errors
    /// At once: the caller may not, or there is no such repository. Of the check: the stores fail.
    pub fn fsck(
        &self,
        caller: &Caller,
        request: FsckRequest,
        watch: Arc<Watch>,
    ) -> Result<impl Future<Output = Result<FsckReport>> + Send + use<>> {
        let p = self.permit(caller, &[(Action::CheckStores, Resource::Any)])?;
        if let Some(repository) = &request.repository {
            p.engine.get_repository(repository)?;
        }
        Ok(async move { p.engine.fsck(request, watch).await })
    }

    /// Opens a directory of the server for a backup of everything, and gives the backup. See
    /// [`millpond_engine::Engine::backup`].
    ///
    /// # Errors
    /// At once: the caller may not, or the directory cannot hold a backup. Of the backup: the stores fail.
    pub async fn backup(
        &self,
        caller: &Caller,
        directory: &str,
        watch: Arc<Watch>,
    ) -> Result<impl Future<Output = Result<BackupReport>> + Send + use<>> {
        let p = self.permit(caller, &[(Action::BackUp, Resource::Any)])?;
        let (places, directory) = (self.backups.clone(), directory.to_owned());
        // Opening a store waits for the disk.
        let to = blocking(move || places.open(&directory)).await?;
        Ok(async move { p.engine.backup(&to, &watch).await })
    }
}

/// What waits for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::new(Kind::Internal, format!("the work broke off: {error}"))))
}
