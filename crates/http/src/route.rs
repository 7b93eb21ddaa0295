//! Finds the operation of a path. A tree of path segments, built once from the tables.
//!
//! It works on the raw path: an encoded slash stays within its segment, and a trailing slash or an empty
//! segment matches nothing (API-0.4, API-7.14). Values are decoded by [`crate::validate`], once.

use crate::operation::{Operation, Verb};
use std::collections::HashMap;

/// The operations of one API, by path and verb.
#[derive(Default)]
pub struct Routes {
    fixed: HashMap<&'static str, Routes>,
    variable: Option<Box<Routes>>,
    operations: Vec<(Verb, &'static Operation)>,
}

impl Routes {
    /// The tree of a table. Panics on two rows for the same path and verb.
    pub fn new(table: &'static [Operation]) -> Self {
        let mut root = Self::default();
        for operation in table {
            let mut node = &mut root;
            for segment in operation.path.split('/').skip(1) {
                node = if segment.starts_with('{') {
                    node.variable.get_or_insert_default()
                } else {
                    node.fixed.entry(segment).or_default()
                };
            }
            let taken = node.operations.iter().any(|(verb, _)| *verb == operation.verb);
            assert!(!taken, "two operations for {} {}", operation.verb.as_str(), operation.path);
            node.operations.push((operation.verb, operation));
        }
        root
    }

    /// The operation of a path below the base (`/repositories/x`) and the raw values of its parameters.
    /// A fixed segment wins over a parameter, unless it leads nowhere.
    pub fn find<'p>(&self, verb: Verb, path: &'p str) -> Option<(&'static Operation, Vec<&'p str>)> {
        let mut values = Vec::with_capacity(4);
        let operation = self.walk(verb, path.strip_prefix('/')?, &mut values)?;
        Some((operation, values))
    }

    fn walk<'p>(&self, verb: Verb, path: &'p str, values: &mut Vec<&'p str>) -> Option<&'static Operation> {
        let (segment, rest) = match path.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (path, None),
        };
        let below = |node: &Self, values: &mut Vec<&'p str>| match rest {
            Some(rest) => node.walk(verb, rest, values),
            None => node.operations.iter().find(|(v, _)| *v == verb).map(|(_, operation)| *operation),
        };
        if let Some(operation) = self.fixed.get(segment).and_then(|node| below(node, values)) {
            return Some(operation);
        }
        if segment.is_empty() {
            return None;
        }
        let depth = values.len();
        values.push(segment);
        let found = self.variable.as_deref().and_then(|node| below(node, values));
        if found.is_none() {
            values.truncate(depth);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    fn id(verb: Verb, path: &str) -> Option<(&'static str, Vec<&str>)> {
        let routes = Routes::new(table::LAKEFS);
        routes.find(verb, path).map(|(operation, values)| (operation.id, values))
    }

    #[test]
    fn paths_find_their_operation() {
        assert_eq!(id(Verb::Get, "/repositories"), Some(("listRepositories", vec![])));
        assert_eq!(
            id(Verb::Get, "/repositories/r/refs/main%7E1/objects/stat"),
            Some(("statObject", vec!["r", "main%7E1"]))
        );
        assert_eq!(id(Verb::Get, "/repositories/r/refs/a/diff/b"), Some(("diffRefs", vec!["r", "a", "b"])));
        assert_eq!(id(Verb::Put, "/repositories/r/refs/dump"), Some(("dumpRefs", vec!["r"])));
        assert_eq!(
            id(Verb::Get, "/repositories/r/refs/dump/objects"),
            Some(("getObject", vec!["r", "dump"])),
            "a ref may be called like a fixed segment"
        );
        assert_eq!(id(Verb::Get, "/repositories/a%2Fb"), Some(("getRepository", vec!["a%2Fb"])));
    }

    #[test]
    fn everything_else_is_no_endpoint() {
        for path in ["", "/", "/nothing", "/repositories/", "/repositories//branches", "/repositories/r/x"] {
            assert_eq!(id(Verb::Get, path), None, "{path}");
        }
        assert_eq!(id(Verb::Head, "/repositories"), None, "HEAD is an operation of its own");
        assert_eq!(id(Verb::Patch, "/repositories"), None);
    }
}
