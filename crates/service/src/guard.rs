//! What an operation of a door needs, said beside the operation.
//!
//! It exists because a route that nobody thought about is a hole: a row of a door's table cannot be written without
//! its guard. The verb is what decides, with [`crate::gate`]; the authorization matrix (tests of both doors) asks
//! every row whether the guard is exactly what the verb wants, no more and no less. For what a door knows and does
//! not offer there is no verb, and [`Service::require`] asks for the guard itself.

use crate::gate::{Caller, Permitted, Service};
use millpond_auth::{Action, Resource};
use millpond_engine::{Error, Kind, Result};
use millpond_types::RepositoryName;

/// Who may call an operation.
#[derive(Clone, Copy, Debug)]
pub enum Guard {
    /// Everybody: credentials are not even looked at.
    Open,
    /// Everybody, but credentials that are sent must be right.
    Optional,
    /// Everybody who signs in.
    Login,
    /// Whoever may do all of these. A resource is an ARN whose names in braces are parameters of the operation or
    /// members of its body (`{paths.path}`: of each item).
    Rights(&'static [(Action, &'static str)]),
    /// Whoever may do this on anything at all; shown is what they may do it on.
    Somewhere(Action),
}

/// Everything: only a literal `*` in a policy covers it.
pub const EVERYTHING: &str = "*";
/// The repository of the path.
pub const REPOSITORY: &str = "arn:lakefs:fs:::repository/{repository}";
/// The branch of the path.
pub const BRANCH: &str = "arn:lakefs:fs:::repository/{repository}/branch/{branch}";
/// The tag of the path.
pub const TAG: &str = "arn:lakefs:fs:::repository/{repository}/tag/{tag}";
/// The object asked for, whatever the ref.
pub const OBJECT: &str = "arn:lakefs:fs:::repository/{repository}/object/{path}";
/// The user of the path.
pub const USER: &str = "arn:lakefs:auth:::user/{userId}";
/// The group of the path.
pub const GROUP: &str = "arn:lakefs:auth:::group/{groupId}";
/// The policy of the path.
pub const POLICY: &str = "arn:lakefs:auth:::policy/{policyId}";
/// The policy behind the ACL of the group of the path.
pub const ACL_POLICY: &str = "arn:lakefs:auth:::policy/ACL(_-_){groupId}";

impl Guard {
    /// Whether the operation may be called without credentials.
    pub fn is_anonymous(self) -> bool {
        matches!(self, Self::Open | Self::Optional)
    }

    /// The rights as text: `fs:ReadObject on arn:...`; without a resource for [`Guard::Somewhere`].
    pub fn rights(self) -> Vec<String> {
        match self {
            Self::Open | Self::Optional | Self::Login => Vec::new(),
            Self::Rights(rights) => {
                rights.iter().map(|(action, resource)| format!("{action} on {resource}")).collect()
            }
            Self::Somewhere(action) => vec![action.to_string()],
        }
    }
}

impl Service {
    /// Whether the caller may pass a guard; `values` gives what a name in braces stands for: nothing at all in an
    /// empty list, which needs no right.
    ///
    /// # Errors
    /// `Denied`, `Unauthenticated`; `Invalid` if a name stands for nothing.
    pub fn require(
        &self,
        caller: &Caller,
        guard: Guard,
        values: impl Fn(&str) -> Option<Vec<String>>,
    ) -> Result<()> {
        self.pass(caller, guard, values).map(drop)
    }

    /// The same, and that the repository is there.
    ///
    /// # Errors
    /// As [`Service::require`], and `NotFound`.
    pub fn require_in(
        &self,
        caller: &Caller,
        guard: Guard,
        repo: &RepositoryName,
        values: impl Fn(&str) -> Option<Vec<String>>,
    ) -> Result<()> {
        let permitted = self.pass(caller, guard, values)?;
        let permitted = permitted.ok_or_else(|| Error::new(Kind::Invalid, "nothing is asked for"))?;
        permitted.engine.get_repository(repo).map(drop)
    }

    fn pass(
        &self,
        caller: &Caller,
        guard: Guard,
        values: impl Fn(&str) -> Option<Vec<String>>,
    ) -> Result<Option<Permitted>> {
        match guard {
            Guard::Open | Guard::Optional => Ok(None),
            Guard::Login => self.access(caller).map(|_| None),
            Guard::Somewhere(action) => {
                self.permit_list(caller, action).map(|(permitted, _)| Some(permitted))
            }
            Guard::Rights(rights) => {
                let mut permitted = None;
                for &(action, resource) in rights {
                    for arn in filled(resource, &values)? {
                        let resource = Resource::parse(&arn)
                            .ok_or_else(|| Error::new(Kind::Invalid, format!("'{arn}' names nothing")))?;
                        permitted = Some(self.permit(caller, &[(action, resource)])?);
                    }
                }
                Ok(permitted)
            }
        }
    }
}

/// The ARNs of a resource: one for each value of each name in it.
fn filled(resource: &str, values: &impl Fn(&str) -> Option<Vec<String>>) -> Result<Vec<String>> {
    let mut pieces = resource.split('{');
    let mut arns = vec![pieces.next().unwrap_or_default().to_owned()];
    for piece in pieces {
        let (name, rest) = piece.split_once('}').expect("a name in braces ends");
        let values = values(name).ok_or_else(|| Error::new(Kind::Invalid, format!("{name} is missing")))?;
        let longer =
            |arn: &String| values.iter().map(|value| format!("{arn}{value}{rest}")).collect::<Vec<_>>();
        arns = arns.iter().flat_map(longer).collect();
    }
    Ok(arns)
}
