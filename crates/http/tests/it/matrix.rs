//! The authorization matrix of this door: every operation of `/openapi.json` against everybody who might call it.
//!
//! The document says what each operation needs (`x-rights`), out of the row that routes it. Somebody with exactly
//! those rights must pass, and lacking any one of them must not: so a right that is declared and not asked for, and one
//! that is asked for and not declared, both fail here. A new operation whose request this file cannot make up fails
//! too: give it a line in [`Cells::request`].

use crate::server::{Answer, NOW, SECRET, Server};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Request;
use millpond_auth::{Auth, NewKey, NewUser, Sealer};
use millpond_kv::{Batch, MemoryKv};
use millpond_testkit::{ManualClock, Seeded};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Who asks: nobody, somebody with a secret that is not theirs, somebody without policies, ...
const CELLS: [&str; 7] =
    ["anonymous", "wrong key", "no policy", "allow", "deny over allow", "other repository", "expired key"];
const SECRET_OF_ALL: &str = "secret-of-everybody";

/// What is answered to whoever may, where this server in memory has nothing better to give.
const ANSWERS: &[(&str, u16)] = &[
    ("setup", 409),
    ("setupCommPrefs", 409),
    ("externalPrincipalLogin", 501),
    ("stsLogin", 501),
    ("getUsageReportSummary", 404),
    ("CreateCommitRecord", 409),
    ("commitAsyncStatus", 404),
    ("mergeIntoBranchAsyncStatus", 404),
    ("dumpStatus", 404),
    ("restoreSubmit", 400),
    ("restoreStatus", 404),
    ("restoreRefs", 400),
    ("prepareGarbageCollectionCommits", 501),
    ("prepareGarbageCollectionCommitsAsync", 501),
    ("prepareGarbageCollectionCommitsStatus", 404),
    ("prepareGarbageCollectionUncommitted", 501),
    ("getRun", 404),
    ("getRunHookOutput", 404),
    ("importStart", 403),
    ("importStatus", 404),
    ("importCancel", 404),
    ("createSymlinkFile", 501),
    ("createPresignMultipartUpload", 501),
    ("completePresignMultipartUpload", 501),
    ("abortPresignMultipartUpload", 501),
    ("uploadPart", 400),
    ("uploadPartCopy", 400),
    ("getMetadataObject", 410),
    ("backup", 501),
    ("rotateMasterKey", 501),
];

/// A row of the document.
struct Row {
    id: String,
    method: String,
    /// With base and names in braces.
    path: String,
    required: Vec<String>,
    anonymous: bool,
    /// Action and resource; the resource is missing where anything will do.
    rights: Vec<(String, Option<String>)>,
    success: u16,
}

fn rows() -> Vec<Row> {
    let document: Value = serde_json::from_str(&millpond_http::openapi_document()).unwrap();
    let mut rows = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let base = item["servers"][0]["url"].as_str().unwrap_or("/api/v1");
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "servers") {
            let texts = |value: &Value| -> Vec<String> {
                let items = value.as_array().into_iter().flatten();
                items.map(|item| item.as_str().unwrap().to_owned()).collect()
            };
            let rights =
                texts(&operation["x-rights"]).into_iter().map(|right| match right.split_once(" on ") {
                    Some((action, resource)) => (action.to_owned(), Some(resource.to_owned())),
                    None => (right, None),
                });
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let required = parameters.filter(|p| p["required"] == true && p["in"] == "query");
            let success = operation["responses"].as_object().unwrap().keys().find_map(|key| key.parse().ok());
            rows.push(Row {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: method.to_uppercase(),
                path: format!("{base}{path}"),
                required: required.map(|p| p["name"].as_str().unwrap().to_owned()).collect(),
                anonymous: operation["security"].is_array(),
                rights: rights.collect(),
                success: success.unwrap(),
            });
        }
    }
    rows
}

/// What one operation is asked with.
struct Asked {
    target: String,
    body: Value,
    values: BTreeMap<String, String>,
}

/// The same with the names of things that are not there.
fn renamed(text: &str, n: usize) -> String {
    let kinds = ["repo", "user", "group", "policy", "outside"];
    kinds
        .iter()
        .fold(text.to_owned(), |text, kind| text.replace(&format!("{kind}-{n}"), &format!("absent-{n}")))
}

impl Asked {
    fn about_nothing(&self, n: usize) -> Self {
        let body = serde_json::from_str(&renamed(&self.body.to_string(), n)).unwrap();
        Self { target: renamed(&self.target, n), body, values: BTreeMap::new() }
    }

