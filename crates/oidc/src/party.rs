//! The relying party: begins and completes sign-ins.

use crate::attempt::Attempt;
use crate::claims::{self, Identity};
use crate::encode::{basic, form};
use crate::error::{Error, Result, visible};
use crate::id_token::{Claims, Expected, Fault, verify};
use crate::keys::Keys;
use crate::outbound::{Outbound, Reply};
use crate::provider::{Provider, description};
use crate::settings::{ClientSecret, Settings, address};
use millpond_types::limits::OIDC_EXCHANGES_MAX;
use millpond_types::{Clock, Random, Timestamp};
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::{Mutex, Semaphore};

/// How long description and keys are believed, in milliseconds.
const KEPT_MILLIS: i64 = 600_000;

/// How long they are believed where a key is missing, and how long a failure is.
const ASKED_AGAIN_MILLIS: i64 = 5_000;

/// What the browser brings back.
#[derive(Default)]
pub struct Answer {
    /// Of the attempt.
    pub state: Option<String>,
    /// To be traded for a token.
    pub code: Option<String>,
    /// In place of a code.
    pub error: Option<String>,
    /// Who says it (RFC 9207).
    pub issuer: Option<String>,
}

/// This server as a client of its provider.
pub struct RelyingParty {
    settings: Settings,
    outbound: Outbound,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    known: Mutex<Known>,
    exchanges: Semaphore,
}

/// What is known of the provider.
#[derive(Default)]
struct Known {
    found: Option<(Timestamp, Arc<Found>)>,
    failed: Option<(Timestamp, String)>,
}

struct Found {
    provider: Provider,
    keys: Keys,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: Option<String>,
}

