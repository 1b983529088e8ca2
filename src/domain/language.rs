//! Languages of the pages, and which one a person reads.
//!
//! The client may say it (`ui_locales`, OpenID Connect Core §3.1.2.1), and the browser does (`Accept-Language`, RFC 9110 §12.5.4).
//! Both are wishes: there is always a page.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// So many wishes are read.
const MAX_WISHES: usize = 32;

/// A language that the pages speak, by its primary subtag (RFC 5646 §2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    En,
    De,
    Fr,
    It,
    Es,
}

impl Language {
    pub const ALL: [Self; 5] = [Self::En, Self::De, Self::Fr, Self::It, Self::Es];

    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
            Self::Fr => "fr",
            Self::It => "it",
            Self::Es => "es",
        }
    }

    /// The language of a tag, whatever its region or script: there is one German for Bern and Berlin.
    fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        Self::ALL.into_iter().find(|language| primary.eq_ignore_ascii_case(language.tag()))
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

/// The languages that are offered. The first one is for those who read none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Languages(Vec<Language>);

/// What a browser says of one language.
struct Wish {
    /// `None`: of every other language.
    language: Option<Language>,
    /// In thousandths. 0: not this one.
    quality: u16,
}

impl Languages {
    /// `None` where there is none, or one twice.
    pub fn new(languages: &[Language]) -> Option<Self> {
        let doubled = languages.iter().enumerate().any(|(i, language)| languages[..i].contains(language));
        (!languages.is_empty() && !doubled).then(|| Self(languages.to_vec()))
    }

    pub fn all() -> Self {
        Self(Language::ALL.to_vec())
    }

    /// The one for everybody.
    pub fn fallback(&self) -> Language {
        self.0[0]
    }

    pub fn iter(&self) -> impl Iterator<Item = Language> {
        self.0.iter().copied()
    }

    /// What the client asks for counts first, then what the browser does.
    pub fn choose(&self, ui_locales: Option<&str>, accept_language: Option<&str>) -> Language {
        let locales = ui_locales.unwrap_or_default().split(' ').take(MAX_WISHES);
        let asked = locales.filter_map(Language::of_tag).find(|language| self.0.contains(language));
        asked.unwrap_or_else(|| self.accepted(accept_language.unwrap_or_default()))
    }

    /// The one of the highest quality; of several, the one that was named first.
    fn accepted(&self, header: &str) -> Language {
        let wishes: Vec<Wish> = header.split(',').take(MAX_WISHES).filter_map(Wish::parse).collect();
        let rank = |language: Language| {
            let best = |wanted: Option<Language>| {
                let of_it = wishes.iter().enumerate().filter(|(_, wish)| wish.language == wanted);
                of_it.map(|(place, wish)| (wish.quality, MAX_WISHES - place)).max()
            };
            best(Some(language)).or_else(|| best(None))
        };
        let wanted = self.iter().filter_map(|language| Some((rank(language)?, language)));
        // Of equal ones the first, which `max_by_key` would not take.
        let best = wanted.min_by_key(|(rank, _)| Reverse(*rank));
        let best = best.filter(|((quality, _), _)| *quality > 0).map(|(_, language)| language);
        let unloved = |language: &Language| rank(*language).is_some_and(|(quality, _)| quality == 0);
        best.or_else(|| self.iter().find(|language| !unloved(language))).unwrap_or(self.fallback())
    }
}

impl Wish {
    /// A language range and its weight (RFC 9110 §12.4.2). What is neither does not count.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let range = parts.next()?;
        let quality = match parts.next() {
            None => 1_000,
            Some(weight) => thousandths(weight.strip_prefix("q=").or_else(|| weight.strip_prefix("Q="))?)?,
        };
        let language = if range == "*" { None } else { Some(Language::of_tag(range)?) };
        Some(Self { language, quality })
    }
}

/// `0`, `1` and up to three digits after the point.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1_000),
        _ => None,
    }
}

/// What an operator writes for people to read: one text for all, or one for each language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "this is a text, or a table of texts by language, such as { en = \"…\", de = \"…\" }")]
pub enum Wording {
    Same(String),
    Each(BTreeMap<Language, String>),
}

impl Wording {
    /// The text in this language, or else in the one for everybody.
    pub fn text(&self, language: Language, fallback: Language) -> Option<&str> {
        match self {
            Self::Same(text) => Some(text),
            Self::Each(texts) => texts.get(&language).or_else(|| texts.get(&fallback)).map(String::as_str),
        }
    }
}

impl From<&str> for Wording {
    fn from(text: &str) -> Self {
        Self::Same(text.into())
    }
}

/// What a scope means to the user who is asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeMeaning {
    /// One of OpenID Connect, which the pages can explain in each of their languages.
    Standard,
    /// What the operator wrote.
    Said(Wording),
    /// Nobody said.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offered(tags: &str) -> Languages {
        let languages: Vec<Language> = tags.split(' ').filter_map(Language::of_tag).collect();
        Languages::new(&languages).expect("some, and each once")
    }

    #[test]
    fn the_client_is_asked_first_and_then_the_browser_by_its_weights() {
        for (ui_locales, accept_language, expected) in [
            ("", "", "en"),
            ("", "de", "de"),
            ("", "de-CH, en;q=0.8", "de"),
            ("", "DE_at", "de"),
            ("", "en;q=0.8,fr", "fr"),
            ("", "en;q=0.5, it;q=0.501", "it"),
            ("", "it;q=0.5, es;q=0.5", "it"),
            ("", "pt-BR, pt;q=0.9, es;q=0.7, en;q=0.3", "es"),
            ("", "ja, *;q=0.5", "en"),
            ("", "de;q=0, *", "en"),
            ("", "en;q=0", "de"),
            ("", "en;q=0, *;q=0", "en"),
            ("", "en;q=0, *;q=0.1", "de"),
            ("", "fr;q=0.2, *;q=0.9", "en"),
            ("", "de;q=1.000", "de"),
            ("", "de;q=1.001, it;q=0.1", "it"),
            ("", "de;q=0.1234, it;q=0.1", "it"),
            ("", "de;q=-1, de;q=x, de;level=1, fr;q=0.1", "fr"),
            ("", "german, frog", "en"),
            ("it", "de", "it"),
            ("ja pt-BR es-MX it", "de", "es"),
            ("ja", "de", "de"),
            ("  fr  ", "de", "fr"),
            ("../../etc/passwd", "de", "de"),
        ] {
            let chosen = offered("en de fr it es").choose(Some(ui_locales), Some(accept_language));
            assert_eq!(chosen.tag(), expected, "{ui_locales:?} {accept_language:?}");
        }
        assert_eq!(offered("fr en").choose(Some("de"), Some("de")).tag(), "fr", "what is not offered is not chosen");
        let many = format!("{}de", "x,".repeat(MAX_WISHES));
        assert_eq!(offered("en de").choose(None, Some(&many)).tag(), "en", "no more than so many wishes are read");
    }

    #[test]
    fn there_is_a_language_and_each_once() {
        assert_eq!(Languages::new(&[]), None);
        assert_eq!(Languages::new(&[Language::De, Language::De]), None);
    }

    proptest! {
        #[test]
        fn whatever_is_wished_for_one_that_is_offered_is_chosen(ui_locales in ".{0,64}", accept in "[a-z,;q=.0-9* -]{0,64}") {
            let offered = offered("it es");
            let chosen = offered.choose(Some(&ui_locales), Some(&accept));
            prop_assert!(offered.iter().any(|language| language == chosen));
        }
    }
}
