//! `millpond serve`.

use super::process::{Machine, contents};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use std::io::{Read, Write};

pub const KEYS: &[(&str, &str)] = &[
    ("MILLPOND_ADMIN_ACCESS_KEY_ID", "AKIATESTKEY"),
    ("MILLPOND_ADMIN_SECRET_ACCESS_KEY", "canary-secret-text"),
];

pub fn basic(id: &str, secret: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{id}:{secret}")))
}

#[test]
fn configured_keys_work_and_no_secret_is_logged_or_stored() {
    let machine = Machine::new();
    let server =
        machine.start("serve --data data --log-format json --log-level trace --log-requests all", KEYS);
    let right =
        server.get("/api/v1/user?X-Amz-Signature-Canary=1", &basic("AKIATESTKEY", "canary-secret-text"));
    assert!(right.starts_with("HTTP/1.1 200") && right.contains("admin"), "{right}");
    let wrong = server.get("/api/v1/user", &basic("AKIATESTKEY", "canary-wrong-text"));
    assert!(wrong.starts_with("HTTP/1.1 401"), "{wrong}");
    let signed = server.get("/metrics", "Authorization: AWS4-HMAC-SHA256 nonsense\r\n");
    assert!(signed.contains("<Error>"), "the S3 door answers what is signed: {signed}");
    let metrics = server.get("/metrics", "");
    assert!(metrics.contains("operation=\"getCurrentUser\",status=\"2xx\""), "{metrics}");
    let said = server.stop();
    for canary in
        ["canary-secret", "canary-wrong", "Signature-Canary", &STANDARD.encode("AKIATESTKEY:canary-se")[..20]]
    {
        assert!(!said.contains(canary), "{canary} in the log: {said}");
    }
    let line =
        said.lines().find(|line| line.contains("\"operation\":\"getCurrentUser\"")).expect("a request line");
    for part in [
        "\"request_id\":\"",
        "\"door\":\"http\"",
        "\"method\":\"GET\"",
        "\"path\":\"/api/v1/user\"",
        "\"status\":200",
        "\"ms\":",
        "\"sent\":",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    for (path, bytes) in contents(&machine.path("data")) {
        assert!(!bytes.windows(13).any(|w| w == b"canary-secret"), "in {}", path.display());
    }
}

#[test]
fn random_keys_are_shown_once() {
    let machine = Machine::new();
    let said = machine.start("serve --data data --log-format json", &[]).stop();
    let value = |name: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(name)).expect("shown");
        line.trim().to_owned()
    };
    let (id, secret) = (value("access key id"), value("secret access key"));
    let server = machine.start("serve --data data --log-format json", &[]);
    let answer = server.get("/api/v1/user", &basic(&id, &secret));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let said = server.stop();
    assert!(!said.contains(&secret), "{said}");
}

#[test]
fn sigterm_finishes_what_runs() {
    let machine = Machine::new();
    let server = machine.start("serve --data data --log-format json", KEYS);
    let auth = basic("AKIATESTKEY", "canary-secret-text");
    let body = "{\"name\":\"kept\",\"storage_namespace\":\"local://kept\"}";
    let mut stream = server.connect();
    write!(
        stream,
        "POST /api/v1/repositories HTTP/1.1\r\nHost: a\r\n{auth}Content-Type: application/json\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    )
    .expect("sent");
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).expect("the request is being worked on");
    server.signal(Signal::TERM);
    // The server has heard the signal once nobody can connect any more.
    while std::net::TcpStream::connect(&server.address).is_ok() {
        std::thread::yield_now();
    }
    stream.write_all(body.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let (status, said) = server.wait();
    assert!(status.success() && said.contains("Orderly"), "{said}");
    let server = machine.start("serve --data data --log-format json", KEYS);
    assert!(server.get("/api/v1/repositories/kept", &auth).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_kill_loses_nothing_acknowledged() {
    let machine = Machine::new();
    let auth = basic("AKIATESTKEY", "canary-secret-text");
    let server = machine.start("serve --data data --log-format json", KEYS);
    let body = "{\"name\":\"kept\",\"storage_namespace\":\"local://kept\"}";
    let mut stream = server.connect();
    write!(
        stream,
        "POST /api/v1/repositories HTTP/1.1\r\nHost: a\r\n{auth}Content-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    server.signal(Signal::KILL);
    server.wait();
    let server = machine.start("serve --data data --log-format json", KEYS);
    assert!(server.get("/api/v1/repositories/kept", &auth).starts_with("HTTP/1.1 200"));
}

#[test]
fn what_stands_in_the_way_is_said_with_what_to_type() {
    let machine = Machine::new();
    let server = machine.start("serve --data data", KEYS);
    let port_taken = machine.fails(&format!("serve --data other --listen {}", server.address));
    assert!(port_taken.contains("--listen 127.0.0.1:8001"), "{port_taken}");
    let data_taken = machine.fails("serve --data data --listen 127.0.0.1:0");
    assert!(data_taken.contains("--data") && data_taken.contains("kill "), "{data_taken}");
    server.stop();
    let key = machine.path(".config/millpond/master.key");
    std::fs::rename(&key, machine.path("away")).expect("moved");
    let no_key = machine.fails("serve --data data --listen 127.0.0.1:0");
    assert!(no_key.contains("--master-key-file") && !key.exists(), "{no_key}");
    let another = machine.start("serve --data fresh", KEYS);
    another.stop();
    let wrong_key = machine.fails("serve --data data --listen 127.0.0.1:0");
    assert!(wrong_key.contains("sealed with master key"), "{wrong_key}");
}

#[test]
fn config_explain_shows_where_values_come_from() {
    let machine = Machine::new();
    std::fs::write(machine.path("millpond.toml"), "[log]\nlevel = \"debug\"\n").expect("written");
    let text =
        machine.ok("config explain --data d --admin-access-key-id ABC --admin-secret-access-key hush-hush");
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).expect("a line").to_owned();
    assert!(line("log.level").contains("debug") && line("log.level").contains("millpond.toml"), "{text}");
    assert!(line("data").ends_with("--data") && line("listen").ends_with("default"), "{text}");
    assert!(!text.contains("hush"), "{text}");
}
