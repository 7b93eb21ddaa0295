//! Rule "snapshot": a listing or a commit is the branch at one moment.
//!
//! A client makes its calls one after the other, so at any moment its own keys are as after its first so many
//! writes, never as after the third without the second. So of each client's keys a view must show such a
//! prefix; the prefixes of all clients must be of one moment, within the call that made the view; and neither
//! later commits nor later reads may be of an earlier moment. Half of a batch delete, a write that a commit
//! took although it was staged after another that it left, or a deleted key that comes back all break this.

use crate::event::{Answer, Call, Content, History, Moment, NEVER, Operation, Violation};
use std::collections::BTreeMap;

/// One client's own writes, in order, and what its keys show after each.
struct Owner<'a> {
    prefix: &'a str,
    writes: Vec<&'a Operation>,
    /// One more than `writes`.
    states: Vec<Content>,
}

/// What somebody saw of the whole branch.
struct View<'a> {
    operation: &'a Operation,
    content: &'a Content,
    /// Position in the chain, of a commit.
    position: Option<usize>,
}

/// The moments that a view can be of, and the fewest and most writes of each owner that it can show.
struct Placed {
    from: Moment,
    to: Moment,
    writes: Vec<(usize, usize)>,
}

/// Judges all views.
pub fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let owners: Vec<Owner<'_>> = history
        .owned
        .iter()
        .map(|(client, prefix)| owner(history, *client, prefix, &mut violations))
        .collect();
    if !violations.is_empty() {
        return violations;
    }
    let views = views(history);
    let mut placed = Vec::new();
    for view in &views {
        match place(view, &owners) {
            Ok(found) => placed.push(Some(found)),
            Err(violation) => {
                violations.push(violation);
                placed.push(None);
            }
        }
    }
    violations.extend(chain_goes_back(&views, &placed));
    violations.extend(reads_go_back(&views, &placed, &owners));
    violations.extend(false_no_changes(history, &owners));
    violations
}

fn owner<'a>(
    history: &'a History,
    client: usize,
    prefix: &'a str,
    violations: &mut Vec<Violation>,
) -> Owner<'a> {
    let mut writes: Vec<&Operation> =
        history.operations.iter().filter(|o| o.client == client && o.writes() && is_of(o, prefix)).collect();
    writes.sort_by_key(|o| o.invoked);
    let mut state: Content = history
        .start
        .iter()
        .filter(|(key, _)| key.starts_with(prefix))
        .map(|(k, v)| (k.clone(), *v))
        .collect();
    let mut states = vec![state.clone()];
    for write in &writes {
        if write.answer == Answer::Unknown {
            violations.push(Violation::new("snapshot", "a client did not find out what it did:", &[write]));
        }
        match &write.call {
            Call::Put(key, value, _) => {
                state.insert(key.clone(), *value);
            }
            Call::Delete(keys) => state.retain(|key, _| !keys.contains(key)),
            _ => {}
        }
        states.push(state.clone());
    }
    Owner { prefix, writes, states }
}

fn is_of(operation: &Operation, prefix: &str) -> bool {
    match &operation.call {
        Call::Put(key, ..) => key.starts_with(prefix),
        Call::Delete(keys) => keys.iter().any(|key| key.starts_with(prefix)),
        _ => false,
    }
}

fn views(history: &History) -> Vec<View<'_>> {
    let mut views = Vec::new();
    let mut commits = BTreeMap::new();
    for operation in &history.operations {
        match (&operation.call, &operation.answer) {
            (Call::List, Answer::Content(content)) => views.push(View { operation, content, position: None }),
            (Call::Commit(message), _) => {
                commits.insert(message.as_str(), operation);
            }
            _ => {}
        }
    }
    for (position, link) in history.chain.iter().enumerate() {
        if let Some(operation) = commits.get(link.message.as_str()) {
            views.push(View { operation, content: &link.content, position: Some(position) });
        }
    }
    views
}

