//! What users set for a repository beside its metadata: which branches are protected, and for how long what is
//! no longer referred to is to be kept.
//!
//! Protection is judged in one place, [`Repo::decide_on`](crate::state::Repo::decide_on): every change of a
//! branch is decided with the repository's state that it gives (`docs/design/protection.md`).

use crate::{CollectionRules, Error, Kind, Result};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use millpond_types::limits::REPOSITORY_SETTINGS_BYTES_MAX;
use millpond_types::{BranchName, ContentHash, DecodeError, Reader, Writer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// All settings of a repository. Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Branches that only merges change.
    pub protection: Arc<Protection>,
    /// How long to keep what is no longer referred to; none if never set or taken away.
    pub collection: Option<Arc<CollectionRules>>,
}

/// Which branches are protected.
#[derive(Debug)]
pub struct Protection {
    patterns: BTreeSet<String>,
    /// `None`: a stored pattern does not compile any more. What cannot be judged is refused.
    globs: Option<GlobSet>,
}

impl Default for Protection {
    fn default() -> Self {
        Self { patterns: BTreeSet::new(), globs: Some(GlobSet::empty()) }
    }
}

impl PartialEq for Protection {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}
impl Eq for Protection {}

impl Protection {
    /// Rules as a user gives them.
    ///
    /// # Errors
    /// `Invalid` for a pattern that does not compile, `TooLarge` beyond the limit.
    pub fn new(patterns: BTreeSet<String>) -> Result<Self> {
        let bytes: usize = patterns.iter().map(String::len).sum();
        if bytes > REPOSITORY_SETTINGS_BYTES_MAX {
            return Err(Error::new(
                Kind::TooLarge,
                format!("the patterns have {bytes} bytes; the limit is {REPOSITORY_SETTINGS_BYTES_MAX}"),
            ));
        }
        let globs = compile(&patterns)?;
        Ok(Self { patterns, globs: Some(globs) })
    }

    /// The patterns, in order.
    pub fn patterns(&self) -> &BTreeSet<String> {
        &self.patterns
    }

    /// Names this set of rules: the same rules, the same text.
    pub fn etag(&self) -> String {
        let mut w = Writer::new();
        self.encode(&mut w);
        ContentHash::of(&w.finish()).to_hex()
    }

    fn covers(&self, branch: &BranchName) -> bool {
        !self.patterns.is_empty() && self.globs.as_ref().is_none_or(|globs| globs.is_match(branch.as_str()))
    }

    /// Refuses what protection forbids of a verb. A verb that is not named here is refused: who adds one has to
    /// decide.
    pub fn judge(&self, branch: &BranchName, verb: &str) -> Result<()> {
        let refused = match verb {
            // The way in, and the server's own upkeep, which changes nothing that anybody sees.
            "merge" | "fold" => return Ok(()),
            "commit" | "revert" | "cherry-pick" | "import" => "cannot commit to protected branch",
            "hard-reset" | "undo" => "protected branch",
            _ => "cannot write to protected branch",
        };
        if self.covers(branch) {
            return Err(Error::new(
                Kind::Protected,
                format!("{refused} '{branch}': change another branch and merge it"),
            ));
        }
        Ok(())
    }

    fn encode(&self, w: &mut Writer) {
        w.uint(self.patterns.len() as u64);
        for pattern in &self.patterns {
            // Length-prefixed, so that a later version can add fields to a rule.
            let mut rule = Writer::new();
            rule.text(pattern);
            w.bytes(&rule.finish());
        }
    }

    fn decode(r: &mut Reader) -> std::result::Result<Self, DecodeError> {
        let mut patterns = BTreeSet::new();
        for _ in 0..r.uint()? {
            patterns.insert(Reader::new(r.bytes()?).text()?);
        }
        let globs = compile(&patterns).ok();
        Ok(Self { patterns, globs })
    }
}

/// `*` any run, `?` one character, `[abc]`, `[!a-z]`, `{a,b}`, `\` escapes; nothing separates (API-21.2).
fn compile(patterns: &BTreeSet<String>) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern)
            .literal_separator(false)
            .backslash_escape(true)
            .empty_alternates(true)
            .build()
            .map_err(|error| refused(&format!("'{pattern}' is not a pattern: {}", error.kind())))?;
        set.add(glob);
    }
    set.build().map_err(|error| refused(&error.to_string()))
}

fn refused(why: &str) -> Error {
    Error::new(Kind::Invalid, format!("branch protection: {why}"))
}

impl Settings {
    /// Stored form.
    pub fn encode(&self, w: &mut Writer) {
        self.protection.encode(w);
        match &self.collection {
            None => {
                w.u8(0);
            }
            Some(rules) => {
                w.u8(1).int(rules.default_days).uint(rules.branches.len() as u64);
                for (branch, days) in &rules.branches {
                    w.text(branch).int(*days);
                }
            }
        }
    }

