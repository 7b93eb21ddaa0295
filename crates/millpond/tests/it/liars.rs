//! The history checker can fail: between its clients and the real server stands a liar that breaks one promise, and
//! the checker must name that promise. An honest one between them breaks none.

use crate::history::on_stage;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use millpond_bench::wire::{Connection, Request};
use millpond_history::episode::{Accidents, Plan, Workload};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One lie is told for so many requests that it could be told for.
const ONE_IN: u64 = 4;
/// What comes late comes after so many other requests.
const LATE: u64 = 12;

/// What the liar does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// Nothing.
    Honest,
    /// What was done arrives again much later, with its idempotency key. (A refusal is not remembered.)
    ComesTwice,
    /// Writes of objects arrive twice, and nobody can know that they are the same.
    WriteComesTwice,
    /// The same with commits.
    CommitComesTwice,
    /// An object as it was when it was first read.
    StaleObject,
    /// A listing as it was at first.
    StaleListing,
    /// The branch's head as it was at first.
    StaleHead,
    /// A write whose condition does not hold is told to be done.
    SecondWinner,
    /// A conditional write that was done is told to be refused.
    NoWinner,
    /// A write that the server never sees is told to be done.
    LostWrite,
    /// The same with a deletion.
    LostDeletion,
    /// The same with a commit.
    LostCommit,
    /// The same with a merge.
    LostMerge,
    /// The first write of a pair is told to be done and arrives after the second.
    HalfAPair,
    /// The same with what a branch to be merged adds, which then never arrives.
    HalfAMerge,
    /// A commit is told to have nothing to commit.
    NothingToCommit,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Write { conditional: bool },
    Deletion,
    Commit,
    Merge,
    Object,
    Listing,
    Head,
    Other,
}

fn about(request: &Request) -> (About, String) {
    let head = String::from_utf8_lossy(&request.head).into_owned();
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default().to_owned());
    let lower = head.to_ascii_lowercase();
    let conditional = lower.contains("\r\nif-match:") || lower.contains("\r\nif-none-match:");
    let path = target.split('?').next().unwrap_or_default();
    let is_api = path.starts_with("/api/");
    let is_object = if is_api { path.ends_with("/objects") } else { path.matches('/').count() > 2 };
    let about = match method {
        "GET" if path.ends_with("/objects/ls") || target.contains("list-type=2") => About::Listing,
        "GET" if is_object => About::Object,
        "GET" if path.contains("/branches/") => About::Head,
        "PUT" if is_object => About::Write { conditional },
        "POST" if is_object && is_api => About::Write { conditional },
        "DELETE" if is_object => About::Deletion,
        "POST" if path.ends_with("/objects/delete") || target.ends_with("?delete=") => About::Deletion,
        "POST" if path.ends_with("/commits") => About::Commit,
        "POST" if path.contains("/merge/") => About::Merge,
        _ => About::Other,
    };
    (about, target)
}

#[derive(Clone)]
struct Reply {
    status: u16,
    etag: Option<String>,
    body: Vec<u8>,
}

