//! Tests of trees against a model simple enough to be obviously right: a `BTreeMap`.

mod diff;
mod golden;
mod histories;
mod hostile;
mod merge;
mod pack;
mod reading;
mod support;
