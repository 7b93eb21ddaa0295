//! Some hundreds of seeds; `make sim` runs thousands.

use millpond_sim::{Plan, run};

#[test]
fn no_seed_breaks_a_rule() {
    let mut done = 0;
    for seed in 0..200 {
        match run(seed, &Plan::of(seed)) {
            Ok(report) => done += report.acknowledged,
            Err(failure) => panic!("{failure}\nagain: make sim SEED={seed}"),
        }
    }
    assert!(done > 10_000, "only {done} changes were acknowledged: the histories are too tame");
}

#[test]
fn the_same_seed_takes_the_same_course() {
    let mut courses = std::collections::BTreeSet::new();
    for seed in 1_000..1_020 {
        let plan = Plan::of(seed);
        let (one, two) = (run(seed, &plan).unwrap(), run(seed, &plan).unwrap());
        assert_eq!(one.trace, two.trace, "seed {seed} took two courses");
        assert_eq!((one.steps, one.nanos), (two.steps, two.nanos));
        courses.insert(one.trace);
    }
    assert_eq!(courses.len(), 20, "every seed takes a course of its own");
}
