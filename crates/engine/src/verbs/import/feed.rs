//! The changes that an import makes, in the order of keys: what its sources list, each under its destination,
//! and the deletion of what lies below the destinations and was not imported.

use super::origin_error;
use crate::address::{acquire, imported};
use crate::{Error, Kind, Result};
use bytes::Bytes;
use millpond_origin::{Block, Listing, Location, Origin, Seen};
use millpond_tree::{NodeSource, Scan};
use millpond_types::{
    Address, Attributes, Checksum, Content, Entry, ObjectPath, Timestamp, TreeId,
    limits::OBJECT_PATH_BYTES_MAX,
};
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

/// What is replaced: everything that begins with one of these.
#[derive(Clone, Debug)]
pub struct Destinations {
    /// Ascending, none within another.
    prefixes: Arc<[Bytes]>,
}

impl Destinations {
    /// All of these.
    pub fn of(prefixes: impl Iterator<Item = Bytes>) -> Self {
        let mut all: Vec<Bytes> = prefixes.collect();
        all.sort_unstable();
        all.dedup_by(|later, earlier| later.starts_with(earlier));
        Self { prefixes: all.into() }
    }
    /// Whether that is everything.
    pub fn all(&self) -> bool {
        self.prefixes.first().is_some_and(|first| first.is_empty())
    }
    /// The one that a key lies in.
    pub fn covers(&self, key: &[u8]) -> Option<&[u8]> {
        let at = self.prefixes.partition_point(|prefix| &**prefix <= key).checked_sub(1)?;
        self.prefixes.get(at).filter(|prefix| key.starts_with(prefix)).map(|prefix| &**prefix)
    }
}

/// A source that was found to be allowed.
pub struct Source {
    /// Number of its rule.
    pub rule: u32,
    /// The folder, or the one that the object is in.
    pub folder: Location,
    /// The object's name in the folder; `None` for everything in it.
    pub object: Option<Bytes>,
    /// What keys begin with, or the object's key.
    pub destination: Bytes,
}

/// All sources, merged by key.
pub struct Feed {
    origin: Arc<dyn Origin>,
    /// Sources that no key has reached yet, with their place in the request: by destination.
    waiting: VecDeque<(usize, Source)>,
    lanes: Vec<Lane>,
    /// Only keys greater than this.
    after: Bytes,
    attributes: Arc<Attributes>,
    skipped: u64,
    /// Taken and given back: the next of all.
    returned: Option<(ObjectPath, Entry)>,
}

/// An open source, at a key.
struct Lane {
    /// Of those at the same key, the greatest counts.
    place: usize,
    key: Vec<u8>,
    seen: Seen,
    address: Address,
    rest: Option<Rest>,
}

/// What follows in a folder.
struct Rest {
    listing: Box<dyn Listing>,
    block: Block,
    at: usize,
    destination: Bytes,
}

impl Rest {
    /// The next object; its key goes into `key`.
    fn next(&mut self, key: &mut Vec<u8>, skipped: &mut u64) -> Result<Option<Seen>> {
        loop {
            if let Some((name, seen)) = self.block.get(self.at) {
                self.at += 1;
                key.clear();
                key.extend_from_slice(&self.destination);
                key.extend_from_slice(&self.block.folder);
                key.extend_from_slice(name);
                return Ok(Some(seen));
            }
            let Some(block) = self.listing.next().map_err(origin_error)? else { return Ok(None) };
            *skipped += block.skipped;
            (self.block, self.at) = (block, 0);
        }
    }
}

impl Feed {
    /// Opens sources when their keys come up. `after` is the last key that was dealt with, or empty.
    pub fn new(origin: Arc<dyn Origin>, sources: Vec<Source>, after: &Bytes) -> Self {
        let mut waiting: Vec<(usize, Source)> = sources.into_iter().enumerate().collect();
        waiting.sort_by(|(_, a), (_, b)| a.destination.cmp(&b.destination));
        Self {
            origin,
            waiting: waiting.into(),
            lanes: Vec::new(),
            after: after.clone(),
            attributes: Arc::default(),
            skipped: 0,
            returned: None,
        }
    }

