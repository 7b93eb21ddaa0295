//! Users, groups, policies and keys through this door (area 5).

use crate::server::{Answer, NOW, Server};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt;

/// A user with this policy and a key; gives the header that signs in.
async fn with_user(server: &Server, name: &str, statements: &Value) -> String {
    server.post("/auth/users", &json!({"id": name}).to_string()).await.expect(201);
    let policy = json!({"id": name, "statement": statements}).to_string();
    server.post("/auth/policies", &policy).await.expect(201);
    server.put(&format!("/auth/users/{name}/policies/{name}"), "").await.expect(201);
    key(server, name).await
}

async fn key(server: &Server, name: &str) -> String {
    let made = server.post(&format!("/auth/users/{name}/credentials"), "").await.expect(201).json();
    let (id, secret) = (made["access_key_id"].as_str().unwrap(), made["secret_access_key"].as_str().unwrap());
    assert_eq!(secret.len(), 40);
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

async fn call(server: &Server, key: &str, method: &str, path: &str, body: &str) -> Answer {
    let request = Request::builder().method(method).uri(format!("/api/v1{path}"));
    let request = request.header("authorization", key).header("content-type", "application/json");
    server.send(request.body(body.to_owned().into()).unwrap()).await
}

fn names(list: &Value) -> Vec<&str> {
    list["results"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn users_are_made_shown_and_deleted() {
    let server = Server::empty().await;
    let made = server.post("/auth/users", r#"{"id":"ann"}"#).await.expect(201).json();
    assert_eq!(made, json!({"id": "ann", "creation_date": NOW, "friendly_name": "", "email": ""}));
    assert_eq!(server.get("/auth/users/ann").await.expect(200).json(), made);
    assert_eq!(names(&server.get("/auth/users").await.expect(200).json()), ["admin", "ann"]);
    let again = server.post("/auth/users", r#"{"id":"ann"}"#).await.expect(409);
    assert!(again.text().contains("Already exists"));
    server.delete("/auth/users/ann").await.expect(204);
    server.delete("/auth/users/ann").await.expect(404);
    assert!(server.get("/auth/users/ann").await.expect(404).text().contains("user not found"));
    server.delete("/auth/users/admin").await.expect(400);

    for (id, status) in [("", 400), ("a%b", 400), ("a/b", 400), ("a\nb", 400), ("ä b", 201)] {
        server.post("/auth/users", &json!({"id": id}).to_string()).await.expect(status);
    }
    server.call("POST", "/auth/users", &[], "").await.expect(400);
    server.get("/auth/users/a%25b").await.expect(400);
    for (id, status) in [("not-an-address", 400), ("ann@example.com", 501)] {
        let invited = json!({"id": id, "invite_user": true}).to_string();
        server.post("/auth/users", &invited).await.expect(status);
    }
}

/// API-5.14 and 5.15, done right: whole names, and no page that promises what is not there.
#[tokio::test]
async fn lists_have_pages() {
    let server = Server::empty().await;
    for name in ["u1", "u2", "u3", "v1"] {
        server.post("/auth/users", &json!({"id": name}).to_string()).await.expect(201);
    }
    let page = server.get("/auth/users?prefix=u&amount=2").await.expect(200).json();
    assert_eq!(names(&page), ["u1", "u2"]);
    let pagination = json!({"has_more": true, "next_offset": "u2", "results": 2, "max_per_page": 1000});
    assert_eq!(page["pagination"], pagination);
    let page = server.get("/auth/users?prefix=u&amount=2&after=u2").await.expect(200).json();
    assert_eq!((names(&page), &page["pagination"]["has_more"]), (vec!["u3"], &json!(false)));
    let page = server.get("/auth/users?prefix=u&amount=3").await.expect(200).json();
    assert_eq!(page["pagination"]["has_more"], false, "a full page with nothing behind it");
    server.get("/auth/users?amount=1001").await.expect(400);
}

#[tokio::test]
async fn keys_are_shown_once_and_end_at_once() {
    let server = Server::empty().await;
    let user =
        with_user(&server, "ann", &json!([{"effect": "allow", "action": ["fs:*"], "resource": "*"}])).await;
    call(&server, &user, "GET", "/repositories", "").await.expect(200);
    let list = server.get("/auth/users/ann/credentials").await.expect(200).json();
    let id = list["results"][0]["access_key_id"].as_str().unwrap();
    assert!(list["results"][0]["secret_access_key"].is_null());
    let one = format!("/auth/users/ann/credentials/{id}");
    assert_eq!(server.get(&one).await.expect(200).json(), list["results"][0]);
    server.get(&format!("/auth/users/admin/credentials/{id}")).await.expect(404);
    server.delete(&format!("/auth/users/admin/credentials/{id}")).await.expect(404);
    server.post("/auth/users/nobody/credentials", "").await.expect(404);
    // What the key was traded for ends with it.
    let secret = STANDARD.decode(user.strip_prefix("Basic ").unwrap()).unwrap();
    let secret = String::from_utf8(secret).unwrap().split_once(':').unwrap().1.to_owned();
    let login = json!({"access_key_id": id, "secret_access_key": secret}).to_string();
    let token = server.post("/auth/login", &login).await.expect(200).json()["token"].clone();
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    call(&server, &bearer, "GET", "/repositories", "").await.expect(200);
    server.delete(&one).await.expect(204);
    call(&server, &user, "GET", "/repositories", "").await.expect(401);
    call(&server, &bearer, "GET", "/repositories", "").await.expect(401);
    server.delete(&one).await.expect(404);
}

#[tokio::test]
async fn groups_have_members_and_policies() {
    let server = Server::empty().await;
    let base = names(&server.get("/auth/groups").await.expect(200).json()).join(" ");
    assert_eq!(base, "Admins Developers SuperUsers Viewers");
    let group = server.post("/auth/groups", r#"{"id":"g","description":"of us"}"#).await.expect(201).json();
    assert_eq!(group, json!({"id": "g", "name": "g", "creation_date": NOW, "description": "of us"}));
    assert_eq!(server.get("/auth/groups/g").await.expect(200).json(), group);
    server.post("/auth/groups", r#"{"id":"g"}"#).await.expect(409);
    server.call("POST", "/auth/groups", &[], "").await.expect(400);
    server.post("/auth/users", r#"{"id":"ann"}"#).await.expect(201);
    let member = "/auth/groups/g/members/ann";
    server.put(member, "").await.expect(201);
    server.put(member, "").await.expect(409);
    server.put("/auth/groups/g/members/nobody", "").await.expect(404);
    server.put("/auth/groups/none/members/ann", "").await.expect(404);
    assert_eq!(names(&server.get("/auth/groups/g/members").await.expect(200).json()), ["ann"]);
    assert_eq!(names(&server.get("/auth/users/ann/groups").await.expect(200).json()), ["g"]);
    let attached = "/auth/groups/g/policies/FSReadAll";
    server.put(attached, "").await.expect(201);
    server.put(attached, "").await.expect(409);
    assert_eq!(names(&server.get("/auth/groups/g/policies").await.expect(200).json()), ["FSReadAll"]);
    server.put("/auth/users/ann/policies/AuthFullAccess", "").await.expect(201);
    let policies = |flag: &str| format!("/auth/users/ann/policies?effective={flag}");
    assert_eq!(names(&server.get(&policies("false")).await.expect(200).json()), ["AuthFullAccess"]);
    let effective = server.get(&policies("true")).await.expect(200).json();
    assert_eq!(names(&effective), ["AuthFullAccess", "FSReadAll"]);
    server.delete("/auth/users/ann/policies/AuthFullAccess").await.expect(204);
    server.delete("/auth/users/ann/policies/AuthFullAccess").await.expect(204);
    server.delete("/auth/users/ann/policies/None").await.expect(404);
    server.delete(attached).await.expect(204);
    server.delete(member).await.expect(204);
    server.delete(member).await.expect(204);
    server.delete("/auth/groups/g/members/nobody").await.expect(404);
    server.delete("/auth/groups/g").await.expect(204);
    server.get("/auth/groups/g").await.expect(404);
}

#[tokio::test]
async fn a_group_has_a_level_of_the_acl() {
    let server = Server::empty().await;
    server.post("/auth/groups", r#"{"id":"g"}"#).await.expect(201);
    let acl = "/auth/groups/g/acl";
    assert_eq!(server.get(acl).await.expect(200).json(), json!({"permission": ""}));
    server.post(acl, r#"{"permission":"Write"}"#).await.expect(201);
    assert_eq!(server.get(acl).await.expect(200).json(), json!({"permission": "Write"}));
    server.post(acl, r#"{"permission":"All"}"#).await.expect(400);
    server.post("/auth/groups/none/acl", r#"{"permission":"Read"}"#).await.expect(404);
    let other = server.get("/auth/groups/Viewers/acl").await.expect(404).json();
    assert_eq!(other["no_acl"], true);
}

#[tokio::test]
async fn policies_are_saved_as_written_or_refused() {
    let server = Server::empty().await;
    let statement = json!({
        "effect": "deny", "action": ["fs:Read*"], "resource": "arn:lakefs:fs:::repository/${user}-*",
        "condition": {"NotIpAddress": {"SourceIp": ["10.0.0.0/8"]}},
    });
    let policy = json!({"id": "p", "statement": [statement]});
    let made = server.post("/auth/policies", &policy.to_string()).await.expect(201).json();
    assert_eq!(made, json!({"id": "p", "creation_date": NOW, "statement": [statement]}));
    assert_eq!(server.get("/auth/policies/p").await.expect(200).json(), made);
    server.post("/auth/policies", &policy.to_string()).await.expect(409);
    let other = json!({"id": "q", "statement": [statement]}).to_string();
    assert!(
        server.put("/auth/policies/p", &other).await.expect(400).text().contains("can't update policy id")
    );
    server.put("/auth/policies/q", &other).await.expect(404);
    server.put("/auth/policies/p", &policy.to_string()).await.expect(200);
    let bad = |member: &str, value: Value| {
        let mut statement = statement.clone();
        statement[member] = value;
        json!({"id": "bad", "statement": [statement]}).to_string()
    };
    for (member, value) in [
        ("effect", json!("maybe")),
        ("action", json!([])),
        ("action", json!(["fs:WriteObjekt"])),
        ("action", json!(["*"])),
        ("resource", json!("")),
        ("resource", json!("arn:lakefs:fs")),
        ("condition", json!({"DateLessThan": {"CurrentTime": ["2030"]}})),
        ("condition", json!({"IpAddress": {"SourceIp": ["everywhere"]}})),
        ("conditions", json!({})),
    ] {
        let answer = server.post("/auth/policies", &bad(member, value)).await.expect(400);
        assert_eq!(answer.header("content-type"), "application/json", "{member}");
    }
    server.post("/auth/policies", r#"{"id":"none","statement":[]}"#).await.expect(400);
    server.delete("/auth/policies/p").await.expect(204);
    server.delete("/auth/policies/p").await.expect(404);
}

#[tokio::test]
async fn principals_of_other_systems_belong_to_users() {
    let server = Server::empty().await;
    for name in ["ann", "bob"] {
        server.post("/auth/users", &json!({"id": name}).to_string()).await.expect(201);
    }
    let of = |user: &str, id: &str| format!("/auth/users/{user}/external/principals?principalId={id}");
    server.post(&of("ann", "arn:x"), "").await.expect(201);
    server.post(&of("bob", "arn:x"), "").await.expect(409);
    server.post(&of("nobody", "arn:y"), "").await.expect(404);
    let found = server.get("/auth/external/principals?principalId=arn:x").await.expect(200).json();
    assert_eq!(found, json!({"id": "arn:x", "user_id": "ann"}));
    let list = server.get("/auth/users/ann/external/principals/ls").await.expect(200).json();
    assert_eq!(names(&list), ["arn:x"]);
    server.delete(&of("bob", "arn:x")).await.expect(404);
    server.delete(&of("ann", "arn:x")).await.expect(204);
    server.get("/auth/external/principals?principalId=arn:x").await.expect(404);
}

#[tokio::test]
async fn a_refusal_is_the_same_for_what_exists_and_what_does_not() {
    let server = Server::empty().await;
    let own = json!([
        {"effect": "allow", "action": ["auth:CreateCredentials", "auth:ListCredentials"],
         "resource": "arn:lakefs:auth:::user/${user}"},
    ]);
    let eve = with_user(&server, "eve", &own).await;
    call(&server, &eve, "GET", "/auth/users/eve/credentials", "").await.expect(200);
    call(&server, &eve, "POST", "/auth/users/eve/credentials", "").await.expect(201);
    let policy = r#"{"id":"FSReadAll","statement":[{"effect":"allow","action":["fs:*"],"resource":"*"}]}"#;
    for (method, existing, missing, body) in [
        ("GET", "/auth/users/admin", "/auth/users/nobody", ""),
        ("DELETE", "/auth/users/admin", "/auth/users/nobody", ""),
        ("POST", "/auth/users/admin/credentials", "/auth/users/nobody/credentials", ""),
        ("GET", "/auth/groups/Admins/members", "/auth/groups/none/members", ""),
        ("PUT", "/auth/groups/Admins/members/eve", "/auth/groups/none/members/eve", ""),
        ("PUT", "/auth/users/eve/policies/FSFullAccess", "/auth/users/nobody/policies/None", ""),
        ("GET", "/auth/policies/FSReadAll", "/auth/policies/None", ""),
        ("PUT", "/auth/policies/FSReadAll", "/auth/policies/FSReadAll", policy),
        ("POST", "/auth/policies", "/auth/policies", policy),
        ("GET", "/auth/users", "/auth/groups", ""),
        ("GET", "/config/storage", "/auth/policies", ""),
    ] {
        for path in [existing, missing] {
            let answer = call(&server, &eve, method, path, body).await.expect(401);
            assert!(answer.text().contains("insufficient permissions: not allowed to "), "{}", answer.text());
        }
    }
    call(&server, &eve, "GET", "/config", "").await.expect(200);
}

#[tokio::test]
async fn what_was_allowed_is_denied_from_the_next_request_on() {
    let server = Server::with_repository().await;
    let eve =
        with_user(&server, "eve", &json!([{"effect": "allow", "action": ["fs:*"], "resource": "*"}])).await;
    call(&server, &eve, "GET", "/repositories/repo", "").await.expect(200);
    let deny = json!({"id": "no", "statement": [
        {"effect": "deny", "action": ["fs:ReadRepository"], "resource": "arn:lakefs:fs:::repository/repo"},
    ]});
    server.post("/auth/policies", &deny.to_string()).await.expect(201);
    server.post("/auth/groups", r#"{"id":"g"}"#).await.expect(201);
    server.put("/auth/groups/g/policies/no", "").await.expect(201);
    call(&server, &eve, "GET", "/repositories/repo", "").await.expect(200);
    server.put("/auth/groups/g/members/eve", "").await.expect(201);
    call(&server, &eve, "GET", "/repositories/repo", "").await.expect(401);
    server.delete("/auth/groups/g/members/eve").await.expect(204);
    call(&server, &eve, "GET", "/repositories/repo", "").await.expect(200);
}

/// An upload and a download that run when their user is deleted end there, and nothing is stored.
#[tokio::test]
async fn requests_of_a_deleted_user_are_refused_while_they_run() {
    let server = Server::with_repository().await;
    let eve =
        with_user(&server, "eve", &json!([{"effect": "allow", "action": ["fs:*"], "resource": "*"}])).await;
    server.upload("main", "big", &"x".repeat(3_000_000)).await;
    let read =
        Request::get("/api/v1/repositories/repo/refs/main/objects?path=big").header("authorization", &eve);
    let answer = server.router.clone().oneshot(read.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut download = answer.into_body().into_data_stream();
    assert!(download.next().await.unwrap().is_ok(), "it runs");

    let (mut pieces, body) = mpsc::channel::<Result<Bytes, std::io::Error>>(0);
    let write = Request::post("/api/v1/repositories/repo/branches/main/objects?path=new");
    let write = write.header("authorization", &eve).header("content-type", "text/plain");
    let upload = tokio::spawn(server.router.clone().oneshot(write.body(Body::from_stream(body)).unwrap()));
    // A channel without room: the second piece is taken when the first was written.
    pieces.send(Ok(Bytes::from(vec![b'a'; 100_000]))).await.unwrap();
    pieces.send(Ok(Bytes::from(vec![b'b'; 100_000]))).await.unwrap();

    server.delete("/auth/users/eve").await.expect(204);
    let rest: Vec<_> = download.collect().await;
    assert!(rest.iter().any(Result::is_err), "the download breaks off");
    drop(pieces.send(Ok(Bytes::from(vec![b'c'; 100_000]))).await);
    drop(pieces);
    assert_eq!(upload.await.unwrap().unwrap().status(), 401);
    server.get("/repositories/repo/refs/main/objects/stat?path=new").await.expect(404);
    call(&server, &eve, "GET", "/repositories/repo", "").await.expect(401);
    // Somebody of the same name is somebody else.
    server.post("/auth/users", r#"{"id":"eve"}"#).await.expect(201);
    call(&server, &eve, "GET", "/repositories/repo", "").await.expect(401);
}

#[tokio::test]
async fn explanations_name_the_statement() {
    let server = Server::empty().await;
    let eve = with_user(
        &server,
        "eve",
        &json!([
            {"effect": "allow", "action": ["fs:*"], "resource": "arn:lakefs:fs:::repository/a*"},
            {"effect": "deny", "action": ["fs:Delete*"], "resource": "*"},
        ]),
    )
    .await;
    server.put("/auth/groups/Viewers/members/eve", "").await.expect(201);
    let ask = async |user: &str, action: &str, repository: &str, key: &str| {
        let uri = format!(
            "/api/millpond/v1/auth/explain?user={user}&action={action}&resource=arn:lakefs:fs:::repository/{repository}"
        );
        server.send(Request::get(uri).header("authorization", key).body(Body::empty()).unwrap()).await
    };
    let admin = crate::server::BASIC;
    let answer = ask("eve", "fs:ReadRepository", "bb", &eve).await.expect(200).json();
    assert_eq!((&answer["allowed"], &answer["policy"]), (&json!(true), &json!("FSReadAll")));
    assert_eq!(answer["through"], json!(["Viewers"]));
    let answer = ask("eve", "fs:DeleteRepository", "ab", admin).await.expect(200).json();
    assert_eq!(
        (&answer["allowed"], &answer["because"], &answer["statement"]),
        (&json!(false), &json!("denied"), &json!(2))
    );
    let answer = ask("eve", "fs:CreateRepository", "bb", admin).await.expect(200).json();
    assert_eq!((&answer["allowed"], &answer["because"]), (&json!(false), &json!("no-statement")));
    assert_eq!(answer["near"], json!([{"policy": "eve", "statement": 1, "misses": "resource"}]));
    ask("admin", "fs:ReadRepository", "bb", &eve).await.expect(403);
    ask("nobody", "fs:ReadRepository", "bb", admin).await.expect(404);
    ask("eve", "fs:Nothing", "bb", admin).await.expect(400);
}
