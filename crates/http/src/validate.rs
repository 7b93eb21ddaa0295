//! The first thing that happens to a request: its parameters and body are held against its row in the
//! table (API-0.9, 0.11 to 0.22). What passes here has the right shape; whether it makes sense is for the verb.

use crate::error::{Handled, Refusal};
use crate::operation::{Operation, Parameter, Place, Takes};
use crate::schema::Type;
use http::HeaderMap;
use serde_json::Value;
use std::borrow::Cow;

/// The values of a request's parameters, decoded.
#[derive(Debug, Default)]
pub struct Values(Vec<(&'static str, String)>);

impl Values {
    /// The value of a parameter, if it was given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }
    /// All values of a repeated parameter.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| *key == name).map(|(_, value)| value.as_str())
    }
}

/// Checks and decodes the parameters in path, query and headers.
pub fn parameters(operation: &Operation, path: &[&str], query: &str, headers: &HeaderMap) -> Handled<Values> {
    let mut values = Values(Vec::with_capacity(path.len() + 4));
    for (name, raw) in operation.path_names().zip(path) {
        let text = decode(raw, false)
            .ok_or_else(|| Refusal::plain(format!("path parameter {name}: bad escape")))?
            .map_err(|NotUtf8| Refusal::plain(format!("path parameter {name} is not UTF-8")))?;
        if let Some(parameter) =
            operation.parameters.iter().find(|p| p.place == Place::Path && p.name == name)
        {
            check(parameter, &text)?;
        }
        values.0.push((name, text.into_owned()));
    }
    let declared = |place: Place| operation.parameters.iter().filter(move |p| p.place == place);
    if declared(Place::Query).next().is_some() {
        // Pairs with a bad escape or a semicolon are dropped silently (API-0.22).
        for pair in query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
            let (name, raw) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(Ok(name)) = decode(name, true) else { continue };
            let Some(parameter) = declared(Place::Query).find(|p| p.name == name) else { continue };
            let Some(text) = decode(raw, true) else { continue };
            let text =
                text.map_err(|NotUtf8| Refusal::plain(format!("query parameter {name} is not UTF-8")))?;
            add(&mut values, parameter, text)?;
        }
    }
    for parameter in declared(Place::Header) {
        for value in headers.get_all(parameter.name) {
            let text = std::str::from_utf8(value.as_bytes())
                .map_err(|_| Refusal::plain(format!("header {} is not UTF-8", parameter.name)))?;
            add(&mut values, parameter, Cow::Borrowed(text))?;
        }
    }
    for parameter in operation.parameters {
        if parameter.required && values.get(parameter.name).is_none() {
            return Err(Refusal::invalid(format!("parameter {} is required", parameter.name)));
        }
    }
    Ok(values)
}

fn add(values: &mut Values, parameter: &Parameter, text: Cow<'_, str>) -> Handled<()> {
    let repeatable = matches!(parameter.takes, Takes::Texts);
    if !repeatable && values.get(parameter.name).is_some() {
        return Err(Refusal::plain(format!("parameter {} is given more than once", parameter.name)));
    }
    check(parameter, &text)?;
    values.0.push((parameter.name, text.into_owned()));
    Ok(())
}

fn check(parameter: &Parameter, text: &str) -> Handled<()> {
    let name = parameter.name;
    let takes_empty = matches!(parameter.takes, Takes::Text { empty: true, .. }) && !parameter.required;
    if text.is_empty() && !takes_empty {
        return Err(Refusal::plain(format!("parameter {name} may not be empty")));
    }
    match parameter.takes {
        Takes::Text { bytes_max, .. } if text.len() > bytes_max => {
            Err(Refusal::invalid(format!("parameter {name} has more than {bytes_max} bytes")))
        }
        Takes::Text { .. } | Takes::Texts => Ok(()),
        Takes::Integer(min, max) => match text.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(()),
            Ok(_) => Err(Refusal::invalid(format!("parameter {name} must be from {min} to {max}"))),
            // Which of the two gates of API-0.11 catches it decides the form (API-0.22).
            Err(_) if text.parse::<f64>().is_ok() => {
                Err(Refusal::invalid(format!("parameter {name} must be a 64-bit integer")))
            }
            Err(_) => Err(Refusal::plain(format!("parameter {name} must be an integer"))),
        },
        Takes::Flag => match flag(text) {
            Some(_) => Ok(()),
            None => Err(Refusal::plain(format!("parameter {name} must be true or false"))),
        },
        Takes::Choice(words) if words.contains(&text) => Ok(()),
        Takes::Choice(words) => {
            Err(Refusal::invalid(format!("parameter {name} must be one of {}", words.join(", "))))
        }
        Takes::Instant => match instant(text) {
            Some(_) => Ok(()),
            None => Err(Refusal::invalid(format!("parameter {name} must be an RFC 3339 date and time"))),
        },
        Takes::Pattern(_, fits) if fits(text) => Ok(()),
        Takes::Pattern(pattern, _) => Err(Refusal::invalid(format!("parameter {name} must match {pattern}"))),
    }
}

