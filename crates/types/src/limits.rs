//! Every limit that a client or an operator can run into, in one place. A limit that is spelled where it is
//! used is found by nobody, tested by nobody, and differs behind the second door.
//!
//! `docs/limits.md` is this file as a table; a test compares them, and `cargo xtask tidy` demands that some test
//! names each limit. What is here are promises to the outside. Shapes of stored things (rows of a leaf, bytes of
//! a segment) belong to their formats, and sizes of groups and caches to the code that was measured with them.

/// One limit, as the table shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The constant's name; the unit is in it.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// What it bounds and why.
    pub why: &'static str,
    /// What somebody on the wrong side of it sees.
    pub beyond: &'static str,
}

macro_rules! limits {
    ($($(#[doc = $why:literal])+ $name:ident: $type:ty = $value:expr, $beyond:literal;)+) => {
        $($(#[doc = $why])+ pub const $name: $type = $value;)+
        /// All of them, in the order of this file.
        pub const ALL: &[Limit] = &[$(Limit {
            name: stringify!($name),
            value: $name as u64,
            why: concat!($($why),+),
            beyond: $beyond,
        }),+];
    };
}

limits! {
    /// Shortest name of a repository (API-0.17).
    REPOSITORY_NAME_BYTES_MIN: usize = 3, "400; S3 `InvalidBucketName`";
    /// Longest name of a repository: it is a bucket and may be a host name.
    REPOSITORY_NAME_BYTES_MAX: usize = 63, "400; S3 `InvalidBucketName`";
    /// Longest name of a branch or tag.
    REF_NAME_BYTES_MAX: usize = 1024, "400";
    /// Longest ref expression: the longest name, and room for what follows it.
    REF_EXPRESSION_BYTES_MAX: usize = 2048, "400; S3 reads 404 `NoSuchKey`";
    /// Most `~`, `^`, `@` and `$` in one ref expression: each is a walk through the history.
    REF_MODIFIERS_MAX: usize = 64, "400; S3 reads 404 `NoSuchKey`";
    /// Longest storage namespace of a repository.
    STORAGE_NAMESPACE_BYTES_MAX: usize = 1024, "400";

    /// Branches and tags of a dump that is restored: they become visible in one row of the journal.
    REFS_RESTORED_MAX: usize = 1_000_000, "413";
    /// Jobs that a repository remembers, for a day; with more the oldest that has ended is forgotten.
    JOBS_KEPT_MAX: usize = 10_000, "503 when all of them still run";

    /// Longest object path, without the ref (API-6.2).
    OBJECT_PATH_BYTES_MAX: usize = 1024, "400; S3 `KeyTooLongError`";
    /// Longest `prefix` or `delimiter` of a listing.
    PREFIX_BYTES_MAX: usize = 1024, "400";
    /// Longest S3 `prefix`, which has the ref in front.
    S3_PREFIX_BYTES_MAX: usize = 2048, "400 `InvalidArgument`";
    /// Most bytes of content type, headers and user metadata of one object, encoded: they sit in tree leaves.
    ATTRIBUTES_BYTES_MAX: usize = 16 * 1024, "413; S3 `EntityTooLarge`";
    /// Most bytes of user metadata (keys and values) of an object written through S3, as AWS has it.
    S3_USER_METADATA_BYTES_MAX: usize = 2048, "400 `MetadataTooLarge`";
    /// Longest checksum that a link may declare: it sits in tree leaves.
    DECLARED_CHECKSUM_BYTES_MAX: usize = 1024, "413";
    /// Largest commit message. There is always something that writes its log there.
    COMMIT_MESSAGE_BYTES_MAX: usize = 1024 * 1024, "413";
    /// Most bytes of metadata (keys and values) of one commit.
    COMMIT_METADATA_BYTES_MAX: usize = 256 * 1024, "413";
    /// Most keys of metadata of one commit.
    COMMIT_METADATA_KEYS_MAX: usize = 1000, "413";
    /// Most bytes of metadata (keys and values) of one repository: they are held in memory.
    REPOSITORY_METADATA_BYTES_MAX: usize = 64 * 1024, "413";
    /// Most bytes of the patterns of one repository's branch protection, and of the branch names of its garbage
    /// collection rules: they are held in memory.
    REPOSITORY_SETTINGS_BYTES_MAX: usize = 64 * 1024, "413";
    /// Most bytes of title and description of one pull request.
    PULL_REQUEST_BYTES_MAX: usize = 64 * 1024, "413";
    /// Most bytes that the pull requests of one repository take, about 600 each and their texts: they are held in
    /// memory.
    PULL_REQUESTS_BYTES_MAX: usize = 256 * 1024 * 1024, "413";
    /// Longest `Idempotency-Key`: it is remembered for a day.
    IDEMPOTENCY_KEY_BYTES_MAX: usize = 255, "400";

    /// Most items of one page.
    PAGE_ITEMS_MAX: usize = 1000, "400; S3 gives this many";
    /// Items of one page when the caller names no number.
    PAGE_ITEMS_DEFAULT: usize = 100, "-";
    /// Listings with uncommitted changes that page tokens refer to, at a time; the oldest gives way.
    PINS_MAX: usize = 1024, "400 for the token of the oldest";
    /// Most paths of one batch delete (API-6.4, and AWS).
    DELETE_BATCH_MAX: usize = 1000, "400; S3 `MalformedXML`";
    /// Ranges of one read.
    RANGES_MAX: usize = 1, "416; S3 sends the whole object";

    /// Smallest part of a multipart upload but the last, in bytes (as AWS).
    PART_BYTES_MIN: u64 = 5 * 1024 * 1024, "400; S3 `EntityTooSmall`";
    /// Largest part number, and so most parts, of a multipart upload; numbers start at 1 (as AWS).
    PART_NUMBER_MAX: u32 = 10_000, "400; S3 `InvalidArgument`";
    /// Open multipart uploads of one repository: they are held in memory.
    UPLOADS_OPEN_MAX: usize = 50_000, "503; S3 `SlowDown`, until some are completed or aborted";
    /// Largest object, in bytes (as AWS).
    OBJECT_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024 * 1024, "413; S3 `EntityTooLarge`";
    /// Largest single PUT through S3, in bytes (as AWS).
    PUT_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024, "400 `EntityTooLarge`";
    /// Objects up to this size share append-only segments on local disk.
    SMALL_OBJECT_BYTES_MAX: usize = 64 * 1024, "a file of its own";

    /// Largest JSON or XML document that is read for somebody known.
    DOCUMENT_BYTES_MAX: usize = 4 * 1024 * 1024, "413; S3 `MaxMessageLengthExceeded`";
    /// Largest JSON document that is read for somebody unknown. Shape comes before identity (API-0.9), and parsed
    /// JSON takes up to a hundred times the memory of its text.
    DOCUMENT_BYTES_ANONYMOUS_MAX: usize = 64 * 1024, "401, or 413 where anybody may ask";
    /// Most objects and lists in one JSON document. The longest lists that mean something have 10,000 items.
    JSON_CONTAINERS_MAX: usize = 20_000, "400";
    /// Deepest nesting of a JSON document: the parser recurses.
    JSON_DEPTH_MAX: usize = 127, "400";
    /// Most elements of an XML document: 10,000 parts with all that can be said of each stay below.
    XML_ELEMENTS_MAX: usize = 100_000, "400 `MalformedXML`";
    /// Deepest nesting of an XML document; the real ones nest three deep.
    XML_DEPTH_MAX: usize = 8, "400 `MalformedXML`";
    /// Most bytes of headers of one part of `multipart/form-data`.
    FORM_HEADERS_BYTES_MAX: usize = 16 * 1024, "400";
    /// Longest chunk header or trailer line of `aws-chunked`, and of HTTP/1's own chunks.
    CHUNK_LINE_BYTES_MAX: usize = 4096, "400 `IncompleteBody`; HTTP/1: the connection is closed";
    /// Most trailer lines of `aws-chunked`.
    TRAILERS_MAX: usize = 32, "400 `MalformedTrailerError`";

    /// Longest life of a presigned link, in seconds (7 days).
    PRESIGN_SECONDS_MAX: u64 = 604_800, "400 `AuthorizationQueryParametersError`";
    /// How far the time of a signature may be from ours, in seconds.
    SKEW_SECONDS_MAX: u64 = 900, "403 `RequestTimeTooSkewed`, presigned `AccessDenied`";
    /// Wrong secrets of one key in a row that cost nothing: then it is closed for a while, at most half a minute.
    WRONG_SECRETS_FREE: u32 = 10, "503";

    /// Longest name of a user, group or policy: it is part of keys and ARNs.
    AUTH_NAME_BYTES_MAX: usize = 256, "400";
    /// Access keys of one user, short-lived ones included: they are held in memory.
    USER_KEYS_MAX: usize = 1000, "400, until some end or are deleted";
    /// Policies that one access key is held to: those of the keys that made it, and its own.
    KEY_LIMITS_MAX: usize = 4, "400";
    /// Sessions of one user.
    USER_SESSIONS_MAX: usize = 100, "the one that began first ends";
    /// How long an attempt to sign in through a provider may take, in seconds.
    OIDC_ATTEMPT_SECONDS: u32 = 600, "401, and another attempt";
    /// How long a session lasts that a provider vouched for, in seconds (12 hours): groups withdrawn there are withdrawn
    /// here at the next sign-in.
    OIDC_SESSION_SECONDS: u64 = 43_200, "401";
    /// Longest answer of a provider that is read.
    OIDC_ANSWER_BYTES_MAX: usize = 1024 * 1024, "502";
    /// Sign-ins through a provider that are completed at the same time.
    OIDC_EXCHANGES_MAX: usize = 16, "503";
    /// How long a session lasts, in seconds (7 days, as signed tokens do).
    SESSION_SECONDS: u64 = 604_800, "401";
    /// How long a sign-in link lasts where nothing is said, in seconds.
    LINK_SECONDS_DEFAULT: u64 = 900, "the page for links that are over";
    /// The same at most (a day).
    LINK_SECONDS_MAX: u64 = 86_400, "400";
    /// Shortest life of a short-lived access key, in seconds.
    SHORT_KEY_SECONDS_MIN: u64 = 60, "400";
    /// Longest life of one (36 hours, as elsewhere).
    SHORT_KEY_SECONDS_MAX: u64 = 129_600, "400";
    /// Shortest password.
    PASSWORD_BYTES_MIN: usize = 8, "400";
    /// Longest password.
    PASSWORD_BYTES_MAX: usize = 1024, "400";
    /// Largest policy, as JSON: every request of its users walks it.
    POLICY_BYTES_MAX: usize = 64 * 1024, "400";

    /// Longest path and query of a request: the longest path, escaped, beside a signature and a session token.
    URL_BYTES_MAX: usize = 16 * 1024, "414";
    /// Largest head of a request.
    HEAD_BYTES_MAX: usize = 32 * 1024, "431; 400 if the request line is cut";
    /// Most headers of one request.
    HEADERS_MAX: usize = 128, "431";
    /// What a refused client may still send so that it gets to read the answer.
    UNWANTED_BYTES_MAX: usize = 1024 * 1024, "the connection is closed";
    /// How long that may take, in seconds.
    UNWANTED_SECONDS_MAX: u64 = 2, "the connection is closed";
    /// One connection may hold one in so many of the places for requests and of the memory for bodies: HTTP/2 has many
    /// requests on one.
    CONNECTION_SHARE: usize = 4, "503; S3 `SlowDown`";
    /// Memory that the body of one request takes at most, in bytes: a small object until its hash is known, or pieces
    /// of a large one on their way to disk.
    BODY_HELD_BYTES_MAX: u64 = 2 * 1024 * 1024, "-";
    /// How long a request waits for that memory, in seconds.
    BODY_MEMORY_WAIT_SECONDS: u64 = 10, "503; S3 `SlowDown`";
    /// Memory that responses on their way take together, in bytes: the more there are, the smaller their pieces.
    READ_MEMORY_BYTES_MAX: u64 = 128 * 1024 * 1024, "-";
    /// Threads that may wait for the disk.
    BLOCKING_THREADS_MAX: usize = 256, "waits";
    /// Pieces of long work (cold listings, diffs, merges) at a time. Each holds one of those threads and waits for reads
    /// that need another: were there as many as threads, all would wait for ever.
    LONG_WORK_MAX: usize = 64, "waits";
    /// Imported objects that are being opened at a time. Their file systems are not ours, and one that hangs holds up
    /// neither listings nor writes.
    ORIGIN_OPENS_MAX: usize = 32, "waits";
    /// Pieces of imported objects that are being read at a time.
    ORIGIN_READS_MAX: usize = 64, "waits";

    /// Mutations that wait for the disk at a time.
    JOURNAL_QUEUE_MUTATIONS_MAX: u64 = 50_000, "503; S3 `SlowDown`";
    /// Bytes of mutations that wait for the disk at a time. One mutation is always let in.
    JOURNAL_QUEUE_BYTES_MAX: u64 = 64 * 1024 * 1024, "503; S3 `SlowDown`";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page that people read.
    fn page() -> String {
        let mut page = String::from(
            "# Limits\n\nMade from `crates/types/src/limits.rs`, where the reasons are kept with the constants; a test \
             compares the two. Limits of connections,\ntimes and memory are settings: `configuration.md`.\n\n\
             | limit | value | bounds | beyond it |\n|---|---:|---|---|\n",
        );
        for Limit { name, value, why, beyond } in ALL {
            page += &format!("| `{name}` | {} | {} | {beyond} |\n", grouped(*value), why.trim());
        }
        page
    }

    fn grouped(value: u64) -> String {
        let digits = value.to_string();
        let mut out = String::new();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                out.push(',');
            }
            out.push(digit);
        }
        out
    }

    #[test]
    fn the_page_shows_the_constants() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/limits.md");
        let shown = std::fs::read_to_string(path).unwrap_or_default();
        assert!(shown == page(), "docs/limits.md should be:\n\n{}", page());
    }
}
