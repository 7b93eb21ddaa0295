//! DeleteObjects: up to 1000 keys in one call; all keys of one branch go at one point in time.

use crate::address::{Key, object_path};
use crate::call::{Call, not_a_branch, write_error};
use crate::checksum::Verifier;
use crate::conditions::unquote;
use crate::error::{S3Error, S3Result};
use crate::payload::Payload;
use crate::response::{Response, xml};
use crate::xml::{self, Element, Writer};
use millpond_service::limits::{DELETE_BATCH_MAX, DOCUMENT_BYTES_MAX};
use millpond_service::{BranchName, EtagMatch, Kind, ObjectPath, Thing, WriteCondition, to_the_end};
use std::collections::BTreeMap;

pub(crate) async fn run(call: &Call, payload: &mut Payload) -> S3Result<Response> {
    let repo = call.repository()?;
    let verifier = Verifier::new(call.headers())?;
    let body = payload.all(DOCUMENT_BYTES_MAX).await?;
    verifier.check_all(&body, payload.trailers())?;
    let list = List::parse(&xml::parse(&body, "Delete")?)?;

    let mut outcomes: Vec<Option<S3Error>> = Vec::with_capacity(list.items.len());
    let mut batches: BTreeMap<BranchName, Vec<usize>> = BTreeMap::new();
    for (index, item) in list.items.iter().enumerate() {
        let key = Key::of(&item.key);
        let outcome = match (item.place(), key.branch()) {
            (Err(error), _) => Some(error),
            (Ok(_), None) => Some(not_a_branch(&call.service, &call.caller, &repo, key.at).await),
            (Ok(_), Some(branch)) => {
                batches.entry(branch).or_default().push(index);
                None
            }
        };
        outcomes.push(outcome);
    }
    for (branch, indexes) in batches {
        let paths: Vec<(ObjectPath, WriteCondition)> = indexes
            .iter()
            .filter_map(|&index| {
                Some((list.items[index].place().ok()??, list.items[index].condition.clone()))
            })
            .collect();
        let (service, mut caller) = (call.service.clone(), call.caller.clone());
        // One call may be changes of several branches: each is a request of its own to remember.
        if let Some(key) = &mut caller.idempotency_key {
            key.push('/');
            key.push_str(branch.as_str());
        }
        let (to, on) = (repo.clone(), branch.clone());
        // An empty batch (only `branch/` keys) still finds out whether the branch exists.
        let done = to_the_end(async move {
            if paths.is_empty() {
                return service.get_branch(&caller, &to, &on).await.map(|_| Vec::new());
            }
            service.delete_objects(&caller, &to, &on, paths, false).await
        });
        match done.await {
            Ok(failures) => {
                for failure in failures {
                    let error = S3Error::from(failure.error);
                    for &index in &indexes {
                        if Key::of(&list.items[index].key).path.is_some_and(|p| p.as_bytes() == failure.path)
                        {
                            outcomes[index] = Some(error.clone());
                        }
                    }
                }
            }
            // A missing repository is an error of the call, not one of every key.
            Err(error) if error.kind == Kind::NotFound(Thing::Repository) => return Err(error.into()),
            Err(error) => {
                let error = write_error(&call.service, &call.caller, &repo, branch.as_str(), error).await;
                for index in indexes {
                    outcomes[index] = Some(error.clone());
                }
            }
        }
    }
    Ok(xml(list.render(&outcomes)))
}

/// The parsed request.
struct List {
    quiet: bool,
    items: Vec<Item>,
}

struct Item {
    key: String,
    condition: WriteCondition,
    /// The item asks for something that is not offered.
    refused: Option<S3Error>,
}

impl Item {
    /// The path to delete; `None`: the key is `branch/`, where no object can be.
    fn place(&self) -> S3Result<Option<ObjectPath>> {
        if let Some(error) = &self.refused {
            return Err(error.clone());
        }
        match Key::of(&self.key).path {
            Some("") => Ok(None),
            Some(path) => object_path(path).map(Some),
            None => Err(S3Error::invalid_argument("the key must have the form <branch>/<path>")),
        }
    }
}

