//! The OpenAPI 3.0 document of the tables, for `/openapi.json` and `docs/openapi.json`.

use crate::messages;
use crate::operation::{Api, Operation, Parameter, Payload, Place, Takes};
use crate::schema::{Described, Field, Schema, Type};
use crate::table;
use serde_json::{Map, Value, json};

/// The document, indented, ending in a newline.
pub fn document() -> String {
    let mut schemas = Map::new();
    let mut paths = Map::new();
    reference(&<messages::Error as Described>::TYPE, &mut schemas);
    reference(&<messages::Problem as Described>::TYPE, &mut schemas);
    for operation in table::LAKEFS.iter().chain(table::MILLPOND) {
        // One document cannot hold a path twice; ours are told apart by a server of their own.
        let (key, server) = match operation.api {
            Api::LakeFs => (operation.path.to_owned(), None),
            Api::Millpond => (format!("/millpond/v1{}", operation.path), Some("/api")),
        };
        let item = paths.entry(key).or_insert_with(|| json!({}));
        if let Some(server) = server {
            item["servers"] = json!([{ "url": server }]);
        }
        item[operation.verb.as_str()] = describe(operation, &mut schemas);
    }
    let document = json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Millpond",
            "version": "1.0.0",
            "description": "The lakeFS-compatible API under /api/v1, and Millpond's own under /api/millpond/v1.",
            "license": {"name": "Apache-2.0"},
        },
        "servers": [{"url": Api::LakeFs.base()}],
        "security": [{"basic_auth": []}, {"jwt_token": []}, {"cookie_auth": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "basic_auth": {"type": "http", "scheme": "basic"},
                "jwt_token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "cookie_auth": {"type": "apiKey", "in": "cookie", "name": crate::authenticate::COOKIE},
            },
            "schemas": schemas,
        },
    });
    format!("{document:#}\n")
}

fn describe(operation: &Operation, schemas: &mut Map<String, Value>) -> Value {
    let in_path = operation.path_names().map(|name| {
        let declared = operation.parameters.iter().find(|p| p.place == Place::Path && p.name == name);
        let text = Parameter {
            name,
            place: Place::Path,
            required: true,
            takes: Takes::Text { empty: false, bytes_max: usize::MAX },
        };
        parameter(declared.unwrap_or(&text))
    });
    let declared = operation.parameters.iter().filter(|p| p.place != Place::Path).map(parameter);
    let parameters: Vec<Value> = in_path.chain(declared).collect();
    let mut item = json!({"tags": [operation.tag], "operationId": operation.id});
    if !parameters.is_empty() {
        item["parameters"] = parameters.into();
    }
    let json_body = |holds: &Type, required: bool, schemas: &mut Map<String, Value>| json!({"required": required, "content": {"application/json": {"schema": reference(holds, schemas)}}});
    match &operation.payload {
        Payload::None => {}
        Payload::Json(holds) => item["requestBody"] = json_body(holds, true, schemas),
        Payload::OptionalJson(holds) => item["requestBody"] = json_body(holds, false, schemas),
        Payload::Object => {
            let bytes = json!({"type": "string", "format": "binary"});
            item["requestBody"] = json!({"content": {
                "multipart/form-data": {"schema": {"type": "object", "properties": {"content": bytes}}},
                "application/octet-stream": {"schema": bytes},
            }});
        }
    }
    let (status, body) = &operation.answer;
    let mut success = json!({"description": "success"});
    if let Some(holds) = body {
        let media_type = match holds {
            Type::Bytes => "application/octet-stream",
            Type::PlainText => "text/html",
            _ => "application/json",
        };
        success["content"] = json!({media_type: {"schema": reference(holds, schemas)}});
    }
    let (error, media_type) = match operation.api {
        Api::LakeFs => ("Error", "application/json"),
        Api::Millpond => ("Problem", "application/problem+json"),
    };
    let error = json!({"$ref": format!("#/components/schemas/{error}")});
    item["responses"] = json!({
        status.to_string(): success,
        "default": {"description": "error", "content": {media_type: {"schema": error}}},
    });
    if operation.guard.is_anonymous() {
        item["security"] = json!([]);
    } else {
        // Of everything named here, all is needed; nothing named: a login is enough.
        item["x-rights"] = operation.guard.rights().into();
    }
    item
}

