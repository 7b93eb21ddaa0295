//! How long something lasts, as it is typed: `90s`, `15m`, `12h`, `1d`.

use std::str::FromStr;

/// A time that something lasts. Whether the server grants it, the server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    pub seconds: u64,
}

impl FromStr for Lifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
            let unit = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                "d" => 86_400,
                _ => return None,
            };
            let is_plain = number.bytes().all(|byte| byte.is_ascii_digit());
            number.parse::<u64>().ok().filter(|_| is_plain)?.checked_mul(unit)
        };
        let seconds = parsed().ok_or("write a number and s, m, h or d, as in 15m")?;
        Ok(Self { seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit() {
        let seconds = |text: &str| text.parse::<Lifetime>().map(|lifetime| lifetime.seconds).ok();
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("15m"), Some(900));
        assert_eq!(seconds("36h"), Some(129_600));
        assert_eq!(seconds("1d"), Some(86_400));
        for bad in [
            "",
            "m",
            "15",
            "-1m",
            "+1m",
            "1.5h",
            "1 h",
            "1\u{fc}",
            "99999999999999999999d",
            "9999999999999999999d",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
