//! Who signed a request, and whether everything that matters was signed.
//!
//! The guard comes first and needs no key: it refuses requests whose signature could not cover what the
//! server would act on (an unsigned `x-amz-copy-source` turns a PUT into a copy), and signatures we do not
//! take (Signature Version 2, SigV4A). Then the signature itself is checked. Nothing of the body is read
//! before both have passed. This module does not know where keys are kept and reads no clock.

mod signing_keys;
mod sigv4;

use crate::date;
use crate::error::{S3Error, S3Result};
use crate::query::Query;
use http::header::{AUTHORIZATION, DATE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName};
use millpond_service::limits::{PRESIGN_SECONDS_MAX, SKEW_SECONDS_MAX};
use millpond_service::{ContentHash, Timestamp};
pub(crate) use signing_keys::SigningKeys;
#[cfg(test)]
pub(crate) use sigv4::testing;
pub(crate) use sigv4::{ChunkSigner, EMPTY_SHA256};
use std::borrow::Cow;

/// As clocks count.
const SKEW_MILLIS_MAX: i64 = SKEW_SECONDS_MAX as i64 * 1000;
const V4: &str = "AWS4-HMAC-SHA256";
/// What a presigned query must hold; only these names belong to the signature itself.
const PRESIGN_NAMES: [&str; 6] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
];
pub(crate) const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");

/// How the body is protected (`x-amz-content-sha256`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayloadMode {
    /// The body as it is.
    Unsigned,
    /// The body as it is, with this SHA-256.
    Whole(ContentHash),
    /// aws-chunked.
    Chunked {
        /// Each chunk carries a signature.
        signed: bool,
        /// A block of trailing headers follows.
        trailer: bool,
    },
}

impl PayloadMode {
    fn parse(text: &str) -> S3Result<Self> {
        Ok(match text {
            "UNSIGNED-PAYLOAD" => Self::Unsigned,
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Self::Chunked { signed: true, trailer: false },
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Self::Chunked { signed: true, trailer: true },
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Self::Chunked { signed: false, trailer: true },
            text if text.starts_with("STREAMING-AWS4-ECDSA") => return Err(unsupported_mechanism()),
            text => Self::Whole(ContentHash::from_hex(text).map_err(|_| {
                S3Error::invalid_argument(
                    "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a known STREAMING- mode, or a SHA-256 \
                     in lower-case hexadecimal",
                )
            })?),
        })
    }
}

/// A request's claim to be from the owner of a key, after the guard and before the signature is checked.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    /// Whose secret the signature must have been made with.
    pub access_key_id: &'a str,
    /// How the body is protected.
    pub payload: PayloadMode,
    /// The query carried the signature.
    pub presigned: bool,
    payload_text: &'a str,
    /// `date/region/service/aws4_request`.
    scope: &'a str,
    time_text: Cow<'a, str>,
    /// Lower case, sorted, each once.
    signed_headers: Vec<Cow<'a, str>>,
    signature: &'a str,
}

/// Runs the guard.
pub(crate) fn claim<'a>(parts: &'a Parts, query: &'a Query, now: Timestamp) -> S3Result<Claim<'a>> {
    let header = parts.headers.get(AUTHORIZATION);
    let in_query = query.pairs().iter().any(|(name, _)| {
        PRESIGN_NAMES.contains(&name.as_str()) || matches!(name.as_str(), "AWSAccessKeyId" | "Signature")
    });
    if parts.headers.get_all(AUTHORIZATION).iter().count() > 1 || (header.is_some() && in_query) {
        return Err(S3Error::invalid_argument(
            "only one signature is allowed: either the Authorization header or the query parameters",
        ));
    }
    if query.has("AWSAccessKeyId") || (query.has("Signature") && !query.has("X-Amz-Signature")) {
        return Err(unsupported_mechanism());
    }
    let claim = match header {
        Some(value) => {
            let text = value.to_str().map_err(|_| malformed("it is not ASCII"))?;
            from_header(text, parts, now)?
        }
        None if in_query => from_query(parts, query, now)?,
        None => {
            return Err(S3Error::access_denied("this request is not signed; nothing is served anonymously"));
        }
    };
    check_coverage(parts, &claim)?;
    Ok(claim)
}

