//! Reads `multipart/form-data` (RFC 7578) as it streams in: bytes of a part are passed on as they come,
//! whatever the size of the part.
//!
//! It does not know what the parts mean. Everything malformed or cut off is an error, so that a truncated
//! upload never becomes an object.

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use memchr::memmem::Finder;
use millpond_service::limits::FORM_HEADERS_BYTES_MAX;

/// Why a form could not be read; for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

fn malformed<T>(reason: &str) -> Result<T, Malformed> {
    Err(Malformed(format!("multipart body: {reason}")))
}

/// The head of one part.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// The name of the form field.
    pub name: String,
    /// As given; empty if it was not.
    pub content_type: String,
}

/// A form being read.
pub struct Form<S> {
    body: S,
    buffer: BytesMut,
    delimiter: Finder<'static>,
    place: Place,
}

enum Place {
    /// In text that belongs to no part, or in a part whose rest is not wanted: a delimiter comes.
    Skipping,
    /// In the content of a part.
    InPart,
    /// A delimiter was just read.
    AfterDelimiter,
    /// The closing delimiter was read.
    End,
}

impl<S, E> Form<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    /// A form whose parts are divided by `boundary`.
    pub fn new(body: S, boundary: &str) -> Self {
        let delimiter = Finder::new(&format!("\r\n--{boundary}")).into_owned();
        // The first delimiter needs no line before it.
        Self { body, buffer: BytesMut::from("\r\n"), delimiter, place: Place::Skipping }
    }

    /// The next part; what is left of the present one is skipped. `None` after the last.
    pub async fn next_part(&mut self) -> Result<Option<Part>, Malformed> {
        loop {
            match self.place {
                Place::InPart | Place::Skipping => {
                    self.place = Place::Skipping;
                    while self.piece().await?.is_some() {}
                }
                Place::AfterDelimiter => {
                    while self.buffer.len() < 2 {
                        self.more().await?;
                    }
                    if self.buffer.starts_with(b"--") {
                        self.place = Place::End;
                        continue;
                    }
                    let part = self.head().await?;
                    self.place = Place::InPart;
                    return Ok(Some(part));
                }
                Place::End => return Ok(None),
            }
        }
    }

    /// The next bytes of the present part; `None` at its end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Malformed> {
        if !matches!(self.place, Place::InPart | Place::Skipping) {
            return Ok(None);
        }
        let length = self.delimiter.needle().len();
        loop {
            if let Some(at) = self.delimiter.find(&self.buffer) {
                if at > 0 {
                    return Ok(Some(self.buffer.split_to(at).freeze()));
                }
                self.buffer.advance(length);
                self.place = Place::AfterDelimiter;
                return Ok(None);
            }
            // All but what may be the beginning of a delimiter belongs to the part.
            if self.buffer.len() >= length {
                return Ok(Some(self.buffer.split_to(self.buffer.len() - (length - 1)).freeze()));
            }
            self.more().await?;
        }
    }

    /// The headers of a part, from behind its delimiter.
    async fn head(&mut self) -> Result<Part, Malformed> {
        let end = loop {
            let padding = self.buffer.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            let head = &self.buffer[padding..];
            if head.len() >= 2 && !head.starts_with(b"\r\n") {
                return malformed("a boundary is followed by other text");
            }
            if let Some(at) = memchr::memmem::find(head, b"\r\n\r\n") {
                if at > FORM_HEADERS_BYTES_MAX {
                    return malformed("the headers of a part are too long");
                }
                break padding + at;
            }
            if self.buffer.len() > FORM_HEADERS_BYTES_MAX {
                return malformed("the headers of a part are too long");
            }
            self.more().await?;
        };
        let head = self.buffer.split_to(end);
        self.buffer.advance(4);
        let Ok(head) = std::str::from_utf8(&head) else {
            return malformed("the headers of a part are not UTF-8");
        };
        let mut part = Part { name: String::new(), content_type: String::new() };
        for line in head.split("\r\n").map(str::trim).filter(|line| !line.is_empty()) {
            let Some((name, value)) = line.split_once(':') else {
                return malformed("a part has a header without a colon");
            };
            if name.eq_ignore_ascii_case("content-disposition") {
                part.name = parameter(value, "name").unwrap_or_default();
            } else if name.eq_ignore_ascii_case("content-type") {
                part.content_type = value.trim().to_owned();
            }
        }
        Ok(part)
    }

    async fn more(&mut self) -> Result<(), Malformed> {
        match self.body.next().await {
            Some(Ok(bytes)) => {
                self.buffer.extend_from_slice(&bytes);
                Ok(())
            }
            Some(Err(error)) => malformed(&error.to_string()),
            None => malformed("it ends before its closing boundary"),
        }
    }
}

