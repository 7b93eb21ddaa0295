//! Clients that hold what they do not use. Each must lose its connection in the time that the bounds say, by the
//! clock of the test; the slow but steady ones must not.

use super::tests::{Running, get, start_with};
use super::tls::tests::write_certificate;
use super::*;
use millpond_types::limits::{BODY_HELD_BYTES_MAX, CONNECTION_SHARE};
use std::pin::Pin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Reads until the server ends the connection, in whatever way; what came.
async fn until_the_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    drop(stream.read_to_end(&mut all).await);
    all
}

async fn is_well(server: &Running) {
    assert!(server.ask(&get("/", "")).await.starts_with("HTTP/1.1 200"));
}

type Misbehaviour = Pin<Box<dyn Future<Output = ()>>>;

/// Lets a client misbehave; it must be rid of after so many seconds and not much later.
async fn rid_of(
    what: &str,
    seconds: u64,
    server: &Running,
    misbehave: impl FnOnce(TcpStream) -> Misbehaviour,
) {
    let began = Instant::now();
    let client = server.connect().await;
    misbehave(client).await;
    let took = began.elapsed().as_secs();
    assert!((seconds..=seconds + 2).contains(&took), "{what}: {took} s");
    is_well(server).await;
}

#[tokio::test(start_paused = true)]
async fn http1_clients_that_hold_what_they_do_not_use() {
    let server = start_with(None, Bounds::default()).await;
    rid_of("silent from the start", 20, &server, |mut client| {
        Box::pin(async move { assert_eq!(until_the_end(&mut client).await, b"") })
    })
    .await;
    rid_of("head byte by byte", 10, &server, |mut client| {
        Box::pin(async move {
            while client.write_all(b"G").await.is_ok() {
                sleep(Duration::from_millis(500)).await;
            }
        })
    })
    .await;
    rid_of("idle behind a request", 75, &server, |mut client| {
        Box::pin(async move {
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
            assert!(until_the_end(&mut client).await.starts_with(b"HTTP/1.1 200"));
        })
    })
    .await;
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";
    rid_of("silent in the body", 60, &server, move |mut client| {
        Box::pin(async move {
            client.write_all(head.as_bytes()).await.expect("sent");
            let answer = String::from_utf8(until_the_end(&mut client).await).expect("UTF-8");
            assert!(answer.contains("the client sent too little"), "{answer}");
        })
    })
    .await;
    rid_of("ten bytes of body a second", 60, &server, move |mut client| {
        Box::pin(async move {
            client.write_all(head.as_bytes()).await.expect("sent");
            while client.write_all(b"0123456789").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        })
    })
    .await;
    rid_of("half-closed in the body", 0, &server, move |mut client| {
        Box::pin(async move {
            client.write_all(head.as_bytes()).await.expect("sent");
            client.shutdown().await.expect("half closed");
            until_the_end(&mut client).await;
        })
    })
    .await;
}

/// By the system's clock, because the system judges it.
#[tokio::test]
async fn a_client_that_never_reads_is_cut_off() {
    let bounds = Bounds { connections_max: 1, stalled: Duration::from_secs(1), ..Bounds::default() };
    let server = start_with(None, bounds).await;
    let mut client = server.connect().await;
    client.write_all(get("/endless", "").as_bytes()).await.expect("sent");
    // It has the only place once it was answered.
    client.read_exact(&mut [0; 12]).await.expect("an answer");
    while !server.ask(&get("/", "")).await.starts_with("HTTP/1.1 200") {
        sleep(Duration::from_millis(20)).await;
    }
}

