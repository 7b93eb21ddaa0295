//! Patterns with `*` and `?`, matched without allocation and without recursion.
//!
//! `*` stands for any characters, also `/` and none; `?` for one character; everything else for itself, in its own
//! case; nothing escapes (API-4.4). Texts are bytes: an object's path need not be UTF-8, and a byte that belongs to
//! no character counts as one.

/// A step of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Byte(u8),
    One,
    Many,
}

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What the text begins with.
    start: Box<[u8]>,
    rest: Rest,
}

/// What comes behind the beginning. Nearly all patterns of real policies are one of the first two.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rest {
    Nothing,
    Anything,
    Steps(Box<[Step]>),
}

impl Pattern {
    /// Compiles a text.
    pub fn new(text: &str) -> Self {
        Self::of(steps(text).collect())
    }

    /// The same with a variable in it, whose value stands for itself: somebody named `*` is not everybody.
    pub fn with_variable(text: &str, variable: &str, value: &str) -> Self {
        let mut all = Vec::new();
        for (i, part) in text.split(variable).enumerate() {
            if i > 0 {
                all.extend(value.bytes().map(Step::Byte));
            }
            all.extend(steps(part));
        }
        Self::of(all)
    }

    fn of(mut steps: Vec<Step>) -> Self {
        // Several in a row say no more than one and cost a walk each.
        steps.dedup_by(|a, b| *a == Step::Many && *b == Step::Many);
        let plain = steps.iter().take_while(|step| matches!(step, Step::Byte(_))).count();
        let rest = steps.split_off(plain);
        let bytes =
            steps.into_iter().filter_map(|step| if let Step::Byte(byte) = step { Some(byte) } else { None });
        let rest = match &rest[..] {
            [] => Rest::Nothing,
            [Step::Many] => Rest::Anything,
            _ => Rest::Steps(rest.into()),
        };
        Self { start: bytes.collect(), rest }
    }

    /// Whether the whole text is as the pattern says.
    pub fn matches(&self, text: &[u8]) -> bool {
        let Some(text) = text.strip_prefix(&*self.start) else { return false };
        match &self.rest {
            Rest::Nothing => text.is_empty(),
            Rest::Anything => true,
            Rest::Steps(steps) => walk(steps, text),
        }
    }
}

fn steps(text: &str) -> impl Iterator<Item = Step> {
    text.bytes().map(|byte| match byte {
        b'*' => Step::Many,
        b'?' => Step::One,
        byte => Step::Byte(byte),
    })
}

/// Only the last `*` ever needs to take more: what an earlier one took was enough to come that far.
fn walk(steps: &[Step], text: &[u8]) -> bool {
    let (mut step, mut at) = (0, 0);
    // Behind the last `*`, and what it has taken so far.
    let mut last: Option<(usize, usize)> = None;
    loop {
        match steps.get(step) {
            Some(Step::Many) => {
                step += 1;
                last = Some((step, at));
                continue;
            }
            Some(Step::One) if at < text.len() => {
                step += 1;
                at += character(&text[at..]);
                continue;
            }
            Some(Step::Byte(byte)) if text.get(at) == Some(byte) => {
                step += 1;
                at += 1;
                continue;
            }
            None if at == text.len() => return true,
            _ => {}
        }
        match last {
            Some((behind, taken)) if taken < text.len() => {
                let taken = taken + character(&text[taken..]);
                last = Some((behind, taken));
                (step, at) = (behind, taken);
            }
            _ => return false,
        }
    }
}

/// Bytes of the first character of a text that is not empty.
fn character(text: &[u8]) -> usize {
    let len = match text[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return 1,
    };
    if text.get(..len).is_some_and(|bytes| std::str::from_utf8(bytes).is_ok()) { len } else { 1 }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use millpond_testkit::Seeded;

    /// Obviously right and slow: characters, and all ways for a `*`.
    pub fn slow(pattern: &[char], text: &[&[u8]]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=text.len()).any(|taken| slow(rest, &text[taken..])),
            (['?', rest @ ..], [_, more @ ..]) => slow(rest, more),
            ([c, rest @ ..], [first, more @ ..]) => {
                c.encode_utf8(&mut [0; 4]).as_bytes() == *first && slow(rest, more)
            }
            _ => false,
        }
    }

    /// A text as characters; a byte that belongs to none is one.
    pub fn characters(text: &[u8]) -> Vec<&[u8]> {
        let mut all = Vec::new();
        for chunk in text.utf8_chunks() {
            all.extend(chunk.valid().split("").filter(|c| !c.is_empty()).map(str::as_bytes));
            all.extend(chunk.invalid().chunks(1));
        }
        all
    }

    /// API-4.4 and 4.23.
    #[test]
    fn patterns_by_example() {
        for (pattern, text, matches) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b", true),
            ("**", "a", true),
            ("?", "", false),
            ("?", "a", true),
            ("?", "é", true),
            ("??", "é", false),
            ("*??", "€", false),
            ("repository/foo*", "repository/foobar/object/x", true),
            ("repository/foo/*", "repository/foobar/object/x", false),
            ("repository/*/object/*.csv", "repository/r/object/a/b.csv", true),
            ("repository/*/object/*.csv", "repository/r/object/a/b.csv.gz", false),
            ("a*b*c", "a-b-b-c-c", true),
            ("a*b*c", "acb", false),
            ("A", "a", false),
            ("[a]", "a", false),
            ("\\*", "*", false),
            ("\\*", "\\anything", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text.as_bytes()), matches, "{pattern} on {text}");
        }
        assert!(Pattern::new("a?b").matches(b"a\xffb"), "a byte that belongs to no character");
    }

    #[test]
    fn a_variable_stands_for_itself() {
        let pattern = |value| Pattern::with_variable("user/${user}", "${user}", value);
        assert!(pattern("eve").matches(b"user/eve"));
        for greedy in ["*", "?", "e*"] {
            assert!(!pattern(greedy).matches(b"user/eve"), "{greedy}");
            assert!(pattern(greedy).matches(format!("user/{greedy}").as_bytes()), "{greedy}");
        }
    }

    #[test]
    fn random_patterns_match_as_the_slow_way_says() {
        let chance = Seeded::new(41);
        let (mut yes, pieces) = (0, ["a", "b", "/", "é", "*", "?", "*"]);
        let texts: [&[u8]; 8] = [b"a", b"b", b"/", "é".as_bytes(), b"\xc3", b"\xa9", b"*", b"a"];
        for _ in 0..60_000 {
            let pattern: String = (0..chance.below(8)).map(|_| *chance.pick(&pieces)).collect();
            let text: Vec<u8> = (0..chance.below(9)).flat_map(|_| chance.pick(&texts).to_vec()).collect();
            let expected = slow(&pattern.chars().collect::<Vec<_>>(), &characters(&text));
            assert_eq!(
                Pattern::new(&pattern).matches(&text),
                expected,
                "{pattern} on {}",
                text.escape_ascii()
            );
            yes += u32::from(expected);
        }
        assert!(yes > 5000, "{yes} matched: the cases say little");
    }

    #[test]
    fn a_hostile_pattern_takes_no_exponential_time() {
        assert!(!Pattern::new(&format!("{}b", "*a".repeat(500))).matches(&[b'a'; 2000]));
    }
}
