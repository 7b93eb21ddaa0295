//! The authorization matrix of this door: every operation against everybody who might call it.
//!
//! [`OPERATIONS`] says what each needs, out of the table that routes it. Somebody with exactly those rights must pass,
//! and lacking any one of them must not. An operation whose request this file cannot make up fails too.

use crate::server::{Answer, Call, NOW, NOW_SECONDS, SECRET, Server};
use millpond_auth::{Auth, Document, NewKey, NewUser, Sealer};
use millpond_kv::{Batch, MemoryKv};
use millpond_s3::OPERATIONS;
use millpond_service::{Action, Guard};
use millpond_testkit::{ManualClock, Seeded};
use std::sync::Arc;
use std::time::Duration;

const CELLS: [&str; 7] =
    ["anonymous", "wrong key", "no policy", "allow", "deny over allow", "other repository", "expired key"];

/// What one operation is asked with.
#[derive(Clone)]
struct Asked {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

struct Cells {
    server: Server,
    tested: usize,
    failures: Vec<String>,
}

type Statement = (&'static str, String, String);

fn everything() -> Statement {
    ("allow", r#""fs:*", "auth:*", "branches:*""#.to_owned(), "*".to_owned())
}

fn statement(effect: &'static str, action: Action, resource: &str) -> Statement {
    (effect, format!("\"{action}\""), resource.to_owned())
}

fn document(statements: &[Statement]) -> Document {
    let statements = statements.iter().map(|(effect, actions, resource)| {
        format!(r#"{{"effect": "{effect}", "action": [{actions}], "resource": "{resource}"}}"#)
    });
    let text = format!(r#"{{"statement": [{}]}}"#, statements.collect::<Vec<_>>().join(","));
    serde_json::from_str(&text).unwrap()
}

impl Cells {
    async fn new() -> Self {
        let kv = Arc::new(MemoryKv::new());
        let earlier = Arc::new(ManualClock::at((NOW_SECONDS - 3600) * 1000));
        let auth =
            Auth::open(kv.clone(), Sealer::new(&[3; 32]), Arc::new(Seeded::new(8)), earlier).await.unwrap();
        let mut change = auth.change().await;
        for (user, key, lifetime) in [
            ("nothing", "nothing", None),
            ("cell", "cell", None),
            ("everything", "everything", None),
            ("everything", "expired", Some(Duration::from_secs(60))),
        ] {
            if user == key {
                change.create_user(&NewUser { name: user, ..NewUser::default() }).unwrap();
            }
            let given = Some((key, SECRET));
            change.create_key(user, &NewKey { given, lifetime, ..NewKey::default() }).unwrap();
        }
        for (policy, user) in [("Cell", "cell"), ("Everything", "everything")] {
            change.create_policy(policy, &document(&[everything()])).unwrap();
            change.attach_to_user(policy, user).unwrap();
        }
        change.commit(Batch::default()).await.unwrap();
        let server = Server::over(kv, millpond_engine::Options::default()).await;
        server.call("PUT", "/elsewhere").send().await.expect(200);
        Self { server, tested: 0, failures: Vec::new() }
    }

    /// A bucket of its own, and a request that whoever may can make.
    async fn request(&self, name: &str, repo: &str) -> Asked {
        let server = &self.server;
        if !matches!(name, "ListBuckets" | "CreateBucket") {
            server.call("PUT", &format!("/{repo}")).send().await.expect(200);
        }
        let object = format!("/{repo}/main/a/one");
        if !name.ends_with("Bucket") && !name.ends_with("Buckets") {
            server.put(&object, "one").await.expect(200);
            server.put(&format!("/{repo}/main/a/two"), "two").await.expect(200);
        }
        let mut upload = String::new();
        let mut etag = String::new();
        if ["UploadPart", "UploadPartCopy", "ListParts", "CompleteMultipartUpload", "AbortMultipartUpload"]
            .contains(&name)
        {
            // With a checksum: completing then looks at the parts.
            let create =
                server.call("POST", &format!("{object}?uploads")).header("x-amz-checksum-algorithm", "CRC32");
            upload = create.send().await.expect(200).element("UploadId");
            let part =
                server.put(&format!("{object}?partNumber=1&uploadId={upload}"), "part").await.expect(200);
            etag = part.header("etag").to_owned();
        }
        let source = ("x-amz-copy-source", format!("/{repo}/main/a/two"));
        let on = |method: &'static str, target: String| Asked {
            method,
            target,
            headers: Vec::new(),
            body: String::new(),
        };
        match name {
            "ListBuckets" => on("GET", "/".to_owned()),
            "CreateBucket" => on("PUT", format!("/{repo}")),
            "HeadBucket" => on("HEAD", format!("/{repo}")),
            "DeleteBucket" => on("DELETE", format!("/{repo}")),
            "GetBucketLocation" => on("GET", format!("/{repo}?location")),
            "GetBucketSetting" => on("GET", format!("/{repo}?versioning")),
            "ListObjects" => on("GET", format!("/{repo}?prefix=main/")),
            "ListObjectsV2" => on("GET", format!("/{repo}?list-type=2&prefix=main/")),
            "ListMultipartUploads" => on("GET", format!("/{repo}?uploads")),
            "DeleteObjects" => Asked {
                body: "<Delete><Object><Key>main/a/one</Key></Object></Delete>".to_owned(),
                ..on("POST", format!("/{repo}?delete"))
            },
            "GetObject" => on("GET", object),
            "HeadObject" => on("HEAD", object),
            "GetObjectAttributes" => Asked {
                headers: vec![("x-amz-object-attributes", "ETag".to_owned())],
                ..on("GET", format!("{object}?attributes"))
            },
            "GetObjectSetting" => on("GET", format!("{object}?tagging")),
            "PutObject" => Asked { body: "new".to_owned(), ..on("PUT", object) },
            "CopyObject" => Asked { headers: vec![source], ..on("PUT", object) },
            "DeleteObject" => on("DELETE", object),
            "CreateMultipartUpload" => on("POST", format!("{object}?uploads")),
            "UploadPart" => Asked {
                body: "two".to_owned(),
                ..on("PUT", format!("{object}?partNumber=2&uploadId={upload}"))
            },
            "UploadPartCopy" => Asked {
                headers: vec![source],
                ..on("PUT", format!("{object}?partNumber=2&uploadId={upload}"))
            },
            "ListParts" => on("GET", format!("{object}?uploadId={upload}")),
            "CompleteMultipartUpload" => Asked {
                body: format!(
                    "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
                ),
                ..on("POST", format!("{object}?uploadId={upload}"))
            },
            "AbortMultipartUpload" => on("DELETE", format!("{object}?uploadId={upload}")),
            other => panic!("{other}: give it a request here"),
        }
    }

    fn call(&self, asked: &Asked, key: &str) -> Call<'_> {
        let call = self.server.call(asked.method, &asked.target).by(key).body(asked.body.clone());
        asked.headers.iter().fold(call, |call, (name, value)| call.header(name, value))
    }

    async fn by(&self, asked: &Asked, key: &str, secret: &str) -> Answer {
        self.server.send(self.call(asked, key).signed(NOW, secret)).await
    }

    /// What somebody with these statements is answered.
    async fn with_statements(&self, asked: &Asked, statements: &[Statement]) -> Answer {
        let Server { service, caller, .. } = &self.server;
        service.update_policy(caller, "Cell", &document(statements)).await.unwrap();
        self.by(asked, "cell", SECRET).await
    }

    fn cell(&mut self, operation: &str, cell: &str, answer: &Answer, expected: &str, is_so: bool) {
        assert!(CELLS.contains(&cell));
        self.tested += 1;
        if !is_so {
            let (status, text) = (answer.status, answer.text());
            self.failures.push(format!("{operation} | {cell}: {expected}, answered {status} {text}"));
        }
    }

    fn passes(&mut self, operation: &str, cell: &str, answer: &Answer) {
        let is_so = matches!(answer.status, 200 | 204) && answer.element("Error").is_empty();
        self.cell(operation, cell, answer, "may", is_so);
    }

    fn refused(&mut self, operation: &str, cell: &str, answer: &Answer, codes: &[&str]) {
        let code = answer.element("Code");
        // HEAD has no document; a batch answers for each of its items.
        let told = codes.contains(&code.as_str()) || operation.starts_with("Head");
        let each = operation == "DeleteObjects" && answer.status == 200;
        self.cell(operation, cell, answer, "may not", (answer.status == 403 || each) && told);
    }

    async fn row(&mut self, name: &'static str, guard: Guard, repo: &str) {
        let asked = self.request(name, repo).await;
        let anonymous = self.server.send(self.call(&asked, "everything").unsigned()).await;
        self.refused(name, "anonymous", &anonymous, &["AccessDenied"]);
        let wrong = self.by(&asked, "everything", "not-the-secret").await;
        self.refused(name, "wrong key", &wrong, &["SignatureDoesNotMatch"]);
        let expired = self.by(&asked, "expired", SECRET).await;
        self.refused(name, "expired key", &expired, &["InvalidAccessKeyId"]);
        let nobody = self.by(&asked, "nothing", SECRET).await;
        self.refused(name, "no policy", &nobody, &["AccessDenied"]);
        // Who may not, does not learn either whether there is such a thing.
        let renamed = |text: &str| text.replace(repo, &format!("{repo}-missing"));
        let told = |answer: &Answer| {
            let id = answer.element("RequestId");
            (answer.status, answer.text().replace(&id, ""))
        };
        let headers = asked.headers.iter().map(|(name, value)| (*name, renamed(value))).collect();
        let missing = Asked { target: renamed(&asked.target), headers, ..asked.clone() };
        let missed = told(&self.by(&missing, "nothing", SECRET).await);
        let (status, text) = told(&nobody);
        if missed != (status, renamed(&text)) {
            self.failures.push(format!("{name}: tells whether it exists: {text} or {}", missed.1));
        }
        let rights = match guard {
            Guard::Rights(rights) => rights,
            Guard::Somewhere(action) => return self.filtered(name, action, &asked).await,
            Guard::Open | Guard::Optional | Guard::Login => {
                panic!("{name}: every request here needs a right")
            }
        };
        let fill = |resource: &str| {
            resource.replace("{repository}", repo).replace("{path}", "a/one").replace("{source}", "a/two")
        };
        // Every right is needed: without one the others are worth nothing.
        let mut deny = None;
        for (action, resource) in rights {
            let denied = statement("deny", *action, &fill(resource));
            let answer = self.with_statements(&asked, &[everything(), denied]).await;
            if deny.is_none() || !matches!(answer.status, 403) {
                deny = Some(answer);
            }
        }
        self.refused(name, "deny over allow", &deny.expect("a right"), &["AccessDenied"]);
        let other = |resource: &str| match resource.split_once("namespace/") {
            Some(_) => "arn:lakefs:fs:::namespace/local://elsewhere".to_owned(),
            None => fill(&resource.replace("{repository}", "elsewhere")),
        };
        let others: Vec<_> =
            rights.iter().map(|(action, on)| statement("allow", *action, &other(on))).collect();
        let answer = self.with_statements(&asked, &others).await;
        self.refused(name, "other repository", &answer, &["AccessDenied"]);
        let exact: Vec<_> =
            rights.iter().map(|(action, on)| statement("allow", *action, &fill(on))).collect();
        let answer = self.with_statements(&asked, &exact).await;
        self.passes(name, "allow", &answer);
    }

    /// A list that is filtered: it shows what the caller may list.
    async fn filtered(&mut self, name: &str, action: Action, asked: &Asked) {
        let on =
            |effect, repo: &str| statement(effect, action, &format!("arn:lakefs:fs:::repository/{repo}"));
        let shown = |answer: &Answer| (answer.status == 200).then(|| answer.elements("Name"));
        let deny = self.with_statements(asked, &[everything(), on("deny", "elsewhere")]).await;
        let is_so = shown(&deny).is_some_and(|names| !names.contains(&"elsewhere".to_owned()));
        self.cell(name, "deny over allow", &deny, "shows others only", is_so);
        let other = self.with_statements(asked, &[on("allow", "nowhere")]).await;
        self.cell(name, "other repository", &other, "shows nothing", shown(&other) == Some(vec![]));
        let allow = self.with_statements(asked, &[on("allow", "elsewhere")]).await;
        self.cell(name, "allow", &allow, "shows it", shown(&allow) == Some(vec!["elsewhere".to_owned()]));
    }
}

#[tokio::test]
async fn every_operation_against_everybody() {
    let mut cells = Cells::new().await;
    for (n, (name, guard)) in OPERATIONS.iter().enumerate() {
        cells.row(name, *guard, &format!("repo-{n}")).await;
    }
    let total = OPERATIONS.len() * CELLS.len();
    eprintln!("{} operations, {} of {total} cells tested", OPERATIONS.len(), cells.tested);
    assert!(cells.failures.is_empty(), "{} cells:\n{}", cells.failures.len(), cells.failures.join("\n"));
    assert_eq!(cells.tested, total);
}

/// API-29.8: the top of a bucket shows branches, for which there is a right of its own.
#[tokio::test]
async fn the_top_of_a_bucket_needs_the_right_to_list_branches() {
    let cells = Cells::new().await;
    let asked = Asked {
        method: "GET",
        target: "/elsewhere?list-type=2".to_owned(),
        headers: Vec::new(),
        body: String::new(),
    };
    let on = |action| statement("allow", action, "arn:lakefs:fs:::repository/elsewhere");
    cells.with_statements(&asked, &[on(Action::ListObjects)]).await.refused(403, "AccessDenied");
    cells.with_statements(&asked, &[on(Action::ListBranches)]).await.expect(200);
}