impl RelyingParty {
    /// Checks the settings; connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::Settings`].
    pub fn new(mut settings: Settings, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Self> {
        settings.check()?;
        if !settings.scopes.iter().any(|scope| scope == "openid") {
            settings.scopes.insert(0, "openid".to_owned());
        }
        let issuer = address(&settings.issuer).map_err(|rule| Error::Settings(rule.to_owned()))?;
        Ok(Self {
            outbound: Outbound::new(&issuer)?,
            settings,
            clock,
            random,
            known: Mutex::default(),
            exchanges: Semaphore::new(OIDC_EXCHANGES_MAX),
        })
    }

    /// Begins: where to send the browser, and what it must keep.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Misfit`].
    pub async fn begin(&self) -> Result<(String, Attempt)> {
        let found = self.found(KEPT_MILLIS).await?;
        let attempt = Attempt::begin(&*self.random, self.clock.now());
        let url = found.provider.authorization(&[
            ("response_type", "code"),
            ("client_id", &self.settings.client_id),
            ("redirect_uri", &self.settings.redirect_url),
            ("scope", &self.settings.scopes.join(" ")),
            ("state", &attempt.state()),
            ("nonce", &attempt.nonce()),
            ("code_challenge", &attempt.challenge()),
            ("code_challenge_method", "S256"),
        ]);
        Ok((url, attempt))
    }

    /// Completes the attempt that the browser kept.
    ///
    /// # Errors
    /// Every [`Error`] but those of settings.
    pub async fn complete(&self, attempt: &Attempt, answer: &Answer) -> Result<Identity> {
        let refused = |text: &str| Err(Error::Refused(text.to_owned()));
        if !answer.state.as_ref().is_some_and(|state| attempt.is_state(state)) {
            return refused("the answer belongs to another attempt");
        }
        if !attempt.is_alive(self.clock.now()) {
            return refused("it took too long");
        }
        let Ok(_turn) = self.exchanges.try_acquire() else { return Err(Error::Busy) };
        let found = self.found(KEPT_MILLIS).await?;
        match &answer.issuer {
            Some(issuer) if *issuer != self.settings.issuer => return refused("another provider answered"),
            None if found.provider.names_itself => return refused("the answer does not say whose it is"),
            _ => {}
        }
        if let Some(error) = &answer.error {
            return refused(&format!("the provider says '{}'", visible(error)));
        }
        let Some(code) = answer.code.as_ref().filter(|code| !code.is_empty()) else {
            return refused("the answer holds no code");
        };
        let tokens = self.trade(&found.provider, code, attempt).await?;
        let mut claims = self.verified(&found, &tokens, attempt).await?;
        if let (true, Some(url), Some(token)) =
            (claims::lacks(&claims, &self.settings), &found.provider.userinfo, &tokens.access_token)
        {
            let reply = self.outbound.get(url, Some(token)).await?;
            claims::add(&mut claims, json(&reply, "userinfo")?)?;
        }
        claims::identity(&claims, &self.settings)
    }

    /// Code for tokens.
    async fn trade(&self, provider: &Provider, code: &str, attempt: &Attempt) -> Result<Tokens> {
        let (id, verifier) = (&self.settings.client_id, attempt.verifier());
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.settings.redirect_url),
            ("code_verifier", &verifier),
        ];
        let authorization = match self.settings.client_secret.as_ref().map(ClientSecret::expose) {
            Some(secret) if !provider.secret_in_form => Some(basic(id, secret)),
            secret => {
                pairs.push(("client_id", id));
                pairs.extend(secret.map(|secret| ("client_secret", secret)));
                None
            }
        };
        let reply = self.outbound.post(&provider.token, authorization.as_deref(), form(&pairs)).await?;
        if (200..300).contains(&reply.status) {
            return json(&reply, "answer to a code");
        }
        #[derive(Deserialize)]
        struct Refusal {
            error: String,
        }
        match serde_json::from_slice::<Refusal>(&reply.body) {
            Ok(refusal) if refusal.error == "invalid_grant" => Err(Error::Refused(
                "the provider does not accept its code; it was used before, or is too old".into(),
            )),
            Ok(refusal) => {
                Err(Error::Misfit(format!("it refuses this client: '{}'", visible(&refusal.error))))
            }
            Err(_) => Err(Error::Misfit(format!("it answers a code with status {}", reply.status))),
        }
    }

    /// What the ID token says. A key that is not known may be new.
    async fn verified(&self, found: &Found, tokens: &Tokens, attempt: &Attempt) -> Result<Claims> {
        let nonce = attempt.nonce();
        let expected = Expected {
            issuer: &self.settings.issuer,
            client_id: &self.settings.client_id,
            nonce: &nonce,
            access_token: tokens.access_token.as_deref(),
        };
        match verify(&tokens.id_token, &found.keys, &expected, self.clock.now()) {
            Err(Fault::UnknownKey) => {
                let found = self.found(ASKED_AGAIN_MILLIS).await?;
                Ok(verify(&tokens.id_token, &found.keys, &expected, self.clock.now())?)
            }
            claims => Ok(claims?),
        }
    }

    /// What is known of the provider, if it is not older than this. One asks, the others wait for his answer.
    async fn found(&self, age_millis: i64) -> Result<Arc<Found>> {
        let mut known = self.known.lock().await;
        let now = self.clock.now();
        let is_young = |since: Timestamp, most: i64| (now.millis() - since.millis()).abs() < most;
        if let Some((_, found)) = known.found.as_ref().filter(|(since, _)| is_young(*since, age_millis)) {
            return Ok(found.clone());
        }
        if let Some((_, why)) =
            known.failed.as_ref().filter(|(since, _)| is_young(*since, ASKED_AGAIN_MILLIS))
        {
            return Err(Error::Unreachable(why.clone()));
        }
        match self.ask().await {
            Ok(found) => {
                let found = Arc::new(found);
                *known = Known { found: Some((now, found.clone())), failed: None };
                Ok(found)
            }
            Err(error) => {
                if let Error::Unreachable(why) = &error {
                    known.failed = Some((self.clock.now(), why.clone()));
                }
                Err(error)
            }
        }
    }

    async fn ask(&self) -> Result<Found> {
        let place =
            address(&description(&self.settings.issuer)).map_err(|rule| Error::Settings(rule.to_owned()))?;
        let reply = self.outbound.get(&place, None).await?;
        let provider = Provider::parse(found_at(&reply, "description")?, &self.settings.issuer)?;
        let reply = self.outbound.get(&provider.keys, None).await?;
        let keys = Keys::parse(found_at(&reply, "set of keys")?)?;
        Ok(Found { provider, keys })
    }
}

fn found_at<'a>(reply: &'a Reply, what: &str) -> Result<&'a [u8]> {
    match reply.status {
        200 => Ok(&reply.body),
        status => Err(Error::Misfit(format!("where its {what} should be it answers with status {status}"))),
    }
}

