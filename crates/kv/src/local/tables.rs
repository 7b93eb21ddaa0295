//! The redb file below the log: what was moved there, each value with its own checksum.
//!
//! Why each value ends with a checksum of key and value: redb looks at its page checksums only when it repairs,
//! so a bit that flipped on the disk would be read as if it had been written. And why reads catch panics: pages
//! whose structure is destroyed make redb panic, and one bad page must not take a thread of the server with it.
//! The file is described in docs/formats/metadata-file.md.

use super::pending::Pending;
use super::store_failed;
use super::untouched::Untouched;
use crate::KvError;
use bytes::Bytes;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition, TableHandle,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

type Rows<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;

/// Version 1: each value is followed by its [`checksum`].
const ROWS: Rows<'static> = TableDefinition::new("rows-1");
/// Version 0, before the first release: values alone.
const ROWS_0: Rows<'static> = TableDefinition::new("pairs");
/// One row, likewise with a checksum: [`FIRST_LOG`].
const LOGS: Rows<'static> = TableDefinition::new("logs-1");
/// Number of the oldest log whose records are not in the rows yet, 8 bytes little-endian.
const FIRST_LOG: &[u8] = b"first";
/// Bytes of a checksum.
const CHECKSUM_BYTES: usize = 4;
/// Page cache of the database, in bytes. The engine keeps what it reads often in its own memory.
const CACHE_BYTES: usize = 16 << 20;

/// The open file.
pub(super) struct Tables {
    database: Closing,
}

/// A database that may be closed whatever its pages are: redb writes its last state then, and panics if the pages that
/// it needs are destroyed. Everything acknowledged is durable before.
struct Closing(Option<Database>);

impl std::ops::Deref for Closing {
    type Target = Database;
    fn deref(&self) -> &Database {
        self.0.as_ref().expect("it is there until it is closed")
    }
}

impl std::ops::DerefMut for Closing {
    fn deref_mut(&mut self) -> &mut Database {
        self.0.as_mut().expect("it is there until it is closed")
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let database = self.0.take();
        // There is nobody to tell: who reads what is damaged is told then.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }
}

/// One state of the rows.
pub(super) struct Snapshot(redb::ReadTransaction);

impl Tables {
    /// Opens the file, or creates it.
    pub(super) fn open(path: &Path, directory: &Path) -> Result<Self, KvError> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        guarded(|| {
            let database =
                builder.create(path).map(|database| Closing(Some(database))).map_err(|e| match e {
                    DatabaseError::DatabaseAlreadyOpen => KvError::Failed(format!(
                        "data directory {} is in use by another server; stop it, or choose another directory",
                        directory.display()
                    )),
                    DatabaseError::Storage(redb::StorageError::Corrupted(why)) => damaged_file(&why),
                    e => KvError::Failed(format!(
                        "cannot open the metadata store in {}: {e}",
                        directory.display()
                    )),
                })?;
            prepare(&database)?;
            Ok(Self { database })
        })
    }

    /// Opens the file for a look: what is written stays in memory. Also checks every page of the file; what is
    /// wrong with them is the second value.
    pub(super) fn open_untouched(path: &Path) -> Result<(Self, Option<String>), KvError> {
        let cannot = |e: &dyn std::fmt::Display| {
            KvError::Failed(format!("cannot read the metadata store {}: {e}", path.display()))
        };
        let backend = Untouched::over(path).map_err(|e| cannot(&e))?;
        guarded(|| {
            let mut builder = Database::builder();
            builder.set_cache_size(CACHE_BYTES);
            let database = builder.create_with_backend(backend).map(|database| Closing(Some(database)));
            let mut database = database.map_err(|e| match e {
                DatabaseError::Storage(redb::StorageError::Corrupted(why)) => damaged_file(&why),
                e => cannot(&e),
            })?;
            let pages = match catch_unwind(AssertUnwindSafe(|| database.check_integrity())) {
                Ok(Ok(true)) => None,
                Ok(Ok(false)) => Some("pages do not match their checksums".to_owned()),
                Ok(Err(e)) => Some(e.to_string()),
                Err(_) => Some("pages have no sound structure".to_owned()),
            };
            prepare(&database)?;
            Ok((Self { database }, pages))
        })
    }

    /// The rows as they are now.
    pub(super) fn snapshot(&self) -> Result<Snapshot, KvError> {
        guarded(|| self.database.begin_read().map(Snapshot).map_err(store_failed))
    }

    /// See [`FIRST_LOG`]; `None` for a store that never had a log.
    pub(super) fn first_log(&self) -> Result<Option<u64>, KvError> {
        let snapshot = self.snapshot()?;
        guarded(|| match snapshot.0.open_table(LOGS) {
            Ok(table) => {
                let Some(stored) = table.get(FIRST_LOG).map_err(store_failed)? else { return Ok(None) };
                let number = checked(FIRST_LOG, stored.value())?.try_into();
                number
                    .map(|n| Some(u64::from_le_bytes(n)))
                    .map_err(|_| damaged_file("the log's number is odd"))
            }
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(e) => Err(store_failed(e)),
        })
    }

