//! Users, groups, policies and access keys (API area 5), and explanations of what somebody may do (Millpond only).

use crate::connection::{Api, Client};
use crate::error::Error;
use crate::page::{Page, PageQuery};
use crate::server::User;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Several users who have the same policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub id: String,
    /// Unix seconds.
    #[serde(default)]
    pub creation_date: i64,
    /// What it is for.
    #[serde(default)]
    pub description: String,
}

/// What its holders may do and may not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its name.
    pub id: String,
    /// Unix seconds; of the last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_date: Option<i64>,
    /// The statements, as they are written.
    pub statement: Vec<Value>,
}

/// An access key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// The public half.
    pub access_key_id: String,
    /// Unix seconds.
    #[serde(default)]
    pub creation_date: i64,
}

/// Who a user is in another system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The id there; of an OIDC provider issuer, `#` and `sub`.
    pub id: String,
    /// The user here.
    pub user_id: String,
}

/// A new access key; its secret is told once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAccessKey {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: String,
    /// Unix seconds.
    #[serde(default)]
    pub creation_date: i64,
}

/// A new access key that ends by itself; its secret is told once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortLivedKey {
    /// Whose it is.
    pub user_id: String,
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: String,
    /// When it ends (RFC 3339).
    pub expires: String,
}

/// A link that signs its user in once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInLink {
    /// Who is signed in.
    pub user_id: String,
    /// What comes after the server's address.
    pub path: String,
    /// When it ends unused (RFC 3339).
    pub expires: String,
}

/// Who or what has policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder<'a> {
    /// A user.
    User(&'a str),
    /// A group, for its members.
    Group(&'a str),
}

impl<'a> Holder<'a> {
    fn segments(self) -> [&'a str; 3] {
        match self {
            Self::User(name) => ["auth", "users", name],
            Self::Group(name) => ["auth", "groups", name],
        }
    }
    fn text(self) -> String {
        match self {
            Self::User(name) => format!("user {name}"),
            Self::Group(name) => format!("group {name}"),
        }
    }
}

/// A permission that speaks of an action and yet does not match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Near {
    /// Where it is.
    pub policy: String,
    /// Its place there, from 1.
    pub statement: u64,
    /// What is in its way: `resource` or `condition`.
    pub misses: String,
}

/// Why somebody may do something, or may not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The answer.
    pub allowed: bool,
    /// `administrator`, `allowed`, `denied`, `no-statement`, `limited` or `unreadable`.
    pub because: String,
    /// The same in a sentence.
    pub text: String,
    /// The policy that decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The statement in it, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<u64>,
    /// Groups through which the user has the policy.
    #[serde(default)]
    pub through: Vec<String>,
    /// What nearly permitted it.
    #[serde(default)]
    pub near: Vec<Near>,
}

/// Which master key seals secrets now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterKey {
    /// Its id; not the key.
    pub master_key_id: String,
}

#[derive(Serialize)]
struct NewUser<'a> {
    id: &'a str,
}

#[derive(Serialize)]
struct NewGroup<'a> {
    id: &'a str,
    description: &'a str,
}

#[derive(Serialize)]
struct KeyOrder<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    lifetime_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Statements<'a>>,
}

#[derive(Serialize)]
struct Statements<'a> {
    statement: &'a [Value],
}

#[derive(Serialize)]
struct LinkOrder<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifetime_seconds: Option<u64>,
}

#[derive(Serialize)]
struct PasswordOrder<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    password: &'a str,
}

impl Client {
    /// A page of users by name.
    pub async fn list_users(&self, query: &PageQuery) -> Result<Page<User>, Error> {
        let call = self.call(Method::GET, Api::Compatible, &["auth", "users"], "list the users".into());
        query.add_to(call).read_json().await
    }

    /// One user.
    pub async fn get_user(&self, name: &str) -> Result<User, Error> {
        let attempt = format!("read user {name}");
        self.call(Method::GET, Api::Compatible, &["auth", "users", name], attempt).read_json().await
    }

    /// Makes a user, who may do nothing yet.
    pub async fn create_user(&self, name: &str) -> Result<User, Error> {
        let attempt = format!("create user {name}");
        let call = self.call(Method::POST, Api::Compatible, &["auth", "users"], attempt);
        call.json(&NewUser { id: name }).read_json().await
    }

    /// Deletes a user with keys and memberships.
    pub async fn delete_user(&self, name: &str) -> Result<(), Error> {
        let attempt = format!("delete user {name}");
        self.call(Method::DELETE, Api::Compatible, &["auth", "users", name], attempt).read_nothing().await
    }

