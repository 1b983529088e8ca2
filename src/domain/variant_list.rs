//! The list of a grant's variants. A token names its own by an index of one byte, so what was added later gives its place up again.
//!
//! A place stands for one variant to the tokens that are issued in a period, and the periods of a place do not overlap. When a token was
//! issued it says itself, under its MAC, so whoever looks it up needs neither a clock nor the newest list:
//!
//! - a list that is too old ends its period before the token was issued: it does not know, and is read again;
//! - a token that is too old was issued before the period began: what it stood for is gone, and so is the token.
//!
//! A place is given to another variant only after the last token of its period has expired, so the second case hits no token that is good.
//! What the grant began with lasts, and so do the first variants without a key: there are few ways to narrow a grant, and many keys. The
//! place of tokens that do not expire lasts, too.

use std::fmt;
use std::str::FromStr;

use super::grant::{MalformedVariant, Variant};
use super::timestamp::Timestamp;

/// A list has at most this many places: a token names its own in one byte.
pub const MAX_VARIANTS: usize = 256;
/// So many places may last.
const LASTING: usize = 64;
/// For so long tokens are issued for a variant that does not last, in seconds; then it takes another place.
const PERIOD: u32 = 900;
/// What is added to the end of the last token, in seconds: clocks differ, and so long the last refresh may be repeated.
const MARGIN: u32 = 60;

/// The variants of a grant. The first is all that was granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VariantList(Box<[Place]>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    variant: Variant,
    /// `None`: it lasts.
    period: Option<Box<Period>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Period {
    since: Timestamp,
    /// From then on, no token is issued for it.
    until: Timestamp,
    /// From then on, the place may be another's.
    free_at: Timestamp,
}

/// What an index in a token means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning<'l> {
    Variant(&'l Variant),
    /// The place is another's by now: the token has expired.
    Gone,
    /// The list is older than the token.
    Unknown,
}

/// Where a token that is issued now finds its variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    Known(u8),
    /// The list has to become this one before.
    New(u8, VariantList),
}

impl VariantList {
    /// All that was granted.
    pub fn first(&self) -> Option<&Variant> {
        self.0.first().map(|place| &place.variant)
    }

    /// What an index stands for in a token that was issued then.
    pub fn meaning(&self, index: u8, issued_at: Timestamp) -> Meaning<'_> {
        let Some(Place { variant, period }) = self.0.get(usize::from(index)) else { return Meaning::Unknown };
        match period {
            Some(period) if issued_at < period.since => Meaning::Gone,
            Some(period) if issued_at >= period.until => Meaning::Unknown,
            Some(_) | None => Meaning::Variant(variant),
        }
    }

    /// As [`Self::meaning`], where it is certain that there is one.
    pub fn get(&self, index: u8, issued_at: Timestamp) -> Option<&Variant> {
        match self.meaning(index, issued_at) {
            Meaning::Variant(variant) => Some(variant),
            Meaning::Gone | Meaning::Unknown => None,
        }
    }

    /// A place for the tokens of a variant that are issued now and live for at most `lifetime` seconds; 0: they do not expire. `None` when
    /// all are taken.
    pub fn place(&self, variant: &Variant, now: Timestamp, lifetime: u32) -> Option<Placement> {
        let takes = |place: &Place| place.variant == *variant && place.takes(now, lifetime);
        if let Some(index) = self.0.iter().position(takes) {
            return u8::try_from(index).ok().map(Placement::Known);
        }
        let lasts = lifetime == 0 || variant.confirmation().is_none() && self.0.len() < LASTING;
        let free = if lasts { None } else { self.0.iter().position(|place| place.is_free(now)) };
        let index = free.unwrap_or(self.0.len());
        let place = Place {
            variant: variant.clone(),
            period: (!lasts).then(|| {
                let until = now.plus(PERIOD);
                Box::new(Period { since: now, until, free_at: until.plus(lifetime).plus(MARGIN) })
            }),
        };
        let mut places = self.0.to_vec();
        match places.get_mut(index) {
            Some(free) => *free = place,
            None => places.push(place),
        }
        u8::try_from(index).ok().map(|index| Placement::New(index, Self(places.into())))
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their size in memory.
    pub fn heap_size(&self) -> usize {
        let size = |place: &Place| {
            let period = place.period.as_ref().map_or(0, |_| size_of::<Period>() + 16);
            size_of::<Place>() + place.variant.heap_size() + period
        };
        self.0.iter().map(size).sum()
    }

    /// One line each.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = String> {
        self.0.iter().map(ToString::to_string)
    }

    /// From as many lines.
    pub fn from_lines<'t>(lines: impl Iterator<Item = &'t str>) -> Result<Self, MalformedVariant> {
        let places: Box<[Place]> = lines.map(str::parse).collect::<Result<_, _>>()?;
        if places.len() > MAX_VARIANTS { Err(MalformedVariant) } else { Ok(Self(places)) }
    }
}