fn from_header<'a>(text: &'a str, parts: &'a Parts, now: Timestamp) -> S3Result<Claim<'a>> {
    let (algorithm, fields) = text.split_once(' ').unwrap_or((text, ""));
    match algorithm {
        V4 => {}
        "AWS" | "AWS4-ECDSA-P256-SHA256" => return Err(unsupported_mechanism()),
        _ => {
            return Err(S3Error::invalid_argument(
                "unsupported Authorization type; sign with AWS4-HMAC-SHA256",
            ));
        }
    }
    let (mut credential, mut signed, mut signature) = (None, None, None);
    for field in fields.split(',') {
        let slot = match field.trim().split_once('=') {
            Some(("Credential", value)) => (&mut credential, value),
            Some(("SignedHeaders", value)) => (&mut signed, value),
            Some(("Signature", value)) => (&mut signature, value),
            _ => return Err(malformed("expected Credential, SignedHeaders and Signature")),
        };
        if slot.0.replace(slot.1).is_some() {
            return Err(malformed("a field is given twice"));
        }
    }
    let (Some(credential), Some(signed), Some(signature)) = (credential, signed, signature) else {
        return Err(malformed("expected Credential, SignedHeaders and Signature"));
    };
    let (access_key_id, scope) = credential_parts(credential).map_err(malformed)?;
    let (time, time_text) = request_time(&parts.headers)?;
    if !time_text.starts_with(&scope[..8]) {
        return Err(malformed("the date in the credential is not the date of the request"));
    }
    if (now.millis() - time.millis()).abs() > SKEW_MILLIS_MAX {
        return Err(S3Error::new(
            403,
            "RequestTimeTooSkewed",
            "the time of the request is more than 15 minutes from the server's; check the client's clock",
        ));
    }
    let payload_text = single(&parts.headers, &CONTENT_SHA256)?
        .ok_or_else(|| S3Error::invalid_request("the header x-amz-content-sha256 is missing"))?;
    Ok(Claim {
        access_key_id,
        payload: PayloadMode::parse(payload_text)?,
        presigned: false,
        payload_text,
        scope,
        time_text,
        signed_headers: header_list(signed),
        signature,
    })
}

