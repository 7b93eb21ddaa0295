//! Bodies of every mode, whole and tampered with. The signed chunks are those of the AWS documentation.

use super::*;
use crate::auth::testing::chain;
use crate::checksum::Verifier;
use futures::FutureExt;
use http::HeaderName;
use millpond_testkit::fuzz::Fuzz;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const TIME: &str = "20130524T000000Z";
const SCOPE: &str = "20130524/us-east-1/s3/aws4_request";
const SEED: &str = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";

const SIGNED: PayloadMode = PayloadMode::Chunked { signed: true, trailer: false };
const SIGNED_TRAILER: PayloadMode = PayloadMode::Chunked { signed: true, trailer: true };
const UNSIGNED_TRAILER: PayloadMode = PayloadMode::Chunked { signed: false, trailer: true };

fn signer() -> ChunkSigner {
    chain(SECRET, SCOPE, TIME, SEED)
}

fn payload(
    source: BoxStream<'static, Result<Bytes, BoxError>>,
    mode: PayloadMode,
    headers: &HeaderMap,
) -> Payload {
    match Payload::new(source, mode, signer(), headers) {
        Ok(payload) => payload,
        Err(error) => panic!("{}", error.message),
    }
}

fn headers(pairs: &[(&'static str, String)]) -> HeaderMap {
    pairs.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().expect("a value"))).collect()
}

/// Sends the raw body in pieces of every awkward size and expects the same outcome of each.
async fn outcome(
    mode: PayloadMode,
    headers: &HeaderMap,
    raw: &[u8],
) -> Result<(Vec<u8>, Vec<(String, String)>), &'static str> {
    let mut results = Vec::new();
    for piece in [1, 7, 64 * 1024, usize::MAX] {
        if piece == 1 && raw.len() > 10_000 {
            continue;
        }
        let pieces: Vec<Result<Bytes, BoxError>> =
            raw.chunks(piece.min(raw.len().max(1))).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let source = futures::stream::iter(pieces).boxed();
        let result = async {
            let mut payload = Payload::new(source, mode, signer(), headers)?;
            let mut body = Vec::new();
            while let Some(bytes) = payload.next().await? {
                assert!(!bytes.is_empty());
                body.extend_from_slice(&bytes);
            }
            assert!(payload.next().await?.is_none(), "an ended body stays ended");
            Ok((body, payload.trailers().to_vec()))
        };
        results.push(result.await.map_err(|error: S3Error| error.code));
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "the outcome depends on how the bytes arrive");
    results.remove(0)
}

async fn content(mode: PayloadMode, headers: &HeaderMap, raw: &[u8]) -> Result<Vec<u8>, &'static str> {
    outcome(mode, headers, raw).await.map(|(body, _)| body)
}

fn chunked_headers(length: usize, trailer: Option<&str>) -> HeaderMap {
    let mut map = headers(&[("x-amz-decoded-content-length", length.to_string())]);
    if let Some(trailer) = trailer {
        map.insert("x-amz-trailer", trailer.parse().expect("a value"));
    }
    map
}

fn signed_body(chunks: &[&[u8]], trailer: Option<&str>) -> Vec<u8> {
    let mut chain = signer();
    let mut raw = Vec::new();
    for chunk in chunks.iter().copied().chain([&b""[..]]) {
        raw.extend(format!("{:x};chunk-signature={}\r\n", chunk.len(), chain.sign_chunk(chunk)).bytes());
        if !chunk.is_empty() {
            raw.extend_from_slice(chunk);
            raw.extend_from_slice(b"\r\n");
        }
    }
    if let Some(line) = trailer {
        let signature = chain.sign_trailer(&format!("{line}\n"));
        raw.extend(format!("{line}\r\nx-amz-trailer-signature:{signature}\r\n").bytes());
    }
    raw.extend_from_slice(b"\r\n");
    raw
}

fn replaced(raw: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(raw.to_vec()).expect("text");
    assert!(text.contains(from), "{text}");
    text.replacen(from, to, 1).into_bytes()
}

#[tokio::test]
async fn the_documented_chunks_have_the_documented_signatures() {
    let (one, two) = (vec![b'a'; 65_536], vec![b'a'; 1024]);
    let raw = signed_body(&[&one, &two], None);
    let text = String::from_utf8(raw.clone()).expect("text");
    for signature in [
        "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n",
        "400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n",
        "0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n",
    ] {
        assert!(text.contains(signature));
    }
    assert_eq!(content(SIGNED, &chunked_headers(66_560, None), &raw).await.expect("right").len(), 66_560);
}

