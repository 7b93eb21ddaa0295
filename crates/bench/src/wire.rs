//! The smallest HTTP/1.1 client that can load a server: one keep-alive connection, prepared request bytes,
//! answers with a length, chunked, or without a body.
//!
//! A general client would spend more of the two cores of a test machine on itself than the server under test
//! spends on the answer. What is left out on purpose: redirects, TLS, compression, `Expect`, pipelining.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bodies up to this many bytes travel in the same write as the head.
const JOINED_BYTES_MAX: usize = 64 * 1024;
/// A connection that was idle for longer is not used again: servers close such connections, and a request that
/// crosses the close fails.
const IDLE_MAX: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 64 * 1024;
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A request, ready to be written.
#[derive(Clone, Debug)]
pub struct Request {
    /// Request line and headers, up to and with the empty line.
    pub head: Vec<u8>,
    /// The body; its length is already in the head.
    pub body: Bytes,
}

impl Request {
    /// The same request with one more header, which no signature covers.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.head.truncate(self.head.len() - 2);
        self.head.extend_from_slice(format!("{name}: {value}\r\n\r\n").as_bytes());
        self
    }
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Status line and headers as they came.
    head: Vec<u8>,
    /// The body; empty if it was handed to a reader piece by piece.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of that name, case-insensitive.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
    /// The answer itself if it is a success, an error with status and the start of the body otherwise.
    pub fn success(self) -> Result<Self> {
        ensure!(self.is_success(), "status {}: {}", self.status, self.excerpt());
        Ok(self)
    }
    /// The start of the body as text, for messages.
    pub fn excerpt(&self) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(300)]).trim().to_owned()
    }
    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("the answer is not JSON: {}", self.excerpt()))
    }
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    head.split(|&byte| byte == b'\n').skip(1).find_map(|line| {
        let line = std::str::from_utf8(line).ok()?;
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// One connection, made at first use and again after an error.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    last_used: Instant,
    /// Bytes read and not yet consumed.
    unread: Vec<u8>,
}

impl Connection {
    /// A connection to be; nothing is opened yet.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, last_used: Instant::now(), unread: Vec::new() }
    }

    /// Sends the request and reads the whole answer. After an error the connection is closed: whether the
    /// server acted on the request is then unknown.
    pub async fn exchange(&mut self, request: &Request) -> Result<Answer> {
        let mut body = Vec::new();
        let mut answer = self.exchange_with(request, |piece| body.extend_from_slice(piece)).await?;
        answer.body = body;
        Ok(answer)
    }

    /// The same, with the body handed over piece by piece as it arrives.
    pub async fn exchange_with(&mut self, request: &Request, mut piece: impl FnMut(&[u8])) -> Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) if self.last_used.elapsed() < IDLE_MAX => stream,
            _ => {
                self.unread.clear();
                let stream = TcpStream::connect(self.address).await.context("connect")?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        send(&mut stream, request).await.context("send")?;
        let bodiless = request.head.starts_with(b"HEAD ");
        let answer = receive(&mut stream, &mut self.unread, bodiless, &mut piece).await.context("receive")?;
        if !answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.stream = Some(stream);
            self.last_used = Instant::now();
        }
        Ok(answer)
    }
}

async fn send(stream: &mut TcpStream, request: &Request) -> Result<()> {
    if request.body.is_empty() {
        stream.write_all(&request.head).await?;
    } else if request.body.len() <= JOINED_BYTES_MAX {
        let mut joined = Vec::with_capacity(request.head.len() + request.body.len());
        joined.extend_from_slice(&request.head);
        joined.extend_from_slice(&request.body);
        stream.write_all(&joined).await?;
    } else {
        stream.write_all(&request.head).await?;
        stream.write_all(&request.body).await?;
    }
    Ok(())
}

