//! Passwords: argon2id, a few at a time, and the same work for users who do not exist.
//!
//! One check takes 19 MiB and some 40 ms on purpose, so that stolen hashes cost an attacker as much per guess. So
//! few are computed at a time: signing in must not take the machine away from those who are signed in.

use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::store::PasswordRecord;
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use millpond_types::Random;
use millpond_types::limits::{PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// The parameters of new hashes: what OWASP asks for at least, and the default of the library.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// Checks at a time.
const AT_A_TIME: usize = 2;
/// Checks that wait beside them; more are told to come again.
const WAITING_MAX: usize = 32;

/// The hash of a password, ready to be stored.
#[derive(Clone)]
pub struct PasswordHash(pub(crate) Arc<PasswordRecord>);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// The one place where passwords are hashed.
pub struct Passwords {
    room: Arc<Semaphore>,
    computing: Arc<Semaphore>,
    /// Compared with where there is no user or no password.
    nobody: PasswordHash,
}

impl Passwords {
    pub fn new(random: &dyn Random) -> Self {
        let mut hash = [0; HASH_BYTES];
        random.fill(&mut hash);
        Self {
            room: Arc::new(Semaphore::new(AT_A_TIME + WAITING_MAX)),
            computing: Arc::new(Semaphore::new(AT_A_TIME)),
            nobody: PasswordHash(Arc::new(PasswordRecord {
                memory_kib: MEMORY_KIB,
                passes: PASSES,
                lanes: LANES,
                salt: Bytes::from_static(&[0; SALT_BYTES]),
                // Random, so no password has it.
                hash: Bytes::copy_from_slice(&hash),
            })),
        }
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that is too short or too long; [`Error::Busy`].
    pub async fn hash(&self, password: &Secret, random: &dyn Random) -> Result<PasswordHash> {
        let bytes = password.expose().len();
        if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&bytes) {
            let rule =
                format!("a password has {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes, not {bytes}");
            return Err(Error::Invalid(rule.into()));
        }
        let mut salt = [0; SALT_BYTES];
        random.fill(&mut salt);
        let salt = Bytes::copy_from_slice(&salt);
        let empty =
            PasswordRecord { memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES, salt, hash: Bytes::new() };
        let (record, hash) = self.compute(empty, password.clone()).await?;
        let hash = Bytes::copy_from_slice(&hash.ok_or(Error::Refused)?);
        Ok(PasswordHash(Arc::new(PasswordRecord { hash, ..record })))
    }

    /// Whether this is the password. Without a hash it takes as long and is not.
    ///
    /// # Errors
    /// [`Error::Busy`] when too many are being checked.
    pub async fn check(&self, password: &Secret, stored: Option<&PasswordHash>) -> Result<bool> {
        if password.expose().len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let PasswordHash(stored) = stored.unwrap_or(&self.nobody);
        let (stored, hash) = self.compute((**stored).clone(), password.clone()).await?;
        Ok(hash.is_some_and(|hash| verify_slices_are_equal(&hash, &stored.hash).is_ok()))
    }

    async fn compute(
        &self,
        record: PasswordRecord,
        password: Secret,
    ) -> Result<(PasswordRecord, Option<[u8; HASH_BYTES]>)> {
        let room = self.room.clone().try_acquire_owned().map_err(|_| Error::Busy(Duration::from_secs(1)))?;
        let turn = self.computing.clone().acquire_owned().await.expect("nobody closes the semaphore");
        let work = move || {
            // Held until the work is done, also where nobody waits for it any more.
            let _held = (room, turn);
            let hash = argon2id(&record, &password);
            (record, hash)
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Error::Refused)
    }
}

/// `None`: the stored parameters are out of bounds.
fn argon2id(record: &PasswordRecord, password: &Secret) -> Option<[u8; HASH_BYTES]> {
    let params = Params::new(record.memory_kib, record.passes, record.lanes, Some(HASH_BYTES)).ok()?;
    let mut hash = [0; HASH_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.expose().as_bytes(), &record.salt, &mut hash)
        .ok()?;
    Some(hash)
}
