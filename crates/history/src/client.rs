//! A client that calls through both doors and records what it called and what it was answered.

use crate::event::{Answer, Call, Content, Expected, Key, Moment, NEVER, Operation, Value};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use millpond_bench::chance::Chance;
use millpond_bench::site::{Payload, Site, content_md5, encode, md5_of};
use millpond_bench::wire::{self, Connection, Request};
use serde_json::{Value as Json, json};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How long to wait before a request is repeated.
const PAUSE: Duration = Duration::from_millis(2);
/// When a request has had no answer for this long, the run is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// One answered change in so many is sent once more with its key.
const ECHO_ONE_IN: u64 = 16;
/// One change without an answer in so many is left at that.
const GIVE_UP_ONE_IN: u64 = 3;
/// Keys of a page of an S3 listing, of few keys and of many.
const PAGE_KEYS: (usize, usize) = (7, 300);
/// More keys than these are many.
const KEYS_FEW: usize = 200;

/// What the clients of an episode share.
pub struct Record {
    /// How to address the server.
    pub site: Site,
    /// The repository.
    pub repository: String,
    /// The branch that the history is about.
    pub branch: String,
    started: Instant,
    /// What happened.
    pub operations: RefCell<Vec<Operation>>,
    /// Operations done, those that the history does not hold included.
    pub done: Cell<u64>,
    /// Answers that no rule speaks of.
    pub unexpected: RefCell<Vec<String>>,
    /// Requests that were repeated with their key.
    pub repeated: Cell<u64>,
    /// Moments of the kills so far.
    pub kills: RefCell<Vec<Moment>>,
    /// How many servers have run before the present one.
    pub generation: Cell<usize>,
    values: RefCell<HashMap<String, Value>>,
    next_value: Cell<Value>,
    next_key: Cell<u64>,
}

impl Record {
    /// An empty record of a branch.
    pub fn new(site: Site, repository: &str, branch: &str) -> Self {
        Self {
            site,
            repository: repository.to_owned(),
            branch: branch.to_owned(),
            started: Instant::now(),
            operations: RefCell::default(),
            done: Cell::new(0),
            unexpected: RefCell::default(),
            repeated: Cell::new(0),
            kills: RefCell::default(),
            generation: Cell::new(0),
            values: RefCell::default(),
            next_value: Cell::new(1),
            next_key: Cell::new(1),
        }
    }

    /// Now.
    pub fn now(&self) -> Moment {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(NEVER - 1)
    }

    /// `/repositories/{repository}` and what follows.
    pub fn below(&self, rest: &str) -> String {
        format!("/repositories/{}{rest}", self.repository)
    }

    /// A content that nothing else has, and its number.
    fn new_value(&self) -> (Value, Bytes) {
        let value = self.next_value.replace(self.next_value.get() + 1);
        let body = Bytes::from(format!("v{value} of {} {}", self.branch, "x".repeat(value as usize % 50)));
        self.values.borrow_mut().insert(hex::encode(md5_of(&body)), value);
        (value, body)
    }

    fn etag(&self, value: Value) -> String {
        let values = self.values.borrow();
        values.iter().find(|(_, v)| **v == value).map_or(String::new(), |(etag, _)| etag.clone())
    }

    /// The number of a content. One that no client of this episode wrote has the number 0.
    fn value_of(&self, etag: &str) -> Value {
        self.values.borrow().get(etag.trim_matches('"')).copied().unwrap_or(0)
    }

    /// Notes an answer that no rule speaks of.
    pub fn complain(&self, complaint: String) {
        self.unexpected.borrow_mut().push(complaint);
    }

    /// Everything that a ref shows, as `objects/ls` pages.
    pub fn content_of_page(&self, page: &Json) -> Content {
        let items = page["results"].as_array().cloned().unwrap_or_default();
        let text = |item: &Json, name: &str| item[name].as_str().unwrap_or_default().to_owned();
        items.iter().map(|item| (text(item, "path"), self.value_of(&text(item, "checksum")))).collect()
    }
}