    /// The inverse of [`Settings::encode`].
    pub fn decode(r: &mut Reader) -> std::result::Result<Self, DecodeError> {
        let protection = Arc::new(Protection::decode(r)?);
        let collection = match r.u8()? {
            0 => None,
            1 => {
                let default_days = r.int()?;
                let mut branches = BTreeMap::new();
                for _ in 0..r.uint()? {
                    let branch = r.text()?;
                    branches.insert(branch, r.int()?);
                }
                Some(Arc::new(CollectionRules { default_days, branches }))
            }
            _ => return Err(DecodeError("unknown form of collection rules")),
        };
        Ok(Self { protection, collection })
    }

    /// About how many bytes they take.
    pub fn bytes(&self) -> usize {
        let patterns = self.protection.patterns.iter().map(|pattern| pattern.len() + 32).sum::<usize>();
        let rules = self.collection.iter().flat_map(|rules| rules.branches.keys());
        patterns + rules.map(|branch| branch.len() + 32).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protection(patterns: &[&str]) -> Result<Protection> {
        Protection::new(patterns.iter().map(|pattern| (*pattern).to_owned()).collect())
    }

    fn covered(pattern: &str, branch: &str) -> bool {
        let branch = BranchName::parse(branch).expect("a branch name");
        protection(&[pattern]).expect("a pattern").covers(&branch)
    }

    #[test]
    fn patterns_match_as_api_21_2_says() {
        let table = [
            ("main", "main", true),
            ("main", "main2", false),
            ("main", "Main", false),
            ("*", "anything-at_all", true),
            ("**", "anything-at_all", true),
            ("release*", "release", true),
            ("release*", "release-1", true),
            ("*-prod", "eu-prod", true),
            ("*-prod", "eu-prod2", false),
            ("a**b", "axyzb", true),
            ("**b", "axyzb", true),
            ("v?", "v1", true),
            ("v?", "v", false),
            ("v?", "v12", false),
            ("v[123]", "v2", true),
            ("v[123]", "v4", false),
            ("v[!a-z]", "v1", true),
            ("v[!a-z]", "vq", false),
            ("v[a-c0]", "vb", true),
            ("{main,dev}", "dev", true),
            ("{main,dev}", "devel", false),
            ("{main,rel-*}", "rel-9", true),
            ("{main,{a,b}x}", "bx", true),
            ("main{,-old}", "main", true),
            ("main{,-old}", "main-old", true),
            (r"ma\in", "main", true),
            (r"\*", "main", false),
        ];
        for (pattern, branch, expected) in table {
            assert_eq!(covered(pattern, branch), expected, "{pattern} on {branch}");
        }
    }

    #[test]
    fn a_pattern_that_does_not_compile_is_refused() {
        for pattern in ["[a", "{a,b", "a,b}", "[z-a]", r"a\"] {
            let error = protection(&["main", pattern]).expect_err(pattern);
            assert_eq!(error.kind, Kind::Invalid, "{pattern}");
            assert!(error.message.contains(pattern), "{error}");
        }
    }

    #[test]
    fn the_limit_repository_settings_bytes_max() {
        let long = "x".repeat(REPOSITORY_SETTINGS_BYTES_MAX);
        assert!(protection(&[&long]).is_ok());
        assert_eq!(protection(&[&long, "y"]).map_err(|e| e.kind), Err(Kind::TooLarge));
    }

    #[test]
    fn the_same_rules_have_the_same_etag() {
        let etag = |patterns: &[&str]| protection(patterns).expect("patterns").etag();
        assert_eq!(etag(&["a", "b"]), etag(&["b", "a", "b"]));
        assert_ne!(etag(&["a", "b"]), etag(&["ab"]));
        assert_eq!(etag(&[]), Protection::default().etag());
    }

    #[test]
    fn a_stored_pattern_that_no_longer_compiles_protects_everything() {
        let mut stored = Writer::new();
        let mut rule = Writer::new();
        rule.text("[");
        stored.uint(1).bytes(&rule.finish()).u8(0);
        let settings = Settings::decode(&mut Reader::new(stored.finish().into())).expect("it can be read");
        let branch = BranchName::parse("any").expect("a branch name");
        assert!(settings.protection.covers(&branch));
    }

    #[test]
    fn a_verb_that_nobody_thought_of_is_refused() {
        let main = BranchName::parse("main").expect("a branch name");
        let protection = protection(&["main"]).expect("a pattern");
        assert_eq!(protection.judge(&main, "invented").map_err(|e| e.kind), Err(Kind::Protected));
        assert!(protection.judge(&main, "merge").is_ok());
    }
}
