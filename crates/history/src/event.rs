//! What was called and answered, as clients saw it: the only thing that the checks know.

use std::collections::BTreeMap;

/// A path on the branch.
pub type Key = String;
/// The content of an object. No two writes of a history have the same.
pub type Value = u64;
/// Everything that a branch or commit shows.
pub type Content = BTreeMap<Key, Value>;
/// Nanoseconds since the start of the episode.
pub type Moment = u64;

/// The moment after all others.
pub const NEVER: Moment = Moment::MAX;

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Anything.
    Anything,
    /// No object (`If-None-Match: *`).
    Nothing,
    /// This content (`If-Match`).
    Exactly(Value),
}

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Write an object.
    Put(Key, Value, Expected),
    /// Delete objects in one call.
    Delete(Vec<Key>),
    /// Read an object.
    Get(Key),
    /// List the whole branch, staging included.
    List,
    /// Commit; the message is the commit's name in this history.
    Commit(String),
    /// Merge another branch in: the message, which names the merge, and what that branch adds.
    Merge(String, Content),
    /// Read where the branch's head is.
    Head,
}

/// What the client learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was done.
    Done,
    /// A condition did not hold, and nothing was done.
    Refused,
    /// There was nothing to commit.
    NoChanges,
    /// The object's content, if there is one.
    Value(Option<Value>),
    /// What the branch shows.
    Content(Content),
    /// The id of the commit made, or of the head.
    Commit(String),
    /// No answer: it happened between the two moments or not at all.
    Unknown,
}

/// One call and its answer.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Who called. A client makes one call at a time.
    pub client: usize,
    /// What.
    pub call: Call,
    /// When the first request for it was sent.
    pub invoked: Moment,
    /// When the answer was there; without an answer, the latest moment at which it can have happened.
    pub ended: Moment,
    /// What came back.
    pub answer: Answer,
}

/// A commit of the branch's first-parent chain, read after everything was over.
#[derive(Clone, Debug)]
pub struct ChainLink {
    /// Its id.
    pub id: String,
    /// Its message.
    pub message: String,
    /// All that it holds.
    pub content: Content,
}

/// What happened on one branch.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// In any order.
    pub operations: Vec<Operation>,
    /// Oldest first, from the first commit after the branch's start.
    pub chain: Vec<ChainLink>,
    /// Where the branch started.
    pub start_head: String,
    /// What it showed then.
    pub start: Content,
    /// What each client's own keys begin with: nobody else writes those.
    pub owned: BTreeMap<usize, String>,
}

/// A promise that was not kept.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which promise.
    pub rule: &'static str,
    /// What is wrong, with the operations that show it as a time-line.
    pub story: String,
}

impl Violation {
    /// A violation that a sentence tells.
    pub fn new(rule: &'static str, sentence: impl Into<String>, operations: &[&Operation]) -> Self {
        let mut story = sentence.into();
        if !operations.is_empty() {
            story.push('\n');
            story.push_str(&crate::picture::time_line(operations));
        }
        Self { rule, story }
    }
}

impl Operation {
    /// Whether it may have changed something.
    pub fn writes(&self) -> bool {
        matches!(self.call, Call::Put(..) | Call::Delete(_)) && self.answer != Answer::Refused
    }
}
