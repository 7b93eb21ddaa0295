//! Scenarios that move 64 MiB a request, one client.

use super::{Bench, REPOSITORY, send};
use crate::chance::Chance;
use crate::load::one_by_one;
use crate::site::Payload;
use crate::wire::{Connection, Request};
use anyhow::{Result, ensure};
use bytes::Bytes;

const LARGE_BYTES: usize = 64 << 20;
const ROUNDS: u64 = 6;

impl Bench<'_> {
    /// S3 PUT of new content; hashing, signing and framing by the client are not in the time.
    pub(super) async fn put_large(&mut self, name: &'static str, payload: Payload) -> Result<()> {
        let site = &self.server.site;
        let template = Chance::new(payload as u64).bytes(LARGE_BYTES);
        let measured = one_by_one(
            &self.server,
            ROUNDS,
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
        self.object_bytes.set(self.object_bytes.get() + measured.operations * LARGE_BYTES as u64);
        let what = match payload {
            Payload::Unsigned => "unsigned payload",
            Payload::Signed => "signed SHA-256 of the whole body",
            Payload::SignedChunks => "signed chunks of 64 KiB",
            Payload::Trailer => "unsigned chunks with a CRC-32 trailer",
        };
        self.row(
            name,
            &format!("S3 PUT of 64 MiB, {what}, 1 client"),
            "MB",
            LARGE_BYTES as f64 / 1e6,
            measured,
        );
        Ok(())
    }

    /// S3 GET of one object again and again.
    pub(super) async fn get_large(&mut self, name: &'static str) -> Result<()> {
        let site = &self.server.site;
        let body = Bytes::from(Chance::new(64).bytes(LARGE_BYTES));
        self.put(&mut self.connection(), "big/read", body).await?;
        let path = format!("{REPOSITORY}/big/read");
        let measured = one_by_one(
            &self.server,
            2 * ROUNDS,
            async |_: &mut Connection, _| Ok(site.s3("GET", &path, &[], &[])),
            async |connection, request: Request| {
                let mut length = 0;
                let answer = connection.exchange_with(&request, |piece| length += piece.len()).await?;
                ensure!(
                    answer.status == 200 && length == LARGE_BYTES,
                    "status {}, {length} bytes",
                    answer.status
                );
                Ok(())
            },
        )
        .await?;
        self.row(
            name,
            "S3 GET of 64 MiB from the page cache, 1 client",
            "MB",
            LARGE_BYTES as f64 / 1e6,
            measured,
        );
        Ok(())
    }
}
