//! The engine's verbs, one subject a file.

mod adopt;
mod branches;
mod commit;
mod commit_record;
mod copy;
mod delete;
mod diff;
mod dump;
mod import;
mod jobs;
mod link;
mod list;
mod log;
mod merge;
mod oplog;
mod pulls;
mod put;
mod read;
mod repositories;
mod reset;
mod settings;
mod stage;
mod tags;
mod train;
mod upload;

pub use adopt::ContentWriter;
pub use copy::CopyRequest;
pub(crate) use import::Imports;
pub use list::Snapshot;
pub use put::ObjectWriter;
pub use read::OpenObject;
pub(crate) use read::Reads;
pub use upload::PartWriter;
