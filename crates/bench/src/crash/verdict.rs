//! Compares what a server shows after a crash with what it may show.
//!
//! A client sends one request at a time, so at most one operation is unanswered when the server dies. The
//! server may then show exactly two states: the one before that operation and the one after it, whole.

use super::state::Facts;

/// What the server shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything acknowledged, and nothing of the unanswered operation.
    Before,
    /// Everything acknowledged, and all of the unanswered operation.
    After,
    /// Some of the unanswered operation and not the rest of it.
    Partial(Vec<String>),
    /// Something that is neither: an acknowledged operation is lost, or something appeared that nobody asked for.
    Lost(Vec<String>),
}

/// Judges what was seen; `after` is absent if no operation was unanswered.
pub fn judge(before: &Facts, after: Option<&Facts>, seen: &Facts) -> Verdict {
    let after = after.unwrap_or(before);
    if seen == before {
        return Verdict::Before;
    }
    if seen == after {
        return Verdict::After;
    }
    let names =
        before.keys().chain(after.keys()).chain(seen.keys()).collect::<std::collections::BTreeSet<_>>();
    let (mut wrong, mut mixed) = (Vec::new(), Vec::new());
    for name in names {
        let (old, new, found) = (before.get(name), after.get(name), seen.get(name));
        let text = || {
            format!(
                "{name}: found {}, may be {}",
                say(found),
                if old == new { say(old) } else { format!("{} or {}", say(old), say(new)) }
            )
        };
        if found != old && found != new {
            wrong.push(text());
        } else if old != new {
            mixed.push(text());
        }
    }
    if wrong.is_empty() { Verdict::Partial(mixed) } else { Verdict::Lost(wrong) }
}

fn say(value: Option<&String>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::super::state::{Branch, Content, Operation, State, Tree};
    use super::*;
    use std::rc::Rc;

    fn content(letter: &str) -> Rc<Content> {
        Rc::new(Content { bytes: 1, etag: letter.into(), sha256: [0; 32] })
    }

    /// A branch `w` at commit `c1` with `a` and `b` committed, `c` staged.
    fn state() -> State {
        let committed: Tree =
            [("a", content("A")), ("b", content("B"))].map(|(k, v)| (k.to_owned(), v)).into();
        let mut view = committed.clone();
        view.insert("c".into(), content("C"));
        let mut state = State::default();
        state.branches.insert("w".into(), Branch { head: "c1".into(), committed, view });
        state
    }

    fn after(operation: &Operation, made: &str) -> Facts {
        let mut state = state();
        state.apply(operation, made);
        state.facts()
    }

    fn delete_all() -> Operation {
        Operation::DeleteMany { branch: "w".into(), keys: vec!["a".into(), "b".into()] }
    }

    #[test]
    fn both_whole_states_are_right() {
        let (before, after) = (state().facts(), after(&delete_all(), ""));
        assert_eq!(judge(&before, Some(&after), &before), Verdict::Before);
        assert_eq!(judge(&before, Some(&after), &after), Verdict::After);
        assert_eq!(judge(&before, None, &before), Verdict::Before);
    }

    #[test]
    fn half_a_batch_delete_is_partial() {
        let before = state().facts();
        let after = after(&delete_all(), "");
        let mut seen = before.clone();
        seen.remove("object a of w");
        assert!(matches!(judge(&before, Some(&after), &seen), Verdict::Partial(_)));
    }

    #[test]
    fn a_missing_acknowledged_object_is_lost_whatever_was_in_flight() {
        let before = state().facts();
        let after = after(&delete_all(), "");
        let mut seen = before.clone();
        seen.remove("object c of w");
        assert!(matches!(judge(&before, Some(&after), &seen), Verdict::Lost(lost) if lost.len() == 1));
        assert!(matches!(judge(&before, None, &seen), Verdict::Lost(_)));
    }

    #[test]
    fn an_old_value_a_deleted_thing_and_an_old_head_are_lost() {
        let before = state().facts();
        for (name, value) in [
            ("object c of w", "1 bytes, ETag OLD"),
            ("object gone of w", "1 bytes, ETag X"),
            ("branch w", "c0"),
            ("tag t", "c1"),
        ] {
            let mut seen = before.clone();
            seen.insert(name.into(), value.into());
            assert!(matches!(judge(&before, None, &seen), Verdict::Lost(_)), "{name}");
        }
    }

    #[test]
    fn a_commit_moves_the_head_and_nothing_else_shows() {
        let before = state().facts();
        let after = after(&Operation::Commit { branch: "w".into(), message: "m".into() }, "c2");
        assert_eq!(after.get("branch w").map(String::as_str), Some("c2"));
        assert_eq!(before.len(), after.len());
        let mut seen = after.clone();
        seen.remove("object c of w");
        assert!(
            matches!(judge(&before, Some(&after), &seen), Verdict::Lost(_)),
            "a commit that dropped what was staged"
        );
    }

    #[test]
    fn a_reset_drops_what_is_staged_and_a_merge_shows_what_is_committed() {
        let reset = after(&Operation::Reset { branch: "w".into() }, "");
        assert!(!reset.contains_key("object c of w") && reset.contains_key("object a of w"));
        let merged = after(&Operation::Merge { branch: "w".into(), message: "m".into() }, "");
        assert!(merged.contains_key("object a of main") && !merged.contains_key("object c of main"));
    }
}