impl Owner<'_> {
    /// What a view shows of the owner's keys.
    fn part(&self, content: &Content) -> Content {
        content.iter().filter(|(key, _)| key.starts_with(self.prefix)).map(|(k, v)| (k.clone(), *v)).collect()
    }
    /// How many writes can have happened by some moment between the two.
    fn possible(&self, invoked: Moment, ended: Moment) -> (usize, usize) {
        let surely = self.writes.iter().filter(|write| write.ended < invoked).count();
        let perhaps = self.writes.iter().filter(|write| write.invoked <= ended).count();
        (surely, perhaps)
    }
    /// The fewest and most writes after which the keys show this.
    fn fitting(&self, part: &Content, possible: (usize, usize)) -> Option<(usize, usize)> {
        let fits = |count: &usize| self.states[*count] == *part;
        let first = (possible.0..=possible.1).find(fits)?;
        let last = (possible.0..=possible.1).rev().find(fits)?;
        Some((first, last))
    }
    /// The first moment at which that many writes can have happened.
    fn earliest(&self, count: usize) -> Moment {
        count.checked_sub(1).map_or(0, |last| self.writes[last].invoked)
    }
    /// The last moment at which no more than that many need have happened.
    fn latest(&self, count: usize) -> Moment {
        self.writes.get(count).map_or(NEVER, |next| next.ended)
    }
}

/// The view as it shows one owner's keys, for a picture.
fn shown(view: &View<'_>, part: Content) -> Operation {
    Operation { answer: Answer::Content(part), ..view.operation.clone() }
}

fn place(view: &View<'_>, owners: &[Owner<'_>]) -> Result<Placed, Violation> {
    let (mut from, mut to) = (view.operation.invoked, view.operation.ended);
    let mut writes = Vec::new();
    let mut last_cause: Option<(usize, usize)> = None;
    for (number, owner) in owners.iter().enumerate() {
        let part = owner.part(view.content);
        let possible = owner.possible(view.operation.invoked, view.operation.ended);
        let Some(fitting) = owner.fitting(&part, possible) else {
            let elsewhere = owner.fitting(&part, (0, owner.writes.len()));
            let sentence = match elsewhere {
                Some((count, _)) => format!(
                    "it shows the keys below '{}' as after write {count} of their owner; between {} and {} \
                     had happened:",
                    owner.prefix, possible.0, possible.1
                ),
                None => format!("it shows the keys below '{}' as they never were:", owner.prefix),
            };
            let near = possible.0.saturating_sub(4)..possible.1.min(owner.writes.len());
            let view = shown(view, part);
            let mut operations: Vec<&Operation> = owner.writes[near].to_vec();
            operations.push(&view);
            return Err(Violation::new("snapshot", sentence, &operations));
        };
        if owner.earliest(fitting.0) > from {
            (from, last_cause) = (owner.earliest(fitting.0), Some((number, fitting.0)));
        }
        to = to.min(owner.latest(fitting.1));
        if from > to {
            let mut operations = vec![view.operation];
            operations.extend(last_cause.map(|(owner, count)| owners[owner].writes[count - 1]));
            operations.extend(owner.writes.get(fitting.1));
            return Err(Violation::new(
                "snapshot",
                "it shows one client's write and not another's that was over before:",
                &operations,
            ));
        }
        writes.push(fitting);
    }
    Ok(Placed { from, to, writes })
}

