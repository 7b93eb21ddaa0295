//! Rules of the chain of first parents: every acknowledged commit and merge is in it once, nothing else is,
//! its order is that of time ("chain"); heads are read in that order ("head"); a merge adds what its branch
//! added and nothing else ("merge"); no write is lost, doubled or comes back ("conservation").
//!
//! No search: ids are unique, so the chain itself is the order.

use crate::event::{Answer, Call, Content, History, Key, Moment, Operation, Value, Violation};
use std::collections::{BTreeMap, HashMap};

/// Judges the chain.
pub fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let calls = calls(history);
    let mut positions: HashMap<&str, usize> = HashMap::from([(history.start_head.as_str(), 0)]);
    let mut by_message: HashMap<&str, usize> = HashMap::new();
    for (index, link) in history.chain.iter().enumerate() {
        // The start of the branch has position 0.
        positions.insert(&link.id, index + 1);
        if by_message.insert(&link.message, index).is_some() {
            let sentence = format!("'{}' is in the chain twice", link.message);
            violations.push(Violation::new("chain", sentence, &[]));
        }
        match calls.get(link.message.as_str()) {
            Some(call) if matches!(call.answer, Answer::Commit(_) | Answer::Unknown) => {}
            Some(call) => {
                let sentence = format!("commit {} is in the chain, though it was refused:", link.id);
                violations.push(Violation::new("chain", sentence, &[call]));
            }
            None => {
                let sentence = format!("nobody made commit {} ('{}')", link.id, link.message);
                violations.push(Violation::new("chain", sentence, &[]));
            }
        }
    }
    for (message, call) in &calls {
        let Answer::Commit(id) = &call.answer else { continue };
        match by_message.get(message) {
            None => violations.push(Violation::new("chain", "an acknowledged commit is lost:", &[call])),
            Some(index) if history.chain[*index].id != *id => {
                let sentence = format!("the chain has {} instead of:", history.chain[*index].id);
                violations.push(Violation::new("chain", sentence, &[call]));
            }
            Some(_) => {}
        }
    }
    violations.extend(out_of_order(history, &calls, &positions));
    violations.extend(wrong_merges(history, &calls));
    violations.extend(not_conserved(history));
    violations
}

/// Commits and merges by their message.
fn calls(history: &History) -> BTreeMap<&str, &Operation> {
    let named = history.operations.iter().filter_map(|operation| match &operation.call {
        Call::Commit(message) | Call::Merge(message, _) => Some((message.as_str(), operation)),
        _ => None,
    });
    named.collect()
}

/// Whoever begins after something was known to be the head is above it: commits, and reads of the head.
fn out_of_order(
    history: &History,
    calls: &BTreeMap<&str, &Operation>,
    positions: &HashMap<&str, usize>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    // (operation, position, whether it must be above and not only not below)
    let mut known: Vec<(&Operation, usize, bool)> = Vec::new();
    for (index, link) in history.chain.iter().enumerate() {
        known.extend(calls.get(link.message.as_str()).map(|call| (*call, index + 1, true)));
    }
    for operation in history.operations.iter().filter(|o| o.call == Call::Head) {
        let Answer::Commit(id) = &operation.answer else { continue };
        match positions.get(id.as_str()) {
            None => {
                violations.push(Violation::new("head", "a head that is not in the chain:", &[operation]));
            }
            Some(position) => {
                let made = position.checked_sub(1).and_then(|i| calls.get(history.chain[i].message.as_str()));
                if let Some(made) = made
                    && made.invoked > operation.ended
                {
                    let sentence = "a head that was only made later:";
                    violations.push(Violation::new("head", sentence, &[operation, made]));
                }
                known.push((operation, *position, false));
            }
        }
    }
    let (mut by_end, mut by_call) = (known.clone(), known);
    by_end.sort_by_key(|(operation, ..)| operation.ended);
    by_call.sort_by_key(|(operation, ..)| operation.invoked);
    let mut ended = by_end.into_iter().peekable();
    let mut highest: Option<(usize, &Operation)> = None;
    for (operation, position, above) in by_call {
        while let Some((other, other_position, _)) =
            ended.next_if(|(other, ..)| other.ended < operation.invoked)
        {
            // An answer that never came says nothing about when.
            if other.answer != Answer::Unknown && highest.is_none_or(|(most, _)| most < other_position) {
                highest = Some((other_position, other));
            }
        }
        if let Some((most, other)) = highest
            && (position < most || above && position == most)
        {
            let (rule, sentence) = if above {
                ("chain", format!("position {position} in the chain, below position {most} of before:"))
            } else {
                ("head", format!("head at position {position}, though position {most} was seen before:"))
            };
            violations.push(Violation::new(rule, sentence, &[other, operation]));
            break;
        }
    }
    violations
}

