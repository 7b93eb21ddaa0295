//! What is in the log and not yet in the tables.

use crate::Write;
use bytes::Bytes;
use imbl::OrdMap;
use std::ops::Bound;

/// Keys with their latest value; `None` hides what the tables hold. Cloning is cheap and gives a snapshot.
#[derive(Clone, Default)]
pub(super) struct Pending {
    pub(super) pairs: OrdMap<Bytes, Option<Bytes>>,
    /// Of keys and values.
    pub(super) bytes: usize,
}

impl Pending {
    /// The latest value of a key, if there is one here.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.pairs.get(key)
    }

    /// Keys in `from..to`, ascending.
    pub(super) fn range<'a>(
        &'a self,
        from: &'a [u8],
        to: &'a [u8],
    ) -> impl Iterator<Item = (&'a Bytes, &'a Option<Bytes>)> {
        self.pairs.range::<_, [u8]>((Bound::Included(from), Bound::Excluded(to)))
    }

    fn set(&mut self, key: Bytes, value: Option<Bytes>) {
        let of = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        self.bytes += key.len() + of(&value);
        let len = key.len();
        if let Some(old) = self.pairs.insert(key, value) {
            self.bytes -= len + of(&old);
        }
    }

    /// Applies a write. `below` names the keys in a range that are there without this layer.
    pub(super) fn apply<E>(
        &mut self,
        write: &Write,
        below: impl FnOnce(&[u8], &[u8]) -> Result<Vec<Bytes>, E>,
    ) -> Result<(), E> {
        match write {
            Write::Put(key, value) => self.set(key.clone(), Some(value.clone())),
            Write::Delete(key) => self.set(key.clone(), None),
            Write::DeleteRange(from, to) if from < to => {
                let here: Vec<Bytes> = self.range(from, to).map(|(key, _)| key.clone()).collect();
                for key in here {
                    if let Some(old) = self.pairs.remove(&key) {
                        self.bytes -= key.len() + old.map_or(0, |v| v.len());
                    }
                }
                for key in below(from, to)? {
                    self.set(key, None);
                }
            }
            Write::DeleteRange(..) => {}
        }
        Ok(())
    }
}
