//! Who calls, what they may do, and the one way to the engine.

use millpond_auth::{Access, Action, Auth, Circumstances, Needs, Permit, Resource, Secret, Who};
use millpond_engine::{Actor, Engine, Error, Kind, Result, Thing};
use millpond_types::{Clock, Random, Timestamp};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Who calls: an authenticated principal. Only this crate makes one.
#[derive(Clone, Debug)]
pub struct Principal {
    who: Who,
}

impl Principal {
    /// The user name.
    pub fn name(&self) -> &str {
        self.who.user()
    }
    pub(crate) fn of(who: Who) -> Self {
        Self { who }
    }
    pub(crate) fn who(&self) -> &Who {
        &self.who
    }
}

/// A request's caller. `principal` is `None` for anonymous requests, which every verb refuses.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Authenticated, or nobody.
    pub principal: Option<Principal>,
    /// The server's id of this request.
    pub request_id: String,
    /// `Idempotency-Key` header.
    pub idempotency_key: Option<String>,
    /// Where the request came from, as far as the listener knows.
    pub address: Option<IpAddr>,
}

impl Caller {
    /// Whom to write down for what this request does.
    pub(crate) fn actor(&self, name: &str) -> Actor {
        Actor {
            name: name.to_owned(),
            request_id: self.request_id.clone(),
            idempotency_key: self.idempotency_key.clone(),
            address: self.address,
        }
    }
}

/// Put on every request by the listener: the client's address, with trusted proxies taken into account.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

/// The verbs.
pub struct Service {
    pub(crate) engine: Arc<Engine>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pins: crate::pages::Pins,
    pub(crate) backups: Arc<dyn crate::upkeep::BackupPlaces>,
    pub(crate) master_keys: Arc<dyn crate::upkeep::MasterKeys>,
    pub(crate) provider: Option<crate::provider::Provider>,
    installation_id: String,
    /// Tells this start of the server from others.
    pub(crate) boot: [u8; 16],
    requests: AtomicU64,
}

/// Leave to act: what the evaluator said yes to, with the engine behind it.
pub(crate) struct Permitted {
    pub engine: Arc<Engine>,
    pub actor: Actor,
}

/// Whether the one who sent a request is still somebody: a user who is deleted is refused also where a request of his
/// runs, and so is a key that is deleted or has ended.
#[derive(Clone)]
pub(crate) struct Standing {
    auth: Arc<Auth>,
    who: Option<Who>,
}

impl Standing {
    /// # Errors
    /// `Unauthenticated` from the moment on when user or key is gone.
    pub fn check(&self) -> Result<()> {
        let Some(who) = &self.who else { return Ok(()) };
        self.auth.access(who, Circumstances::default()).map(drop).map_err(auth_error)
    }
}

impl Service {
    /// The verbs over an engine. `installation_id` names this installation for ever.
    pub fn new(
        engine: Arc<Engine>,
        auth: Arc<Auth>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        installation_id: String,
    ) -> Self {
        let (mut boot, mut first_request) = ([0; 16], [0; 8]);
        random.fill(&mut boot);
        random.fill(&mut first_request);
        Self {
            engine,
            auth,
            clock,
            pins: crate::pages::Pins::default(),
            backups: Arc::new(crate::upkeep::Nowhere),
            master_keys: Arc::new(crate::upkeep::Nowhere),
            provider: None,
            installation_id,
            boot,
            requests: AtomicU64::new(u64::from_le_bytes(first_request)),
        }
    }

    /// Brings everything to rest for a stop. Call when no request runs any more.
    pub async fn close(&self) -> Result<()> {
        self.engine.close().await
    }

    /// Notes when access keys were last used, and forgets keys, sessions and links that have ended. To be called
    /// every minute or so.
    pub async fn keep_accounts(&self) -> Result<()> {
        self.auth.keep_up().await.map_err(auth_error)
    }

    /// Whether changes are accepted; for everybody to ask.
    ///
    /// # Errors
    /// `Busy` while the disk is full or too slow, `Internal` when only a restart helps.
    pub fn health(&self) -> Result<()> {
        self.engine.health()
    }

    /// Branches whose staged changes cannot be made a tree, because something of theirs is damaged.
    pub fn unfoldable_branches(&self) -> usize {
        self.engine.unfoldable_branches()
    }

