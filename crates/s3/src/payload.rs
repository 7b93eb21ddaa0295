//! Request bodies as they are sent: plain, hashed, or aws-chunked with or without signatures and trailers.
//!
//! Bytes are handed on as they arrive, however large a chunk claims to be; whoever takes them must not make
//! them visible before [`Payload::next`] has said that the body ended well. Nothing is buffered but one line.

use crate::auth::{ChunkSigner, EMPTY_SHA256, PayloadMode};
use crate::checksum::trailer_names;
use crate::error::{S3Error, S3Result};
use crate::response::BoxError;
use aws_lc_rs::digest;
use bytes::{Buf, Bytes};
use futures::stream::{BoxStream, StreamExt};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use millpond_service::ContentHash;
use millpond_service::limits::{CHUNK_LINE_BYTES_MAX, TRAILERS_MAX};

/// The trailer that signs the others.
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

/// One request's body.
pub(crate) struct Payload {
    source: BoxStream<'static, Result<Bytes, BoxError>>,
    pending: Bytes,
    size: Option<u64>,
    received: u64,
    framing: Framing,
    announced: Vec<String>,
    trailers: Vec<(String, String)>,
}

enum Framing {
    Plain { expected: Option<(digest::Context, ContentHash)> },
    Chunked { signer: Option<Box<ChunkSigner>>, trailer: bool, chunk: Chunk },
    Ended,
}

/// Where in a chunk the reader stands.
enum Chunk {
    Header,
    Data { left: u64, signed: Option<(digest::Context, String)> },
}

impl Payload {
    /// A body whose request was authenticated. Reads nothing yet.
    pub fn new(
        source: BoxStream<'static, Result<Bytes, BoxError>>,
        mode: PayloadMode,
        signer: ChunkSigner,
        headers: &HeaderMap,
    ) -> S3Result<Self> {
        let announced = trailer_names(headers);
        let (size, framing) = framing(mode, signer, headers, &announced)?;
        let trailers = Vec::new();
        Ok(Self { source, pending: Bytes::new(), size, received: 0, framing, announced, trailers })
    }

    /// Bytes of content that the sender announced; S3 demands it of uploads.
    pub fn required_size(&self) -> S3Result<u64> {
        self.size.ok_or_else(|| {
            S3Error::new(
                411,
                "MissingContentLength",
                "an upload needs Content-Length, or x-amz-decoded-content-length when it is aws-chunked",
            )
        })
    }

    /// The SHA-256 that this body is being checked against, if there is one.
    pub fn verified_sha256(&self) -> Option<ContentHash> {
        match &self.framing {
            Framing::Plain { expected: Some((_, hash)) } => Some(*hash),
            _ => None,
        }
    }

    /// Trailing headers, lower-case names; there after [`Payload::next`] has given `None`.
    pub fn trailers(&self) -> &[(String, String)] {
        &self.trailers
    }

    /// The next bytes of content; `None` once the body has ended as announced and signed.
    pub async fn next(&mut self) -> S3Result<Option<Bytes>> {
        let next = match &self.framing {
            Framing::Plain { .. } => self.next_plain().await,
            Framing::Chunked { .. } => self.next_chunked().await,
            Framing::Ended => return Ok(None),
        };
        match &next {
            Ok(Some(bytes)) => {
                self.received += bytes.len() as u64;
                if self.size.is_some_and(|size| self.received > size) {
                    self.framing = Framing::Ended;
                    return Err(S3Error::incomplete_body("the body is longer than announced"));
                }
            }
            Ok(None) | Err(_) => {
                self.framing = Framing::Ended;
                if next.is_ok() && self.size.is_some_and(|size| self.received != size) {
                    return Err(S3Error::incomplete_body("the body is shorter than announced"));
                }
            }
        }
        next
    }

    /// The whole body, if it has at most `bytes_max` bytes.
    pub async fn all(&mut self, bytes_max: usize) -> S3Result<Bytes> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await? {
            if all.len() + bytes.len() > bytes_max {
                return Err(S3Error::new(
                    400,
                    "MaxMessageLengthExceeded",
                    "the request document is too large",
                ));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.into())
    }

