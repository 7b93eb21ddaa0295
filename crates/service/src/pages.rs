//! Listing objects, with page tokens that pin the state listed (design.md 3.2, pages).
//!
//! A state without staged changes is named by its tree, so its token works on any server and after a
//! restart. A state with staged changes is kept in memory for an hour; after a restart its token is
//! refused with a clear 400, never answered from another state.

use crate::gate::{Caller, Service};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use millpond_auth::{Action, Resource};
use millpond_engine::{Error, Kind, ListItem, ListRequest, Result, Snapshot};
use millpond_types::limits::PINS_MAX;
use millpond_types::{NodeId, Reader, RefExpr, RepositoryName, TreeId, Writer};
use std::collections::HashMap;
use std::sync::Mutex;

/// How long a token is good, in milliseconds (1 h).
const PIN_MILLIS: i64 = 3600 * 1000;
/// Most staged changes that all kept states hold together, in entries (some 300 bytes each): states of one
/// branch share most of theirs, but nothing makes them.
const PINNED_ENTRIES_MAX: usize = 2_000_000;

/// A page of objects with a token that pins the state listed (valid 1 h, then [`Kind::Invalid`]).
pub struct Listing {
    /// In order.
    pub items: Vec<ListItem>,
    /// Whether more follow.
    pub has_more: bool,
    /// Continue with this and the same prefix and delimiter; opaque, URL-safe. Present when `has_more`,
    /// unless the listing is [`Pin::Unpinned`].
    pub pin: Option<String>,
}

/// Which state a page shows.
#[derive(Clone, Copy, Debug)]
pub enum Pin<'a> {
    /// The present one; later pages may show another (`after` continues).
    Unpinned,
    /// The present one, and later pages shall show it too.
    Start,
    /// The one that an earlier page's token names, after that page's last item.
    Continue(&'a str),
}

/// States with staged changes that tokens refer to.
#[derive(Default)]
pub(crate) struct Pins(Mutex<PinTable>);

#[derive(Default)]
struct PinTable {
    next: u64,
    by_id: HashMap<u64, (Snapshot, i64)>,
}

impl Pins {
    fn keep(&self, snapshot: &Snapshot, now: i64) -> u64 {
        let mut table = self.0.lock().expect("no code panics while it holds the pins");
        table.by_id.retain(|_, (_, since)| *since + PIN_MILLIS >= now);
        let mut entries: usize = table.by_id.values().map(|(kept, _)| kept.staged_len()).sum();
        while table.by_id.len() >= PINS_MAX || entries + snapshot.staged_len() > PINNED_ENTRIES_MAX {
            // Numbers ascend with time.
            let Some(oldest) = table.by_id.keys().min().copied() else { break };
            entries -= table.by_id.remove(&oldest).map_or(0, |(kept, _)| kept.staged_len());
        }
        table.next += 1;
        let id = table.next;
        table.by_id.insert(id, (snapshot.clone(), now));
        id
    }

    fn find(&self, id: u64) -> Option<Snapshot> {
        let table = self.0.lock().expect("no code panics while it holds the pins");
        table.by_id.get(&id).map(|(snapshot, _)| snapshot.clone())
    }
}

/// What a token says.
struct Token {
    issued: i64,
    state: State,
    after: bytes::Bytes,
}

#[derive(Clone, Copy)]
enum State {
    Tree(TreeId),
    /// A kept state, and the start of this server that kept it.
    Kept(u64),
}

