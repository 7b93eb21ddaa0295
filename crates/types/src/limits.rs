//! Every limit of the product, in one place. Tests probe each at the edge, one below and one above.

/// Longest object path, in bytes (API-6.2).
pub const OBJECT_PATH_BYTES_MAX: usize = 1024;
/// Longest `prefix` or `delimiter` in a listing, in bytes.
pub const PREFIX_BYTES_MAX: usize = 1024;
/// Most items of one page.
pub const PAGE_ITEMS_MAX: usize = 1000;
/// Items of one page when the caller names no number.
pub const PAGE_ITEMS_DEFAULT: usize = 100;
/// Most paths of one batch delete (API-6.4, and the S3 limit).
pub const DELETE_BATCH_MAX: usize = 1000;
/// Most bytes of user metadata (keys plus values) of an object written through S3.
pub const S3_USER_METADATA_BYTES_MAX: usize = 2048;
/// Most bytes of attributes (content type, headers, user metadata) of one entry, encoded.
pub const ATTRIBUTES_BYTES_MAX: usize = 16 * 1024;
/// Objects up to this size share append-only segments on local disk, in bytes.
pub const SMALL_OBJECT_BYTES_MAX: usize = 64 * 1024;
/// Smallest part of a multipart upload except the last, in bytes.
pub const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;
/// Largest part number of a multipart upload; numbers start at 1.
pub const PART_NUMBER_MAX: u32 = 10_000;
/// Largest object, in bytes (the S3 limit).
pub const OBJECT_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024 * 1024;
/// Largest single PUT, in bytes (the S3 limit).
pub const PUT_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;
/// Largest JSON request body, in bytes.
pub const JSON_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest life of a presigned URL, in seconds (7 days).
pub const PRESIGN_SECONDS_MAX: u64 = 604_800;
/// Largest commit message, in bytes.
pub const COMMIT_MESSAGE_BYTES_MAX: usize = 1024 * 1024;