async fn receive(
    stream: &mut TcpStream,
    unread: &mut Vec<u8>,
    bodiless: bool,
    piece: &mut impl FnMut(&[u8]),
) -> Result<Answer> {
    let head = loop {
        if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = unread.split_off(at + 4);
            break std::mem::replace(unread, rest);
        }
        ensure!(unread.len() <= HEAD_BYTES_MAX, "the head of the answer has no end");
        more(stream, unread).await?;
    };
    let status: u16 = head
        .get(9..12)
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse().ok())
        .context("the answer has no status")?;
    if !bodiless && status != 204 && status != 304 {
        if header(&head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            receive_chunks(stream, unread, piece).await?;
        } else if let Some(length) = header(&head, "content-length") {
            receive_exactly(stream, unread, length.parse().context("content-length")?, piece).await?;
        } else {
            bail!("the answer has neither a length nor chunks");
        }
    }
    Ok(Answer { status, head, body: Vec::new() })
}

async fn receive_chunks(
    stream: &mut TcpStream,
    unread: &mut Vec<u8>,
    piece: &mut impl FnMut(&[u8]),
) -> Result<()> {
    loop {
        let line = line(stream, unread).await?;
        let length = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
            .context("chunk length")?;
        if length == 0 {
            while !self::line(stream, unread).await?.is_empty() {}
            return Ok(());
        }
        receive_exactly(stream, unread, length, piece).await?;
        ensure!(self::line(stream, unread).await?.is_empty(), "a chunk does not end where it should");
    }
}

async fn line(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Result<String> {
    loop {
        if let Some(at) = unread.windows(2).position(|window| window == b"\r\n") {
            let rest = unread.split_off(at + 2);
            let mut line = std::mem::replace(unread, rest);
            line.truncate(at);
            return Ok(String::from_utf8(line)?);
        }
        ensure!(unread.len() <= HEAD_BYTES_MAX, "a line of the answer has no end");
        more(stream, unread).await?;
    }
}

async fn receive_exactly(
    stream: &mut TcpStream,
    unread: &mut Vec<u8>,
    mut length: usize,
    piece: &mut impl FnMut(&[u8]),
) -> Result<()> {
    loop {
        let usable = unread.len().min(length);
        piece(&unread[..usable]);
        unread.drain(..usable);
        length -= usable;
        if length == 0 {
            return Ok(());
        }
        more(stream, unread).await?;
    }
}

async fn more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Result<()> {
    unread.reserve(READ_BYTES);
    ensure!(stream.read_buf(unread).await? > 0, "the server closed the connection");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn answered(bytes: &'static [&'static [u8]], head: &str) -> Result<Answer> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let serve = async {
            let (mut stream, _) = listener.accept().await?;
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await?;
            for part in bytes {
                stream.write_all(part).await?;
                stream.flush().await?;
                tokio::task::yield_now().await;
            }
            anyhow::Ok(())
        };
        let mut connection = Connection::new(address);
        let request = Request { head: format!("{head} / HTTP/1.1\r\n\r\n").into_bytes(), body: Bytes::new() };
        let (served, answer) = tokio::join!(serve, connection.exchange(&request));
        served?;
        answer
    }

    #[tokio::test]
    async fn a_body_with_a_length_arrives_whole_however_it_is_cut() {
        let answer =
            answered(&[b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 5\r\nETag: \"x\"\r\n\r\nhe", b"llo"], "GET")
                .await
                .expect("answer");
        assert_eq!(
            (answer.status, answer.body.as_slice(), answer.header("etag")),
            (200, &b"hello"[..], Some("\"x\""))
        );
    }

    #[tokio::test]
    async fn chunks_are_joined() {
        let answer = answered(
            &[
                b"HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r",
                b"\n2;x=y\r\nde\r\n0\r\n\r\n",
            ],
            "GET",
        )
        .await
        .expect("answer");
        assert_eq!((answer.status, answer.body.as_slice()), (404, &b"abcde"[..]));
    }

    #[tokio::test]
    async fn an_answer_to_head_has_no_body_whatever_its_length_says() {
        let answer =
            answered(&[b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"], "HEAD").await.expect("answer");
        assert_eq!((answer.status, answer.body.len()), (200, 0));
    }

    #[tokio::test]
    async fn a_body_cut_short_is_an_error() {
        assert!(answered(&[b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"], "GET").await.is_err());
    }
}
