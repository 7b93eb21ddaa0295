//! Who and what there is: users, groups, policies and keys as lists and one by one.
//!
//! Lists are sorted by name. A page is everything with a prefix behind a name; how tokens of pages look is the
//! doors' matter (API-5.14, 5.15).

use crate::auth::Auth;
use crate::defaults::{AclLevel, acl_policy};
use crate::error::{Error, Result};
use crate::policy::Document;
use crate::state::{Group, Key, Name, Policy, State, User};
use imbl::{OrdMap, OrdSet};
use millpond_types::Timestamp;
use std::ops::Bound;
use std::sync::Arc;

/// A user as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    /// The name.
    pub name: Arc<str>,
    /// When it was made.
    pub created: Timestamp,
    /// For people; may be empty.
    pub friendly_name: String,
    /// May be empty.
    pub email: String,
    /// Who vouches for the user: `internal`, `oidc`, ...
    pub source: String,
    /// The user's id there; may be empty.
    pub external_id: String,
    /// Whether policies do not bind the user.
    pub administrator: bool,
    /// Whether the user can sign in by password.
    pub has_password: bool,
}

/// A group as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupInfo {
    /// The name.
    pub name: Arc<str>,
    /// When it was made.
    pub created: Timestamp,
    /// For people; may be empty.
    pub description: String,
}

/// A policy as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyInfo {
    /// The name.
    pub name: Arc<str>,
    /// When it was made or last changed (API-5.11).
    pub created: Timestamp,
    /// What it says.
    pub document: Arc<Document>,
}

/// An access key as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// The public half.
    pub access_key_id: Arc<str>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// When it was last used, to the minute; `None`: never.
    pub last_used: Option<Timestamp>,
    /// Whether it is held to less than its user may do.
    pub limited: bool,
}

/// Which part of a list.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Only names that begin so.
    pub prefix: &'a str,
    /// Only names behind this one; empty: from the start.
    pub after: &'a str,
    /// At most so many.
    pub amount: usize,
}

/// What a group's ACL is (API-3.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acl {
    /// No policy is attached.
    Nothing,
    /// Its policy is this level.
    Level(AclLevel),
    /// Its policies are something else.
    Other,
}

fn user_info(_: &Name, user: &User) -> UserInfo {
    UserInfo {
        name: user.name.clone(),
        created: user.record.created,
        friendly_name: user.record.friendly_name.clone(),
        email: user.record.email.clone(),
        source: user.record.source.clone(),
        external_id: user.record.external_id.clone(),
        administrator: user.record.administrator,
        has_password: user.password.is_some(),
    }
}

fn group_info(name: &Name, group: &Group) -> GroupInfo {
    let (created, description) = (group.record.created, group.record.description.clone());
    GroupInfo { name: name.clone(), created, description }
}

fn policy_info(name: &Name, policy: &Policy) -> PolicyInfo {
    PolicyInfo { name: name.clone(), created: policy.created, document: policy.document.clone() }
}

fn key_info(id: &Name, key: &Key) -> KeyInfo {
    KeyInfo {
        access_key_id: id.clone(),
        created: key.credential.created,
        expires: key.credential.expires,
        last_used: key.last_used(),
        limited: !key.limits.is_empty(),
    }
}

/// The bounds of a page.
fn bounds(page: &Page<'_>) -> (Bound<Name>, Bound<Name>) {
    let start = if page.after >= page.prefix && !page.after.is_empty() {
        Bound::Excluded(page.after.into())
    } else {
        Bound::Included(page.prefix.into())
    };
    (start, Bound::Unbounded)
}

fn listed<T, I>(map: &OrdMap<Name, Arc<T>>, page: Page<'_>, show: impl Fn(&Name, &T) -> I) -> Vec<I> {
    let matching = map.range(bounds(&page)).take_while(|(name, _)| name.starts_with(page.prefix));
    matching.take(page.amount).map(|(name, entry)| show(name, entry)).collect()
}

fn chosen<T, I>(
    names: &OrdSet<Name>,
    map: &OrdMap<Name, Arc<T>>,
    page: Page<'_>,
    show: impl Fn(&Name, &T) -> I,
) -> Vec<I> {
    let matching = names.range(bounds(&page)).take_while(|name| name.starts_with(page.prefix));
    matching.filter_map(|name| Some(show(name, map.get(name)?))).take(page.amount).collect()
}

fn one<'s, T>(map: &'s OrdMap<Name, Arc<T>>, what: &'static str, name: &str) -> Result<(&'s Name, &'s T)> {
    let found = map.get_key_value(name).map(|(name, entry)| (name, &**entry));
    found.ok_or_else(|| Error::missing(what, name))
}

