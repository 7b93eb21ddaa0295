//! Who calls, and what the server says about itself.

use crate::server::{KEY, Server};
use axum::body::Body;
use http::Request;

async fn user(server: &Server, name: &str, value: &str) -> crate::server::Answer {
    let request = Request::get("/api/v1/user").header(name, value).body(Body::empty()).unwrap();
    server.send(request).await
}

#[tokio::test]
async fn wrong_credentials_are_401_even_where_none_are_needed() {
    let server = Server::empty().await;
    for (name, value) in [
        ("authorization", "Basic QUtJQUpURVNUVEVTVFRFU1RROndyb25n"),
        ("authorization", "Basic ***"),
        ("authorization", "Bearer a.b.c"),
        ("cookie", "internal_auth_session=mps_0123456789012345678901234567890123456789012"),
    ] {
        let answer = user(&server, name, value).await.expect(401);
        assert_eq!(answer.json()["message"], "error authenticating request", "{value}");
    }
    let nobody = user(&server, "accept", "*/*").await.expect(200).json();
    assert_eq!(nobody["user"]["id"], "");
    assert_eq!(nobody["user"]["creation_date"], 0);
    let body = format!(r#"{{"access_key_id":"{KEY}","secret_access_key":"no"}}"#);
    server.post("/auth/login", &body).await.expect(401);
    server.call("POST", "/auth/login", &[], "").await.expect(401);
}

#[tokio::test]
async fn the_server_about_itself() {
    let server = Server::empty().await;
    let config = server.get("/config").await.expect(200).json();
    assert_eq!(config["version_config"]["version"], "1.2.3");
    assert_eq!(config["version_config"]["version_context"], "lakeFS");
    assert_eq!(config["storage_config"]["blockstore_type"], "local");
    assert_eq!(config["storage_config"]["blockstore_namespace_ValidityRegex"], "^local://");
    assert_eq!(config["storage_config"]["default_namespace_prefix"], "local://");
    assert_eq!(config["storage_config"]["pre_sign_support"], false);
    assert_eq!(server.get("/config/storage").await.expect(200).json(), config["storage_config"]);
    let setup = server.get("/setup_lakefs").await.expect(200).json();
    assert_eq!(setup["state"], "initialized");
    assert_eq!(setup["login_config"]["RBAC"], "internal");
    assert_eq!(server.get("/auth/capabilities").await.expect(200).json()["invite_user"], false);
    server.post("/setup_lakefs", r#"{"username":"x"}"#).await.expect(409);
    server.post("/setup_lakefs", r#"{"username":""}"#).await.expect(400);
    let events = |count: i64| format!(r#"{{"events":[{{"class":"c","name":"n","count":{count}}}]}}"#);
    server.post("/statistics", &events(1)).await.expect(204);
    server.post("/statistics", &events(-1)).await.expect(400);
    server.get("/usage-report/summary").await.expect(404);
    assert!(server.get("/healthcheck").await.expect(204).body.is_empty());
}