    async fn next_plain(&mut self) -> S3Result<Option<Bytes>> {
        let more = self.fill().await?;
        let Framing::Plain { expected } = &mut self.framing else { return Ok(None) };
        if more {
            let bytes = std::mem::take(&mut self.pending);
            if let Some((context, _)) = expected {
                context.update(&bytes);
            }
            return Ok(Some(bytes));
        }
        if let Some((context, hash)) = expected.take()
            && context.finish().as_ref() != hash.as_bytes()
        {
            // A body that is short is told to be short, not to be altered.
            if self.size.is_none_or(|size| size == self.received) {
                return Err(S3Error::new(
                    400,
                    "XAmzContentSHA256Mismatch",
                    "the x-amz-content-sha256 header does not match the bytes that arrived; nothing was stored",
                ));
            }
        }
        Ok(None)
    }

    async fn next_chunked(&mut self) -> S3Result<Option<Bytes>> {
        loop {
            let Framing::Chunked { signer, chunk, .. } = &mut self.framing else { return Ok(None) };
            match chunk {
                Chunk::Header => {
                    let is_signed = signer.is_some();
                    let line = self.line().await?.ok_or_else(cut)?;
                    let (size, signature) = chunk_header(&line, is_signed)?;
                    if size == 0 {
                        return self.last_chunk(&signature).await.map(|()| None);
                    }
                    let signed = is_signed.then(|| (digest::Context::new(&digest::SHA256), signature));
                    if let Framing::Chunked { chunk, .. } = &mut self.framing {
                        *chunk = Chunk::Data { left: size, signed };
                    }
                }
                Chunk::Data { left: 0, signed } => {
                    if let (Some((context, signature)), Some(signer)) = (signed.take(), signer) {
                        let sha256 = hex::encode(context.finish());
                        if !signer.chunk(&sha256, &signature) {
                            return Err(bad_chunk_signature());
                        }
                    }
                    *chunk = Chunk::Header;
                    if self.line().await?.is_none_or(|line| !line.is_empty()) {
                        return Err(S3Error::incomplete_body("a chunk does not end where its header says"));
                    }
                }
                Chunk::Data { .. } => {
                    if !self.fill().await? {
                        return Err(cut());
                    }
                    let available = self.pending.len() as u64;
                    let Framing::Chunked { chunk: Chunk::Data { left, signed }, .. } = &mut self.framing
                    else {
                        return Ok(None);
                    };
                    let take = available.min(*left);
                    let bytes = self.pending.split_to(take as usize);
                    *left -= take;
                    if let Some((context, _)) = signed {
                        context.update(&bytes);
                    }
                    return Ok(Some(bytes));
                }
            }
        }
    }

    /// Behind the chunk of size 0: its signature, then the trailer, then nothing.
    async fn last_chunk(&mut self, signature: &str) -> S3Result<()> {
        let mut trailers: Vec<(String, String)> = Vec::new();
        let mut ended = false;
        while let Some(line) = self.line().await? {
            if line.is_empty() {
                ended = true;
                continue;
            }
            let text = std::str::from_utf8(&line).ok().and_then(|line| line.split_once(':'));
            let (name, value) = text.ok_or_else(|| bad_trailer("a trailer is not of the form name:value"))?;
            let name = name.trim().to_ascii_lowercase();
            // The signature covers all lines before it; as AWS documents the form, and the MinIO clients send
            // it, an empty line stands between them.
            let may_follow =
                name == TRAILER_SIGNATURE && !trailers.iter().any(|(name, _)| *name == TRAILER_SIGNATURE);
            if ended && !may_follow || trailers.len() == TRAILERS_MAX {
                return Err(bad_trailer("something follows the trailer, or it has too many lines"));
            }
            trailers.push((name, value.trim().to_owned()));
        }
        let Framing::Chunked { signer, trailer, .. } = &mut self.framing else { return Ok(()) };
        if let Some(signer) = signer
            && !signer.chunk(EMPTY_SHA256, signature)
        {
            return Err(bad_chunk_signature());
        }
        let at = trailers.iter().position(|(name, _)| name == TRAILER_SIGNATURE);
        let signature = at.map(|at| trailers.remove(at).1);
        trailers.sort();
        if let Some(signer) = signer
            && *trailer
        {
            let lines: String = trailers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
            if !signature.is_some_and(|signature| signer.trailer(&lines, &signature)) {
                return Err(bad_chunk_signature());
            }
        }
        let names: Vec<&str> = trailers.iter().map(|(name, _)| name.as_str()).collect();
        let mut announced: Vec<&str> = self.announced.iter().map(String::as_str).collect();
        announced.sort_unstable();
        if names != announced {
            return Err(bad_trailer("the trailer does not hold what x-amz-trailer announced"));
        }
        self.trailers = trailers;
        Ok(())
    }

