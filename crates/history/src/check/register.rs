//! Rule "register": each key that several clients write behaves as if its operations happened one after the
//! other, each at some moment between its call and its answer.
//!
//! Every key is judged alone (linearizability is local), by a depth-first search over the orders that the
//! intervals allow, with the states already met remembered (Wing and Gong, with Lowe's memory). Commits take
//! part: what a commit holds at the key is a read at a moment within the commit.

use crate::event::{Answer, Call, Expected, History, Key, Moment, Operation, Value, Violation};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Lines of a picture beyond which no smaller one is searched.
const SHRUNK_MAX: usize = 400;

/// What one operation means for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Write(Option<Value>),
    Read(Option<Value>),
    /// A write that went through.
    Accepted(Expected, Value),
    /// A write whose condition did not hold.
    Refused(Expected),
    /// A conditional write that nobody knows the outcome of.
    Perhaps(Expected, Value),
}

/// An operation on one key.
#[derive(Clone, Debug)]
struct Step {
    invoked: Moment,
    ended: Moment,
    action: Action,
    /// Whether it surely happened.
    certain: bool,
    shown: Operation,
}

impl Step {
    fn read(&self) -> Option<Value> {
        if let Action::Read(found) = self.action { found } else { None }
    }
    fn wrote(&self) -> Option<Value> {
        match self.action {
            Action::Write(value) => value,
            Action::Accepted(_, value) | Action::Perhaps(_, value) => Some(value),
            Action::Read(_) | Action::Refused(_) => None,
        }
    }
}

/// Judges all keys that have no owner.
pub fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    for key in keys(history) {
        let steps = steps(history, &key);
        let start = history.start.get(&key).copied();
        if !is_linearizable(&steps, &[start]) {
            let mut piece = smallest(&steps, start);
            // Who wrote what is read, however long before.
            let read: Vec<Value> = piece.iter().filter_map(|step| step.read()).collect();
            let is_new = |step: &&Step| !piece.iter().any(|shown| shown.shown.call == step.shown.call);
            let writers = steps.iter().filter(|step| step.wrote().is_some_and(|value| read.contains(&value)));
            let writers: Vec<Step> = writers.filter(is_new).cloned().collect();
            piece.extend(writers);
            let shown: Vec<&Operation> = piece.iter().map(|step| &step.shown).collect();
            let sentence = format!("no order of these operations on '{key}' explains their answers:");
            violations.push(Violation::new("register", sentence, &shown));
        }
    }
    violations
}

fn keys(history: &History) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    for operation in &history.operations {
        match &operation.call {
            Call::Put(key, ..) | Call::Get(key) => {
                keys.insert(key.clone());
            }
            Call::Delete(several) => keys.extend(several.iter().cloned()),
            _ => {}
        }
        if let Answer::Content(content) = &operation.answer {
            keys.extend(content.keys().cloned());
        }
    }
    keys.extend(history.chain.iter().flat_map(|link| link.content.keys().cloned()));
    // Other rules judge keys with one writer, and those that only merges bring.
    keys.retain(|key| !history.owned.values().any(|prefix| key.starts_with(prefix)));
    for operation in &history.operations {
        if let Call::Merge(_, added) = &operation.call {
            keys.retain(|key| !added.contains_key(key));
        }
    }
    keys
}

fn steps(history: &History, key: &str) -> Vec<Step> {
    let committed: BTreeMap<&str, Option<Value>> =
        history.chain.iter().map(|link| (link.message.as_str(), link.content.get(key).copied())).collect();
    let mut steps = Vec::new();
    for operation in &history.operations {
        let unknown = operation.answer == Answer::Unknown;
        let action = match (&operation.call, &operation.answer) {
            (Call::Put(k, ..), _) if k != key => continue,
            (Call::Put(_, _, expected), Answer::Refused) => Action::Refused(*expected),
            (Call::Put(_, value, Expected::Anything), _) => Action::Write(Some(*value)),
            (Call::Put(_, value, expected), Answer::Unknown) => Action::Perhaps(*expected, *value),
            (Call::Put(_, value, expected), _) => Action::Accepted(*expected, *value),
            (Call::Delete(keys), answer) if *answer != Answer::Refused && keys.iter().any(|k| k == key) => {
                Action::Write(None)
            }
            (Call::Get(k), Answer::Value(found)) if k == key => Action::Read(*found),
            (Call::List, Answer::Content(content)) => Action::Read(content.get(key).copied()),
            (Call::Commit(message), _) => match committed.get(message.as_str()) {
                Some(found) => Action::Read(*found),
                None => continue,
            },
            _ => continue,
        };
        let is_read = matches!(action, Action::Read(_));
        let mut shown = operation.clone();
        if let (true, Action::Read(found)) = (is_read && !matches!(operation.call, Call::Get(_)), action) {
            // Of a view of everything only this key matters here.
            shown.answer = Answer::Content(found.map(|value| (key.to_owned(), value)).into_iter().collect());
        }
        steps.push(Step {
            invoked: operation.invoked,
            ended: operation.ended,
            action,
            certain: is_read || !unknown,
            shown,
        });
    }
    steps
}