#[tokio::test]
async fn plain_bodies_have_the_announced_length() {
    let of = |length: usize| headers(&[("content-length", length.to_string())]);
    assert_eq!(content(PayloadMode::Unsigned, &of(5), b"hello").await.expect("right"), b"hello");
    assert_eq!(content(PayloadMode::Unsigned, &of(6), b"hello").await, Err("IncompleteBody"));
    assert_eq!(content(PayloadMode::Unsigned, &of(4), b"hello").await, Err("IncompleteBody"));
    assert_eq!(content(PayloadMode::Unsigned, &HeaderMap::new(), b"").await.expect("right"), b"");
}

#[tokio::test]
async fn hashed_bodies_have_the_announced_hash() {
    let of = |length: usize| headers(&[("content-length", length.to_string())]);
    let mode = PayloadMode::Whole(ContentHash::of(b"hello"));
    assert_eq!(content(mode, &of(5), b"hello").await.expect("right"), b"hello");
    assert_eq!(content(mode, &of(5), b"hellO").await, Err("XAmzContentSHA256Mismatch"));
    assert_eq!(content(mode, &of(5), b"hell").await, Err("IncompleteBody"));
    assert_eq!(content(mode, &of(5), b"hello!").await, Err("IncompleteBody"));
    assert_eq!(content(PayloadMode::Whole(ContentHash::of(b"")), &of(0), b"").await.expect("right"), b"");
}

#[tokio::test]
async fn a_broken_connection_is_an_incomplete_body() {
    let pieces: Vec<Result<Bytes, BoxError>> = vec![Ok(Bytes::from_static(b"he")), Err("reset".into())];
    let map = headers(&[("content-length", "5".to_owned())]);
    let source = futures::stream::iter(pieces).boxed();
    let mut payload = payload(source, PayloadMode::Unsigned, &map);
    assert_eq!(payload.next().await.expect("a piece").expect("bytes"), "he");
    assert_eq!(payload.next().await.expect_err("broken").code, "IncompleteBody");
}

#[tokio::test]
async fn tampered_signed_chunks_are_refused() {
    let map = chunked_headers(10, None);
    let raw = signed_body(&[b"hello", b"world"], None);
    assert_eq!(content(SIGNED, &map, &raw).await.expect("right"), b"helloworld");
    let wrong = Err("SignatureDoesNotMatch");
    assert_eq!(content(SIGNED, &map, &replaced(&raw, "hello", "hellO")).await, wrong);
    assert_eq!(content(SIGNED, &map, &replaced(&raw, "world", "worlD")).await, wrong);
    assert_eq!(
        content(SIGNED, &map, &replaced(&raw, "0;chunk-signature=", "0;chunk-signature=1")).await,
        wrong
    );
    assert_eq!(content(SIGNED, &map, &replaced(&raw, ";chunk-signature=", ";x=")).await, wrong);
    // The chunks swapped.
    let text = String::from_utf8(raw.clone()).expect("text");
    let lines: Vec<&str> = text.split("\r\n").collect();
    let swapped = [lines[2], lines[3], lines[0], lines[1]]
        .iter()
        .chain(&lines[4..])
        .copied()
        .collect::<Vec<_>>()
        .join("\r\n");
    assert_eq!(content(SIGNED, &map, swapped.as_bytes()).await, wrong);
    // The unsigned form of the same.
    assert_eq!(content(SIGNED, &map, b"a\r\nhelloworld\r\n0\r\n\r\n").await, wrong);
}

#[tokio::test]
async fn cut_and_oversized_chunks_are_refused() {
    let raw = signed_body(&[b"hello", b"world"], None);
    let map = chunked_headers(10, None);
    let short = Err("IncompleteBody");
    let last = raw.len() - "0;chunk-signature=".len() - 64 - 4;
    for end in [0, 1, 20, 90, 95, last, last + 1] {
        assert!(content(SIGNED, &map, &raw[..end]).await.is_err(), "cut at {end}");
    }
    assert_eq!(content(SIGNED, &map, &raw[..last]).await, short, "without the last chunk");
    assert_eq!(content(SIGNED, &chunked_headers(11, None), &raw).await, short);
    assert_eq!(content(SIGNED, &chunked_headers(9, None), &raw).await, short);
    let unsigned = chunked_headers(5, Some("x-amz-checksum-crc32"));
    for raw in [
        "5\r\nhello0\r\n",
        "ffffffffffffffff\r\nhello\r\n",
        "-5\r\nhello",
        "5 \r\nhello\r\n",
        "\r\n",
        "6\r\nhello\r\n0\r\n",
    ] {
        assert_eq!(content(UNSIGNED_TRAILER, &unsigned, raw.as_bytes()).await, short, "{raw:?}");
    }
    let endless = [b"5;".to_vec(), vec![b'x'; 100_000]].concat();
    assert_eq!(content(UNSIGNED_TRAILER, &unsigned, &endless).await, short);
}