    /// Makes sure that there are pending bytes; false at the end of the source.
    async fn fill(&mut self) -> S3Result<bool> {
        while self.pending.is_empty() {
            match self.source.next().await {
                Some(Ok(bytes)) => self.pending = bytes,
                Some(Err(error)) => {
                    tracing::debug!(%error, "a request body broke off");
                    return Err(cut());
                }
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The next line without its end; `None` when the source ends before a byte of it.
    async fn line(&mut self) -> S3Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            if !self.fill().await? {
                // The last line may lack its end.
                return Ok(if line.is_empty() { None } else { Some(line) });
            }
            let end = self.pending.iter().position(|&byte| byte == b'\n');
            let take = end.unwrap_or(self.pending.len());
            if line.len() + take > CHUNK_LINE_BYTES_MAX {
                return Err(S3Error::incomplete_body("a chunk header or trailer is too long"));
            }
            line.extend_from_slice(&self.pending[..take]);
            self.pending.advance(take + usize::from(end.is_some()));
            if end.is_some() {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(line));
            }
        }
    }
}

/// (bytes announced, how the body is read).
fn framing(
    mode: PayloadMode,
    signer: ChunkSigner,
    headers: &HeaderMap,
    announced: &[String],
) -> S3Result<(Option<u64>, Framing)> {
    let length = |name: &str| -> S3Result<Option<u64>> {
        let Some(value) = headers.get(name) else { return Ok(None) };
        let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
        number
            .map(Some)
            .ok_or_else(|| S3Error::invalid_argument(format!("the header {name} is not a number")))
    };
    if !matches!(mode, PayloadMode::Chunked { trailer: true, .. }) && !announced.is_empty() {
        return Err(S3Error::invalid_request("x-amz-trailer needs a payload mode with a trailer"));
    }
    match mode {
        PayloadMode::Unsigned => Ok((length(CONTENT_LENGTH.as_str())?, Framing::Plain { expected: None })),
        PayloadMode::Whole(hash) => {
            let expected = Some((digest::Context::new(&digest::SHA256), hash));
            Ok((length(CONTENT_LENGTH.as_str())?, Framing::Plain { expected }))
        }
        PayloadMode::Chunked { signed, trailer } => {
            if trailer && announced.is_empty() {
                return Err(S3Error::invalid_request("a body with a trailer needs the header x-amz-trailer"));
            }
            let signer = signed.then(|| Box::new(signer));
            let framing = Framing::Chunked { signer, trailer, chunk: Chunk::Header };
            Ok((length("x-amz-decoded-content-length")?, framing))
        }
    }
}

/// `size[;chunk-signature=hex]`, the size in hexadecimal.
fn chunk_header(line: &[u8], signed: bool) -> S3Result<(u64, String)> {
    let bad = || S3Error::incomplete_body("a chunk header is not valid");
    let text = std::str::from_utf8(line).map_err(|_| bad())?;
    let (size, extension) = text.split_once(';').unwrap_or((text, ""));
    if size.is_empty() || size.len() > 15 || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(bad());
    }
    let size = u64::from_str_radix(size, 16).map_err(|_| bad())?;
    match extension.trim().strip_prefix("chunk-signature=") {
        Some(signature) => Ok((size, signature.to_owned())),
        None if signed => Err(bad_chunk_signature()),
        None => Ok((size, String::new())),
    }
}

fn cut() -> S3Error {
    S3Error::incomplete_body("the connection or the body ended before everything announced had arrived")
}

fn bad_chunk_signature() -> S3Error {
    S3Error::new(
        403,
        "SignatureDoesNotMatch",
        "the signature of a chunk or trailer is missing or wrong; nothing was stored",
    )
}

fn bad_trailer(message: &str) -> S3Error {
    S3Error::new(400, "MalformedTrailerError", message)
}

#[cfg(test)]
mod tests;
