//! The arithmetic of AWS Signature Version 4: canonical request, string to sign, signature, chunk chain.

use super::signing_keys::SigningKeys;
use super::{Claim, host};
use crate::error::{S3Error, S3Result};
use crate::query::{Query, UNRESERVED, UNRESERVED_PATH};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};
use http::request::Parts;
use millpond_service::SecretKey;
use percent_encoding::{percent_decode_str, percent_encode, utf8_percent_encode};
use std::borrow::Cow;
use std::sync::Arc;

/// SHA-256 of nothing, in hexadecimal.
pub(crate) const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

impl Claim<'_> {
    /// Checks the signature with the secret; gives what the chunks of a signed body are checked with.
    pub fn verify(
        &self,
        secret: &SecretKey,
        keys: &SigningKeys,
        parts: &Parts,
        query: &Query,
    ) -> S3Result<ChunkSigner> {
        let key = keys.get(self.access_key_id, self.scope, secret);
        let raw = parts.uri.path();
        let decoded = Cow::from(percent_decode_str(raw));
        let canonical = Cow::from(percent_encode(&decoded, UNRESERVED_PATH));
        if !self.signature_is(&key, &canonical, parts, query) {
            // Some clients sign the path as they send it, reserved characters unescaped.
            if canonical == raw || !self.signature_is(&key, raw, parts, query) {
                let request = self.canonical_request(&canonical, parts, query);
                tracing::debug!(canonical_request = readable(&request), "a signature does not match");
                return Err(S3Error::new(
                    403,
                    "SignatureDoesNotMatch",
                    "the signature does not match the request; check the secret key and how the request was signed",
                ));
            }
        }
        keys.keep(self.access_key_id, self.scope, secret, &key);
        Ok(ChunkSigner {
            key,
            time_text: self.time_text.clone().into_owned(),
            scope: self.scope.to_owned(),
            previous: self.signature.to_owned(),
        })
    }

    fn signature_is(&self, key: &hmac::Key, path: &str, parts: &Parts, query: &Query) -> bool {
        let request = self.canonical_request(path, parts, query);
        let text = self.string_to_sign(&request);
        let mut signature = [0; 64];
        let is_hex = hex::encode_to_slice(hmac::sign(key, text.as_bytes()), &mut signature).is_ok();
        is_hex && verify_slices_are_equal(&signature, self.signature.as_bytes()).is_ok()
    }

    pub(super) fn string_to_sign(&self, canonical_request: &[u8]) -> String {
        format!("AWS4-HMAC-SHA256\n{}\n{}\n{}", self.time_text, self.scope, sha256_hex(canonical_request))
    }

    pub(super) fn canonical_request(&self, path: &str, parts: &Parts, query: &Query) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(parts.method.as_str().as_bytes());
        out.push(b'\n');
        out.extend_from_slice(path.as_bytes());
        out.push(b'\n');
        let mut pairs: Vec<(String, String)> = query
            .pairs()
            .iter()
            .filter(|(name, _)| !(self.presigned && name == "X-Amz-Signature"))
            .map(|(name, value)| (encode(name), encode(value)))
            .collect();
        pairs.sort_unstable();
        for (i, (name, value)) in pairs.iter().enumerate() {
            if i > 0 {
                out.push(b'&');
            }
            out.extend_from_slice(name.as_bytes());
            out.push(b'=');
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'\n');
        for name in &self.signed_headers {
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            if name == "host" {
                push_value(host(parts).unwrap_or_default().as_bytes(), &mut out);
            } else {
                for (i, value) in parts.headers.get_all(&**name).iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    push_value(value.as_bytes(), &mut out);
                }
            }
            out.push(b'\n');
        }
        out.push(b'\n');
        for (i, name) in self.signed_headers.iter().enumerate() {
            if i > 0 {
                out.push(b';');
            }
            out.extend_from_slice(name.as_bytes());
        }
        out.push(b'\n');
        out.extend_from_slice(self.payload_text.as_bytes());
        out
    }
}

/// A canonical request for the log, without what others would let somebody in with.
pub(super) fn readable(canonical_request: &[u8]) -> String {
    let masked = |text: &str, between: char| match text.split_once(between) {
        Some((name, _)) if tells_a_secret(name) => format!("{name}{between}..."),
        _ => text.to_owned(),
    };
    let text = String::from_utf8_lossy(canonical_request);
    let lines = text.split('\n').enumerate().map(|(number, line)| match number {
        0 | 1 => line.to_owned(),
        2 => line.split('&').map(|pair| masked(pair, '=')).collect::<Vec<_>>().join("&"),
        _ => masked(line, ':'),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn tells_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "customer-key", "authorization", "cookie", "signature", "secret", "password"]
        .iter()
        .any(|word| name.contains(word))
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// Trimmed, with runs of spaces reduced to one.
fn push_value(value: &[u8], out: &mut Vec<u8>) {
    let mut space = false;
    for &byte in value.trim_ascii() {
        if byte != b' ' || !space {
            out.push(byte);
        }
        space = byte == b' ';
    }
}

pub(super) fn derive_key(secret: &str, scope: &str) -> hmac::Key {
    let seed = [b"AWS4", secret.as_bytes()].concat();
    scope.split('/').fold(hmac::Key::new(hmac::HMAC_SHA256, &seed), |key, part| {
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref())
    })
}

pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

/// Checks the chain of signatures that runs through a signed aws-chunked body.
pub(crate) struct ChunkSigner {
    key: Arc<hmac::Key>,
    time_text: String,
    scope: String,
    previous: String,
}

impl ChunkSigner {
    /// Checks the next chunk, of which the SHA-256 is given in hexadecimal.
    pub fn chunk(&mut self, sha256: &str, signature: &str) -> bool {
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{}\n{EMPTY_SHA256}\n{sha256}",
            self.time_text, self.scope, self.previous
        );
        self.link(&text, signature)
    }

    /// Checks the trailing headers, given as `name:value\n` lines.
    pub fn trailer(&mut self, lines: &str, signature: &str) -> bool {
        let text = format!(
            "AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{}\n{}",
            self.time_text,
            self.scope,
            self.previous,
            sha256_hex(lines.as_bytes())
        );
        self.link(&text, signature)
    }

    fn link(&mut self, text: &str, signature: &str) -> bool {
        let expected = hex::encode(hmac::sign(&self.key, text.as_bytes()));
        let same = verify_slices_are_equal(expected.as_bytes(), signature.as_bytes()).is_ok();
        self.previous = expected;
        same
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Signs as a client would: the seed for chunk tests and the signature for request tests.
    pub(crate) fn signature(secret: &str, scope: &str, text: &str) -> String {
        hex::encode(hmac::sign(&derive_key(secret, scope), text.as_bytes()))
    }

    /// A chain that starts at a seed signature.
    pub(crate) fn chain(secret: &str, scope: &str, time_text: &str, seed: &str) -> ChunkSigner {
        ChunkSigner {
            key: Arc::new(derive_key(secret, scope)),
            time_text: time_text.to_owned(),
            scope: scope.to_owned(),
            previous: seed.to_owned(),
        }
    }

    impl ChunkSigner {
        /// The signature of the next chunk.
        pub(crate) fn sign_chunk(&mut self, data: &[u8]) -> String {
            self.chunk(&sha256_hex(data), "");
            self.previous.clone()
        }
        /// The signature of the trailer.
        pub(crate) fn sign_trailer(&mut self, lines: &str) -> String {
            self.trailer(lines, "");
            self.previous.clone()
        }
    }
}
