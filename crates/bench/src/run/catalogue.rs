//! What there is to measure: the name of each scenario, the work it does in one sentence, and how much of it.

use anyhow::{Result, bail};

/// A scenario, or a row of the load that comes before them.
#[derive(Debug)]
pub(super) struct Scenario {
    /// As `--only` takes it.
    pub name: &'static str,
    /// The work, for the reader of the report.
    pub what: &'static str,
    /// Whether it works on the repository with the N objects.
    pub needs_load: bool,
}

const fn on_load(name: &'static str, what: &'static str) -> Scenario {
    Scenario { name, what, needs_load: true }
}

const fn alone(name: &'static str, what: &'static str) -> Scenario {
    Scenario { name, what, needs_load: false }
}

/// The rows of the load.
const LOAD: &[Scenario] = &[
    on_load("load", "S3 CopyObject of one of 64 small objects to each of N keys, in key order, 64 clients"),
    on_load("commit-load", "one commit of everything loaded (staged before)"),
    on_load("load-import", "import of N listed local files instead, as the scenario `import` does it"),
];

/// The scenarios in the order in which they run.
#[rustfmt::skip]
pub(super) const SCENARIOS: &[Scenario] = &[
    on_load("stat-64", "statObject of random objects of the N by commit id, 64 clients"),
    on_load("stat-1", "the same, 1 client"),
    on_load("stage-64", "staged metadata write (link): S3 CopyObject within the repository onto new keys, 64 clients"),
    on_load("stage-1", "the same, 1 client"),
    on_load("stage-api-64", "the same by copyObject of the JSON API, 64 clients"),
    on_load("put-4k-64", "S3 PUT of 4,096 bytes of new content, unsigned payload, 64 clients"),
    on_load("put-4k-1", "the same, 1 client"),
    on_load("get-4k-64", "S3 GET of 4,096 bytes by commit id, random out of 10,000 objects, 64 clients"),
    on_load("get-4k-1", "the same, 1 client"),
    on_load("put-64m-unsigned", "S3 PUT of 64 MiB of new content, unsigned payload, 1 client; the client signs and frames outside the time"),
    on_load("put-64m-trailer", "the same in unsigned chunks with a CRC-32 trailer"),
    on_load("put-64m-signed", "the same with the signed SHA-256 of the whole body"),
    on_load("put-64m-chunks", "the same in signed chunks of 64 KiB"),
    on_load("get-64m", "S3 GET of 64 MiB from the page cache, block CRCs checked, 1 client"),
    on_load("commit-1", "commit of 1 change to one of the N objects, staged before, 1 client"),
    on_load("commit-100", "commit of 100 changes scattered over the N objects, staged before, 1 client"),
    on_load("commit-1000", "commit of 1,000 changes scattered over the N objects, staged before, 1 client"),
    on_load("diff-1", "two-dot diff of such a commit of 1 change with its parent, 1 client"),
    on_load("diff-100", "two-dot diff of such a commit of 100 changes with its parent, all on one page, 1 client"),
    on_load("diff-1000", "two-dot diff of such a commit of 1,000 changes with its parent, all on one page, 1 client"),
    on_load("list-flat", "listObjects of the commit without delimiter, page after page of 1,000 keys, 1 client"),
    on_load("list-dirs", "listObjects with delimiter, 1,000 directories on one page, 1 client"),
    on_load("list-s3-flat", "S3 ListObjectsV2 of the commit, page after page of 1,000 keys, 1 client"),
    on_load("list-s3-dirs", "S3 ListObjectsV2 with delimiter, 1,000 directories on one page, 1 client"),
    on_load("branch-64", "createBranch from main, 64 clients"),
    on_load("merge-rounds-64", "rounds of createBranch from main, PUT, commit, merge back into main, 64 clients on the same main with the N objects; every merged object is then looked for"),
    on_load("restart", "resident memory after everything before; then start to the first stat of an object, after SIGKILL and after SIGTERM"),
    alone("import", "import of N listed local files into an empty repository of a fresh server; the files are hard links of tiny ones, made just before, so the directory is cached; entries are declared: no content is read"),
    alone("cli-upload", "`millpond cp -r` of 20,000 new files of 1 to 24 KiB (249 MB) and `millpond commit`, wall time of both commands"),
    alone("cli-again", "the same two commands after 1 % of the files was rewritten"),
];

/// The sentence of a scenario or of a row of the load.
pub(super) fn what(name: &str) -> &'static str {
    LOAD.iter().chain(SCENARIOS).find(|scenario| scenario.name == name).map_or("", |scenario| scenario.what)
}

/// The scenarios that the names choose; none chooses all. `commit` chooses `commit-1` and its siblings.
pub(super) fn select(names: &[String]) -> Result<Vec<&'static Scenario>> {
    let chosen = |scenario: &Scenario, name: &str| {
        scenario.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    for name in names {
        if !SCENARIOS.iter().any(|scenario| chosen(scenario, name)) {
            bail!("no scenario {name}; `millpond-bench list` names them");
        }
    }
    Ok(SCENARIOS
        .iter()
        .filter(|scenario| names.is_empty() || names.iter().any(|name| chosen(scenario, name)))
        .collect())
}

/// The scenarios, one a line.
pub fn list() -> String {
    SCENARIOS.iter().map(|Scenario { name, what, .. }| format!("{name:<18} {what}\n")).collect()
}

/// How much work a scenario is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amounts {
    /// Small objects that are put before the GET scenarios read them.
    pub small_objects: u64,
    /// Bytes of a large object.
    pub large_bytes: usize,
    /// Large objects put in each payload mode.
    pub large_rounds: u64,
    /// Commits of each size at most.
    pub commits_max: u64,
    /// Pages of a flat listing at most.
    pub pages_max: u64,
    /// Branches made at most.
    pub branches_max: u64,
    /// Merge rounds.
    pub merge_rounds: u64,
    /// Files of the command line's scenarios.
    pub files: u64,
    /// How often they are uploaded, each time into a new repository.
    pub uploads: u64,
}

impl Amounts {
    /// What the sentences say.
    pub const FULL: Self = Self {
        small_objects: 10_000,
        large_bytes: 64 << 20,
        large_rounds: 6,
        commits_max: 40,
        pages_max: 300,
        branches_max: 50_000,
        merge_rounds: 20_000,
        files: 20_000,
        uploads: 3,
    };
    /// Enough to see that each scenario works.
    pub const TINY: Self = Self {
        small_objects: 100,
        large_bytes: 1 << 20,
        large_rounds: 1,
        commits_max: 2,
        pages_max: 1,
        branches_max: 100,
        merge_rounds: 64,
        files: 200,
        uploads: 1,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str]) -> Vec<&'static str> {
        let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
        select(&only).expect("known").into_iter().map(|scenario| scenario.name).collect()
    }

    #[test]
    fn a_group_chooses_its_members_and_a_name_only_itself() {
        assert_eq!(names(&["commit"]), ["commit-1", "commit-100", "commit-1000"]);
        assert_eq!(names(&["commit-1", "stat"]), ["stat-64", "stat-1", "commit-1"]);
        assert_eq!(names(&[]).len(), SCENARIOS.len());
        assert!(select(&["comm".to_owned()]).is_err());
    }

    #[test]
    fn every_name_is_there_once() {
        let unique: std::collections::BTreeSet<&str> =
            LOAD.iter().chain(SCENARIOS).map(|scenario| scenario.name).collect();
        assert_eq!(unique.len(), LOAD.len() + SCENARIOS.len());
    }
}
