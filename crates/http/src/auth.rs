//! Signing in (area 2).

use crate::authenticate::{self, COOKIE};
use crate::call::Call;
use crate::error::Handled;
use crate::json;
use crate::messages::{AuthCapabilities, AuthenticationToken, CurrentUser, LoginInformation, User};
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

/// How long the cookie lives, in seconds (API-2.14); the token in it may end earlier.
const COOKIE_SECONDS: u64 = 30 * 86_400;

/// `GET /user`: without credentials an empty user (API-2.6).
pub async fn current_user(call: Call) -> Handled {
    let nobody = User { id: "", creation_date: 0, friendly_name: Some(""), email: Some("") };
    let user = call.service.current_user(&call.caller);
    json::ok(&CurrentUser { user: user.as_ref().map_or(nobody, User::from) })
}

/// `POST /auth/login`
pub async fn login(mut call: Call) -> Handled {
    let body: LoginInformation = call.message_or_default()?;
    let login = call.service.login(&body.access_key_id, &body.secret_access_key).await;
    let login = login.map_err(authenticate::refusal)?;
    let answer =
        AuthenticationToken { token: login.token.clone(), token_expiration: Some(login.expires.seconds()) };
    let mut response = json::reply(StatusCode::OK, &answer);
    set_cookie(&mut response, &login.token, COOKIE_SECONDS, call.options.secure_cookies);
    Ok(response)
}

/// `/logout`, any method: takes the cookie away and goes to the login page (API-0.6).
pub fn logout(secure: bool) -> Response {
    let mut response = json::empty(StatusCode::TEMPORARY_REDIRECT);
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/auth/login"));
    set_cookie(&mut response, "", 0, secure);
    response
}

fn set_cookie(response: &mut Response, value: &str, seconds: u64, secure: bool) {
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    json::set(response.headers_mut(), header::SET_COOKIE, &cookie);
}

/// `GET /auth/capabilities`
pub async fn capabilities(_call: Call) -> Handled {
    json::ok(&AuthCapabilities { invite_user: Some(false), forgot_password: Some(false) })
}

/// `GET /oidc/callback`: nobody handles it, 200 with an empty body (API-3.26).
pub async fn oidc_callback(_call: Call) -> Handled {
    Ok(json::empty(StatusCode::OK))
}
