//! What a request is about: S3 or not, which bucket and key, and which ref and path the key means.
//!
//! Bucket = repository, key = `ref/path` (API-27.1). It knows names and their rules, not what exists.

use crate::error::{S3Error, S3Result};
use crate::query::percent_decode;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Uri};
use millpond_service::{BranchName, InvalidPath, ObjectPath, RefExpr, RepositoryName};

/// Whether a request is for the S3 door (API-0.2, 0.3): its host is one of the domains or one label under
/// one, or it carries an AWS signature. Unsigned requests to other hosts belong to the HTTP door.
pub fn is_s3(headers: &HeaderMap, uri: &Uri, domains: &[String]) -> bool {
    let host = headers.get(HOST).and_then(|value| value.to_str().ok());
    let host = host.or_else(|| uri.authority().map(http::uri::Authority::as_str));
    if host.is_some_and(|host| !matches!(Host::of(host, domains), Host::Other)) {
        return true;
    }
    if headers.contains_key("x-amz-signature") {
        return true;
    }
    let signed = |value: &http::HeaderValue| {
        value.as_bytes().starts_with(b"AWS4") || value.as_bytes().starts_with(b"AWS ")
    };
    if headers.get_all(AUTHORIZATION).iter().any(signed) {
        return true;
    }
    uri.query().unwrap_or_default().split('&').any(|pair| {
        matches!(pair.split_once('='), Some(("AWSAccessKeyId" | "X-Amz-Credential", value)) if !value.is_empty())
    })
}

/// What the host of a request says about addressing (API-27.2).
#[derive(Debug, PartialEq, Eq)]
enum Host {
    /// A configured domain: path style.
    Domain,
    /// One label under a configured domain: that label is the bucket.
    Bucket(String),
    /// Any other host: path style.
    Other,
}

impl Host {
    fn of(host: &str, domains: &[String]) -> Self {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.to_ascii_lowercase();
        for domain in domains {
            let domain = domain.to_ascii_lowercase();
            if name == domain {
                return Self::Domain;
            }
            let label = name.strip_suffix(&domain).and_then(|rest| rest.strip_suffix('.'));
            if let Some(label) = label.filter(|label| !label.is_empty() && !label.contains('.')) {
                return Self::Bucket(label.to_owned());
            }
        }
        Self::Other
    }
}

/// Bucket and key as text; both may be missing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub bucket: Option<String>,
    /// `None` also for `/bucket/`.
    pub key: Option<String>,
}

impl Place {
    /// From host and path. A `+` in a path is a plus.
    pub fn of(host: Option<&str>, raw_path: &str, domains: &[String]) -> S3Result<Self> {
        let path = percent_decode(raw_path)?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        if let Some(Host::Bucket(bucket)) = host.map(|host| Host::of(host, domains)) {
            return Ok(Self { bucket: Some(bucket), key: some(path) });
        }
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        match some(bucket) {
            None if !key.is_empty() => {
                Err(S3Error::new(400, "InvalidBucketName", "the bucket name is empty"))
            }
            bucket => Ok(Self { bucket, key: some(key) }),
        }
    }
}

/// The repository of a bucket name.
pub(crate) fn repository(bucket: &str) -> S3Result<RepositoryName> {
    RepositoryName::parse(bucket).map_err(|error| S3Error::new(400, "InvalidBucketName", error.to_string()))
}

/// A key taken apart at its first slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key<'a> {
    /// Ref expression, for writes a branch name.
    pub at: &'a str,
    /// The object path as text; may be empty. `None`: the key has no slash.
    pub path: Option<&'a str>,
}

impl<'a> Key<'a> {
    pub fn of(key: &'a str) -> Self {
        match key.split_once('/') {
            Some((at, path)) => Self { at, path: Some(path) },
            None => Self { at: key, path: None },
        }
    }
    /// Ref and path of something to be read; whatever cannot name an object is a key that does not exist.
    pub fn to_read(self) -> S3Result<(RefExpr, ObjectPath)> {
        let missing = |why: String| S3Error::no_such_key(why);
        let path = self.path.filter(|path| !path.is_empty()).ok_or_else(|| {
            missing("the key names no object; keys have the form <branch, tag or commit>/<path>".to_owned())
        })?;
        let path = object_path(path)?;
        let at = RefExpr::parse(self.at).map_err(|error| missing(error.to_string()))?;
        Ok((at, path))
    }
    /// The path of something to be written.
    pub fn path_to_write(self) -> S3Result<ObjectPath> {
        match self.path {
            Some(path) if !path.is_empty() => object_path(path),
            _ => Err(S3Error::invalid_argument("the key must have the form <branch>/<path>")),
        }
    }
    /// The branch, if the ref can be one.
    pub fn branch(self) -> Option<BranchName> {
        BranchName::parse(self.at).ok()
    }
}

pub(crate) fn object_path(path: &str) -> S3Result<ObjectPath> {
    ObjectPath::parse(path).map_err(|error| match error {
        InvalidPath::TooLong(_) => S3Error::new(400, "KeyTooLongError", error.to_string()),
        InvalidPath::Empty => S3Error::invalid_argument(error.to_string()),
    })
}

