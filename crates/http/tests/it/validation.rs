//! The order of API-0.9: shape, then who, then the verb.

use crate::server::{Answer, Server};
use axum::body::Body;
use http::Request;
use millpond_service::limits;
use serde_json::Value;

async fn anonymous(server: &Server, method: &str, path: &str) -> Answer {
    let uri = format!("/api/v1{path}");
    server.send(Request::builder().method(method).uri(uri).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_malformed_anonymous_request_is_400_without_id_a_good_one_401_with_it() {
    let server = Server::empty().await;
    let bad = anonymous(&server, "GET", "/repositories?amount=1001").await.expect(400);
    assert_eq!(bad.header("x-request-id"), "");
    assert!(bad.json()["message"].is_string());
    let good = anonymous(&server, "GET", "/repositories").await.expect(401);
    assert!(!good.header("x-request-id").is_empty());
    assert_eq!(good.json()["message"], "error authenticating request");
    assert_eq!(good.header("x-content-type-options"), "nosniff");
    assert!(good.body.ends_with(b"\n"));
}

#[tokio::test]
async fn unknown_endpoints_are_404_json_and_unknown_methods_405() {
    let server = Server::empty().await;
    for (method, path) in [
        ("GET", "/nothing"),
        ("GET", ""),
        ("GET", "/repositories/"),
        ("HEAD", "/repositories"),
        ("OPTIONS", "/repositories"),
        ("PATCH", "/repositories"),
    ] {
        let answer = anonymous(&server, method, path).await.expect(404);
        assert_eq!(answer.header("x-request-id"), "", "{method} {path}");
        if method == "GET" {
            assert_eq!(answer.json()["message"], "invalid API endpoint");
        }
    }
    assert!(anonymous(&server, "BREW", "/repositories").await.expect(405).body.is_empty());
}

#[tokio::test]
async fn every_operation_that_needs_a_login_refuses_anonymous_callers() {
    let server = Server::with_repository().await;
    let document: Value = serde_json::from_str(&millpond_http::openapi_document()).unwrap();
    let mut checked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if method == "servers" || operation["security"] == serde_json::json!([]) {
                continue;
            }
            let base = if path.starts_with("/millpond") { "/api" } else { "/api/v1" };
            let filled: Vec<&str> = path
                .split('/')
                .map(|segment| match segment {
                    "{repository}" => "repo",
                    "{branch}" | "{ref}" | "{leftRef}" | "{rightRef}" | "{sourceRef}" => "main",
                    "{destinationBranch}" => "main",
                    _ if segment.starts_with('{') => "1",
                    _ => segment,
                })
                .collect();
            let required = operation["parameters"].as_array().into_iter().flatten();
            let query: Vec<String> = required
                .filter(|p| p["in"] == "query" && p["required"] == true)
                .map(|p| format!("{}=x", p["name"].as_str().unwrap()))
                .collect();
            let mut request = Request::builder().method(method.to_uppercase().as_str()).uri(format!(
                "{base}{}?{}",
                filled.join("/"),
                query.join("&")
            ));
            let mut body = String::new();
            if let Some(json) = operation.pointer("/requestBody/content/application~1json/schema") {
                request = request.header("content-type", "application/json");
                body = example(&document, json).to_string();
            }
            let answer = server.send(request.body(Body::from(body)).unwrap()).await;
            assert_eq!(answer.status, 401, "{method} {path}: {}", answer.text());
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} operations were checked");
}

/// The smallest value that fits a schema.
fn example(document: &Value, schema: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return example(document, document.pointer(&reference[1..]).unwrap());
    }
    match schema["type"].as_str().unwrap() {
        "object" => schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|name| name.as_str().unwrap())
            .map(|name| (name.to_owned(), example(document, &schema["properties"][name])))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        "array" if schema["minItems"] == 1 => vec![example(document, &schema["items"])].into(),
        "array" => Value::Array(Vec::new()),
        "integer" => 1.into(),
        "boolean" => false.into(),
        _ if schema["enum"].is_array() => schema["enum"][0].clone(),
        _ if schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("local")) => {
            "local://x".into()
        }
        _ => "abc".into(),
    }
}

#[tokio::test]
async fn bodies_have_a_limit() {
    let server = Server::with_repository().await;
    let body = format!(r#"{{"message":"{}"}}"#, "x".repeat(limits::DOCUMENT_BYTES_MAX));
    server.post("/repositories/repo/branches/main/commits", &body).await.expect(413);
}

#[tokio::test]
async fn little_is_read_and_parsed_for_somebody_unknown() {
    let server = Server::with_repository().await;
    let wrong = "Basic QUtJQUpURVNUVEVTVFRFU1RROndyb25n";
    let send = |path: &'static str, authorization: Option<&'static str>, body: String| {
        let mut request = Request::post(format!("/api/v1{path}")).header("content-type", "application/json");
        if let Some(text) = authorization {
            request = request.header("authorization", text);
        }
        server.send(request.body(Body::from(body)).unwrap())
    };
    // Each of these members takes some 600 bytes once it is parsed.
    let huge = format!("[{}0]", "{\"\":0},".repeat(10_000));
    let commits = "/repositories/repo/branches/main/commits";
    send(commits, None, huge.clone()).await.expect(401);
    send(commits, Some(wrong), huge.clone()).await.expect(401);
    send("/auth/login", None, huge.clone()).await.expect(413);
    send(commits, Some(crate::server::BASIC), huge).await.expect(400);
    send(commits, None, "[]".to_owned()).await.expect(400);
}

#[tokio::test]
async fn names_that_break_their_rules() {
    let server = Server::with_repository().await;
    server.get("/repositories/Bad_Name").await.expect(404);
    server.get("/repositories/repo/branches/main~1").await.expect(400);
    server.get("/repositories/repo/commits/~1").await.expect(400);
    server.get("/repositories/repo/tags/a..b").await.expect(400);
    server.get("/repositories/repo/refs/main/objects/stat?path=%ff").await.expect(400);
    let long = format!("/repositories/repo/refs/main/objects/stat?path={}", "x".repeat(1025));
    server.get(&long).await.expect(400);
    server.get(&long[..long.len() - 1]).await.expect(404);
}

#[tokio::test]
async fn what_is_not_offered_says_so() {
    let server = Server::with_repository().await;
    server.post("/repositories/repo/dump", "").await.expect(501);
    let runs = server.get("/repositories/repo/actions/runs").await.expect(200).json();
    assert_eq!(runs["results"], serde_json::json!([]));
    server.get("/repositories/none/actions/runs").await.expect(404);
}
