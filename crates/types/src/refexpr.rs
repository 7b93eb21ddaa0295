//! Ref expressions (API area 7), with Millpond's `@{time}` added: a base name followed by modifiers.

use crate::clock::Timestamp;
use crate::limits::{REF_EXPRESSION_BYTES_MAX, REF_MODIFIERS_MAX};

/// What the expression starts from: text that is still to be looked up as commit id, branch, tag or
/// commit prefix, in that order (API-7.5).
pub type Base = String;

/// One step from the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modifier {
    /// `~n`: n first parents back.
    Ancestor(u64),
    /// `^n`: the n-th parent, counted from 1; `^0` is the commit itself.
    Parent(u64),
    /// `@`: a branch's head without its staging.
    Head,
    /// `$`: a branch with its staging.
    Staging,
    /// `@{time}`: where the branch pointed at that instant, by the ref log.
    At(Timestamp),
}

/// A parsed expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefExpr {
    /// Never empty.
    pub base: Base,
    /// Applied left to right.
    pub modifiers: Vec<Modifier>,
    /// As the caller wrote it, for messages that repeat it.
    pub text: String,
}

/// The expression cannot be parsed; the message says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ref '{text}' is not valid: {reason}")]
pub struct InvalidRef {
    /// As given.
    pub text: String,
    /// Which rule it breaks.
    pub reason: &'static str,
}

impl RefExpr {
    /// Parses the text. `@{...}` takes Unix seconds or RFC 3339 in UTC (`2026-11-22T20:00:00Z`, seconds
    /// and time of day optional).
    pub fn parse(text: &str) -> Result<Self, InvalidRef> {
        let fail = |reason| InvalidRef { text: text.to_owned(), reason };
        if text.len() > REF_EXPRESSION_BYTES_MAX {
            let start: String = text.chars().take(32).collect();
            return Err(InvalidRef { text: start + "...", reason: "it has more than 2048 bytes" });
        }
        if text.contains(char::is_whitespace) {
            return Err(fail("it contains white space"));
        }
        let end = text.find(['~', '^', '@', '$']).unwrap_or(text.len());
        let (base, mut rest) = text.split_at(end);
        if base.is_empty() {
            return Err(fail("it does not begin with a branch, tag or commit"));
        }
        let mut modifiers = Vec::new();
        while let Some(sign) = rest.chars().next() {
            rest = &rest[sign.len_utf8()..];
            if sign == '@' && rest.starts_with('{') {
                let close = rest.find('}').ok_or_else(|| fail("'@{' is not closed"))?;
                let at = parse_instant(&rest[1..close]).ok_or_else(|| {
                    fail("the time in '@{...}' is neither RFC 3339 in UTC nor Unix seconds")
                })?;
                modifiers.push(Modifier::At(at));
                rest = &rest[close + 1..];
                continue;
            }
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, tail) = rest.split_at(digits);
            rest = tail;
            let count = if number.is_empty() {
                None
            } else {
                Some(number.parse::<u64>().map_err(|_| fail("a number is too large"))?)
            };
            modifiers.push(match (sign, count) {
                ('~', n) => Modifier::Ancestor(n.unwrap_or(1)),
                ('^', n) => Modifier::Parent(n.unwrap_or(1)),
                ('@', None) => Modifier::Head,
                ('$', None) => Modifier::Staging,
                _ => return Err(fail("'@' and '$' take no number, and only '~ ^ @ $' may follow the name")),
            });
        }
        if modifiers.len() > REF_MODIFIERS_MAX {
            return Err(fail("more than 64 of '~ ^ @ $' follow the name"));
        }
        let lone = modifiers.iter().any(|m| matches!(m, Modifier::Head | Modifier::Staging));
        if lone && modifiers.len() > 1 {
            return Err(fail("'@' and '$' stand alone"));
        }
        if modifiers.iter().skip(1).any(|m| matches!(m, Modifier::At(_))) {
            return Err(fail("'@{time}' must follow the branch name"));
        }
        Ok(Self { base: base.to_owned(), modifiers, text: text.to_owned() })
    }

    /// Whether it is a bare name.
    pub fn is_bare(&self) -> bool {
        self.modifiers.is_empty()
    }
}

fn parse_instant(text: &str) -> Option<Timestamp> {
    if !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_digit())
        && text.len() <= 12
        && text.len() != 8
        && text.len() != 4
    {
        return Some(Timestamp::from_seconds(text.parse().ok()?));
    }
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time.strip_suffix('Z').or_else(|| time.strip_suffix("+00:00"))?),
        None => (text, "00:00:00"),
    };
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (number(date.next()?, 4)?, number(date.next()?, 2)?, number(date.next()?, 2)?);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (number(time.next()?, 2)?, number(time.next()?, 2)?);
    let second = time.next().map_or(Some(0), |s| number(s, 2))?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) || fraction.is_empty() {
        return None;
    }
    let millis: i64 = format!("{:0<3}", &fraction[..fraction.len().min(3)]).parse().ok()?;
    let month_days = [
        31,
        if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    if !(1..=12).contains(&month)
        || day < 1
        || day > month_days[month as usize - 1]
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    // Days since 1970-01-01 in the proleptic Gregorian calendar, counting years from March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = y.div_euclid(400);
    let day_of_year = (153 * m + 2) / 5 + day - 1;
    let year_of_era = y - era * 400;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(Timestamp((days * 86_400 + hour * 3600 + minute * 60 + second) * 1000 + millis))
}

fn number(text: &str, digits: usize) -> Option<i64> {
    if text.len() == digits && text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

impl std::fmt::Display for RefExpr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}
