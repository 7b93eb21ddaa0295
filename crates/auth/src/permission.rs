//! Actions, resources, and the proof that somebody may do something.

use millpond_types::{ObjectPath, RepositoryName};
use std::fmt;

macro_rules! actions {
    ($($service:literal: $($name:ident)*;)*) => {
        /// What can be done, named as policies name it (API-4.24).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are those of the interface")]
        pub enum Action {
            $($($name,)*)*
        }

        impl Action {
            /// Every action.
            pub const ALL: &[Self] = &[$($(Self::$name,)*)*];

            /// The name in policies, `fs:ReadObject`.
            pub fn name(self) -> &'static str {
                match self {
                    $($(Self::$name => concat!($service, ":", stringify!($name)),)*)*
                }
            }
        }
    };
}

// The services `auth`, `ci`, `retention`, `branches`, `pr` and `catalog` (API-4.25 to 4.27) come with their verbs.
actions! {
    "fs":
        ReadRepository CreateRepository UpdateRepository AttachStorageNamespace ImportFromStorage ImportCancel
        DeleteRepository ListRepositories ReadObject WriteObject DeleteObject ListObjects CreateCommit ReadCommit
        ListCommits CreateBranch DeleteBranch ReadBranch RevertBranch ListBranches CreateTag DeleteTag ReadTag
        ListTags ReadConfig;
    "auth":
        ReadUser CreateUser DeleteUser ListUsers ReadCredentials CreateCredentials DeleteCredentials ListCredentials;
    "millpond":
        CheckStores BackUp;
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What it is done to. `Display` renders the ARN (API-4.19, 4.20); checking costs no allocation.
#[derive(Clone, Copy, Debug)]
pub enum Resource<'a> {
    /// Everything: `*`, which only a literal `*` in a policy covers (API-4.9).
    Any,
    /// A repository.
    Repository(&'a RepositoryName),
    /// An object, on whatever ref (API-4.22).
    Object(&'a RepositoryName, &'a ObjectPath),
    /// A branch. Text, because some verbs build it from a ref expression as given (`logCommits`).
    Branch(&'a RepositoryName, &'a str),
    /// A tag.
    Tag(&'a RepositoryName, &'a str),
    /// A storage namespace or an import source, as URI.
    Namespace(&'a str),
    /// A user.
    User(&'a str),
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Repository(repo) => write!(f, "arn:lakefs:fs:::repository/{repo}"),
            Self::Object(repo, path) => {
                write!(f, "arn:lakefs:fs:::repository/{repo}/object/{}", path.to_text())
            }
            Self::Branch(repo, name) => write!(f, "arn:lakefs:fs:::repository/{repo}/branch/{name}"),
            Self::Tag(repo, name) => write!(f, "arn:lakefs:fs:::repository/{repo}/tag/{name}"),
            Self::Namespace(uri) => write!(f, "arn:lakefs:fs:::namespace/{uri}"),
            Self::User(name) => write!(f, "arn:lakefs:auth:::user/{name}"),
        }
    }
}

/// The proof that a user may do an action. Only [`Auth::authorize`](crate::Auth::authorize) makes one, so a
/// function that asks for a `Permit` cannot be reached without the check.
#[derive(Debug)]
#[must_use = "a permit that is not used guards nothing"]
pub struct Permit {
    action: Action,
}

impl Permit {
    pub(crate) fn new(action: Action) -> Self {
        Self { action }
    }
    /// What was permitted.
    pub fn action(&self) -> Action {
        self.action
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_and_resources_read_as_in_policies() {
        assert_eq!(Action::ReadObject.name(), "fs:ReadObject");
        assert_eq!(Action::ListUsers.to_string(), "auth:ListUsers");
        let fs = Action::ALL.iter().filter(|a| a.name().starts_with("fs:")).count();
        assert_eq!(fs, 25, "API-4.24 names 25");
        let repo = RepositoryName::parse("demo").expect("valid");
        let path = ObjectPath::parse("a/b c.csv").expect("valid");
        let table = [
            (Resource::Any, "*"),
            (Resource::Repository(&repo), "arn:lakefs:fs:::repository/demo"),
            (Resource::Object(&repo, &path), "arn:lakefs:fs:::repository/demo/object/a/b c.csv"),
            (Resource::Branch(&repo, "main~2"), "arn:lakefs:fs:::repository/demo/branch/main~2"),
            (Resource::Tag(&repo, "v1"), "arn:lakefs:fs:::repository/demo/tag/v1"),
            (Resource::Namespace("local://demo"), "arn:lakefs:fs:::namespace/local://demo"),
            (Resource::User("admin"), "arn:lakefs:auth:::user/admin"),
        ];
        for (resource, arn) in table {
            assert_eq!(resource.to_string(), arn);
        }
    }
}