impl State {
    fn one_user(&self, name: &str) -> Result<&User> {
        Ok(one(&self.users, "user", name)?.1)
    }
    fn one_group(&self, name: &str) -> Result<&Group> {
        Ok(one(&self.groups, "group", name)?.1)
    }
}

/// Each answers [`Error::NotFound`] for what it is asked about and does not know.
#[allow(clippy::missing_errors_doc, reason = "they have one error, said above")]
impl Auth {
    /// All users.
    pub fn users(&self, page: Page<'_>) -> Vec<UserInfo> {
        listed(&self.state().users, page, user_info)
    }
    /// One user.
    pub fn user(&self, name: &str) -> Result<UserInfo> {
        let state = self.state();
        let (name, user) = one(&state.users, "user", name)?;
        Ok(user_info(name, user))
    }
    /// The user that a principal of another system is.
    pub fn user_of_principal(&self, id: &str) -> Result<Arc<str>> {
        let user = self.state().principals.get(id).cloned();
        user.ok_or_else(|| Error::missing("external principal", id))
    }
    /// The principals of other systems that a user is.
    pub fn principals_of(&self, user: &str) -> Result<Vec<Arc<str>>> {
        let state = self.state();
        state.one_user(user)?;
        let own = state.principals.iter().filter(|(_, owner)| ***owner == *user);
        Ok(own.map(|(id, _)| id.clone()).collect())
    }
    /// All groups.
    pub fn groups(&self, page: Page<'_>) -> Vec<GroupInfo> {
        listed(&self.state().groups, page, group_info)
    }
    /// One group.
    pub fn group(&self, name: &str) -> Result<GroupInfo> {
        let state = self.state();
        let (name, group) = one(&state.groups, "group", name)?;
        Ok(group_info(name, group))
    }
    /// Members of a group.
    pub fn members(&self, group: &str, page: Page<'_>) -> Result<Vec<UserInfo>> {
        let state = self.state();
        Ok(chosen(&state.one_group(group)?.members, &state.users, page, user_info))
    }
    /// Groups of a user.
    pub fn groups_of(&self, user: &str, page: Page<'_>) -> Result<Vec<GroupInfo>> {
        let state = self.state();
        Ok(chosen(&state.one_user(user)?.groups, &state.groups, page, group_info))
    }
    /// All policies.
    pub fn policies(&self, page: Page<'_>) -> Vec<PolicyInfo> {
        listed(&self.state().policies, page, policy_info)
    }
    /// One policy.
    pub fn policy(&self, name: &str) -> Result<PolicyInfo> {
        let state = self.state();
        let (name, policy) = one(&state.policies, "policy", name)?;
        Ok(policy_info(name, policy))
    }
    /// Policies attached to a user.
    pub fn policies_of(&self, user: &str, page: Page<'_>) -> Result<Vec<PolicyInfo>> {
        let state = self.state();
        Ok(chosen(&state.one_user(user)?.policies, &state.policies, page, policy_info))
    }
    /// The same with those of the user's groups, each once (API-5.12).
    pub fn effective_policies_of(&self, user: &str, page: Page<'_>) -> Result<Vec<PolicyInfo>> {
        let state = self.state();
        let all: OrdSet<Name> = state.effective(state.one_user(user)?).into_keys().collect();
        Ok(chosen(&all, &state.policies, page, policy_info))
    }
    /// Policies attached to a group.
    pub fn policies_of_group(&self, group: &str, page: Page<'_>) -> Result<Vec<PolicyInfo>> {
        let state = self.state();
        Ok(chosen(&state.one_group(group)?.policies, &state.policies, page, policy_info))
    }
    /// What a group's ACL is.
    pub fn acl(&self, group: &str) -> Result<Acl> {
        let state = self.state();
        let mut policies = state.one_group(group)?.policies.iter();
        Ok(match (policies.next(), policies.next()) {
            (None, _) => Acl::Nothing,
            (Some(name), None) if **name == *acl_policy(group) => {
                let level = state
                    .policies
                    .get(name)
                    .and_then(|policy| AclLevel::parse(policy.document.acl.as_deref()?));
                level.map_or(Acl::Other, Acl::Level)
            }
            _ => Acl::Other,
        })
    }
    /// Access keys of a user.
    pub fn keys_of(&self, user: &str, page: Page<'_>) -> Result<Vec<KeyInfo>> {
        let state = self.state();
        Ok(chosen(&state.one_user(user)?.keys, &state.keys, page, key_info))
    }
    /// One access key of a user; another user's is not there (API-5.10).
    pub fn key_of(&self, user: &str, access_key_id: &str) -> Result<KeyInfo> {
        let state = self.state();
        state.one_user(user)?;
        match one(&state.keys, "access key", access_key_id)? {
            (id, key) if *key.credential.user == *user => Ok(key_info(id, key)),
            _ => Err(Error::missing("access key", access_key_id)),
        }
    }
}