    /// The resource with its names replaced by what the request says.
    fn fill(&self, resource: &str) -> Vec<String> {
        fn members(value: &Value, way: &[&str]) -> Vec<String> {
            match (value, way) {
                (Value::Array(items), way) => items.iter().flat_map(|item| members(item, way)).collect(),
                (value, [name, rest @ ..]) => members(&value[*name], rest),
                (value, []) => vec![value.as_str().expect("a right names a text").to_owned()],
            }
        }
        let mut filled = vec![String::new()];
        for piece in resource.split_inclusive(['{', '}']) {
            let added = match piece.strip_suffix('}') {
                None => vec![piece.trim_end_matches('{').to_owned()],
                Some(name) => match self.values.get(name) {
                    Some(value) => vec![value.clone()],
                    None => members(&self.body, &name.split('.').collect::<Vec<_>>()),
                },
            };
            filled = filled
                .iter()
                .flat_map(|text| added.iter().map(move |more| format!("{text}{more}")))
                .collect();
        }
        filled
    }
}

struct Cells {
    server: Server,
    tested: usize,
    failures: Vec<String>,
}

impl Cells {
    async fn new() -> Self {
        let kv = Arc::new(MemoryKv::new());
        let (random, clock) = (Arc::new(Seeded::new(8)), Arc::new(ManualClock::at((NOW - 3600) * 1000)));
        let auth = Auth::open(kv.clone(), Sealer::new(&[3; 32]), random, clock).await.unwrap();
        let mut change = auth.change().await;
        for name in ["nothing", "cell", "everything", "elsewhere"] {
            change.create_user(&NewUser { name, ..NewUser::default() }).unwrap();
            let given = Some((name, SECRET_OF_ALL));
            change.create_key(name, &NewKey { given, ..NewKey::default() }).unwrap();
        }
        // A key each, since a wrong secret closes a key for a while.
        for n in 0..rows().len() {
            let id = format!("key-{n}");
            let given = Some((id.as_str(), SECRET_OF_ALL));
            change.create_key("everything", &NewKey { given, ..NewKey::default() }).unwrap();
        }
        let given = Some(("expired", SECRET_OF_ALL));
        let lifetime = Some(Duration::from_secs(60));
        change.create_key("everything", &NewKey { given, lifetime, ..NewKey::default() }).unwrap();
        for (policy, user) in [("Cell", "cell"), ("Everything", "everything")] {
            let document = serde_json::from_value(json!({"statement": [everything()]})).unwrap();
            change.create_policy(policy, &document).unwrap();
            change.attach_to_user(policy, user).unwrap();
        }
        change.commit(Batch::default()).await.unwrap();
        let server = Server::over(kv).await;
        let body = r#"{"name":"elsewhere","storage_namespace":"local://elsewhere"}"#;
        server.post("/repositories", body).await.expect(201);
        Self { server, tested: 0, failures: Vec::new() }
    }

