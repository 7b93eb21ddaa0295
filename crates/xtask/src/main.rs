//! `cargo xtask tidy`: rules that reviewers should not have to watch. Runs inside `cargo test` too.

#![allow(clippy::print_stdout)]

mod tidy;

fn main() -> std::process::ExitCode {
    let verb = std::env::args().nth(1).unwrap_or_default();
    if verb != "tidy" {
        println!("usage: cargo xtask tidy");
        return std::process::ExitCode::from(2);
    }
    let complaints = tidy::complaints(&tidy::root());
    for complaint in &complaints {
        println!("{complaint}");
    }
    if complaints.is_empty() { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tree_is_tidy() {
        let complaints = super::tidy::complaints(&super::tidy::root());
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
}
