//! One function per user-visible verb: authorize, act, record. Both doors call these and nothing else.
//!
//! The engine is reached only through [`gate::Service::permit`], so no verb can forget to authorize. This
//! crate does not know about HTTP, S3 or JSON: doors parse requests into types and render answers.

mod adoption;
mod audit_verbs;
mod dumps;
mod gate;
pub mod guard;
mod history;
mod imports;
mod jobs;
mod objects;
mod pages;
mod people;
mod provider;
mod pulls;
mod refs;
mod repositories;
mod rules;
mod sign_in;
mod to_the_end;
mod upkeep;
mod uploads;

pub use adoption::ContentUpload;
/// The audit trail as the engine gives it.
pub mod audit {
    pub use crate::audit_verbs::audit_note;
    pub use millpond_engine::{
        AuditChange, AuditEvent, AuditFault, AuditPage, AuditPlace, AuditProof, AuditQuery, Begun, Reason,
    };
}

pub use gate::{Caller, ClientAddress, Principal, Service};
pub use guard::Guard;
pub use millpond_auth::{
    Acl, AclLevel, Action, Because, Credential, Document, Effect, Explanation, GroupInfo, KeyInfo, Miss,
    PolicyInfo, Secret as SecretKey, Statement, UserInfo,
};
pub use millpond_engine::api::*;
pub use millpond_engine::{BackupReport, Defect, FsckReport, FsckRequest, Orphans, Progress, Stores, Watch};
pub use millpond_oidc::{Answer as ProviderAnswer, Error as ProviderError};
pub use millpond_types::*;
pub use objects::{OpenObject, Upload};
pub use pages::{Listing, Pin};
pub use people::Holder;
pub use provider::{Begun, NotSignedIn, Provider, ProviderSession};
pub use sign_in::{Link, ShortLivedKey, SignedIn};
pub use to_the_end::to_the_end;
pub use upkeep::{BackupPlaces, MasterKeys};
pub use uploads::PartUpload;
