//! What one question to the evaluator costs, for a user with the policies of a developer.
//!
//! `cargo run --release -p millpond-auth --example evaluate`
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement takes the time and prints it"
)]

use millpond_auth::{Access, Action, Circumstances, Document, Resource, Statement};
use millpond_types::{ObjectPath, RepositoryName};
use std::hint::black_box;
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
    }
}
