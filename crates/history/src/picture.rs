//! Operations as a time-line: who called what, from when to when, in the order of the calls.

use crate::event::{Answer, Call, Expected, NEVER, Operation};

/// Columns of the time axis.
const COLUMNS: usize = 48;

/// One line an operation; the axis shows the order of beginnings and ends, not their distances.
pub fn time_line(operations: &[&Operation]) -> String {
    let mut moments: Vec<u64> = operations.iter().flat_map(|o| [o.invoked, o.ended]).collect();
    moments.sort_unstable();
    moments.dedup();
    let last = moments.len().saturating_sub(1).max(1);
    let column = |moment: u64| moments.binary_search(&moment).unwrap_or_default() * (COLUMNS - 1) / last;
    let mut ordered = operations.to_vec();
    ordered.sort_by_key(|o| (o.invoked, o.ended));
    let mut lines = Vec::new();
    for operation in ordered {
        let (from, to) = (column(operation.invoked), column(operation.ended));
        let mut axis = vec![' '; COLUMNS];
        axis[from..=to].fill('-');
        axis[from] = '[';
        axis[to] = if operation.answer == Answer::Unknown { '?' } else { ']' };
        let span = match operation.ended {
            NEVER => format!("{} us ..", operation.invoked / 1000),
            ended => format!("{}..{} us", operation.invoked / 1000, ended / 1000),
        };
        lines.push(format!(
            "  client {:>2} {} {}  {span}",
            operation.client,
            axis.into_iter().collect::<String>(),
            words(operation)
        ));
    }
    lines.join("\n")
}

/// A call and its answer in words.
pub fn words(operation: &Operation) -> String {
    let value = |value: Option<u64>| value.map_or("nothing".to_owned(), |value| format!("v{value}"));
    let call = match &operation.call {
        Call::Put(key, new, Expected::Anything) => format!("put {key} = v{new}"),
        Call::Put(key, new, Expected::Nothing) => format!("put {key} = v{new} if absent"),
        Call::Put(key, new, Expected::Exactly(old)) => format!("put {key} = v{new} if v{old}"),
        Call::Delete(keys) => format!("delete {}", keys.join(" ")),
        Call::Get(key) => format!("get {key}"),
        Call::List => "list".to_owned(),
        Call::Commit(message) => format!("commit {message}"),
        Call::Merge(message, _) => format!("merge {message}"),
        Call::Head => "head".to_owned(),
    };
    let answer = match &operation.answer {
        Answer::Done => "done".to_owned(),
        Answer::Refused => "refused".to_owned(),
        Answer::NoChanges => "no changes".to_owned(),
        Answer::Value(found) => value(*found),
        Answer::Content(content) => format!(
            "{{{}}}",
            content.iter().map(|(key, value)| format!("{key}=v{value}")).collect::<Vec<_>>().join(" ")
        ),
        Answer::Commit(id) => id.chars().take(8).collect(),
        Answer::Unknown => "?".to_owned(),
    };
    format!("{call} -> {answer}")
}