fn from_query<'a>(parts: &'a Parts, query: &'a Query, now: Timestamp) -> S3Result<Claim<'a>> {
    let refuse = |message: &str| S3Error::new(400, "AuthorizationQueryParametersError", message);
    let mut values: [&'a str; PRESIGN_NAMES.len()] = [""; PRESIGN_NAMES.len()];
    for (slot, name) in values.iter_mut().zip(PRESIGN_NAMES) {
        match query.count(name) {
            1 => *slot = query.get(name).unwrap_or_default(),
            0 => return Err(refuse(&format!("the query parameter {name} is missing"))),
            _ => return Err(refuse(&format!("the query parameter {name} is given twice"))),
        }
    }
    let [algorithm, credential, time_text, expires, signed, signature] = values;
    if algorithm != V4 {
        return Err(if algorithm.starts_with("AWS4-ECDSA") {
            unsupported_mechanism()
        } else {
            refuse("X-Amz-Algorithm must be AWS4-HMAC-SHA256")
        });
    }
    let (access_key_id, scope) = credential_parts(credential).map_err(refuse)?;
    let time = date::parse_basic(time_text)
        .ok_or_else(|| refuse("X-Amz-Date must have the form YYYYMMDDThhmmssZ"))?;
    if !time_text.starts_with(&scope[..8]) {
        return Err(refuse("the date in X-Amz-Credential is not the date in X-Amz-Date"));
    }
    let seconds = match expires.parse::<u64>() {
        Ok(seconds @ 1..=PRESIGN_SECONDS_MAX) if !expires.starts_with('+') => seconds,
        _ => return Err(refuse("X-Amz-Expires must be a number of seconds from 1 to 604800 (7 days)")),
    };
    let age = now.millis() - time.millis();
    if age < -SKEW_MILLIS_MAX {
        return Err(S3Error::access_denied(
            "this presigned request is not valid yet; check the signer's clock",
        ));
    }
    if age > seconds as i64 * 1000 {
        return Err(S3Error::access_denied("this presigned request has expired"));
    }
    let payload_text = match single(&parts.headers, &CONTENT_SHA256)? {
        Some(text) => text,
        None => query.get("X-Amz-Content-Sha256").unwrap_or("UNSIGNED-PAYLOAD"),
    };
    let payload = PayloadMode::parse(payload_text)?;
    if matches!(payload, PayloadMode::Chunked { .. }) {
        return Err(S3Error::not_implemented("a presigned request cannot use a STREAMING- payload"));
    }
    Ok(Claim {
        access_key_id,
        payload,
        presigned: true,
        payload_text,
        scope,
        time_text: time_text.into(),
        signed_headers: header_list(signed),
        signature,
    })
}

/// Everything that the server would act on must be under the signature, and everything under the
/// signature must be there.
fn check_coverage(parts: &Parts, claim: &Claim) -> S3Result<()> {
    let covers = |name: &str| claim.signed_headers.iter().any(|signed| *signed == name);
    if parts.headers.get_all(HOST).iter().count() > 1 {
        return Err(S3Error::access_denied("the header host is given twice; only one can be signed"));
    }
    if !covers("host") {
        return Err(S3Error::access_denied("the header host was not signed"));
    }
    for name in parts.headers.keys() {
        if name.as_str().starts_with("x-amz-") && !covers(name.as_str()) {
            return Err(S3Error::access_denied(format!("the header {name} was not signed")));
        }
    }
    if !claim.presigned && !covers("x-amz-date") && !covers("date") {
        return Err(S3Error::access_denied("the date of the request was not signed"));
    }
    for name in &claim.signed_headers {
        let there = name == "host" && host(parts).is_some() || parts.headers.contains_key(&**name);
        if !there {
            return Err(S3Error::new(
                403,
                "SignatureDoesNotMatch",
                format!("the signed header {name} is not in the request"),
            ));
        }
    }
    Ok(())
}

/// Host of a request: the header, or `:authority` of HTTP/2.
pub(crate) fn host(parts: &Parts) -> Option<&str> {
    match parts.headers.get(HOST) {
        Some(value) => value.to_str().ok(),
        None => parts.uri.authority().map(http::uri::Authority::as_str),
    }
}

/// (access key id, scope), where the scope begins with eight digits and names S3.
fn credential_parts(credential: &str) -> Result<(&str, &str), &'static str> {
    // From the right, so that a key id with a slash in it is merely unknown.
    let mut fields = credential.rsplitn(5, '/');
    let (end, service, region, day, id) =
        (fields.next(), fields.next(), fields.next(), fields.next(), fields.next());
    let (Some("aws4_request"), Some(service), Some(_region), Some(day), Some(id)) =
        (end, service, region, day, id)
    else {
        return Err("the credential must have the form KEY/YYYYMMDD/REGION/s3/aws4_request");
    };
    if service != "s3" {
        return Err("the credential is for another service than s3");
    }
    if day.len() != 8 || !day.bytes().all(|b| b.is_ascii_digit()) {
        return Err("the date in the credential must have the form YYYYMMDD");
    }
    Ok((id, &credential[id.len() + 1..]))
}

/// The time a header-signed request was made, and its text for the string to sign.
fn request_time(headers: &HeaderMap) -> S3Result<(Timestamp, Cow<'_, str>)> {
    let refuse = || {
        S3Error::access_denied("signed requests need a valid x-amz-date (YYYYMMDDThhmmssZ) or Date header")
    };
    if let Some(text) = single(headers, &AMZ_DATE)? {
        return date::parse_basic(text).map(|time| (time, text.into())).ok_or_else(refuse);
    }
    let text = single(headers, &DATE)?.ok_or_else(refuse)?;
    let time = date::parse_http(text).or_else(|| date::parse_basic(text)).ok_or_else(refuse)?;
    Ok((time, date::format_basic(time).into()))
}

/// The only value of a header.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> S3Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str() {
        Ok(text) if values.next().is_none() => Ok(Some(text.trim())),
        _ => Err(S3Error::invalid_argument(format!("the header {name} is given twice or is not ASCII"))),
    }
}

fn header_list(text: &str) -> Vec<Cow<'_, str>> {
    fn lower_case(name: &str) -> Cow<'_, str> {
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return name.to_ascii_lowercase().into();
        }
        name.into()
    }
    let names = text.split(';').map(str::trim).filter(|name| !name.is_empty());
    let mut names: Vec<_> = names.map(lower_case).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn malformed(why: &str) -> S3Error {
    S3Error::new(400, "AuthorizationHeaderMalformed", format!("the Authorization header is malformed: {why}"))
}

fn unsupported_mechanism() -> S3Error {
    S3Error::invalid_request(
        "this kind of signature is not supported; sign with AWS4-HMAC-SHA256 (boto3: Config(signature_version='s3v4'))",
    )
}

#[cfg(test)]
mod tests;
