//! How repositories, refs and objects are written on the command line:
//! `repository/ref/path`, or the same with `mp://` or `lakefs://` in front.
//!
//! Names are only split here, never judged: which names are valid is the server's to say. Everything after
//! the second slash is the path, byte for byte, further slashes included.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

const SCHEMES: [&str; 2] = ["mp://", "lakefs://"];

/// `repository`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryUri {
    /// Its name.
    pub repository: String,
}

/// `repository/ref`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUri {
    /// Name of the repository.
    pub repository: String,
    /// A branch, tag, commit or expression.
    pub reference: String,
}

/// `repository/ref/path`; the path may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectUri {
    /// Name of the repository.
    pub repository: String,
    /// A branch, tag, commit or expression.
    pub reference: String,
    /// Path or prefix.
    pub path: String,
}

/// One end of a copy. A remote one must carry a scheme: `cp data/a b` never guesses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// `-`: stdin or stdout.
    Standard,
    /// A file or folder.
    Local(PathBuf),
    /// An object or prefix.
    Remote(ObjectUri),
}

/// The text is not what was asked for; says what is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidUri(String);

impl fmt::Display for InvalidUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidUri {}

fn without_scheme(text: &str) -> Result<&str, InvalidUri> {
    if let Some(rest) = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)) {
        return Ok(rest);
    }
    match text.split_once("://") {
        Some((scheme, _)) if !scheme.contains('/') => Err(InvalidUri(format!(
            "'{scheme}://' is not a Millpond address; write repository/ref/path, mp://... or lakefs://..."
        ))),
        _ => Ok(text),
    }
}

impl FromStr for RepositoryUri {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, InvalidUri> {
        let rest = without_scheme(text)?;
        let name = rest.strip_suffix('/').unwrap_or(rest);
        if name.is_empty() {
            return Err(InvalidUri("a repository is missing, for example 'demo'".into()));
        }
        if let Some((name, _)) = name.split_once('/') {
            return Err(InvalidUri(format!("only a repository is wanted here, for example '{name}'")));
        }
        Ok(Self { repository: name.to_owned() })
    }
}

impl FromStr for ObjectUri {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, InvalidUri> {
        let mut parts = without_scheme(text)?.splitn(3, '/');
        let (repository, reference) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if repository.is_empty() {
            return Err(InvalidUri("a repository is missing, for example 'demo/main/a.csv'".into()));
        }
        if reference.is_empty() {
            return Err(InvalidUri(format!(
                "a branch, tag or commit is missing after '{repository}/', for example '{repository}/main'"
            )));
        }
        Ok(Self {
            repository: repository.to_owned(),
            reference: reference.to_owned(),
            path: parts.next().unwrap_or_default().to_owned(),
        })
    }
}

impl FromStr for RefUri {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, InvalidUri> {
        let ObjectUri { repository, reference, path } = text.parse()?;
        if !path.is_empty() {
            return Err(InvalidUri(format!(
                "only a ref is wanted here, for example '{repository}/{reference}'"
            )));
        }
        Ok(Self { repository, reference })
    }
}

impl RefUri {
    /// A second ref beside this one: a bare name in the same repository, or a whole address.
    ///
    /// # Errors
    /// When the address is none, or names another repository.
    pub fn sibling(&self, text: &str) -> Result<String, InvalidUri> {
        if !text.contains('/') {
            return Ok(text.to_owned());
        }
        let other: Self = text.parse()?;
        if other.repository != self.repository {
            return Err(InvalidUri(format!(
                "both must be in one repository, not in '{}' and '{}'",
                self.repository, other.repository
            )));
        }
        Ok(other.reference)
    }
}

impl FromStr for Location {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, InvalidUri> {
        if text == "-" {
            Ok(Self::Standard)
        } else if SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
            Ok(Self::Remote(text.parse()?))
        } else if text.is_empty() {
            Err(InvalidUri("a file name is empty".into()))
        } else {
            // Refuses foreign schemes, so that `s3://...` does not become a folder called "s3:".
            without_scheme(text)?;
            Ok(Self::Local(text.into()))
        }
    }
}