    /// Checks an access key and its secret in constant time.
    pub async fn authenticate_key(&self, access_key_id: &str, secret: &str) -> Result<Principal> {
        Ok(Principal { who: self.auth.check(access_key_id, secret).map_err(auth_error)? })
    }

    /// Checks a signed token.
    pub async fn authenticate_token(&self, token: &str) -> Result<Principal> {
        Ok(Principal { who: self.auth.verify_token(token).map_err(auth_error)? })
    }

    /// The secret behind an access key id and its owner, for signature checks. `None`: unknown key.
    pub async fn signing_key(&self, access_key_id: &str) -> Result<Option<(Secret, Principal)>> {
        Ok(self.auth.lookup(access_key_id).map(|(secret, who)| (secret, Principal { who })))
    }

    /// Random id of this installation.
    pub fn installation_id(&self) -> String {
        self.installation_id.clone()
    }

    /// A fresh request id: no two of one start are the same, and those of two starts hardly ever. It is a number
    /// that counts, scrambled (splitmix64, which maps no two numbers to one), so that no request asks the operating
    /// system for chance.
    pub fn new_request_id(&self) -> String {
        let number = self.requests.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hex::encode_upper((number ^ (number >> 31)).to_be_bytes())
    }

    /// Server time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The one authorization call in front of every verb, and the one way to the engine.
    pub(crate) fn permit(&self, caller: &Caller, needs: &[(Action, Resource<'_>)]) -> Result<Permitted> {
        let access = self.access(caller)?;
        let mut permit = None;
        for (action, resource) in needs {
            let allowed = access.require(&Needs::One(*action, *resource));
            permit = Some(allowed.map_err(|error| {
                self.note_denied(caller, *action, *resource);
                auth_error(error)
            })?);
        }
        Ok(self.permitted(caller, &permit.expect("a verb needs something")))
    }

    /// The same for a list whose items the caller may see one by one: some permission speaks of the action, and the
    /// verb asks the access about each item.
    pub(crate) fn permit_list(&self, caller: &Caller, action: Action) -> Result<(Permitted, Access)> {
        let access = self.access(caller)?;
        let permit = access.require_somewhere(action).map_err(|error| {
            self.note_denied(caller, action, Resource::Any);
            auth_error(error)
        })?;
        Ok((self.permitted(caller, &permit), access))
    }

    pub(crate) fn access(&self, caller: &Caller) -> Result<Access> {
        let Some(principal) = &caller.principal else {
            self.note_unknown("", caller.address);
            return Err(Error::new(Kind::Unauthenticated, "authentication is required"));
        };
        let at = Circumstances { source_ip: caller.address };
        let access = self.auth.access(&principal.who, at);
        access.inspect_err(|_| self.note_unknown(principal.name(), caller.address)).map_err(auth_error)
    }

    /// What a request that goes on for long asks again and again.
    pub(crate) fn standing(&self, caller: &Caller) -> Standing {
        Standing {
            auth: self.auth.clone(),
            who: caller.principal.as_ref().map(|principal| principal.who.clone()),
        }
    }

    fn permitted(&self, caller: &Caller, permit: &Permit) -> Permitted {
        Permitted { engine: self.engine.clone(), actor: caller.actor(permit.user()) }
    }
}

pub(crate) fn auth_error(error: millpond_auth::Error) -> Error {
    use millpond_auth::Error as E;
    match &error {
        E::Denied { action, resource, .. } => {
            let message = format!("insufficient permissions: not allowed to {action} on {resource}");
            Error::new(Kind::Denied, message)
        }
        E::Busy(_) | E::Overtaken => Error::new(Kind::Busy, error.to_string()),
        E::Refused => Error::new(Kind::Unauthenticated, "error authenticating request"),
        E::Invalid(_) => Error::new(Kind::Invalid, error.to_string()),
        E::NotFound { what, name } => {
            Error::new(Kind::NotFound(Thing::Other), format!("{what} not found: '{name}'"))
        }
        E::Exists { what, name } => {
            Error::new(Kind::AlreadyExists, format!("Already exists: {what} '{name}'"))
        }
        E::Unreadable { .. } | E::Store(_) => Error::new(Kind::Internal, error.to_string()),
    }
}