/// The state after a step, if the step fits the state.
fn after(state: Option<Value>, action: Action) -> Option<Option<Value>> {
    let holds = |expected| match expected {
        Expected::Anything => true,
        Expected::Nothing => state.is_none(),
        Expected::Exactly(value) => state == Some(value),
    };
    match action {
        Action::Write(value) => Some(value),
        Action::Read(value) => (state == value).then_some(state),
        Action::Accepted(expected, value) => holds(expected).then_some(Some(value)),
        Action::Refused(expected) => (!holds(expected)).then_some(state),
        Action::Perhaps(expected, value) => Some(if holds(expected) { Some(value) } else { state }),
    }
}

/// Whether the steps can be put in an order that explains them, from one of these states.
fn is_linearizable(steps: &[Step], starts: &[Option<Value>]) -> bool {
    starts.iter().any(|start| search(steps, *start))
}

fn search(steps: &[Step], start: Option<Value>) -> bool {
    // Calls and ends in order of time; at the same moment ends come last, which allows more. What is not
    // certain has no end: nothing forces it to have happened.
    let mut events: Vec<(Moment, bool, usize)> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        events.push((step.invoked, false, index));
        if step.certain {
            events.push((step.ended, true, index));
        }
    }
    events.sort_unstable();
    let (mut call_at, mut end_at) = (vec![0; steps.len()], vec![0; steps.len()]);
    for (at, (_, is_end, index)) in events.iter().enumerate() {
        (if *is_end { &mut end_at } else { &mut call_at })[*index] = at + 1;
    }
    let mut list = List::new(events.len());
    let mut left = steps.iter().filter(|step| step.certain).count();
    let mut taken = vec![0_u64; steps.len().div_ceil(64)];
    let mut met: HashSet<(Vec<u64>, Option<Value>)> = HashSet::new();
    let mut stack: Vec<(usize, Option<Value>, Moment)> = Vec::new();
    // The order found so far has come to this moment.
    let (mut state, mut floor) = (start, 0);
    let mut at = list.first();
    while left > 0 {
        let event = at.checked_sub(1).and_then(|at| events.get(at)).copied();
        if let Some((invoked, false, index)) = event {
            let step = &steps[index];
            if floor <= step.ended
                && let Some(new) = after(state, step.action)
            {
                taken[index / 64] |= 1 << (index % 64);
                if met.insert((taken.clone(), new)) {
                    stack.push((index, state, floor));
                    (state, floor) = (new, floor.max(invoked));
                    left -= usize::from(step.certain);
                    list.lift(call_at[index]);
                    list.lift(end_at[index]);
                    at = list.first();
                    continue;
                }
                taken[index / 64] &= !(1 << (index % 64));
            }
            at = list.after(at);
            continue;
        }
        // The end of a step that is not in the order yet, or no event at all: the last choice was wrong.
        let Some((index, state_before, floor_before)) = stack.pop() else { return false };
        (state, floor) = (state_before, floor_before);
        left += usize::from(steps[index].certain);
        taken[index / 64] &= !(1 << (index % 64));
        list.put_back(end_at[index]);
        list.put_back(call_at[index]);
        at = list.after(call_at[index]);
    }
    true
}

/// A doubly linked list of the numbers from 1, out of which members are lifted and into which they are put
/// back in the opposite order. 0 is its head, and "no member" for `lift` and `put_back`.
struct List {
    next: Vec<usize>,
    previous: Vec<usize>,
}

impl List {
    fn new(count: usize) -> Self {
        Self {
            next: (1..=count + 2).collect(),
            previous: (0..=count + 1).map(|at| at.saturating_sub(1)).collect(),
        }
    }
    fn first(&self) -> usize {
        self.next[0]
    }
    fn after(&self, at: usize) -> usize {
        self.next[at]
    }
    fn lift(&mut self, at: usize) {
        if at != 0 {
            let (previous, next) = (self.previous[at], self.next[at]);
            (self.next[previous], self.previous[next]) = (next, previous);
        }
    }
    fn put_back(&mut self, at: usize) {
        if at != 0 {
            let (previous, next) = (self.previous[at], self.next[at]);
            (self.next[previous], self.previous[next]) = (at, at);
        }
    }
}