fn parameter(parameter: &Parameter) -> Value {
    let place = match parameter.place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
    };
    let schema = match parameter.takes {
        Takes::Text { bytes_max: usize::MAX, .. } => json!({"type": "string"}),
        Takes::Text { bytes_max, .. } => json!({"type": "string", "maxLength": bytes_max}),
        Takes::Texts => json!({"type": "array", "items": {"type": "string", "minLength": 1}}),
        Takes::Integer(min, max) => integer(min, max),
        Takes::Flag => json!({"type": "boolean"}),
        Takes::Choice(words) => json!({"type": "string", "enum": words}),
        Takes::Instant => json!({"type": "string", "format": "date-time"}),
        Takes::Pattern(pattern, _) => json!({"type": "string", "pattern": pattern}),
    };
    let mut item = json!({"in": place, "name": parameter.name, "schema": schema});
    if parameter.required {
        item["required"] = true.into();
    }
    if parameter.place == Place::Query && matches!(parameter.takes, Takes::Text { empty: true, .. }) {
        item["allowEmptyValue"] = true.into();
    }
    item
}

fn integer(min: i64, max: i64) -> Value {
    let mut schema = json!({"type": "integer", "format": "int64"});
    if min != i64::MIN {
        schema["minimum"] = min.into();
    }
    if max != i64::MAX {
        schema["maximum"] = max.into();
    }
    schema
}

/// The schema of a type; named objects go into `schemas` and are referred to.
fn reference(holds: &Type, schemas: &mut Map<String, Value>) -> Value {
    match holds {
        Type::Text | Type::PlainText => json!({"type": "string"}),
        Type::NonEmptyText => json!({"type": "string", "minLength": 1}),
        Type::Pattern(pattern, _) => json!({"type": "string", "pattern": pattern}),
        Type::Choice(words) => json!({"type": "string", "enum": words}),
        Type::Integer(min, max) => integer(*min, *max),
        Type::Flag => json!({"type": "boolean"}),
        Type::Instant => json!({"type": "string", "format": "date-time"}),
        Type::Anything => json!({"type": "object", "additionalProperties": true}),
        Type::Map(item) => json!({"type": "object", "additionalProperties": reference(item, schemas)}),
        Type::List(item, 0) => json!({"type": "array", "items": reference(item, schemas)}),
        Type::List(item, items_min) => {
            json!({"type": "array", "items": reference(item, schemas), "minItems": items_min})
        }
        Type::Nullable(inner) => {
            let mut schema = reference(inner, schemas);
            schema["nullable"] = true.into();
            schema
        }
        Type::Bytes => json!({"type": "string", "format": "binary"}),
        Type::Object(Schema { name, fields }) => {
            if !schemas.contains_key(*name) {
                schemas.insert((*name).to_owned(), Value::Null);
                let schema = object(fields, schemas);
                schemas.insert((*name).to_owned(), schema);
            }
            json!({"$ref": format!("#/components/schemas/{name}")})
        }
    }
}

fn object(fields: &[Field], schemas: &mut Map<String, Value>) -> Value {
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    let mut properties = Map::new();
    for field in fields {
        properties.insert(field.name.to_owned(), reference(&field.holds, schemas));
    }
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// `MILLPOND_UPDATE_DOCS=1 cargo test -p millpond-http openapi` writes the file anew.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "a development tool that rewrites a file of the repository")]
    fn the_checked_in_document_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let document = document();
        if std::env::var_os("MILLPOND_UPDATE_DOCS").is_some() {
            std::fs::write(path, &document).unwrap();
        }
        let checked_in = std::fs::read(path).unwrap_or_default();
        assert!(
            checked_in == document.as_bytes(),
            "docs/openapi.json is old; run MILLPOND_UPDATE_DOCS=1 cargo test -p millpond-http openapi"
        );
    }

    #[test]
    fn operation_ids_are_unique() {
        let mut seen = HashSet::new();
        for operation in table::LAKEFS.iter().chain(table::MILLPOND) {
            assert!(seen.insert(operation.id), "{}", operation.id);
        }
    }

    /// Two messages of one name with different members would hide each other in the document.
    #[test]
    fn every_reference_leads_somewhere() {
        let document: Value = serde_json::from_str(&document()).unwrap();
        let text = document.to_string();
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }
}
