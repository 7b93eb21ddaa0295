//! The one evaluator: what somebody may do, decided by policies compiled beforehand.
//!
//! Any matching denial decides; else any matching permission; else the answer is no (API-4.11). An answer and its
//! explanation come from the same walk, so that `explain` cannot tell a story of its own.

use crate::error::{Error, Result};
use crate::permission::{Action, Needs, Permit, Resource};
use crate::policy::{Asked, Circumstances, Compiled, Document, Effect, Miss};
use std::fmt;
use std::sync::Arc;

/// The effective policies of a user, sorted by name, each once.
#[derive(Debug, Default)]
pub(crate) struct Rights {
    policies: Box<[Arc<Compiled>]>,
    /// What any denial, and any permission, speaks of: most questions need not look at one of the two.
    denied: u128,
    allowed: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Allowed,
    Denied,
    /// Nobody said anything.
    Neutral,
}

/// An outcome and what brought it about.
struct Verdict<'a> {
    outcome: Outcome,
    by: Option<(&'a Compiled, usize)>,
}

impl Rights {
    pub fn new(policies: impl IntoIterator<Item = Arc<Compiled>>) -> Self {
        let policies: Box<[_]> = policies.into_iter().collect();
        let denied = policies.iter().fold(0, |all, policy| all | policy.denied);
        let allowed = policies.iter().fold(0, |all, policy| all | policy.allowed);
        Self { policies, denied, allowed }
    }

    fn judge(&self, asked: &Asked<'_>) -> Verdict<'_> {
        let bit = asked.action.bit();
        if self.denied & bit != 0 {
            for policy in self.policies.iter().filter(|policy| policy.denied & bit != 0) {
                if policy.broken {
                    return Verdict { outcome: Outcome::Denied, by: None };
                }
                if let Some(statement) = policy.matching(Effect::Deny, asked) {
                    return Verdict { outcome: Outcome::Denied, by: Some((policy, statement)) };
                }
            }
        }
        if self.allowed & bit != 0 {
            for policy in self.policies.iter().filter(|policy| policy.allowed & bit != 0) {
                if let Some(statement) = policy.matching(Effect::Allow, asked) {
                    return Verdict { outcome: Outcome::Allowed, by: Some((policy, statement)) };
                }
            }
        }
        Verdict { outcome: Outcome::Neutral, by: None }
    }
}

/// What keys with limits never do, whatever their limits say: they would lend themselves what they lack. A key
/// that such a key makes has the same limits.
fn beyond_limits(action: Action) -> bool {
    let name = action.name();
    let looks = name.starts_with("auth:Read") || name.starts_with("auth:List");
    name.starts_with("auth:") && !looks && action != Action::CreateCredentials
}

/// What one caller may do, as things stand at one moment.
pub struct Access {
    pub(crate) user: Arc<str>,
    pub(crate) administrator: bool,
    pub(crate) rights: Arc<Rights>,
    /// Each must permit too; `None`: there are none.
    pub(crate) limits: Option<Arc<[Arc<Rights>]>>,
    pub(crate) at: Circumstances,
}

impl Access {
    /// What somebody with these policies could do: for trying policies out before they are saved.
    pub fn with_policies<'d>(
        user: &str,
        policies: impl IntoIterator<Item = (&'d str, &'d Document)>,
        at: Circumstances,
    ) -> Self {
        let compiled =
            policies.into_iter().map(|(name, document)| Compiled::new(name.into(), document, user));
        let rights = Arc::new(Rights::new(compiled.map(Arc::new)));
        Self { user: user.into(), administrator: false, rights, limits: None, at }
    }

    /// The same held to less, as by a key with limits.
    #[must_use]
    pub fn limited_to(mut self, limit: &Document) -> Self {
        let limit = Rights::new([Arc::new(Compiled::new("".into(), limit, &self.user))]);
        self.limits = Some(self.limits().iter().cloned().chain([Arc::new(limit)]).collect());
        self
    }

    fn limits(&self) -> &[Arc<Rights>] {
        self.limits.as_deref().unwrap_or_default()
    }

    /// Whether the caller may do this.
    pub fn allows(&self, action: Action, resource: Resource<'_>) -> bool {
        self.outcome(action, &resource) == Outcome::Allowed
    }

    /// Whether any permission speaks of this action, on whatever resource and condition: the gate before a list
    /// whose items are then judged one by one (API-4.18).
    pub fn allows_somewhere(&self, action: Action) -> bool {
        let bit = action.bit();
        let limited = !self.limits().is_empty() && beyond_limits(action);
        let within = !limited && self.limits().iter().all(|limit| limit.allowed & bit != 0);
        within && (self.administrator || self.rights.allowed & bit != 0)
    }

    /// The proof that some permission speaks of this action.
    ///
    /// # Errors
    /// [`Error::Denied`].
    pub fn require_somewhere(&self, action: Action) -> Result<Permit> {
        if self.allows_somewhere(action) {
            return Ok(Permit::new(self.user.clone()));
        }
        Err(self.denied(action, Resource::Any))
    }

    fn denied(&self, action: Action, resource: Resource<'_>) -> Error {
        let (user, resource) = (self.user.to_string(), resource.to_string());
        Error::Denied { user, action: action.name(), resource }
    }

    /// The proof that all that is needed is allowed.
    ///
    /// # Errors
    /// [`Error::Denied`] with the first thing that is not.
    pub fn require(&self, needs: &Needs<'_>) -> Result<Permit> {
        let Some((_, action, resource)) = self.refusal(needs) else {
            return Ok(Permit::new(self.user.clone()));
        };
        Err(self.denied(action, resource))
    }

