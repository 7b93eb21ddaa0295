//! Scenarios about commits, differences, listings, branches and merges.

use super::{Bench, REPOSITORY, object_key, send, text};
use crate::chance::{Chance, scramble};
use crate::load::{Limit, closed_loop, one_by_one};
use crate::site::{Payload, element, encode};
use crate::wire::Connection;
use anyhow::{Result, ensure};
use bytes::Bytes;
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

/// Small objects whose content no loaded object has: a copy of one onto a loaded key is a change.
pub(super) const FRESH: u64 = 70;
const PAGE: u64 = 1000;
/// The rounds are counted, not timed, so that runs compare; this ends those of a server that crawls.
const MERGE_ROUNDS_TIME_MAX: Duration = Duration::from_secs(180);

/// How many commits of that size a run makes, and the number of the first fresh object they copy. No two
/// commits copy the same one: a key that is hit twice must change each time.
fn rounds(changes: u64, rounds_max: u64) -> (u64, u64) {
    let (rounds, first) = match changes {
        1 => (40, 0),
        100 => (15, 40),
        _ => (15, 55),
    };
    (rounds.min(rounds_max), first)
}

impl Bench<'_> {
    /// Commits of `changes` changes scattered over the N objects.
    pub(super) async fn commit(&mut self, name: &'static str, changes: u64) -> Result<()> {
        let (rounds, _) = rounds(changes, self.amounts.commits_max);
        let history = RefCell::new(Vec::new());
        let measured = one_by_one(
            &self.server,
            rounds,
            async |connection, round| {
                self.stage_changes(changes, round).await?;
                self.head(connection, "edits").await
            },
            async |connection, parent: String| {
                let commit = self.commit_branch(connection, "edits").await?;
                history.borrow_mut().push((parent, commit));
                Ok(())
            },
        )
        .await?;
        self.histories.insert(changes, history.into_inner());
        self.row(name, "ops", 1.0, measured);
        Ok(())
    }

    /// Replaces that many random objects on branch `edits` by other content.
    async fn stage_changes(&self, changes: u64, round: u64) -> Result<()> {
        let (size, site) = (self.options.size, &self.server.site);
        let mut chance = Chance::new(scramble(changes) ^ round);
        let mut numbers = BTreeSet::new();
        while (numbers.len() as u64) < changes.min(size) {
            numbers.insert(chance.below(size));
        }
        let numbers: Vec<u64> = numbers.into_iter().collect();
        let source = format!("/{REPOSITORY}/main/fresh/{}", rounds(changes, 0).1 + round);
        let limit = Limit { operations: changes, time: Duration::MAX };
        let measured = closed_loop(&self.server, 16, limit, async |connection, number| {
            let path = format!("{REPOSITORY}/edits/{}", object_key(numbers[number as usize], size));
            send(connection, &site.s3("PUT", &path, &[], &[("x-amz-copy-source", &source)])).await?;
            Ok(())
        })
        .await?;
        ensure!(measured.failures == 0, "staging changes: {:?}", measured.first_failure);
        Ok(())
    }

    /// The difference between such a commit and its parent, one page.
    pub(super) async fn diff(&mut self, name: &'static str, changes: u64) -> Result<()> {
        if !self.histories.contains_key(&changes) {
            let name = if changes == 1 {
                "commit-1"
            } else if changes == 100 {
                "commit-100"
            } else {
                "commit-1000"
            };
            self.commit(name, changes).await?;
        }
        let history = self.histories.get(&changes).cloned().unwrap_or_default();
        ensure!(!history.is_empty(), "there is no commit to compare");
        let measured = one_by_one(
            &self.server,
            history.len() as u64 * 2,
            async |_: &mut Connection, number| {
                let (parent, commit) = &history[number as usize % history.len()];
                let target = format!(
                    "/repositories/{REPOSITORY}/refs/{parent}/diff/{commit}?type=two_dot&amount={PAGE}"
                );
                Ok(self.server.site.api("GET", &target, None))
            },
            async |connection, request| {
                let found = send(connection, &request).await?.json()?["results"]
                    .as_array()
                    .map_or(0, Vec::len) as u64;
                ensure!(found == changes, "{found} changes instead of {changes}");
                Ok(())
            },
        )
        .await?;
        self.row(name, "ops", 1.0, measured);
        Ok(())
    }

    /// `listObjects` without delimiter, page after page.
    pub(super) async fn list_flat(&mut self, name: &'static str) -> Result<()> {
        let after = RefCell::new(String::new());
        let target = format!(
            "/repositories/{REPOSITORY}/refs/{}/objects/ls?amount={PAGE}&prefix=datasets/&after=",
            self.loaded
        );
        let pages = (self.options.size / PAGE).min(self.amounts.pages_max);
        let measured = one_by_one(
            &self.server,
            pages,
            async |_: &mut Connection, _| {
                Ok(self.server.site.api("GET", &format!("{target}{}", after.borrow()), None))
            },
            async |connection, request| {
                let page = send(connection, &request).await?.json()?;
                ensure!(
                    page["results"].as_array().map_or(0, Vec::len) as u64 == PAGE,
                    "the page is not full"
                );
                *after.borrow_mut() = encode(&text(&page["pagination"], "next_offset")?, false);
                Ok(())
            },
        )
        .await?;
        self.row(name, "keys", PAGE as f64, measured);
        Ok(())
    }

    /// `listObjects` with delimiter: 1,000 directories on one page.
    pub(super) async fn list_directories(&mut self, name: &'static str) -> Result<()> {
        let target = format!(
            "/repositories/{REPOSITORY}/refs/{}/objects/ls?amount={PAGE}&delimiter=/&prefix=datasets/imagenet/train/",
            self.loaded
        );
        let measured = one_by_one(
            &self.server,
            100,
            async |_: &mut Connection, _| Ok(self.server.site.api("GET", &target, None)),
            async |connection, request| {
                let found =
                    send(connection, &request).await?.json()?["results"].as_array().map_or(0, Vec::len);
                ensure!(found as u64 == super::CLASSES, "{found} directories");
                Ok(())
            },
        )
        .await?;
        self.row(name, "ops", 1.0, measured);
        Ok(())
    }

    /// ListObjectsV2 without delimiter, page after page.
    pub(super) async fn list_s3_flat(&mut self, name: &'static str) -> Result<()> {
        let token = RefCell::new(None::<String>);
        let prefix = format!("{}/datasets/", self.loaded);
        let pages = (self.options.size / PAGE).min(self.amounts.pages_max);
        let measured = one_by_one(
            &self.server,
            pages,
            async |_: &mut Connection, _| {
                let token = token.borrow();
                let mut query = vec![("list-type", "2"), ("prefix", &*prefix)];
                if let Some(token) = &*token {
                    query.insert(0, ("continuation-token", token));
                }
                Ok(self.server.site.s3("GET", REPOSITORY, &query, &[]))
            },
            async |connection, request| {
                let page = String::from_utf8(send(connection, &request).await?.body)?;
                let found = page.matches("<Contents>").count() as u64;
                ensure!(found == PAGE, "{found} keys on the page");
                *token.borrow_mut() = element(&page, "NextContinuationToken").map(str::to_owned);
                Ok(())
            },
        )
        .await?;
        self.row(name, "keys", PAGE as f64, measured);
        Ok(())
    }

    /// ListObjectsV2 with delimiter: 1,000 directories on one page.
    pub(super) async fn list_s3_directories(&mut self, name: &'static str) -> Result<()> {
        let prefix = format!("{}/datasets/imagenet/train/", self.loaded);
        let measured = one_by_one(
            &self.server,
            100,
            async |_: &mut Connection, _| {
                let query = [("delimiter", "/"), ("list-type", "2"), ("prefix", &*prefix)];
                Ok(self.server.site.s3("GET", REPOSITORY, &query, &[]))
            },
            async |connection, request| {
                let page = String::from_utf8(send(connection, &request).await?.body)?;
                let found = page.matches("<CommonPrefixes>").count() as u64;
                ensure!(found == super::CLASSES, "{found} directories");
                Ok(())
            },
        )
        .await?;
        self.row(name, "ops", 1.0, measured);
        Ok(())
    }

    /// Branches from the head of `main`.
    pub(super) async fn branches(&mut self, name: &'static str, clients: usize) -> Result<()> {
        let measured = closed_loop(
            &self.server,
            clients,
            self.limit(self.amounts.branches_max),
            async |connection, number| self.branch(connection, &format!("b{number}")).await,
        )
        .await?;
        self.row(name, "ops", 1.0, measured);
        Ok(())
    }

    /// Rounds of branch, write, commit and merge into `main`, all clients into the same branch.
    pub(super) async fn merge_rounds(&mut self, name: &'static str, clients: usize) -> Result<()> {
        let merged = Cell::new(0_u64);
        let limit = Limit { operations: self.amounts.merge_rounds, time: MERGE_ROUNDS_TIME_MAX };
        let measured = closed_loop(&self.server, clients, limit, async |connection, number| {
            let branch = format!("round{number}");
            self.branch(connection, &branch).await?;
            let path = format!("{REPOSITORY}/{branch}/rounds/{number}");
            let body = Bytes::from(number.to_string());
            send(connection, &self.server.site.s3_with("PUT", &path, &[], &[], Payload::Unsigned, body))
                .await?;
            self.commit_branch(connection, &branch).await?;
            let target = format!("/repositories/{REPOSITORY}/refs/{branch}/merge/main");
            self.ask(connection, "POST", &target, Some(&json!({"message": "round"}))).await?;
            merged.set(merged.get() + 1);
            Ok(())
        })
        .await?;
        ensure!(merged.get() == measured.operations, "rounds counted twice");
        let found = self.count(REPOSITORY, "main", "rounds/").await?;
        ensure!(
            found == measured.operations,
            "{found} of {} merged objects are on main",
            measured.operations
        );
        self.row(name, "rounds", 1.0, measured);
        Ok(())
    }

    /// Objects of a ref below a prefix, by listing them all.
    pub(super) async fn count(&self, repository: &str, reference: &str, prefix: &str) -> Result<u64> {
        let (mut connection, mut found, mut after) = (self.connection(), 0, String::new());
        loop {
            let target = format!(
                "/repositories/{repository}/refs/{reference}/objects/ls?amount={PAGE}&prefix={prefix}&after={after}"
            );
            let page = self.ask(&mut connection, "GET", &target, None).await?.json()?;
            found += page["results"].as_array().map_or(0, Vec::len) as u64;
            if page["pagination"]["has_more"].as_bool() != Some(true) {
                return Ok(found);
            }
            after = encode(&text(&page["pagination"], "next_offset")?, false);
        }
    }
}
