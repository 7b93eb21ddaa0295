//! Follows the framing of HTTP/1 on a connection, beside the HTTP library, for three things the library does
//! not offer: refusing a request with both `Content-Length` and `Transfer-Encoding` (the library drops one of
//! them in silence, and a proxy in front may have believed the other: request smuggling), the size of a
//! head, and knowing when a head has begun but not ended.
//!
//! It judges nothing else. Whatever it does not understand the library refuses; it then stops following.

use millpond_types::limits::{CHUNK_LINE_BYTES_MAX, HEAD_BYTES_MAX};

/// What the bytes so far are.
#[derive(Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing to object to.
    Fine,
    /// A request came with both `Content-Length` and `Transfer-Encoding`.
    Ambiguous,
    /// A head is too large; so many of the bytes given last are beyond its limit.
    HeadTooLarge {
        /// Bytes.
        excess: usize,
    },
    /// A line of chunked framing is too long.
    LineTooLong,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// In a head, or between requests.
    Head,
    /// In a body of known length; bytes left.
    Body(u64),
    /// Before the size of a chunk.
    ChunkSize,
    /// In a chunk or the line end behind it; bytes left.
    Chunk(u64),
    /// Behind the last chunk.
    Trailers,
    /// HTTP/2, or not understood.
    Off,
}

/// One connection.
pub struct Framing {
    state: State,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    head: Head,
}

/// What the head in work has said so far.
#[derive(Default)]
struct Head {
    bytes: usize,
    content_length: Option<u64>,
    has_content_length: bool,
    has_transfer_encoding: bool,
}

impl Framing {
    /// At the start of a connection.
    pub fn new() -> Self {
        Self { state: State::Head, line: Vec::new(), head: Head::default() }
    }

    /// Whether a head has begun and not ended.
    pub fn is_in_head(&self) -> bool {
        self.state == State::Head && (self.head.bytes > 0 || !self.line.is_empty())
    }

    /// Takes the next bytes of the connection.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Finding {
        let mut finding = Finding::Fine;
        while !bytes.is_empty() {
            match &mut self.state {
                State::Off => return finding,
                State::Body(left) | State::Chunk(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= taken as u64;
                    bytes = &bytes[taken..];
                    if *left == 0 {
                        let in_chunk = matches!(self.state, State::Chunk(_));
                        self.state = if in_chunk { State::ChunkSize } else { State::Head };
                    }
                }
                State::Head | State::ChunkSize | State::Trailers => match self.take_line(&mut bytes) {
                    Line::Incomplete => return finding,
                    Line::TooLong => {
                        let in_head = self.state == State::Head;
                        self.state = State::Off;
                        if !in_head {
                            return Finding::LineTooLong;
                        }
                        let excess = self.head.bytes + self.line.len() - HEAD_BYTES_MAX + bytes.len();
                        return Finding::HeadTooLarge { excess };
                    }
                    Line::Whole => {
                        let mut line = std::mem::take(&mut self.line);
                        if self.end_line(&line) == Finding::Ambiguous {
                            finding = Finding::Ambiguous;
                        }
                        line.clear();
                        self.line = line;
                    }
                },
            }
        }
        finding
    }

    /// Moves bytes to the line in work, up to its end.
    fn take_line(&mut self, bytes: &mut &[u8]) -> Line {
        let end = memchr::memchr(b'\n', bytes);
        let taken = end.map_or(bytes.len(), |end| end + 1);
        self.line.extend_from_slice(&bytes[..taken]);
        *bytes = &bytes[taken..];
        let too_long = match self.state {
            State::Head => self.head.bytes + self.line.len() > HEAD_BYTES_MAX,
            _ => self.line.len() > CHUNK_LINE_BYTES_MAX,
        };
        if too_long {
            return Line::TooLong;
        }
        if end.is_some() { Line::Whole } else { Line::Incomplete }
    }

    fn end_line(&mut self, line: &[u8]) -> Finding {
        let text = line.trim_ascii_end();
        match self.state {
            State::Head => self.end_head_line(line.len(), text),
            State::ChunkSize => {
                let digits = text.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
                let size = std::str::from_utf8(digits).ok().and_then(|hex| u64::from_str_radix(hex, 16).ok());
                self.state = match size {
                    Some(0) => State::Trailers,
                    Some(size) => size.checked_add(2).map_or(State::Off, State::Chunk),
                    None => State::Off,
                };
                Finding::Fine
            }
            State::Trailers => {
                if text.is_empty() {
                    self.state = State::Head;
                }
                Finding::Fine
            }
            State::Body(_) | State::Chunk(_) | State::Off => Finding::Fine,
        }
    }

    fn end_head_line(&mut self, bytes: usize, text: &[u8]) -> Finding {
        if text.is_empty() {
            if self.head.bytes == 0 {
                // Line ends before a request are allowed.
                return Finding::Fine;
            }
            let head = std::mem::take(&mut self.head);
            self.state = match head {
                Head { has_transfer_encoding: true, .. } => State::ChunkSize,
                Head { content_length: Some(0), .. } | Head { has_content_length: false, .. } => State::Head,
                Head { content_length: Some(length), .. } => State::Body(length),
                Head { content_length: None, .. } => State::Off,
            };
            let both = head.has_content_length && head.has_transfer_encoding;
            return if both { Finding::Ambiguous } else { Finding::Fine };
        }
        if self.head.bytes == 0 && text == b"PRI * HTTP/2.0" {
            self.state = State::Off;
            return Finding::Fine;
        }
        self.head.bytes += bytes;
        if let Some(colon) = memchr::memchr(b':', text) {
            let (name, value) = (text[..colon].trim_ascii(), text[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                self.head.has_content_length = true;
                self.head.content_length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                self.head.has_transfer_encoding = true;
            }
        }
        Finding::Fine
    }
}

