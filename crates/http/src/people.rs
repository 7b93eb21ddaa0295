//! Users, groups, policies, access keys (area 5).
//!
//! Lists page as everywhere else: `next_offset` is a whole name (API-5.14 and 5.15 are not copied,
//! `docs/compatibility.md`).

use crate::call::Call;
use crate::error::{Handled, Refusal};
use crate::json;
use crate::messages::{
    ACL, Credentials, CredentialsWithSecret, ErrorNoACL, Explanation, ExternalPrincipal, Group,
    GroupCreation, List, Near, Policy, Statements, User, UserCreation,
};
use http::StatusCode;
use millpond_service::{
    self as service, AclLevel, Because, Document, Effect, GroupInfo, Holder, KeyInfo, Miss, PolicyInfo,
    UserInfo,
};
use serde_json::Value;
use std::net::IpAddr;

impl<'a> From<&'a UserInfo> for User<'a> {
    fn from(info: &'a UserInfo) -> Self {
        Self {
            id: &info.name,
            creation_date: info.created.seconds(),
            friendly_name: Some(&info.friendly_name),
            email: Some(&info.email),
        }
    }
}

impl<'a> From<&'a GroupInfo> for Group<'a> {
    fn from(info: &'a GroupInfo) -> Self {
        Self {
            id: &info.name,
            creation_date: info.created.seconds(),
            name: Some(&info.name),
            description: Some(&info.description),
        }
    }
}

impl<'a> From<&'a PolicyInfo> for Policy<'a> {
    fn from(info: &'a PolicyInfo) -> Self {
        Self {
            id: &info.name,
            statement: Statements(&info.document.statement),
            creation_date: Some(info.created.seconds()),
            acl: info.document.acl.as_deref(),
        }
    }
}

impl<'a> From<&'a KeyInfo> for Credentials<'a> {
    fn from(info: &'a KeyInfo) -> Self {
        Self { access_key_id: &info.access_key_id, creation_date: info.created.seconds() }
    }
}

