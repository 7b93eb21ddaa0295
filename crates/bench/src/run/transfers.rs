//! Scenarios that move 64 MiB a request, one client.

use super::{Bench, REPOSITORY, send};
use crate::chance::Chance;
use crate::load::one_by_one;
use crate::site::Payload;
use crate::wire::{Connection, Request};
use anyhow::{Result, ensure};
use bytes::Bytes;

impl Bench<'_> {
    /// S3 PUT of new content; hashing, signing and framing by the client are not in the time.
    pub(super) async fn put_large(&mut self, name: &'static str, payload: Payload) -> Result<()> {
        let (site, large_bytes) = (&self.server.site, self.amounts.large_bytes);
        let template = Chance::new(payload as u64).bytes(large_bytes);
        let measured = one_by_one(
            &self.server,
            self.amounts.large_rounds,
            async |_: &mut Connection, number| {
                let mut body = template.clone();
                body[..8].copy_from_slice(&number.to_le_bytes());
                let path = format!("{REPOSITORY}/big/{name}/{number}");
                Ok(site.s3_with("PUT", &path, &[], &[], payload, body.into()))
            },
            async |connection, request: Request| {
                send(connection, &request).await?;
                Ok(())
            },
        )
        .await?;
        self.object_bytes.set(self.object_bytes.get() + measured.operations * large_bytes as u64);
        self.row(name, "MB", large_bytes as f64 / 1e6, measured);
        Ok(())
    }

    /// S3 GET of one object again and again.
    pub(super) async fn get_large(&mut self, name: &'static str) -> Result<()> {
        let (site, large_bytes) = (&self.server.site, self.amounts.large_bytes);
        let body = Bytes::from(Chance::new(64).bytes(large_bytes));
        self.put(&mut self.connection(), "big/read", body).await?;
        let path = format!("{REPOSITORY}/big/read");
        let measured = one_by_one(
            &self.server,
            2 * self.amounts.large_rounds,
            async |_: &mut Connection, _| Ok(site.s3("GET", &path, &[], &[])),
            async |connection, request: Request| {
                let mut length = 0;
                let answer = connection.exchange_with(&request, |piece| length += piece.len()).await?;
                ensure!(
                    answer.status == 200 && length == large_bytes,
                    "status {}, {length} bytes",
                    answer.status
                );
                Ok(())
            },
        )
        .await?;
        self.row(name, "MB", large_bytes as f64 / 1e6, measured);
        Ok(())
    }
}
