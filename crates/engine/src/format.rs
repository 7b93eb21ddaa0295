//! The format of everything the engine stores, and the steps that bring what an older version stored up to it.
//!
//! The accident this prevents: a new version meets rows of an old one and reads them by the new rules, or an old
//! version meets rows of a new one and writes between them. So the number is checked before anything else, a newer
//! one is refused before anything is written, and an older one is brought up step by step before anything reads it.
//!
//! A step goes from one number to the next. It may be cut off at any point and is then run again from its
//! beginning, so all it writes before its last batch must be harmless to do twice; the last batch also moves the
//! number. Steps are never changed or removed once a version with them was released; each has a golden data
//! directory that a test brings up (`tests/it/golden_data.rs`). See `docs/formats/README.md`.

use crate::engine::kv_error;
use crate::{Error, Kind, Result, keys};
use bytes::Bytes;
use futures::future::BoxFuture;
use millpond_blob::Blobs;
use millpond_kv::{Batch, Expect, Kv, Write};

/// The format that this version writes.
pub const FORMAT: u32 = 2;

/// The work of a step.
pub type Run = for<'a> fn(&'a dyn Kv, &'a dyn Blobs) -> BoxFuture<'a, Result<Vec<Write>>>;

/// From one format to the next.
pub struct Step {
    /// The format that it begins with; it ends with the next.
    pub from: u32,
    /// For the log.
    pub what: &'static str,
    /// Does it, and gives the last writes.
    pub run: Run,
}

/// Every step there is, ascending, without a gap up to [`FORMAT`].
const STEPS: &[Step] = &[Step {
    from: 1,
    what: "the audit trail begins with the first row of the journal that is left",
    run: crate::audit::begin_at_checkpoint,
}];

/// Brings the stores up to [`FORMAT`].
pub(crate) async fn bring_up(kv: &dyn Kv, blobs: &dyn Blobs) -> Result<()> {
    bring_up_by(kv, blobs, STEPS, FORMAT).await
}

/// The same by other steps to another number, for tests of steps.
///
/// # Errors
/// The stores are of a newer format, or of one that no step begins with; they fail, or a step does.
pub async fn bring_up_by(kv: &dyn Kv, blobs: &dyn Blobs, steps: &[Step], format: u32) -> Result<()> {
    loop {
        let Some(stored) = kv.get(keys::FORMAT).await.map_err(kv_error)? else { return Ok(()) };
        let number: Option<u32> = std::str::from_utf8(&stored).ok().and_then(|text| text.parse().ok());
        let number =
            number.ok_or_else(|| Error::new(Kind::Damaged, "the number of the format cannot be read"))?;
        if number == format {
            return Ok(());
        }
        let Some(step) = steps.iter().find(|step| step.from == number) else {
            return Err(Error::new(
                Kind::NotImplemented,
                match number > format {
                    true => format!(
                        "the data directory has format {number}, and this Millpond reads formats up to {format}: a \
                         newer Millpond wrote it; use that"
                    ),
                    false => format!(
                        "the data directory has format {number}, which no step of this Millpond begins with"
                    ),
                },
            ));
        };
        tracing::info!(
            from = number,
            to = number + 1,
            what = step.what,
            "bringing the stores to a newer format"
        );
        let mut writes = (step.run)(kv, blobs).await?;
        writes.push(Write::Put(Bytes::from_static(keys::FORMAT), Bytes::from((number + 1).to_string())));
        let preconditions = vec![(Bytes::from_static(keys::FORMAT), Expect::Value(stored))];
        kv.commit(Batch { preconditions, writes }).await.map_err(kv_error)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_lead_to_the_present_format() {
        for (index, step) in STEPS.iter().enumerate() {
            assert_eq!(step.from + (STEPS.len() - index) as u32, FORMAT);
        }
    }
}
