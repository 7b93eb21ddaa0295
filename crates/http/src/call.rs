//! One validated, authenticated request in the hands of its handler: parameters as types of the service.
//!
//! A handler asks for what its row declares.

use crate::Options;
use crate::error::{Handled, Refusal};
use crate::operation::Operation;
use crate::serve::Input;
use crate::validate::{Values, flag, instant};
use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use millpond_service::{
    BranchName, Caller, ObjectPath, PageRequest, RefExpr, RepositoryName, Result, Service, TagName,
    Timestamp, limits, to_the_end,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// The request.
pub struct Call {
    /// What is asked for.
    pub operation: &'static Operation,
    /// The verbs.
    pub service: Arc<Service>,
    /// Who calls.
    pub caller: Caller,
    /// How the server was set up.
    pub options: Arc<Options>,
    /// As received.
    pub headers: HeaderMap,
    /// Declared parameters.
    pub values: Values,
    /// The JSON body, if the operation takes one and it was sent.
    pub json: Option<Value>,
    /// The body of an operation that takes an object. The lock is never contended: it lets a request be
    /// shared with a future that may change threads, which a body alone may not.
    body: Mutex<Body>,
}

impl Call {
    /// The request in the hands of its handler.
    pub fn new(
        operation: &'static Operation,
        service: Arc<Service>,
        options: Arc<Options>,
        caller: Caller,
        headers: HeaderMap,
        input: Input,
    ) -> Self {
        let Input { values, json, body, .. } = input;
        Self { operation, service, caller, options, headers, values, json, body: Mutex::new(body) }
    }
    /// Takes the body of an operation that takes an object.
    pub fn take_body(&mut self) -> Body {
        let body = self.body.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        std::mem::take(body)
    }
    /// The text of a parameter; empty if it was not given.
    pub fn text(&self, name: &str) -> &str {
        self.values.get(name).unwrap_or_default()
    }
    /// The same as bytes.
    pub fn bytes(&self, name: &str) -> Bytes {
        Bytes::copy_from_slice(self.text(name).as_bytes())
    }
    /// A boolean parameter; false if it was not given.
    pub fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }
    /// A boolean parameter with its default.
    pub fn flag_or(&self, name: &str, default: bool) -> bool {
        self.values.get(name).and_then(flag).unwrap_or(default)
    }
    /// `force`.
    pub fn force(&self) -> bool {
        self.flag("force")
    }
    /// An instant.
    pub fn instant(&self, name: &str) -> Option<Timestamp> {
        self.values.get(name).and_then(instant)
    }
    /// Items of a page: 0, -1 and nothing mean the default (API-0.16).
    pub fn amount(&self) -> usize {
        let asked = self.values.get("amount").and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
        if asked == 0 { limits::PAGE_ITEMS_DEFAULT } else { asked.min(limits::PAGE_ITEMS_MAX) }
    }
    /// `prefix`, `after` and `amount`.
    pub fn page(&self) -> PageRequest {
        PageRequest {
            prefix: self.text("prefix").to_owned(),
            after: self.text("after").to_owned(),
            amount: self.amount(),
        }
    }
    /// The repository of the path. A name that breaks the rule names nothing: 404 (API-6.1).
    pub fn repository(&self) -> Handled<RepositoryName> {
        let name = self.text("repository");
        RepositoryName::parse(name).map_err(|_| Refusal::not_found(format!("repository '{name}' not found")))
    }
    /// The branch of the path.
    pub fn branch(&self) -> Handled<BranchName> {
        branch(self.text("branch"))
    }
    /// The tag of the path.
    pub fn tag(&self) -> Handled<TagName> {
        TagName::parse(self.text("tag")).map_err(|error| Refusal::invalid(error.to_string()))
    }
    /// A ref expression in a parameter.
    pub fn reference(&self, name: &str) -> Handled<RefExpr> {
        reference(self.text(name))
    }
    /// A ref expression in an optional parameter.
    pub fn optional_reference(&self, name: &str) -> Handled<Option<RefExpr>> {
        self.values.get(name).filter(|text| !text.is_empty()).map(reference).transpose()
    }
    /// An object path in a parameter.
    pub fn path(&self, name: &str) -> Handled<ObjectPath> {
        path(self.text(name))
    }
    /// Object paths in a repeated parameter.
    pub fn paths(&self, name: &str) -> Handled<Vec<ObjectPath>> {
        self.values.all(name).map(path).collect()
    }
    /// Prefixes in a repeated parameter.
    pub fn prefixes(&self, name: &str) -> Vec<Bytes> {
        self.values.all(name).map(|text| Bytes::copy_from_slice(text.as_bytes())).collect()
    }

    /// The JSON body as a message. It has passed validation, so only a declaration that does not fit its
    /// struct makes this fail.
    pub fn message<T: DeserializeOwned>(&mut self) -> Handled<T> {
        let value = self.json.take().unwrap_or(Value::Null);
        T::deserialize(value).map_err(|error| Refusal::plain(format!("request body: {error}")))
    }
    /// The JSON body, or the default message without one (API-0.15).
    pub fn message_or_default<T: DeserializeOwned + Default>(&mut self) -> Handled<T> {
        if self.json.is_some() { self.message() } else { Ok(T::default()) }
    }

    /// Checks the guard of the operation, where no verb does.
    pub fn require(&self) -> Handled<()> {
        Ok(self.service.require(&self.caller, self.operation.guard, |name| self.named(name))?)
    }

    /// The same, and that the repository of the path exists.
    pub fn require_repository(&self) -> Handled<RepositoryName> {
        let repo = self.repository()?;
        self.service.require_in(&self.caller, self.operation.guard, &repo, |name| self.named(name))?;
        Ok(repo)
    }

    /// What a name in a guard stands for: a parameter, or a member of the body.
    fn named(&self, name: &str) -> Option<Vec<String>> {
        match self.values.get(name) {
            Some(value) => Some(vec![value.to_owned()]),
            None => members(self.json.as_ref()?, &name.split('.').collect::<Vec<_>>()),
        }
    }

    /// Runs a change to its end even if the client goes away: a verb that is half done when its connection
    /// drops would leave the caller of a retry guessing. Every change goes through here.
    pub async fn change<T, F, W>(&self, work: F) -> Handled<T>
    where
        T: Send + 'static,
        F: FnOnce(Arc<Service>, Caller) -> W,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        Ok(to_the_end(work(self.service.clone(), self.caller.clone())).await?)
    }
}

