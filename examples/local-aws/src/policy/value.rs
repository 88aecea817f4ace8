//! Numbers, dates and IP address ranges, as conditions compare them.

use std::net::IpAddr;

/// A decimal number; neither an infinity nor "not a number" is one.
pub(super) fn number(text: &str) -> Option<f64> {
    let decimal = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    if text.is_empty() || !text.chars().all(decimal) {
        return None;
    }
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// `true` or `false`, in any case.
pub(super) fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// Seconds since the epoch, of a number of them or of an ISO 8601 date:
/// `2026-01-31`, `2026-01-31T12:00Z`, `2026-01-31T12:00:00Z`, `2026-01-31T12:00:00.5+01:00`.
pub(super) fn date(text: &str) -> Option<f64> {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
        return number(text);
    }
    let (day, time) = match text.split_once('T') {
        Some((day, time)) => (day, Some(time)),
        None => (text, None),
    };
    let mut fields = day.split('-');
    let year = digits(fields.next()?, 4)?;
    let month = digits(fields.next()?, 2).filter(|month| (1..=12).contains(month))?;
    let day = digits(fields.next()?, 2).filter(|day| (1..=month_length(year, month)).contains(day))?;
    if fields.next().is_some() {
        return None;
    }
    let midnight = f64::from(days_since_epoch(year, month, day)) * 86_400.0;
    match time {
        None => Some(midnight),
        Some(time) => Some(midnight + time_of_day(time)?),
    }
}

/// Seconds since midnight UTC; the zone is not optional.
fn time_of_day(time: &str) -> Option<f64> {
    let (clock, offset) = if let Some(clock) = time.strip_suffix('Z') {
        (clock, 0)
    } else {
        let at = time.rfind(['+', '-'])?;
        let (clock, zone) = time.split_at_checked(at)?;
        let (hours, minutes) = zone.get(1..)?.split_once(':')?;
        let hours = digits(hours, 2).filter(|hours| *hours < 24)?;
        let minutes = digits(minutes, 2).filter(|minutes| *minutes < 60)?;
        let seconds = hours * 3600 + minutes * 60;
        (clock, if zone.starts_with('-') { -seconds } else { seconds })
    };
    let mut fields = clock.split(':');
    let hours = digits(fields.next()?, 2).filter(|hours| *hours < 24)?;
    let minutes = digits(fields.next()?, 2).filter(|minutes| *minutes < 60)?;
    let seconds = match fields.next() {
        None => 0.0,
        Some(seconds) => {
            let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
            digits(whole, 2)?;
            digits(fraction, fraction.len().clamp(1, 9))?;
            seconds.parse::<f64>().ok().filter(|s| *s < 60.0)?
        }
    };
    if fields.next().is_some() {
        return None;
    }
    Some(f64::from(hours * 3600 + minutes * 60 - offset) + seconds)
}

fn digits(text: &str, length: usize) -> Option<i32> {
    if text.len() != length || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn month_length(year: i32, month: i32) -> i32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01, in the proleptic Gregorian calendar. Years are counted from March, so
/// that the leap day is the last of one.
fn days_since_epoch(year: i32, month: i32, day: i32) -> i32 {
    let year = if month <= 2 { year - 1 } else { year };
    let from_march = (month + 9) % 12;
    let in_year = (153 * from_march + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + in_year - 719_468
}

/// A range of IP addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    prefix: u32,
}

impl Network {
    /// Parses CIDR notation; without a prefix length it is one address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
                text.parse().ok().filter(|prefix| *prefix <= width)?
            }
            Some(_) => return None,
        };
        Some(Self { address, prefix })
    }

    /// Whether `address` is in the range.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - self.prefix).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - self.prefix).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number("10"), Some(10.0));
        assert_eq!(number("-1.5"), Some(-1.5));
        for bad in ["", "ten", "NaN", "inf", "1_0", " 1", "1e999", "0x10"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates() {
        assert_eq!(date("0"), Some(0.0));
        assert_eq!(date("1970-01-01"), Some(0.0));
        assert_eq!(date("2000-03-01T00:00:00Z"), Some(951_868_800.0));
        assert_eq!(date("2024-02-29T12:30Z"), Some(1_709_209_800.0));
        assert_eq!(date("2024-02-29T12:30:00+01:30"), date("2024-02-29T11:00:00Z"));
        assert_eq!(date("1969-12-31T23:59:59.5Z"), Some(-0.5));
        for bad in [
            "",
            "2023-02-29",
            "2024-13-01",
            "2024-01-01T00:00:00",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:60Z",
            "2024-1-1",
            "2024-01-01T00:00:00.Z",
            "2024-01-01-01",
            "tomorrow",
            "2024-01-01T00:00:00+é:00",
        ] {
            assert_eq!(date(bad), None, "{bad}");
        }
    }

    #[test]
    fn networks() {
        let contains = |network: &str, address: &str| {
            Network::parse(network).unwrap().contains(address.parse().unwrap())
        };
        assert!(contains("203.0.113.0/24", "203.0.113.9"));
        assert!(!contains("203.0.113.0/24", "203.0.114.9"));
        assert!(contains("203.0.113.9", "203.0.113.9"));
        assert!(!contains("203.0.113.9", "203.0.113.8"));
        assert!(contains("0.0.0.0/0", "8.8.8.8"));
        assert!(!contains("0.0.0.0/0", "::1"));
        assert!(contains("::/0", "2001:db8::1"));
        assert!(contains("2001:db8::/32", "2001:db8:1::1"));
        assert!(!contains("2001:db8::/32", "2001:db9::1"));
        for bad in ["", "203.0.113.0/33", "203.0.113/24", "::/129", "1.2.3.4/", "1.2.3.4/+8"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