/// The socket is full all the time; that the client takes something now and then is seen by the system only, whose clock
/// stands still here compared with the test's.
#[tokio::test(start_paused = true)]
async fn a_slow_but_steady_download_is_not_cut() {
    let server = start_with(None, Bounds::default()).await;
    let mut client = server.connect().await;
    client.write_all(get("/endless", "").as_bytes()).await.expect("sent");
    // Far more than the buffers of the system hold.
    let mut piece = vec![0; 1 << 20];
    for _ in 0..64 {
        client.read_exact(&mut piece).await.expect("not cut");
        sleep(Duration::from_secs(1000)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_but_steady_upload_is_not_cut() {
    let server = start_with(None, Bounds::default()).await;
    let mut client = server.connect().await;
    let seconds = 600;
    let head = format!(
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        seconds * 2000
    );
    client.write_all(head.as_bytes()).await.expect("sent");
    for _ in 0..seconds {
        client.write_all(&[b'x'; 2000]).await.expect("still open");
        sleep(Duration::from_secs(1)).await;
    }
    let answer = until_the_end(&mut client).await;
    assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(&[b'x'; 2000]));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_never_finished_is_cut_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let (files, _) = write_certificate(folder.path());
    let server = start_with(Some(Certificates::load(files).expect("loads")), Bounds::default()).await;
    for start in [&b"\x16"[..], b"\x16\x03\x01\x02\x00\x01\x00"] {
        rid_of("handshake", 20, &server, |mut client| {
            Box::pin(async move {
                client.write_all(start).await.expect("sent");
                until_the_end(&mut client).await;
            })
        })
        .await;
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).expect("short").to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// `POST /` of so many bytes, or of nobody knows how many, without one of them.
fn promise(stream: u32, bytes: Option<usize>) -> Vec<u8> {
    let mut block = vec![0x83, 0x86, 0x84, 0x01, 1, b'a'];
    if let Some(length) = bytes.map(|bytes| bytes.to_string()) {
        block.extend([0x0f, 0x0d, u8::try_from(length.len()).expect("short")]);
        block.extend(length.as_bytes());
    }
    frame(HEADERS, 0x4, stream, &block)
}

/// `GET path`, whole: static table entries for method and scheme, literals for path and authority.
fn request(stream: u32, path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).expect("short")];
    block.extend(path.as_bytes());
    block.extend([0x01, 1, b'a']);
    frame(HEADERS, 0x5, stream, &block)
}

fn preface(settings: &[u8]) -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(SETTINGS, 0, 0, settings).as_slice()].concat()
}

/// Takes one frame: kind and payload. None when the server has ended the connection.
async fn next_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    if head[3] == PING && head[4] == 0 {
        stream.write_all(&frame(PING, 1, 0, &payload)).await.ok()?;
    }
    Some((head[3], payload))
}

/// Takes frames until the server ends the connection.
async fn frames(stream: &mut TcpStream) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(frame) = next_frame(stream).await {
        all.push(frame);
    }
    all
}