    /// A page of a user's groups.
    pub async fn list_user_groups(&self, name: &str, query: &PageQuery) -> Result<Page<Group>, Error> {
        let attempt = format!("list the groups of user {name}");
        let call = self.call(Method::GET, Api::Compatible, &["auth", "users", name, "groups"], attempt);
        query.add_to(call).read_json().await
    }

    /// A page of a user's access keys.
    pub async fn list_keys(&self, user: &str, query: &PageQuery) -> Result<Page<AccessKey>, Error> {
        let attempt = format!("list the access keys of user {user}");
        let call = self.call(Method::GET, Api::Compatible, &["auth", "users", user, "credentials"], attempt);
        query.add_to(call).read_json().await
    }

    /// Makes an access key for a user.
    pub async fn create_key(&self, user: &str) -> Result<NewAccessKey, Error> {
        let attempt = format!("create an access key for user {user}");
        let segments = ["auth", "users", user, "credentials"];
        self.call(Method::POST, Api::Compatible, &segments, attempt).read_json().await
    }

    /// Makes an access key that ends by itself and may do at most what the statements permit; without any, what
    /// its user may. `None` is the caller.
    pub async fn create_short_lived_key(
        &self,
        user: Option<&str>,
        lifetime_seconds: u64,
        statements: Option<&[Value]>,
    ) -> Result<ShortLivedKey, Error> {
        let policy = statements.map(|statement| Statements { statement });
        let call = self.call(Method::POST, Api::Own, &["auth", "keys"], "create a short-lived key".into());
        call.json(&KeyOrder { user_id: user, lifetime_seconds, policy }).read_json().await
    }

    /// Makes a link that signs in once: the caller, or the user named.
    pub async fn create_link(
        &self,
        user: Option<&str>,
        lifetime_seconds: Option<u64>,
    ) -> Result<SignInLink, Error> {
        let call = self.call(Method::POST, Api::Own, &["auth", "link"], "create a sign-in link".into());
        call.json(&LinkOrder { user_id: user, lifetime_seconds }).read_json().await
    }

    /// Sets the password of the caller, or of the user named; sessions of that user end.
    pub async fn set_password(&self, user: Option<&str>, password: &str) -> Result<(), Error> {
        let call = self.call(Method::POST, Api::Own, &["auth", "password"], "set the password".into());
        call.json(&PasswordOrder { user_id: user, password }).read_nothing().await
    }

    /// Deletes an access key of a user.
    pub async fn delete_key(&self, user: &str, id: &str) -> Result<(), Error> {
        let attempt = format!("delete access key {id} of user {user}");
        let segments = ["auth", "users", user, "credentials", id];
        self.call(Method::DELETE, Api::Compatible, &segments, attempt).read_nothing().await
    }

    /// A page of who a user is in other systems.
    pub async fn list_principals(&self, user: &str, query: &PageQuery) -> Result<Page<Principal>, Error> {
        let attempt = format!("list who user {user} is in other systems");
        let segments = ["auth", "users", user, "external", "principals", "ls"];
        query.add_to(self.call(Method::GET, Api::Compatible, &segments, attempt)).read_json().await
    }

    /// Says that a user is somebody in another system.
    pub async fn link_principal(&self, user: &str, principal: &str) -> Result<(), Error> {
        self.principal(Method::POST, user, principal, "link").await
    }

    /// Takes that back.
    pub async fn unlink_principal(&self, user: &str, principal: &str) -> Result<(), Error> {
        self.principal(Method::DELETE, user, principal, "unlink").await
    }

    async fn principal(&self, method: Method, user: &str, id: &str, what: &str) -> Result<(), Error> {
        let attempt = format!("{what} user {user} and {id}");
        let segments = ["auth", "users", user, "external", "principals"];
        self.call(method, Api::Compatible, &segments, attempt).query("principalId", id).read_nothing().await
    }

    /// A page of groups by name.
    pub async fn list_groups(&self, query: &PageQuery) -> Result<Page<Group>, Error> {
        let call = self.call(Method::GET, Api::Compatible, &["auth", "groups"], "list the groups".into());
        query.add_to(call).read_json().await
    }

    /// One group.
    pub async fn get_group(&self, name: &str) -> Result<Group, Error> {
        let attempt = format!("read group {name}");
        self.call(Method::GET, Api::Compatible, &["auth", "groups", name], attempt).read_json().await
    }

    /// Makes a group.
    pub async fn create_group(&self, name: &str, description: &str) -> Result<Group, Error> {
        let attempt = format!("create group {name}");
        let call = self.call(Method::POST, Api::Compatible, &["auth", "groups"], attempt);
        call.json(&NewGroup { id: name, description }).read_json().await
    }

    /// Deletes a group; its members stay users.
    pub async fn delete_group(&self, name: &str) -> Result<(), Error> {
        let attempt = format!("delete group {name}");
        self.call(Method::DELETE, Api::Compatible, &["auth", "groups", name], attempt).read_nothing().await
    }

