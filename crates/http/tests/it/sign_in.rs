//! Signing in and out through this door.

use crate::server::{Answer, BASIC, KEY, NOW, SECRET, Server};
use axum::body::Body;
use http::Request;
use millpond_service::limits::{
    LINK_SECONDS_DEFAULT, LINK_SECONDS_MAX, SESSION_SECONDS, SHORT_KEY_SECONDS_MAX, SHORT_KEY_SECONDS_MIN,
};
use serde_json::{Value, json};

const LOGIN: &str = "/api/v1/auth/login";
const OWN: &str = "/api/millpond/v1/auth";

/// A request with these headers and nothing else.
async fn send(server: &Server, method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(uri).header("host", "here");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if body.starts_with('{') {
        request = request.header("content-type", "application/json");
    }
    server.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

async fn login(server: &Server, name: &str, secret: &str) -> Answer {
    let body = json!({"access_key_id": name, "secret_access_key": secret}).to_string();
    // An old cookie in the browser keeps nobody out.
    let old = format!("internal_auth_session=mps_{}", "0".repeat(43));
    send(server, "POST", LOGIN, &[("cookie", &old)], &body).await
}

/// The cookie as a browser sends it back.
fn cookie(answer: &Answer) -> String {
    let set = answer.header("set-cookie");
    let (cookie, flags) = set.split_once(';').unwrap();
    assert_eq!(flags, " Path=/; Max-Age=604800; HttpOnly; SameSite=Lax");
    assert!(cookie.starts_with("internal_auth_session=mps_"), "{cookie}");
    assert_eq!(answer.header("cache-control"), "no-store");
    cookie.to_owned()
}

async fn user(server: &Server, name: &str, value: &str) -> Answer {
    send(server, "GET", "/api/v1/user", &[(name, value)], "").await
}

async fn is_admin(server: &Server, name: &str, value: &str) {
    assert_eq!(user(server, name, value).await.expect(200).json()["user"]["id"], "admin");
}

/// An order to our own API by the administrator.
async fn order(server: &Server, what: &str, body: &Value) -> Answer {
    send(server, "POST", &format!("{OWN}/{what}"), &[("authorization", BASIC)], &body.to_string()).await
}

#[tokio::test]
async fn a_login_gives_a_token_and_a_session_and_both_end_when_signed_out_of() {
    let server = Server::empty().await;
    let answer = login(&server, KEY, SECRET).await.expect(200);
    let bearer = format!("Bearer {}", answer.json()["token"].as_str().unwrap());
    assert_eq!(answer.json()["token_expiration"].as_i64().unwrap() - NOW, 604_800);
    let session = cookie(&answer);
    let second = cookie(&login(&server, KEY, SECRET).await);
    is_admin(&server, "cookie", &session).await;
    is_admin(&server, "authorization", &bearer).await;

    let out = send(&server, "GET", "/logout", &[("cookie", &session)], "").await.expect(307);
    assert!(out.header("set-cookie").contains("=; Path=/; Max-Age=0;"), "{}", out.header("set-cookie"));
    assert_eq!(out.header("location"), "/auth/login");
    user(&server, "cookie", &session).await.expect(401);
    is_admin(&server, "authorization", &bearer).await;
    is_admin(&server, "cookie", &second).await;
    send(&server, "POST", "/logout", &[("authorization", &bearer)], "").await.expect(307);
    user(&server, "authorization", &bearer).await.expect(401);
    send(&server, "POST", &format!("{OWN}/logout"), &[("cookie", &second)], "").await.expect(204);
    user(&server, "cookie", &second).await.expect(401);
    send(&server, "POST", &format!("{OWN}/logout"), &[], "").await.expect(401);

    let third = cookie(&login(&server, KEY, SECRET).await);
    server.clock.advance(i64::try_from(SESSION_SECONDS).unwrap() * 1000);
    user(&server, "cookie", &third).await.expect(401);
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing_with_the_cookie() {
    let server = Server::empty().await;
    let answer = login(&server, KEY, SECRET).await;
    let (session, bearer) = (cookie(&answer), format!("Bearer {}", answer.json()["token"].as_str().unwrap()));
    let path = "/api/v1/repositories";
    let make = |name: &str| json!({"name": name, "storage_namespace": format!("local://{name}")}).to_string();
    for (name, value) in [("origin", "http://evil"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        let headers = [("cookie", &*session), (name, value)];
        send(&server, "POST", path, &headers, &make("stolen")).await.expect(403);
        let own = send(&server, "POST", &format!("{OWN}/link"), &headers, "{}").await.expect(403);
        assert_eq!(own.json()["code"], "other-site");
        send(&server, "GET", "/logout", &headers, "").await.expect(403);
        // Reading is for the browser to forbid, which it does; a bearer token nobody sends for another.
        send(&server, "GET", path, &headers, "").await.expect(200);
        let headers = [("authorization", &*bearer), (name, value)];
        send(&server, "POST", &format!("{OWN}/link"), &headers, "{}").await.expect(201);
    }
    assert_eq!(server.get("/repositories").await.json()["results"], json!([]));
    let own = [("cookie", &*session), ("origin", "http://here"), ("sec-fetch-site", "same-origin")];
    send(&server, "POST", path, &own, &make("mine")).await.expect(201);
}

#[tokio::test]
async fn a_password_signs_in_and_a_new_one_ends_sessions() {
    let server = Server::empty().await;
    login(&server, "admin", "the old password").await.expect(401);
    login(&server, "admin", "").await.expect(401);
    order(&server, "password", &json!({"password": "short"})).await.expect(400);
    order(&server, "password", &json!({"password": "the old password"})).await.expect(204);
    let session = cookie(&login(&server, "admin", "the old password").await.expect(200));
    login(&server, "admin", "another password").await.expect(401);
    login(&server, "nobody", "the old password").await.expect(401);
    is_admin(&server, "cookie", &session).await;
    order(&server, "password", &json!({"password": "the new password", "user_id": "admin"}))
        .await
        .expect(204);
    user(&server, "cookie", &session).await.expect(401);
    login(&server, "admin", "the old password").await.expect(401);
    login(&server, "admin", "the new password").await.expect(200);
    order(&server, "password", &json!({"password": "the old password", "user_id": "no"})).await.expect(404);
}

#[tokio::test]
async fn a_link_signs_in_once_and_only_by_its_button() {
    let server = Server::empty().await;
    let link = async |body: Value| {
        let answer = order(&server, "link", &body).await.expect(201).json();
        assert_eq!(answer["user_id"], "admin");
        answer["path"].as_str().unwrap().to_owned()
    };
    let path = link(json!({})).await;
    let form = path.strip_prefix("/auth/link?").unwrap().to_owned();
    // Reading it, as often as anybody likes, uses nothing up.
    for _ in 0..2 {
        let page = send(&server, "GET", &path, &[], "").await.expect(200);
        assert!(page.text().contains("<form method=\"post\" action=\"/auth/link\">"), "{}", page.text());
        assert!(page.text().contains(form.strip_prefix("token=").unwrap()));
        assert!(page.header("content-security-policy").contains("form-action 'self'"));
    }
    let evil = [("origin", "http://evil")];
    send(&server, "POST", "/auth/link", &evil, &form).await.expect(403);
    let own = [("origin", "http://here"), ("content-type", "application/x-www-form-urlencoded")];
    let (one, two) = tokio::join!(
        send(&server, "POST", "/auth/link", &own, &form),
        send(&server, "POST", "/auth/link", &own, &form)
    );
    let (right, wrong) = if one.status == 303 { (one, two) } else { (two, one) };
    assert_eq!((right.status, wrong.status), (303, 403), "once");
    assert!(wrong.header("set-cookie").is_empty());
    assert_eq!(right.header("location"), "/");
    is_admin(&server, "cookie", &cookie(&right)).await;

    let late = link(json!({})).await;
    server.clock.advance(i64::try_from(LINK_SECONDS_DEFAULT).unwrap() * 1000);
    let late = late.strip_prefix("/auth/link?").unwrap();
    send(&server, "POST", "/auth/link", &own, late).await.expect(403);
    for bad in ["", "token=", "token=mpl_<script>", &format!("token=mpl_{}", "x".repeat(43))] {
        send(&server, "POST", "/auth/link", &own, bad).await.expect(403);
    }
    let page = send(&server, "GET", "/auth/link?token=mpl_%3Cb%3E", &[], "").await.expect(403);
    assert!(!page.text().contains("mpl_"), "nothing of the request is in the page");
    order(&server, "link", &json!({"lifetime_seconds": 0})).await.expect(400);
    order(&server, "link", &json!({"lifetime_seconds": LINK_SECONDS_MAX + 1})).await.expect(400);
    order(&server, "link", &json!({"user_id": "nobody"})).await.expect(404);
}

#[tokio::test]
async fn a_short_lived_key_does_what_its_policy_permits_until_it_ends() {
    use base64::Engine;
    let server = Server::with_repository().await;
    let may = |actions: Value| {
        json!({"lifetime_seconds": 3600,
               "policy": {"statement": [{"effect": "allow", "action": actions, "resource": "*"}]}})
    };
    let basic = |answer: &Value| {
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        let pair = format!("{}:{}", text("access_key_id"), text("secret_access_key"));
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    };
    let answer = order(&server, "keys", &may(json!(["fs:Read*", "auth:CreateCredentials"]))).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let key = answer.expect(201).json();
    assert_eq!(key["user_id"], "admin");
    assert!(key["access_key_id"].as_str().unwrap().starts_with("ASIAJ"));
    assert_eq!(key["expires"], "2026-09-21T15:13:20Z");
    let basic_of_key = basic(&key);
    let auth = [("authorization", &*basic_of_key)];
    send(&server, "GET", "/api/v1/repositories/repo", &auth, "").await.expect(200);
    send(&server, "DELETE", "/api/v1/repositories/repo", &auth, "").await.expect(401);

    // What it makes and signs in is held as well.
    let keys = format!("{OWN}/keys");
    let more = may(json!(["fs:*"])).to_string();
    let child = basic(&send(&server, "POST", &keys, &auth, &more).await.expect(201).json());
    send(&server, "DELETE", "/api/v1/repositories/repo", &[("authorization", &child)], "").await.expect(401);
    let password = json!({"password": "a way around it"}).to_string();
    send(&server, "POST", &format!("{OWN}/password"), &auth, &password).await.expect(400);
    let link = send(&server, "POST", &format!("{OWN}/link"), &auth, "{}").await.expect(201).json();
    let form = link["path"].as_str().unwrap().strip_prefix("/auth/link?").unwrap().to_owned();
    let linked = cookie(&send(&server, "POST", "/auth/link", &[], &form).await.expect(303));
    let (id, secret) = (key["access_key_id"].as_str().unwrap(), key["secret_access_key"].as_str().unwrap());
    let answer = login(&server, id, secret).await.expect(200);
    let bearer = format!("Bearer {}", answer.json()["token"].as_str().unwrap());
    let all = [
        ("cookie", linked),
        ("cookie", cookie(&answer)),
        ("authorization", bearer),
        ("authorization", child),
    ];
    for (name, value) in &all {
        send(&server, "GET", "/api/v1/repositories/repo", &[(name, value)], "").await.expect(200);
        send(&server, "DELETE", "/api/v1/repositories/repo", &[(name, value)], "").await.expect(401);
    }

    server.clock.advance(3_600_000);
    user(&server, "authorization", &basic_of_key).await.expect(401);
    for (name, value) in &all {
        user(&server, name, value).await.expect(401);
    }
    for (lifetime, policy) in [
        (SHORT_KEY_SECONDS_MIN - 1, json!({"statement": []})),
        (SHORT_KEY_SECONDS_MAX + 1, json!({"statement": []})),
        (60, json!({"statement": [{"effect": "allow", "action": ["fs:Nothing"], "resource": "*"}]})),
        (60, json!({"statements": []})),
    ] {
        let body = json!({"lifetime_seconds": lifetime, "policy": policy});
        order(&server, "keys", &body).await.expect(400);
    }
}

/// API-2.17, 2.18, 3.26: there is nobody who could vouch for anybody.
#[tokio::test]
async fn other_ways_in_are_not_offered() {
    let server = Server::empty().await;
    let sts = r#"{"code":"c","state":"s","redirect_uri":"u"}"#;
    send(&server, "POST", "/api/v1/sts/login", &[], sts).await.expect(501);
    send(&server, "POST", "/api/v1/sts/login", &[], r#"{"code":"c"}"#).await.expect(400);
    let principal = "/api/v1/auth/external/principal/login";
    send(&server, "POST", principal, &[], r#"{"identityRequest":{}}"#).await.expect(501);
    send(&server, "POST", principal, &[], "").await.expect(501);
    assert!(send(&server, "GET", "/api/v1/oidc/callback", &[], "").await.expect(200).body.is_empty());
}
