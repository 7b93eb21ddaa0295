//! Bodies in and out: reading a bounded request body, and rendering answers with the headers of API-0.23.
//!
//! It does not know about operations or failures of verbs.

use crate::error::{Handled, Refusal};
use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use millpond_service::limits::JSON_CONTAINERS_MAX;
use serde::Serialize;
use serde::de::Deserialize;
use serde_json::Value;
use std::borrow::Cow;

/// A JSON answer, ending in a newline.
pub fn reply(status: StatusCode, value: &impl Serialize) -> Response {
    let mut body = Vec::with_capacity(256);
    if let Err(error) = serde_json::to_writer(&mut body, value) {
        tracing::error!(%error, "an answer could not be written as JSON");
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    }
    body.push(b'\n');
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// 200 with JSON.
pub fn ok(value: &impl Serialize) -> Handled {
    Ok(reply(StatusCode::OK, value))
}

/// 201 with JSON.
pub fn created(value: &impl Serialize) -> Handled {
    Ok(reply(StatusCode::CREATED, value))
}

/// 204.
pub fn done() -> Handled {
    Ok(empty(StatusCode::NO_CONTENT))
}

/// An answer without body.
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An answer in plain text.
pub fn text(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A response header whose value may hold text of users: control characters make it fall away.
pub fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The whole request body, of at most `bytes_max` bytes (413 beyond).
///
/// One that says that it is larger is not asked for a single byte: asking takes memory for all of it.
pub async fn read(body: Body, bytes_max: usize) -> Handled<Bytes> {
    let too_large = || Refusal::too_large(format!("the request body has more than {bytes_max} bytes"));
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(Refusal::invalid(format!("the request body could not be read: {error}"))),
    }
}

/// The first JSON value of the text; what follows it is ignored, of a doubled member the last wins,
/// lone surrogate escapes become U+FFFD (API-0.14).
pub fn parse(text: &[u8]) -> Handled<Value> {
    if containers(text) > JSON_CONTAINERS_MAX {
        return Err(Refusal::invalid(format!(
            "the request body holds more than {JSON_CONTAINERS_MAX} objects and lists"
        )));
    }
    let text = without_lone_surrogates(text);
    Value::deserialize(&mut serde_json::Deserializer::from_slice(&text))
        .map_err(|error| Refusal::invalid(format!("the request body is not JSON: {error}")))
}

/// How many objects and lists begin in a JSON text.
fn containers(text: &[u8]) -> usize {
    let (mut count, mut in_text, mut bytes) = (0, false, text.iter());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_text = !in_text,
            // Whatever is escaped neither ends the text nor escapes more.
            b'\\' if in_text => drop(bytes.next()),
            b'{' | b'[' if !in_text => count += 1,
            _ => {}
        }
    }
    count
}

/// serde_json refuses a lone `\ud800`..`\udfff` escape; other servers and all clients take it as U+FFFD.
fn without_lone_surrogates(text: &[u8]) -> Cow<'_, [u8]> {
    let escape_at = |i: usize| -> Option<u16> {
        let escape = text.get(i..i + 6)?;
        let digits = std::str::from_utf8(escape.strip_prefix(b"\\u")?).ok()?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut clean = Cow::Borrowed(text);
    let mut i = 0;
    while i < text.len() {
        if text[i] != b'\\' {
            i += 1;
            continue;
        }
        match escape_at(i) {
            Some(0xd800..=0xdbff) if matches!(escape_at(i + 6), Some(0xdc00..=0xdfff)) => i += 12,
            Some(0xd800..=0xdfff) => {
                clean.to_mut()[i..i + 6].copy_from_slice(b"\\ufffd");
                i += 6;
            }
            Some(_) => i += 6,
            None => i += 2,
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::{Frame, SizeHint};
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// Six bytes that never come.
    struct Promised;
    impl HttpBody for Promised {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            panic!("it must not be asked")
        }
        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(6)
        }
    }

    #[test]
    fn lenient_where_the_reference_is() {
        let value = |text: &str| parse(text.as_bytes()).unwrap();
        assert_eq!(value(r#"{"a":1} trailing"#), serde_json::json!({"a": 1}));
        assert_eq!(value(r#"{"a":1,"a":2}"#), serde_json::json!({"a": 2}));
        assert_eq!(value(r#"["\ud800x\udc00"]"#), serde_json::json!(["\u{fffd}x\u{fffd}"]));
        assert_eq!(value(r#"["\ud83d\ude00"]"#), serde_json::json!(["\u{1f600}"]));
        assert_eq!(value(r#"["\\ud800"]"#), serde_json::json!(["\\ud800"]));
    }

    #[test]
    fn strict_where_it_must_be() {
        assert!(parse(b"").is_err());
        assert!(parse(b"\xef\xbb\xbf{}").is_err(), "a byte-order mark");
        assert!(parse(b"{\"a\":").is_err());
        assert!(parse(b"\"\xff\"").is_err());
        assert!(parse(&b"[".repeat(100_000)).is_err(), "deep nesting must not overflow the stack");
    }

    #[test]
    fn little_text_cannot_become_much_memory() {
        let list = |item: &str, count: usize| format!("[{}0]", format!("{item},").repeat(count));
        assert!(parse(list("{}", JSON_CONTAINERS_MAX - 1).as_bytes()).is_ok());
        assert!(parse(list("{}", JSON_CONTAINERS_MAX).as_bytes()).is_err());
        assert!(parse(list("[]", JSON_CONTAINERS_MAX).as_bytes()).is_err());
        assert!(parse(list(r#""\"{[\\""#, JSON_CONTAINERS_MAX).as_bytes()).is_ok(), "within texts");
    }

    #[tokio::test]
    async fn a_body_has_a_limit() {
        assert_eq!(read(Body::from("12345"), 5).await.unwrap(), "12345");
        assert_eq!(read(Body::from("123456"), 5).await.unwrap_err().status, 413);
        assert_eq!(read(Body::new(Promised), 5).await.unwrap_err().status, 413, "not asked for a byte");
    }

    #[test]
    fn fuzz_json() {
        let seeds = [
            r#"{"message":"m","metadata":{"a":"b"},"date":-1,"paths":["x","\ud83d\ude00"],"n":null}"#,
            "[[],{},true]",
        ];
        let words = [
            "\\ud800",
            "\\udc00",
            "\\u0000",
            "[",
            "{",
            "\"a\":",
            "1e999",
            "18446744073709551616",
            "null",
            "\\",
        ];
        let seeds = seeds.map(|text| text.as_bytes().to_vec()).to_vec();
        millpond_testkit::fuzz::Fuzz { name: "json", seeds, words: &words }.run(|input| match parse(input) {
            Ok(value) => {
                let text = serde_json::to_vec(&value).unwrap();
                let again = parse(&text).unwrap();
                // Numbers with a fraction may be read one bit off.
                let is_exact = !text.contains(&b'.') && !text.contains(&b'e');
                assert!(!is_exact || serde_json::to_vec(&again).unwrap() == text);
                assert!(containers(&text) <= JSON_CONTAINERS_MAX);
                let operation =
                    crate::table::LAKEFS.iter().find(|operation| operation.id == "commit").unwrap();
                let crate::operation::Payload::Json(holds) = &operation.payload else {
                    panic!("it takes JSON")
                };
                match crate::validate::json(holds, &value, "body") {
                    Ok(()) => "valid".to_owned(),
                    Err(refusal) => refusal.message,
                }
            }
            Err(refusal) => refusal.message.split(" at line").next().unwrap_or_default().to_owned(),
        });
    }
}