/// Commits of one branch are of moments that do not go back.
fn chain_goes_back(views: &[View<'_>], placed: &[Option<Placed>]) -> Vec<Violation> {
    let mut commits: Vec<(usize, &View<'_>, &Placed)> = views
        .iter()
        .zip(placed)
        .filter_map(|(view, placed)| Some((view.position?, view, placed.as_ref()?)))
        .collect();
    commits.sort_by_key(|(position, ..)| *position);
    let (mut moment, mut before): (Moment, Option<&View<'_>>) = (0, None);
    for (_, view, placed) in commits {
        if placed.to < moment {
            let operations: Vec<&Operation> = before.iter().chain([&view]).map(|v| v.operation).collect();
            return vec![Violation::new(
                "snapshot",
                "a commit is older than the one before it:",
                &operations,
            )];
        }
        if placed.from >= moment {
            (moment, before) = (placed.from, Some(view));
        }
    }
    Vec::new()
}

/// A view that begins after another has ended shows at least as many writes of everybody.
fn reads_go_back(views: &[View<'_>], placed: &[Option<Placed>], owners: &[Owner<'_>]) -> Vec<Violation> {
    let known: Vec<(&View<'_>, &Placed)> =
        views.iter().zip(placed).filter_map(|(view, placed)| Some((view, placed.as_ref()?))).collect();
    let (mut by_end, mut by_call) = (known.clone(), known);
    by_end.sort_by_key(|(view, _)| view.operation.ended);
    by_call.sort_by_key(|(view, _)| view.operation.invoked);
    for (number, owner) in owners.iter().enumerate() {
        let mut ended = by_end.iter().peekable();
        let mut most: Option<(usize, &View<'_>)> = None;
        for (view, placed) in &by_call {
            while let Some((other, earlier)) =
                ended.next_if(|(other, _)| other.operation.ended < view.operation.invoked)
            {
                if most.is_none_or(|(count, _)| count < earlier.writes[number].0) {
                    most = Some((earlier.writes[number].0, other));
                }
            }
            if let Some((count, other)) = most
                && placed.writes[number].1 < count
            {
                let (first, second) =
                    (shown(other, owner.part(other.content)), shown(view, owner.part(view.content)));
                let sentence = "a read shows less than an earlier one:";
                return vec![Violation::new("reads", sentence, &[&first, &second])];
            }
        }
    }
    Vec::new()
}

/// "No changes" is true of some moment: some commit that can have been the head then holds all that the owners
/// had written.
fn false_no_changes(history: &History, owners: &[Owner<'_>]) -> Vec<Violation> {
    let calls: BTreeMap<&str, &Operation> = history
        .operations
        .iter()
        .filter_map(|o| if let Call::Commit(message) = &o.call { Some((message.as_str(), o)) } else { None })
        .collect();
    let mut violations = Vec::new();
    for operation in history.operations.iter().filter(|o| o.answer == Answer::NoChanges) {
        let begun = history.chain.iter().filter(|link| {
            calls.get(link.message.as_str()).is_some_and(|call| call.invoked <= operation.ended)
        });
        let is_true = begun.map(|link| &link.content).chain([&history.start]).any(|content| {
            owners.iter().all(|owner| {
                let possible = owner.possible(operation.invoked, operation.ended);
                owner.fitting(&owner.part(content), possible).is_some()
            })
        });
        if !is_true {
            violations.push(Violation::new(
                "snapshot",
                "there were changes that no commit of the time holds:",
                &[operation],
            ));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ChainLink, Expected, Value};

    fn step(client: usize, invoked: Moment, ended: Moment, call: Call, answer: Answer) -> Operation {
        Operation { client, call, invoked, ended, answer }
    }
    fn put(client: usize, invoked: Moment, ended: Moment, key: &str, value: Value) -> Operation {
        step(client, invoked, ended, Call::Put(key.into(), value, Expected::Anything), Answer::Done)
    }
    fn content(pairs: &[(&str, Value)]) -> Content {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
    }
    fn list(invoked: Moment, ended: Moment, pairs: &[(&str, Value)]) -> Operation {
        step(9, invoked, ended, Call::List, Answer::Content(content(pairs)))
    }
    fn commit(invoked: Moment, ended: Moment, message: &str) -> Operation {
        step(9, invoked, ended, Call::Commit(message.into()), Answer::Commit(message.into()))
    }
    fn link(message: &str, pairs: &[(&str, Value)]) -> ChainLink {
        ChainLink { id: message.into(), message: message.into(), content: content(pairs) }
    }
    fn judge(operations: Vec<Operation>, chain: Vec<ChainLink>) -> Vec<Violation> {
        let owned = BTreeMap::from([(0, "0/".to_owned()), (1, "1/".to_owned())]);
        check(&History { operations, chain, owned, ..History::default() })
    }
    #[track_caller]
    fn fine(operations: Vec<Operation>, chain: Vec<ChainLink>) {
        let found = judge(operations, chain);
        assert!(found.is_empty(), "{}", found[0].story);
    }
    #[track_caller]
    fn wrong(operations: Vec<Operation>, chain: Vec<ChainLink>, rule: &str, says: &str) {
        let found = judge(operations, chain);
        let said = found.first().map_or("nothing", |violation| &violation.story);
        assert!(said.contains(says) && found[0].rule == rule, "{said}");
    }
    fn pair() -> Vec<Operation> {
        vec![
            put(0, 0, 1, "0/a", 1),
            put(0, 2, 3, "0/b", 2),
            put(0, 10, 11, "0/a", 3),
            put(0, 12, 13, "0/b", 4),
        ]
    }

    #[test]
    fn a_view_of_one_moment_is_fine() {
        let mut operations = pair();
        operations.extend([commit(4, 11, "c"), list(12, 14, &[("0/a", 3), ("0/b", 2)])]);
        fine(operations.clone(), vec![link("c", &[("0/a", 1), ("0/b", 2)])]);
        fine(operations, vec![link("c", &[("0/a", 3), ("0/b", 2)])]);
    }

    #[test]
    fn half_a_pair_is_found() {
        let mut operations = pair();
        operations.push(commit(9, 20, "c"));
        wrong(operations, vec![link("c", &[("0/a", 1), ("0/b", 4)])], "snapshot", "never were");
    }

    #[test]
    fn half_a_batch_delete_is_found() {
        let delete = Call::Delete(vec!["0/a".into(), "0/b".into()]);
        let operations = vec![
            put(0, 0, 1, "0/a", 1),
            put(0, 2, 3, "0/b", 2),
            step(0, 4, 8, delete, Answer::Done),
            list(5, 6, &[("0/b", 2)]),
        ];
        wrong(operations, vec![], "snapshot", "never were");
    }

    #[test]
    fn a_lost_write_is_found() {
        let mut operations = pair();
        operations.push(list(14, 15, &[("0/a", 3), ("0/b", 2)]));
        wrong(operations, vec![], "snapshot", "after write 3");
    }

    #[test]
    fn a_deleted_key_that_comes_back_is_found() {
        let operations = vec![
            put(0, 0, 1, "0/a", 1),
            step(0, 2, 3, Call::Delete(vec!["0/a".into()]), Answer::Done),
            commit(4, 5, "c"),
        ];
        wrong(operations, vec![link("c", &[("0/a", 1)])], "snapshot", "after write 1");
    }

    #[test]
    fn a_view_of_two_moments_is_found() {
        // 0's write was over before 1's began, and only 1's is seen.
        let operations = vec![put(0, 2, 3, "0/a", 1), put(1, 4, 5, "1/a", 2), list(1, 9, &[("1/a", 2)])];
        wrong(operations, vec![], "snapshot", "was over before");
    }

    #[test]
    fn commits_in_the_wrong_order_are_found() {
        let mut operations = pair();
        operations.extend([commit(1, 20, "c1"), commit(1, 20, "c2")]);
        let (old, new) = ([("0/a", 1), ("0/b", 2)], [("0/a", 3), ("0/b", 2)]);
        fine(operations.clone(), vec![link("c1", &old), link("c2", &new)]);
        let late = vec![link("c1", &[("0/a", 3), ("0/b", 4)]), link("c2", &old)];
        wrong(operations, late, "snapshot", "older than the one before");
    }

    #[test]
    fn reads_that_go_back_are_found() {
        let operations = vec![put(0, 0, 9, "0/a", 1), list(1, 2, &[("0/a", 1)]), list(3, 4, &[])];
        wrong(operations, vec![], "reads", "less than an earlier one");
    }

    #[test]
    fn no_changes_must_be_true() {
        let nothing = |invoked| step(8, invoked, invoked + 1, Call::Commit("n".into()), Answer::NoChanges);
        let chain = || vec![link("c", &[("0/a", 1)])];
        fine(vec![put(0, 0, 1, "0/a", 1), commit(2, 3, "c"), nothing(4)], chain());
        wrong(
            vec![put(0, 0, 1, "0/a", 1), commit(2, 3, "c"), put(0, 4, 5, "0/a", 2), nothing(6)],
            chain(),
            "snapshot",
            "no commit of the time",
        );
    }

    #[test]
    fn an_own_write_without_an_outcome_is_not_passed_over() {
        let lost = Operation { answer: Answer::Unknown, ..put(0, 0, 1, "0/a", 1) };
        wrong(vec![lost], vec![], "snapshot", "did not find out");
    }
}
