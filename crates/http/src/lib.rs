//! The HTTP door: the lakeFS-compatible JSON API under `/api/v1`, our own under `/api/millpond/v1`, and
//! what stands beside them (`/openapi.json`, `/_health`, `/logout`, one plain page).
//!
//! A request is parsed, handed to one verb of the service, and the answer rendered; nothing is decided
//! here that another door would have to decide again. This crate does not know about storage, trees,
//! staging, the S3 protocol or configuration; it opens no socket and reads no clock.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that fails says where"))]

mod adoption;
mod audit;
mod auth;
mod authenticate;
mod branches;
mod call;
mod commits;
mod config;
mod dumps;
mod error;
mod form;
mod imports;
mod jobs;
mod json;
mod messages;
mod millpond;
mod not_offered;
mod objects;
mod oidc;
mod openapi;
mod operation;
mod page;
mod people;
mod pulls;
mod range;
mod refs;
mod repositories;
mod route;
mod rules;
mod schema;
mod serve;
mod sign_in;
mod staging;
mod table;
mod tags;
pub mod upkeep;
mod validate;

pub use oidc::CALLBACK_PATH as OIDC_CALLBACK_PATH;
pub use openapi::document as openapi_document;
pub use serve::OperationId;
pub use sign_in::link_path;

/// Where a load balancer asks whether the server is alive.
pub const HEALTH_PATH: &str = "/api/v1/healthcheck";

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use millpond_service::Service;
use operation::Api;
use serve::Server;
use std::sync::Arc;

/// How the server was set up, as far as this door shows it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Version of the product, `x.y.z`: clients parse it.
    pub version: String,
    /// Whether directories were named that may be imported from.
    pub local_import_enabled: bool,
    /// Whether cookies are for https only: true when this server itself terminates TLS, or is known to stand behind
    /// something that does.
    pub secure_cookies: bool,
}

/// Answers everything that is not S3. Requests that are signed for S3 must be sorted out before.
pub fn router(service: Arc<Service>, options: Options) -> Router {
    let openapi = Bytes::from(openapi::document());
    let server = Arc::new(Server::new(service, options));
    Router::new().fallback(answer).with_state((server, openapi))
}

async fn answer(State((server, openapi)): State<(Arc<Server>, Bytes)>, request: Request) -> Response {
    let path = request.uri().path();
    for api in [Api::LakeFs, Api::Millpond] {
        if path.strip_prefix(api.base()).is_some_and(|below| below.is_empty() || below.starts_with('/')) {
            return server.answer(api, request).await;
        }
    }
    if path == "/logout" {
        return sign_in::logout(&server.service, request.into_parts().0, server.options.secure_cookies).await;
    }
    if path == sign_in::LINK_PATH {
        let answer = sign_in::link(&server.service, request, server.options.secure_cookies).await;
        return answer.unwrap_or_else(error::Refusal::into_response);
    }
    let catalogs = ["/iceberg/api", "/iceberg/relative_to", "/mds/iceberg/api"];
    if catalogs.iter().any(|base| path.strip_prefix(base).is_some_and(|below| below.starts_with('/'))) {
        return json::text(StatusCode::NOT_IMPLEMENTED, "this server has no Iceberg catalog\n".to_owned());
    }
    // Only reading is for everybody. An unsigned PUT or DELETE was meant for a bucket, and must not look
    // like a success (area 33).
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return access_denied(&server);
    }
    match path {
        "/" | "/auth/login" => page::home(&server.options.version, server.service.has_provider()),
        oidc::LOGIN_PATH => oidc::login(&server.service, server.options.secure_cookies).await,
        page::STYLE_PATH => page::style(),
        "/openapi.json" => {
            let mut response = Response::new(Body::from(openapi));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        }
        "/_health" => {
            let id = server.service.installation_id();
            match config::failure(&server.service) {
                None => json::text(StatusCode::OK, format!("alive! Millpond installation {id}\n")),
                Some(why) => {
                    let text = format!("Millpond installation {id}: {why}\n");
                    json::text(StatusCode::SERVICE_UNAVAILABLE, text)
                }
            }
        }
        _ => page::missing(),
    }
}

/// What an S3 client that did not sign its request understands.
fn access_denied(server: &Server) -> Response {
    let request_id = server.service.new_request_id();
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessDenied</Code>\
         <Message>Access Denied: the request is not signed.</Message><RequestId>{request_id}</RequestId></Error>"
    );
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::FORBIDDEN;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert("x-amz-request-id", value);
    }
    response
}
