//! The checks can fail: each planted defect is found within a few seeds, and told as what it is.

use millpond_sim::stores::Bug;
use millpond_sim::{Plan, run};

/// What is said about the first seed in which a planted defect shows.
fn found(bug: Bug) -> String {
    for seed in 0..400 {
        let mut plan = Plan::of(seed);
        // Nothing else goes wrong but what has to for the defect to matter.
        plan.crashes = true;
        plan.takeovers = true;
        plan.dropped = 0;
        plan.faults = millpond_sim::stores::Faults { bug: Some(bug), ..Default::default() };
        if let Err(failure) = run(seed, &plan) {
            assert!(failure.picture.contains("server 1 is up"), "the picture shows the history");
            return failure.what.clone();
        }
    }
    panic!("{bug:?} was not found")
}

#[test]
fn a_metadata_store_that_answers_too_early_is_found() {
    let what = found(Bug::KvAcknowledgesEarly);
    // Lost outright, or a hole in the journal where it was, or decided again after it seemed lost.
    let tells = ["acknowledged", "a row is missing", "never was", "has ended before"];
    assert!(tells.iter().any(|words| what.contains(words)), "{what}");
}

#[test]
fn a_metadata_store_that_ignores_preconditions_is_found() {
    found(Bug::KvIgnoresPreconditions);
}

#[test]
fn a_metadata_store_that_tears_batches_is_found() {
    found(Bug::KvTearsBatches);
}

#[test]
fn an_object_store_that_answers_too_early_is_found() {
    found(Bug::BlobsAcknowledgeEarly);
}

#[test]
fn a_lost_pack_is_found() {
    let what = found(Bug::BlobsForgetAPack);
    assert!(
        what.contains("missing") || what.contains("does not exist") || what.contains("No data"),
        "{what}"
    );
}

#[test]
fn a_blob_read_as_another_is_found() {
    found(Bug::BlobsMixUpReads);
}
