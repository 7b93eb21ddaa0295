//! Where nodes end. Part of the format: any change here changes every tree id.
//!
//! A node ends after a key when a seeded hash of that key is below a threshold that grows with the number of
//! keys since the last end. Only keys take part, so an update never moves a boundary; only the distance takes
//! part beside them, so an insert or delete moves at most the boundaries next to it. The growing hazard
//! (Weibull, shape 4) keeps sizes near the target: 1 % of leaves hold fewer than 358 entries and 1 % more than
//! 1,654, where a constant threshold would give 10 and 4,700 (`engine.md` 3.2).
//!
//! The table is a polynomial in exact integers rather than floating point, so that every machine and every
//! later version agrees on it: `T[x] = SCALE * (x^4 - (x-1)^4)`. The scales were chosen so that the mean node
//! size is the target (computed over the discrete distribution, error below 0.001 keys).

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The most entries a leaf can hold, 2.5 times the mean of 1,024.
pub(crate) const LEAF_ENTRIES_MAX: u64 = 2_560;
/// The most children an inner node can hold, 2.5 times the mean of 256.
pub(crate) const INNER_CHILDREN_MAX: u64 = 640;

const LEAF_SCALE: u64 = 11_333_593;
const INNER_SCALE: u64 = 2_908_678_038;

/// `"millpond"` in ASCII; levels are told apart by multiples of an odd constant.
const SEED: u64 = 0x6d69_6c6c_706f_6e64;
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

const fn thresholds<const N: usize>(scale: u64) -> [u64; N] {
    let mut table = [0; N];
    let mut i = 0;
    while i < N {
        let x = i as u64 + 1;
        table[i] = scale * (x * x * x * x - (x - 1) * (x - 1) * (x - 1) * (x - 1));
        i += 1;
    }
    // A node of the greatest size ends whatever the hash says.
    table[N - 1] = u64::MAX;
    table
}

static LEAF: [u64; LEAF_ENTRIES_MAX as usize] = thresholds(LEAF_SCALE);
static INNER: [u64; INNER_CHILDREN_MAX as usize] = thresholds(INNER_SCALE);

/// Decides, key after key, where the nodes of one level end.
pub(crate) struct Chunker {
    table: &'static [u64],
    seed: u64,
    since: usize,
}

impl Chunker {
    /// Starts at the beginning of a node of this level; 0 is the leaves.
    pub(crate) fn new(level: u8) -> Self {
        let table: &[u64] = if level == 0 { &LEAF } else { &INNER };
        Self { table, seed: SEED.wrapping_add(u64::from(level).wrapping_mul(SEED_STEP)), since: 0 }
    }

    /// In the middle of a node that has this many keys so far.
    pub(crate) fn within(level: u8, since: usize) -> Self {
        Self { since, ..Self::new(level) }
    }

    /// Takes the next key and says whether the node ends after it.
    pub(crate) fn ends_after(&mut self, key: &[u8]) -> bool {
        let last = self.since + 1 == self.table.len();
        let ends = last || xxh3_64_with_seed(key, self.seed) < self.table[self.since];
        self.since = if ends { 0 } else { self.since + 1 };
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A golden test: these numbers are the format. They were computed by a second implementation (Python).
    #[test]
    fn thresholds_are_the_ones_of_version_1() {
        let at = |x: usize| LEAF[x - 1];
        assert_eq!((at(1), at(2), at(3)), (11_333_593, 170_003_895, 736_683_545));
        assert_eq!(at(1_024), 48_606_152_890_556_455);
        assert_eq!(at(2_559), 759_248_398_458_767_945);
        assert_eq!(at(2_560), u64::MAX);
        assert_eq!((INNER[0], INNER[1]), (2_908_678_038, 43_630_170_570));
        assert_eq!(INNER[255], 194_057_315_706_171_498);
        assert_eq!((INNER[638], INNER[639]), (3_028_576_960_815_591_990, u64::MAX));
        let mut sum = 0u64;
        for t in LEAF.iter().chain(&INNER) {
            sum = sum.wrapping_mul(31).wrapping_add(*t);
        }
        assert_eq!(sum, 3_368_174_297_732_289_133, "digest of both tables");
    }

    #[test]
    fn boundaries_are_the_ones_of_version_1() {
        for (level, expected) in
            [(0, [1404, 2523, 3923, 4968]), (1, [246, 476, 615, 809]), (2, [236, 513, 609, 935])]
        {
            let mut chunker = Chunker::new(level);
            let ends: Vec<u32> = (0..6_000u32)
                .filter(|i| chunker.ends_after(format!("key/{i:06}").as_bytes()))
                .take(4)
                .collect();
            assert_eq!(ends, expected, "level {level}");
        }
    }

    #[test]
    fn node_sizes_stay_near_the_target() {
        let mut chunker = Chunker::new(0);
        let count = (0..400_000u32).filter(|i| chunker.ends_after(&i.to_be_bytes())).count();
        let mean = 400_000 / count;
        assert!((950..1_100).contains(&mean), "mean leaf size is {mean}");
    }

    #[test]
    fn no_node_outgrows_the_cap() {
        // Of a hundred keys the one with the largest hash never ends a node by itself.
        let mut chunker = Chunker::new(0);
        let key =
            (0u32..100).map(|i| i.to_be_bytes()).max_by_key(|k| xxh3_64_with_seed(k, SEED)).expect("some");
        let sizes: Vec<usize> = (1..=5_120).filter(|_| chunker.ends_after(&key)).collect();
        assert_eq!(sizes, [2_560, 5_120]);
    }
}
