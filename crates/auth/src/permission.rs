//! Actions, resources, what a verb needs, and the proof that somebody may do it.

use millpond_types::{ObjectPath, RepositoryName};
use std::fmt;
use std::sync::Arc;

macro_rules! actions {
    ($($service:literal: $($name:ident)*;)*) => {
        /// What can be done, named as policies name it (API-4.24 to 4.27).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are those of the interface")]
        pub enum Action {
            $($($name,)*)*
        }

        /// The first halves of action names. The last is ours.
        pub(crate) const SERVICES: &[&str] = &[$($service),*];

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

actions! {
    "fs":
        ReadRepository CreateRepository UpdateRepository AttachStorageNamespace ImportFromStorage ImportCancel
        DeleteRepository ListRepositories ReadObject WriteObject DeleteObject ListObjects CreateCommit ReadCommit
        ListCommits CreateBranch DeleteBranch ReadBranch RevertBranch ListBranches CreateTag DeleteTag ReadTag
        ListTags ReadConfig;
    "auth":
        ReadUser CreateUser DeleteUser ListUsers ReadGroup CreateGroup DeleteGroup ListGroups AddGroupMember
        RemoveGroupMember ReadPolicy CreatePolicy UpdatePolicy DeletePolicy ListPolicies AttachPolicy DetachPolicy
        ReadCredentials CreateCredentials DeleteCredentials ListCredentials CreateUserExternalPrincipal
        DeleteUserExternalPrincipal ReadExternalPrincipal;
    "ci":
        ReadAction;
    "retention":
        PrepareGarbageCollectionCommits GetGarbageCollectionRules SetGarbageCollectionRules
        PrepareGarbageCollectionUncommitted;
    "branches":
        GetBranchProtectionRules SetBranchProtectionRules;
    "pr":
        ReadPullRequest WritePullRequest ListPullRequests;
    "catalog":
        ListNamespaces GetNamespace CreateNamespace UpdateNamespace DeleteNamespace ListTables ReadTable CreateTable
        UpdateTable DeleteTable ListViews ReadView CreateView UpdateView DeleteView;
    "millpond":
        CheckStores BackUp RotateMasterKey ReadAudit;
}

impl Action {
    /// The action of this name; `None`: there is none.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.name() == name)
    }
    /// Its place in a set of actions.
    pub(crate) fn bit(self) -> u128 {
        1 << self as u32
    }
}

/// A set of actions is one number.
const _: () = assert!(Action::ALL.len() <= 128);

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What it is done to. `Display` renders the ARN (API-4.19 to 4.21); checking costs no allocation.
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
    /// A group.
    Group(&'a str),
    /// A policy.
    Policy(&'a str),
    /// Somebody whom another system vouches for.
    ExternalPrincipal(&'a str),
    /// What a person named by an ARN, in parts.
    Named {
        /// `fs`, `auth`, `catalog`.
        service: &'a str,
        /// What follows the last of the five colons.
        name: &'a str,
    },
}

impl<'a> Resource<'a> {
    /// Reads an ARN without patterns, or `*`; `None`: it is neither.
    pub fn parse(arn: &'a str) -> Option<Self> {
        if arn == "*" {
            return Some(Self::Any);
        }
        let (service, name) = split_arn(arn).ok()?;
        Some(Self::Named { service, name })
    }

    /// The third field of the ARN; `None` for everything.
    pub(crate) fn service(&self) -> Option<&str> {
        match self {
            Self::Any => None,
            Self::Repository(_)
            | Self::Object(..)
            | Self::Branch(..)
            | Self::Tag(..)
            | Self::Namespace(_) => Some("fs"),
            Self::User(_) | Self::Group(_) | Self::Policy(_) | Self::ExternalPrincipal(_) => Some("auth"),
            Self::Named { service, .. } => Some(service),
        }
    }

    /// The last field of the ARN, to be put together.
    fn pieces(&self) -> [&[u8]; 4] {
        const REPOSITORY: &[u8] = b"repository/";
        match self {
            Self::Any => [b"*", b"", b"", b""],
            Self::Repository(repo) => [REPOSITORY, repo.as_str().as_bytes(), b"", b""],
            Self::Object(repo, path) => [REPOSITORY, repo.as_str().as_bytes(), b"/object/", path.as_bytes()],
            Self::Branch(repo, name) => [REPOSITORY, repo.as_str().as_bytes(), b"/branch/", name.as_bytes()],
            Self::Tag(repo, name) => [REPOSITORY, repo.as_str().as_bytes(), b"/tag/", name.as_bytes()],
            Self::Namespace(uri) => [b"namespace/", uri.as_bytes(), b"", b""],
            Self::User(name) => [b"user/", name.as_bytes(), b"", b""],
            Self::Group(name) => [b"group/", name.as_bytes(), b"", b""],
            Self::Policy(name) => [b"policy/", name.as_bytes(), b"", b""],
            Self::ExternalPrincipal(id) => [b"externalPrincipal/", id.as_bytes(), b"", b""],
            Self::Named { name, .. } => [name.as_bytes(), b"", b"", b""],
        }
    }

    /// Hands over the last field of the ARN: the bytes as they are, also where they are no text.
    pub(crate) fn with_name<T>(&self, use_name: impl FnOnce(&[u8]) -> T) -> T {
        const INLINE_BYTES: usize = 256;
        let pieces = self.pieces();
        if pieces.iter().map(|piece| piece.len()).sum::<usize>() > INLINE_BYTES {
            return use_name(&pieces.concat());
        }
        let mut name = [0; INLINE_BYTES];
        let mut len = 0;
        for piece in pieces {
            name[len..len + piece.len()].copy_from_slice(piece);
            len += piece.len();
        }
        use_name(&name[..len])
    }
}

/// Service and name of `arn:lakefs:<service>:<region>:<account>:<name>` (API-4.5). The region says nothing; an
/// account never matches, because nothing here has one.
pub(crate) fn split_arn(arn: &str) -> Result<(&str, &str), &'static str> {
    let mut fields = arn.splitn(6, ':');
    let mut next = || fields.next();
    let (Some("arn"), Some(partition), Some(service), Some(_region), Some(account), Some(name)) =
        (next(), next(), next(), next(), next(), next())
    else {
        return Err("a resource is `*` or has the form arn:lakefs:<service>:::<name>");
    };
    match (partition, service, account, name) {
        (partition, ..) if partition != "lakefs" => Err("an ARN begins with arn:lakefs:"),
        (_, service, ..) if !SERVICES.contains(&service) => {
            Err("the service of an ARN is one of fs, auth, ci, retention, branches, pr, catalog, millpond")
        }
        (_, _, account, _) if !account.is_empty() => {
            Err("an ARN has no account here: its fifth field is empty")
        }
        (.., "") => Err("an ARN does not end with its last colon"),
        (_, service, _, name) => Ok((service, name)),
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(service) = self.service() {
            write!(f, "arn:lakefs:{service}:::")?;
        }
        self.with_name(|name| f.write_str(&String::from_utf8_lossy(name)))
    }
}

/// What a verb needs before it may run (API-4.12). Borrowed throughout: building one costs no allocation.
#[derive(Clone, Copy, Debug)]
pub enum Needs<'a> {
    /// One action on one resource.
    One(Action, Resource<'a>),
    /// All of these, as both sides of a copy. The first that is not allowed decides.
    All(&'a [Needs<'a>]),
    /// One of these, and none of them denied.
    Any(&'a [Needs<'a>]),
}

