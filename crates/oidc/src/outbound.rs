//! Requests to the provider: bounded in time and size, to the address asked and no other.

use crate::error::{Error, Result};
use crate::settings::is_loopback;
use millpond_types::limits::OIDC_ANSWER_BYTES_MAX;
use reqwest::{RequestBuilder, Response, Url, header, redirect};
use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(10);

/// Asks the provider.
pub struct Outbound(reqwest::Client);

/// What it answered.
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Outbound {
    /// For the provider at this address. Connects to nothing yet.
    ///
    /// # Errors
    /// [`Error::Settings`] when this machine has no certificates to trust.
    pub fn new(issuer: &Url) -> Result<Self> {
        let mut client = reqwest::Client::builder()
            .user_agent("millpond")
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(WHOLE);
        if is_loopback(issuer) {
            client = client.no_proxy();
        }
        if issuer.scheme() == "http" {
            // Everything is on this machine; loading certificates fails where there are none.
            client = client.tls_certs_only([]);
        }
        let client = client.build();
        client.map(Self).map_err(|error| {
            Error::Settings(format!("cannot set up the client of the sign-in provider: {error}"))
        })
    }

    /// Reads, as somebody if there is a token.
    ///
    /// # Errors
    /// [`Error::Unreachable`]; [`Error::Misfit`] for an answer that is too long.
    pub async fn get(&self, url: &Url, token: Option<&str>) -> Result<Reply> {
        let mut request = self.0.get(url.clone());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        send(url, request).await
    }

    /// Sends a form.
    ///
    /// # Errors
    /// As above.
    pub async fn post(&self, url: &Url, authorization: Option<&str>, form: String) -> Result<Reply> {
        let mut request = self.0.post(url.clone()).body(form);
        request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(value) = authorization {
            let mut value = header::HeaderValue::try_from(value)
                .map_err(|_| Error::Settings("the client's id and secret fit into no header".into()))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        send(url, request).await
    }
}

async fn send(url: &Url, request: RequestBuilder) -> Result<Reply> {
    let host = url.host_str().unwrap_or_default();
    let failed = |error: reqwest::Error| {
        let what = match &error {
            error if error.is_timeout() => "takes too long to answer".to_owned(),
            error if error.is_connect() => {
                "takes no connection, or its certificate is not trusted".to_owned()
            }
            // Without the address: in some it holds more than the host.
            _ => format!("breaks off ({})", error.without_url()),
        };
        Error::Unreachable(format!("{host} {what}"))
    };
    let response = request.header(header::ACCEPT, "application/json").send().await.map_err(failed)?;
    let status = response.status().as_u16();
    if status == 429 || status >= 500 {
        return Err(Error::Unreachable(format!("{host} answers with status {status}")));
    }
    let body = bounded(response, host).await?.map_err(failed)?;
    Ok(Reply { status, body })
}

async fn bounded(mut response: Response, host: &str) -> Result<reqwest::Result<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > OIDC_ANSWER_BYTES_MAX => {
                return Err(Error::Misfit(format!(
                    "{host} answers with more than {OIDC_ANSWER_BYTES_MAX} bytes"
                )));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(Ok(body)),
            Err(error) => return Ok(Err(error)),
        }
    }
}