impl Place {
    fn takes(&self, now: Timestamp, lifetime: u32) -> bool {
        self.period.as_ref().is_none_or(|period| {
            let longest = period.free_at.seconds_since(period.until).saturating_sub(MARGIN);
            (period.since..period.until).contains(&now) && lifetime != 0 && lifetime <= longest
        })
    }

    fn is_free(&self, now: Timestamp) -> bool {
        self.period.as_ref().is_some_and(|period| now >= period.free_at)
    }
}

impl From<Vec<Variant>> for VariantList {
    /// Variants that last.
    fn from(variants: Vec<Variant>) -> Self {
        Self(variants.into_iter().map(|variant| Place { variant, period: None }).collect())
    }
}

/// A line each.
impl fmt::Display for VariantList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, place) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "\n" };
            write!(f, "{separator}{place}")?;
        }
        Ok(())
    }
}

impl FromStr for VariantList {
    type Err = MalformedVariant;

    fn from_str(text: &str) -> Result<Self, MalformedVariant> {
        Self::from_lines(text.split('\n'))
    }
}

/// The variant; where it does not last, also tabs up to the third, and the period.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variant = self.variant.to_string();
        f.write_str(&variant)?;
        if let Some(Period { since, until, free_at }) = self.period.as_deref() {
            let tabs = if variant.contains('\t') { "\t" } else { "\t\t\t" };
            write!(f, "{tabs}{since}-{until}-{free_at}")?;
        }
        Ok(())
    }
}

impl FromStr for Place {
    type Err = MalformedVariant;