    /// What is in the way (API-4.12).
    fn refusal<'n>(&self, needs: &Needs<'n>) -> Option<(Outcome, Action, Resource<'n>)> {
        match *needs {
            Needs::One(action, resource) => match self.outcome(action, &resource) {
                Outcome::Allowed => None,
                outcome => Some((outcome, action, resource)),
            },
            Needs::All(all) => {
                assert!(!all.is_empty(), "a verb needs something");
                all.iter().find_map(|needs| self.refusal(needs))
            }
            Needs::Any(any) => {
                let (mut first, mut allowed) = (None, false);
                for needs in any {
                    match self.refusal(needs) {
                        None => allowed = true,
                        Some(denied @ (Outcome::Denied, ..)) => return Some(denied),
                        Some(neutral) => first = first.or(Some(neutral)),
                    }
                }
                assert!(allowed || first.is_some(), "a verb needs something");
                if allowed { None } else { first }
            }
        }
    }

    fn outcome(&self, action: Action, resource: &Resource<'_>) -> Outcome {
        let asked = |name: &[u8]| {
            let asked = Asked { action, service: resource.service(), name, at: self.at };
            self.limiting(&asked).map_or_else(|| self.own(&asked).outcome, |(_, verdict)| verdict.outcome)
        };
        resource.with_name(asked)
    }

    /// Which of the limits is in the way; 0 is the rule that all limited keys have.
    fn limiting(&self, asked: &Asked<'_>) -> Option<(usize, Verdict<'_>)> {
        if self.limits().is_empty() {
            return None;
        }
        if beyond_limits(asked.action) {
            return Some((0, Verdict { outcome: Outcome::Denied, by: None }));
        }
        let verdicts = self.limits().iter().map(|limit| limit.judge(asked)).enumerate();
        verdicts.map(|(i, verdict)| (i + 1, verdict)).find(|(_, verdict)| verdict.outcome != Outcome::Allowed)
    }

    fn own(&self, asked: &Asked<'_>) -> Verdict<'_> {
        if self.administrator {
            return Verdict { outcome: Outcome::Allowed, by: None };
        }
        self.rights.judge(asked)
    }

    /// Why the caller may do this, or may not.
    pub fn explain(&self, action: Action, resource: Resource<'_>) -> Explanation {
        let mut near = Vec::new();
        let (outcome, because) = resource.with_name(|name| {
            let asked = Asked { action, service: resource.service(), name, at: self.at };
            let limiting = self.limiting(&asked);
            let limits_key = limiting.is_some();
            let verdict = match limiting {
                Some((0, verdict)) => return (verdict.outcome, Because::Limited),
                Some((_, verdict)) => verdict,
                None => self.own(&asked),
            };
            let because = match verdict.by {
                Some((policy, statement)) => Because::Statement {
                    policy: policy.name.to_string(),
                    statement: statement + 1,
                    effect: if verdict.outcome == Outcome::Denied { Effect::Deny } else { Effect::Allow },
                },
                None if limits_key => Because::Limited,
                None if self.administrator => Because::Administrator,
                None => match self.rights.policies.iter().find(|policy| policy.broken) {
                    Some(policy) => Because::Unreadable { policy: policy.name.to_string() },
                    None => Because::NoStatement,
                },
            };
            if because == Because::NoStatement {
                near.extend(self.rights.policies.iter().flat_map(|policy| {
                    policy.near(&asked).map(|(i, miss)| (policy.name.to_string(), i + 1, miss))
                }));
            }
            (verdict.outcome, because)
        });
        Explanation {
            user: self.user.to_string(),
            action,
            resource: resource.to_string(),
            allowed: outcome == Outcome::Allowed,
            because,
            through: Vec::new(),
            near,
        }
    }
}

/// An answer of the evaluator with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whose rights.
    pub user: String,
    /// To do what.
    pub action: Action,
    /// On what, as ARN.
    pub resource: String,
    /// The answer.
    pub allowed: bool,
    /// What decided.
    pub because: Because,
    /// How the deciding policy comes to the user: groups that have it; empty for one that is the user's own.
    pub through: Vec<String>,
    /// Permissions that speak of the action and yet do not match: policy, statement (from 1), why not.
    pub near: Vec<(String, usize, Miss)>,
}

/// What decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// The administrator of the installation may do everything.
    Administrator,
    /// A statement.
    Statement {
        /// The policy it is in.
        policy: String,
        /// Its place in the policy, from 1.
        statement: usize,
        /// What it does.
        effect: Effect,
    },
    /// No statement matched, and what nobody allows is denied.
    NoStatement,
    /// The access key has limits of its own, and they do not allow it.
    Limited,
    /// A policy that this version of Millpond does not understand denies everything.
    Unreadable {
        /// Its name.
        policy: String,
    },
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, action, resource, .. } = self;
        let verb = if self.allowed { "may" } else { "may not" };
        write!(f, "{user} {verb} {action} on {resource}: ")?;
        match &self.because {
            Because::Administrator => write!(f, "{user} is the administrator of this installation"),
            Because::Statement { policy, statement, effect } => {
                let effect = if *effect == Effect::Allow { "allows" } else { "denies" };
                write!(f, "statement {statement} of policy {policy} {effect} it")?;
                match &self.through[..] {
                    [] => Ok(()),
                    [group] => write!(f, " (through group {group})"),
                    groups => write!(f, " (through groups {})", groups.join(", ")),
                }
            }
            Because::NoStatement => write!(f, "no statement matches"),
            Because::Limited => write!(f, "the limits of the access key do not allow it"),
            Because::Unreadable { policy } => {
                write!(f, "policy {policy} was saved by another version and is not understood")
            }
        }
    }
}
