//! Three-way merge.
//!
//! The differences between base and source are found structurally, judged one by one against the destination,
//! and those that count are applied to the destination. So the cost follows what the source changed. The judge
//! looks at nothing but the three entries of one path: the result does not depend on how nodes are cut.

use crate::TreeError;
use crate::apply::rewrite;
use crate::cursor::Cursor;
use crate::diff::{Change, RawDiff};
use crate::leaf::Puts;
use crate::source::{NodeSink, NodeSource};
use millpond_types::{Entry, ObjectPath, TreeId};
use std::ops::Bound;

/// What to do where both sides changed the same path in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Name the paths and merge nothing.
    Fail,
    /// Take what the source has there; a deletion counts.
    SourceWins,
    /// Keep what the destination has there; a deletion counts.
    DestWins,
}

/// The result of a merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The merged tree; the destination as it was when there are conflicts.
    pub tree: TreeId,
    /// With [`Strategy::Fail`]: the first paths in conflict, ascending. Empty: the merge succeeded.
    pub conflicts: Vec<ObjectPath>,
}

/// What becomes of one path.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Dest,
    Source,
    Conflict,
}

/// Judges one path that the source touched (API-14.8). First by equality in everything: a destination that did not touch the entry at all
/// gives way, so that a new mtime comes through. Then by [`Entry::same_object`]: equal changes on
/// both sides are no conflict and the destination's entry stays; a side that holds the same object as the base
/// did not change it.
fn judge(base: Option<&Entry>, dest: Option<&Entry>, theirs: Option<&Entry>) -> Verdict {
    debug_assert!(theirs != base, "paths that the source did not touch are no difference");
    let same = |a: Option<&Entry>, b: Option<&Entry>| match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.same_object(b),
        _ => false,
    };
    if dest == base {
        Verdict::Source
    } else if same(dest, theirs) {
        Verdict::Dest
    } else if same(dest, base) {
        Verdict::Source
    } else if same(theirs, base) {
        Verdict::Dest
    } else {
        Verdict::Conflict
    }
}

/// Merges what `theirs` (the source) changed since `base` into `dest`. With [`Strategy::Fail`] at most
/// `conflicts_max` conflicts are named (at least one, if there is any); then nothing was put into the sink.
///
/// # Errors
/// Those of the source; [`TreeError::Damaged`].
pub fn merge(
    source: &dyn NodeSource,
    base: TreeId,
    dest: TreeId,
    theirs: TreeId,
    strategy: Strategy,
    conflicts_max: usize,
    sink: &mut dyn NodeSink,
) -> Result<Merged, TreeError> {
    let whole = |tree| Ok(Merged { tree, conflicts: Vec::new() });
    if base == dest {
        return whole(theirs);
    }
    if base == theirs || dest == theirs {
        return whole(dest);
    }
    let mut conflicts = Vec::new();
    let mut diff = RawDiff::new(source, base, theirs, b"", Bound::Unbounded);
    let mut ours_at = Cursor::new(source, dest, Bound::Unbounded);
    let mut next = || -> Result<Option<(ObjectPath, Option<Entry>)>, TreeError> {
        while let Some((path, change)) = diff.next()? {
            let (old, new) = match change {
                Change::Added(new) => (None, Some(new)),
                Change::Removed(old) => (Some(old), None),
                Change::Changed { left, right } => (Some(left), Some(right)),
            };
            let ours = ours_at.find(path.as_bytes())?;
            match judge(old.as_ref(), ours.as_ref(), new.as_ref()) {
                Verdict::Dest => {}
                // After a conflict the tree does not matter any more, only further conflicts do.
                Verdict::Source if conflicts.is_empty() => return Ok(Some((path, new))),
                Verdict::Source => {}
                Verdict::Conflict => match strategy {
                    Strategy::DestWins => {}
                    Strategy::SourceWins => return Ok(Some((path, new))),
                    Strategy::Fail => {
                        conflicts.push(path);
                        if conflicts.len() >= conflicts_max {
                            return Ok(None);
                        }
                    }
                },
            }
        }
        Ok(None)
    };
    let merged = rewrite(source, dest, Puts::Exact, &mut std::iter::from_fn(|| next().transpose()).fuse())?;
    if conflicts.is_empty() {
        return Ok(Merged { tree: merged.hand_over(sink), conflicts });
    }
    Ok(Merged { tree: dest, conflicts })
}
