//! Users, groups, policies, access keys (area 5).
//!
//! A change is authorized twice: before it waits for its turn, so that whoever may not holds nobody up, and in its turn,
//! so that a right that was taken away meanwhile is gone.

use crate::gate::{Caller, Service, auth_error};
use millpond_auth::{
    Acl, AclLevel, Action, Change, Circumstances, Credential, Document, Explanation, GroupInfo, KeyInfo,
    NewKey, NewUser, Page as Part, PolicyInfo, Resource, UserInfo, acl_policy,
};
use millpond_engine::{Error, Kind, Page, PageRequest, Result};
use std::net::IpAddr;
use std::sync::Arc;

/// Who or what has policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder<'a> {
    /// A user.
    User(&'a str),
    /// A group, for its members.
    Group(&'a str),
}

impl<'a> Holder<'a> {
    fn resource(self) -> Resource<'a> {
        match self {
            Self::User(name) => Resource::User(name),
            Self::Group(name) => Resource::Group(name),
        }
    }
}

/// A page of a list of which `list` gives any part.
fn page<T>(
    request: &PageRequest,
    list: impl FnOnce(Part<'_>) -> millpond_auth::Result<Vec<T>>,
) -> Result<Page<T>> {
    // One more than asked for tells whether there are more.
    let amount = request.amount.saturating_add(1);
    let mut items =
        list(Part { prefix: &request.prefix, after: &request.after, amount }).map_err(auth_error)?;
    let has_more = items.len() > request.amount;
    items.truncate(request.amount);
    Ok(Page { items, has_more })
}

impl Service {
    async fn change_people<T>(
        &self,
        caller: &Caller,
        needs: &[(Action, Resource<'_>)],
        how: impl FnOnce(&mut Change) -> millpond_auth::Result<T>,
    ) -> Result<T> {
        self.permit(caller, needs)?;
        let mut change = self.auth.change().await;
        let p = self.permit(caller, needs)?;
        let done = how(&mut change).map_err(auth_error)?;
        let (action, _) = needs.first().expect("a verb needs something");
        self.commit_noted(&p.actor, action.name(), change).await?;
        Ok(done)
    }

    // Users.

    /// Users by name.
    pub fn list_users(&self, caller: &Caller, request: &PageRequest) -> Result<Page<UserInfo>> {
        self.permit(caller, &[(Action::ListUsers, Resource::Any)])?;
        page(request, |part| Ok(self.auth.users(part)))
    }

    /// One user.
    pub fn get_user(&self, caller: &Caller, name: &str) -> Result<UserInfo> {
        self.permit(caller, &[(Action::ReadUser, Resource::User(name))])?;
        self.auth.user(name).map_err(auth_error)
    }

    /// The caller; `None` for nobody.
    pub fn current_user(&self, caller: &Caller) -> Option<UserInfo> {
        self.auth.user(caller.principal.as_ref()?.name()).ok()
    }

    /// Makes a user, who may do nothing yet.
    pub async fn create_user(&self, caller: &Caller, name: &str) -> Result<UserInfo> {
        let new = NewUser { name, ..NewUser::default() };
        let needs = [(Action::CreateUser, Resource::User(name))];
        self.change_people(caller, &needs, |change| change.create_user(&new)).await?;
        self.auth.user(name).map_err(auth_error)
    }

    /// Whether the caller may make this user.
    pub fn may_create_user(&self, caller: &Caller, name: &str) -> Result<()> {
        self.permit(caller, &[(Action::CreateUser, Resource::User(name))]).map(drop)
    }

    /// Deletes a user with keys, sessions, memberships and attachments (API-5.5). Requests of the user that run are
    /// refused from now on.
    pub async fn delete_user(&self, caller: &Caller, name: &str) -> Result<()> {
        let needs = [(Action::DeleteUser, Resource::User(name))];
        self.change_people(caller, &needs, |change| change.delete_user(name)).await
    }

    /// Groups of a user.
    pub fn list_user_groups(
        &self,
        caller: &Caller,
        name: &str,
        request: &PageRequest,
    ) -> Result<Page<GroupInfo>> {
        self.permit(caller, &[(Action::ReadUser, Resource::User(name))])?;
        page(request, |part| self.auth.groups_of(name, part))
    }

    /// Principals of other systems that a user is.
    pub fn list_principals(
        &self,
        caller: &Caller,
        name: &str,
        request: &PageRequest,
    ) -> Result<Page<Arc<str>>> {
        self.permit(caller, &[(Action::ReadUser, Resource::User(name))])?;
        page(request, |part| {
            let all = self.auth.principals_of(name)?;
            let wanted = |id: &Arc<str>| id.starts_with(part.prefix) && **id > *part.after;
            Ok(all.into_iter().filter(wanted).take(part.amount).collect())
        })
    }

    /// Says that a user is a principal of another system (API-5.16).
    pub async fn link_principal(&self, caller: &Caller, name: &str, id: &str) -> Result<()> {
        let needs = [(Action::CreateUserExternalPrincipal, Resource::User(name))];
        self.change_people(caller, &needs, |change| change.link_principal(name, id)).await
    }

    /// Takes that back.
    pub async fn unlink_principal(&self, caller: &Caller, name: &str, id: &str) -> Result<()> {
        let needs = [(Action::DeleteUserExternalPrincipal, Resource::User(name))];
        self.change_people(caller, &needs, |change| change.unlink_principal(name, id)).await
    }

    /// The user that a principal of another system is.
    pub fn user_of_principal(&self, caller: &Caller, id: &str) -> Result<Arc<str>> {
        self.permit(caller, &[(Action::ReadExternalPrincipal, Resource::ExternalPrincipal(id))])?;
        self.auth.user_of_principal(id).map_err(auth_error)
    }

    // Keys.

    /// Access keys of a user.
    pub fn list_keys(&self, caller: &Caller, user: &str, request: &PageRequest) -> Result<Page<KeyInfo>> {
        self.permit(caller, &[(Action::ListCredentials, Resource::User(user))])?;
        page(request, |part| self.auth.keys_of(user, part))
    }

    /// One access key of a user.
    pub fn get_key(&self, caller: &Caller, user: &str, id: &str) -> Result<KeyInfo> {
        self.permit(caller, &[(Action::ReadCredentials, Resource::User(user))])?;
        self.auth.key_of(user, id).map_err(auth_error)
    }

    /// Makes an access key. What holds the caller's own key holds the new one.
    pub async fn create_key(&self, caller: &Caller, user: &str) -> Result<Credential> {
        let by = caller.principal.as_ref().map(crate::gate::Principal::who);
        let needs = [(Action::CreateCredentials, Resource::User(user))];
        let new = NewKey { by, ..NewKey::default() };
        self.change_people(caller, &needs, |change| change.create_key(user, &new)).await
    }

    /// Deletes an access key; what was given for it ends with it.
    pub async fn delete_key(&self, caller: &Caller, user: &str, id: &str) -> Result<()> {
        let needs = [(Action::DeleteCredentials, Resource::User(user))];
        self.change_people(caller, &needs, |change| change.delete_key(user, id)).await
    }

    // Groups.

    /// Groups by name.
    pub fn list_groups(&self, caller: &Caller, request: &PageRequest) -> Result<Page<GroupInfo>> {
        self.permit(caller, &[(Action::ListGroups, Resource::Any)])?;
        page(request, |part| Ok(self.auth.groups(part)))
    }

    /// One group.
    pub fn get_group(&self, caller: &Caller, name: &str) -> Result<GroupInfo> {
        self.permit(caller, &[(Action::ReadGroup, Resource::Group(name))])?;
        self.auth.group(name).map_err(auth_error)
    }

    /// Makes a group without members and policies.
    pub async fn create_group(&self, caller: &Caller, name: &str, description: &str) -> Result<GroupInfo> {
        let needs = [(Action::CreateGroup, Resource::Group(name))];
        self.change_people(caller, &needs, |change| change.create_group(name, description)).await?;
        self.auth.group(name).map_err(auth_error)
    }

    /// Deletes a group with its memberships and attachments.
    pub async fn delete_group(&self, caller: &Caller, name: &str) -> Result<()> {
        let needs = [(Action::DeleteGroup, Resource::Group(name))];
        self.change_people(caller, &needs, |change| change.delete_group(name)).await
    }

    /// Members of a group.
    pub fn list_members(
        &self,
        caller: &Caller,
        group: &str,
        request: &PageRequest,
    ) -> Result<Page<UserInfo>> {
        self.permit(caller, &[(Action::ReadGroup, Resource::Group(group))])?;
        page(request, |part| self.auth.members(group, part))
    }

    /// Makes a user a member.
    pub async fn add_member(&self, caller: &Caller, group: &str, user: &str) -> Result<()> {
        let needs = [(Action::AddGroupMember, Resource::Group(group))];
        self.change_people(caller, &needs, |change| change.add_member(group, user)).await
    }

    /// Ends a membership, if there is one.
    pub async fn remove_member(&self, caller: &Caller, group: &str, user: &str) -> Result<()> {
        let needs = [(Action::RemoveGroupMember, Resource::Group(group))];
        self.change_people(caller, &needs, |change| change.remove_member(group, user)).await
    }

    /// The level of a group's ACL (API-3.15).
    pub fn get_acl(&self, caller: &Caller, group: &str) -> Result<Acl> {
        let policy = acl_policy(group);
        let needs =
            [(Action::ReadGroup, Resource::Group(group)), (Action::ReadPolicy, Resource::Policy(&policy))];
        self.permit(caller, &needs)?;
        self.auth.acl(group).map_err(auth_error)
    }

    /// Gives a group a level of the ACL, in place of its policies.
    pub async fn set_acl(&self, caller: &Caller, group: &str, level: AclLevel) -> Result<()> {
        let policy = acl_policy(group);
        let needs = [
            (Action::ReadGroup, Resource::Group(group)),
            (Action::AttachPolicy, Resource::Policy(&policy)),
            (Action::UpdatePolicy, Resource::Policy(&policy)),
        ];
        self.change_people(caller, &needs, |change| change.set_acl(group, level)).await
    }

    // Policies.

    /// Policies by name.
    pub fn list_policies(&self, caller: &Caller, request: &PageRequest) -> Result<Page<PolicyInfo>> {
        self.permit(caller, &[(Action::ListPolicies, Resource::Any)])?;
        page(request, |part| Ok(self.auth.policies(part)))
    }

    /// One policy.
    pub fn get_policy(&self, caller: &Caller, name: &str) -> Result<PolicyInfo> {
        self.permit(caller, &[(Action::ReadPolicy, Resource::Policy(name))])?;
        self.auth.policy(name).map_err(auth_error)
    }

    /// Saves a new policy.
    pub async fn create_policy(
        &self,
        caller: &Caller,
        name: &str,
        document: &Document,
    ) -> Result<PolicyInfo> {
        let needs = [(Action::CreatePolicy, Resource::Policy(name))];
        self.change_people(caller, &needs, |change| change.create_policy(name, document)).await?;
        self.auth.policy(name).map_err(auth_error)
    }

    /// Gives a policy other words.
    pub async fn update_policy(
        &self,
        caller: &Caller,
        name: &str,
        document: &Document,
    ) -> Result<PolicyInfo> {
        let needs = [(Action::UpdatePolicy, Resource::Policy(name))];
        self.change_people(caller, &needs, |change| change.update_policy(name, document)).await?;
        self.auth.policy(name).map_err(auth_error)
    }

    /// Deletes a policy with its attachments.
    pub async fn delete_policy(&self, caller: &Caller, name: &str) -> Result<()> {
        let needs = [(Action::DeletePolicy, Resource::Policy(name))];
        self.change_people(caller, &needs, |change| change.delete_policy(name)).await
    }

    /// Policies attached to a user or group; with `effective`, a user's also through groups (API-5.12).
    pub fn list_attached_policies(
        &self,
        caller: &Caller,
        holder: Holder<'_>,
        effective: bool,
        request: &PageRequest,
    ) -> Result<Page<PolicyInfo>> {
        let action = match holder {
            Holder::User(_) => Action::ReadUser,
            Holder::Group(_) => Action::ReadGroup,
        };
        self.permit(caller, &[(action, holder.resource())])?;
        page(request, |part| match holder {
            Holder::User(name) if effective => self.auth.effective_policies_of(name, part),
            Holder::User(name) => self.auth.policies_of(name, part),
            Holder::Group(name) => self.auth.policies_of_group(name, part),
        })
    }

    /// Gives a policy to a user or group.
    pub async fn attach_policy(&self, caller: &Caller, holder: Holder<'_>, policy: &str) -> Result<()> {
        let needs = [(Action::AttachPolicy, holder.resource())];
        self.change_people(caller, &needs, |change| match holder {
            Holder::User(name) => change.attach_to_user(policy, name),
            Holder::Group(name) => change.attach_to_group(policy, name),
        })
        .await
    }

    /// Takes a policy away, if it is attached.
    pub async fn detach_policy(&self, caller: &Caller, holder: Holder<'_>, policy: &str) -> Result<()> {
        let needs = [(Action::DetachPolicy, holder.resource())];
        self.change_people(caller, &needs, |change| match holder {
            Holder::User(name) => change.detach_from_user(policy, name),
            Holder::Group(name) => change.detach_from_group(policy, name),
        })
        .await
    }

    /// Why a user may do something, or may not; everybody may ask about themselves. Action and resource are spelled as
    /// in policies.
    pub fn explain(
        &self,
        caller: &Caller,
        user: &str,
        action: &str,
        resource: &str,
        from: Option<IpAddr>,
    ) -> Result<Explanation> {
        let invalid = |message: String| Error::new(Kind::Invalid, message);
        let action = Action::parse(action)
            .ok_or_else(|| invalid(format!("'{action}' is no action; one is 'fs:ReadObject'")))?;
        let resource = Resource::parse(resource).ok_or_else(|| {
            invalid(format!("'{resource}' is neither '*' nor of the form arn:lakefs:<service>:::<name>"))
        })?;
        if caller.principal.as_ref().is_none_or(|principal| principal.name() != user) {
            self.permit(caller, &[(Action::ReadUser, Resource::User(user))])?;
        }
        self.auth.explain(user, action, resource, Circumstances { source_ip: from }).map_err(auth_error)
    }

    // The server.

    /// Whether the caller may see how objects are stored (API-3.17).
    pub fn may_read_config(&self, caller: &Caller) -> Result<()> {
        self.permit(caller, &[(Action::ReadConfig, Resource::Any)]).map(drop)
    }
}
