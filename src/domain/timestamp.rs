//! Points in time as the protocols write them: whole seconds since 1970-01-01T00:00:00Z
//! (RFC 7519 §2, `NumericDate`).

use std::fmt;

/// Seconds since the Unix epoch. The domain never asks for the current one: it is passed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    pub const fn as_unix(self) -> i64 {
        self.0
    }

    /// Later than any other: what ends then does not end by itself. The last second that RFC 3339 can write.
    pub const NEVER: Self = Self(253_402_300_799);

    /// When what lives for so many seconds ends; 0 means that it does not.
    #[must_use]
    pub const fn after(self, lifetime: u32) -> Self {
        if lifetime == 0 { Self::NEVER } else { self.plus(lifetime) }
    }

    /// How long something lives that began at `beginning` and ends here, in seconds: at least 1; 0 where it does not end.
    pub fn lifetime_from(self, beginning: Self) -> u32 {
        if self >= Self::NEVER { 0 } else { self.seconds_since(beginning).max(1) }
    }

    /// The point `seconds` later.
    #[must_use]
    pub const fn plus(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(seconds as i64))
    }

    /// The day in UTC, as of ISO 8601: `2026-11-22`.
    pub fn date(self) -> String {
        // Years begin in March here, so that the day that is there in some years alone is the last. 719468 days lie between the first of
        // March of year 0 and 1970.
        let days = self.0.div_euclid(86_400).saturating_add(719_468);
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let months = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * months + 2) / 5 + 1;
        let month = if months < 10 { months + 3 } else { months - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// Whole seconds from `earlier` to here; 0 when `earlier` is not earlier.
    pub fn seconds_since(self, earlier: Self) -> u32 {
        let seconds = self.0.saturating_sub(earlier.0).max(0);
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }
}

/// The shorter of two lifetimes in seconds, of which 0 is the longest.
pub fn shorter(one: u32, other: u32) -> u32 {
    match (one, other) {
        (0, lifetime) | (lifetime, 0) => lifetime,
        (one, other) => one.min(other),
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_of_0_does_not_end() {
        let now = Timestamp::from_unix(1_700_000_000);
        assert_eq!((now.after(5), now.after(0)), (now.plus(5), Timestamp::NEVER));
        assert_eq!((now.after(5).lifetime_from(now), now.after(0).lifetime_from(now)), (5, 0));
        assert_eq!(now.lifetime_from(now.plus(1)), 1, "what has ended does not live for ever");
        assert_eq!((shorter(0, 0), shorter(0, 5), shorter(5, 0), shorter(5, 7)), (0, 5, 5, 5));
        assert_eq!(Timestamp::NEVER.date(), "9999-12-31");
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (4_107_542_399, "2100-02-28"),
            (4_107_542_400, "2100-03-01"),
            (1_795_305_600, "2026-11-22"),
        ] {
            assert_eq!(Timestamp::from_unix(seconds).date(), date, "{seconds}");
        }
        for extreme in [i64::MIN, i64::MAX] {
            assert!(!Timestamp::from_unix(extreme).date().is_empty());
        }
    }
}