/// One of several clients.
pub struct Client {
    /// Its number.
    pub number: usize,
    /// Its choices.
    pub chance: Chance,
    /// Where it records.
    pub record: Rc<Record>,
    connection: Connection,
    /// How many keys the last listing showed.
    listed: usize,
}

/// An answer to a change, or that there was none.
enum Outcome {
    Answered(wire::Answer),
    /// It may have happened up to this moment.
    Unknown(Moment),
}

impl Client {
    /// A client; nothing is sent yet.
    pub fn new(number: usize, seed: u64, record: Rc<Record>) -> Self {
        let connection = Connection::new(record.site.address);
        let chance = Chance::new(millpond_bench::chance::scramble(seed ^ (number as u64 + 1) << 32));
        Self { number, chance, record, connection, listed: 0 }
    }

    fn note(&self, call: Call, invoked: Moment, ended: Moment, answer: Answer) {
        let operation = Operation { client: self.number, call, invoked, ended, answer };
        self.record.operations.borrow_mut().push(operation);
        self.record.done.set(self.record.done.get() + 1);
    }

    /// A read. `None`: no answer, which says nothing.
    pub async fn ask(&mut self, request: Request) -> Option<wire::Answer> {
        match self.connection.exchange(&request).await {
            Ok(answer) if matches!(answer.status, 503 | 429) => None,
            Ok(answer) => Some(answer),
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                None
            }
        }
    }

    /// A change, sent again with its key until it is answered, unless it may be given up.
    async fn change(&mut self, make: impl Fn(&Site) -> Request, may_give_up: bool) -> Result<Outcome> {
        let number = self.record.next_key.replace(self.record.next_key.get() + 1);
        let key = format!("{}-{number}", self.record.branch);
        let asked = Instant::now();
        let mut first = true;
        loop {
            let generation = self.record.generation.get();
            let request = make(&self.record.site).with_header("Idempotency-Key", &key);
            match self.connection.exchange(&request).await {
                Ok(answer) if is_to_be_repeated(&answer) => {}
                Ok(answer) => {
                    if (200..300).contains(&answer.status) && self.chance.one_in(ECHO_ONE_IN) {
                        self.echo(&make, &key, &answer).await;
                    }
                    return Ok(Outcome::Answered(answer));
                }
                Err(_) if first && may_give_up && self.chance.one_in(GIVE_UP_ONE_IN) => {
                    // A request to a server that was killed cannot happen later than that.
                    let killed = self.record.kills.borrow().get(generation).copied();
                    let same = self.record.generation.get() == generation;
                    return Ok(Outcome::Unknown(killed.filter(|_| same).unwrap_or(NEVER)));
                }
                Err(error) if asked.elapsed() > PATIENCE => return Err(error.context("no answer for long")),
                Err(_) => self.record.repeated.set(self.record.repeated.get() + 1),
            }
            if asked.elapsed() > PATIENCE {
                bail!("a change is answered with 'later' for {PATIENCE:?}");
            }
            first = false;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The same change once more with its key: the answer must be the same.
    async fn echo(&mut self, make: &impl Fn(&Site) -> Request, key: &str, first: &wire::Answer) {
        let request = make(&self.record.site).with_header("Idempotency-Key", key);
        let Ok(again) = self.connection.exchange(&request).await else { return };
        if is_to_be_repeated(&again) {
            return;
        }
        self.record.repeated.set(self.record.repeated.get() + 1);
        let told = |answer: &wire::Answer| {
            (answer.status, answer.header("etag").map(str::to_owned), answer.body.clone())
        };
        if told(first) != told(&again) {
            let (first, again) = (first.excerpt(), again.excerpt());
            self.record.complain(format!("key {key}: answered '{first}' and then '{again}'"));
        }
    }

    /// Waits for the answer of a change that the history does not hold; anything but success is told.
    pub async fn prepare(&mut self, make: impl Fn(&Site) -> Request) -> Result<()> {
        match self.change(&make, false).await? {
            Outcome::Answered(answer) if answer.is_success() => {}
            Outcome::Answered(answer) => {
                let request = make(&self.record.site);
                let line = String::from_utf8_lossy(&request.head).lines().next().unwrap_or("").to_owned();
                self.record.complain(format!("{line}: {} {}", answer.status, answer.excerpt()));
            }
            Outcome::Unknown(_) => self.record.complain("a change was given up".into()),
        }
        self.record.done.set(self.record.done.get() + 1);
        Ok(())
    }

    /// Notes a change; `read` makes an answer of status and answer, or does not know it.
    async fn changed(
        &mut self,
        call: Call,
        may_give_up: bool,
        make: impl Fn(&Site) -> Request,
        read: impl Fn(&wire::Answer) -> Option<Answer>,
    ) -> Result<Answer> {
        let invoked = self.record.now();
        let (ended, answer) = match self.change(make, may_give_up).await? {
            Outcome::Unknown(ended) => (ended, Answer::Unknown),
            Outcome::Answered(answer) => {
                let known = read(&answer);
                if known.is_none() {
                    self.record.complain(format!("{call:?}: {} {}", answer.status, answer.excerpt()));
                }
                (self.record.now(), known.unwrap_or(Answer::Unknown))
            }
        };
        self.note(call, invoked, ended, answer.clone());
        Ok(answer)
    }

    /// Writes an object with a new content; gives the content if that was done.
    pub async fn put(&mut self, key: &str, expected: Expected, may_give_up: bool) -> Result<Option<Value>> {
        let (value, body) = self.record.new_value();
        let call = Call::Put(key.to_owned(), value, expected);
        let (branch, repository) = (self.record.branch.clone(), self.record.repository.clone());
        // The JSON API has no If-Match.
        let by_s3 = matches!(expected, Expected::Exactly(_)) || self.chance.one_in(2);
        let condition = match expected {
            Expected::Anything => None,
            Expected::Nothing => Some(("If-None-Match", "*".to_owned())),
            Expected::Exactly(value) => Some(("If-Match", format!("\"{}\"", self.record.etag(value)))),
        };
        let payload = if self.chance.one_in(2) { Payload::Signed } else { Payload::Trailer };
        let make = |site: &Site| {
            let request = if by_s3 {
                let path = format!("{repository}/{branch}/{key}");
                site.s3_with("PUT", &path, &[], &[], payload, body.clone())
            } else {
                let path = encode(key, false);
                let target = format!("/repositories/{repository}/branches/{branch}/objects?path={path}");
                site.api_with("POST", &target, "application/octet-stream", body.clone())
            };
            match &condition {
                Some((name, wanted)) => request.with_header(name, wanted),
                None => request,
            }
        };
        let conditional = expected != Expected::Anything;
        let read = |answer: &wire::Answer| match answer.status {
            200 | 201 => Some(Answer::Done),
            412 if conditional => Some(Answer::Refused),
            // If-Match on nothing.
            404 if conditional && by_s3 && answer.excerpt().contains("NoSuchKey") => Some(Answer::Refused),
            _ => None,
        };
        let answer = self.changed(call, may_give_up, make, read).await?;
        Ok((answer == Answer::Done).then_some(value))
    }

    /// Deletes objects in one call.
    pub async fn delete(&mut self, keys: &[Key], may_give_up: bool) -> Result<()> {
        let call = Call::Delete(keys.to_vec());
        let (branch, repository) = (self.record.branch.clone(), self.record.repository.clone());
        let by_s3 = self.chance.one_in(2);
        let make = |site: &Site| match (keys, by_s3) {
            ([key], true) => site.s3("DELETE", &format!("{repository}/{branch}/{key}"), &[], &[]),
            ([key], false) => {
                let path = encode(key, false);
                let target = format!("/repositories/{repository}/branches/{branch}/objects?path={path}");
                site.api("DELETE", &target, None)
            }
            (_, true) => {
                let objects: String =
                    keys.iter().map(|key| format!("<Object><Key>{branch}/{key}</Key></Object>")).collect();
                let body = format!("<Delete>{objects}</Delete>");
                let md5 = content_md5(body.as_bytes());
                let extra = [("content-md5", md5.as_str())];
                site.s3_with("POST", &repository, &[("delete", "")], &extra, Payload::Signed, body.into())
            }
            (_, false) => {
                let target = format!("/repositories/{repository}/branches/{branch}/objects/delete");
                site.api("POST", &target, Some(&json!({"paths": keys})))
            }
        };
        let read = |answer: &wire::Answer| match answer.status {
            204 => Some(Answer::Done),
            200 if !answer.excerpt().contains("<Error>") && !answer.excerpt().contains("status_code") => {
                Some(Answer::Done)
            }
            _ => None,
        };
        self.changed(call, may_give_up, make, read).await.map(drop)
    }

    /// Reads an object.
    pub async fn get(&mut self, key: &str) -> Option<Value> {
        let record = self.record.clone();
        let request = if self.chance.one_in(2) {
            record.site.s3("GET", &format!("{}/{}/{key}", record.repository, record.branch), &[], &[])
        } else {
            let path = encode(key, false);
            let rest = format!("/refs/{}/objects?path={path}", record.branch);
            record.site.api("GET", &record.below(&rest), None)
        };
        let invoked = record.now();
        let answer = self.ask(request).await?;
        let found = match answer.status {
            200 => Some(record.value_of(&hex::encode(md5_of(&answer.body)))),
            404 => None,
            status => {
                record.complain(format!("get {key}: {status} {}", answer.excerpt()));
                return None;
            }
        };
        self.note(Call::Get(key.to_owned()), invoked, record.now(), Answer::Value(found));
        found
    }

    /// Lists the whole branch, in one page or in many of one state.
    pub async fn list(&mut self) -> Option<Content> {
        let in_pages = self.chance.one_in(2);
        self.list_as(in_pages).await
    }

    /// Lists the whole branch.
    pub async fn list_as(&mut self, in_pages: bool) -> Option<Content> {
        let record = self.record.clone();
        let invoked = record.now();
        let (content, ended) = if !in_pages {
            let rest = format!("/refs/{}/objects/ls?amount=1000", record.branch);
            let answer = self.ask(record.site.api("GET", &record.below(&rest), None)).await?;
            let Some(page) = answer.is_success().then(|| answer.json().ok()).flatten() else {
                record.complain(format!("list: {} {}", answer.status, answer.excerpt()));
                return None;
            };
            if page["pagination"]["has_more"] == true {
                // More than one page has: only the tokens of S3 pin a moment.
                self.list_pages().await?
            } else {
                (record.content_of_page(&page), record.now())
            }
        } else {
            self.list_pages().await?
        };
        self.listed = content.len();
        self.note(Call::List, invoked, ended, Answer::Content(content.clone()));
        Some(content)
    }

    /// By S3: the tokens pin the state of the first page, so the listing is of a moment before its end.
    async fn list_pages(&mut self) -> Option<(Content, Moment)> {
        let record = self.record.clone();
        let branch = format!("{}/", record.branch);
        let (mut content, mut token, mut ended) = (Content::new(), String::new(), None);
        let kills = record.generation.get();
        loop {
            let count = if self.listed <= KEYS_FEW { PAGE_KEYS.0 } else { PAGE_KEYS.1 }.to_string();
            let mut query =
                vec![("list-type", "2"), ("max-keys", count.as_str()), ("prefix", branch.as_str())];
            if !token.is_empty() {
                query.insert(0, ("continuation-token", &token));
            }
            let answer = self.ask(record.site.s3("GET", &record.repository, &query, &[])).await?;
            if !answer.is_success() {
                // What a token pins does not survive the server.
                if token.is_empty() || record.generation.get() == kills {
                    record.complain(format!("list: {} {}", answer.status, answer.excerpt()));
                }
                return None;
            }
            ended = ended.or(Some(record.now()));
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            for object in text.split("<Contents>").skip(1) {
                let part = |name: &str| millpond_bench::site::element(object, name).unwrap_or_default();
                let key = part("Key").strip_prefix(&branch).unwrap_or_default().to_owned();
                let etag = part("ETag").replace("&quot;", "\"");
                if content.insert(key.clone(), record.value_of(&etag)).is_some() {
                    record.complain(format!("a listing shows '{key}' twice"));
                }
            }
            match millpond_bench::site::element(&text, "NextContinuationToken") {
                Some(next) => token = next.to_owned(),
                None => return Some((content, ended?)),
            }
        }
    }

    /// Commits.
    pub async fn commit(&mut self, message: &str, may_give_up: bool) -> Result<()> {
        let target = self.record.below(&format!("/branches/{}/commits", self.record.branch));
        let body = json!({"message": message});
        let read = |answer: &wire::Answer| match answer.status {
            201 => Some(Answer::Commit(answer.json().ok()?["id"].as_str()?.to_owned())),
            400 if answer.excerpt().contains("no changes") => Some(Answer::NoChanges),
            _ => None,
        };
        let make = |site: &Site| site.api("POST", &target, Some(&body));
        self.changed(Call::Commit(message.to_owned()), may_give_up, make, read).await.map(drop)
    }

    /// Merges a branch that adds `added` into the history's branch.
    pub async fn merge(&mut self, source: &str, message: &str, added: Content) -> Result<()> {
        let target = self.record.below(&format!("/refs/{source}/merge/{}", self.record.branch));
        let body = json!({"message": message});
        let read = |answer: &wire::Answer| match answer.status {
            200 => Some(Answer::Commit(answer.json().ok()?["reference"].as_str()?.to_owned())),
            _ => None,
        };
        let make = |site: &Site| site.api("POST", &target, Some(&body));
        self.changed(Call::Merge(message.to_owned(), added), false, make, read).await.map(drop)
    }

    /// Writes an object with a new content to another branch than the history's.
    pub async fn put_elsewhere(&mut self, branch: &str, key: &str) -> Result<Value> {
        let (value, body) = self.record.new_value();
        let path = encode(key, false);
        let target = self.record.below(&format!("/branches/{branch}/objects?path={path}"));
        self.prepare(|site| site.api_with("POST", &target, "application/octet-stream", body.clone())).await?;
        Ok(value)
    }

    /// Reads where the head is.
    pub async fn head(&mut self) -> Option<String> {
        let record = self.record.clone();
        let invoked = record.now();
        let target = record.below(&format!("/branches/{}", record.branch));
        let answer = self.ask(record.site.api("GET", &target, None)).await?;
        let id = answer.json().ok().and_then(|json| Some(json["commit_id"].as_str()?.to_owned()));
        match id.filter(|_| answer.is_success()) {
            Some(id) => {
                self.note(Call::Head, invoked, record.now(), Answer::Commit(id.clone()));
                Some(id)
            }
            None => {
                record.complain(format!("head: {} {}", answer.status, answer.excerpt()));
                None
            }
        }
    }

    /// Any request, once.
    pub async fn send(&mut self, request: &Request) -> Result<wire::Answer> {
        self.connection.exchange(request).await
    }

    /// A read that must succeed, as JSON.
    pub async fn fetch(&mut self, target: &str) -> Result<Json> {
        let request = self.record.site.api("GET", target, None);
        let answer = self.connection.exchange(&request).await?;
        answer.success().with_context(|| target.to_owned())?.json()
    }
}

/// The server asks to come back.
fn is_to_be_repeated(answer: &wire::Answer) -> bool {
    matches!(answer.status, 503 | 429) || answer.status == 409 && answer.excerpt().contains("still running")
}
