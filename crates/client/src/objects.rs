//! Objects: list, stat, read, write, copy, delete (API areas 16 and 17).

use crate::commits::null_is_empty;
use crate::connection::{Api, Client};
use crate::error::Error;
use crate::page::{Page, PageQuery};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use reqwest::{Body, Method};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most paths that one [`Client::delete_objects`] takes.
pub const DELETE_PATHS_MAX: usize = 1000;

/// What an item of a listing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathType {
    /// An object.
    Object,
    /// Everything up to and including the next delimiter.
    CommonPrefix,
}

/// An object without its bytes, or a common prefix in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectStats {
    /// Its path.
    pub path: String,
    /// What it is.
    pub path_type: PathType,
    /// Where the store keeps it.
    #[serde(default)]
    pub physical_address: String,
    /// MD5 in hexadecimal for plain uploads.
    #[serde(default)]
    pub checksum: String,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Unix seconds; 0 when unknown.
    #[serde(default)]
    pub mtime: i64,
    /// What the uploader added.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Whether the server took the checksum from the bytes itself; known only if it was asked for (Millpond only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
}

/// Which part of a tree to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectQuery {
    /// The page.
    pub page: PageQuery,
    /// Folds everything up to the next delimiter; empty folds nothing.
    pub delimiter: String,
    /// Asks for [`ObjectStats::verified`].
    pub verified: bool,
}

/// What goes with the bytes of an upload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UploadOptions {
    /// None is `application/octet-stream`.
    pub content_type: Option<String>,
    /// Keys arrive in lower case (API-16.8).
    pub metadata: BTreeMap<String, String>,
    /// Bytes in the body; none sends it in chunks.
    pub size_bytes: Option<u64>,
    /// Whether to refuse (412) when the path exists.
    pub must_not_exist: bool,
}

/// A path that [`Client::delete_objects`] could not delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectError {
    /// Like an HTTP status.
    pub status_code: u16,
    /// Why.
    pub message: String,
    /// The path.
    #[serde(default)]
    pub path: Option<String>,
}

#[derive(Serialize)]
struct PathList<'a> {
    paths: &'a [String],
}

#[derive(Deserialize)]
struct ObjectErrorList {
    #[serde(default, deserialize_with = "null_is_empty")]
    errors: Vec<ObjectError>,
}

#[derive(Serialize)]
struct CopyCreation<'a> {
    src_path: &'a str,
    src_ref: &'a str,
}

/// An object's bytes as they arrive.
pub struct ObjectBody {
    response: reqwest::Response,
    attempt: String,
    server: String,
}

impl ObjectBody {
    /// Bytes to come, if the server said.
    pub fn size_bytes(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// Media type.
    pub fn content_type(&self) -> Option<&str> {
        self.response.headers().get(reqwest::header::CONTENT_TYPE)?.to_str().ok()
    }

    /// The bytes. A body that ends early is an error, never a short object.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Error>> + Send + Unpin + 'static {
        let Self { response, attempt, server } = self;
        Box::pin(response.bytes_stream().map(move |chunk| {
            chunk.map_err(|source| Error::Unreachable {
                attempt: attempt.clone(),
                server: server.clone(),
                source,
            })
        }))
    }

    /// The same as a request body, to send the object on.
    pub fn into_body(self) -> Body {
        Body::wrap_stream(self.into_stream())
    }
}

impl Client {
    /// A page of the objects of a ref in bytewise order.
    pub async fn list_objects(
        &self,
        repository: &str,
        reference: &str,
        query: &ObjectQuery,
    ) -> Result<Page<ObjectStats>, Error> {
        let attempt = format!("list {repository}/{reference}/{}", query.page.prefix);
        let segments = ["repositories", repository, "refs", reference, "objects", "ls"];
        query
            .page
            .add_to(self.call(Method::GET, Api::Compatible, &segments, attempt))
            .query_filled("delimiter", &query.delimiter)
            .query_flag("verified", query.verified)
            .read_json()
            .await
    }