impl Service {
    /// Lists objects of a ref, as they are now or were at an earlier page.
    pub async fn list_objects(
        &self,
        caller: &Caller,
        repo: &RepositoryName,
        at: &RefExpr,
        mut request: ListRequest,
        pin: Pin<'_>,
    ) -> Result<Listing> {
        let p = self.permit(caller, &[(Action::ListObjects, Resource::Repository(repo))])?;
        let (snapshot, token) = match pin {
            Pin::Unpinned | Pin::Start => (p.engine.snapshot(repo, at).await?, None),
            Pin::Continue(text) => {
                let token = self.open_token(repo, at, text)?;
                request.after = token.after.clone();
                let snapshot = match token.state {
                    State::Tree(tree) => p.engine.snapshot_of_tree(repo, tree)?,
                    State::Kept(id) => self.pins.find(id).ok_or_else(expired)?,
                };
                (snapshot, Some(token))
            }
        };
        let page = snapshot.list(&request).await?;
        let pin = match page.items.last() {
            Some(last) if page.has_more && !matches!(pin, Pin::Unpinned) => {
                let now = self.clock.now().millis();
                let (issued, state) = match (&token, snapshot.tree_only()) {
                    (Some(token), _) => (token.issued, token.state),
                    (None, Some(tree)) => (now, State::Tree(tree)),
                    (None, None) => (now, State::Kept(self.pins.keep(&snapshot, now))),
                };
                let after = match last {
                    ListItem::Object(info) => info.path.to_bytes(),
                    ListItem::CommonPrefix(prefix) => prefix.clone(),
                };
                Some(self.seal_token(repo, at, &Token { issued, state, after }))
            }
            _ => None,
        };
        Ok(Listing { items: page.items, has_more: page.has_more, pin })
    }

    fn seal_token(&self, repo: &RepositoryName, at: &RefExpr, token: &Token) -> String {
        let mut w = Writer::new();
        w.u8(1).int(token.issued);
        match token.state {
            State::Tree(TreeId(None)) => w.u8(0),
            State::Tree(TreeId(Some(root))) => w.u8(1).raw(&root.0),
            State::Kept(id) => w.u8(2).raw(&self.boot).uint(id),
        };
        w.bytes(&token.after);
        let mut bytes = w.finish();
        // Marked, so that nobody can name a state that was not shown to them.
        let mark = self.auth.mark(PAGE, &token_bytes(repo, at, &bytes));
        bytes.extend_from_slice(&mark[..16]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn open_token(&self, repo: &RepositoryName, at: &RefExpr, text: &str) -> Result<Token> {
        let foreign = || Error::new(Kind::Invalid, "the continuation token is not one of this listing");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| foreign())?;
        let (body, mark) = bytes.split_last_chunk::<16>().ok_or_else(foreign)?;
        if !self.auth.is_marked(PAGE, &token_bytes(repo, at, body), mark) {
            return Err(foreign());
        }
        let mut r = Reader::new(bytes::Bytes::copy_from_slice(body));
        let mut parse = || {
            let version = r.u8()?;
            let issued = r.int()?;
            let state = match r.u8()? {
                0 => State::Tree(TreeId::EMPTY),
                1 => State::Tree(TreeId(Some(NodeId(r.digest()?)))),
                _ => {
                    let start = r.raw(16)?;
                    let id = r.uint()?;
                    // A state kept by an earlier start of the server is gone; id 0 is never kept.
                    State::Kept(if start.as_ref() == self.boot { id } else { 0 })
                }
            };
            Ok::<_, millpond_types::DecodeError>((version, Token { issued, state, after: r.bytes()? }))
        };
        let (version, token) = parse().map_err(|_| foreign())?;
        if version != 1 {
            return Err(foreign());
        }
        if self.clock.now().millis() > token.issued.saturating_add(PIN_MILLIS) {
            return Err(expired());
        }
        Ok(token)
    }
}

/// Purpose of the marks on page tokens.
const PAGE: &str = "page-token";

/// What the mark on a page token covers: a token is good for one listing only.
fn token_bytes(repo: &RepositoryName, at: &RefExpr, body: &[u8]) -> Vec<u8> {
    let mut w = Writer::new();
    w.text(repo.as_str()).text(&at.text).bytes(body);
    w.finish()
}

fn expired() -> Error {
    Error::new(Kind::Invalid, "the continuation token has expired: start the listing again")
}
