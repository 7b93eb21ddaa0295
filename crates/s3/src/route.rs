//! Which operation a request asks for, by method, shape and sub-resource (API-27.4).

use crate::address::Place;
use crate::call::Call;
use crate::error::{S3Error, S3Result};
use crate::ops;
use crate::payload::Payload;
use crate::query::Query;
use crate::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, Method};
use millpond_service::Action::{
    self, AttachStorageNamespace, CreateRepository, DeleteRepository, ListRepositories, ReadObject,
    ReadRepository, WriteObject,
};
use millpond_service::Guard::{self, Rights, Somewhere};
use millpond_service::guard::{OBJECT, REPOSITORY};

macro_rules! operations {
    ($($variant:ident $(($setting:ty))? $name:literal $guard:expr;)*) => {
        /// The operations.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Operation {
            $($variant $(($setting))?,)*
        }

        /// Every operation, as S3 names it, with what it needs (API-27.21). The path of an object is `{path}`, that of
        /// the source of a copy `{source}`.
        pub const OPERATIONS: &[(&str, Guard)] = &[$(($name, $guard),)*];

        impl Operation {
            /// As S3 names it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)*
                }
            }
        }
    };
}

const SOURCE: &str = "arn:lakefs:fs:::repository/{repository}/object/{source}";
const NAMESPACE: &str = "arn:lakefs:fs:::namespace/local://{repository}";