/// The texts at a place of a document; of each item, where the way leads through a list.
fn members(value: &Value, way: &[&str]) -> Option<Vec<String>> {
    match (value, way) {
        (Value::Array(items), way) => {
            let of_each = items.iter().map(|item| members(item, way)).collect::<Option<Vec<_>>>()?;
            Some(of_each.concat())
        }
        (Value::Object(map), [name, rest @ ..]) => members(map.get(*name)?, rest),
        (Value::String(text), []) => Some(vec![text.clone()]),
        _ => None,
    }
}

/// A branch name.
pub fn branch(text: &str) -> Handled<BranchName> {
    BranchName::parse(text).map_err(|error| Refusal::invalid(error.to_string()))
}

/// A ref expression.
pub fn reference(text: &str) -> Handled<RefExpr> {
    RefExpr::parse(text).map_err(|error| Refusal::invalid(error.to_string()))
}

/// An object path.
pub fn path(text: &str) -> Handled<ObjectPath> {
    ObjectPath::parse(text).map_err(|error| Refusal::invalid(error.to_string()))
}

/// 501 for what a later version brings, to whoever may do it.
pub async fn unsupported(call: Call) -> Handled {
    if call.operation.path_names().any(|name| name == "repository") {
        call.require_repository()?;
    } else {
        call.require()?;
    }
    Err(Refusal::not_implemented("this server does not offer this operation"))
}