    /// A page of a group's members.
    pub async fn list_members(&self, group: &str, query: &PageQuery) -> Result<Page<User>, Error> {
        let attempt = format!("list the members of group {group}");
        let call = self.call(Method::GET, Api::Compatible, &["auth", "groups", group, "members"], attempt);
        query.add_to(call).read_json().await
    }

    /// Makes a user a member of a group.
    pub async fn add_member(&self, group: &str, user: &str) -> Result<(), Error> {
        let attempt = format!("add user {user} to group {group}");
        let segments = ["auth", "groups", group, "members", user];
        self.call(Method::PUT, Api::Compatible, &segments, attempt).read_nothing().await
    }

    /// Ends a membership.
    pub async fn remove_member(&self, group: &str, user: &str) -> Result<(), Error> {
        let attempt = format!("take user {user} out of group {group}");
        let segments = ["auth", "groups", group, "members", user];
        self.call(Method::DELETE, Api::Compatible, &segments, attempt).read_nothing().await
    }

    /// A page of policies by name.
    pub async fn list_policies(&self, query: &PageQuery) -> Result<Page<Policy>, Error> {
        let call = self.call(Method::GET, Api::Compatible, &["auth", "policies"], "list the policies".into());
        query.add_to(call).read_json().await
    }

    /// One policy.
    pub async fn get_policy(&self, name: &str) -> Result<Policy, Error> {
        let attempt = format!("read policy {name}");
        self.call(Method::GET, Api::Compatible, &["auth", "policies", name], attempt).read_json().await
    }

    /// Saves a new policy.
    pub async fn create_policy(&self, policy: &Policy) -> Result<Policy, Error> {
        let attempt = format!("create policy {}", policy.id);
        let call = self.call(Method::POST, Api::Compatible, &["auth", "policies"], attempt);
        call.json(policy).read_json().await
    }

    /// Gives a policy other words.
    pub async fn update_policy(&self, policy: &Policy) -> Result<Policy, Error> {
        let attempt = format!("change policy {}", policy.id);
        let call = self.call(Method::PUT, Api::Compatible, &["auth", "policies", &policy.id], attempt);
        call.json(policy).read_json().await
    }

    /// Deletes a policy, wherever it is attached.
    pub async fn delete_policy(&self, name: &str) -> Result<(), Error> {
        let attempt = format!("delete policy {name}");
        self.call(Method::DELETE, Api::Compatible, &["auth", "policies", name], attempt).read_nothing().await
    }

    /// A page of the policies attached to a user or group; of a user also those through groups, if wanted.
    pub async fn list_attached_policies(
        &self,
        holder: Holder<'_>,
        effective: bool,
        query: &PageQuery,
    ) -> Result<Page<Policy>, Error> {
        let attempt = format!("list the policies of {}", holder.text());
        let [a, b, c] = holder.segments();
        let call = self.call(Method::GET, Api::Compatible, &[a, b, c, "policies"], attempt);
        query.add_to(call).query_flag("effective", effective).read_json().await
    }

    /// Gives a policy to a user or group.
    pub async fn attach_policy(&self, policy: &str, holder: Holder<'_>) -> Result<(), Error> {
        let attempt = format!("attach policy {policy} to {}", holder.text());
        let [a, b, c] = holder.segments();
        let segments = [a, b, c, "policies", policy];
        self.call(Method::PUT, Api::Compatible, &segments, attempt).read_nothing().await
    }

    /// Takes a policy away from a user or group.
    pub async fn detach_policy(&self, policy: &str, holder: Holder<'_>) -> Result<(), Error> {
        let attempt = format!("detach policy {policy} from {}", holder.text());
        let [a, b, c] = holder.segments();
        let segments = [a, b, c, "policies", policy];
        self.call(Method::DELETE, Api::Compatible, &segments, attempt).read_nothing().await
    }

    /// Why a user may do something, or may not; `from` is the address that he would come from, or empty.
    pub async fn explain(
        &self,
        user: &str,
        action: &str,
        resource: &str,
        from: &str,
    ) -> Result<Explanation, Error> {
        let attempt = format!("explain whether {user} may {action} on {resource}");
        self.call(Method::GET, Api::Own, &["auth", "explain"], attempt)
            .query("user", user)
            .query("action", action)
            .query("resource", resource)
            .query_filled("from", from)
            .read_json()
            .await
    }

    /// Has the server make a new master key and seal every secret with it.
    pub async fn rotate_master_key(&self) -> Result<MasterKey, Error> {
        let attempt = "exchange the master key".to_owned();
        self.call(Method::POST, Api::Own, &["auth", "rotate-master-key"], attempt).read_json().await
    }
}