/// A page whose items are named.
fn list<'a, T, M: From<&'a T> + serde::Serialize>(
    page: &'a service::Page<T>,
    name: impl FnOnce(&'a T) -> &'a str,
) -> Handled {
    let last = page.items.last().map_or("", name);
    json::ok(&List::new(page.items.iter().map(M::from).collect(), page.has_more, last))
}

fn users(page: &service::Page<UserInfo>) -> Handled {
    list::<_, User<'_>>(page, |user| &user.name)
}

fn groups(page: &service::Page<GroupInfo>) -> Handled {
    list::<_, Group<'_>>(page, |group| &group.name)
}

fn policies(page: &service::Page<PolicyInfo>) -> Handled {
    list::<_, Policy<'_>>(page, |policy| &policy.name)
}

/// A name that the interface refuses whatever else is wrong (API-5.1).
fn name(what: &str, name: &str) -> Handled<String> {
    if name.contains('%') {
        return Err(Refusal::invalid(format!("{what} name cannot contain '%'")));
    }
    Ok(name.to_owned())
}

fn user_id(call: &Call) -> Handled<String> {
    name("User", call.text("userId"))
}

fn group_id(call: &Call) -> Handled<String> {
    name("Group", call.text("groupId"))
}

fn policy_id(call: &Call) -> Handled<String> {
    name("Policy", call.text("policyId"))
}

// --- users ---------------------------------------------------------------------------------------

/// `GET /auth/users`
pub async fn list_users(call: Call) -> Handled {
    users(&call.service.list_users(&call.caller, &call.page())?)
}

/// `POST /auth/users`: who is invited is named by an e-mail address, and nobody here sends any (API-5.6).
pub async fn create_user(mut call: Call) -> Handled {
    let UserCreation { id, invite_user } = call.message_or_default()?;
    if id.is_empty() {
        return Err(Refusal::invalid("a user needs an id"));
    }
    let id = name("User", &id)?;
    if invite_user == Some(true) {
        if !is_email(&id) {
            return Err(Refusal::invalid("Invalid email format"));
        }
        call.service.may_create_user(&call.caller, &id.to_lowercase())?;
        return Err(Refusal::not_implemented("this server sends no invitations"));
    }
    let user = call.change(|service, caller| async move { service.create_user(&caller, &id).await }).await?;
    json::created(&User::from(&user))
}

fn is_email(text: &str) -> bool {
    let parts = text.split_once('@');
    parts.is_some_and(|(who, host)| !who.is_empty() && !host.is_empty() && !host.contains('@'))
        && !text.contains(char::is_whitespace)
}

/// `GET /auth/users/{userId}`
pub async fn get_user(call: Call) -> Handled {
    json::ok(&User::from(&call.service.get_user(&call.caller, &user_id(&call)?)?))
}

/// `DELETE /auth/users/{userId}`
pub async fn delete_user(call: Call) -> Handled {
    let id = user_id(&call)?;
    call.change(|service, caller| async move { service.delete_user(&caller, &id).await }).await?;
    json::done()
}

/// `GET /auth/users/{userId}/groups`
pub async fn list_user_groups(call: Call) -> Handled {
    groups(&call.service.list_user_groups(&call.caller, &user_id(&call)?, &call.page())?)
}

/// `GET /auth/users/{userId}/policies`
pub async fn list_user_policies(call: Call) -> Handled {
    let (id, effective) = (user_id(&call)?, call.flag("effective"));
    let holder = Holder::User(&id);
    policies(&call.service.list_attached_policies(&call.caller, holder, effective, &call.page())?)
}

/// `PUT /auth/users/{userId}/policies/{policyId}`
pub async fn attach_to_user(call: Call) -> Handled {
    let (id, policy) = (user_id(&call)?, policy_id(&call)?);
    call.change(
        |service, caller| async move { service.attach_policy(&caller, Holder::User(&id), &policy).await },
    )
    .await?;
    Ok(json::empty(StatusCode::CREATED))
}

/// `DELETE /auth/users/{userId}/policies/{policyId}`
pub async fn detach_from_user(call: Call) -> Handled {
    let (id, policy) = (user_id(&call)?, policy_id(&call)?);
    call.change(
        |service, caller| async move { service.detach_policy(&caller, Holder::User(&id), &policy).await },
    )
    .await?;
    json::done()
}

// --- principals of other systems -----------------------------------------------------------------

/// `GET /auth/users/{userId}/external/principals/ls`
pub async fn list_principals(call: Call) -> Handled {
    let user = user_id(&call)?;
    let page = call.service.list_principals(&call.caller, &user, &call.page())?;
    let last = page.items.last().map_or("", |id| id);
    let items = page.items.iter().map(|id| ExternalPrincipal { id, user_id: &user });
    json::ok(&List::new(items.collect(), page.has_more, last))
}

/// `POST /auth/users/{userId}/external/principals`: the body says nothing that is kept (API-5.16).
pub async fn link_principal(call: Call) -> Handled {
    let (user, id) = (user_id(&call)?, call.text("principalId").to_owned());
    call.change(|service, caller| async move { service.link_principal(&caller, &user, &id).await }).await?;
    Ok(json::empty(StatusCode::CREATED))
}

/// `DELETE /auth/users/{userId}/external/principals`
pub async fn unlink_principal(call: Call) -> Handled {
    let (user, id) = (user_id(&call)?, call.text("principalId").to_owned());
    call.change(|service, caller| async move { service.unlink_principal(&caller, &user, &id).await }).await?;
    json::done()
}

/// `GET /auth/external/principals`
pub async fn get_principal(call: Call) -> Handled {
    let id = call.text("principalId");
    let user = call.service.user_of_principal(&call.caller, id)?;
    json::ok(&ExternalPrincipal { id, user_id: &user })
}

// --- keys ----------------------------------------------------------------------------------------

/// `GET /auth/users/{userId}/credentials`
pub async fn list_credentials(call: Call) -> Handled {
    let page = call.service.list_keys(&call.caller, &user_id(&call)?, &call.page())?;
    list::<_, Credentials<'_>>(&page, |key| &key.access_key_id)
}

/// `POST /auth/users/{userId}/credentials`: the one time that the secret is told.
pub async fn create_credentials(call: Call) -> Handled {
    let user = user_id(&call)?;
    let key = call.change(|service, caller| async move { service.create_key(&caller, &user).await }).await?;
    json::created(&CredentialsWithSecret {
        access_key_id: &key.access_key_id,
        secret_access_key: key.secret.expose(),
        creation_date: key.created.seconds(),
    })
}

/// `GET /auth/users/{userId}/credentials/{accessKeyId}`
pub async fn get_credentials(call: Call) -> Handled {
    let key = call.service.get_key(&call.caller, &user_id(&call)?, call.text("accessKeyId"))?;
    json::ok(&Credentials::from(&key))
}

/// `DELETE /auth/users/{userId}/credentials/{accessKeyId}`
pub async fn delete_credentials(call: Call) -> Handled {
    let (user, id) = (user_id(&call)?, call.text("accessKeyId").to_owned());
    call.change(|service, caller| async move { service.delete_key(&caller, &user, &id).await }).await?;
    json::done()
}

// --- groups --------------------------------------------------------------------------------------

/// `GET /auth/groups`
pub async fn list_groups(call: Call) -> Handled {
    groups(&call.service.list_groups(&call.caller, &call.page())?)
}

/// `POST /auth/groups`
pub async fn create_group(mut call: Call) -> Handled {
    let GroupCreation { id, description } = call.message_or_default()?;
    let id = name("Group", &id)?;
    let description = description.unwrap_or_default();
    let group = call
        .change(|service, caller| async move { service.create_group(&caller, &id, &description).await })
        .await?;
    json::created(&Group::from(&group))
}

/// `GET /auth/groups/{groupId}`
pub async fn get_group(call: Call) -> Handled {
    json::ok(&Group::from(&call.service.get_group(&call.caller, &group_id(&call)?)?))
}

/// `DELETE /auth/groups/{groupId}`
pub async fn delete_group(call: Call) -> Handled {
    let id = group_id(&call)?;
    call.change(|service, caller| async move { service.delete_group(&caller, &id).await }).await?;
    json::done()
}

/// `GET /auth/groups/{groupId}/members`
pub async fn list_members(call: Call) -> Handled {
    users(&call.service.list_members(&call.caller, &group_id(&call)?, &call.page())?)
}

/// `PUT /auth/groups/{groupId}/members/{userId}`
pub async fn add_member(call: Call) -> Handled {
    let (group, user) = (group_id(&call)?, user_id(&call)?);
    call.change(|service, caller| async move { service.add_member(&caller, &group, &user).await }).await?;
    Ok(json::empty(StatusCode::CREATED))
}

/// `DELETE /auth/groups/{groupId}/members/{userId}`
pub async fn remove_member(call: Call) -> Handled {
    let (group, user) = (group_id(&call)?, user_id(&call)?);
    call.change(|service, caller| async move { service.remove_member(&caller, &group, &user).await }).await?;
    json::done()
}

/// `GET /auth/groups/{groupId}/policies`
pub async fn list_group_policies(call: Call) -> Handled {
    let id = group_id(&call)?;
    policies(&call.service.list_attached_policies(&call.caller, Holder::Group(&id), false, &call.page())?)
}

/// `PUT /auth/groups/{groupId}/policies/{policyId}`
pub async fn attach_to_group(call: Call) -> Handled {
    let (id, policy) = (group_id(&call)?, policy_id(&call)?);
    call.change(|service, caller| async move {
        service.attach_policy(&caller, Holder::Group(&id), &policy).await
    })
    .await?;
    Ok(json::empty(StatusCode::CREATED))
}

/// `DELETE /auth/groups/{groupId}/policies/{policyId}`
pub async fn detach_from_group(call: Call) -> Handled {
    let (id, policy) = (group_id(&call)?, policy_id(&call)?);
    call.change(|service, caller| async move {
        service.detach_policy(&caller, Holder::Group(&id), &policy).await
    })
    .await?;
    json::done()
}

/// `GET /auth/groups/{groupId}/acl` (API-3.15)
pub async fn get_acl(call: Call) -> Handled {
    match call.service.get_acl(&call.caller, &group_id(&call)?)? {
        service::Acl::Nothing => json::ok(&ACL { permission: String::new() }),
        service::Acl::Level(level) => json::ok(&ACL { permission: level.name().to_owned() }),
        service::Acl::Other => {
            let answer = ErrorNoACL { message: "the policies of the group are no ACL", no_acl: Some(true) };
            Ok(json::reply(StatusCode::NOT_FOUND, &answer))
        }
    }
}

/// `POST /auth/groups/{groupId}/acl`
pub async fn set_acl(mut call: Call) -> Handled {
    let ACL { permission } = call.message()?;
    let group = group_id(&call)?;
    let level = AclLevel::parse(&permission)
        .ok_or_else(|| Refusal::invalid(format!("'{permission}' is not one of Read, Write, Super, Admin")))?;
    call.change(|service, caller| async move { service.set_acl(&caller, &group, level).await }).await?;
    Ok(json::empty(StatusCode::CREATED))
}

// --- policies ------------------------------------------------------------------------------------

/// Name and document of a request body.
fn document(call: &mut Call) -> Handled<(String, Document)> {
    let body = call.json.take().unwrap_or(Value::Null);
    let id = name("Policy", body["id"].as_str().unwrap_or_default())?;
    // A member of a statement that nobody knows would be a condition that nobody checks.
    let document = serde_json::from_value(body).map_err(|mistake| Refusal::invalid(mistake.to_string()))?;
    Ok((id, document))
}

/// `GET /auth/policies`
pub async fn list_policies(call: Call) -> Handled {
    policies(&call.service.list_policies(&call.caller, &call.page())?)
}

/// `POST /auth/policies`
pub async fn create_policy(mut call: Call) -> Handled {
    let (id, document) = document(&mut call)?;
    let policy = call
        .change(|service, caller| async move { service.create_policy(&caller, &id, &document).await })
        .await?;
    json::created(&Policy::from(&policy))
}

/// `GET /auth/policies/{policyId}`
pub async fn get_policy(call: Call) -> Handled {
    json::ok(&Policy::from(&call.service.get_policy(&call.caller, &policy_id(&call)?)?))
}

/// `PUT /auth/policies/{policyId}`
pub async fn update_policy(mut call: Call) -> Handled {
    let id = policy_id(&call)?;
    let (given, document) = document(&mut call)?;
    if given != id {
        return Err(Refusal::invalid("can't update policy id"));
    }
    let policy = call
        .change(|service, caller| async move { service.update_policy(&caller, &id, &document).await })
        .await?;
    json::ok(&Policy::from(&policy))
}

/// `DELETE /auth/policies/{policyId}`
pub async fn delete_policy(call: Call) -> Handled {
    let id = policy_id(&call)?;
    call.change(|service, caller| async move { service.delete_policy(&caller, &id).await }).await?;
    json::done()
}

// --- ours ----------------------------------------------------------------------------------------

/// `GET /auth/explain`
pub async fn explain(call: Call) -> Handled {
    let from = match call.text("from") {
        "" => None,
        text => Some(text.parse::<IpAddr>().map_err(|_| Refusal::invalid("from must be an address"))?),
    };
    let (user, action, resource) = (call.text("user"), call.text("action"), call.text("resource"));
    let found = call.service.explain(&call.caller, user, action, resource, from)?;
    let (policy, statement) = match &found.because {
        Because::Statement { policy, statement, .. } => (Some(&**policy), Some(*statement)),
        Because::Unreadable { policy } => (Some(&**policy), None),
        _ => (None, None),
    };
    let near = found.near.iter().map(|(policy, statement, miss)| Near {
        policy,
        statement: *statement,
        misses: match miss {
            Miss::Resource => "resource",
            Miss::Condition => "condition",
        },
    });
    json::ok(&Explanation {
        user: &found.user,
        action: found.action.name(),
        resource: &found.resource,
        allowed: found.allowed,
        because: match &found.because {
            Because::Administrator => "administrator",
            Because::Statement { effect: Effect::Allow, .. } => "allowed",
            Because::Statement { effect: Effect::Deny, .. } => "denied",
            Because::NoStatement => "no-statement",
            Because::Limited => "limited",
            Because::Unreadable { .. } => "unreadable",
        },
        text: found.to_string(),
        through: found.through.iter().map(|group| &**group).collect(),
        near: near.collect(),
        policy,
        statement,
    })
}