    /// One durable transaction that takes a layer in and ends the need for logs before `first_log`.
    pub(super) fn take_in(&self, pending: &Pending, first_log: u64) -> Result<(), KvError> {
        guarded(|| {
            let txn = begin(&self.database)?;
            {
                let mut table = txn.open_table(ROWS).map_err(store_failed)?;
                for (key, value) in &pending.pairs {
                    match value {
                        Some(value) => table.insert(key.as_ref(), with_checksum(key, value).as_slice()),
                        None => table.remove(key.as_ref()),
                    }
                    .map_err(store_failed)?;
                }
                let stored = with_checksum(FIRST_LOG, &first_log.to_le_bytes());
                let mut logs = txn.open_table(LOGS).map_err(store_failed)?;
                logs.insert(FIRST_LOG, stored.as_slice()).map_err(store_failed)?;
            }
            txn.commit().map_err(store_failed)
        })
    }
}

impl Snapshot {
    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        guarded(|| {
            let table = self.0.open_table(ROWS).map_err(store_failed)?;
            let stored = table.get(key).map_err(store_failed)?;
            stored.map(|guard| checked(key, guard.value()).map(Bytes::copy_from_slice)).transpose()
        })
    }

    /// Keys in `from..to`, ascending.
    pub(super) fn keys(&self, from: &[u8], to: &[u8]) -> Result<Vec<Bytes>, KvError> {
        guarded(|| {
            let table = self.0.open_table(ROWS).map_err(store_failed)?;
            let rows = table.range::<&[u8]>(from..to).map_err(store_failed)?;
            rows.map(|row| Ok(Bytes::copy_from_slice(row.map_err(store_failed)?.0.value()))).collect()
        })
    }

    /// Pairs in `from..to` of layers, newest first, above the rows; at most `limit`, ascending.
    pub(super) fn scan(
        &self,
        layers: &[&Pending],
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        guarded(|| {
            let table = self.0.open_table(ROWS).map_err(store_failed)?;
            let rows = table.range::<&[u8]>(from..to).map_err(store_failed)?;
            let rows = rows.map(|row| row.map_err(store_failed));
            let mut layers: Vec<_> = layers.iter().map(|layer| layer.range(from, to).peekable()).collect();
            merged(&mut layers, rows, limit)
        })
    }
}

type Layer<I> = std::iter::Peekable<I>;
type Row<'a> = (redb::AccessGuard<'a, &'static [u8]>, redb::AccessGuard<'a, &'static [u8]>);

fn merged<'a, 'r>(
    layers: &mut [Layer<impl Iterator<Item = (&'a Bytes, &'a Option<Bytes>)>>],
    mut rows: impl Iterator<Item = Result<Row<'r>, KvError>>,
    limit: usize,
) -> Result<Vec<(Bytes, Bytes)>, KvError> {
    let mut row = rows.next().transpose()?;
    let mut pairs = Vec::new();
    while pairs.len() < limit {
        let waiting = layers.iter_mut().filter_map(|layer| layer.peek().map(|(key, _)| *key)).min();
        match (waiting, row.as_ref().map(|(key, _)| key.value())) {
            (None, None) => break,
            (Some(key), stored) if stored.is_none_or(|stored| key.as_ref() <= stored) => {
                if stored == Some(key.as_ref()) {
                    row = rows.next().transpose()?;
                }
                let mut newest = None;
                for layer in &mut *layers {
                    if let Some((_, value)) = layer.next_if(|(k, _)| *k == key) {
                        newest.get_or_insert(value);
                    }
                }
                if let Some(Some(value)) = newest {
                    pairs.push((key.clone(), value.clone()));
                }
            }
            _ => {
                if let Some((key, stored)) = row.take() {
                    let value = Bytes::copy_from_slice(checked(key.value(), stored.value())?);
                    pairs.push((Bytes::copy_from_slice(key.value()), value));
                }
                row = rows.next().transpose()?;
            }
        }
    }
    Ok(pairs)
}

/// CRC-32 of key and value.
fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(key);
    crc.update(value);
    crc.finalize().to_le_bytes()
}

/// The value in stored bytes.
fn checked<'a>(key: &[u8], stored: &'a [u8]) -> Result<&'a [u8], KvError> {
    match stored.split_last_chunk::<CHECKSUM_BYTES>() {
        Some((value, crc)) if *crc == checksum(key, value) => Ok(value),
        _ => Err(KvError::Damaged(Bytes::copy_from_slice(key), "the row does not match its checksum".into())),
    }
}