impl ObjectUri {
    /// The same place with another path.
    pub fn at(&self, path: impl Into<String>) -> Self {
        Self { path: path.into(), ..self.clone() }
    }

    /// The path as a folder: empty, or ending in a slash.
    pub fn folder(&self) -> String {
        if self.path.is_empty() || self.path.ends_with('/') {
            self.path.clone()
        } else {
            format!("{}/", self.path)
        }
    }

    /// The ref alone.
    pub fn ref_uri(&self) -> RefUri {
        RefUri { repository: self.repository.clone(), reference: self.reference.clone() }
    }
}

impl fmt::Display for RepositoryUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)
    }
}

impl fmt::Display for RefUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.repository, self.reference)
    }
}

impl fmt::Display for ObjectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mp://{}/{}/{}", self.repository, self.reference, self.path)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("-"),
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::Remote(uri) => write!(f, "{uri}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> (String, String, String) {
        let uri: ObjectUri = text.parse().expect(text);
        (uri.repository, uri.reference, uri.path)
    }

    fn triple(a: &str, b: &str, c: &str) -> (String, String, String) {
        (a.into(), b.into(), c.into())
    }

    #[test]
    fn objects_split_at_the_first_two_slashes_only() {
        assert_eq!(object("demo/main/a/b.csv"), triple("demo", "main", "a/b.csv"));
        assert_eq!(object("mp://demo/main/a"), triple("demo", "main", "a"));
        assert_eq!(object("lakefs://demo/main/a"), triple("demo", "main", "a"));
        assert_eq!(object("demo/main~2/x"), triple("demo", "main~2", "x"));
        assert_eq!(
            object("demo/main@{2026-11-22T20:00Z}/x"),
            triple("demo", "main@{2026-11-22T20:00Z}", "x")
        );
        assert_eq!(object("demo/main//a//b/"), triple("demo", "main", "/a//b/"));
        assert_eq!(object("demo/main"), triple("demo", "main", ""));
        assert_eq!(object("demo/main/"), triple("demo", "main", ""));
        assert_eq!(object("demo/main/s3://odd"), triple("demo", "main", "s3://odd"));
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, part) in [
            ("", "repository is missing"),
            ("mp://", "repository is missing"),
            ("/main/a", "repository is missing"),
            ("demo", "after 'demo/'"),
            ("demo//a", "after 'demo/'"),
            ("s3://demo/main/a", "'s3://' is not a Millpond address"),
        ] {
            let error = text.parse::<ObjectUri>().expect_err("refused").to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!("demo/main/a".parse::<RefUri>().is_err());
        assert!("demo/main".parse::<RepositoryUri>().is_err());
        assert_eq!("mp://demo/".parse::<RepositoryUri>().expect("valid").repository, "demo");
    }

    #[test]
    fn a_copy_end_is_remote_only_with_a_scheme() {
        assert_eq!("-".parse(), Ok(Location::Standard));
        assert_eq!("demo/main/a".parse(), Ok(Location::Local("demo/main/a".into())));
        assert_eq!("./mp://x".parse(), Ok(Location::Local("./mp://x".into())));
        assert!(matches!("mp://demo/main/a".parse(), Ok(Location::Remote(_))));
        assert!("s3://bucket/key".parse::<Location>().is_err());
        assert!("".parse::<Location>().is_err());
    }

    #[test]
    fn siblings_stay_in_the_repository() {
        let main: RefUri = "demo/main".parse().expect("valid");
        assert_eq!(main.sibling("dev"), Ok("dev".into()));
        assert_eq!(main.sibling("mp://demo/dev"), Ok("dev".into()));
        assert!(main.sibling("other/dev").is_err());
    }
}