/// A parameter of a header value such as `form-data; name="content"`.
pub fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let text;
        if let Some(quoted) = after.strip_prefix('"') {
            let mut chars = quoted.char_indices();
            let mut unquoted = String::new();
            let end = loop {
                match chars.next()? {
                    (at, '"') => break at + 1,
                    (_, '\\') => unquoted.push(chars.next()?.1),
                    (_, c) => unquoted.push(c),
                }
            };
            text = unquoted;
            rest = quoted[end..].split_once(';').map_or("", |(_, rest)| rest);
        } else {
            let (plain, tail) = after.split_once(';').unwrap_or((after, ""));
            text = plain.trim().to_owned();
            rest = tail;
        }
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    const BODY: &str = "preamble\r\n--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nskip me\r\n\
        --b \r\ncontent-disposition: form-data; name=\"content\"; filename=\"a;b\\\".csv\"\r\n\
        Content-Type: text/csv\r\n\r\na,b\r\n--bread\r\n\r\n--c\r\n--b--\r\nepilogue";

    /// All parts with their bytes, the body arriving `step` bytes at a time.
    async fn read(body: &str, step: usize) -> Result<Vec<(Part, Vec<u8>)>, Malformed> {
        let pieces: Vec<Result<Bytes, Infallible>> =
            body.as_bytes().chunks(step).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let mut form = Form::new(futures::stream::iter(pieces), "b");
        let mut parts = Vec::new();
        while let Some(part) = form.next_part().await? {
            let mut content = Vec::new();
            while let Some(piece) = form.piece().await? {
                content.extend_from_slice(&piece);
            }
            parts.push((part, content));
        }
        Ok(parts)
    }

    #[tokio::test]
    async fn parts_are_the_same_however_the_bytes_arrive() {
        // `\r\n--bread` begins like the boundary; by the standard it is one, followed by other text.
        let body = BODY.replace("\r\n--bread", "\r\n-bread");
        for step in 1..=body.len() {
            let parts = read(&body, step).await.unwrap();
            assert_eq!(parts.len(), 2, "step {step}");
            assert_eq!(parts[0].0, Part { name: "note".into(), content_type: String::new() });
            assert_eq!(parts[1].0, Part { name: "content".into(), content_type: "text/csv".into() });
            assert_eq!(parts[1].1, b"a,b\r\n-bread\r\n\r\n--c", "step {step}");
        }
    }

    #[tokio::test]
    async fn malformed_and_cut_off_bodies_are_errors() {
        let good = BODY.replace("\r\n--bread", "\r\n-bread");
        let end = good.find("--b--").unwrap() + 5;
        for cut in 0..end {
            assert!(read(&good[..cut], 7).await.is_err(), "cut at {cut}: {:?}", &good[..cut]);
        }
        assert!(read(BODY, 100).await.is_err(), "a boundary followed by other text");
        assert!(read("--b\r\nno colon\r\n\r\nx\r\n--b--", 100).await.is_err());
        let endless = format!("--b\r\nX: {}", "y".repeat(FORM_HEADERS_BYTES_MAX));
        assert!(read(&endless, 1000).await.is_err());
        assert_eq!(read("--b--\r\n", 3).await.unwrap(), vec![]);
    }

    #[tokio::test]
    async fn an_empty_part_is_empty() {
        let parts =
            read("--b\r\nContent-Disposition: form-data; name=content\r\n\r\n\r\n--b--", 4).await.unwrap();
        assert_eq!(parts[0].0.name, "content");
        assert_eq!(parts[0].1, b"");
    }

    #[test]
    fn parameters_of_header_values() {
        let value = "multipart/form-data; charset=utf-8; boundary=\"a b\\\"c\"; x=y";
        assert_eq!(parameter(value, "boundary").as_deref(), Some("a b\"c"));
        assert_eq!(parameter(value, "X").as_deref(), Some("y"));
        assert_eq!(parameter(value, "none"), None);
        assert_eq!(parameter("multipart/form-data", "boundary"), None);
        assert_eq!(parameter("a; b=\"open", "b"), None);
    }

    #[test]
    fn fuzz_forms() {
        use futures::FutureExt;
        let good = BODY.replace("\r\n--bread", "\r\n-bread");
        let words = ["\r\n--b", "--", "\r\n\r\n", "name=\"content\"", "Content-Type: ", "\\\"", ";"];
        millpond_testkit::fuzz::Fuzz { name: "forms", seeds: vec![good.into_bytes()], words: &words }.run(
            |input| {
                let text = String::from_utf8_lossy(input);
                let whole = read(&text, usize::MAX).now_or_never().expect("all is there");
                for step in [1, 3] {
                    let pieces = read(&text, step).now_or_never().expect("all is there");
                    assert_eq!(pieces, whole, "the outcome depends on how the bytes arrive");
                }
                match whole {
                    Ok(parts) => {
                        let content: usize = parts.iter().map(|(_, content)| content.len()).sum();
                        assert!(content <= text.len());
                        format!("{} parts", parts.len())
                    }
                    Err(error) => error.0,
                }
            },
        );
    }
}
