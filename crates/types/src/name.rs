//! Names of repositories, branches and tags, with the rules of API area 6.

use crate::limits::{REF_NAME_BYTES_MAX, REPOSITORY_NAME_BYTES_MAX, REPOSITORY_NAME_BYTES_MIN};
use std::fmt;

/// A name that breaks its rule; the message says which rule, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} '{name}' is not valid: {rule}")]
pub struct InvalidName {
    /// `repository`, `branch` or `tag`.
    pub kind: &'static str,
    /// The text as given.
    pub name: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $rule:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(std::sync::Arc<str>);

        impl $type {
            /// Checks the rule and wraps the text.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                match $rule(text) {
                    Ok(()) => Ok(Self(text.into())),
                    Err(rule) => Err(InvalidName { kind: $kind, name: text.to_owned(), rule }),
                }
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }
        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// `^[a-z0-9][a-z0-9-]{2,62}$` (API-0.17).
    RepositoryName, "repository", repository_rule
);
name!(
    /// `^\w[-\w]*$`, ASCII, and not exactly 64 hexadecimal digits (design.md 3.2).
    BranchName, "branch", branch_rule
);
name!(
    /// The git-like rule of API area 6, and not exactly 64 hexadecimal digits (design.md 3.2).
    TagName, "tag", tag_rule
);

fn repository_rule(text: &str) -> Result<(), &'static str> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let lengths = REPOSITORY_NAME_BYTES_MIN..=REPOSITORY_NAME_BYTES_MAX;
    let ok =
        lengths.contains(&bytes.len()) && plain(bytes[0]) && bytes.iter().all(|&b| plain(b) || b == b'-');
    if ok {
        Ok(())
    } else {
        Err("use 3 to 63 lower-case letters, digits and dashes, not starting with a dash")
    }
}

fn is_full_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn branch_rule(text: &str) -> Result<(), &'static str> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = text.as_bytes();
    if bytes.is_empty() || !word(bytes[0]) || !bytes.iter().all(|&b| word(b) || b == b'-') {
        return Err("use letters, digits, underscores and dashes, not starting with a dash");
    }
    if bytes.len() > REF_NAME_BYTES_MAX {
        return Err("use at most 1024 characters");
    }
    if is_full_id(text) { Err("64 hexadecimal digits would hide a commit id") } else { Ok(()) }
}

fn tag_rule(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text == "@" {
        return Err("it may not be empty or a lone @");
    }
    if text.len() > REF_NAME_BYTES_MAX {
        return Err("use at most 1024 bytes");
    }
    if text.ends_with('.') || text.ends_with(".lock") {
        return Err("it may not end with a dot or with .lock");
    }
    if text.contains("..") || text.contains('/') || text.contains("@{") {
        return Err("it may not contain two dots in a row, a slash, or @{");
    }
    if text.chars().any(|c| "^:?*[\\".contains(c) || c <= ' ' || c == '\u{7f}') {
        return Err("it may not contain ^ : ? * [ \\, spaces or control characters");
    }
    if is_full_id(text) { Err("64 hexadecimal digits would hide a commit id") } else { Ok(()) }
}
