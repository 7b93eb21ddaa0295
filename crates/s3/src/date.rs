//! The date formats of the wire: `YYYYMMDDThhmmssZ` of signatures, HTTP dates of headers, RFC 3339 of documents.

use millpond_service::Timestamp;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years are counted from March, so that the leap day is the last day of a year.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = y.div_euclid(400);
    let year_of_era = y - era * 400;
    let day_of_year = (153 * m + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * m + 2) / 5 + 1;
    let (month, carry) = if m < 10 { (m + 3, 0) } else { (m - 9, 1) };
    (year_of_era + era * 400 + carry, month, day)
}

fn instant(year: i64, month: i64, day: i64, time: (i64, i64, i64)) -> Option<Timestamp> {
    let (hour, minute, second) = time;
    // HTTP dates have no limit on digits; the arithmetic below has one.
    let valid = (0..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second)
        && day >= 1;
    if !valid {
        return None;
    }
    let days = days_from_civil(year, month, day);
    if civil_from_days(days) != (year, month, day) {
        return None; // 31 April
    }
    Some(Timestamp::from_seconds(days * 86_400 + hour * 3600 + minute * 60 + second))
}

fn digits(text: &str) -> Option<i64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// `20261122T200000Z`.
pub(crate) fn parse_basic(text: &str) -> Option<Timestamp> {
    if text.len() != 16 || !text.is_ascii() || text.as_bytes()[8] != b'T' || text.as_bytes()[15] != b'Z' {
        return None;
    }
    let time = (digits(&text[9..11])?, digits(&text[11..13])?, digits(&text[13..15])?);
    instant(digits(&text[0..4])?, digits(&text[4..6])?, digits(&text[6..8])?, time)
}

/// The instant as `20261122T200000Z`.
pub(crate) fn format_basic(at: Timestamp) -> String {
    let (year, month, day, hour, minute, second, _) = parts(at);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// An HTTP date in any of the three forms of RFC 9110.
pub(crate) fn parse_http(text: &str) -> Option<Timestamp> {
    let words: Vec<&str> = text.split([' ', ',', '-']).filter(|w| !w.is_empty()).collect();
    let clock = |text: &str| -> Option<(i64, i64, i64)> {
        let mut parts = text.split(':');
        let time = (digits(parts.next()?)?, digits(parts.next()?)?, digits(parts.next()?)?);
        parts.next().is_none().then_some(time)
    };
    let month = |text: &str| -> Option<i64> {
        MONTHS.iter().position(|m| m.eq_ignore_ascii_case(text)).map(|i| i as i64 + 1)
    };
    match words.as_slice() {
        [_, day, name, year, time, "GMT" | "UTC"] => {
            let mut number = digits(year)?;
            if year.len() == 2 {
                number += if number < 70 { 2000 } else { 1900 };
            }
            instant(number, month(name)?, digits(day)?, clock(time)?)
        }
        [_, name, day, time, year] => instant(digits(year)?, month(name)?, digits(day)?, clock(time)?),
        _ => None,
    }
}

/// `Sun, 22 Nov 2026 20:00:00 GMT`.
pub(crate) fn format_http(at: Timestamp) -> String {
    let (year, month, day, hour, minute, second, _) = parts(at);
    let weekday = WEEKDAYS[at.seconds().div_euclid(86_400).rem_euclid(7) as usize];
    let name = MONTHS[month as usize - 1];
    format!("{weekday}, {day:02} {name} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// `2026-11-22T20:00:00.000Z`.
pub(crate) fn format_iso(at: Timestamp) -> String {
    let (year, month, day, hour, minute, second, millis) = parts(at);
    if !(0..=9999).contains(&year) {
        return format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z");
    }
    // By hand: this stands in every line of a listing, and the general way takes five times as long.
    let mut text = String::with_capacity(24);
    let mut number = |number: i64, digits: u32, end: char| {
        for place in (0..digits).rev() {
            text.push(char::from(b'0' + (number / 10i64.pow(place) % 10) as u8));
        }
        text.push(end);
    };
    number(year, 4, '-');
    number(month, 2, '-');
    number(day, 2, 'T');
    number(hour, 2, ':');
    number(minute, 2, ':');
    number(second, 2, '.');
    number(millis, 3, 'Z');
    text
}

fn parts(at: Timestamp) -> (i64, i64, i64, i64, i64, i64, i64) {
    let seconds = at.seconds();
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    (year, month, day, of_day / 3600, of_day / 60 % 60, of_day % 60, at.millis().rem_euclid(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        let at = Timestamp(1_795_377_600_123);
        assert_eq!(format_basic(at), "20261122T200000Z");
        assert_eq!(format_http(at), "Sun, 22 Nov 2026 20:00:00 GMT");
        assert_eq!(format_iso(at), "2026-11-22T20:00:00.123Z");
        assert_eq!(parse_basic("20261122T200000Z"), Some(Timestamp(1_795_377_600_000)));
        let forms =
            ["Sun, 22 Nov 2026 20:00:00 GMT", "Sunday, 22-Nov-26 20:00:00 GMT", "Sun Nov 22 20:00:00 2026"];
        for form in forms {
            assert_eq!(parse_http(form), Some(Timestamp(1_795_377_600_000)), "{form}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_round_trips() {
        let mut last = days_from_civil(1799, 12, 31);
        for year in 1800..2200 {
            for month in 1..=12 {
                for day in 1..=31 {
                    let days = days_from_civil(year, month, day);
                    if civil_from_days(days) == (year, month, day) {
                        assert_eq!(days, last + 1);
                        last = days;
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "20261122T200000",
            "2026112xT200000Z",
            "20260431T000000Z",
            "20261122T250000Z",
            "2026é122T20000Z",
        ] {
            assert_eq!(parse_basic(text), None, "{text}");
        }
        for text in [
            "",
            "yesterday",
            "Sun, 31 Feb 2026 20:00:00 GMT",
            "Sun, 22 Nov 2026 20:00 GMT",
            "Sun, 22 Nov 9223372036854775807 20:00:00 GMT",
            "Sun Nov 22 20:00:00 9223372036854775807",
        ] {
            assert_eq!(parse_http(text), None, "{text}");
        }
    }
}
