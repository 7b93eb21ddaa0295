//! Long work on the server whose answer comes line by line: checks and backups. Millpond only.

use crate::connection::{Api, Client};
use crate::error::Error;
use bytes::{Buf, BytesMut};
use reqwest::{Method, Response};
use serde::Serialize;
use serde_json::Value;

/// The lines of an answer as they come. Each is an object with one member: `progress`, `defect`, `report` or
/// `error`; the last one is one of the latter two.
pub struct Lines {
    response: Response,
    buffer: BytesMut,
    attempt: String,
    server: String,
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct BackupOrder<'a> {
    directory: &'a str,
}

impl Lines {
    /// The next line; none at the end.
    ///
    /// # Errors
    /// The connection broke, or a line is no JSON.
    pub async fn next(&mut self) -> Result<Option<Value>, Error> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                return serde_json::from_slice(&line).map(Some).map_err(|e| Error::Unreadable {
                    attempt: self.attempt.clone(),
                    server: self.server.clone(),
                    detail: e.to_string(),
                });
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) => return Ok(None),
                Err(source) => {
                    return Err(Error::Unreachable {
                        attempt: self.attempt.clone(),
                        server: self.server.clone(),
                        source,
                    });
                }
            }
        }
    }
}

impl Client {
    /// Checks everything stored, or one repository; `quick` leaves the bytes of objects out.
    pub async fn fsck(&self, repository: Option<&str>, quick: bool) -> Result<Lines, Error> {
        let attempt = format!("check what {} stores", self.server());
        let call = self
            .call(Method::POST, Api::Own, &["fsck"], attempt.clone())
            .query_filled("repository", repository.unwrap_or_default())
            .query_filled("quick", if quick { "true" } else { "" })
            .json(&Nothing {});
        self.lines(call.send().await?, attempt)
    }

    /// Backs everything up into a directory of the server's machine.
    pub async fn backup(&self, directory: &str) -> Result<Lines, Error> {
        let attempt = format!("back up {} to {directory}", self.server());
        let call =
            self.call(Method::POST, Api::Own, &["backup"], attempt.clone()).json(&BackupOrder { directory });
        self.lines(call.send().await?, attempt)
    }

    pub(crate) fn lines(&self, response: Response, attempt: String) -> Result<Lines, Error> {
        let server = self.server().to_owned();
        Ok(Lines { response, buffer: BytesMut::new(), attempt, server })
    }
}
