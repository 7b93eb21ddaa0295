//! What a browser sees: one plain page that says what runs here and how to connect. No secret, no script,
//! nothing of the request in it.

use crate::oidc::LOGIN_PATH;
use crate::sign_in::LINK_PATH;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;\
color:#1b2a2f;background:#fbfcfa}h1{font-weight:600}pre{background:#eef2ee;padding:.8rem;overflow-x:auto;\
border-radius:4px}a{color:#0b5c73}@media(prefers-color-scheme:dark){body{color:#dfe7e5;background:#141b1c}\
pre{background:#20292a}a{color:#7cc7dc}}\n";

const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Where the style sheet is.
pub const STYLE_PATH: &str = "/millpond.css";

/// `/`
pub fn home(version: &str, has_provider: bool) -> Response {
    let sign_in =
        if has_provider { format!("<p><a href=\"{LOGIN_PATH}\">Sign in</a></p>\n") } else { String::new() };
    let body = format!(
        "<h1>Millpond</h1>\n\
<p>Data version control, version {version}. This server speaks the lakeFS API \
(<code>/api/v1</code>, <a href=\"/openapi.json\">description</a>) and the S3 protocol on the same address. \
Use your own values for the words in capitals.</p>\n{sign_in}\
<h2>Command line</h2>\n\
<pre>millpond login http://SERVER:8000\nmillpond ls REPOSITORY/main/</pre>\n\
<h2>Python, lakeFS client</h2>\n\
<pre>import lakefs\nfrom lakefs.client import Client\n\
client = Client(host=\"http://SERVER:8000\", username=\"ACCESS_KEY_ID\", password=\"SECRET_ACCESS_KEY\")\n\
main = lakefs.repository(\"REPOSITORY\", client=client).branch(\"main\")</pre>\n\
<h2>Python, S3</h2>\n\
<pre>import boto3\n\
s3 = boto3.client(\"s3\", endpoint_url=\"http://SERVER:8000\",\n    \
aws_access_key_id=\"ACCESS_KEY_ID\", aws_secret_access_key=\"SECRET_ACCESS_KEY\")\n\
s3.list_objects_v2(Bucket=\"REPOSITORY\", Prefix=\"main/\")</pre>\n"
    );
    html(StatusCode::OK, &body)
}

/// What a one-time link shows. `token` is letters, digits, `-` and `_`.
pub fn link(token: &str) -> Response {
    let body = format!(
        "<h1>Sign in to Millpond</h1>\n\
<p>This link signs in this browser. It works once.</p>\n\
<form method=\"post\" action=\"{LINK_PATH}\"><input type=\"hidden\" name=\"token\" value=\"{token}\">\
<button>Sign in</button></form>\n"
    );
    let mut response = html(StatusCode::OK, &body);
    // Browsers apply it to where the answer to the form leads as well.
    let policy = CONTENT_SECURITY_POLICY.replace("form-action 'none'", "form-action 'self'");
    crate::json::set(response.headers_mut(), header::CONTENT_SECURITY_POLICY, &policy);
    // No `no-referrer`: with it, browsers send the form with the origin `null`.
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// A one-time link that signs nobody in.
pub fn link_over() -> Response {
    html(
        StatusCode::FORBIDDEN,
        "<h1>This link is over</h1>\n<p>It was used, or is too old. A new one:</p>\n\
         <pre>millpond auth login-link</pre>\n",
    )
}

/// A sign-in through a provider that did not come to its end.
pub fn not_signed_in(status: StatusCode, reason: &str, help: &str) -> Response {
    let reason = escaped(reason);
    let body = format!(
        "<h1>You are not signed in</h1>\n<p>{reason}.</p>\n\
         <p>{help} <a href=\"{LOGIN_PATH}\">Sign in</a></p>\n"
    );
    html(status, &body)
}

/// Text of somebody else, as text.
fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#39;".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// Every other path.
pub fn missing() -> Response {
    html(
        StatusCode::NOT_FOUND,
        "<h1>There is nothing here</h1>\n<p>Objects are read with a signed S3 request or through \
         <code>/api/v1</code>. <a href=\"/\">How to connect</a></p>\n",
    )
}

/// The style sheet.
pub fn style() -> Response {
    let mut response = Response::new(Body::from(STYLE));
    secure(response.headers_mut());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
    response
}

fn html(status: StatusCode, body: &str) -> Response {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Millpond</title>\
<meta name=\"viewport\" content=\"width=device-width\"><link rel=\"stylesheet\" href=\"{STYLE_PATH}\"></head>\n\
<body>\n{body}</body>\n</html>\n"
    );
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = status;
    secure(response.headers_mut());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn secure(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}