fn json<T: for<'de> Deserialize<'de>>(reply: &Reply, what: &str) -> Result<T> {
    // The reason could quote a token.
    serde_json::from_slice(found_at(reply, what)?)
        .map_err(|_| Error::Misfit(format!("its {what} is not as the protocol has it")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::Signer;
    use axum::extract::State;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::{get, post};
    use axum::{Json, Router};
    use millpond_testkit::{ManualClock, Seeded};
    use serde_json::{Value, json};
    use std::collections::HashMap;
    use std::sync::Mutex as Lock;

    const NOW: i64 = 1_790_000_000;

    /// What a test wants of its provider, and what the provider saw.
    struct Desk {
        signer: Signer,
        key_id: &'static str,
        published: Vec<Value>,
        /// Added to the description and to claims of the ID token.
        description: Value,
        claims: Value,
        userinfo: Value,
        /// Answers every code like this, if set.
        refuses: Option<(u16, String)>,
        down: bool,
        asked: Vec<&'static str>,
        form: HashMap<String, String>,
        authorization: String,
        nonce: String,
    }

    fn read_form(form: &str) -> HashMap<String, String> {
        let plain =
            |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
        form.split('&').filter_map(|pair| pair.split_once('=')).map(|(a, b)| (plain(a), plain(b))).collect()
    }

    fn chance() -> Arc<Seeded> {
        Arc::new(Seeded::new(5))
    }

    type Shared = State<Arc<Lock<Desk>>>;

    fn merged(mut value: Value, more: &Value) -> Json<Value> {
        for (name, one) in more.as_object().into_iter().flatten() {
            value[name] = one.clone();
        }
        Json(value)
    }

    struct Test {
        desk: Arc<Lock<Desk>>,
        clock: Arc<ManualClock>,
        issuer: String,
    }

    impl Test {
        async fn new() -> Self {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let issuer = format!("http://{}", listener.local_addr().unwrap());
            let signer = Signer::p256();
            let desk = Desk {
                published: vec![signer.jwk("one")],
                signer,
                key_id: "one",
                description: json!({}),
                claims: json!({}),
                userinfo: json!({"sub": "eve"}),
                refuses: None,
                down: false,
                asked: Vec::new(),
                form: HashMap::new(),
                authorization: String::new(),
                nonce: String::new(),
            };
            let desk = Arc::new(Lock::new(desk));
            let at = issuer.clone();
            let describe = async move |State(desk): Shared| {
                let mut desk = desk.lock().unwrap();
                desk.asked.push("description");
                if desk.down {
                    return Err(StatusCode::SERVICE_UNAVAILABLE);
                }
                let description = json!({
                    "issuer": at,
                    "authorization_endpoint": format!("{at}/auth"),
                    "token_endpoint": format!("{at}/token"),
                    "jwks_uri": format!("{at}/keys"),
                    "userinfo_endpoint": format!("{at}/me"),
                });
                Ok(merged(description, &desk.description))
            };
            let keys = async |State(desk): Shared| {
                let mut desk = desk.lock().unwrap();
                desk.asked.push("keys");
                Json(json!({ "keys": desk.published }))
            };
            let at = issuer.clone();
            let token = async move |State(desk): Shared, headers: HeaderMap, form: String| {
                let mut desk = desk.lock().unwrap();
                desk.asked.push("token");
                desk.form = read_form(&form);
                desk.authorization =
                    headers.get("authorization").map_or("", |value| value.to_str().unwrap()).to_owned();
                let elsewhere = [("location", format!("{at}/elsewhere"))];
                if let Some((status, body)) = &desk.refuses {
                    return (StatusCode::from_u16(*status).unwrap(), elsewhere, body.clone());
                }
                let claims = json!({
                    "iss": at, "sub": "eve", "aud": "us", "nonce": desk.nonce, "iat": NOW, "exp": NOW + 3600,
                });
                let Json(claims) = merged(claims, &desk.claims);
                let id_token = desk.signer.sign(&json!({"alg": "ES256", "kid": desk.key_id}), &claims);
                (
                    StatusCode::OK,
                    elsewhere,
                    json!({"id_token": id_token, "access_token": "access"}).to_string(),
                )
            };
            let elsewhere = async |State(desk): Shared| desk.lock().unwrap().asked.push("elsewhere");
            let userinfo = async |State(desk): Shared, headers: HeaderMap| {
                let mut desk = desk.lock().unwrap();
                desk.asked.push("userinfo");
                assert_eq!(headers["authorization"], "Bearer access");
                Json(desk.userinfo.clone())
            };
            let router = Router::new()
                .route("/.well-known/openid-configuration", get(describe))
                .route("/keys", get(keys))
                .route("/token", post(token))
                .route("/me", get(userinfo))
                .route("/elsewhere", get(elsewhere).post(elsewhere))
                .with_state(desk.clone());
            tokio::spawn(async move { axum::serve(listener, router).await });
            Self { desk, clock: Arc::new(ManualClock::at(NOW * 1000)), issuer }
        }

        fn settings(&self) -> Settings {
            Settings {
                issuer: self.issuer.clone(),
                client_secret: Some(ClientSecret::new("s+cret")),
                scopes: vec!["profile".into()],
                ..Settings::plain()
            }
        }

        fn party(&self) -> RelyingParty {
            RelyingParty::new(self.settings(), self.clock.clone(), chance()).unwrap()
        }

        fn desk<T>(&self, work: impl FnOnce(&mut Desk) -> T) -> T {
            work(&mut self.desk.lock().unwrap())
        }

        /// Goes to the provider and comes back with what it was sent along with.
        async fn attempt(&self, party: &RelyingParty) -> (Attempt, Answer) {
            let (_, attempt) = party.begin().await.unwrap();
            self.desk(|desk| desk.nonce = attempt.nonce());
            let answer =
                Answer { state: Some(attempt.state()), code: Some("c&de".into()), ..Answer::default() };
            (attempt, answer)
        }

        async fn sign_in(&self, party: &RelyingParty) -> Result<Identity> {
            let (attempt, answer) = self.attempt(party).await;
            party.complete(&attempt, &answer).await
        }
    }

    #[tokio::test]
    async fn a_sign_in_sends_what_the_protocol_wants_and_finds_out_who_it_is() {
        let test = Test::new().await;
        let party = test.party();
        let (url, attempt) = party.begin().await.unwrap();
        let expected = form(&[
            ("response_type", "code"),
            ("client_id", "us"),
            ("redirect_uri", "https://here/back"),
            ("scope", "openid profile"),
            ("state", &attempt.state()),
            ("nonce", &attempt.nonce()),
            ("code_challenge", &attempt.challenge()),
            ("code_challenge_method", "S256"),
        ]);
        assert_eq!(url, format!("{}/auth?{expected}", test.issuer));
        let (attempt, answer) = test.attempt(&party).await;
        let who = party.complete(&attempt, &answer).await.unwrap();
        assert_eq!(who.principal, format!("{}#eve", test.issuer));
        test.desk(|desk| {
            assert_eq!(
                desk.asked,
                ["description", "keys", "token"],
                "once, and no userinfo where nothing is missing"
            );
            let sent = |name: &str| desk.form[name].clone();
            assert_eq!((&*sent("code"), &*sent("grant_type")), ("c&de", "authorization_code"));
            assert_eq!(
                (sent("code_verifier"), &*sent("redirect_uri")),
                (attempt.verifier(), "https://here/back")
            );
            assert_eq!((&*desk.authorization, desk.form.len()), (&*basic("us", "s+cret"), 4));
        });
    }

    #[tokio::test]
    async fn the_client_proves_itself_as_the_provider_wants_it() {
        let test = Test::new().await;
        test.desk(|desk| {
            desk.description = json!({"token_endpoint_auth_methods_supported": ["client_secret_post"]})
        });
        test.sign_in(&test.party()).await.unwrap();
        test.desk(|desk| {
            assert_eq!(
                (&*desk.form["client_id"], &*desk.form["client_secret"], &*desk.authorization),
                ("us", "s+cret", "")
            );
        });
        let public = RelyingParty::new(
            Settings { client_secret: None, ..test.settings() },
            test.clock.clone(),
            chance(),
        )
        .unwrap();
        test.sign_in(&public).await.unwrap();
        test.desk(|desk| assert!(desk.form["client_id"] == "us" && !desk.form.contains_key("client_secret")));
    }

    #[tokio::test]
    async fn an_answer_that_is_not_of_this_attempt_trades_no_code() {
        let test = Test::new().await;
        let party = test.party();
        let (attempt, good) = test.attempt(&party).await;
        let other = Attempt::begin(&Seeded::new(99), test.clock.now());
        let answer = |change: fn(&mut Answer)| {
            let mut answer =
                Answer { state: good.state.clone(), code: good.code.clone(), ..Answer::default() };
            change(&mut answer);
            answer
        };
        let refusals = [
            (party.complete(&other, &good).await, "another attempt"),
            (party.complete(&attempt, &answer(|a| a.state = None)).await, "another attempt"),
            (party.complete(&attempt, &answer(|a| a.code = None)).await, "no code"),
            (party.complete(&attempt, &answer(|a| a.code = Some(String::new()))).await, "no code"),
            (
                party.complete(&attempt, &answer(|a| a.error = Some("access_denied\n".into()))).await,
                "'access_denied?'",
            ),
            (
                party.complete(&attempt, &answer(|a| a.issuer = Some("https://evil".into()))).await,
                "another provider",
            ),
        ];
        for (result, part) in refusals {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Refused(_)) && error.to_string().contains(part), "{error}");
        }
        test.clock.advance(i64::from(millpond_types::limits::OIDC_ATTEMPT_SECONDS) * 1000);
        let late = party.complete(&attempt, &good).await.unwrap_err();
        assert!(late.to_string().contains("too long"), "{late}");
        test.desk(|desk| assert!(!desk.asked.contains(&"token"), "{:?}", desk.asked));
    }

    #[tokio::test]
    async fn a_provider_that_names_itself_must_always_do_so() {
        let test = Test::new().await;
        test.desk(|desk| desk.description = json!({"authorization_response_iss_parameter_supported": true}));
        let party = test.party();
        assert!(matches!(test.sign_in(&party).await, Err(Error::Refused(_))));
        let (attempt, answer) = test.attempt(&party).await;
        let named = Answer { issuer: Some(test.issuer.clone()), ..answer };
        assert!(party.complete(&attempt, &named).await.is_ok());
    }

    #[tokio::test]
    async fn a_token_of_another_attempt_or_client_is_refused() {
        let test = Test::new().await;
        let party = test.party();
        for (claim, fault) in [
            (json!({"nonce": "stolen"}), Fault::Nonce),
            (json!({"aud": "them"}), Fault::Audience),
            (json!({"iss": "https://evil"}), Fault::Issuer),
            (json!({"exp": 1}), Fault::Expired),
            (json!({"at_hash": "x"}), Fault::AccessToken),
        ] {
            test.desk(|desk| desk.claims = claim);
            match test.sign_in(&party).await {
                Err(Error::Token(found)) => assert_eq!(found, fault),
                other => panic!("{fault:?}: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_new_key_of_the_provider_is_found_but_not_looked_for_all_the_time() {
        let test = Test::new().await;
        let party = test.party();
        test.sign_in(&party).await.unwrap();
        let asked = || test.desk(|desk| desk.asked.iter().filter(|what| **what == "keys").count());
        test.desk(|desk| {
            desk.signer = Signer::p256();
            desk.key_id = "two";
            desk.published = vec![desk.signer.jwk("two")];
        });
        // Just asked: not again.
        assert!(matches!(test.sign_in(&party).await, Err(Error::Token(Fault::UnknownKey))));
        assert_eq!(asked(), 1);
        test.clock.advance(ASKED_AGAIN_MILLIS);
        test.sign_in(&party).await.unwrap();
        assert_eq!(asked(), 2);
        // A key that was taken back is forgotten with time.
        test.desk(|desk| desk.published = vec![Signer::p256().jwk("three")]);
        test.clock.advance(KEPT_MILLIS);
        assert!(matches!(test.sign_in(&party).await, Err(Error::Token(Fault::UnknownKey))));
    }

    #[tokio::test]
    async fn a_provider_that_is_down_is_not_asked_by_everybody() {
        let test = Test::new().await;
        test.desk(|desk| desk.down = true);
        let party = test.party();
        for _ in 0..20 {
            assert!(matches!(party.begin().await, Err(Error::Unreachable(_))));
        }
        test.desk(|desk| {
            assert_eq!(desk.asked, ["description"]);
            desk.down = false;
        });
        test.clock.advance(ASKED_AGAIN_MILLIS);
        test.sign_in(&party).await.unwrap();
    }

    #[tokio::test]
    async fn nobody_there_is_unreachable() {
        let test = Test::new().await;
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", taken.local_addr().unwrap());
        drop(taken);
        let party =
            RelyingParty::new(Settings { issuer, ..test.settings() }, test.clock.clone(), chance()).unwrap();
        let error = party.begin().await.err().unwrap();
        assert!(
            matches!(&error, Error::Unreachable(_)) && error.to_string().contains("127.0.0.1"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn refusals_of_the_provider_are_told_apart() {
        let test = Test::new().await;
        let party = test.party();
        let long = " ".repeat(millpond_types::limits::OIDC_ANSWER_BYTES_MAX + 1);
        for (status, body, kind) in [
            (400, json!({"error": "invalid_grant"}).to_string(), "refused"),
            (401, json!({"error": "invalid_client", "error_description": "x"}).to_string(), "misfit"),
            (404, String::new(), "misfit"),
            (302, String::new(), "misfit"),
            (307, String::new(), "misfit"),
            (500, String::new(), "unreachable"),
            (429, String::new(), "unreachable"),
            (200, "{}".into(), "misfit"),
            (200, "<html>".into(), "misfit"),
            (200, long, "misfit"),
        ] {
            test.desk(|desk| desk.refuses = Some((status, body)));
            let found = match test.sign_in(&party).await {
                Err(Error::Refused(_)) => "refused",
                Err(Error::Misfit(_)) => "misfit",
                Err(Error::Unreachable(_)) => "unreachable",
                other => panic!("{status}: {other:?}"),
            };
            assert_eq!(found, kind, "{status}");
        }
        // A code goes to the address that was looked at, and to no other.
        test.desk(|desk| assert!(!desk.asked.contains(&"elsewhere"), "{:?}", desk.asked));
    }

    #[tokio::test]
    async fn a_description_of_somebody_else_is_refused() {
        let test = Test::new().await;
        test.desk(|desk| desk.description = json!({"issuer": "https://evil"}));
        assert!(matches!(test.party().begin().await, Err(Error::Misfit(_))));
    }

    #[tokio::test]
    async fn claims_that_the_token_lacks_are_asked_for() {
        let test = Test::new().await;
        let settings = Settings { groups_claim: Some("groups".into()), ..test.settings() };
        let party = RelyingParty::new(settings, test.clock.clone(), chance()).unwrap();
        test.desk(|desk| desk.userinfo = json!({"sub": "eve", "groups": ["ops"]}));
        let who = test.sign_in(&party).await.unwrap();
        assert_eq!(who.groups.into_iter().collect::<Vec<_>>(), ["ops"]);
        test.desk(|desk| desk.userinfo = json!({"sub": "admin", "groups": ["ops"]}));
        assert!(matches!(test.sign_in(&party).await, Err(Error::Misfit(_))), "about somebody else");
        test.desk(|desk| desk.claims = json!({"groups": []}));
        assert!(test.sign_in(&party).await.unwrap().groups.is_empty());
    }

    #[tokio::test]
    async fn more_than_the_server_takes_on_are_told_so() {
        let test = Test::new().await;
        let party = test.party();
        let (attempt, answer) = test.attempt(&party).await;
        let turns: Vec<_> = (0..OIDC_EXCHANGES_MAX).map(|_| party.exchanges.try_acquire().unwrap()).collect();
        assert!(matches!(party.complete(&attempt, &answer).await, Err(Error::Busy)));
        drop(turns);
        assert!(party.complete(&attempt, &answer).await.is_ok());
    }

    #[test]
    fn settings_are_checked() {
        let clock = || Arc::new(ManualClock::at(0));
        let good = Settings::plain();
        for (change, part) in [
            ((|s| s.issuer = "http://id".into()) as fn(&mut Settings), "issuer"),
            (|s| s.issuer = "https://id?x".into(), "issuer"),
            (|s| s.issuer = format!("https://{}", "x".repeat(250)), "issuer"),
            (|s| s.redirect_url = "here".into(), "address of this server"),
            (|s| s.client_id = String::new(), "client id"),
            (|s| s.username_claim = String::new(), "user's name"),
        ] {
            let mut settings = good.clone();
            change(&mut settings);
            let error = RelyingParty::new(settings, clock(), chance()).err().unwrap().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
