//! Verbs for whoever keeps the server: check everything stored, back it up.

use crate::gate::{Caller, Service};
use millpond_auth::{Action, Resource};
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

impl Service {
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
        let opened = tokio::task::spawn_blocking(move || places.open(&directory)).await;
        let to =
            opened.map_err(|e| Error::new(Kind::Internal, format!("opening the backup failed: {e}")))??;
        Ok(async move { p.engine.backup(&to, &watch).await })
    }
}