operations! {
    ListBuckets "ListBuckets" Somewhere(ListRepositories);
    CreateBucket "CreateBucket" Rights(&[(CreateRepository, REPOSITORY), (AttachStorageNamespace, NAMESPACE)]);
    HeadBucket "HeadBucket" Rights(&[(ReadRepository, REPOSITORY)]);
    DeleteBucket "DeleteBucket" Rights(&[(DeleteRepository, REPOSITORY)]);
    GetBucketLocation "GetBucketLocation" Rights(&[(ReadRepository, REPOSITORY)]);
    BucketSetting(&'static str) "GetBucketSetting" Rights(&[(ReadRepository, REPOSITORY)]);
    // At the top of a bucket, where branches are listed, `ListBranches` (API-29.8).
    ListObjects "ListObjects" Rights(&[(Action::ListObjects, REPOSITORY)]);
    ListObjectsV2 "ListObjectsV2" Rights(&[(Action::ListObjects, REPOSITORY)]);
    ListMultipartUploads "ListMultipartUploads" Rights(&[(Action::ListObjects, REPOSITORY)]);
    // Of each key; those that may not be deleted are named in the answer.
    DeleteObjects "DeleteObjects" Rights(&[(Action::DeleteObject, OBJECT)]);
    GetObject "GetObject" Rights(&[(ReadObject, OBJECT)]);
    HeadObject "HeadObject" Rights(&[(ReadObject, OBJECT)]);
    GetObjectAttributes "GetObjectAttributes" Rights(&[(ReadObject, OBJECT)]);
    ObjectSetting(&'static str) "GetObjectSetting" Rights(&[(ReadObject, OBJECT)]);
    PutObject "PutObject" Rights(&[(WriteObject, OBJECT)]);
    CopyObject "CopyObject" Rights(&[(ReadObject, SOURCE), (WriteObject, OBJECT)]);
    DeleteObject "DeleteObject" Rights(&[(Action::DeleteObject, OBJECT)]);
    CreateMultipartUpload "CreateMultipartUpload" Rights(&[(WriteObject, OBJECT)]);
    UploadPart "UploadPart" Rights(&[(WriteObject, OBJECT)]);
    UploadPartCopy "UploadPartCopy" Rights(&[(ReadObject, SOURCE), (WriteObject, OBJECT)]);
    ListParts "ListParts" Rights(&[(ReadObject, OBJECT)]);
    CompleteMultipartUpload "CompleteMultipartUpload" Rights(&[(WriteObject, OBJECT)]);
    AbortMultipartUpload "AbortMultipartUpload" Rights(&[(Action::DeleteObject, OBJECT)]);
}

/// Sub-resources of buckets that can be read as "not configured" but not set.
const BUCKET_SETTINGS: [&str; 25] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "encryption",
    "events",
    "intelligent-tiering",
    "inventory",
    "lifecycle",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "session",
    "tagging",
    "versioning",
    "versions",
    "website",
    "metadataTable",
];
/// The same of objects.
const OBJECT_SETTINGS: [&str; 9] = [
    "acl",
    "tagging",
    "retention",
    "legal-hold",
    "torrent",
    "lambdaArn",
    "restore",
    "select",
    "renameObject",
];

impl Operation {
    /// Chooses; what S3 knows and we do not offer is 501.
    pub fn of(method: &Method, place: &Place, query: &Query, headers: &HeaderMap) -> S3Result<Self> {
        match (&place.bucket, &place.key) {
            (None, _) if method == Method::GET => Ok(Self::ListBuckets),
            (None, _) => Err(not_allowed()),
            (Some(_), None) => of_bucket(method, query),
            (Some(_), Some(_)) => of_object(method, query, headers),
        }
    }

    /// Runs it. Boxed each, or every request would carry, and move, the room of the largest.
    pub fn run<'a>(self, call: &'a Call, payload: &'a mut Payload) -> BoxFuture<'a, S3Result<Response>> {
        match self {
            Self::ListBuckets => ops::list_buckets::run(call).boxed(),
            Self::CreateBucket => ops::create_bucket::run(call, payload).boxed(),
            Self::HeadBucket => ops::head_bucket::run(call).boxed(),
            Self::DeleteBucket => ops::delete_bucket::run(call).boxed(),
            Self::GetBucketLocation => ops::get_bucket_location::run(call).boxed(),
            Self::BucketSetting(name) => ops::settings::bucket(call, name).boxed(),
            Self::ListObjects => ops::list_objects::run_v1(call).boxed(),
            Self::ListObjectsV2 => ops::list_objects::run_v2(call).boxed(),
            Self::ListMultipartUploads => ops::list_multipart_uploads::run(call).boxed(),
            Self::DeleteObjects => ops::delete_objects::run(call, payload).boxed(),
            Self::GetObject => ops::get_object::run(call).boxed(),
            Self::HeadObject => ops::head_object::run(call).boxed(),
            Self::GetObjectAttributes => ops::get_object_attributes::run(call).boxed(),
            Self::ObjectSetting(name) => ops::settings::object(call, name).boxed(),
            Self::PutObject => ops::put_object::run(call, payload).boxed(),
            Self::CopyObject => ops::copy_object::run(call).boxed(),
            Self::DeleteObject => ops::delete_object::run(call).boxed(),
            Self::CreateMultipartUpload => ops::create_multipart_upload::run(call).boxed(),
            Self::UploadPart => ops::upload_part::run(call, payload).boxed(),
            Self::UploadPartCopy => ops::upload_part_copy::run(call).boxed(),
            Self::ListParts => ops::list_parts::run(call).boxed(),
            Self::CompleteMultipartUpload => ops::complete_multipart_upload::run(call, payload).boxed(),
            Self::AbortMultipartUpload => ops::abort_multipart_upload::run(call).boxed(),
        }
    }
}

fn of_bucket(method: &Method, query: &Query) -> S3Result<Operation> {
    let setting = BUCKET_SETTINGS.into_iter().find(|name| query.has(name));
    match (method.as_str(), setting) {
        ("GET", Some(name)) => Ok(Operation::BucketSetting(name)),
        ("GET", None) if query.has("location") => Ok(Operation::GetBucketLocation),
        ("GET", None) if query.has("uploads") => Ok(Operation::ListMultipartUploads),
        ("GET", None) => match query.get("list-type") {
            None | Some("" | "1") => Ok(Operation::ListObjects),
            Some("2") => Ok(Operation::ListObjectsV2),
            Some(_) => Err(S3Error::invalid_argument("list-type must be 1 or 2")),
        },
        ("POST", None) if query.has("delete") => Ok(Operation::DeleteObjects),
        ("HEAD", None) => Ok(Operation::HeadBucket),
        ("PUT", None) => Ok(Operation::CreateBucket),
        ("DELETE", None) => Ok(Operation::DeleteBucket),
        ("PUT" | "DELETE" | "POST" | "HEAD", Some(name)) => Err(not_offered(name)),
        ("POST", None) => Err(S3Error::not_implemented("uploads by browser form are not offered; use PUT")),
        _ => Err(not_allowed()),
    }
}

fn of_object(method: &Method, query: &Query, headers: &HeaderMap) -> S3Result<Operation> {
    let setting = OBJECT_SETTINGS.into_iter().find(|name| query.has(name));
    let copies = headers.contains_key("x-amz-copy-source");
    match (method.as_str(), setting, query.has("uploadId")) {
        ("GET", Some(name), _) => Ok(Operation::ObjectSetting(name)),
        ("PUT" | "DELETE" | "POST" | "HEAD", Some(name), _) => Err(not_offered(name)),
        ("GET", None, true) => Ok(Operation::ListParts),
        ("GET", None, false) if query.has("attributes") => Ok(Operation::GetObjectAttributes),
        ("GET", None, false) => Ok(Operation::GetObject),
        ("HEAD", None, _) => Ok(Operation::HeadObject),
        ("PUT", None, true) if copies => Ok(Operation::UploadPartCopy),
        ("PUT", None, true) => Ok(Operation::UploadPart),
        ("PUT", None, false) if query.has("partNumber") => {
            Err(S3Error::invalid_argument("partNumber needs an uploadId"))
        }
        ("PUT", None, false) if copies => Ok(Operation::CopyObject),
        ("PUT", None, false) => Ok(Operation::PutObject),
        ("DELETE", None, true) => Ok(Operation::AbortMultipartUpload),
        ("DELETE", None, false) => Ok(Operation::DeleteObject),
        ("POST", None, true) => Ok(Operation::CompleteMultipartUpload),
        ("POST", None, false) if query.has("uploads") => Ok(Operation::CreateMultipartUpload),
        _ => Err(not_allowed()),
    }
}

fn not_offered(name: &str) -> S3Error {
    S3Error::not_implemented(format!("the sub-resource '{name}' is not offered for this method"))
}

fn not_allowed() -> S3Error {
    S3Error::new(405, "MethodNotAllowed", "this method is not allowed on this resource")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(
        method: &str,
        path: &str,
        headers: &[&'static str],
    ) -> Result<Operation, (u16, &'static str)> {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let place = Place::of(None, path, &[]).expect("a place");
        let query = Query::parse(query).expect("a query");
        let map = headers
            .iter()
            .map(|name| (http::HeaderName::from_static(name), http::HeaderValue::from_static("x")))
            .collect();
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        Operation::of(&method, &place, &query, &map).map_err(|error| (error.status.as_u16(), error.code))
    }

    #[test]
    fn operations_by_shape() {
        use Operation::*;
        for (method, path, expected) in [
            ("GET", "/", ListBuckets),
            ("GET", "/repo", ListObjects),
            ("GET", "/repo/?list-type=2", ListObjectsV2),
            ("GET", "/repo?location", GetBucketLocation),
            ("GET", "/repo?uploads", ListMultipartUploads),
            ("GET", "/repo?versioning", BucketSetting("versioning")),
            ("HEAD", "/repo", HeadBucket),
            ("PUT", "/repo", CreateBucket),
            ("DELETE", "/repo", DeleteBucket),
            ("POST", "/repo?delete", DeleteObjects),
            ("GET", "/repo/main/a", GetObject),
            ("GET", "/repo/main/a?attributes", GetObjectAttributes),
            ("GET", "/repo/main/a?tagging", ObjectSetting("tagging")),
            ("GET", "/repo/main/a?uploadId=u", ListParts),
            ("HEAD", "/repo/main/a", HeadObject),
            ("PUT", "/repo/main/a", PutObject),
            ("PUT", "/repo/main/a?partNumber=1&uploadId=u", UploadPart),
            ("POST", "/repo/main/a?uploads", CreateMultipartUpload),
            ("POST", "/repo/main/a?uploadId=u", CompleteMultipartUpload),
            ("DELETE", "/repo/main/a?uploadId=u", AbortMultipartUpload),
            ("DELETE", "/repo/main/a", DeleteObject),
        ] {
            assert_eq!(operation(method, path, &[]), Ok(expected), "{method} {path}");
        }
        assert_eq!(operation("PUT", "/repo/main/a", &["x-amz-copy-source"]), Ok(CopyObject));
        assert_eq!(operation("PUT", "/repo/main/a?uploadId=u", &["x-amz-copy-source"]), Ok(UploadPartCopy));
    }

    #[test]
    fn what_is_not_offered_says_so() {
        for (method, path, expected) in [
            ("PUT", "/", (405, "MethodNotAllowed")),
            ("PUT", "/repo?policy", (501, "NotImplemented")),
            ("DELETE", "/repo?lifecycle", (501, "NotImplemented")),
            ("POST", "/repo", (501, "NotImplemented")),
            ("PUT", "/repo/main/a?acl", (501, "NotImplemented")),
            ("PUT", "/repo/main/a?tagging", (501, "NotImplemented")),
            ("POST", "/repo/main/a?select", (501, "NotImplemented")),
            ("POST", "/repo/main/a", (405, "MethodNotAllowed")),
            ("PATCH", "/repo/main/a", (405, "MethodNotAllowed")),
            ("GET", "/repo?list-type=3", (400, "InvalidArgument")),
            ("PUT", "/repo/main/a?partNumber=1", (400, "InvalidArgument")),
        ] {
            assert_eq!(operation(method, path, &[]), Err(expected), "{method} {path}");
        }
    }
}