    /// An object without its bytes.
    pub async fn stat_object(
        &self,
        repository: &str,
        reference: &str,
        path: &str,
    ) -> Result<ObjectStats, Error> {
        let attempt = format!("look up {repository}/{reference}/{path}");
        let segments = ["repositories", repository, "refs", reference, "objects", "stat"];
        self.call(Method::GET, Api::Compatible, &segments, attempt).query("path", path).read_json().await
    }

    /// An object's bytes. `range` has the form `bytes=0-99`, `bytes=100-` or `bytes=-100`.
    pub async fn get_object(
        &self,
        repository: &str,
        reference: &str,
        path: &str,
        range: Option<&str>,
    ) -> Result<ObjectBody, Error> {
        let attempt = format!("read {repository}/{reference}/{path}");
        let segments = ["repositories", repository, "refs", reference, "objects"];
        let mut call =
            self.call(Method::GET, Api::Compatible, &segments, attempt.clone()).query("path", path);
        if let Some(range) = range {
            call = call.header("range", range);
        }
        let response = call.send().await?;
        Ok(ObjectBody { response, attempt, server: self.server().to_owned() })
    }

    /// Writes an object. A streamed body cannot be sent twice, so a busy server is the caller's to ask
    /// again (see [`Error::is_transient`]).
    pub async fn upload_object(
        &self,
        repository: &str,
        branch: &str,
        path: &str,
        options: &UploadOptions,
        body: Body,
    ) -> Result<ObjectStats, Error> {
        let attempt = format!("write {repository}/{branch}/{path}");
        let segments = ["repositories", repository, "branches", branch, "objects"];
        let content_type = options.content_type.as_deref().unwrap_or("application/octet-stream");
        let mut call = self
            .call(Method::POST, Api::Compatible, &segments, attempt)
            .query("path", path)
            .header("content-type", content_type);
        if let Some(size) = options.size_bytes {
            call = call.header("content-length", &size.to_string());
        }
        if options.must_not_exist {
            call = call.header("if-none-match", "*");
        }
        for (key, value) in &options.metadata {
            call = call.header(&format!("x-lakefs-meta-{key}"), value);
        }
        call.body(body).read_json().await
    }

    /// Copies an object within a repository without moving bytes through the client.
    pub async fn copy_object(
        &self,
        repository: &str,
        source_ref: &str,
        source_path: &str,
        branch: &str,
        path: &str,
    ) -> Result<ObjectStats, Error> {
        let attempt = format!("copy {repository}/{source_ref}/{source_path} to {repository}/{branch}/{path}");
        let segments = ["repositories", repository, "branches", branch, "objects", "copy"];
        self.call(Method::POST, Api::Compatible, &segments, attempt)
            .query("dest_path", path)
            .json(&CopyCreation { src_path: source_path, src_ref: source_ref })
            .read_json()
            .await
    }

    /// Deletes an object; deleting one that does not exist succeeds.
    pub async fn delete_object(&self, repository: &str, branch: &str, path: &str) -> Result<(), Error> {
        let attempt = format!("delete {repository}/{branch}/{path}");
        let segments = ["repositories", repository, "branches", branch, "objects"];
        self.call(Method::DELETE, Api::Compatible, &segments, attempt)
            .query("path", path)
            .read_nothing()
            .await
    }

    /// Deletes up to [`DELETE_PATHS_MAX`] objects; returns those that could not be deleted.
    pub async fn delete_objects(
        &self,
        repository: &str,
        branch: &str,
        paths: &[String],
    ) -> Result<Vec<ObjectError>, Error> {
        let attempt = format!("delete {} objects from {repository}/{branch}", paths.len());
        let segments = ["repositories", repository, "branches", branch, "objects", "delete"];
        let list: ObjectErrorList = self
            .call(Method::POST, Api::Compatible, &segments, attempt)
            .json(&PathList { paths })
            .read_json()
            .await?;
        Ok(list.errors)
    }
}