/// Each merge's commit is the one before it and what the merged branch added; a listing shows one of them.
fn wrong_merges(history: &History, calls: &BTreeMap<&str, &Operation>) -> Vec<Violation> {
    let mut violations = Vec::new();
    if !history.operations.iter().any(|o| matches!(o.call, Call::Merge(..))) {
        return violations;
    }
    let mut before = &history.start;
    for link in &history.chain {
        if let Some(call) = calls.get(link.message.as_str())
            && let Call::Merge(_, added) = &call.call
        {
            let mut expected = before.clone();
            expected.extend(added.iter().map(|(key, value)| (key.clone(), *value)));
            if expected != link.content {
                let lacks = difference(&expected, &link.content);
                let has = difference(&link.content, &expected);
                let sentence = format!("the merge lacks [{lacks}] and has [{has}] that nobody brought:");
                violations.push(Violation::new("merge", sentence, &[call]));
            }
        }
        before = &link.content;
    }
    let begun = |index: usize| calls.get(history.chain[index].message.as_str()).map_or(0, |c| c.invoked);
    let over = |index: usize| calls.get(history.chain[index].message.as_str()).map_or(0, |c| c.ended);
    for operation in history.operations.iter().filter(|o| o.call == Call::List) {
        let Answer::Content(content) = &operation.answer else { continue };
        let shows = |position: usize| match position.checked_sub(1) {
            None => history.start == *content,
            Some(index) => history.chain[index].content == *content,
        };
        let count = history.chain.len();
        let is_possible = |position: &usize| {
            let begun = position.checked_sub(1).is_none_or(|index| begun(index) <= operation.ended);
            begun && (*position == count || over(*position) >= operation.invoked)
        };
        if !(0..=count).filter(is_possible).any(shows) {
            let sentence = "a listing of a branch on which nothing is staged shows no commit of the time:";
            violations.push(Violation::new("merge", sentence, &[operation]));
        }
    }
    violations
}

fn difference(left: &Content, right: &Content) -> String {
    let only: Vec<String> = left
        .iter()
        .filter(|(key, value)| right.get(*key) != Some(value))
        .map(|(key, value)| format!("{key}=v{value}"))
        .collect();
    only.join(" ")
}

/// Where a value was seen.
#[derive(Default)]
struct Seen {
    positions: Vec<usize>,
    listed_last: bool,
}

