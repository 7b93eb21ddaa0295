//! Uploads that would change nothing: the branch holds the same bytes at the same path already.
//!
//! A folder that is uploaded again is mostly what it was. Reading and hashing a file costs a twentieth of
//! sending it, and the server would keep its old entry anyway. Nothing is believed that was not compared: size
//! and MD5 of the bytes as they are now, content type and metadata; times of files are not looked at.

use super::plan::{Planned, Transfer};
use super::transfer::Options;
use crate::local;
use crate::uri::Location;
use millpond_client::{Client, ObjectQuery, ObjectStats, PageQuery};
use std::collections::BTreeMap;

const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

/// Listings that run at a time, so that the server reads on while a page is taken in, and how many files make
/// another one worth its requests.
const LISTINGS_MAX: usize = 4;
const FILES_PER_LISTING: usize = 250;

/// Notes at each upload of a local file what its destination holds. What cannot be listed is uploaded: if
/// something is wrong, the upload will say what.
///
/// All destinations are in one branch. Keys and listing are walked side by side; where the branch holds much
/// that is not to be written, the listing jumps.
pub(super) async fn look_up(client: &Client, planned: &mut [Planned]) {
    let mut wanted = BTreeMap::new();
    let mut branch = None;
    for (index, planned) in planned.iter().enumerate() {
        if let Planned::Transfer(Transfer {
            source: Location::Local(_),
            destination: Location::Remote(to),
            ..
        }) = planned
        {
            branch.get_or_insert_with(|| (to.repository.clone(), to.reference.clone()));
            wanted.insert(to.path.clone(), index);
        }
    }
    let Some((repository, reference)) = branch else { return };
    let listings = (wanted.len() / FILES_PER_LISTING).clamp(1, LISTINGS_MAX);
    let size = wanted.len().div_ceil(listings);
    let mut keys = wanted.into_iter();
    let parts: Vec<Wanted> = (0..listings).map(|_| keys.by_ref().take(size).collect()).collect();
    let parts = parts.into_iter().map(|part| held(client, &repository, &reference, part));
    for (index, stats) in futures::future::join_all(parts).await.into_iter().flatten() {
        if let Some(Planned::Transfer(transfer)) = planned.get_mut(index) {
            transfer.stats = Some(Box::new(stats));
        }
    }
}

/// Paths, each with the index of its transfer.
type Wanted = BTreeMap<String, usize>;

/// What the branch holds of these paths, as far as it can be listed.
async fn held(
    client: &Client,
    repository: &str,
    reference: &str,
    mut wanted: Wanted,
) -> Vec<(usize, ObjectStats)> {
    let mut found = Vec::new();
    let (Some((first, _)), Some((last, _))) = (wanted.first_key_value(), wanted.last_key_value()) else {
        return found;
    };
    let mut query = ObjectQuery {
        page: PageQuery::prefix(common_prefix(first, last)),
        verified: true,
        ..ObjectQuery::default()
    };
    while let Some((next, _)) = wanted.first_key_value() {
        let shortly_before = &next[..next.char_indices().last().map_or(0, |(at, _)| at)];
        if shortly_before > query.page.after.as_str() {
            query.page.after = shortly_before.to_owned();
        }
        let Ok(page) = client.list_objects(repository, reference, &query).await else { break };
        let after = page.next().map(ToOwned::to_owned);
        for stats in page.results {
            if let Some(index) = wanted.remove(&stats.path) {
                found.push((index, stats));
            }
        }
        let Some(after) = after else { break };
        wanted = wanted.split_off(&after);
        query.page.after = after;
    }
    found
}

/// Of what was left out, what the branch does not hold any more as it did when it was looked up: somebody deleted or
/// replaced it during the copy. It is to be sent whatever the branch holds now.
pub(super) async fn changed_since(client: &Client, left_out: Vec<Transfer>) -> Vec<Planned> {
    let before: Vec<_> = left_out.iter().map(|transfer| transfer.stats.clone()).collect();
    let mut planned: Vec<_> = left_out
        .into_iter()
        .map(|transfer| Planned::Transfer(Transfer { stats: None, ..transfer }))
        .collect();
    look_up(client, &mut planned).await;
    let is_same = |planned: &Planned, before: &Option<Box<ObjectStats>>| match planned {
        Planned::Transfer(transfer) => transfer.stats == *before,
        Planned::Problem { .. } => true,
    };
    let changed = planned.into_iter().zip(&before).filter(|(planned, before)| !is_same(planned, before));
    changed
        .map(|(planned, _)| match planned {
            Planned::Transfer(transfer) => Planned::Transfer(Transfer { stats: None, ..transfer }),
            problem => problem,
        })
        .collect()
}

fn common_prefix(first: &str, last: &str) -> String {
    first.chars().zip(last.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
}

/// Whether the destination holds what would be sent. Reads the file if nothing else tells them apart; one
/// that cannot be read is not unchanged.
pub(super) async fn is_unchanged(transfer: &Transfer, options: &Options) -> bool {
    let (Location::Local(path), Some(stats)) = (&transfer.source, &transfer.stats) else { return false };
    // What a link declared is no proof of what the bytes are.
    if stats.verified != Some(true)
        || stats.size_bytes != transfer.size_bytes
        || !has_same_labels(stats, options)
    {
        return false;
    }
    let path = path.clone();
    let md5 = tokio::task::spawn_blocking(move || local::md5(&path)).await;
    // The checksum of an object that was not uploaded in one piece is no MD5 of its bytes and equals none.
    matches!(md5, Ok(Ok(md5)) if stats.checksum == md5)
}

fn has_same_labels(stats: &ObjectStats, options: &Options) -> bool {
    let content_type = options.content_type.as_deref().unwrap_or(DEFAULT_CONTENT_TYPE);
    stats.content_type.as_deref() == Some(content_type)
        && stats.metadata.len() == options.metadata.len()
        && options.metadata.iter().all(|(key, value)| stats.metadata.get(&key.to_lowercase()) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_between_characters() {
        assert_eq!(common_prefix("d/äx", "d/äy"), "d/ä");
        assert_eq!(common_prefix("d/ä", "d/ö"), "d/");
        assert_eq!(common_prefix("a", "b"), "");
    }
}