impl Reply {
    fn invented(status: u16, body: &str) -> Self {
        Self { status, etag: None, body: body.as_bytes().to_vec() }
    }
    fn bytes(&self) -> Vec<u8> {
        let etag = self.etag.as_ref().map_or(String::new(), |etag| format!("etag: {etag}\r\n"));
        let length = match self.status {
            204 => String::new(),
            _ => format!("content-length: {}\r\n", self.body.len()),
        };
        let mut bytes = format!("HTTP/1.1 {} said\r\n{etag}{length}\r\n", self.status).into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// Stands between clients and server. One process of its own would lie no better.
struct Liar {
    server: SocketAddr,
    lie: Lie,
    /// Requests that a lie could be told for, and those for which one was told.
    chances: Cell<u64>,
    told: Cell<u64>,
    /// All requests.
    seen: Cell<u64>,
    /// What was first answered.
    first: RefCell<HashMap<String, Reply>>,
    /// What is sent when so many requests were seen.
    late: RefCell<Vec<(u64, Request)>>,
}

impl Liar {
    /// Begins to lie. Call within a [`tokio::task::LocalSet`].
    async fn begin(server: SocketAddr, lie: Lie) -> Result<(SocketAddr, Rc<Self>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let liar = Rc::new(Self {
            server,
            lie,
            chances: Cell::new(0),
            told: Cell::new(0),
            seen: Cell::new(0),
            first: RefCell::default(),
            late: RefCell::default(),
        });
        let shared = liar.clone();
        tokio::task::spawn_local(async move {
            while let Ok((client, _)) = listener.accept().await {
                let liar = shared.clone();
                // A connection that breaks is the client's to notice.
                tokio::task::spawn_local(async move { drop(liar.serve(client).await) });
            }
        });
        Ok((address, liar))
    }

    async fn serve(&self, mut client: TcpStream) -> Result<()> {
        client.set_nodelay(true)?;
        let mut server = Connection::new(self.server);
        let mut unread = Vec::new();
        while let Some(request) = receive(&mut client, &mut unread).await? {
            self.seen.set(self.seen.get() + 1);
            self.send_what_is_late().await?;
            let reply = self.answer(&mut server, &request).await?;
            client.write_all(&reply.bytes()).await?;
        }
        Ok(())
    }

    async fn send_what_is_late(&self) -> Result<()> {
        let seen = self.seen.get();
        let due: Vec<Request> = self
            .late
            .borrow_mut()
            .extract_if(.., |(at, _)| *at <= seen)
            .map(|(_, request)| request)
            .collect();
        for request in due {
            Connection::new(self.server).exchange(&request).await?;
        }
        Ok(())
    }

    /// Whether a lie is to be told now that there is a chance.
    fn lies(&self) -> bool {
        self.chances.set(self.chances.get() + 1);
        let lies = self.chances.get().is_multiple_of(ONE_IN);
        self.told.set(self.told.get() + u64::from(lies));
        lies
    }

    fn come_late(&self, request: Request) {
        self.late.borrow_mut().push((self.seen.get() + LATE, request));
    }

    async fn answer(&self, server: &mut Connection, request: &Request) -> Result<Reply> {
        let (about, target) = about(request);
        let whole = matches!(about, About::Write { conditional: false });
        // Lies instead of asking.
        match (self.lie, about) {
            (Lie::LostWrite, About::Write { conditional: false }) if self.lies() => {
                return Ok(Reply::invented(201, "{}"));
            }
            (Lie::LostDeletion, About::Deletion) if self.lies() => return Ok(Reply::invented(204, "")),
            (Lie::LostCommit, About::Commit) if self.lies() => {
                return Ok(Reply::invented(201, &format!("{{\"id\":\"{:064}\"}}", self.seen.get())));
            }
            (Lie::LostMerge, About::Merge) if self.lies() => {
                return Ok(Reply::invented(200, &format!("{{\"reference\":\"{:064}\"}}", self.seen.get())));
            }
            (Lie::NothingToCommit, About::Commit) if self.lies() => {
                return Ok(Reply::invented(400, "{\"message\":\"commit: no changes\"}"));
            }
            (Lie::HalfAPair, _)
                if whole && target.contains("own-") && target.ends_with('a') && self.lies() =>
            {
                self.come_late(request.clone());
                return Ok(Reply::invented(201, "{}"));
            }
            (Lie::HalfAMerge, _) if whole && target.ends_with('b') && self.lies() => {
                return Ok(Reply::invented(201, "{}"));
            }
            _ => {}
        }
        let answer = server.exchange(request).await?;
        let reply = Reply {
            status: answer.status,
            etag: answer.header("etag").map(str::to_owned),
            body: answer.body,
        };
        // Lies about the answer, and what is done behind the client's back.
        match (self.lie, about) {
            (Lie::ComesTwice, About::Write { .. } | About::Deletion | About::Commit)
                if reply.status < 300 && self.lies() =>
            {
                self.come_late(request.clone());
            }
            (Lie::WriteComesTwice, _) if whole && target.contains("shared") && self.lies() => {
                self.come_late(without_key(request));
            }
            (Lie::CommitComesTwice, About::Commit) if self.lies() => self.come_late(without_key(request)),
            (Lie::SecondWinner, About::Write { .. }) if reply.status == 412 && self.lies() => {
                return Ok(Reply::invented(200, ""));
            }
            (Lie::NoWinner, About::Write { conditional: true }) if reply.status < 300 && self.lies() => {
                return Ok(Reply::invented(412, ""));
            }
            (Lie::StaleObject, About::Object)
            | (Lie::StaleListing, About::Listing)
            | (Lie::StaleHead, About::Head)
                if reply.status == 200 =>
            {
                let first = self.first.borrow_mut().entry(target).or_insert_with(|| reply.clone()).clone();
                if first.body != reply.body && self.lies() {
                    return Ok(first);
                }
            }
            _ => {}
        }
        Ok(reply)
    }
}

/// The request as if it had been sent without an idempotency key.
fn without_key(request: &Request) -> Request {
    let head = String::from_utf8_lossy(&request.head).into_owned();
    let kept: Vec<&str> = head.split("\r\n").filter(|line| !line.starts_with("Idempotency-Key:")).collect();
    Request { head: kept.join("\r\n").into_bytes(), body: request.body.clone() }
}

/// The next request, or nothing if the client has gone.
async fn receive(client: &mut TcpStream, unread: &mut Vec<u8>) -> Result<Option<Request>> {
    let end = loop {
        if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if client.read_buf(unread).await? == 0 {
            return Ok(None);
        }
    };
    let rest = unread.split_off(end);
    let head = std::mem::replace(unread, rest);
    let text = std::str::from_utf8(&head).context("a head is text")?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    let length = length.unwrap_or(Ok(0))?;
    while unread.len() < length {
        ensure!(client.read_buf(unread).await? > 0, "the client left in the middle of a request");
    }
    let rest = unread.split_off(length);
    Ok(Some(Request { head, body: Bytes::from(std::mem::replace(unread, rest)) }))
}

/// The rule that a lie breaks, and words of the checker's story. Nothing where no promise is broken.
type MustSay = Option<(&'static str, &'static str)>;

#[test]
fn each_broken_promise_is_named() {
    use Workload::{Merging, Staging};
    let lies: [(Lie, Workload, MustSay); 17] = [
        (Lie::Honest, Staging, None),
        (Lie::Honest, Merging, None),
        (Lie::ComesTwice, Staging, None),
        (Lie::WriteComesTwice, Staging, Some(("register", "no order of these operations"))),
        (Lie::CommitComesTwice, Staging, Some(("chain", "twice"))),
        (Lie::StaleObject, Staging, Some(("register", "no order of these operations"))),
        (Lie::StaleListing, Staging, Some(("snapshot", "as after write"))),
        (Lie::StaleHead, Staging, Some(("head", "was seen before"))),
        (Lie::SecondWinner, Staging, Some(("register", "no order of these operations"))),
        (Lie::NoWinner, Staging, Some(("conservation", "a refused write is there"))),
        (Lie::LostWrite, Staging, Some(("conservation", "an acknowledged write is nowhere"))),
        (Lie::LostDeletion, Staging, Some(("register", "no order of these operations"))),
        (Lie::LostCommit, Staging, Some(("chain", "an acknowledged commit is lost"))),
        (Lie::LostMerge, Merging, Some(("chain", "an acknowledged commit is lost"))),
        (Lie::HalfAPair, Staging, Some(("snapshot", "as they never were"))),
        (Lie::HalfAMerge, Merging, Some(("merge", "lacks"))),
        (Lie::NothingToCommit, Staging, Some(("snapshot", "no commit of the time holds"))),
    ];
    on_stage(async |stage| {
        for (number, (lie, workload, must_say)) in (0..).zip(lies) {
            let (address, liar) = Liar::begin(stage.server(), lie).await.expect("a port");
            stage.lead_through(address);
            let plan =
                Plan { seed: number, clients: 6, operations: 400, workload, accidents: Accidents::default() };
            let (outcome, _) = stage.run(plan, number).await.expect("the episode runs");
            let said: Vec<String> =
                outcome.violations.iter().map(|v| format!("{}: {}", v.rule, v.story)).collect();
            let said = said.join("\n");
            match must_say {
                None => {
                    assert!(outcome.violations.is_empty(), "{lie:?}: {said}");
                    assert!(outcome.unexpected.is_empty(), "{lie:?}: {}", outcome.unexpected.join("\n"));
                    assert!(lie == Lie::Honest || liar.told.get() > 0, "{lie:?} came to nothing");
                }
                Some((rule, words)) => {
                    assert!(liar.told.get() > 0, "{lie:?} was never told");
                    let names =
                        |v: &&millpond_history::event::Violation| v.rule == rule && v.story.contains(words);
                    assert!(
                        outcome.violations.iter().find(names).is_some(),
                        "{lie:?} was told {} times, and this was said:\n{said}",
                        liar.told.get()
                    );
                }
            }
        }
    });
}
