//! `millpond.toml`.
#![allow(clippy::disallowed_methods, reason = "this is the adapter for the configuration file")]

use super::SETTINGS;
use anyhow::{Context, Result, bail};
use std::path::Path;
use toml::{Table, Value};

/// The settings in a file, as text.
pub fn read(path: &Path) -> Result<Vec<(&'static str, String)>> {
    let bytes = std::fs::read(path).context("cannot be read")?;
    parse(std::str::from_utf8(&bytes).context("is not UTF-8")?)
}

pub(super) fn parse(text: &str) -> Result<Vec<(&'static str, String)>> {
    // The parser's own message quotes the line, which may hold a secret.
    let table: Table = toml::from_str(text).map_err(|error| anyhow::anyhow!("{}", error.message()))?;
    let mut found = Vec::new();
    walk(&table, "", &mut found)?;
    Ok(found)
}

fn walk(table: &Table, prefix: &str, found: &mut Vec<(&'static str, String)>) -> Result<()> {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        let setting = SETTINGS.iter().find(|setting| setting.name == name);
        match (setting, value) {
            (Some(setting), value) => {
                found.push((setting.name, as_text(setting.name, value)?));
            }
            (None, Value::Table(inner)) => walk(inner, &format!("{name}."), found)?,
            (None, _) => {
                bail!("'{name}' is no setting; 'millpond config explain' lists them all");
            }
        }
    }
    Ok(())
}

fn as_text(name: &str, value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(truth) => Ok(truth.to_string()),
        Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            let texts = texts.with_context(|| format!("'{name}' must be a list of texts"))?;
            Ok(texts.join(super::build::separator(name)))
        }
        _ => bail!("'{name}' must be a text, a number or a list of texts"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_kinds() {
        let text = "connections_max = 7\nlocal_import = [\"/a\", \"/b\"]\n[s3]\ndomains = [\"x\", \"y\"]\n[tls]\ncert = \"c.pem\"\n";
        let mut found = parse(text).expect("parses");
        found.sort_unstable();
        let expected = [
            ("connections_max", "7"),
            ("local_import", "/a:/b"),
            ("s3.domains", "x,y"),
            ("tls.cert", "c.pem"),
        ];
        assert_eq!(found, expected.map(|(name, text)| (name, text.to_owned())));
    }

    #[test]
    fn mistakes_are_named_without_the_secret() {
        for (text, part) in [
            ("lisen = \"x\"", "'lisen'"),
            ("[tls]\nkeys = \"x\"", "'tls.keys'"),
            ("listen = 1.5", "'listen'"),
            ("local_import = [1]", "'local_import'"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{error}");
        }
        let error = parse("[admin]\nsecret_access_key = hush-hush").expect_err("no TOML");
        assert!(!format!("{error:#}").contains("hush"), "{error:#}");
    }
}
