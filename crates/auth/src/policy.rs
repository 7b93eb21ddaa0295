//! Policies: the document as clients write it, the rules it must keep to be saved, and its compiled form.
//!
//! What is saved must mean what its author thinks: a misspelt action in a deny statement, a condition nobody
//! evaluates or a variable nobody fills in would be a hole that no one sees. So such documents are refused with
//! the place of the mistake, although lakeFS takes some of them (`docs/compatibility.md`).

use crate::error::{Error, Result};
use crate::pattern::Pattern;
use crate::permission::{Action, SERVICES, split_arn};
use ipnet::IpNet;
use millpond_types::limits::POLICY_BYTES_MAX;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Operator, field, values (API-4.13).
pub type Conditions = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// The one variable of resources (API-4.7).
const USER: &str = "${user}";

/// The one field that conditions may speak of (API-4.14).
const SOURCE_IP: &str = "SourceIp";

/// A statement as the interface spells it (API-4.1). Members it does not know are refused, not passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// `allow` or `deny`.
    pub effect: String,
    /// A pattern of ARNs, `*`, or a JSON array of these as text (API-4.2).
    pub resource: String,
    /// Patterns of actions.
    pub action: Vec<String>,
    /// When it holds; without: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Conditions>,
}

/// What a policy says. Its name and its date are kept beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// The statements; their order says nothing.
    pub statement: Vec<Statement>,
    /// Set where the policy stands for an ACL of a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<String>,
}

/// What a statement does when it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It permits, unless another denies.
    Allow,
    /// It refuses, whatever others say.
    Deny,
}

impl Effect {
    /// As policies spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// What is known of a request beside who sent it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances {
    /// The caller's address; `None`: unknown, and then no condition on it holds (API-4.15).
    pub source_ip: Option<IpAddr>,
}

impl Document {
    /// Whether it may be saved.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the first mistake, which statement it is in, and what would be right.
    pub fn check(&self) -> Result<()> {
        let bytes = serde_json::to_vec(self).map_or(usize::MAX, |text| text.len());
        if bytes > POLICY_BYTES_MAX {
            return Err(invalid(format!("the policy has {bytes} bytes; the limit is {POLICY_BYTES_MAX}")));
        }
        if self.statement.is_empty() {
            return Err(invalid("a policy needs a statement".to_owned()));
        }
        for (i, statement) in self.statement.iter().enumerate() {
            check(statement).map_err(|mistake| invalid(format!("statement {}: {mistake}", i + 1)))?;
        }
        Ok(())
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and lists become JSON")
    }
}

fn invalid(text: String) -> Error {
    Error::Invalid(text.into())
}

fn check(statement: &Statement) -> Result<(), String> {
    effect(statement)
        .ok_or_else(|| format!("the effect is `allow` or `deny`, not `{}`", statement.effect))?;
    if statement.action.is_empty() {
        return Err("it names no action".to_owned());
    }
    for action in &statement.action {
        let service = action.split_once(':').map(|(service, name)| (service, name.contains(':')));
        match service {
            Some((service, false)) if SERVICES.contains(&service) => {}
            _ => {
                return Err(format!(
                    "the action `{action}` is not <service>:<name> with a service of {}",
                    SERVICES.join(", ")
                ));
            }
        }
        if actions(action) == 0 {
            let patterns = action.contains(['*', '?']);
            let what = if patterns { "matches no action" } else { "is no action" };
            return Err(format!("`{action}` {what}{}", nearest(action)));
        }
    }
    for resource in resources(&statement.resource)? {
        check_resource(&resource).map_err(|mistake| format!("the resource `{resource}`: {mistake}"))?;
    }
    for (operator, fields) in statement.condition.iter().flatten() {
        let test = Operator::parse(operator).ok_or_else(|| {
            format!(
                "the condition `{operator}` is not one of {}",
                Operator::ALL.map(|(name, _)| name).join(", ")
            )
        })?;
        for (field, values) in fields {
            if field != SOURCE_IP {
                return Err(format!("conditions speak of `{SOURCE_IP}`, not of `{field}`"));
            }
            if values.is_empty() {
                return Err(format!("the condition `{operator}` has no value for `{field}`"));
            }
            for value in values.iter().filter(|_| test.of == Of::Addresses) {
                network(value).ok_or_else(|| format!("`{value}` is no address and no range of addresses"))?;
            }
        }
    }
    Ok(())
}