/// A small piece of steps that no order explains: the shortest beginning of the history that is wrong, less its
/// own beginning where any state at that point would do, less what does not matter.
fn smallest(steps: &[Step], start: Option<Value>) -> Vec<Step> {
    let mut ends: Vec<Moment> = steps.iter().filter(|step| step.certain).map(|step| step.ended).collect();
    ends.sort_unstable();
    let (mut good, mut bad) = (0, ends.len().saturating_sub(1));
    while good < bad {
        let middle = usize::midpoint(good, bad);
        if is_linearizable(&upto(steps, ends[middle]), &[start]) { good = middle + 1 } else { bad = middle }
    }
    let mut piece = upto(steps, ends[bad]);
    piece.sort_by_key(|step| step.invoked);
    let mut starts = BTreeSet::from([start]);
    // The later beginnings are tried first; each is tried once.
    let cuts: Vec<Moment> = piece.iter().rev().map(|step| step.invoked).collect();
    let everything = values(&piece, start);
    for cut in cuts.into_iter().take(SHRUNK_MAX) {
        let tail: Vec<Step> = piece.iter().filter(|step| step.ended >= cut).cloned().collect();
        if !is_linearizable(&tail, &everything) {
            (piece, starts) = (tail, everything.iter().copied().collect());
            break;
        }
    }
    let starts: Vec<Option<Value>> = starts.into_iter().collect();
    let mut at = 0;
    while at < piece.len() && piece.len() <= SHRUNK_MAX {
        let mut fewer = piece.clone();
        let removed = fewer.remove(at);
        if is_explained_without(&removed, &fewer) && !is_linearizable(&fewer, &starts) {
            piece = fewer;
        } else {
            at += 1;
        }
    }
    piece
}

/// The history as far as a moment: reads without an answer tell nothing, writes may have happened.
fn upto(steps: &[Step], end: Moment) -> Vec<Step> {
    let mut cut = Vec::new();
    for step in steps.iter().filter(|step| step.invoked <= end) {
        let action = match step.action {
            _ if step.ended <= end => step.action,
            Action::Read(_) | Action::Refused(_) => continue,
            Action::Accepted(expected, value) => Action::Perhaps(expected, value),
            action => action,
        };
        cut.push(Step { action, certain: step.certain && step.ended <= end, ..step.clone() });
    }
    cut
}

/// Every content that the key can have had.
fn values(steps: &[Step], start: Option<Value>) -> Vec<Option<Value>> {
    let mut values = BTreeSet::from([None, start]);
    for step in steps {
        match step.action {
            Action::Write(value) | Action::Read(value) => {
                values.insert(value);
            }
            Action::Accepted(_, value) | Action::Perhaps(_, value) => {
                values.insert(Some(value));
            }
            Action::Refused(_) => {}
        }
    }
    values.into_iter().collect()
}

