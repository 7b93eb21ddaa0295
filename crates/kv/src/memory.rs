//! The metadata store of tests and simulation: a `BTreeMap`, gone when the process is gone.
//! Simple enough to be obviously right, so it also serves as the model that other adapters are compared with.

use crate::{Batch, Expect, Kv, KvError, Write};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use std::collections::BTreeMap;

/// Keys and values in memory. Nothing survives the process.
#[derive(Default)]
pub struct MemoryKv {
    pairs: RwLock<BTreeMap<Bytes, Bytes>>,
}

impl MemoryKv {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Kv for MemoryKv {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        Ok(self.pairs.read().get(key).cloned())
    }

    async fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, KvError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let pairs = self.pairs.read();
        let range = pairs.range::<[u8], _>((std::ops::Bound::Included(from), std::ops::Bound::Excluded(to)));
        Ok(range.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    async fn commit(&self, batch: Batch) -> Result<(), KvError> {
        let mut pairs = self.pairs.write();
        for (key, expect) in &batch.preconditions {
            let holds = match expect {
                Expect::Absent => !pairs.contains_key(key),
                Expect::Value(value) => pairs.get(key) == Some(value),
            };
            if !holds {
                return Err(KvError::PreconditionFailed(key.clone()));
            }
        }
        for write in batch.writes {
            match write {
                Write::Put(key, value) => {
                    pairs.insert(key, value);
                }
                Write::Delete(key) => {
                    pairs.remove(&key);
                }
                Write::DeleteRange(from, to) if from < to => {
                    let doomed: Vec<Bytes> = pairs.range(from..to).map(|(key, _)| key.clone()).collect();
                    for key in doomed {
                        pairs.remove(&key);
                    }
                }
                Write::DeleteRange(..) => {}
            }
        }
        Ok(())
    }
}