fn check_resource(resource: &str) -> Result<(), String> {
    if resource == "*" {
        return Ok(());
    }
    split_arn(resource)?;
    if resource.replace(USER, "").contains("${") {
        return Err(format!("the only variable is {USER}"));
    }
    Ok(())
}

/// A hint where the capitals or one half are wrong.
fn nearest(action: &str) -> String {
    let name = |text: &str| text.rsplit(':').next().unwrap_or_default().to_ascii_lowercase();
    let found = Action::ALL.iter().find(|known| name(known.name()) == name(action));
    found.map(|known| format!("; there is `{known}`")).unwrap_or_default()
}

fn effect(statement: &Statement) -> Option<Effect> {
    [Effect::Allow, Effect::Deny].into_iter().find(|effect| effect.name() == statement.effect)
}

/// All actions that a pattern stands for.
fn actions(pattern: &str) -> u128 {
    let pattern = Pattern::new(pattern);
    let matching = Action::ALL.iter().filter(|action| pattern.matches(action.name().as_bytes()));
    matching.fold(0, |all, action| all | action.bit())
}

/// The list in a resource, which may be a JSON array as text (API-4.2).
fn resources(text: &str) -> Result<Vec<String>, String> {
    if !text.trim_start().starts_with('[') {
        return Ok(vec![text.to_owned()]);
    }
    let list: Vec<String> = serde_json::from_str(text)
        .map_err(|_| "the resource begins as a JSON array but is no array of texts".to_owned())?;
    if list.is_empty() { Err("it names no resource".to_owned()) } else { Ok(list) }
}

/// An address, or a range of them in CIDR form.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).map(|net: IpNet| match net {
        // As callers' addresses are read: IPv4 in IPv6 clothes is IPv4.
        IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.addr().to_ipv4_mapped() {
            Some(v4) => IpNet::new(v4.into(), v6.prefix_len() - 96).expect("at most 32 bits"),
            None => net,
        },
        net => net,
    })
}

/// One question to policies.
pub(crate) struct Asked<'a> {
    pub action: Action,
    /// Of the resource's ARN; `None` for everything.
    pub service: Option<&'a str>,
    /// The last field of the ARN.
    pub name: &'a [u8],
    pub at: Circumstances,
}

/// Why a statement that speaks of an action did not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// It speaks of other resources.
    Resource,
    /// Its condition does not hold.
    Condition,
}

/// A policy, ready to be asked.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub name: Arc<str>,
    /// Denials first.
    rules: Box<[Rule]>,
    /// What its denials speak of, and its permissions.
    pub denied: u128,
    pub allowed: u128,
    /// Not understood: it denies everything to whoever has it (API-4.8, 4.16).
    pub broken: bool,
}

#[derive(Debug)]
struct Rule {
    effect: Effect,
    /// Its place in the document, from 0.
    statement: usize,
    actions: u128,
    targets: Box<[Target]>,
    conditions: Box<[Condition]>,
}

#[derive(Debug)]
enum Target {
    Everything,
    Named { service: &'static str, name: Pattern },
}

/// All of a statement's must hold.
#[derive(Debug)]
struct Condition {
    negated: bool,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Addresses(Box<[IpNet]>),
    Texts(Box<[Pattern]>),
}

#[derive(Clone, Copy)]
struct Operator {
    of: Of,
    negated: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Addresses,
    Texts,
}

impl Operator {
    const ALL: [(&str, Self); 4] = [
        ("IpAddress", Self { of: Of::Addresses, negated: false }),
        ("NotIpAddress", Self { of: Of::Addresses, negated: true }),
        ("StringLike", Self { of: Of::Texts, negated: false }),
        ("StringNotLike", Self { of: Of::Texts, negated: true }),
    ];
    fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, operator)| *operator)
    }
}

