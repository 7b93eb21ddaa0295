//! The place that simulated servers import from. It is of any number of folders, whose names say what is in them, so
//! that a check knows it without looking.

use crate::executor::Executor;
use crate::stores::{Disk, Life};
use bytes::Bytes;
use millpond_blob::BlobReader;
use millpond_origin::{
    Block, Listing, Location, Mark, Origin, OriginError, OriginErrorKind, Seen, SourceKind,
};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Of so many objects, one is different in the next version of a folder.
const CHANGED_ONE_IN: u32 = 7;

/// A folder with so many objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Folders of different versions have most objects in common.
    pub version: u32,
    /// How many objects.
    pub count: u32,
}

impl Folder {
    /// As a user writes it.
    pub fn url(self) -> String {
        format!("sim://outside/{}/{}/", self.version, self.count)
    }

    fn parse(location: &Location) -> Option<(Self, Vec<u8>)> {
        let text = std::str::from_utf8(&location.0).ok()?;
        let mut parts = text.strip_prefix("sim://outside/")?.splitn(3, '/');
        let folder = Self { version: parts.next()?.parse().ok()?, count: parts.next()?.parse().ok()? };
        Some((folder, parts.next()?.as_bytes().to_vec()))
    }

    /// All names and what is seen there, in order.
    pub fn objects(self) -> impl Iterator<Item = (Vec<u8>, Seen)> {
        (0..self.count).map(move |number| (format!("{number:04}").into_bytes(), self.seen(number)))
    }

    fn seen(self, number: u32) -> Seen {
        let version = if number % CHANGED_ONE_IN == self.version % CHANGED_ONE_IN { self.version } else { 0 };
        let mark = Mark::of(&[number.into(), version.into()]);
        Seen { size: u64::from(number % 5), modified_millis: 1_600_000_000_000 + i64::from(version), mark }
    }
}

/// The bytes of an object of which this was seen.
pub fn bytes_of(size: u64, checksum: &str) -> Bytes {
    checksum.bytes().cycle().take(size as usize).collect()
}

/// The place as one server reaches it.
pub struct Outside {
    /// Where chance comes from.
    pub executor: Executor,
    /// Whom a failure hurts.
    pub life: Arc<Life>,
    /// How often reads fail: as those of the disk.
    pub disk: Arc<Disk>,
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outside")
    }
}

impl Outside {
    fn reach(&self) -> Result<(), OriginError> {
        let fails = self.disk.read_fails();
        if fails > 0 && self.executor.once_in(fails) {
            self.life.hurt.store(true, Relaxed);
            return Err(error(OriginErrorKind::Failed, "simulated: the place outside"));
        }
        Ok(())
    }
}

fn error(kind: OriginErrorKind, message: &str) -> OriginError {
    OriginError { kind, message: message.to_owned() }
}

fn gone() -> OriginError {
    error(OriginErrorKind::Gone, "there is no such object outside")
}

impl Origin for Outside {
    fn locate(&self, source: &str, _: SourceKind) -> Result<Location, OriginError> {
        Ok(Location(source.to_owned().into()))
    }

    fn list(&self, folder: &Location, after: &[u8]) -> Result<Box<dyn Listing>, OriginError> {
        self.reach()?;
        let (folder, _) = Folder::parse(folder).ok_or_else(gone)?;
        let after = after.to_vec();
        let rest = folder.objects().filter(move |(name, _)| *name > after);
        Ok(Box::new(Objects(Box::new(rest))))
    }

    fn look(&self, object: &Location) -> Result<Seen, OriginError> {
        self.reach()?;
        let (folder, name) = Folder::parse(object).ok_or_else(gone)?;
        folder.objects().find(|(there, _)| *there == name).map(|(_, seen)| seen).ok_or_else(gone)
    }

    fn open(&self, object: &Location, mark: Mark) -> Result<Arc<dyn BlobReader>, OriginError> {
        let seen = self.look(object)?;
        if seen.mark != mark {
            return Err(gone());
        }
        Ok(Arc::new(bytes_of(seen.size, &mark.to_text())))
    }
}

struct Objects(Box<dyn Iterator<Item = (Vec<u8>, Seen)> + Send>);

impl Listing for Objects {
    fn next(&mut self) -> Result<Option<Block>, OriginError> {
        Ok(self.0.next().map(|(name, seen)| Block::of(&name, seen)))
    }
}
