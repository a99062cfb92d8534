//! The device's own time: RFC 3339, and the same without an offset, which is UTC.
//!
//! Stricter than a general date parser, so that what one client sends is read the same everywhere: no week dates, no
//! missing seconds, no time zone names. As RFC 3339 section 5.6 allows, `T` and `Z` may be lower case, and a space may
//! stand for `T` (that is how Python prints a date and time). A leap second is taken as the second before it.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// `YYYY-MM-DDTHH:MM:SS`.
const SECONDS_END: usize = 19;

/// Reads a time; `None` when the text is not one.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let whole = bytes.get(..SECONDS_END)?;
    let separators = [whole[4], whole[7], whole[13], whole[16]];
    if separators != *b"--::" || !matches!(whole[10], b'T' | b't' | b' ') {
        return None;
    }
    let (nanosecond, zone) = fraction(&bytes[SECONDS_END..])?;
    let second = number(&whole[17..19])?;
    let civil = DateTime::new(
        number(&whole[..4])?,
        i8::try_from(number(&whole[5..7])?).ok()?,
        i8::try_from(number(&whole[8..10])?).ok()?,
        i8::try_from(number(&whole[11..13])?).ok()?,
        i8::try_from(number(&whole[14..16])?).ok()?,
        i8::try_from(if second == 60 { 59 } else { second }).ok()?,
        nanosecond,
    );
    // Only the last day of the year 9999 is beyond a timestamp; it is a time, if an absurd one.
    Some(offset(zone)?.to_timestamp(civil.ok()?).unwrap_or(Timestamp::MAX))
}

/// The decimals as nanoseconds, and what follows them.
fn fraction(rest: &[u8]) -> Option<(i32, &[u8])> {
    let Some((b'.', decimals)) = rest.split_first() else { return Some((0, rest)) };
    let count = decimals.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&count) {
        return None;
    }
    let (digits, zone) = decimals.split_at(count);
    let padding = std::iter::repeat_n(b'0', 9 - count);
    let nanosecond = digits.iter().copied().chain(padding).fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0'));
    Some((nanosecond, zone))
}

/// `Z`, `+HH:MM`, `-HH:MM`, or nothing, which is UTC.
fn offset(zone: &[u8]) -> Option<Offset> {
    let (sign, hours, minutes) = match zone {
        [] | [b'Z' | b'z'] => return Some(Offset::UTC),
        [b'+', h1, h2, b':', m1, m2] => (1, [*h1, *h2], [*m1, *m2]),
        [b'-', h1, h2, b':', m1, m2] => (-1, [*h1, *h2], [*m1, *m2]),
        _ => return None,
    };
    let (hours, minutes) = (i32::from(number(&hours)?), i32::from(number(&minutes)?));
    if hours > 23 || minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok()
}

/// Up to four decimal digits.
fn number(digits: &[u8]) -> Option<i16> {
    digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i16::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        parse(text).map(|time| time.to_string())
    }

    #[test]
    fn accepted_forms() {
        for (text, time) in [
            ("2025-12-09T10:30:45+00:00", "2025-12-09T10:30:45Z"),
            ("2025-12-09T10:30:45Z", "2025-12-09T10:30:45Z"),
            ("2025-12-09t10:30:45z", "2025-12-09T10:30:45Z"),
            ("2025-12-09 10:30:45", "2025-12-09T10:30:45Z"),
            ("2025-12-09T10:30:45", "2025-12-09T10:30:45Z"),
            ("2025-12-09T17:30:45+07:00", "2025-12-09T10:30:45Z"),
            ("2025-12-09T05:00:45.5-05:30", "2025-12-09T10:30:45.5Z"),
            ("2025-12-09T10:30:45.123456789Z", "2025-12-09T10:30:45.123456789Z"),
            ("2025-12-09T10:30:45.000000001", "2025-12-09T10:30:45.000000001Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
            ("2024-02-29T00:00:00-00:00", "2024-02-29T00:00:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Some(time), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "now",
            "1765276245",
            "2025-12-09",
            "2025-12-09T10:30Z",
            "2025-12-09T10:30:45.Z",
            "2025-12-09T10:30:45.1234567890Z",
            "2025-12-09T10:30:45,5Z",
            "2025-12-09T10:30:45+07",
            "2025-12-09T10:30:45+0700",
            "2025-12-09T10:30:45+24:00",
            "2025-12-09T10:30:45+07:60",
            "2025-12-09T10:30:45 Z",
            "2025-12-09T10:30:45Z ",
            "2025-12-09T10:30:45Z[UTC]",
            "2025-02-29T10:30:45Z",
            "2025-13-09T10:30:45Z",
            "2025-12-09T24:00:00Z",
            "2025-12-09T10:30:61Z",
            "2025-12-09T10:-1:45Z",
            "２０２５-12-09T10:30:45Z",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
