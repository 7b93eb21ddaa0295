//! The groups and policies that a new installation has (API-3.12, 3.13), and ACLs of groups as policies (API-3.14).

use crate::change::Change;
use crate::error::{Error, Result};
use crate::policy::{Document, Statement};

/// Raised when the lists below grow, so that what is new can be made where the rest exists.
pub const VERSION: u64 = 1;

/// Name, actions, resource.
const POLICIES: &[(&str, &[&str], &str)] = &[
    ("FSFullAccess", &["fs:*"], "*"),
    (
        "FSReadWriteAll",
        &[
            "fs:Read*",
            "fs:List*",
            "fs:WriteObject",
            "fs:DeleteObject",
            "fs:RevertBranch",
            "fs:CreateBranch",
            "fs:CreateTag",
            "fs:DeleteBranch",
            "fs:DeleteTag",
            "fs:CreateCommit",
        ],
        "*",
    ),
    ("FSReadAll", &["fs:List*", "fs:Read*"], "*"),
    ("RepoManagementFullAccess", &["ci:*", "retention:*", "branches:*", "pr:*", "fs:ReadConfig"], "*"),
    (
        "RepoManagementReadAll",
        &["ci:Read*", "retention:Get*", "branches:Get*", "pr:Read*", "pr:List*", "fs:ReadConfig"],
        "*",
    ),
    ("PRReadWriteAll", &["pr:*"], "*"),
    ("CatalogReadAll", &["catalog:List*", "catalog:Get*", "catalog:Read*"], "*"),
    ("CatalogReadWriteAll", &["catalog:*"], "*"),
    ("AuthFullAccess", &["auth:*"], "*"),
    (
        "AuthManageOwnCredentials",
        &["auth:CreateCredentials", "auth:DeleteCredentials", "auth:ListCredentials", "auth:ReadCredentials"],
        "arn:lakefs:auth:::user/${user}",
    ),
    // Ours: checks, backups and whatever else only Millpond has.
    ("MillpondFullAccess", &["millpond:*"], "*"),
];

/// The group whose members may do everything, and whose first is the administrator.
pub const ADMINS: &str = "Admins";

/// Name, description, policies.
const GROUPS: &[(&str, &str, &[&str])] = &[
    (
        ADMINS,
        "May do everything",
        &[
            "FSFullAccess",
            "CatalogReadWriteAll",
            "AuthFullAccess",
            "RepoManagementFullAccess",
            "MillpondFullAccess",
        ],
    ),
    (
        "SuperUsers",
        "May do everything with repositories, and manage their own access keys",
        &["FSFullAccess", "CatalogReadWriteAll", "AuthManageOwnCredentials", "RepoManagementReadAll"],
    ),
    (
        "Developers",
        "May read and write all repositories, and manage their own access keys",
        &[
            "FSReadWriteAll",
            "PRReadWriteAll",
            "CatalogReadWriteAll",
            "AuthManageOwnCredentials",
            "RepoManagementReadAll",
        ],
    ),
    (
        "Viewers",
        "May read all repositories, and manage their own access keys",
        &["FSReadAll", "CatalogReadAll", "AuthManageOwnCredentials"],
    ),
];

fn document(actions: &[&str], resource: &str) -> Document {
    let action = actions.iter().map(|&action| action.to_owned()).collect();
    let statement =
        Statement { effect: "allow".to_owned(), resource: resource.to_owned(), action, condition: None };
    Document { statement: vec![statement], acl: None }
}

/// The levels of an ACL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclLevel {
    /// Reads.
    Read,
    /// Reads and writes.
    Write,
    /// Everything but users and policies.
    Super,
    /// Everything.
    Admin,
}

impl AclLevel {
    const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Super, Self::Admin];

    /// As the interface spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Super => "Super",
            Self::Admin => "Admin",
        }
    }

    /// The level of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// The group of the first start whose members may as much.
    fn group(self) -> &'static str {
        match self {
            Self::Read => "Viewers",
            Self::Write => "Developers",
            Self::Super => "SuperUsers",
            Self::Admin => ADMINS,
        }
    }

    fn document(self) -> Document {
        let group = GROUPS.iter().find(|(name, ..)| *name == self.group()).expect("a group of the list");
        let policies = POLICIES.iter().filter(|(name, ..)| group.2.contains(name));
        let statements = policies.flat_map(|(_, actions, resource)| document(actions, resource).statement);
        Document { statement: statements.collect(), acl: Some(self.name().to_owned()) }
    }
}

/// The policy that is a group's ACL.
pub fn acl_policy(group: &str) -> String {
    format!("ACL(_-_){group}")
}

impl Change {
    /// Makes the groups and policies of a first start, unless that was done before; what a person made under one of
    /// their names stays as it is.
    pub(crate) fn ensure_defaults(&mut self) -> Result<()> {
        if self.has_defaults() {
            return Ok(());
        }
        for (name, actions, resource) in POLICIES {
            made(self.create_policy(name, &document(actions, resource)))?;
        }
        for (name, description, policies) in GROUPS {
            if made(self.create_group(name, description))? {
                for policy in *policies {
                    self.attach_to_group(policy, name)?;
                }
            }
        }
        self.note_defaults(VERSION);
        Ok(())
    }

    /// Gives a group a level of the ACL, in place of the policies that it has.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the group.
    pub fn set_acl(&mut self, group: &str, level: AclLevel) -> Result<()> {
        let attached = self.group(group)?.policies.clone();
        let name = acl_policy(group);
        for policy in attached.iter().filter(|policy| ***policy != *name) {
            self.detach_from_group(policy, group)?;
        }
        if !made(self.create_policy(&name, &level.document()))? {
            self.update_policy(&name, &level.document())?;
        }
        made(self.attach_to_group(&name, group)).map(|_| ())
    }
}

/// Whether it was made now; what exists is fine too.
fn made(result: Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(Error::Exists { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
