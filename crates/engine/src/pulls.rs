//! Pull requests as state: their ids, their stored form, and the room they take (`docs/formats/journal.md`).

use crate::record::{take_branch, take_flag};
use crate::{Error, Kind, PullRequest, PullRequestStatus, Result};
use millpond_types::limits::{PULL_REQUEST_BYTES_MAX, PULL_REQUESTS_BYTES_MAX};
use millpond_types::{CommitId, DecodeError, Reader, Timestamp, Writer};
use std::fmt;
use std::sync::Arc;

/// Digits of ids, in ascending order.
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
/// 20 digits of 5 bits hold the 96 bits of an id and 4 bits of nothing.
const LEN: usize = 20;
/// The first second of the year 3000: ids count down from there (API-6.9).
const END_SECONDS: i64 = 32_503_680_000;

/// Names a pull request: an xid whose clock runs backwards, so that newer ones sort first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PullRequestId(String);

impl PullRequestId {
    /// An id; `None` if the text is not the form of one (API-24.4).
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == LEN && text.bytes().all(|byte| DIGITS.contains(&byte));
        (digits && text.ends_with(['0', 'g'])).then(|| Self(text.to_owned()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An id of this moment. Jobs have such ids too.
    pub(crate) fn at(now: Timestamp, chance: u64) -> Self {
        let seconds = END_SECONDS.wrapping_sub(now.seconds()) as u32;
        let millis = 999 - now.millis().rem_euclid(1000) as u128;
        Self::of(u128::from(seconds) << 64 | millis << 54 | u128::from(chance >> 10))
    }

    /// The largest id that sorts before this one.
    pub(crate) fn before(&self) -> Option<Self> {
        let digit = |byte: u8| DIGITS.iter().position(|digit| *digit == byte).unwrap_or_default() as u128;
        let number = self.0.bytes().fold(0, |number, byte| number << 5 | digit(byte)) >> 4;
        Some(Self::of(number.checked_sub(1)?))
    }

    fn of(number: u128) -> Self {
        let bits = number << 4;
        Self((0..LEN).rev().map(|at| char::from(DIGITS[(bits >> (5 * at)) as usize & 31])).collect())
    }
}

impl fmt::Display for PullRequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for PullRequestId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The pull requests of a repository.
#[derive(Clone, Default)]
pub struct Pulls {
    by_id: imbl::OrdMap<PullRequestId, Arc<PullRequest>>,
    bytes: usize,
}

impl Pulls {
    /// In the order of listings.
    pub fn by_id(&self) -> &imbl::OrdMap<PullRequestId, Arc<PullRequest>> {
        &self.by_id
    }
    /// One of them.
    pub fn get(&self, id: &PullRequestId) -> Option<&Arc<PullRequest>> {
        self.by_id.get(id)
    }
    /// Adds one, or makes one this.
    pub fn keep(&mut self, pull: Arc<PullRequest>) {
        self.bytes = self.bytes_with(&pull);
        self.by_id.insert(pull.id.clone(), pull);
    }
    /// Refuses one that is too large, or for which there is no room.
    pub fn admit(&self, pull: &PullRequest) -> Result<()> {
        let own = pull.title.len() + pull.description.len();
        let refused =
            |what: &str, max| Err(Error::new(Kind::TooLarge, format!("{what}; the limit is {max} bytes")));
        if own > PULL_REQUEST_BYTES_MAX {
            return refused(&format!("title and description have {own} bytes"), PULL_REQUEST_BYTES_MAX);
        }
        if self.bytes_with(pull) > PULL_REQUESTS_BYTES_MAX {
            return refused(
                "there is no room for more pull requests in this repository",
                PULL_REQUESTS_BYTES_MAX,
            );
        }
        Ok(())
    }
    /// Bytes of memory that all take, were this one kept.
    fn bytes_with(&self, pull: &PullRequest) -> usize {
        self.bytes - self.get(&pull.id).map_or(0, |old| bytes(old)) + bytes(pull)
    }
}

/// About how many bytes it takes.
pub fn bytes(pull: &PullRequest) -> usize {
    const FIXED: usize = 512;
    FIXED
        + pull.title.len()
        + pull.description.len()
        + pull.source.as_str().len()
        + pull.destination.as_str().len()
}

/// Stored form.
pub fn encode(w: &mut Writer, pull: &PullRequest) {
    w.text(pull.id.as_str()).text(&pull.title).text(&pull.description).text(&pull.author);
    w.int(pull.created.millis()).text(pull.source.as_str()).text(pull.destination.as_str());
    w.u8(match pull.status {
        PullRequestStatus::Open => 0,
        PullRequestStatus::Closed => 1,
        PullRequestStatus::Merged => 2,
    });
    match pull.closed {
        None => w.u8(0),
        Some(time) => w.u8(1).int(time.millis()),
    };
    match pull.merged {
        None => w.u8(0),
        Some(commit) => w.u8(1).raw(&commit.0),
    };
}

/// The inverse of [`encode`].
pub fn decode(r: &mut Reader) -> std::result::Result<PullRequest, DecodeError> {
    Ok(PullRequest {
        id: PullRequestId::parse(&r.text()?).ok_or(DecodeError("pull request id is not valid"))?,
        title: r.text()?,
        description: r.text()?,
        author: r.text()?,
        created: Timestamp(r.int()?),
        source: take_branch(r)?,
        destination: take_branch(r)?,
        status: match r.u8()? {
            0 => PullRequestStatus::Open,
            1 => PullRequestStatus::Closed,
            2 => PullRequestStatus::Merged,
            _ => return Err(DecodeError("unknown status of a pull request")),
        },
        closed: if take_flag(r)? { Some(Timestamp(r.int()?)) } else { None },
        merged: if take_flag(r)? { Some(CommitId(r.digest()?)) } else { None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_types::BranchName;

    #[test]
    fn ids_are_xids_whose_clock_runs_backwards() {
        let at = |millis| PullRequestId::at(Timestamp(millis), u64::MAX);
        let (old, new) = (at(1_790_000_000_000), at(1_790_000_000_001));
        assert!(new < old && at(1_790_000_001_000) < new);
        assert_eq!(PullRequestId::parse(old.as_str()), Some(old.clone()));
        let before = old.before().expect("there is one");
        assert!(new < before && before < old);
        assert_eq!(PullRequestId::of(0).as_str(), "00000000000000000000");
        assert_eq!(PullRequestId::of(0).before(), None);
        assert_eq!(PullRequestId::of(2).before(), Some(PullRequestId::of(1)));
        for wrong in [
            "",
            "0000000000000000000",
            "0000000000000000000w",
            "00000000000000000001",
            "0000000000000000000G",
        ] {
            assert_eq!(PullRequestId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_limits_pull_request_bytes_max_and_pull_requests_bytes_max() {
        let branch = |name| BranchName::parse(name).expect("a branch name");
        let pull = |text: usize, number| PullRequest {
            id: PullRequestId::of(number),
            title: String::new(),
            description: "x".repeat(text),
            author: String::new(),
            created: Timestamp(0),
            source: branch("dev"),
            destination: branch("main"),
            status: PullRequestStatus::Open,
            closed: None,
            merged: None,
        };
        let mut pulls = Pulls::default();
        assert!(pulls.admit(&pull(PULL_REQUEST_BYTES_MAX, 2)).is_ok());
        assert_eq!(
            pulls.admit(&pull(PULL_REQUEST_BYTES_MAX + 1, 2)).map_err(|e| e.kind),
            Err(Kind::TooLarge)
        );
        for _ in 0..2 {
            pulls.keep(Arc::new(pull(100, 2)));
        }
        assert_eq!(pulls.bytes, bytes(&pull(100, 2)), "the same one is counted once");
        pulls.bytes = PULL_REQUESTS_BYTES_MAX;
        assert!(pulls.admit(&pull(100, 2)).is_ok(), "one that is there may stay as it is");
        assert_eq!(pulls.admit(&pull(101, 2)).map_err(|e| e.kind), Err(Kind::TooLarge));
        assert_eq!(pulls.admit(&pull(0, 4)).map_err(|e| e.kind), Err(Kind::TooLarge));
    }
}
