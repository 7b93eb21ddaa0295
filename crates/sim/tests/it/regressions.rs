//! Seeds that once broke a rule, with what it was. A seed means the same only while plans and clients are drawn
//! in the same way, so each of these defects has a test of its own in the crate that it was in; here they stay
//! because what was near a defect once is a good place to look again.

use millpond_sim::{Plan, run};

#[test]
fn seeds_that_found_something() {
    for (seed, what) in [
        (1114, "a write was refused because of a deletion that was not durable yet"),
        (1406, "a fenced server called its successor's tree damaged"),
        (1431, "an upload was aborted, but the answer was busy"),
        (1506, "the generation of a squash merge counted a parent that it does not have"),
        (1942, "an undo was made, but the answer was busy"),
        (39, "a check called a node missing whose pack came late"),
        (116, "a check did not know the rule of an import that had ended meanwhile"),
        (568, "a check called the index of packs wrong because it could not read a node"),
        (634, "a backup wrote to a metadata store that had failed"),
        (900, "a backup's write failed, and the journal went on writing"),
        (1473, "a server went on writing after a failed checkpoint"),
    ] {
        if let Err(failure) = run(seed, &Plan::of(seed)) {
            panic!("{failure}\nthis seed was about: {what}");
        }
    }
}
