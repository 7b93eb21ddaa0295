//! Scenarios that touch one object a request.

use super::{Bench, REPOSITORY, SEEDS, SMALL_BYTES, object_key, send, small_body};
use crate::chance::scramble;
use crate::load::{Limit, closed_loop};
use crate::site::Payload;
use anyhow::{Result, ensure};
use serde_json::json;
use std::time::Duration;

impl Bench<'_> {
    /// `statObject` of random objects by commit id.
    pub(super) async fn stat(&mut self, name: &'static str, clients: usize) -> Result<()> {
        let (size, site) = (self.options.size, &self.server.site);
        let target = format!("/repositories/{REPOSITORY}/refs/{}/objects/stat?path=", self.loaded);
        let measured =
            closed_loop(&self.server, clients, self.limit(u64::MAX), async |connection, number| {
                let key = object_key(scramble(number) % size, size);
                let answer = send(connection, &site.api("GET", &format!("{target}{key}"), None)).await?;
                ensure!(
                    answer.body.windows(key.len()).any(|window| window == key.as_bytes()),
                    "stat of another object"
                );
                Ok(())
            })
            .await?;
        self.row(name, "ops", 1.0, measured);
        Ok(())
    }

    /// S3 CopyObject onto new keys of a branch: a durable write of metadata only.
    pub(super) async fn stage(&mut self, name: &'static str, clients: usize) -> Result<()> {
        let site = &self.server.site;
        let measured =
            closed_loop(&self.server, clients, self.limit(u64::MAX), async |connection, number| {
                let path = format!("{REPOSITORY}/staging/staged/{clients}/{:016x}", scramble(number));
                let source = format!("/{REPOSITORY}/main/seed/{}", number % SEEDS);
                send(connection, &site.s3("PUT", &path, &[], &[("x-amz-copy-source", &source)])).await?;
                Ok(())
            })
            .await?;
        self.row(name, "ops", 1.0, measured);
        Ok(())
    }

    /// The same by `copyObject` of the JSON API.
    pub(super) async fn stage_api(&mut self, name: &'static str, clients: usize) -> Result<()> {
        let site = &self.server.site;
        let measured =
            closed_loop(&self.server, clients, self.limit(u64::MAX), async |connection, number| {
                let target = format!(
                    "/repositories/{REPOSITORY}/branches/staging/objects/copy?dest_path=staged/api/{:016x}",
                    scramble(number)
                );
                let body = json!({"src_path": format!("seed/{}", number % SEEDS), "src_ref": "main"});
                send(connection, &site.api("POST", &target, Some(&body))).await?;
                Ok(())
            })
            .await?;
        self.row(name, "ops", 1.0, measured);
        Ok(())
    }

    /// S3 PUT of 4 KiB of new content to new keys.
    pub(super) async fn put_small(&mut self, name: &'static str, clients: usize) -> Result<()> {
        let site = &self.server.site;
        let measured =
            closed_loop(&self.server, clients, self.limit(u64::MAX), async |connection, number| {
                let path = format!("{REPOSITORY}/puts/{clients}/{:016x}", scramble(number));
                let body = small_body((clients as u64) << 40 | number);
                send(connection, &site.s3_with("PUT", &path, &[], &[], Payload::Unsigned, body)).await?;
                Ok(())
            })
            .await?;
        self.object_bytes.set(self.object_bytes.get() + measured.operations * SMALL_BYTES as u64);
        self.row(name, "ops", 1.0, measured);
        Ok(())
    }

    /// S3 GET of 4 KiB by commit id; 10,000 objects of different content.
    pub(super) async fn get_small(&mut self, name: &'static str, clients: usize) -> Result<()> {
        let (commit, count) = match self.small.clone() {
            Some(small) => small,
            None => {
                let small = self.put_small_objects().await?;
                self.small.insert(small).clone()
            }
        };
        let site = &self.server.site;
        let measured =
            closed_loop(&self.server, clients, self.limit(u64::MAX), async |connection, number| {
                let path = format!("{REPOSITORY}/{commit}/small/{}", scramble(number) % count);
                let mut length = 0;
                let answer = connection
                    .exchange_with(&site.s3("GET", &path, &[], &[]), |piece| length += piece.len())
                    .await?;
                ensure!(
                    answer.status == 200 && length == SMALL_BYTES,
                    "status {}, {length} bytes",
                    answer.status
                );
                Ok(())
            })
            .await?;
        self.row(name, "ops", 1.0, measured);
        Ok(())
    }

    async fn put_small_objects(&self) -> Result<(String, u64)> {
        let count = self.amounts.small_objects;
        let limit = Limit { operations: count, time: Duration::MAX };
        let measured = closed_loop(&self.server, 64, limit, async |connection, number| {
            self.put(connection, &format!("small/small/{number}"), small_body(7 << 50 | number)).await
        })
        .await?;
        ensure!(measured.failures == 0, "putting small objects: {:?}", measured.first_failure);
        Ok((self.commit_branch(&mut self.connection(), "small").await?, count))
    }
}
