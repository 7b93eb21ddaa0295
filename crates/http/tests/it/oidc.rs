//! Sign-in through a provider, as far as time and failures decide: the whole way, with a real provider and a browser, is in
//! `tests/clients/test_oidc.py`.

use crate::server::{Answer, NOW, Server};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::body::Body;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use millpond_oidc::{RelyingParty, Settings};
use millpond_service::Provider;
use millpond_service::limits::{OIDC_ATTEMPT_SECONDS, OIDC_SESSION_SECONDS};
use millpond_testkit::Seeded;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// A server, and a provider that knows one person.
struct Pair {
    server: Server,
    /// What the provider was sent in the last attempt.
    nonce: Arc<Mutex<String>>,
}

async fn pair(is_there: bool) -> Pair {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let nonce = Arc::new(Mutex::new(String::new()));
    if is_there {
        let router = provider(issuer.clone(), nonce.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
    }
    let settings = Settings {
        issuer,
        client_id: "us".into(),
        client_secret: None,
        scopes: vec![],
        redirect_url: "https://here/api/v1/oidc/callback".into(),
        username_claim: "sub".into(),
        groups_claim: Some("groups".into()),
        groups: vec![],
        default_groups: vec![],
        required_claims: vec![],
    };
    let vouching = |service: millpond_service::Service, clock: Arc<millpond_testkit::ManualClock>| {
        let party = RelyingParty::new(settings, clock, Arc::new(Seeded::new(9))).unwrap();
        service.with_provider(Provider { party, create_users: true })
    };
    Pair { server: Server::with(vouching).await, nonce }
}

fn provider(issuer: String, nonce: Arc<Mutex<String>>) -> Router {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let point = key.public_key().as_ref();
    let keys = json!({"keys": [
        {"kty": "EC", "crv": "P-256", "x": encoded(&point[1..33]), "y": encoded(&point[33..])},
    ]});
    let description = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/auth"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
    });
    let token = async move || {
        let claims = json!({
            "iss": issuer, "sub": "eve", "aud": "us", "groups": ["Viewers"], "iat": NOW, "exp": NOW * 2,
            "nonce": *nonce.lock().unwrap(),
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&json!({"alg": "ES256"})), part(&claims));
        let signature = key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        Json(json!({"id_token": format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))}))
    };
    Router::new()
        .route("/.well-known/openid-configuration", get(async move || Json(description)))
        .route("/keys", get(async move || Json(keys)))
        .route("/token", post(token))
}

impl Pair {
    async fn get(&self, uri: &str, cookie: &str) -> Answer {
        let request = Request::get(uri).header("host", "here").header("cookie", cookie);
        self.server.send(request.body(Body::empty()).unwrap()).await
    }

    /// Goes to the provider; gives the cookie and the address to come back to.
    async fn begin(&self) -> (String, String) {
        let begun = self.get("/oidc/login", "").await.expect(302);
        assert_eq!(begun.header("cache-control"), "no-store");
        let (cookie, flags) = begun.header("set-cookie").split_once(';').unwrap();
        assert_eq!(flags, format!(" Path=/; Max-Age={OIDC_ATTEMPT_SECONDS}; HttpOnly; SameSite=Lax"));
        let sent = |name: &str| {
            let found = begun.header("location").split('&').find_map(|pair| pair.strip_prefix(name));
            percent_encoded(found.unwrap())
        };
        *self.nonce.lock().unwrap() = sent("nonce=");
        (cookie.to_owned(), format!("/api/v1/oidc/callback?code=c&state={}", sent("state=")))
    }
}

/// Base64 for URLs as the relying party encodes it for a query.
fn percent_encoded(text: &str) -> String {
    text.replace("%2D", "-").replace("%5F", "_")
}

#[tokio::test]
async fn sessions_that_a_provider_vouched_for_end_sooner() {
    let pair = pair(true).await;
    let (cookie, back) = pair.begin().await;
    let answer = pair.get(&back, &cookie).await.expect(303);
    let cookies: Vec<&str> =
        answer.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    let (session, flags) = cookies[0].split_once(';').unwrap();
    assert_eq!(flags, format!(" Path=/; Max-Age={OIDC_SESSION_SECONDS}; HttpOnly; SameSite=Lax"));
    assert!(cookies[1].starts_with("oidc_attempt=; Path=/; Max-Age=0;"), "{cookies:?}");
    assert_eq!((answer.header("location"), answer.header("cache-control")), ("/", "no-store"));
    assert_eq!(pair.get("/api/v1/user", session).await.expect(200).json()["user"]["id"], "eve");
    let lasts = i64::try_from(OIDC_SESSION_SECONDS).unwrap() * 1000;
    pair.server.clock.advance(lasts - 1);
    pair.get("/api/v1/user", session).await.expect(200);
    pair.server.clock.advance(1);
    pair.get("/api/v1/user", session).await.expect(401);
}

#[tokio::test]
async fn an_attempt_that_took_too_long_is_told_to_begin_again() {
    let pair = pair(true).await;
    let (cookie, back) = pair.begin().await;
    pair.server.clock.advance(i64::from(OIDC_ATTEMPT_SECONDS) * 1000);
    let late = pair.get(&back, &cookie).await.expect(401);
    assert!(late.text().contains("took too long") && late.text().contains("/oidc/login"), "{}", late.text());
    assert!(late.header("set-cookie").starts_with("oidc_attempt=; "), "{}", late.header("set-cookie"));
    pair.get("/auth/login", "").await.expect(200);
}

#[tokio::test]
async fn only_cookies_of_this_server_are_attempts() {
    let pair = pair(true).await;
    let (cookie, back) = pair.begin().await;
    let value = cookie.strip_prefix("oidc_attempt=").unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(value).unwrap();
    assert_eq!(bytes.len(), 72);
    // Time, secret or mark are changed; or the mark is cut to what could be guessed.
    for at in [0, 39, 40, 71] {
        bytes[at] ^= 1;
        let changed = format!("oidc_attempt={}", URL_SAFE_NO_PAD.encode(&bytes));
        bytes[at] ^= 1;
        pair.get(&back, &changed).await.expect(401);
    }
    for wrong in ["oidc_attempt=", "oidc_attempt=!", &cookie[..cookie.len() - 20], "oidc_attemptx=y", ""] {
        pair.get(&back, wrong).await.expect(401);
    }
    pair.get(&back, &format!("a=b; {cookie}; c=d")).await.expect(303);
}

#[tokio::test]
async fn where_nobody_answers_only_that_sign_in_fails() {
    let pair = pair(false).await;
    let answer = pair.get("/oidc/login", "").await.expect(503);
    assert_eq!(answer.header("retry-after"), "5");
    assert!(answer.text().contains("cannot be reached"), "{}", answer.text());
    pair.server.get("/repositories").await.expect(200);
    assert_eq!(pair.server.get("/setup_lakefs").await.json()["login_config"]["login_url"], "/oidc/login");
}

#[tokio::test]
async fn without_a_provider_nothing_is_there() {
    let server = Server::empty().await;
    let get = async |uri: &str| server.send(Request::get(uri).body(Body::empty()).unwrap()).await;
    get("/oidc/login").await.expect(404);
    assert!(get("/api/v1/oidc/callback?code=x").await.expect(200).body.is_empty());
    assert_eq!(server.get("/setup_lakefs").await.json()["login_config"]["login_url_method"], "none");
}
