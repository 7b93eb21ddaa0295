//! One S3 operation, one file. Each parses what is its own, calls one verb of the service, renders the answer.

pub(crate) mod abort_multipart_upload;
pub(crate) mod complete_multipart_upload;
pub(crate) mod copy_object;
pub(crate) mod create_bucket;
pub(crate) mod create_multipart_upload;
pub(crate) mod delete_bucket;
pub(crate) mod delete_object;
pub(crate) mod delete_objects;
pub(crate) mod get_bucket_location;
pub(crate) mod get_object;
pub(crate) mod get_object_attributes;
pub(crate) mod head_bucket;
pub(crate) mod head_object;
pub(crate) mod list_buckets;
pub(crate) mod list_multipart_uploads;
pub(crate) mod list_objects;
pub(crate) mod list_parts;
pub(crate) mod put_object;
pub(crate) mod receive;
pub(crate) mod settings;
pub(crate) mod upload_part;
pub(crate) mod upload_part_copy;
