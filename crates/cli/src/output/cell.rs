//! One value in a list or record, with its two faces: for people (short, rounded, relative) and for
//! programs (whole, exact).

use super::Output;

/// A value to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Text from anywhere; control characters are made visible.
    Text(String),
    /// A commit id; shortened in tables.
    Id(String),
    /// Bytes.
    Size(Option<u64>),
    /// Unix seconds; 0 is unknown.
    Time(i64),
    /// A word with a colour.
    Painted(String, Paint),
    /// A word with a colour and, in tables, a sign in front that says the same.
    Marked(char, String, Paint),
}

/// A colour that supports what a word says already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Less important.
    Dim,
    /// More important.
    Bold,
    /// Gone, wrong.
    Red,
    /// New.
    Green,
    /// Changed.
    Yellow,
    /// A place.
    Cyan,
}

impl Paint {
    /// Wraps the text in the terminal's codes.
    pub fn apply(self, text: &str) -> String {
        let code = match self {
            Self::Dim => 2,
            Self::Bold => 1,
            Self::Red => 31,
            Self::Green => 32,
            Self::Yellow => 33,
            Self::Cyan => 36,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

impl Cell {
    /// Text.
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// A commit id.
    pub fn id(id: &str) -> Self {
        Self::Id(id.to_owned())
    }

    /// A time as the server's own interfaces write it; what is none stays as it is.
    pub fn rfc3339(text: &str) -> Self {
        match text.parse::<jiff::Timestamp>() {
            Ok(time) => Self::Time(time.as_second()),
            Err(_) => Self::text(text),
        }
    }

    /// For a table.
    pub(super) fn table(&self, output: &Output) -> (String, Option<Paint>) {
        match self {
            Self::Text(text) => (escape(text), None),
            Self::Id(id) => (escape(output.short_id(id)), Some(Paint::Yellow)),
            Self::Size(size) => (size.map_or_else(String::new, human_size), None),
            Self::Time(0) => (String::new(), None),
            Self::Time(seconds) => (relative_time(*seconds, output.now), None),
            Self::Painted(text, paint) => (escape(text), Some(*paint)),
            Self::Marked(sign, text, paint) => (format!("{sign} {}", escape(text)), Some(*paint)),
        }
    }

    /// For a record on a terminal, which has room for both faces.
    pub(super) fn detailed(&self, output: &Output) -> String {
        match self {
            Self::Id(id) => escape(id),
            Self::Size(Some(size)) if *size >= 1024 => format!("{} ({size} bytes)", human_size(*size)),
            Self::Size(Some(size)) => format!("{size} bytes"),
            Self::Time(seconds) if *seconds != 0 => {
                format!("{} ({})", rfc3339(*seconds), relative_time(*seconds, output.now))
            }
            other => {
                let (text, paint) = other.table(output);
                paint.map_or_else(|| text.clone(), |paint| output.paint(&text, paint))
            }
        }
    }

    /// For a program.
    pub(super) fn tsv(&self) -> String {
        match self {
            Self::Text(text) | Self::Id(text) | Self::Painted(text, _) | Self::Marked(_, text, _) => {
                escape_tsv(text)
            }
            Self::Size(size) => size.map_or_else(String::new, |size| size.to_string()),
            Self::Time(0) => String::new(),
            Self::Time(seconds) => rfc3339(*seconds),
        }
    }
}

/// Control characters as `\xNN`, so that a name cannot move the cursor.
pub fn escape(text: &str) -> String {
    escape_with(text, false)
}

/// The same, reversibly: tab, newline and backslash as `\t`, `\n` and `\\`.
pub fn escape_tsv(text: &str) -> String {
    escape_with(text, true)
}

fn escape_with(text: &str, reversible: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' if reversible => escaped.push_str("\\\\"),
            '\t' if reversible => escaped.push_str("\\t"),
            '\n' if reversible => escaped.push_str("\\n"),
            c if c.is_control() => escaped.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Powers of 1024 with one decimal.
pub fn human_size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    for unit in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1023.95 {
            return format!("{size:.1} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.1} PiB")
}

/// Unix seconds as RFC 3339 in UTC.
pub fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| format!("@{seconds}"), |t| t.to_string())
}

/// `3 minutes ago`.
pub fn relative_time(seconds: i64, now: jiff::Timestamp) -> String {
    let age = now.as_second() - seconds;
    let (count, unit) = match age.abs() {
        0..=44 => return "just now".to_owned(),
        s @ 45..3_600 => ((s + 30) / 60, "minute"),
        s @ 3_600..86_400 => (s / 3_600, "hour"),
        s @ 86_400..2_592_000 => (s / 86_400, "day"),
        s @ 2_592_000..31_536_000 => (s / 2_592_000, "month"),
        s => (s / 31_536_000, "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    if age > 0 { format!("{count} {unit}{plural} ago") } else { format!("in {count} {unit}{plural}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (64 << 20, "64.0 MiB"),
            (u64::MAX, "16384.0 PiB"),
        ];
        for (bytes, text) in table {
            assert_eq!(human_size(bytes), text);
        }
    }

    #[test]
    fn times() {
        let now = jiff::Timestamp::from_second(1_000_000_000).expect("valid");
        let table = [
            (0, "just now"),
            (44, "just now"),
            (60, "1 minute ago"),
            (3_599, "60 minutes ago"),
            (7_200, "2 hours ago"),
            (86_400, "1 day ago"),
            (40 * 86_400, "1 month ago"),
            (800 * 86_400, "2 years ago"),
            (-7_200, "in 2 hours"),
        ];
        for (age, text) in table {
            assert_eq!(relative_time(1_000_000_000 - age, now), text);
        }
        assert_eq!(rfc3339(1_000_000_000), "2001-09-09T01:46:40Z");
        assert_eq!(rfc3339(i64::MAX), format!("@{}", i64::MAX));
    }

    #[test]
    fn escapes() {
        assert_eq!(escape("a\\b\u{1b}[0m\né"), "a\\b\\x1b[0m\\x0aé");
        assert_eq!(escape_tsv("a\\b\tc\nd\r"), "a\\\\b\\tc\\nd\\x0d");
    }
}
