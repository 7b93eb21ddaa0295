//! One authenticated request and what every operation asks of it.

use crate::address::{Key, Place, repository};
use crate::auth::{SigningKeys, host};
use crate::error::{S3Error, S3Result};
use crate::query::Query;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use millpond_service::{
    BranchName, Caller, Error, Kind, ObjectPath, RefExpr, RepositoryName, Service, Thing,
};
use std::sync::Arc;

/// A request without its body.
pub(crate) struct Call {
    pub service: Arc<Service>,
    pub caller: Caller,
    pub parts: Parts,
    pub query: Query,
    pub place: Place,
    pub region: Arc<str>,
    pub signing_keys: Arc<SigningKeys>,
}

/// Where a write goes.
#[derive(Clone)]
pub(crate) struct Target {
    pub repo: RepositoryName,
    pub branch: BranchName,
    pub path: ObjectPath,
}

impl Call {
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }
    /// A header as text, trimmed; `None` also when it is not ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok().map(str::trim)
    }
    pub fn bucket(&self) -> &str {
        self.place.bucket.as_deref().unwrap_or_default()
    }
    pub fn repository(&self) -> S3Result<RepositoryName> {
        repository(self.bucket())
    }
    pub fn raw_key(&self) -> &str {
        self.place.key.as_deref().unwrap_or_default()
    }
    pub fn key(&self) -> Key<'_> {
        Key::of(self.raw_key())
    }
    /// Name shown as owner of everything.
    pub fn owner(&self) -> &str {
        self.caller.principal.as_ref().map_or("", |principal| principal.name())
    }
    /// `http://host/bucket/key`, as `Location` of a completed upload.
    pub fn location(&self) -> String {
        let host = host(&self.parts).unwrap_or("localhost");
        format!("http://{host}{}", self.parts.uri.path())
    }
    /// Versions are refs here; only the id that S3 gives to unversioned objects is known.
    pub fn check_version(&self) -> S3Result<()> {
        match self.query.get("versionId") {
            None | Some("" | "null") => Ok(()),
            Some(_) => {
                Err(S3Error::invalid_argument("there are no version ids; name a commit or tag in the key"))
            }
        }
    }

    /// Repository, branch and path that the key of a write means.
    pub async fn target(&self) -> S3Result<Target> {
        let repo = self.repository()?;
        let path = self.key().path_to_write()?;
        let branch = self.branch(&repo, self.key()).await?;
        Ok(Target { repo, branch, path })
    }

    /// The branch that a key names, or why it cannot be written to.
    pub async fn branch(&self, repo: &RepositoryName, key: Key<'_>) -> S3Result<BranchName> {
        match key.branch() {
            Some(branch) => Ok(branch),
            None => Err(not_a_branch(&self.service, &self.caller, repo, key.at).await),
        }
    }

    /// The answer to a failed write: nobody should believe that a tag or commit was changed.
    pub async fn write_error(&self, target: &Target, error: Error) -> S3Error {
        write_error(&self.service, &self.caller, &target.repo, target.branch.as_str(), error).await
    }

    /// The answer to a failed listing: a ref that does not exist is like a bucket that does not.
    pub fn listing_error(&self, error: Error) -> S3Error {
        match error.kind {
            Kind::NotFound(_) => S3Error::new(404, "NoSuchBucket", error.message),
            _ => error.into(),
        }
    }
}

/// See [`Call::write_error`].
pub(crate) async fn write_error(
    service: &Service,
    caller: &Caller,
    repo: &RepositoryName,
    at: &str,
    error: Error,
) -> S3Error {
    match error.kind {
        Kind::NotFound(Thing::Branch | Thing::Ref | Thing::Tag | Thing::Commit) => {
            not_a_branch(service, caller, repo, at).await
        }
        _ => error.into(),
    }
}

/// Why a ref cannot be written to: it is something else than a branch, or nothing.
pub(crate) async fn not_a_branch(
    service: &Service,
    caller: &Caller,
    repo: &RepositoryName,
    at: &str,
) -> S3Error {
    let missing = || {
        let message =
            format!("repository '{repo}' has no branch '{at}'; keys to write have the form <branch>/<path>");
        S3Error::new(404, "NoSuchBucket", message)
    };
    let Ok(expression) = RefExpr::parse(at) else { return missing() };
    match service.get_commit(caller, repo, &expression).await {
        Ok(_) => {
            let message =
                format!("'{at}' is a tag, a commit or an expression and cannot change; write to a branch");
            S3Error::new(405, "MethodNotAllowed", message)
                .with_header(http::header::ALLOW, HeaderValue::from_static("GET, HEAD"))
        }
        Err(error) if matches!(error.kind, Kind::NotFound(Thing::Repository) | Kind::Denied) => error.into(),
        Err(_) => missing(),
    }
}

/// In presigned requests, SDKs move `x-amz-*` headers into the (signed) query: gives them back their place.
pub(crate) fn unhoist(headers: &mut HeaderMap, query: &Query) {
    for (name, value) in query.pairs() {
        let name = name.to_ascii_lowercase();
        let of_signature = matches!(
            name.as_str(),
            "x-amz-algorithm"
                | "x-amz-credential"
                | "x-amz-date"
                | "x-amz-expires"
                | "x-amz-signedheaders"
                | "x-amz-signature"
                | "x-amz-security-token"
                | "x-amz-content-sha256"
        );
        if !name.starts_with("x-amz-") || of_signature {
            continue;
        }
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            headers.entry(name).or_insert(value);
        }
    }
}
