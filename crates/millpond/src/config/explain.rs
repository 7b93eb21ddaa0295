//! `millpond config explain`: each setting, its value, and where that came from.

use super::{SETTINGS, Values};

/// One line per setting, in columns. Secrets are masked.
pub fn explain(values: &Values) -> String {
    let rows: Vec<[String; 3]> = SETTINGS
        .iter()
        .map(|setting| match values.get(setting.name) {
            None => [setting.name.to_owned(), "-".to_owned(), format!("not set; {}", setting.variable)],
            Some(value) => {
                let shown = if setting.secret { "********" } else { &value.text };
                [setting.name.to_owned(), shown.to_owned(), value.origin.to_string()]
            }
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let (first, second) = (width(0), width(1));
    rows.iter().map(|[name, value, origin]| format!("{name:first$}  {value:second$}  {origin}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Origin, Value};
    use super::*;

    #[test]
    fn secrets_are_masked_and_origins_shown() {
        let mut values = Values::new();
        let value = |text: &str, origin| Value { text: text.to_owned(), origin };
        values.insert("listen", value("127.0.0.1:8000", Origin::Default));
        values.insert(
            "admin.secret_access_key",
            value("hush", Origin::Variable("MILLPOND_ADMIN_SECRET_ACCESS_KEY")),
        );
        let text = explain(&values);
        assert!(!text.contains("hush"), "{text}");
        let line = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).expect("a line");
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            line("listen").split_whitespace().collect::<Vec<_>>(),
            ["listen", "127.0.0.1:8000", "default"]
        );
        assert!(line("admin.secret").contains("******** MILLPOND_ADMIN_SECRET_ACCESS_KEY"), "{text}");
        assert!(line("tls.cert").contains("not set; MILLPOND_TLS_CERT"), "{text}");
        assert_eq!(text.lines().count(), SETTINGS.len());
    }
}
