//! The life of a signing key: published, then signing, then retired, then forgotten.
//!
//! A key is published a day before it signs, so that whoever keeps `/jwks` for less has it by then; it signs for 90 days; and it
//! stays published for a day after, which is longer than anything that it signed is good for.

use super::timestamp::Timestamp;

const DAY: u32 = 86_400;
/// For how long a key signs, in seconds.
const TERM: u32 = 90 * DAY;
/// How long before it signs a key is published, in seconds.
const LEAD: u32 = DAY;
/// For how long a key stays published when it signs no more, in seconds: what it signed lives no longer.
pub const AFTERLIFE: u32 = DAY;

/// When a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    pub activates_at: Timestamp,
    pub retires_at: Timestamp,
}

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is published and will sign.
    Announced,
    /// It signs, or its successor does already.
    Active,
    /// It signs no more, and is published still.
    Retired,
    /// It is published no more.
    Withdrawn,
}

impl Phase {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl Term {
    /// Of a key that signs from now on, because there is none that could.
    pub fn at_once(now: Timestamp) -> Self {
        Self::from(now)
    }

    /// Of the successor, if it is time to publish it. The predecessor signs until then, also where nobody was there in time.
    pub fn successor(&self, now: Timestamp) -> Option<Self> {
        (now.plus(LEAD) >= self.retires_at).then(|| Self::from(now.plus(LEAD).max(self.retires_at)))
    }

    /// Of a successor that is wanted before it is time.
    pub fn early_successor(now: Timestamp) -> Self {
        Self::from(now.plus(LEAD))
    }

    pub fn phase(&self, now: Timestamp) -> Phase {
        if now < self.activates_at {
            Phase::Announced
        } else if now < self.retires_at {
            Phase::Active
        } else if now < self.retires_at.plus(AFTERLIFE) {
            Phase::Retired
        } else {
            Phase::Withdrawn
        }
    }

    fn from(activates_at: Timestamp) -> Self {
        Self { activates_at, retires_at: activates_at.plus(TERM) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: u32) -> Timestamp {
        Timestamp::from_unix(0).plus(days * DAY)
    }

    #[test]
    fn d4_a_successor_is_published_a_day_before_it_signs() {
        let first = Term::at_once(at(0));
        assert_eq!(first.retires_at, at(90));
        assert_eq!(first.successor(at(88)), None);
        let second = first.successor(at(89)).expect("it is time");
        assert_eq!(second, Term { activates_at: at(90), retires_at: at(180) });
        assert_eq!(first.successor(at(200)).map(|late| late.activates_at), Some(at(201)), "never without notice");
    }

    #[test]
    fn d4_a_key_lives_through_its_phases() {
        let term = Term { activates_at: at(1), retires_at: at(91) };
        for (day, phase) in [
            (0, Phase::Announced),
            (1, Phase::Active),
            (90, Phase::Active),
            (91, Phase::Retired),
            (92, Phase::Withdrawn),
        ] {
            assert_eq!(term.phase(at(day)), phase, "day {day}");
        }
    }
}
