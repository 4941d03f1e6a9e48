//! Points in virtual time as dates.

use switch::Time;

/// The lab's time as RFC 3339 with nanoseconds, as Docker prints it; a lab starts with the year 2000.
#[must_use]
pub fn rfc3339(time: Time) -> String {
    let nanos = time.as_nanos() % 1_000_000_000;
    let seconds = time.as_nanos() / 1_000_000_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let mut fraction = format!("{nanos:09}");
    // Go's RFC3339Nano leaves trailing zeros out.
    while fraction.ends_with('0') {
        fraction.pop();
    }
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{dot}{fraction}Z")
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// The date that many days after 2000-01-01.
fn date(mut days: u64) -> (u64, u64, u64) {
    let mut year = 2000;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in months {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    fn dates() {
        assert_eq!(rfc3339(Time::ZERO), "2000-01-01T00:00:00Z");
        assert_eq!(
            rfc3339(Time::ZERO + Duration::from_millis(59 * 86_400_000 + 3_661_500)),
            "2000-02-29T01:01:01.5Z"
        );
        assert_eq!(
            rfc3339(Time::from_secs(366 * 86_400)),
            "2001-01-01T00:00:00Z"
        );
        assert_eq!(
            rfc3339(Time::from_nanos(42)),
            "2000-01-01T00:00:00.000000042Z"
        );
    }
}