/// The value of `x-amz-copy-source`: bucket and key.
pub(crate) fn copy_source(value: &str) -> S3Result<(RepositoryName, String)> {
    let bad = |why: &str| S3Error::invalid_argument(format!("x-amz-copy-source {why}"));
    let (path, version) = match value.split_once("?versionId=") {
        Some((path, version)) => (path, Some(version)),
        None => (value, None),
    };
    if version.is_some_and(|version| version != "null") {
        return Err(bad("names a version; versions are refs: use <bucket>/<ref>/<path>"));
    }
    let path = percent_decode(path).map_err(|_| bad("holds a bad percent escape or is not UTF-8"))?;
    let (bucket, key) = path.trim_start_matches('/').split_once('/').unwrap_or((&path, ""));
    if bucket.is_empty() || key.is_empty() {
        return Err(bad("must have the form <bucket>/<ref>/<path>"));
    }
    Ok((repository(bucket)?, key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains() -> Vec<String> {
        vec!["s3.example.com".to_owned(), "s3.local".to_owned()]
    }

    fn request(host: &str, uri: &str, headers: &[(&'static str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        map.insert(HOST, host.parse().expect("a value"));
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a value"));
        }
        is_s3(&map, &uri.parse().expect("a URI"), &domains())
    }

    #[test]
    fn s3_requests_are_told_by_host_or_signature() {
        assert!(request("s3.example.com", "/", &[]));
        assert!(request("S3.Example.com:8000", "/", &[]));
        assert!(request("repo.s3.local:80", "/main/a", &[]));
        assert!(request("localhost", "/api/v1/x", &[("authorization", "AWS4-HMAC-SHA256 Credential=x")]));
        assert!(request("localhost", "/", &[("authorization", "AWS key:signature")]));
        assert!(request("localhost", "/", &[("x-amz-signature", "x")]));
        assert!(request("localhost", "/r/main/a?X-Amz-Credential=k%2F1", &[]));
        assert!(request("localhost", "/r/main/a?x=1&AWSAccessKeyId=k", &[]));
    }

    #[test]
    fn other_requests_are_not_s3() {
        assert!(!request("localhost:8000", "/", &[]));
        assert!(!request("a.b.s3.local", "/", &[]));
        assert!(!request("evils3.local", "/", &[]));
        assert!(!request("localhost", "/r/main/a", &[("x-amz-date", "x")]));
        assert!(!request("localhost", "/api", &[("authorization", "Basic AWS4")]));
        assert!(!request("localhost", "/api", &[("authorization", "AWSome")]));
        assert!(!request("localhost", "/?X-Amz-Credential=", &[]));
    }

    fn place(host: &str, path: &str) -> (Option<String>, Option<String>) {
        let place = Place::of(Some(host), path, &domains()).expect("valid");
        (place.bucket, place.key)
    }

    #[test]
    fn places() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(place("localhost", "/"), (None, None));
        assert_eq!(place("localhost", "/repo"), (text("repo"), None));
        assert_eq!(place("localhost", "/repo/"), (text("repo"), None));
        assert_eq!(place("localhost", "/repo/main//a%2Fb+%20"), (text("repo"), text("main//a/b+ ")));
        assert_eq!(place("repo.s3.local", "/main/a"), (text("repo"), text("main/a")));
        assert_eq!(place("repo.s3.local", "/"), (text("repo"), None));
        for path in ["/r/%ff", "/r/a%ZZ", "/r/%4"] {
            assert_eq!(Place::of(None, path, &[]).expect_err(path).code, "InvalidURI");
        }
        assert_eq!(Place::of(None, "//x", &[]).expect_err("no bucket").code, "InvalidBucketName");
    }

    #[test]
    fn keys() {
        assert_eq!(Key::of("main/a/b"), Key { at: "main", path: Some("a/b") });
        assert_eq!(Key::of("main//b"), Key { at: "main", path: Some("/b") });
        assert_eq!(Key::of("main/"), Key { at: "main", path: Some("") });
        assert_eq!(Key::of("main"), Key { at: "main", path: None });
        assert!(Key::of("main~1/a").to_read().is_ok());
        for key in ["main", "main/", "/a", "ma in/a", "main~~x/a"] {
            assert_eq!(Key::of(key).to_read().expect_err(key).code, "NoSuchKey");
        }
        assert!(Key::of("v1.0/a").branch().is_none());
        let long = format!("main/{}", "x".repeat(1024));
        assert!(Key::of(&long).to_read().is_ok() && Key::of(&long).path_to_write().is_ok());
        let long = format!("main/{}", "x".repeat(1025));
        assert_eq!(Key::of(&long).path_to_write().expect_err("long").code, "KeyTooLongError");
        assert_eq!(Key::of("main/").path_to_write().expect_err("empty").code, "InvalidArgument");
    }

    #[test]
    fn copy_sources() {
        let (bucket, key) = copy_source("/repo/main/a%20b%3F+").expect("valid");
        assert_eq!((bucket.as_str(), key.as_str()), ("repo", "main/a b?+"));
        assert_eq!(copy_source("repo/main/x?versionId=null").expect("valid").1, "main/x");
        for bad in ["", "repo", "repo/", "/", "repo/main/x?versionId=3", "repo/%ff"] {
            assert_eq!(copy_source(bad).expect_err(bad).code, "InvalidArgument");
        }
    }
}