enum Line {
    Whole,
    Incomplete,
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the text whole, and again byte by byte; both must find the same.
    fn feed(text: &str) -> (Finding, Framing) {
        let mut whole = Framing::new();
        let finding = whole.feed(text.as_bytes());
        let mut bytewise = Framing::new();
        let mut found = Finding::Fine;
        for byte in text.as_bytes() {
            let one = bytewise.feed(std::slice::from_ref(byte));
            if one != Finding::Fine && found == Finding::Fine {
                found = one;
            }
        }
        // How much is in excess depends on how much came at once.
        let kind = |finding: &Finding| std::mem::discriminant(finding);
        assert_eq!((kind(&found), &bytewise.state), (kind(&finding), &whole.state), "{text:?}");
        (finding, whole)
    }

    const BOTH: &str = "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn both_framings_are_noticed_wherever_they_come() {
        for before in [
            "",
            "\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "PUT /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
            "PUT /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhel\r\n\r\n0\r\nX-Trailer: 1\r\n\r\n",
            "PUT /a HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            assert_eq!(feed(&format!("{before}{BOTH}")).0, Finding::Ambiguous, "{before:?}");
        }
        let swapped = "POST / HTTP/1.1\r\ntransfer-ENCODING: gzip\r\ncontent-LENGTH:4\r\n\r\n";
        assert_eq!(feed(swapped).0, Finding::Ambiguous);
    }

    #[test]
    fn bodies_are_not_heads() {
        let length = BOTH.len();
        let text = format!("PUT /a HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{BOTH}");
        let (finding, framing) = feed(&text);
        assert_eq!((finding, framing.is_in_head()), (Finding::Fine, false));
        let text =
            format!("PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{BOTH}\r\n0\r\n\r\n");
        let (finding, framing) = feed(&text);
        assert_eq!((finding, framing.state), (Finding::Fine, State::Head));
    }

    #[test]
    fn a_head_that_has_begun_is_told_from_waiting() {
        assert!(!feed("").1.is_in_head());
        assert!(feed("G").1.is_in_head());
        assert!(feed("GET / HTTP/1.1\r\n").1.is_in_head());
        assert!(!feed("GET / HTTP/1.1\r\n\r\n").1.is_in_head());
        assert!(!feed("PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhel").1.is_in_head());
        assert!(!feed("PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello").1.is_in_head());
    }

    #[test]
    fn large_heads_are_refused_and_large_bodies_are_not() {
        let head = |bytes: usize| {
            let fixed = "GET / HTTP/1.1\r\nX: \r\n\r\n".len();
            format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(bytes - fixed))
        };
        for bytes in [HEAD_BYTES_MAX - 1, HEAD_BYTES_MAX] {
            assert_eq!(feed(&head(bytes)).0, Finding::Fine);
        }
        assert_eq!(feed(&head(HEAD_BYTES_MAX + 1)).0, Finding::HeadTooLarge { excess: 1 });
        let many = "X: 0123456789\r\n".repeat(HEAD_BYTES_MAX / 15 + 1);
        assert!(matches!(feed(&format!("GET / HTTP/1.1\r\n{many}")).0, Finding::HeadTooLarge { .. }));
        let line = format!("{}\r\n", "5".repeat(CHUNK_LINE_BYTES_MAX));
        let text = format!("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{line}");
        assert_eq!(feed(&text).0, Finding::LineTooLong);
        let body = "a".repeat(HEAD_BYTES_MAX * 2);
        let text = format!("PUT / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert_eq!(feed(&text).1.state, State::Head);
    }

    #[test]
    fn http2_and_nonsense_are_left_alone() {
        assert_eq!(feed(&format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{BOTH}")).0, Finding::Fine);
        assert_eq!(feed("PUT / HTTP/1.1\r\nContent-Length: x\r\n\r\n").1.state, State::Off);
        let chunked = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(feed(&format!("{chunked}zz\r\n")).1.state, State::Off);
        assert_eq!(feed(&format!("{chunked}ffffffffffffffff\r\n")).1.state, State::Off);
    }
}