    /// What was passed over since the last call.
    pub fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }

    /// The lane with the smallest key, and of several the one that counts.
    fn first(&self) -> Option<usize> {
        let order = |lane: &usize| (&self.lanes[*lane].key, std::cmp::Reverse(self.lanes[*lane].place));
        (0..self.lanes.len()).min_by(|a, b| order(a).cmp(&order(b)))
    }

    /// The next object.
    pub fn next(&mut self) -> Result<Option<(ObjectPath, Entry)>> {
        if self.returned.is_some() {
            return Ok(self.returned.take());
        }
        let first = loop {
            let first = self.first();
            let reached = |(_, source): &(usize, Source)| {
                first.is_none_or(|first| *source.destination <= *self.lanes[first].key)
            };
            if !self.waiting.front().is_some_and(reached) {
                break first;
            }
            if let Some((place, source)) = self.waiting.pop_front()
                && let Some(lane) = self.open(place, source)?
            {
                self.lanes.push(lane);
            }
        };
        let Some(first) = first else { return Ok(None) };
        let lane = &self.lanes[first];
        let refused = |error: &dyn std::fmt::Display| {
            let key = String::from_utf8_lossy(&lane.key[..lane.key.len().min(OBJECT_PATH_BYTES_MAX)]);
            Error::new(Kind::Invalid, format!("'{key}...' cannot be imported: {error}"))
        };
        // Both APIs say paths as text.
        std::str::from_utf8(&lane.key).map_err(|_| refused(&"its name is not UTF-8"))?;
        let path = ObjectPath::new(Bytes::copy_from_slice(&lane.key)).map_err(|error| refused(&error))?;
        let entry = Entry {
            content: Content::Declared,
            size: lane.seen.size,
            mtime: Timestamp(lane.seen.modified_millis),
            checksum: Checksum::Declared(lane.seen.mark.to_text()),
            address: acquire(lane.address.clone()).address(),
            attributes: self.attributes.clone(),
            extra: Default::default(),
        };
        if self.lanes.len() == 1 {
            self.advance(0)?;
        } else {
            for at in (0..self.lanes.len()).rev() {
                if self.lanes[at].key == path.as_bytes() {
                    self.advance(at)?;
                }
            }
        }
        Ok(Some((path, entry)))
    }

    /// Goes to a lane's next key, or closes it. The order of lanes means nothing.
    fn advance(&mut self, at: usize) -> Result<()> {
        let lane = &mut self.lanes[at];
        let next = match &mut lane.rest {
            None => None,
            Some(rest) => rest.next(&mut lane.key, &mut self.skipped)?,
        };
        match next {
            Some(seen) => lane.seen = seen,
            None => drop(self.lanes.swap_remove(at)),
        }
        Ok(())
    }

    /// Opens a source at its first key; none if there is none.
    fn open(&mut self, place: usize, source: Source) -> Result<Option<Lane>> {
        let Source { rule, folder, object, destination } = source;
        if let Some(name) = object {
            if !self.after.is_empty() && destination <= self.after {
                return Ok(None);
            }
            let seen = self.origin.look(&folder.join(&name)).map_err(origin_error)?;
            let address = imported(rule, seen.mark, &name);
            return Ok(Some(Lane { place, key: destination.to_vec(), seen, address, rest: None }));
        }
        let after = match self.after.strip_prefix(&*destination) {
            Some(rest) => rest,
            None if *self.after < *destination => b"",
            None => return Ok(None),
        };
        let listing = self.origin.list(&folder, after).map_err(origin_error)?;
        let mut rest = Rest { listing, block: Block::default(), at: 0, destination };
        let mut key = Vec::new();
        let first = rest.next(&mut key, &mut self.skipped)?;
        Ok(first.map(|seen| Lane { place, key, seen, address: Address::Rule(rule), rest: Some(rest) }))
    }
}

/// What is imported and what gives way to it, merged by key.
pub struct Replacing<'a> {
    feed: Feed,
    /// The next of the feed, once it is known.
    coming: Option<Option<(ObjectPath, Entry)>>,
    old: Scan<'a>,
    drops: &'a Destinations,
    /// Which of them the scan is in or before.
    at: usize,
    next_old: Option<Option<ObjectPath>>,
}

impl<'a> Replacing<'a> {
    /// Begins behind `after`, or at the start if it is empty.
    pub fn new(
        nodes: &'a dyn NodeSource,
        base: TreeId,
        drops: &'a Destinations,
        after: &'a [u8],
        feed: Feed,
    ) -> Self {
        // Where everything goes, it goes by beginning with nothing.
        let base = if drops.all() { TreeId::EMPTY } else { base };
        let from = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after) };
        Self { feed, coming: None, old: Scan::new(nodes, base, from), drops, at: 0, next_old: None }
    }

    /// The feed, for the next step, and what it has passed over.
    pub fn into_feed(mut self) -> (Feed, u64) {
        self.feed.returned = self.coming.flatten();
        let skipped = self.feed.take_skipped();
        (self.feed, skipped)
    }

    /// The next change.
    pub fn next(&mut self) -> Result<Option<(ObjectPath, Option<Entry>)>> {
        if self.next_old.is_none() {
            self.next_old = Some(self.find_old().map_err(crate::nodes::tree_error)?);
        }
        if self.coming.is_none() {
            self.coming = Some(self.feed.next()?);
        }
        let (Some(old), Some(coming)) = (&mut self.next_old, &mut self.coming) else { return Ok(None) };
        match (old.take(), coming.take()) {
            (Some(path), Some((new, entry))) if path < new => {
                *coming = Some((new, entry));
                self.next_old = None;
                Ok(Some((path, None)))
            }
            (Some(path), None) => {
                self.next_old = None;
                Ok(Some((path, None)))
            }
            (left, Some((new, entry))) => {
                match left {
                    Some(path) if path == new => self.next_old = None,
                    left => *old = left,
                }
                self.coming = None;
                Ok(Some((new, Some(entry))))
            }
            (None, None) => Ok(None),
        }
    }

    /// The next old key that gives way.
    fn find_old(&mut self) -> std::result::Result<Option<ObjectPath>, millpond_tree::TreeError> {
        loop {
            let Some(prefix) = self.drops.prefixes.get(self.at) else { return Ok(None) };
            match self.old.peek_key()? {
                None => return Ok(None),
                Some(key) if key.starts_with(prefix) => return self.old.next_path(),
                Some(key) if key < &**prefix => self.old.seek(Bound::Included(prefix))?,
                Some(_) => self.at += 1,
            }
        }
    }
}
