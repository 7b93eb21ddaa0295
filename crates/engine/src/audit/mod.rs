//! The audit trail: who did what, from where, on what, with what result.
//!
//! The accident this prevents: an audit log written beside the change it describes. A crash between the two leaves
//! a change that nobody made, or a line about something that never was, and whoever may write one file may edit the
//! other. Here the journal is the audit trail: a row makes a change durable, says who made it, and holds the hash
//! of the row before. Checkpoints used to delete rows; now they first keep them, byte for byte, in [`segment`]s,
//! so the chain goes on for ever, across restarts, and costs a write nothing that it did not cost before.
//!
//! `archive` keeps rows at checkpoints, `verify` walks the chain, `query` reads rows as events, `refusals` notes what
//! was not done, `notes` takes in what others did beside the engine. See `docs/design/audit.md` and
//! `docs/formats/audit.md`.

mod archive;
mod notes;
mod query;
mod refusals;
mod segment;
#[cfg(test)]
mod tests;
mod verify;

pub(crate) use archive::begin_at_checkpoint;
pub use notes::audit_note;
pub(crate) use notes::decode_note;
#[cfg(test)]
pub(crate) use query::event_of;
pub use query::{AuditChange, AuditEvent, AuditPage, AuditPlace, AuditQuery};
pub(crate) use refusals::Refusals;
pub(crate) use segment::encode_name;
#[cfg(test)]
pub(crate) use segment::{Beginning, Segment, pack, unpack};
pub use segment::{Begun, Reason};
pub(crate) use verify::Trail;
pub use verify::{AuditFault, AuditProof};