/// The proof that somebody may do what was asked for. Only the evaluator makes one, so what asks for a `Permit`
/// cannot be reached without the check.
#[derive(Debug)]
#[must_use = "a permit that is not used guards nothing"]
pub struct Permit {
    user: Arc<str>,
}

impl Permit {
    pub(crate) fn new(user: Arc<str>) -> Self {
        Self { user }
    }
    /// Who was permitted.
    pub fn user(&self) -> &str {
        &self.user
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_and_resources_read_as_in_policies() {
        assert_eq!(Action::ReadObject.name(), "fs:ReadObject");
        assert_eq!(Action::ListUsers.to_string(), "auth:ListUsers");
        let counts = SERVICES.iter().map(|service| {
            let of_service = |action: &&Action| action.name().split_once(':').expect("a colon").0 == *service;
            (*service, Action::ALL.iter().filter(of_service).count())
        });
        let named = [("fs", 25), ("auth", 24), ("ci", 1), ("retention", 4), ("branches", 2), ("pr", 3)];
        let ours = [("catalog", 15), ("millpond", 4)];
        assert_eq!(counts.collect::<Vec<_>>(), [&named[..], &ours].concat(), "API-4.24 to 4.27");
        for &action in Action::ALL {
            assert_eq!(Action::parse(action.name()), Some(action));
        }
        assert_eq!(Action::parse("fs:readobject"), None);
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
            (Resource::Group("Admins"), "arn:lakefs:auth:::group/Admins"),
            (Resource::Policy("FSReadAll"), "arn:lakefs:auth:::policy/FSReadAll"),
            (Resource::ExternalPrincipal("arn:aws:x"), "arn:lakefs:auth:::externalPrincipal/arn:aws:x"),
        ];
        for (resource, arn) in table {
            assert_eq!(resource.to_string(), arn);
            assert_eq!(Resource::parse(arn).expect("an ARN").to_string(), arn);
        }
        let long = ObjectPath::new(vec![b'x'; 1024]).expect("valid");
        let arn = Resource::Object(&repo, &long).to_string();
        assert!(
            arn.starts_with("arn:lakefs:fs:::repository/demo/object/xxx") && arn.len() == 1024 + 39,
            "{arn}"
        );
    }

    /// API-4.5.
    #[test]
    fn arns_have_six_fields() {
        for arn in [
            "",
            "arn",
            "arn:lakefs:fs::repository/a",
            "arn:aws:fs:::repository/a",
            "arn:lakefs::::repository/a",
            "arn:lakefs:fs:::",
            "arn:lakefs:FS:::repository/a",
            "arn:lakefs:fs::1234:repository/a",
            "xarn:lakefs:fs:::repository/a",
            "**",
        ] {
            assert!(Resource::parse(arn).is_none(), "{arn}");
        }
        assert_eq!(
            split_arn("arn:lakefs:fs:eu:::a:b"),
            Ok(("fs", ":a:b")),
            "the last field keeps its colons"
        );
    }
}