fn with_checksum(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(value.len() + CHECKSUM_BYTES);
    stored.extend_from_slice(value);
    stored.extend_from_slice(&checksum(key, value));
    stored
}

/// Runs work on the database whose pages may be destroyed.
fn guarded<T>(work: impl FnOnce() -> Result<T, KvError>) -> Result<T, KvError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(damaged_file("its structure is destroyed")))
}

pub(super) fn damaged_file(why: &str) -> KvError {
    KvError::Damaged(Bytes::new(), why.to_owned())
}

/// Brings the file to version 1: an empty one gets its table, so that readers need not ask for it; rows of
/// version 0 get their checksums, all in one transaction. A file of a newer version is refused untouched.
fn prepare(database: &Database) -> Result<(), KvError> {
    let tables: Vec<String> = {
        let txn = database.begin_read().map_err(store_failed)?;
        txn.list_tables().map_err(store_failed)?.map(|table| table.name().to_owned()).collect()
    };
    let has = |wanted: &Rows<'_>| tables.iter().any(|name| name == wanted.name());
    let known = [ROWS.name(), ROWS_0.name(), LOGS.name()];
    if let Some(newer) = tables.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(KvError::Failed(format!(
            "the metadata store has the table '{newer}': a newer Millpond wrote it; use that"
        )));
    }
    if has(&ROWS) {
        return Ok(());
    }
    let txn = begin(database)?;
    {
        let mut rows = txn.open_table(ROWS).map_err(store_failed)?;
        if has(&ROWS_0) {
            let old = txn.open_table(ROWS_0).map_err(store_failed)?;
            for pair in old.iter().map_err(store_failed)? {
                let (key, value) = pair.map_err(store_failed)?;
                let stored = with_checksum(key.value(), value.value());
                rows.insert(key.value(), stored.as_slice()).map_err(store_failed)?;
            }
        }
    }
    if has(&ROWS_0) {
        tracing::info!("the metadata store is brought to version 1: checksums behind each row");
        txn.delete_table(ROWS_0).map_err(store_failed)?;
    }
    txn.commit().map_err(store_failed)
}

/// Quick-repair: opening after a crash does not walk the file, and commits are two-phase.
fn begin(database: &Database) -> Result<redb::WriteTransaction, KvError> {
    let mut txn = database.begin_write().map_err(store_failed)?;
    txn.set_durability(Durability::Immediate).map_err(store_failed)?;
    txn.set_quick_repair(true);
    Ok(txn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kv, LocalKv};

    #[tokio::test]
    async fn a_file_of_version_0_is_brought_to_version_1() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("meta.redb");
        let rows: Vec<(String, String)> = (0..1_000).map(|n| (format!("k{n:04}"), format!("v{n}"))).collect();
        {
            let database = Database::create(&path).expect("created");
            let txn = database.begin_write().expect("begun");
            {
                let mut table = txn.open_table(ROWS_0).expect("table");
                for (key, value) in &rows {
                    table.insert(key.as_bytes(), value.as_bytes()).expect("inserted");
                }
            }
            txn.commit().expect("committed");
        }
        for _ in 0..2 {
            let kv = LocalKv::open(&path).expect("opens");
            let read = kv.scan(b"k", b"l", 10_000).await.expect("scan");
            let wanted: Vec<(Bytes, Bytes)> =
                rows.iter().map(|(k, v)| (k.clone().into(), v.clone().into())).collect();
            assert_eq!(read, wanted);
            drop(kv);
            let database = Database::open(&path).expect("opens");
            let txn = database.begin_read().expect("read");
            let names: Vec<String> =
                txn.list_tables().expect("tables").map(|table| table.name().to_owned()).collect();
            assert_eq!(names, [LOGS.name(), ROWS.name()], "the old rows are gone");
        }
    }

    #[tokio::test]
    async fn a_file_of_a_newer_version_is_refused_and_keeps_its_rows() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("meta.redb");
        let newer: Rows<'_> = TableDefinition::new("rows-2");
        {
            let database = Database::create(&path).expect("created");
            let txn = database.begin_write().expect("begun");
            txn.open_table(newer).expect("table").insert(&b"k"[..], &b"v"[..]).expect("inserted");
            txn.commit().expect("committed");
        }
        let Err(KvError::Failed(text)) = LocalKv::open(&path) else { panic!("opened") };
        assert!(text.contains("a newer Millpond"), "{text}");
        let database = Database::open(&path).expect("opens");
        let txn = database.begin_read().expect("read");
        assert_eq!(txn.list_tables().expect("tables").count(), 1, "no table was added");
        let table = txn.open_table(newer).expect("table");
        assert_eq!(table.get(&b"k"[..]).expect("get").expect("there").value(), b"v");
    }
}