    /// A repository of its own, people of their own, and a request of an operation that whoever may can make.
    async fn request(&self, row: &Row, n: usize) -> Asked {
        let (repo, user, group, policy) =
            (format!("repo-{n}"), format!("user-{n}"), format!("group-{n}"), format!("policy-{n}"));
        let server = &self.server;
        let mut values: BTreeMap<String, String> = [
            ("repository", repo.as_str()),
            ("userId", &user),
            ("groupId", &group),
            ("policyId", &policy),
            ("user", &user),
            ("user_id", &user),
            ("caller", "cell"),
            ("principalId", &format!("outside-{n}")),
            ("branch", "dev"),
            ("tag", "t1"),
            ("ref", "main"),
            ("commitId", "main"),
            ("leftRef", "main"),
            ("rightRef", "dev"),
            ("sourceRef", "dev"),
            ("destinationBranch", "main"),
            ("destination_branch", "main"),
            ("path", "a/one"),
            ("dest_path", "a/copy"),
            ("task_id", "T"),
            ("id", "T"),
            ("run_id", "R"),
            ("hook_run_id", "H"),
            ("uploadId", "U"),
            ("partNumber", "1"),
            ("meta_range", "M"),
            ("range", "M"),
            ("type", "range"),
            ("object_id", "M"),
            ("action", "fs:ReadObject"),
            ("resource", "*"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        if row.path.contains("{repository}") {
            self.repository(&repo, &mut values).await;
        }
        if row.path.contains("/auth/") {
            self.people(row, &user, &group, &policy, &mut values).await;
        }
        let statement = json!([{"effect": "allow", "action": ["fs:ReadObject"], "resource": "*"}]);
        let body = match row.id.as_str() {
            "setup" => json!({"username": "x"}),
            "setupCommPrefs" => json!({"email": "a@b.c", "featureUpdates": false, "securityUpdates": false}),
            "login" => json!({"access_key_id": crate::server::KEY, "secret_access_key": SECRET}),
            "externalPrincipalLogin" => json!({"identityRequest": {}}),
            "stsLogin" => json!({"code": "c", "state": "s", "redirect_uri": "r"}),
            "postStatsEvents" => json!({"events": []}),
            "createUser" | "createGroup" => json!({"id": format!("new-{n}")}),
            "createPolicy" => json!({"id": format!("new-{n}"), "statement": statement}),
            "updatePolicy" => json!({"id": policy, "statement": statement}),
            "setGroupACL" => json!({"permission": "Read"}),
            "createRepository" => {
                json!({"name": format!("new-{n}"), "storage_namespace": format!("local://new-{n}")})
            }
            "setRepositoryMetadata" => json!({"metadata": {"a": "b"}}),
            "deleteRepositoryMetadata" => json!({"keys": ["a"]}),
            "restoreSubmit" | "restoreRefs" => {
                json!({"commits_meta_range_id": "", "tags_meta_range_id": "", "branches_meta_range_id": ""})
            }
            "setBranchProtectionRules" => json!([{"pattern": "x*"}]),
            "internalCreateBranchProtectionRule" => json!({"pattern": "x*"}),
            "internalDeleteBranchProtectionRule" => json!({"pattern": "zz*"}),
            "setGCRules" | "internalSetGarbageCollectionRules" => {
                json!({"default_retention_days": 7, "branches": []})
            }
            "createPullRequest" => {
                json!({"title": "t", "source_branch": "side", "destination_branch": "main"})
            }
            "updatePullRequest" => json!({"title": "other"}),
            "createBranch" => json!({"name": format!("new-{n}"), "source": "main"}),
            "resetBranch" => json!({"type": "reset"}),
            "revertBranch" => json!({"ref": "dev~1", "parent_number": 0}),
            "cherryPick" => json!({"ref": "side"}),
            "importStart" => json!({
                "paths": [{"path": "local:///in/", "type": "common_prefix", "destination": "in/"}],
                "commit": {"message": "m"},
            }),
            "createTag" => json!({"id": format!("new-{n}"), "ref": "main"}),
            "commit" | "commitAsync" => json!({"message": "m"}),
            // One that is there already.
            "CreateCommitRecord" => {
                let mut record =
                    server.get(&format!("/repositories/{repo}/commits/main")).await.expect(200).json();
                record["commit_id"] = record["id"].take();
                record["metarange_id"] = record["meta_range_id"].take();
                record
            }
            "stageObject" | "linkPhysicalAddress" => self.linked(row, &repo).await,
            "deleteObjects" => json!({"paths": ["a/one", "a/two"]}),
            "copyObject" => json!({"src_path": "a/one", "src_ref": "main"}),
            "updateObjectUserMetadata" => json!({"set": {"a": "b"}}),
            "uploadPart" | "completePresignMultipartUpload" | "abortPresignMultipartUpload" => {
                json!({"physical_address": "x", "parts": []})
            }
            "uploadPartCopy" => json!({
                "physical_address": "x",
                "copy_source": {"repository": repo, "ref": "main", "path": "a/two"},
            }),
            "createShortLivedKey" => json!({"lifetime_seconds": 900}),
            "createSignInLink" => json!({"user_id": user}),
            "setPassword" => json!({"user_id": user, "password": "correct horse battery"}),
            "adoptTree" => json!({"base": "", "changes": [
                {"path": "a/new", "object": {"size_bytes": 1, "checksum": "c", "mtime": 0}},
            ]}),
            "adoptCommit" => {
                let commit =
                    server.get(&format!("/repositories/{repo}/commits/main")).await.expect(200).json();
                json!({
                    "source_id": "ab".repeat(32), "tree": commit["meta_range_id"], "parents": [], "committer": "c",
                    "message": "m", "creation_date": 0,
                })
            }
            "backup" => json!({"directory": "/nowhere"}),
            _ => Value::Null,
        };
        if row.id == "prepareGarbageCollectionCommits" || row.id == "prepareGarbageCollectionCommitsAsync" {
            let rules = r#"{"default_retention_days":7,"branches":[]}"#;
            server.put(&format!("/repositories/{repo}/settings/gc_rules"), rules).await.expect(204);
        }
        if matches!(row.id.as_str(), "hardResetBranch" | "cherryPick" | "revertBranch" | "undo") {
            let path = format!("/repositories/{repo}/branches/dev");
            server.put(&path, r#"{"type":"reset"}"#).await.expect(204);
        }
        let mut target = row.path.clone();
        for (name, value) in &values {
            target = target.replace(&format!("{{{name}}}"), value);
        }
        let query: Vec<String> = row
            .required
            .iter()
            .map(|name| format!("{name}={}", values.get(name).map_or("x", |value| value.as_str())))
            .collect();
        if !query.is_empty() {
            target = format!("{target}?{}", query.join("&"));
        }
        let body = match body {
            // Names in a right may stand in both.
            Value::Object(map) => {
                values.retain(|name, _| !map.contains_key(name) || row.path.contains(name.as_str()));
                Value::Object(map)
            }
            body => body,
        };
        Asked { target, body, values }
    }

    /// A file at `a/one` and `a/two`, branches `dev` and `side` that went on, something staged, a tag, a pull
    /// request, rules.
    async fn repository(&self, repo: &str, values: &mut BTreeMap<String, String>) {
        let server = &self.server;
        let body = json!({"name": repo, "storage_namespace": format!("local://{repo}")}).to_string();
        server.post("/repositories", &body).await.expect(201);
        let at = format!("/repositories/{repo}");
        let put = async |branch: &str, path: &str| {
            let path = format!("{at}/branches/{branch}/objects?path={path}");
            server.call("POST", &path, &[], "x").await.expect(201);
        };
        let commit = async |branch: &str| {
            server.post(&format!("{at}/branches/{branch}/commits"), r#"{"message":"m"}"#).await.expect(201);
        };
        put("main", "a/one").await;
        put("main", "a/two").await;
        commit("main").await;
        for branch in ["dev", "side"] {
            let body = json!({"name": branch, "source": "main"}).to_string();
            server.post(&format!("{at}/branches"), &body).await.expect(201);
            for file in ["first", "second"] {
                put(branch, &format!("{branch}/{file}")).await;
                commit(branch).await;
            }
        }
        put("dev", "staged").await;
        server.post(&format!("{at}/tags"), r#"{"id":"t1","ref":"main"}"#).await.expect(201);
        let body = r#"{"title":"t","source_branch":"dev","destination_branch":"main"}"#;
        let pull = server.post(&format!("{at}/pulls"), body).await.expect(201).json();
        values.insert("pull_request".to_owned(), pull["id"].as_str().unwrap().to_owned());
        server.post(&format!("{at}/branch_protection"), r#"{"pattern":"zz*"}"#).await.expect(204);
        let rules = r#"{"default_retention_days":7,"branches":[]}"#;
        server.put(&format!("{at}/settings/gc_rules"), rules).await.expect(204);
    }

    async fn people(
        &self,
        row: &Row,
        user: &str,
        group: &str,
        policy: &str,
        values: &mut BTreeMap<String, String>,
    ) {
        let server = &self.server;
        server.post("/auth/users", &json!({"id": user}).to_string()).await.expect(201);
        server.post("/auth/groups", &json!({"id": group}).to_string()).await.expect(201);
        let statement = json!([{"effect": "allow", "action": ["fs:ReadObject"], "resource": "*"}]);
        let body = json!({"id": policy, "statement": statement}).to_string();
        server.post("/auth/policies", &body).await.expect(201);
        let key = server.post(&format!("/auth/users/{user}/credentials"), "").await.expect(201).json();
        values.insert("accessKeyId".to_owned(), key["access_key_id"].as_str().unwrap().to_owned());
        if row.id != "createUserExternalPrincipal" {
            let path =
                format!("/auth/users/{user}/external/principals?principalId={}", values["principalId"]);
            server.post(&path, "").await.expect(201);
        }
        if row.id == "getGroupACL" {
            let path = format!("/auth/groups/{group}/acl");
            server.post(&path, r#"{"permission":"Read"}"#).await.expect(201);
        }
    }

    /// The body that registers an address which was issued.
    async fn linked(&self, row: &Row, repo: &str) -> Value {
        let path = format!("/repositories/{repo}/branches/dev/staging/backing?path=a/one");
        let issued = self.server.get(&path).await.expect(200).json();
        if row.id == "stageObject" {
            json!({"physical_address": issued["physical_address"], "checksum": "c", "size_bytes": 1})
        } else {
            json!({"staging": issued, "checksum": "c", "size_bytes": 1})
        }
    }

    async fn send(&self, row: &Row, asked: &Asked, key: Option<(&str, &str)>) -> Answer {
        let mut request = Request::builder().method(row.method.as_str()).uri(&asked.target);
        if let Some((id, secret)) = key {
            let basic = BASE64.encode(format!("{id}:{secret}"));
            request = request.header("authorization", format!("Basic {basic}"));
        }
        let body = match &asked.body {
            Value::Null => String::new(),
            body => {
                request = request.header("content-type", "application/json");
                body.to_string()
            }
        };
        self.server.send(request.body(body.into()).unwrap()).await
    }

    /// What somebody with these statements is answered.
    async fn with_statements(&self, row: &Row, asked: &Asked, statements: Vec<Value>) -> Answer {
        let body = json!({"id": "Cell", "statement": statements}).to_string();
        self.server.put("/auth/policies/Cell", &body).await.expect(200);
        self.send(row, asked, Some(("cell", SECRET_OF_ALL))).await
    }

    fn cell(&mut self, row: &Row, cell: &str, answer: &Answer, expected: bool, is_so: bool) {
        assert!(CELLS.contains(&cell));
        self.tested += 1;
        if !is_so {
            let wanted = if expected { "may" } else { "may not" };
            self.failures.push(format!(
                "{} {} | {cell}: {wanted}, answered {} {}",
                row.id,
                row.path,
                answer.status,
                answer.text()
            ));
        }
    }

    fn passes(&mut self, row: &Row, cell: &str, answer: &Answer) {
        let expected =
            ANSWERS.iter().find(|(id, _)| *id == row.id).map_or(row.success, |(_, status)| *status);
        self.cell(row, cell, answer, true, answer.status == expected);
    }

    fn refused(&mut self, row: &Row, cell: &str, answer: &Answer) {
        // A batch answers for each of its items.
        let each = row.id == "deleteObjects" && answer.status == 200 && {
            let errors = answer.json()["errors"].clone();
            let errors = errors.as_array().unwrap();
            errors.len() == 2 && errors.iter().all(|error| error["status_code"] == 401)
        };
        let known = !matches!(cell, "anonymous" | "wrong key" | "expired key");
        // The API of lakeFS knows no 403 here (API-1.6); ours says of somebody known that they may not.
        let status = if known && row.path.starts_with("/api/millpond/") { 403 } else { 401 };
        self.cell(row, cell, answer, false, answer.status == status || each);
    }

    /// A list that is filtered shows the repository, or does not.
    fn shows(&mut self, row: &Row, cell: &str, answer: &Answer, repo: &str, expected: bool) {
        let results = if answer.status == 200 { answer.json()["results"].clone() } else { Value::Null };
        let names = results.as_array().into_iter().flatten();
        let shown = names.clone().any(|item| item["id"] == repo);
        let only = names.count() == usize::from(shown);
        let is_so = answer.status == 200 && shown == expected && (only || !expected);
        self.cell(row, cell, answer, expected, is_so);
    }

    async fn row(&mut self, row: &Row, n: usize) {
        let asked = self.request(row, n).await;
        let with = |id| Some((id, SECRET_OF_ALL));
        let anonymous = self.send(row, &asked, None).await;
        let wrong = self.send(row, &asked, Some((&format!("key-{n}"), "not-the-secret"))).await;
        let expired = self.send(row, &asked, with("expired")).await;
        let nobody = self.send(row, &asked, with("nothing")).await;
        if !row.rights.is_empty() {
            // Area 33: who may not, does not learn either whether there is such a thing.
            let missing = asked.about_nothing(n);
            let answer = self.send(row, &missing, with("nothing")).await;
            let (found, missed) = (renamed(&nobody.text(), n), answer.text());
            if (nobody.status, &found) != (answer.status, &missed) {
                self.failures
                    .push(format!("{} {}: tells whether it exists: {found} or {missed}", row.id, row.path));
            }
        }
        if row.rights.is_empty() {
            // Nothing is needed, or a login.
            let keys_count = !row.anonymous || row.id == "getCurrentUser";
            let denied = json!({"effect": "deny", "action": everything()["action"], "resource": "*"});
            let elsewhere = json!({"effect": "allow", "action": ["fs:*"], "resource": other("fs:x", "arn:lakefs:fs:::repository/x")});
            let allow = self.with_statements(row, &asked, vec![everything()]).await;
            let deny = self.with_statements(row, &asked, vec![everything(), denied]).await;
            let other = self.with_statements(row, &asked, vec![elsewhere]).await;
            for (cell, answer) in [("wrong key", &wrong), ("expired key", &expired)] {
                if keys_count { self.refused(row, cell, answer) } else { self.passes(row, cell, answer) }
            }
            if row.anonymous {
                self.passes(row, "anonymous", &anonymous);
            } else {
                self.refused(row, "anonymous", &anonymous);
            }
            for (cell, answer) in [
                ("no policy", &nobody),
                ("allow", &allow),
                ("deny over allow", &deny),
                ("other repository", &other),
            ] {
                self.passes(row, cell, answer);
            }
            return;
        }
        for (cell, answer) in
            [("anonymous", anonymous), ("wrong key", wrong), ("expired key", expired), ("no policy", nobody)]
        {
            self.refused(row, cell, &answer);
        }
        if let [(action, None)] = &row.rights[..] {
            let repo = "elsewhere";
            let on = |effect: &str, repo: &str| json!({"effect": effect, "action": [action], "resource": format!("arn:lakefs:fs:::repository/{repo}")});
            let deny = self.with_statements(row, &asked, vec![everything(), on("deny", repo)]).await;
            self.shows(row, "deny over allow", &deny, repo, false);
            let other = self.with_statements(row, &asked, vec![on("allow", "repo-0")]).await;
            self.shows(row, "other repository", &other, repo, false);
            let allow = self.with_statements(row, &asked, vec![on("allow", repo)]).await;
            self.shows(row, "allow", &allow, repo, true);
            return;
        }
        let rights: Vec<(String, String)> = row
            .rights
            .iter()
            .flat_map(|(action, resource)| {
                let resources = asked.fill(resource.as_ref().expect("a resource"));
                resources.into_iter().map(|resource| (action.clone(), resource))
            })
            .collect();
        let statement = |effect: &str, action: &str, resource: &str| json!({"effect": effect, "action": [action], "resource": resource});
        // Every right is needed: without one the others are worth nothing. A batch has one each.
        let mut deny = None;
        for (action, resource) in &rights {
            let denied = match row.id.as_str() {
                "deleteObjects" => statement("deny", action, "*"),
                _ => statement("deny", action, resource),
            };
            let answer = self.with_statements(row, &asked, vec![everything(), denied]).await;
            if !matches!(answer.status, 401 | 403) {
                deny = Some(answer);
                break;
            }
            deny.get_or_insert(answer);
        }
        self.refused(row, "deny over allow", &deny.expect("a right"));
        let others =
            rights.iter().map(|(action, on)| statement("allow", action, &other(action, on))).collect();
        let answer = self.with_statements(row, &asked, others).await;
        self.refused(row, "other repository", &answer);
        let exact = rights.iter().map(|(action, on)| statement("allow", action, on)).collect();
        let answer = self.with_statements(row, &asked, exact).await;
        self.passes(row, "allow", &answer);
    }
}

/// Whatever there is to allow.
fn everything() -> Value {
    let action: Vec<String> = ["fs", "auth", "ci", "retention", "branches", "pr", "catalog", "millpond"]
        .map(|service| format!("{service}:*"))
        .into();
    json!({"effect": "allow", "action": action, "resource": "*"})
}

/// The same right somewhere else: another repository, user, group; for `*`, everything that has a name.
fn other(action: &str, arn: &str) -> String {
    if arn == "*" {
        return format!("arn:lakefs:{}:::*", action.split_once(':').unwrap().0);
    }
    let (kind, name) = arn.split_once('/').unwrap();
    match name.split_once('/') {
        Some((_, below)) if kind.ends_with("repository") => format!("{kind}/elsewhere/{below}"),
        _ => format!("{kind}/elsewhere"),
    }
}

#[tokio::test]
async fn every_operation_against_everybody() {
    let mut cells = Cells::new().await;
    let rows = rows();
    for (n, row) in rows.iter().enumerate() {
        cells.row(row, n).await;
    }
    let total = rows.len() * CELLS.len();
    eprintln!("{} operations, {} of {total} cells tested", rows.len(), cells.tested);
    assert!(cells.failures.is_empty(), "{} cells:\n{}", cells.failures.len(), cells.failures.join("\n"));
    assert_eq!(cells.tested, total);
}