#[tokio::test]
async fn unsigned_trailers_are_read_and_required() {
    let map = chunked_headers(9, Some("x-amz-checksum-crc32"));
    let raw = b"4\r\n1234\r\n5\r\n56789\r\n0\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n";
    let (body, trailers) = outcome(UNSIGNED_TRAILER, &map, raw).await.expect("right");
    assert_eq!(body, b"123456789");
    assert_eq!(trailers, [("x-amz-checksum-crc32".to_owned(), "y/Q5Jg==".to_owned())]);
    let mut verifier = Verifier::new(&map).expect("valid");
    verifier.update(&body);
    let digests = millpond_service::Digests { sha256: ContentHash::of(&body), md5: [0; 16], size: 9 };
    assert!(verifier.finish(&trailers, &digests).is_ok());
    // Some SDKs leave out the last line end.
    assert!(outcome(UNSIGNED_TRAILER, &map, &raw[..raw.len() - 4]).await.is_ok());
    let bad = Err("MalformedTrailerError");
    for trailer in [
        "",
        "x-amz-checksum-sha1:abc=\r\n",
        "nonsense\r\n",
        "x-amz-checksum-crc32:y/Q5Jg==\r\nx-amz-meta-a:1\r\n",
        "x-amz-checksum-crc32:y/Q5Jg==\r\n\r\nx:y\r\n",
    ] {
        let raw = format!("9\r\n123456789\r\n0\r\n{trailer}\r\n");
        assert_eq!(content(UNSIGNED_TRAILER, &map, raw.as_bytes()).await, bad, "{trailer:?}");
    }
}

#[tokio::test]
async fn signed_trailers_are_verified_and_cannot_be_cut_off() {
    let line = "x-amz-checksum-crc32:y/Q5Jg==";
    let map = chunked_headers(9, Some("x-amz-checksum-crc32"));
    let raw = signed_body(&[b"123456789"], Some(line));
    let (body, trailers) = outcome(SIGNED_TRAILER, &map, &raw).await.expect("right");
    assert_eq!((body.as_slice(), trailers.len()), (&b"123456789"[..], 1));
    let wrong = Err("SignatureDoesNotMatch");
    assert_eq!(content(SIGNED_TRAILER, &map, &replaced(&raw, "y/Q5Jg==", "y/Q5Jw==")).await, wrong);
    assert_eq!(
        content(
            SIGNED_TRAILER,
            &map,
            &replaced(&raw, "x-amz-trailer-signature:", "x-amz-trailer-signature:0")
        )
        .await,
        wrong
    );
    assert_eq!(content(SIGNED_TRAILER, &map, &signed_body(&[b"123456789"], None)).await, wrong);
}

#[tokio::test]
async fn a_trailer_as_aws_documents_it_has_an_empty_line_before_its_signature() {
    let line = "x-amz-checksum-crc32:y/Q5Jg==";
    let map = chunked_headers(9, Some("x-amz-checksum-crc32"));
    let raw = signed_body(&[b"123456789"], Some(line));
    let raw = replaced(&raw, &format!("{line}\r\n"), &format!("{line}\n\r\n"));
    let (body, trailers) = outcome(SIGNED_TRAILER, &map, &raw).await.expect("right");
    assert_eq!((body.as_slice(), trailers.len()), (&b"123456789"[..], 1));
    // Nothing else may stand there, and nothing behind.
    let end = raw.len() - 2;
    let more = [&raw[..end], b"x:y\r\n\r\n"].concat();
    assert!(content(SIGNED_TRAILER, &map, &more).await.is_err());
    let twice = [&raw[..end], b"\r\nx-amz-trailer-signature:0\r\n\r\n"].concat();
    assert!(content(SIGNED_TRAILER, &map, &twice).await.is_err());
}

#[tokio::test]
async fn announcements_must_fit_the_mode() {
    let source = || futures::stream::empty().boxed();
    assert!(Payload::new(source(), UNSIGNED_TRAILER, signer(), &chunked_headers(1, None)).is_err());
    assert!(
        Payload::new(source(), SIGNED, signer(), &chunked_headers(1, Some("x-amz-checksum-crc32"))).is_err()
    );
    let map = headers(&[("content-length", "-1".to_owned())]);
    assert!(Payload::new(source(), PayloadMode::Unsigned, signer(), &map).is_err());
    let payload = payload(source(), SIGNED, &HeaderMap::new());
    assert_eq!(payload.required_size().expect_err("no length").status.as_u16(), 411);
}

