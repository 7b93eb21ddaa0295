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

/// An operation as the document describes it, and a request that fits the description.
struct Described<'d> {
    document: &'d Value,
    operation: &'d Value,
    method: String,
    /// With base, filled.
    path: String,
    /// Query parameters that must be there.
    query: Vec<(String, String)>,
    body: Option<Value>,
}

fn described(document: &Value) -> Vec<Described<'_>> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let base = item["servers"][0]["url"].as_str().unwrap_or("/api/v1");
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "servers") {
            let filled = path.split('/').map(|segment| if segment.starts_with('{') { "1" } else { segment });
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let required = parameters.filter(|p| p["in"] == "query" && p["required"] == true);
            let schema = operation.pointer("/requestBody/content/application~1json/schema");
            all.push(Described {
                document,
                operation,
                method: method.to_uppercase(),
                path: format!("{base}{}", filled.collect::<Vec<_>>().join("/")),
                query: required.map(|p| (p["name"].as_str().unwrap().to_owned(), "x".to_owned())).collect(),
                body: schema.map(|schema| example(document, schema)),
            });
        }
    }
    all
}

impl Described<'_> {
    async fn send(
        &self,
        server: &Server,
        query: &[(String, String)],
        headers: &[(String, String)],
        body: Option<String>,
    ) -> Answer {
        let query = query.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        let mut request =
            Request::builder().method(self.method.as_str()).uri(format!("{}?{query}", self.path));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        server.send(request.body(body.unwrap_or_default().into()).unwrap()).await
    }

    /// What does not fit: (what is wrong, query, headers, body).
    #[allow(clippy::type_complexity)]
    fn malformed(&self) -> Vec<(String, Vec<(String, String)>, Vec<(String, String)>, Option<String>)> {
        let json = ("content-type".to_owned(), "application/json".to_owned());
        let body = self.body.as_ref().map(Value::to_string);
        let mut all = Vec::new();
        for parameter in self.operation["parameters"].as_array().into_iter().flatten() {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            let mut wrong = match schema["type"].as_str().unwrap() {
                "integer" => vec!["x", "1.5", "99999999999999999999", ""],
                "boolean" => vec!["maybe", ""],
                _ if schema["enum"].is_array() => vec!["neither", ""],
                _ if schema["format"] == "date-time" => vec!["yesterday", ""],
                _ if schema["pattern"].is_string() => vec!["bytes=x"],
                _ => vec![],
            };
            if schema["type"] == "string" && parameter["allowEmptyValue"] != true {
                wrong.push("");
            }
            let long = "x".repeat(schema["maxLength"].as_u64().map_or(0, |most| most as usize + 1));
            if !long.is_empty() {
                wrong.push(&long);
            }
            match parameter["in"].as_str().unwrap() {
                "query" => {
                    let others: Vec<_> = self.query.iter().filter(|(n, _)| n != name).cloned().collect();
                    let pair = |value: &str| (name.to_owned(), value.to_owned());
                    for value in wrong {
                        let query = [&others[..], &[pair(value)]].concat();
                        all.push((format!("{name}={value}"), query, vec![json.clone()], body.clone()));
                    }
                    if schema["type"] != "array" {
                        let fitting = if schema["type"] == "integer" { "1" } else { "true" };
                        let query = [&others[..], &[pair(fitting), pair(fitting)]].concat();
                        all.push((format!("{name} twice"), query, vec![json.clone()], body.clone()));
                    }
                    if parameter["required"] == true {
                        all.push((format!("no {name}"), others, vec![json.clone()], body.clone()));
                    }
                }
                "header" => {
                    for value in wrong {
                        let headers = vec![json.clone(), (name.to_owned(), value.to_owned())];
                        all.push((format!("{name}: {value}"), self.query.clone(), headers, body.clone()));
                    }
                }
                _ => {}
            }
        }
        let Some(fitting) = &self.body else { return all };
        let schema = self.operation.pointer("/requestBody/content/application~1json/schema").unwrap();
        let mut bodies =
            vec![("half a body".to_owned(), "{".to_owned()), ("a text".to_owned(), "\"x\"".to_owned())];
        if self.operation["requestBody"]["required"] == true {
            bodies.push(("no body".to_owned(), String::new()));
        }
        let schema =
            schema["$ref"].as_str().map_or(schema, |name| self.document.pointer(&name[1..]).unwrap());
        for (member, schema) in schema["properties"].as_object().into_iter().flatten() {
            let wrong = if schema["type"] == "string" { 7.into() } else { Value::from("x") };
            let mut body = fitting.clone();
            body[member] = wrong;
            bodies.push((format!("{member} of another kind"), body.to_string()));
        }
        for member in schema["required"].as_array().into_iter().flatten() {
            let mut body = fitting.clone();
            body.as_object_mut().unwrap().remove(member.as_str().unwrap());
            bodies.push((format!("no {member}"), body.to_string()));
        }
        for (what, body) in bodies {
            all.push((what, self.query.clone(), vec![json.clone()], Some(body)));
        }
        for content_type in ["text/plain", "Application/JSON", "application/problem+json"] {
            let headers = vec![("content-type".to_owned(), content_type.to_owned())];
            all.push((content_type.to_owned(), self.query.clone(), headers, body.clone()));
        }
        all
    }
}

/// API-0.9 to 0.22 on every operation: what does not fit the document is 400, whoever sends it, and no handler sees it.
#[tokio::test]
async fn what_does_not_fit_the_document_is_400_everywhere() {
    let server = Server::empty().await;
    let document: Value = serde_json::from_str(&millpond_http::openapi_document()).unwrap();
    let (mut sent, mut passed) = (0, Vec::new());
    for operation in described(&document) {
        for (what, query, headers, body) in operation.malformed() {
            let answer = operation.send(&server, &query, &headers, body).await;
            sent += 1;
            let media_type = answer.header("content-type");
            let told = matches!(
                media_type,
                "application/json" | "application/problem+json" | "text/plain; charset=utf-8" | ""
            );
            if answer.status != 400 || !told || !answer.header("x-request-id").is_empty() {
                let (method, path) = (&operation.method, &operation.path);
                passed.push(format!(
                    "{method} {path}: {what}: {} {media_type} {}",
                    answer.status,
                    answer.text()
                ));
            }
        }
    }
    eprintln!("{sent} malformed requests");
    assert!(passed.is_empty(), "{} of {sent}:\n{}", passed.len(), passed.join("\n"));
    assert!(sent > 900, "{sent}");
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
    server.post("/sts/login", r#"{"code":"c","state":"s","redirect_uri":"r"}"#).await.expect(501);
    let runs = server.get("/repositories/repo/actions/runs").await.expect(200).json();
    assert_eq!(runs["results"], serde_json::json!([]));
    server.get("/repositories/none/actions/runs").await.expect(404);
}
