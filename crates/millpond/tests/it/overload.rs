//! Ten times as many clients as the server takes on at once, as fast as they can: it stays up, within its memory,
//! keeps every promise it made, and is well as soon as they are gone.
//!
//! `make overload T=60` runs it for a minute, on the release build: `MILLPOND_BIN` names it.

use super::process::Machine;
use super::serve::{KEYS, basic};
use std::collections::HashSet;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const REQUESTS_MAX: usize = 24;
const CLIENTS: usize = REQUESTS_MAX * 10;
/// Fewer than clients: some are beyond this bound, too.
const CONNECTIONS_MAX: usize = CLIENTS - 40;
const BODY_MEMORY_MIB: u64 = 16;
/// One client in so many sends objects that are larger than what is held of one at a time.
const LARGE_EVERY: usize = 16;
const LARGE_BYTES: usize = 3 << 20;
/// A stated bound, below what these bodies would take if all were let in, and with room for a debug build.
const RESIDENT_BYTES_MAX: u64 = 500 << 20;

/// What all clients saw.
#[derive(Default)]
struct Seen {
    acknowledged: HashSet<String>,
    latencies: Vec<Duration>,
    refused: u64,
    closed: u64,
    /// Neither served nor refused, or served otherwise than promised.
    wrong: Vec<String>,
}

/// What became of one exchange.
enum Outcome {
    Answer(u16, String),
    Closed,
    Forgotten,
}

fn exchange(stream: &mut BufReader<TcpStream>, request: &[u8]) -> Outcome {
    if stream.get_mut().write_all(request).is_err() {
        return Outcome::Closed;
    }
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        match stream.read_line(&mut head) {
            Ok(1..) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Outcome::Forgotten,
            _ => return Outcome::Closed,
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
    if stream.read_exact(&mut vec![0; length.unwrap_or(0)]).is_err() {
        return Outcome::Closed;
    }
    Outcome::Answer(head.get(9..12).and_then(|text| text.parse().ok()).unwrap_or(0), head)
}

/// One client, until it is told to stop.
fn client(number: usize, address: &str, auth: &str, over: &AtomicBool, seen: &Mutex<Seen>) {
    let body = vec![b'x'; if number.is_multiple_of(LARGE_EVERY) { LARGE_BYTES } else { 4096 }];
    let mut connection: Option<BufReader<TcpStream>> = None;
    for object in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let Some(stream) = connection.as_mut() else {
            if let Ok(stream) = TcpStream::connect(address) {
                // Whoever is neither served nor refused in this time has been forgotten.
                stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
                connection = Some(BufReader::new(stream));
            }
            continue;
        };
        let path = format!("{number}-{object}");
        let head = format!(
            "POST /api/v1/repositories/repo/branches/main/objects?path={path} HTTP/1.1\r\nHost: a\r\n{auth}\
             Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let sent = Instant::now();
        let outcome = exchange(stream, &[head.as_bytes(), &body].concat());
        let took = sent.elapsed();
        let mut seen = seen.lock().expect("no panic");
        match outcome {
            Outcome::Answer(201, _) => {
                seen.latencies.push(took);
                seen.acknowledged.insert(path);
            }
            Outcome::Answer(503, head) if head.contains("retry-after: ") => {
                seen.refused += 1;
                connection = connection.filter(|_| !head.contains("connection: close"));
            }
            Outcome::Answer(_, head) => seen.wrong.push(head),
            Outcome::Closed => {
                seen.closed += 1;
                connection = None;
            }
            Outcome::Forgotten => {
                seen.wrong.push(format!("no answer after {took:?}"));
                connection = None;
            }
        }
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "the figures are what it is run for by hand")]
fn ten_times_too_many_clients() {
    let seconds =
        std::env::var("MILLPOND_OVERLOAD_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let machine = Machine::new();
    // Nobody reads its log.
    let line = format!(
        "serve --data data --log-format json --log-requests none --requests-max {REQUESTS_MAX} \
         --connections-max {CONNECTIONS_MAX} --body-memory-mib {BODY_MEMORY_MIB}"
    );
    let server = machine.start(&line, KEYS);
    let auth = basic(KEYS[0].1, KEYS[1].1);
    let body = r#"{"name":"repo","storage_namespace":"local://repo"}"#;
    let create = format!(
        "POST /api/v1/repositories HTTP/1.1\r\nHost: a\r\n{auth}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let created = exchange(&mut BufReader::new(server.connect()), create.as_bytes());
    assert!(matches!(created, Outcome::Answer(201, _)));

    let resident = || {
        let metrics = server.try_get("/metrics", "").ok()?;
        let line = metrics.lines().find(|line| line.starts_with("process_resident_memory_bytes "))?;
        Some(line.split(' ').nth(1)?.parse::<f64>().ok()? as u64)
    };
    let before = resident().expect("metrics");
    let (over, seen) = (AtomicBool::new(false), Mutex::new(Seen::default()));
    let (mut peak, mut healthy, mut unanswered) = (0, 0, 0);
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (server, auth, over, seen) = (&server, &auth, &over, &seen);
            scope.spawn(move || client(number, &server.address, auth, over, seen));
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(seconds) {
            // One connection too many has five seconds, which a busy machine may take to give it a turn.
            match server.try_get("/api/v1/healthcheck", "") {
                Ok(answer) if answer.starts_with("HTTP/1.1 204") => healthy += 1,
                Ok(answer) => seen.lock().expect("no panic").wrong.push(answer),
                Err(_) => unanswered += 1,
            }
            peak = peak.max(resident().unwrap_or(0));
        }
        over.store(true, Ordering::Relaxed);
    });

    let mut seen = seen.into_inner().expect("no panic");
    seen.latencies.sort_unstable();
    let latency =
        |share: usize| seen.latencies.get(seen.latencies.len() * share / 100).copied().unwrap_or_default();
    println!(
        "{seconds} s, {CLIENTS} clients, {REQUESTS_MAX} requests at a time, {BODY_MEMORY_MIB} MiB for bodies: {} writes \
         acknowledged (p50 {:?}, p99 {:?}), {} refused with 503 and Retry-After, {} connections closed, health answered \
         {healthy} of {} times, resident {} MB before and at most {} MB",
        seen.acknowledged.len(),
        latency(50),
        latency(99),
        seen.refused,
        seen.closed,
        healthy + unanswered,
        before >> 20,
        peak >> 20
    );
    assert!(seen.wrong.is_empty(), "{:?}", seen.wrong);
    assert!(healthy > 0 && seen.refused > 0 && !seen.acknowledged.is_empty());
    assert!(peak < RESIDENT_BYTES_MAX, "{peak} bytes");
    // Well again, and every promise kept.
    assert!(server.get("/api/v1/healthcheck", "").starts_with("HTTP/1.1 204"));
    let (mut after, mut found) = (String::new(), HashSet::new());
    loop {
        let uri = format!("/api/v1/repositories/repo/refs/main/objects/ls?amount=1000&after={after}");
        let answer = server.get(&uri, &auth);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let paths: Vec<&str> =
            answer.split("\"path\":\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let Some(last) = paths.last() else { break };
        after = (*last).to_owned();
        found.extend(paths.iter().map(|path| (*path).to_owned()));
    }
    let lost: Vec<_> = seen.acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    server.stop();
}