fn not_conserved(history: &History) -> Vec<Violation> {
    let mut seen: HashMap<(&str, Value), Seen> = HashMap::new();
    for (position, link) in history.chain.iter().enumerate() {
        for (key, value) in &link.content {
            seen.entry((key, *value)).or_default().positions.push(position);
        }
    }
    let last = history
        .operations
        .iter()
        .filter_map(
            |o| if let Answer::Content(content) = &o.answer { Some((o.invoked, content)) } else { None },
        )
        .max_by_key(|(invoked, _)| *invoked);
    for (key, value) in last.iter().flat_map(|(_, content)| content.iter()) {
        seen.entry((key, *value)).or_default().listed_last = true;
    }
    let mut writes: HashMap<&Key, Vec<(Moment, Option<Value>)>> = HashMap::new();
    for operation in history.operations.iter().filter(|o| o.writes()) {
        match &operation.call {
            Call::Put(key, value, _) => writes.entry(key).or_default().push((operation.ended, Some(*value))),
            Call::Delete(keys) => {
                keys.iter().for_each(|key| writes.entry(key).or_default().push((operation.ended, None)));
            }
            _ => {}
        }
    }
    let mut violations = Vec::new();
    for operation in &history.operations {
        let Call::Put(key, value, _) = &operation.call else { continue };
        let found = seen.get(&(key.as_str(), *value));
        let gaps = |seen: &Seen| seen.positions.windows(2).any(|pair| pair[1] != pair[0] + 1);
        if found.is_some_and(gaps) {
            let sentence = "a write is in a commit, gone from the next, and in one after that:";
            violations.push(Violation::new("conservation", sentence, &[operation]));
        }
        if operation.answer == Answer::Refused && found.is_some() {
            violations.push(Violation::new("conservation", "a refused write is there:", &[operation]));
        }
        // By any other write that was not over before: of two at the same time either may be the last.
        let others = writes.get(key).into_iter().flatten();
        let superseded =
            others.into_iter().any(|(ended, other)| *other != Some(*value) && *ended >= operation.invoked);
        if operation.answer == Answer::Done && found.is_none() && !superseded && last.is_some() {
            violations.push(Violation::new(
                "conservation",
                "an acknowledged write is nowhere:",
                &[operation],
            ));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ChainLink, Expected};

    fn step(invoked: Moment, ended: Moment, call: Call, answer: Answer) -> Operation {
        Operation { client: 0, call, invoked, ended, answer }
    }
    fn commit(invoked: Moment, ended: Moment, message: &str) -> Operation {
        step(invoked, ended, Call::Commit(message.into()), Answer::Commit(format!("id-{message}")))
    }
    fn head(invoked: Moment, ended: Moment, id: &str) -> Operation {
        step(invoked, ended, Call::Head, Answer::Commit(id.into()))
    }
    fn content(pairs: &[(&str, Value)]) -> Content {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
    }
    fn link(message: &str, pairs: &[(&str, Value)]) -> ChainLink {
        ChainLink { id: format!("id-{message}"), message: message.into(), content: content(pairs) }
    }
    fn judge(operations: Vec<Operation>, chain: Vec<ChainLink>) -> Vec<Violation> {
        check(&History { operations, chain, start_head: "start".into(), ..History::default() })
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

    #[test]
    fn commits_at_the_same_time_may_have_any_order() {
        let operations = vec![commit(0, 9, "a"), commit(1, 8, "b"), head(3, 4, "id-b"), head(9, 10, "id-a")];
        fine(operations, vec![link("b", &[]), link("a", &[])]);
    }

    #[test]
    fn a_lost_commit_is_found() {
        wrong(vec![commit(0, 1, "a"), commit(2, 3, "b")], vec![link("b", &[])], "chain", "is lost");
    }

    #[test]
    fn a_doubled_commit_is_found() {
        let twice = vec![link("a", &[]), ChainLink { id: "other".into(), ..link("a", &[]) }];
        wrong(vec![commit(0, 1, "a")], twice, "chain", "twice");
    }

    #[test]
    fn a_commit_that_nobody_made_or_that_was_refused_is_found() {
        wrong(vec![], vec![link("a", &[])], "chain", "nobody made");
        let refused = step(0, 1, Call::Commit("a".into()), Answer::NoChanges);
        wrong(vec![refused], vec![link("a", &[])], "chain", "though it was refused");
    }

    #[test]
    fn another_id_than_the_answered_one_is_found() {
        let other = ChainLink { id: "other".into(), ..link("a", &[]) };
        wrong(vec![commit(0, 1, "a")], vec![other], "chain", "instead of");
    }

    #[test]
    fn a_commit_below_an_earlier_one_is_found() {
        let operations = vec![commit(0, 1, "a"), commit(2, 3, "b")];
        wrong(operations, vec![link("b", &[]), link("a", &[])], "chain", "below position");
    }

    #[test]
    fn a_commit_without_an_answer_may_be_there_or_not() {
        let lost = || step(0, 5, Call::Commit("a".into()), Answer::Unknown);
        fine(vec![lost()], vec![link("a", &[])]);
        fine(vec![lost()], vec![]);
    }

    #[test]
    fn heads_that_go_back_or_come_from_the_future_are_found() {
        let chain = || vec![link("a", &[]), link("b", &[])];
        let both = || vec![commit(0, 1, "a"), commit(2, 9, "b")];
        let with = |heads: &[Operation]| both().into_iter().chain(heads.iter().cloned()).collect::<Vec<_>>();
        fine(with(&[head(3, 4, "id-a"), head(5, 6, "id-b")]), chain());
        wrong(with(&[head(3, 4, "id-b"), head(5, 6, "id-a")]), chain(), "head", "was seen before");
        wrong(with(&[head(3, 4, "start")]), chain(), "head", "was seen before");
        wrong(with(&[head(0, 1, "id-b")]), chain(), "head", "only made later");
        wrong(with(&[head(0, 1, "elsewhere")]), chain(), "head", "not in the chain");
    }

    #[test]
    fn merges_add_what_their_branch_added() {
        let merge = |invoked, message: &str, pairs: &[(&str, Value)]| {
            let call = Call::Merge(message.into(), content(pairs));
            step(invoked, invoked + 1, call, Answer::Commit(format!("id-{message}")))
        };
        let both = || vec![merge(0, "m1", &[("a", 1), ("b", 2)]), merge(2, "m2", &[("c", 3)])];
        let first = link("m1", &[("a", 1), ("b", 2)]);
        let second = link("m2", &[("a", 1), ("b", 2), ("c", 3)]);
        fine(both(), vec![first.clone(), second.clone()]);
        wrong(both(), vec![link("m1", &[("a", 1)]), second.clone()], "merge", "lacks [b=v2]");
        wrong(both(), vec![first.clone(), link("m2", &[("c", 3)])], "merge", "lacks [a=v1 b=v2]");
        let list = |pairs: &[(&str, Value)]| step(4, 5, Call::List, Answer::Content(content(pairs)));
        let with = |list| both().into_iter().chain([list]).collect::<Vec<_>>();
        fine(with(list(&[("a", 1), ("b", 2), ("c", 3)])), vec![first.clone(), second.clone()]);
        wrong(with(list(&[("a", 1), ("b", 2)])), vec![first, second], "merge", "no commit of the time");
    }

    #[test]
    fn writes_are_conserved() {
        let put = |answer| step(0, 1, Call::Put("k".into(), 1, Expected::Anything), answer);
        let list = |pairs: &[(&str, Value)]| step(8, 9, Call::List, Answer::Content(content(pairs)));
        fine(vec![put(Answer::Done), list(&[("k", 1)])], vec![]);
        wrong(vec![put(Answer::Done), list(&[])], vec![], "conservation", "nowhere");
        // Of two writes at the same time the one that ends first may be the one that remains.
        let long = step(0, 5, Call::Put("k".into(), 2, Expected::Anything), Answer::Done);
        fine(vec![put(Answer::Done), long, list(&[("k", 1)])], vec![]);
        wrong(vec![put(Answer::Refused), list(&[("k", 1)])], vec![], "conservation", "refused write");
        let commits = [commit(2, 3, "a"), commit(4, 5, "b"), commit(6, 7, "c")];
        let operations = [put(Answer::Done)].into_iter().chain(commits).collect::<Vec<_>>();
        let back = vec![link("a", &[("k", 1)]), link("b", &[]), link("c", &[("k", 1)])];
        wrong(operations, back, "conservation", "in one after that");
    }
}
