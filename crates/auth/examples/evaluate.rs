//! What one question to the evaluator costs, for a user with the policies of a developer; and all that authorization
//! costs a request: to find the key, its user, and the answer, among a thousand users.
//!
//! `cargo run --release -p millpond-auth --example evaluate`
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement takes the time and prints it"
)]

use millpond_auth::{
    Access, Action, Auth, Circumstances, Document, Needs, NewKey, NewUser, Resource, Sealer, Statement,
};
use millpond_kv::{Batch, MemoryKv};
use millpond_testkit::{ManualClock, Seeded};
use millpond_types::{ObjectPath, RepositoryName};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const QUESTIONS: u32 = 2_000_000;

fn policy(effect: &str, action: &[&str], resource: &str) -> Document {
    let action = action.iter().map(|&action| action.to_owned()).collect();
    let resource = resource.to_owned();
    Document {
        statement: vec![Statement { effect: effect.to_owned(), action, resource, condition: None }],
        acl: None,
    }
}

fn main() {
    let repo = RepositoryName::parse("training-data").expect("a name");
    let path = ObjectPath::parse("images/2026/11/24/0f3a9c51d2.png").expect("a path");
    let policies = [
        ("Pulls", policy("allow", &["pr:*"], "*")),
        ("Catalog", policy("allow", &["catalog:*"], "*")),
        ("Keys", policy("allow", &["auth:*Credentials"], "arn:lakefs:auth:::user/${user}")),
        ("Manage", policy("allow", &["ci:Read*", "retention:Get*", "branches:Get*", "fs:ReadConfig"], "*")),
    ];
    let fifth = [
        ("everything", policy("allow", &["fs:Read*", "fs:List*"], "*")),
        (
            "a prefix",
            policy("allow", &["fs:Read*"], "arn:lakefs:fs:::repository/training-data/object/images/*"),
        ),
        ("two stars", policy("allow", &["fs:Read*"], "arn:lakefs:fs:::repository/*/object/images/*/*.png")),
        ("denied", policy("deny", &["fs:Read*"], "arn:lakefs:fs:::repository/training-data/object/*.png")),
    ];
    for (name, fifth) in &fifth {
        let all = policies.iter().map(|(name, document)| (*name, document)).chain([("Fifth", fifth)]);
        let access = Access::with_policies("eve", all, Circumstances::default());
        let start = Instant::now();
        let mut allowed = 0;
        for _ in 0..QUESTIONS {
            let resource = Resource::Object(black_box(&repo), black_box(&path));
            allowed += u32::from(access.allows(black_box(Action::ReadObject), resource));
        }
        assert!(allowed == 0 || allowed == QUESTIONS, "the answer does not change");
        println!("{name}: {:.1} ns", start.elapsed().as_nanos() as f64 / f64::from(QUESTIONS));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let all = policies.iter().map(|(name, document)| (*name, document)).chain([("Fifth", fifth)]);
        let auth = runtime.block_on(crowd(all.collect()));
        let start = Instant::now();
        for _ in 0..QUESTIONS {
            let (_secret, who) = auth.lookup(black_box("KEY0777")).expect("there");
            let needs = Needs::One(Action::ReadObject, Resource::Object(&repo, &path));
            let permit = auth.authorize(&who, Circumstances::default(), &needs);
            assert_eq!(permit.is_ok(), allowed > 0, "as before");
        }
        println!("    of a request: {:.1} ns", start.elapsed().as_nanos() as f64 / f64::from(QUESTIONS));
    }
}

/// A thousand users with a key each, all in a group that has these policies.
async fn crowd(policies: Vec<(&str, &Document)>) -> Auth {
    let (random, clock) = (Arc::new(Seeded::new(1)), Arc::new(ManualClock::at(1_780_000_000_000)));
    let auth = Auth::open(Arc::new(MemoryKv::default()), Sealer::new(&[1; 32]), random, clock).await;
    let auth = auth.expect("opens");
    let mut change = auth.change().await;
    change.create_group("Team", "").expect("made");
    for (name, document) in policies {
        change.create_policy(name, document).expect("right");
        change.attach_to_group(name, "Team").expect("attached");
    }
    for n in 0..1000 {
        let (name, id) = (format!("user{n:04}"), format!("KEY{n:04}"));
        change.create_user(&NewUser { name: &name, ..NewUser::default() }).expect("made");
        change.add_member("Team", &name).expect("added");
        let given = Some((&*id, "secret-of-somebody"));
        change.create_key(&name, &NewKey { given, ..NewKey::default() }).expect("made");
    }
    change.commit(Batch::default()).await.expect("durable");
    auth
}
