//! The engine through its public face, over memory stores.

#![allow(clippy::unwrap_used, missing_docs)]

mod adoption;
mod backup;
mod commit_records;
mod damage;
mod dumps;
mod failing;
mod faults;
mod fencing;
mod fsck;
mod gate;
mod golden_data;
mod imports;
mod jobs;
mod model;
mod objects;
mod protection;
mod pulls;
mod races;
mod refs;
mod regressions;
mod restart;
mod stress;
mod support;
mod uploads;