#[tokio::test]
async fn a_chunk_of_any_size_is_handed_on_as_it_arrives() {
    let source = futures::stream::iter([Ok(Bytes::from_static(b"40000000\r\nhello"))]).boxed();
    let map = chunked_headers(1 << 30, Some("x-amz-checksum-crc32"));
    let mut payload = payload(source, UNSIGNED_TRAILER, &map);
    assert_eq!(payload.next().await.expect("a piece").expect("bytes"), "hello");
    assert_eq!(payload.next().await.expect_err("cut").code, "IncompleteBody");
}

/// The content of an aws-chunked body without signatures, as simply as it can be read when all of it is there; and
/// what follows the last chunk.
fn reference(raw: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (mut body, mut rest) = (Vec::new(), raw);
    let line = |rest: &mut &[u8]| {
        let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        let line = rest[..end].to_vec();
        *rest = rest.get(end + 1..).unwrap_or_default();
        (line.len() <= 4096).then(|| line.strip_suffix(b"\r").map_or(line.clone(), <[u8]>::to_vec))
    };
    loop {
        let head = String::from_utf8(line(&mut rest)?).ok()?;
        let digits = head.split(';').next()?;
        let is_size = (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = usize::from_str_radix(digits, 16).ok().filter(|_| is_size)?;
        if size == 0 {
            return Some((body, rest));
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = &rest[size..];
        if rest.is_empty() || !line(&mut rest)?.is_empty() {
            return None;
        }
    }
}

#[test]
fn fuzz_unsigned_chunks() {
    let trailer = "x-amz-checksum-crc32:AAAAAA==\r\n\r\n";
    let seeds = [
        format!("5\r\nhello\r\n0\r\n{trailer}"),
        format!("1;x=y\r\na\r\n10\r\n0123456789abcdef\r\n0\r\n{trailer}"),
        format!("0\r\n{trailer}"),
    ];
    let words = ["\r\n", "0\r\n", "5\r\n", "\n", ";", "ffffffffffffffff", "fffffffffffffff", trailer];
    let fuzz = Fuzz { name: "unsigned-chunks", seeds: seeds.map(String::into_bytes).to_vec(), words: &words };
    fuzz.run(|input| {
        let expected = reference(input);
        let length = expected.as_ref().map_or(0, |(body, _)| body.len());
        let headers = chunked_headers(length, Some("x-amz-checksum-crc32"));
        let outcome = outcome(UNSIGNED_TRAILER, &headers, input).now_or_never().expect("all of it is there");
        match outcome {
            Ok((body, _)) => {
                assert_eq!(Some(&body), expected.as_ref().map(|(body, _)| body));
                format!("taken {}", body.len().min(20))
            }
            Err(code) => {
                assert!(
                    expected.is_none_or(|(_, rest)| rest != trailer.as_bytes()),
                    "a good body was refused: {code}"
                );
                code.to_owned()
            }
        }
    });
}

#[test]
fn fuzz_signed_chunks() {
    let content: [&[u8]; 2] = [b"hello", b"0123456789abcdef"];
    let whole = content.concat();
    for (mode, trailer, name) in [
        (SIGNED, None, "signed-chunks"),
        (SIGNED_TRAILER, Some("x-amz-checksum-crc32:AAAAAA=="), "signed-trailer"),
    ] {
        let good = signed_body(&content, trailer);
        let headers = chunked_headers(whole.len(), trailer.map(|_| "x-amz-checksum-crc32"));
        assert_eq!(content_now(mode, &headers, &good).as_deref(), Ok(&*whole), "the seed is good");
        let words = [
            "\r\n",
            "0;chunk-signature=",
            "5;chunk-signature=",
            "chunk-signature=",
            "x-amz-trailer-signature:",
        ];
        Fuzz { name, seeds: vec![good], words: &words }.run(|input| {
            match content_now(mode, &headers, input) {
                // Whatever was done to it, what is taken is what was signed.
                Ok(body) => {
                    assert_eq!(body, whole);
                    "taken".to_owned()
                }
                Err(code) => code.to_owned(),
            }
        });
    }
}

fn content_now(mode: PayloadMode, headers: &HeaderMap, raw: &[u8]) -> Result<Vec<u8>, &'static str> {
    content(mode, headers, raw).now_or_never().expect("all of it is there")
}
