//! Login, and the one administrator as the user list shows it (areas 2 and 5, basic mode of API-2.24).

use crate::authenticate::{self, COOKIE};
use crate::call::Call;
use crate::error::{Handled, Refusal};
use crate::json;
use crate::messages::{
    AuthCapabilities, AuthenticationToken, Credentials, CurrentUser, List, LoginInformation, User,
    UserCreation,
};
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use millpond_service::Principal;

/// How long the cookie lives, in seconds (API-2.14); the token in it may end earlier.
const COOKIE_SECONDS: u64 = 30 * 86_400;

fn user<'a>(call: &Call, principal: &'a Principal) -> User<'a> {
    let created = call.service.user_created(principal);
    User {
        id: principal.name(),
        creation_date: created.map_or(0, |time| time.seconds()),
        friendly_name: Some(""),
        email: Some(""),
    }
}

/// `GET /user`: without credentials an empty user (API-2.6).
pub async fn current_user(call: Call) -> Handled {
    let nobody = User { id: "", creation_date: 0, friendly_name: Some(""), email: Some("") };
    let user = call.caller.principal.as_ref().map_or(nobody, |principal| user(&call, principal));
    json::ok(&CurrentUser { user })
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

/// The administrator: whoever got past authentication.
fn administrator(call: &Call) -> Handled<&Principal> {
    call.caller.principal.as_ref().ok_or_else(Refusal::unauthenticated)
}

/// The administrator, if the path names that user; others do not exist.
fn named_user(call: &Call) -> Handled<&Principal> {
    let asked = call.text("userId");
    if asked.contains('%') {
        return Err(Refusal::invalid("User name cannot contain '%'"));
    }
    let principal = administrator(call)?;
    if principal.name() == asked { Ok(principal) } else { Err(Refusal::not_found("user not found")) }
}

/// `GET /auth/users`
pub async fn list_users(call: Call) -> Handled {
    json::ok(&List::new(vec![user(&call, administrator(&call)?)], false, ""))
}

/// `POST /auth/users`: there is one user, and will be no second in this mode.
pub async fn create_user(mut call: Call) -> Handled {
    let id = if call.json.is_some() { call.message::<UserCreation>()?.id } else { String::new() };
    if id.is_empty() {
        return Err(Refusal::invalid("a user needs an id"));
    }
    if id.contains('%') {
        return Err(Refusal::invalid("User name cannot contain '%'"));
    }
    Err(Refusal::invalid("Already exists").with_status(StatusCode::CONFLICT))
}

/// `GET /auth/users/{userId}`
pub async fn get_user(call: Call) -> Handled {
    json::ok(&user(&call, named_user(&call)?))
}

/// `DELETE /auth/users/{userId}`: the administrator stays.
pub async fn delete_user(call: Call) -> Handled {
    named_user(&call)?;
    Err(Refusal::not_implemented("the one administrator cannot be deleted"))
}

/// `POST /auth/users/{userId}/credentials`
pub async fn create_credentials(call: Call) -> Handled {
    named_user(&call)?;
    Err(Refusal::invalid("exceeded number of allowed credentials"))
}

/// `GET /auth/users/{userId}/credentials/{accessKeyId}`
pub async fn get_credentials(call: Call) -> Handled {
    let principal = named_user(&call)?;
    let id = call.text("accessKeyId");
    match call.service.signing_key(id).await? {
        Some((_, owner)) if owner.name() == principal.name() => {
            let created = call.service.user_created(principal).map_or(0, |time| time.seconds());
            json::ok(&Credentials { access_key_id: id, creation_date: created })
        }
        _ => Err(Refusal::not_found("credentials not found")),
    }
}
