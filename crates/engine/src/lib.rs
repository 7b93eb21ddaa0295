//! The versioning engine: repositories, refs, staging, commit, merge, diff, and the objects under them.
//!
//! It works over three ports (metadata store, object store, clock and chance) so that it runs under
//! simulation as well as on a disk. It does not know about principals, tokens, HTTP, S3, JSON or
//! configuration: an [`Actor`] is a name to write down, never a right.
//!
//! Read in this order: `state` (what there is), `record` (how it changes), `journal` (how changes become
//! durable), `verbs` (who decides them), `checkpoint` (how the journal stays short),
//! `audit` (how it is kept all the same).

pub mod address;
pub mod api;
mod audit;
mod backup;
mod checkpoint;
mod deletions;
mod dump;
mod engine;
pub mod format;
mod fsck;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod golden;
mod idempotency;
mod jobs;
mod journal;
pub mod keys;
pub mod manifest;
mod nodes;
mod pulls;
pub mod record;
mod resolve;
mod settings;
mod state;
mod tables;
pub mod tasks;
mod verbs;
mod watch;

pub use api::*;
pub use audit::{
    AuditChange, AuditEvent, AuditFault, AuditPage, AuditPlace, AuditProof, AuditQuery, Begun, Reason,
    audit_note,
};
pub use backup::{BackupReport, Stores, backup, restore, verify_backup};
pub use engine::{Engine, Options};
pub use format::FORMAT;
pub use fsck::{FsckReport, FsckRequest, Orphans, fsck};
pub use verbs::{ContentWriter, CopyRequest, ObjectWriter, OpenObject, PartWriter, Snapshot};
pub use watch::{Defect, Progress, Watch};