/// A boolean parameter; clients send `false`, `False` and `0`.
pub fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// An RFC 3339 instant.
pub fn instant(text: &str) -> Option<millpond_service::Timestamp> {
    let instant: jiff::Timestamp = text.parse().ok()?;
    Some(millpond_service::Timestamp(instant.as_millisecond()))
}

/// Percent-decodes once; in a query `+` is a space. `None`: a bad escape.
fn decode(raw: &str, query: bool) -> Option<Result<Cow<'_, str>, NotUtf8>> {
    let plus = query && raw.contains('+');
    if !plus && !raw.contains('%') {
        return Some(Ok(Cow::Borrowed(raw)));
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'%' => {
                let digit = |i: usize| char::from(*tail.get(i)?).to_digit(16);
                bytes.push((digit(0)? * 16 + digit(1)?) as u8);
                rest = &tail[2..];
            }
            b'+' if query => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    Some(String::from_utf8(bytes).map(Cow::Owned).map_err(|_| NotUtf8))
}

#[derive(Debug)]
struct NotUtf8;

/// Holds a JSON value against its type. `at` names the place in the message, for people.
pub fn json(holds: &Type, value: &Value, at: &str) -> Handled<()> {
    let must = |what: &str| Err(Refusal::invalid(format!("{at} must be {what}")));
    match (holds, value) {
        (Type::Text, Value::String(_)) => Ok(()),
        (Type::NonEmptyText, Value::String(text)) if text.is_empty() => must("a text that is not empty"),
        (Type::NonEmptyText, Value::String(_)) => Ok(()),
        (Type::Pattern(_, fits), Value::String(text)) if fits(text) => Ok(()),
        (Type::Pattern(pattern, _), Value::String(_)) => must(&format!("a text that matches {pattern}")),
        (Type::Choice(words), Value::String(text)) if words.contains(&text.as_str()) => Ok(()),
        (Type::Choice(words), Value::String(_)) => must(&format!("one of {}", words.join(", "))),
        (Type::Instant, Value::String(text)) if instant(text).is_some() => Ok(()),
        (Type::Instant, Value::String(_)) => must("an RFC 3339 date and time"),
        (Type::Text | Type::NonEmptyText | Type::Pattern(..) | Type::Choice(_) | Type::Instant, _) => {
            must("a text")
        }
        (Type::Integer(min, max), Value::Number(number)) => match number.as_i64() {
            Some(integer) if (*min..=*max).contains(&integer) => Ok(()),
            Some(_) => must(&format!("from {min} to {max}")),
            // A whole number, but not spelled as one or beyond 64 bits: the second gate (API-0.11).
            None if number.as_f64().is_none_or(|float| float.fract() == 0.0) => {
                Err(Refusal::plain(format!("{at} must be a 64-bit integer")))
            }
            None => must("an integer"),
        },
        (Type::Integer(..), _) => must("an integer"),
        (Type::Flag, Value::Bool(_)) => Ok(()),
        (Type::Flag, _) => must("true or false"),
        (Type::Anything, Value::Object(_)) => Ok(()),
        (Type::Map(item), Value::Object(members)) => {
            members.iter().try_for_each(|(name, value)| json(item, value, &format!("{at}.{name}")))
        }
        (Type::Object(schema), Value::Object(members)) => {
            for field in schema.fields {
                match members.get(field.name) {
                    Some(value) => json(&field.holds, value, &format!("{at}.{}", field.name))?,
                    None if field.required => {
                        return Err(Refusal::invalid(format!("{at}.{} is required", field.name)));
                    }
                    None => {}
                }
            }
            Ok(())
        }
        (Type::Anything | Type::Map(_) | Type::Object(_), _) => must("an object"),
        (Type::List(_, items_min), Value::Array(items)) if items.len() < *items_min => {
            must(&format!("a list of at least {items_min}"))
        }
        (Type::List(item, _), Value::Array(items)) => {
            items.iter().enumerate().try_for_each(|(i, value)| json(item, value, &format!("{at}[{i}]")))
        }
        (Type::List(..), _) => must("a list"),
        (Type::Nullable(_), Value::Null) => Ok(()),
        (Type::Nullable(inner), _) => json(inner, value, at),
        (Type::PlainText | Type::Bytes, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Verb;
    use crate::schema::Described;
    use crate::{messages, table};

    fn operation(id: &str) -> &'static Operation {
        table::LAKEFS.iter().find(|operation| operation.id == id).expect("an operation of that id")
    }

    fn query(id: &str, query: &str) -> Handled<Values> {
        let operation = operation(id);
        let path = vec!["x"; operation.path_names().count()];
        parameters(operation, &path, query, &HeaderMap::new())
    }

    /// `ok`, or which of the two gates refused.
    fn gate(result: Handled<Values>) -> &'static str {
        match result {
            Ok(_) => "ok",
            Err(refusal) if refusal.status != 400 => "another status",
            Err(refusal) if refusal.plain => "plain",
            Err(_) => "json",
        }
    }

    #[test]
    fn parameters_follow_their_row() {
        let table = [
            ("amount=1000", "ok"),
            ("amount=-1", "ok"),
            ("amount=1001", "json"),
            ("amount=-2", "json"),
            ("amount=", "plain"),
            ("amount=007", "ok"),
            ("amount=%2B5", "ok"),
            ("amount=0x10", "plain"),
            ("amount=1.5", "json"),
            ("amount=99999999999999999999", "json"),
            ("amount=1&amount=2", "plain"),
            ("prefix=&after=", "ok"),
            ("prefix=a&prefix=b", "plain"),
            ("unknown=1&unknown=2", "ok"),
            ("prefix=%zz&amount=%zz", "ok"),
            ("amount=1;x", "ok"),
            ("prefix=%ff", "plain"),
            ("show_hidden=True", "ok"),
            ("show_hidden=0", "ok"),
            ("show_hidden=yes", "plain"),
            ("show_hidden=", "plain"),
        ];
        for (text, expected) in table {
            assert_eq!(gate(query("listBranches", text)), expected, "{text}");
        }
        assert_eq!(gate(query("statObject", "")), "json");
        assert_eq!(gate(query("statObject", "path=")), "plain");
        assert_eq!(gate(query("diffRefs", "type=")), "plain");
        assert_eq!(gate(query("diffRefs", "type=four_dot")), "json");
        assert_eq!(gate(query("diffRefs", "type=two_dot&delimiter=")), "ok");
        assert_eq!(gate(query("logCommits", "objects=a&objects=b")), "ok");
        assert_eq!(gate(query("logCommits", "objects=a&objects=")), "plain");
        assert_eq!(gate(query("logCommits", "since=2026-01-01T00:00:00%2B01:00")), "ok");
        assert_eq!(gate(query("logCommits", "since=yesterday")), "json");
        let long = format!("prefix={}", "x".repeat(1025));
        assert_eq!(gate(query("listObjects", &long)), "json");
        assert_eq!(gate(query("listObjects", &long[..long.len() - 1])), "ok");
    }

    #[test]
    fn query_values_are_decoded_once() {
        let values = query("statObject", "path=a%252Fb+c%2Bd/%C3%A9").unwrap();
        assert_eq!(values.get("path"), Some("a%2Fb c+d/é"));
    }

    #[test]
    fn path_values_are_decoded_once_and_plus_is_plus() {
        let operation = operation("getTag");
        let decoded = |segment: &str| parameters(operation, &["repo", segment], "", &HeaderMap::new());
        assert_eq!(decoded("a+b%257E").unwrap().get("tag"), Some("a+b%7E"));
        assert_eq!(decoded("a%2Fb").unwrap().get("tag"), Some("a/b"));
        assert_eq!(gate(decoded("%ff")), "plain");
        assert_eq!(gate(decoded("%f")), "plain");
    }

    #[test]
    fn headers_follow_their_row() {
        let get = |ranges: &[&str]| {
            let mut headers = HeaderMap::new();
            for range in ranges {
                headers.append("Range", range.parse().unwrap());
            }
            gate(parameters(operation("getObject"), &["r", "main"], "path=p", &headers))
        };
        assert_eq!(get(&["bytes=0-5"]), "ok");
        assert_eq!(get(&["bytes=-"]), "ok");
        assert_eq!(get(&["bytes=0-1, 2-3,"]), "ok");
        assert_eq!(get(&["bytes=x"]), "json");
        assert_eq!(get(&["lines=0-5"]), "json");
        assert_eq!(get(&["bytes=0-5", "bytes=1-2"]), "plain");
    }

    #[test]
    fn path_numbers_have_bounds() {
        let operation = operation("uploadPart");
        let part =
            |number: &str| parameters(operation, &["r", "b", "u", number], "path=p", &HeaderMap::new());
        assert_eq!(gate(part("10000")), "ok");
        assert_eq!(gate(part("10001")), "json");
        assert_eq!(gate(part("0")), "json");
    }

    fn body<T: Described>(text: &str) -> &'static str {
        match json(&T::TYPE, &crate::json::parse(text.as_bytes()).unwrap(), "body") {
            Ok(()) => "ok",
            Err(refusal) if refusal.plain => "plain",
            Err(_) => "json",
        }
    }

    #[test]
    fn bodies_follow_their_schema() {
        let commit = body::<messages::CommitCreation>;
        assert_eq!(commit(r#"{"message":""}"#), "ok");
        assert_eq!(commit(r#"{"message":"m","unknown":[]}"#), "ok");
        assert_eq!(commit(r#"{}"#), "json");
        assert_eq!(commit(r#"[]"#), "json");
        assert_eq!(commit(r#"{"message":1}"#), "json");
        assert_eq!(commit(r#"{"message":null}"#), "json");
        assert_eq!(commit(r#"{"message":"m","date":1600000000}"#), "ok");
        assert_eq!(commit(r#"{"message":"m","date":1600000000.0}"#), "plain");
        assert_eq!(commit(r#"{"message":"m","date":99999999999999999999}"#), "plain");
        assert_eq!(commit(r#"{"message":"m","date":1.5}"#), "json");
        assert_eq!(commit(r#"{"message":"m","metadata":{"a":1}}"#), "json");
        assert_eq!(commit(r#"{"message":"m","allow_empty":"yes"}"#), "json");

        let repository = body::<messages::RepositoryCreation>;
        assert_eq!(repository(r#"{"name":"abc","storage_namespace":"local://abc"}"#), "ok");
        assert_eq!(repository(r#"{"name":"ab","storage_namespace":"local://abc"}"#), "json");
        assert_eq!(repository(r#"{"name":"abc","storage_namespace":"ftp://abc"}"#), "json");
        assert_eq!(repository(r#"{"name":"abc","storage_namespace":"https://x\ny"}"#), "json");

        let reset = body::<messages::ResetCreation>;
        assert_eq!(reset(r#"{"type":"common_prefix"}"#), "ok");
        assert_eq!(reset(r#"{"type":"hard"}"#), "json");
        let policy = body::<messages::Policy>;
        assert_eq!(policy(r#"{"id":"p","statement":[]}"#), "json");
        let link = body::<messages::StagingMetadata>;
        assert_eq!(link(r#"{"staging":{"presigned_url":null},"checksum":"x","size_bytes":1}"#), "ok");
    }

    #[test]
    fn every_row_can_be_validated() {
        for operation in table::LAKEFS.iter().chain(table::MILLPOND) {
            for parameter in operation.parameters.iter().filter(|p| p.place == Place::Path) {
                assert!(operation.path_names().any(|name| name == parameter.name), "{}", operation.id);
            }
            assert!(operation.verb != Verb::Head || operation.answer.1.is_none(), "{}", operation.id);
        }
    }
}