impl Compiled {
    /// Compiles a document for a user. What an earlier or later version saved and this one does not understand
    /// makes the policy deny everything; an action this version does not have is never asked for and so no harm.
    pub fn new(name: Arc<str>, document: &Document, user: &str) -> Self {
        let rules = document.statement.iter().enumerate().map(|(i, statement)| rule(i, statement, user));
        match rules.collect::<Option<Vec<_>>>() {
            Some(mut rules) => {
                rules.sort_by_key(|rule| rule.effect == Effect::Allow);
                let actions = |effect| {
                    rules.iter().filter(|rule| rule.effect == effect).fold(0, |all, rule| all | rule.actions)
                };
                let (denied, allowed) = (actions(Effect::Deny), actions(Effect::Allow));
                Self { name, rules: rules.into(), denied, allowed, broken: false }
            }
            None => Self { name, rules: Box::default(), denied: u128::MAX, allowed: 0, broken: true },
        }
    }

    /// Whether it reads otherwise for each user.
    pub fn depends_on_user(document: &Document) -> bool {
        document.statement.iter().any(|statement| statement.resource.contains(USER))
    }

    /// The first statement of this effect that matches, by its place in the document.
    pub fn matching(&self, effect: Effect, asked: &Asked<'_>) -> Option<usize> {
        let mut rules = self.rules.iter().filter(|rule| {
            let speaks_of_it = rule.effect == effect && rule.actions & asked.action.bit() != 0;
            speaks_of_it && rule.holds(&asked.at) && rule.covers(asked)
        });
        rules.next().map(|rule| rule.statement)
    }

    /// Permissions that speak of the action and yet do not match, and what is in their way.
    pub fn near(&self, asked: &Asked<'_>) -> impl Iterator<Item = (usize, Miss)> {
        let allows = |rule: &&Rule| rule.effect == Effect::Allow && rule.actions & asked.action.bit() != 0;
        self.rules.iter().filter(allows).filter_map(|rule| {
            match (rule.covers(asked), rule.holds(&asked.at)) {
                (false, _) => Some((rule.statement, Miss::Resource)),
                (true, false) => Some((rule.statement, Miss::Condition)),
                (true, true) => None,
            }
        })
    }
}

impl Rule {
    fn covers(&self, asked: &Asked<'_>) -> bool {
        self.targets.iter().any(|target| match target {
            Target::Everything => true,
            Target::Named { service, name } => asked.service == Some(*service) && name.matches(asked.name),
        })
    }

    fn holds(&self, at: &Circumstances) -> bool {
        self.conditions.iter().all(|condition| {
            let Some(address) = at.source_ip.map(|address| address.to_canonical()) else { return false };
            let any = match &condition.values {
                Values::Addresses(nets) => nets.iter().any(|net| net.contains(&address)),
                Values::Texts(patterns) => {
                    let text = address.to_string();
                    patterns.iter().any(|pattern| pattern.matches(text.as_bytes()))
                }
            };
            any != condition.negated
        })
    }
}

/// `None`: not understood.
fn rule(place: usize, statement: &Statement, user: &str) -> Option<Rule> {
    let targets = resources(&statement.resource).ok()?;
    let targets = targets.iter().map(|resource| target(resource, user)).collect::<Option<_>>()?;
    let mut conditions = Vec::new();
    for (operator, fields) in statement.condition.iter().flatten() {
        let operator = Operator::parse(operator)?;
        for (field, values) in fields {
            if field != SOURCE_IP || values.is_empty() {
                return None;
            }
            let values = match operator.of {
                Of::Addresses => Values::Addresses(values.iter().map(|v| network(v)).collect::<Option<_>>()?),
                Of::Texts => Values::Texts(values.iter().map(|v| Pattern::new(v)).collect()),
            };
            conditions.push(Condition { negated: operator.negated, values });
        }
    }
    Some(Rule {
        effect: effect(statement)?,
        statement: place,
        actions: statement.action.iter().fold(0, |all, action| all | actions(action)),
        targets,
        conditions: conditions.into(),
    })
}

fn target(resource: &str, user: &str) -> Option<Target> {
    if resource == "*" {
        return Some(Target::Everything);
    }
    let (service, name) = split_arn(resource).ok()?;
    let service = SERVICES.iter().find(|known| **known == service)?;
    Some(Target::Named { service, name: Pattern::with_variable(name, USER, user) })
}
