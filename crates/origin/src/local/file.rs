//! A file that must stay what was seen of it.

use super::{cannot, seen};
use crate::{Location, Mark, OriginError, Seen};
use async_trait::async_trait;
use bytes::Bytes;
use millpond_blob::{BlobError, BlobReader};
use rustix::fs::Stat;
use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// An open file with the mark that it had.
pub struct SourceFile {
    file: Arc<File>,
    seen: Seen,
    location: Location,
    places: Arc<Semaphore>,
}

impl SourceFile {
    /// Refuses a file that is not what was seen.
    /// Reads take one of the places, so that those which hang leave the threads that others need.
    pub fn new(
        fd: OwnedFd,
        stat: &Stat,
        mark: Mark,
        location: Location,
        places: Arc<Semaphore>,
    ) -> Result<Self, OriginError> {
        let now = seen(stat);
        if now.mark != mark {
            return Err(OriginError::gone(changed(&location)));
        }
        Ok(Self { file: Arc::new(fd.into()), seen: now, location, places })
    }
}

fn changed(location: &Location) -> String {
    format!("{} has changed since it was imported", location.to_text())
}

#[async_trait]
impl BlobReader for SourceFile {
    fn size(&self) -> u64 {
        self.seen.size
    }

    /// Reads, and then looks whether what was read is still what was seen: a file that changes under a long
    /// download must end it, not mix old and new.
    async fn read(&self, range: Range<u64>) -> Result<Bytes, BlobError> {
        let (file, seen_then, location) = (self.file.clone(), self.seen, self.location.clone());
        if range.end > seen_then.size || range.start > range.end {
            return Err(BlobError::Range(range, seen_then.size));
        }
        let ended =
            |error: &dyn std::fmt::Display| BlobError::Failed(format!("reading a source ended: {error}"));
        let place = self.places.clone().acquire_owned().await.map_err(|error| ended(&error))?;
        let read = move || {
            // Given back by the thread: the reader may go away before the system call returns.
            let _place = place;
            let failed = |error: String| BlobError::Failed(format!("{}: {error}", location.to_text()));
            let length = usize::try_from(range.end - range.start).map_err(|e| failed(e.to_string()))?;
            let mut bytes = vec![0; length];
            let outcome = file.read_exact_at(&mut bytes, range.start);
            let stat = rustix::fs::fstat(&file).map_err(|e| failed(cannot(&location, e).message))?;
            if seen(&stat).mark != seen_then.mark {
                return Err(BlobError::NotFound(changed(&location)));
            }
            outcome.map_err(|error| failed(error.to_string()))?;
            Ok(Bytes::from(bytes))
        };
        tokio::task::spawn_blocking(read).await.map_err(|error| ended(&error))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_types::limits::ORIGIN_READS_MAX;

    #[tokio::test]
    async fn a_read_waits_for_a_place() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        std::io::Write::write_all(&mut file, b"bytes").expect("written");
        let fd: OwnedFd = file.reopen().expect("opened").into();
        let stat = rustix::fs::fstat(&fd).expect("there");
        let places = crate::LocalFolders::new(vec![], vec![], 1).reads;
        let others = places.clone().acquire_many_owned(ORIGIN_READS_MAX as u32).await.expect("free");
        let location = Location(Bytes::from_static(b"local:///f"));
        let source = SourceFile::new(fd, &stat, seen(&stat).mark, location, places.clone())
            .expect("it is what was seen");
        let mut read = source.read(0..5);
        assert!(futures::poll!(&mut read).is_pending());
        drop(others);
        assert_eq!(read.await.expect("read"), "bytes");
        assert_eq!(places.available_permits(), ORIGIN_READS_MAX, "the place is given back");
    }
}