/// Whether a step may be left out of a picture: what remains does not speak of what it wrote.
fn is_explained_without(removed: &Step, others: &[Step]) -> bool {
    let wrote = match removed.action {
        Action::Read(_) | Action::Refused(_) => return true,
        Action::Write(value) => value,
        Action::Accepted(_, value) | Action::Perhaps(_, value) => Some(value),
    };
    others.iter().all(|other| match other.action {
        Action::Read(found) => found != wrote,
        Action::Refused(_) | Action::Accepted(..) => false,
        Action::Write(_) | Action::Perhaps(..) => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ChainLink, NEVER};

    fn step(invoked: Moment, ended: Moment, call: Call, answer: Answer) -> Operation {
        Operation { client: 0, call, invoked, ended, answer }
    }
    fn put(invoked: Moment, ended: Moment, value: Value) -> Operation {
        step(invoked, ended, Call::Put("k".into(), value, Expected::Anything), Answer::Done)
    }
    fn create(invoked: Moment, ended: Moment, value: Value, answer: Answer) -> Operation {
        step(invoked, ended, Call::Put("k".into(), value, Expected::Nothing), answer)
    }
    fn get(invoked: Moment, ended: Moment, found: Option<Value>) -> Operation {
        step(invoked, ended, Call::Get("k".into()), Answer::Value(found))
    }
    fn delete(invoked: Moment, ended: Moment) -> Operation {
        step(invoked, ended, Call::Delete(vec!["k".into()]), Answer::Done)
    }
    fn found(operations: Vec<Operation>) -> Vec<Violation> {
        check(&History { operations, ..History::default() })
    }
    #[track_caller]
    fn fine(operations: Vec<Operation>) {
        let found = found(operations);
        assert!(found.is_empty(), "{}", found[0].story);
    }
    #[track_caller]
    fn wrong(operations: Vec<Operation>) -> String {
        found(operations).pop().expect("a violation").story
    }

    #[test]
    fn what_overlaps_may_have_any_order() {
        fine(vec![put(0, 10, 1), put(5, 15, 2), get(16, 17, Some(1)), get(18, 19, Some(1))]);
        fine(vec![put(0, 10, 1), put(5, 15, 2), get(6, 8, Some(2)), get(9, 10, Some(1))]);
        fine(vec![put(0, 10, 1), get(1, 2, None), get(3, 4, Some(1))]);
    }

    #[test]
    fn a_stale_read_is_found() {
        wrong(vec![put(0, 1, 1), put(2, 3, 2), get(4, 5, Some(1))]);
        wrong(vec![put(0, 1, 1), get(2, 3, None)]);
    }

    #[test]
    fn a_read_that_goes_back_in_time_is_found() {
        wrong(vec![put(0, 1, 1), put(2, 9, 2), get(3, 4, Some(2)), get(5, 6, Some(1))]);
    }

    #[test]
    fn a_value_that_comes_back_is_found() {
        wrong(vec![put(0, 1, 1), delete(2, 3), get(4, 5, None), get(6, 7, Some(1))]);
    }

    #[test]
    fn a_value_that_nobody_wrote_is_found() {
        wrong(vec![get(0, 1, Some(9))]);
        wrong(vec![put(0, 1, 1), create(2, 3, 2, Answer::Refused), get(4, 5, Some(2))]);
    }

    #[test]
    fn of_two_creations_one_wins() {
        fine(vec![create(0, 9, 1, Answer::Done), create(1, 8, 2, Answer::Refused)]);
        wrong(vec![create(0, 9, 1, Answer::Done), create(1, 8, 2, Answer::Done)]);
    }

    #[test]
    fn a_refusal_without_a_reason_is_found() {
        wrong(vec![create(0, 1, 1, Answer::Refused)]);
        wrong(vec![put(0, 1, 1), delete(2, 3), create(4, 5, 2, Answer::Refused)]);
        let swap = |answer| step(4, 5, Call::Put("k".into(), 3, Expected::Exactly(2)), answer);
        fine(vec![put(0, 1, 1), put(2, 3, 2), swap(Answer::Done), get(6, 7, Some(3))]);
        wrong(vec![put(0, 1, 1), put(2, 3, 2), swap(Answer::Refused)]);
        wrong(vec![put(0, 1, 2), put(2, 3, 1), swap(Answer::Done)]);
    }

    #[test]
    fn without_an_answer_it_happened_once_or_not_at_all_and_not_too_late() {
        let lost = |ended| step(0, ended, Call::Put("k".into(), 1, Expected::Anything), Answer::Unknown);
        fine(vec![lost(NEVER), get(5, 6, None), get(7, 8, Some(1))]);
        fine(vec![lost(NEVER), get(5, 6, None), get(7, 8, None)]);
        wrong(vec![lost(NEVER), get(5, 6, Some(1)), get(7, 8, None)]);
        fine(vec![lost(5), get(1, 2, Some(1)), get(7, 8, Some(1))]);
        wrong(vec![lost(5), get(6, 7, None), get(8, 9, Some(1))]);
    }

    #[test]
    fn a_commit_reads_at_a_moment_within_it() {
        let commit = step(4, 7, Call::Commit("c".into()), Answer::Commit("id".into()));
        let judge = |content: &[(&str, Value)], operations: Vec<Operation>| {
            let content = content.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
            let link = ChainLink { id: "id".into(), message: "c".into(), content };
            check(&History { operations, chain: vec![link], ..History::default() }).len()
        };
        assert_eq!(judge(&[("k", 1)], vec![put(0, 1, 1), put(5, 6, 2), commit.clone()]), 0);
        assert_eq!(judge(&[("k", 2)], vec![put(0, 1, 1), put(5, 6, 2), commit.clone()]), 0);
        assert_eq!(judge(&[("k", 1)], vec![put(0, 1, 1), put(2, 3, 2), commit.clone()]), 1);
        assert_eq!(judge(&[("k", 2)], vec![put(0, 1, 1), commit, put(8, 9, 2)]), 1);
    }

    #[test]
    fn the_picture_holds_what_matters() {
        let mut operations: Vec<Operation> = (0..200).map(|n| put(n * 10, n * 10 + 1, n)).collect();
        operations.push(get(1_005, 1_006, Some(98)));
        let story = wrong(operations);
        assert!(story.contains("get k -> v98") && story.contains("put k = v98"), "{story}");
        assert!(story.lines().count() <= 5, "{story}");
    }

    #[test]
    fn long_histories_are_judged_quickly() {
        let mut operations = Vec::new();
        for n in 0..3_000 {
            let mut one = put(n * 10, n * 10 + 35, n);
            one.client = (n % 4) as usize;
            operations.push(one);
        }
        operations.push(get(40_000, 40_001, Some(2_999)));
        fine(operations);
    }
}
