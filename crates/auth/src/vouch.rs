//! Somebody for whom another system vouches: found or made a user, with the groups that the system says.

use crate::auth::Who;
use crate::change::{Change, NewUser};
use crate::error::{Error, Result};
use std::collections::BTreeSet;

/// What another system says about somebody.
#[derive(Clone, Copy, Debug)]
pub struct Vouched<'a> {
    /// The kind of system: `oidc`.
    pub source: &'a str,
    /// Who it is there, for ever. Nothing else is ever compared.
    pub principal: &'a str,
    /// How a new user is called.
    pub name: &'a str,
    /// For people; may be empty.
    pub friendly_name: &'a str,
    /// For people; may be empty.
    pub email: &'a str,
    /// The groups it gives, whether or not they exist here.
    pub groups: &'a BTreeSet<String>,
    /// Whether somebody unknown becomes a new user.
    pub may_create: bool,
}

impl Change {
    /// The user that somebody is here, with groups, name and address as the other system says now.
    ///
    /// # Errors
    /// [`Error::NotFound`] for somebody unknown who may not be made; [`Error::Exists`] when his name is another user's, who
    /// is not joined with him; [`Error::Invalid`] for a name that no user can have.
    pub fn vouch(&mut self, vouched: &Vouched<'_>) -> Result<Who> {
        let known = self.next().principals.get(vouched.principal).cloned();
        let name = match known {
            Some(name) => name,
            None if vouched.may_create => {
                self.create_user(&NewUser {
                    name: vouched.name,
                    friendly_name: vouched.friendly_name,
                    email: vouched.email,
                    source: vouched.source,
                    external_id: vouched.principal,
                })?;
                self.link_principal(vouched.name, vouched.principal)?;
                vouched.name.into()
            }
            None => return Err(Error::missing("external principal", vouched.principal)),
        };
        let user = self.next().users.get(&name).cloned().ok_or_else(|| Error::missing("user", &name))?;
        let shown = (&*user.record.friendly_name, &*user.record.email);
        // Of a user who was made by hand, a person decides what is shown.
        if user.record.source == vouched.source && shown != (vouched.friendly_name, vouched.email) {
            self.describe_user(&name, Some(vouched.friendly_name), Some(vouched.email))?;
        }
        self.set_given_groups(&name, vouched.groups)?;
        Ok(user.who(None))
    }
}