impl List {
    fn parse(root: &Element) -> S3Result<Self> {
        let quiet = root.child_text("Quiet").is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
        let mut items = Vec::new();
        for object in root.children.iter().filter(|child| child.name == "Object") {
            let key = object.child_text("Key").filter(|key| !key.is_empty());
            let key = key.ok_or_else(|| S3Error::malformed_xml("an Object has no Key"))?.to_owned();
            let mut item = Item { key, condition: WriteCondition::default(), refused: None };
            for field in &object.children {
                match (field.name.as_str(), field.text.as_str()) {
                    ("VersionId", version) if !matches!(version, "" | "null") => {
                        item.refused = Some(S3Error::invalid_argument("there are no version ids here"));
                    }
                    ("ETag", "*") => item.condition.if_match = Some(EtagMatch::Any),
                    ("ETag", etag) => {
                        item.condition.if_match = Some(EtagMatch::OneOf(vec![unquote(etag).to_owned()]));
                    }
                    ("LastModifiedTime" | "Size", _) => {
                        item.refused =
                            Some(S3Error::not_implemented("of the conditions only ETag is supported"));
                    }
                    _ => {}
                }
            }
            items.push(item);
        }
        if items.is_empty() || items.len() > DELETE_BATCH_MAX {
            return Err(S3Error::malformed_xml(format!("name 1 to {DELETE_BATCH_MAX} objects")));
        }
        Ok(Self { quiet, items })
    }

    fn render(&self, outcomes: &[Option<S3Error>]) -> bytes::Bytes {
        let mut document = Writer::new("DeleteResult");
        for (item, outcome) in self.items.iter().zip(outcomes) {
            match outcome {
                None if self.quiet => {}
                None => {
                    document.open("Deleted").leaf("Key", &item.key).close("Deleted");
                }
                Some(error) => {
                    document
                        .open("Error")
                        .leaf("Key", &item.key)
                        .leaf("Code", error.code)
                        .leaf("Message", &error.message)
                        .close("Error");
                }
            }
        }
        document.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> S3Result<List> {
        List::parse(&xml::parse(text.as_bytes(), "Delete")?)
    }

    #[test]
    fn lists_are_parsed() {
        let parsed = list(
            "<Delete><Quiet>true</Quiet><Object><Key>main/a</Key><ETag>\"x\"</ETag></Object>\
             <Object><Key>main/</Key></Object><Object><Key>main</Key></Object>\
             <Object><Key>main/v</Key><VersionId>3</VersionId></Object></Delete>",
        )
        .expect("valid");
        assert!(parsed.quiet);
        assert_eq!(parsed.items[0].condition.if_match, Some(EtagMatch::OneOf(vec!["x".to_owned()])));
        assert!(parsed.items[0].place().expect("fine").is_some());
        assert!(parsed.items[1].place().expect("fine").is_none());
        assert!(parsed.items[2].place().is_err());
        assert!(parsed.items[3].place().is_err());
    }

    #[test]
    fn too_few_and_too_many_are_malformed() {
        let object = "<Object><Key>main/a</Key></Object>";
        for (count, fine) in [(0, false), (1, true), (1000, true), (1001, false)] {
            let text = format!("<Delete>{}</Delete>", object.repeat(count));
            match list(&text) {
                Ok(_) => assert!(fine, "{count}"),
                Err(error) => assert!(!fine && error.code == "MalformedXML", "{count}"),
            }
        }
        assert!(list("<Delete><Object/></Delete>").is_err());
    }

    #[test]
    fn quiet_answers_hold_errors_only() {
        let parsed = list(
            "<Delete><Quiet>true</Quiet><Object><Key>a/1</Key></Object><Object><Key>a/2</Key></Object></Delete>",
        );
        let text = parsed.expect("valid").render(&[None, Some(S3Error::access_denied("no"))]);
        let root = xml::parse(&text, "DeleteResult").expect("XML");
        assert_eq!(root.children.len(), 1);
        assert_eq!(root.children[0].child_text("Code"), Some("AccessDenied"));
    }
}
