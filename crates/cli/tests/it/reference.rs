//! `docs/cli.md` ends with the help of every verb; this keeps it true.
#![allow(clippy::disallowed_methods, reason = "the test reads the documentation")]

const MARK: &str =
    "<!-- From here on generated: MILLPOND_WRITE_DOCS=1 cargo test -p millpond-cli reference -->\n";

fn section(command: &clap::Command, path: &str, text: &mut String) {
    let path = format!("{path} {}", command.get_name());
    if command.has_subcommands() {
        command.get_subcommands().for_each(|c| section(c, &path, text));
        return;
    }
    // Without a parent, so that the global options are not repeated with each verb.
    let help = command.clone().bin_name(&path).term_width(100).render_help();
    text.push_str(&format!("\n### `{path}`\n\n```text\n{}\n```\n", help.to_string().trim_end()));
}

fn generated() -> String {
    let mut text = String::from("\n## Global options\n\n```text\n");
    let help = millpond_cli::command().term_width(100).render_help().to_string();
    let options = help.split_once("Global options:\n").expect("the heading").1;
    text.push_str(options.trim_end());
    text.push_str("\n```\n\n## Verbs\n");
    millpond_cli::command().get_subcommands().for_each(|c| section(c, "millpond", &mut text));
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

#[test]
fn the_reference_is_what_help_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
    let page = std::fs::read_to_string(path).expect("docs/cli.md");
    let (head, tail) = page.split_once(MARK).expect("the mark in docs/cli.md");
    let wanted = generated();
    if std::env::var_os("MILLPOND_WRITE_DOCS").is_some() {
        std::fs::write(path, format!("{head}{MARK}{wanted}")).expect("written");
    } else {
        assert!(tail == wanted, "docs/cli.md is out of date; the mark in it says how to renew it");
    }
}