    fn from_str(line: &str) -> Result<Self, MalformedVariant> {
        let Some((end, _)) = line.match_indices('\t').nth(2) else {
            return Ok(Self { variant: line.parse()?, period: None });
        };
        let mut times = line[end + 1..].split('-').map(|time| time.parse().map(Timestamp::from_unix));
        match (times.next(), times.next(), times.next(), times.next()) {
            (Some(Ok(since)), Some(Ok(until)), Some(Ok(free_at)), None) if since <= until && until <= free_at => {
                Ok(Self { variant: line[..end].parse()?, period: Some(Box::new(Period { since, until, free_at })) })
            }
            _ => Err(MalformedVariant),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn variant(text: &str) -> Variant {
        text.parse().expect("a variant")
    }

    fn bound(key: u16) -> Variant {
        variant(&format!("a\t\tjkt:{key}"))
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    fn list() -> VariantList {
        VariantList::from(vec![variant("a b")])
    }

    /// The list after a token was issued, and the index in the token.
    fn placed(list: &VariantList, variant: &Variant, now: i64, lifetime: u32) -> Option<(VariantList, u8)> {
        match list.place(variant, at(now), lifetime)? {
            Placement::Known(index) => Some((list.clone(), index)),
            Placement::New(index, list) => Some((list, index)),
        }
    }

    #[test]
    fn a_variant_is_listed_once_and_the_list_has_an_end() {
        let list = list();
        assert_eq!(list.place(&variant("b a"), at(0), 1), Some(Placement::Known(0)));
        let (list, index) = placed(&list, &variant("a"), 0, 600).expect("a place");
        assert_eq!((index, list.to_string().as_str()), (1, "a b\na"), "it lasts");
        let full = VariantList::from((0..MAX_VARIANTS).map(|n| variant(&format!("s{n}"))).collect::<Vec<_>>());
        assert_eq!(full.place(&variant("s255"), at(0), 1), Some(Placement::Known(255)));
        assert_eq!(full.place(&variant("a"), at(i64::from(u32::MAX)), 1), None);
    }

    #[test]
    fn the_place_of_tokens_that_do_not_expire_lasts() {
        let (list, index) = placed(&list(), &bound(1), 1_000, 0).expect("a place");
        assert_eq!((index, list.to_string().as_str()), (1, "a b\na\t\tjkt:1"));
        assert_eq!(list.place(&bound(1), at(i64::from(u32::MAX)), 0), Some(Placement::Known(1)));
        let (list, index) = placed(&self::list(), &bound(1), 1_000, 600).expect("a place");
        let (_, other) = placed(&list, &bound(1), 1_001, 0).expect("a place");
        assert_eq!((index, other), (1, 2), "one that will be another's is not taken");
    }

    #[test]
    fn a_place_is_anothers_only_after_the_last_token_of_its_period_has_expired() {
        let (old, index) = placed(&list(), &bound(1), 1_000, 600).expect("a place");
        assert_eq!((index, old.to_string().as_str()), (1, "a b\na\t\tjkt:1\t1000-1900-2560"));
        for (now, lifetime, expected) in [(1_899, 600, 1), (1_900, 600, 2), (999, 600, 2), (1_500, 601, 2)] {
            assert_eq!(
                placed(&old, &bound(1), now, lifetime).map(|(_, index)| index),
                Some(expected),
                "{now} {lifetime}"
            );
        }
        for (now, expected) in [(2_559, 2), (2_560, 1)] {
            assert_eq!(placed(&old, &bound(2), now, 600).map(|(_, index)| index), Some(expected), "{now}");
        }
        let (new, _) = placed(&old, &bound(2), 2_560, 600).expect("a place");
        for (issued_at, in_old, in_new) in [
            (999, Meaning::Gone, Meaning::Gone),
            (1_000, Meaning::Variant(&bound(1)), Meaning::Gone),
            (1_899, Meaning::Variant(&bound(1)), Meaning::Gone),
            (1_900, Meaning::Unknown, Meaning::Gone),
            (2_560, Meaning::Unknown, Meaning::Variant(&bound(2))),
            (3_460, Meaning::Unknown, Meaning::Unknown),
        ] {
            assert_eq!((old.meaning(1, at(issued_at)), new.meaning(1, at(issued_at))), (in_old, in_new), "{issued_at}");
        }
    }

    #[test]
    fn a_list_is_lines_and_lines_a_list() {
        for text in ["", "a b", "a\t\tjkt:x\t1-2-3\nb\thttps://r\t\t1-2-3", "a\nb\t\t\t1-2-3"] {
            assert_eq!(text.parse::<VariantList>().expect("a list").to_string(), text);
        }
        for bad in [
            "a\t\t\t",
            "a\t\t\t1-2",
            "a\t\t\t1-2-3-4",
            "a\t\t\t2-1-3",
            "a\t\t\t1-3-2",
            "a\t\t\t1-2-x",
            "a\n\"",
            "a\t\t\t1-2-3\t",
        ] {
            assert_eq!(bad.parse::<VariantList>(), Err(MalformedVariant), "{bad:?}");
        }
        assert_eq!("a\n".repeat(MAX_VARIANTS).parse::<VariantList>(), Err(MalformedVariant));
    }

    proptest! {
        /// Any server, by a clock of its own, issues tokens for any variant. Whatever list of whatever time one is looked up in, it stands
        /// for what it was issued for or for nothing; in the newest list, for what it was issued for until it expires.
        #[test]
        fn no_token_ever_stands_for_another_variant(
            steps in proptest::collection::vec((0..600_i64, -25..=25_i64, 0..40_u16, 1..1_200_u32, any::<bool>()), 1..400),
        ) {
            let mut now = 1_000_000;
            let mut lists = vec![list()];
            let mut tokens = Vec::new();
            for (pause, skew, name, lifetime, is_bound) in steps {
                // Sometimes at the same moment, so that lists get full.
                now += if pause < 300 { 0 } else { pause };
                let wanted = if is_bound { bound(name) } else { variant(&format!("s{name}")) };
                let newest = lists.last().expect("there is one");
                if let Some((list, index)) = placed(newest, &wanted, now + skew, lifetime) {
                    if list != *newest {
                        lists.push(list);
                    }
                    tokens.push((wanted, index, now + skew, lifetime));
                }
                let newest = lists.last().expect("there is one");
                for (wanted, index, issued_at, lifetime) in &tokens {
                    if now < issued_at + i64::from(*lifetime) {
                        prop_assert_eq!(newest.meaning(*index, at(*issued_at)), Meaning::Variant(wanted));
                    }
                }
            }
            for (wanted, index, issued_at, _) in &tokens {
                for list in &lists {
                    if let Meaning::Variant(found) = list.meaning(*index, at(*issued_at)) {
                        prop_assert_eq!(found, wanted);
                    }
                }
            }
        }
    }
}
