//! The `Range` header of object reads (API-0.18, API-17.6 to 17.8).

use std::ops::Range;

/// What the header must match to get past validation.
pub const PATTERN: &str = r"^bytes=((\d*-\d*,? ?)+)$";

/// [`PATTERN`] as code.
pub fn fits_pattern(text: &str) -> bool {
    let Some(mut rest) = text.strip_prefix("bytes=") else { return false };
    if rest.is_empty() {
        return false;
    }
    let skip_digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    while !rest.is_empty() {
        rest = &rest[skip_digits(rest)..];
        let Some(tail) = rest.strip_prefix('-') else { return false };
        rest = &tail[skip_digits(tail)..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
        rest = rest.strip_prefix(' ').unwrap_or(rest);
    }
    true
}

/// What a header asks of an object.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// These bytes.
    Bytes(Range<u64>),
    /// A range that lies beyond the object: 416 with the object's size.
    Beyond,
    /// No single range: 416 without it.
    NoRange,
}

/// Reads a header that fits [`PATTERN`] against an object of `size` bytes.
pub fn parse(header: &str, size: u64) -> Asked {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::NoRange;
    };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first > last => Asked::NoRange,
        (Ok(first), Ok(_)) if first >= size => Asked::Beyond,
        (Ok(first), Ok(last)) => Asked::Bytes(first..last.saturating_add(1).min(size)),
        (Ok(first), Err(_)) if last.is_empty() => {
            if first < size {
                Asked::Bytes(first..size)
            } else {
                Asked::Beyond
            }
        }
        (Err(_), Ok(count)) if first.is_empty() => {
            if count == 0 || size == 0 {
                Asked::Beyond
            } else {
                Asked::Bytes(size.saturating_sub(count)..size)
            }
        }
        _ => Asked::NoRange,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_as_code() {
        for fits in
            ["bytes=0-", "bytes=-", "bytes=-5", "bytes=0-1,", "bytes=0-1, 2-3", "bytes=1--2", "bytes=1-2-3"]
        {
            assert!(fits_pattern(fits), "{fits}");
        }
        for breaks in
            ["", "bytes=", "bytes=5", "bytes=a-b", "bytes= 0-1", "Bytes=0-1", "bytes=0-1,,2-3", "bytes=0-1,x"]
        {
            assert!(!fits_pattern(breaks), "{breaks}");
        }
    }

    #[test]
    fn ranges_against_sizes() {
        let table = [
            ("bytes=0-4", 10, Asked::Bytes(0..5)),
            ("bytes=9-9", 10, Asked::Bytes(9..10)),
            ("bytes=5-", 10, Asked::Bytes(5..10)),
            ("bytes=5-99", 10, Asked::Bytes(5..10)),
            ("bytes=-3", 10, Asked::Bytes(7..10)),
            ("bytes=-99", 10, Asked::Bytes(0..10)),
            ("bytes=0-18446744073709551615", 10, Asked::Bytes(0..10)),
            ("bytes=10-", 10, Asked::Beyond),
            ("bytes=10-11", 10, Asked::Beyond),
            ("bytes=-0", 10, Asked::Beyond),
            ("bytes=0-", 0, Asked::Beyond),
            ("bytes=-5", 0, Asked::Beyond),
            ("bytes=4-3", 10, Asked::NoRange),
            ("bytes=-", 10, Asked::NoRange),
            ("bytes=1--2", 10, Asked::NoRange),
            ("bytes=0-1,", 10, Asked::NoRange),
            ("bytes=0-1,3-4", 10, Asked::NoRange),
            ("bytes=99999999999999999999-", 10, Asked::NoRange),
        ];
        for (header, size, expected) in table {
            assert_eq!(parse(header, size), expected, "{header} of {size}");
        }
    }

    #[test]
    fn fuzz_ranges() {
        let seeds = ["bytes=0-4", "bytes=-3", "bytes=5-", "bytes=0-1, 2-3"].map(|text| text.into()).to_vec();
        let words = ["-", ",", "bytes=", "18446744073709551615", "18446744073709551616", "0"];
        millpond_testkit::fuzz::Fuzz { name: "ranges", seeds, words: &words }.run(|input| {
            let text = String::from_utf8_lossy(input);
            let fits = fits_pattern(&text);
            for size in [0, 1, 10, u64::MAX] {
                if let Asked::Bytes(range) = parse(&text, size) {
                    assert!(range.start < range.end && range.end <= size, "{range:?} of {size}");
                }
            }
            format!("{fits} {:?}", std::mem::discriminant(&parse(&text, 10)))
        });
    }
}