/// One client asks for all there is, and sends nothing of what it has promised.
#[tokio::test]
async fn one_connection_cannot_hold_all_places_and_all_memory() {
    const REQUESTS_MAX: usize = 16;
    for promised in [Some(1 << 30), None] {
        let body_memory_bytes = CONNECTION_SHARE * BODY_HELD_BYTES_MAX as usize;
        let bounds = Bounds { requests_max: REQUESTS_MAX, body_memory_bytes, ..Bounds::default() };
        let server = start_with(None, bounds).await;
        let mut hostile = server.connect().await;
        let all = (0..STREAMS_MAX).flat_map(|number| promise(number * 2 + 1, promised));
        hostile.write_all(&[preface(&[]), all.collect()].concat()).await.expect("sent");
        // It has all it will ever have once it was told no for the rest.
        let mut refused = 0;
        while refused < STREAMS_MAX as usize - REQUESTS_MAX / CONNECTION_SHARE {
            let (kind, _) = next_frame(&mut hostile).await.expect("still open");
            refused += usize::from(kind == HEADERS);
        }
        // The rest of the memory is for others, all of it at the same time.
        let body = "x".repeat(BODY_HELD_BYTES_MAX as usize - 1);
        let put = format!(
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let mut others = Vec::new();
        for _ in 1..CONNECTION_SHARE {
            let mut other = server.connect().await;
            other.write_all(put.as_bytes()).await.expect("sent");
            // It has its memory when it may go on.
            other.read_exact(&mut [0; 25]).await.expect("100 Continue");
            others.push(other);
        }
        for mut other in others {
            other.write_all(body.as_bytes()).await.expect("sent");
            assert!(until_the_end(&mut other).await.starts_with(b"HTTP/1.1 200"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn http2_clients_that_hold_what_they_do_not_use() {
    let server = start_with(None, Bounds::default()).await;
    rid_of("preface and nothing else", 20, &server, |mut client| {
        Box::pin(async move {
            client.write_all(&preface(&[])).await.expect("sent");
            frames(&mut client).await;
        })
    })
    .await;
    rid_of("idle, but awake", 75, &server, |mut client| {
        Box::pin(async move {
            client.write_all(&[preface(&[]), request(1, "/")].concat()).await.expect("sent");
            assert!(frames(&mut client).await.iter().any(|(kind, _)| *kind == HEADERS), "it was answered");
        })
    })
    .await;
    rid_of("no window for the response", 60, &server, |mut client| {
        Box::pin(async move {
            let no_window = [0, 4, 0, 0, 0, 0];
            client.write_all(&[preface(&no_window), request(1, "/endless")].concat()).await.expect("sent");
            assert!(frames(&mut client).await.iter().any(|(kind, _)| *kind == HEADERS));
        })
    })
    .await;
    rid_of("a window once, and never again", 60, &server, |mut client| {
        Box::pin(async move {
            client.write_all(&[preface(&[]), request(1, "/endless")].concat()).await.expect("sent");
            frames(&mut client).await;
        })
    })
    .await;
}

/// One response stands still while another moves: the moving one is not cut, but the connection takes no more requests,
/// and it is cut when that one stands still, too.
#[tokio::test(start_paused = true)]
async fn a_stalled_stream_beside_one_that_moves() {
    const WINDOW: usize = 65_535;
    const PIECE: u32 = body::STREAM_PIECE_BYTES_MAX as u32;
    let window_update = |stream: u32, bytes: u32| frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
    let server = start_with(None, Bounds::default()).await;
    let mut client = server.connect().await;
    let requests = [preface(&[]), window_update(0, 1 << 30), request(1, "/endless"), request(3, "/endless")];
    client.write_all(&requests.concat()).await.expect("sent");
    let (mut expected, mut received, mut told_after) = (2 * WINDOW, 0, None);
    let began = Instant::now();
    for _ in 0..30 {
        while received < expected {
            match next_frame(&mut client).await.expect("still open") {
                (DATA, payload) => received += payload.len(),
                (GOAWAY, _) => told_after = told_after.or(Some(began.elapsed().as_secs())),
                _ => {}
            }
        }
        sleep(Duration::from_secs(10)).await;
        client.write_all(&window_update(3, PIECE)).await.expect("still open");
        expected += PIECE as usize;
    }
    let told_after = told_after.expect("told to go away");
    assert!((60..=130).contains(&told_after), "{told_after} s");
    let began = Instant::now();
    frames(&mut client).await;
    let took = began.elapsed().as_secs();
    assert!((60..=130).contains(&took), "{took} s");
    is_well(&server).await;
}

#[tokio::test]
async fn a_flood_of_streams_taken_back_is_ended() {
    let server = start_with(None, Bounds::default()).await;
    let mut client = server.connect().await;
    let mut flood = preface(&[]);
    for number in 0..1000 {
        flood.extend(request(number * 2 + 1, "/slow"));
        flood.extend(frame(RST_STREAM, 0, number * 2 + 1, &8_u32.to_be_bytes()));
    }
    client.write_all(&flood).await.expect("sent");
    let frames = frames(&mut client).await;
    let (_, goaway) = frames.iter().find(|(kind, _)| *kind == GOAWAY).expect("told to go away");
    assert_eq!(goaway[4..8], 11_u32.to_be_bytes(), "enhance your calm");
    is_well(&server).await;
}
