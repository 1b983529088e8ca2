//! What the pages say: one list of texts for each language, `languages/*.toml`.

use std::collections::{BTreeMap, HashMap};

use crate::domain::language::Language;

/// The texts of all languages.
pub(super) struct Texts(BTreeMap<Language, HashMap<String, String>>);

impl Texts {
    pub(super) fn embedded() -> Self {
        let parse = |language: Language| {
            let texts =
                toml::from_str(source(language)).expect("the texts are part of the program, and a test reads them");
            (language, texts)
        };
        Self(Language::ALL.into_iter().map(parse).collect())
    }

    pub(super) fn get(&self, language: Language, key: &str) -> Option<&str> {
        self.0.get(&language)?.get(key).map(String::as_str)
    }
}

fn source(language: Language) -> &'static str {
    match language {
        Language::En => include_str!("../languages/en.toml"),
        Language::De => include_str!("../languages/de.toml"),
        Language::Fr => include_str!("../languages/fr.toml"),
        Language::It => include_str!("../languages/it.toml"),
        Language::Es => include_str!("../languages/es.toml"),
    }
}

/// A text in pieces: what stands between braces is the name of a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Value(&'a str),
}

pub(super) fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    text.split_inclusive(['{', '}']).filter_map(|part| match part.strip_suffix('}') {
        Some(name) => Some(Piece::Value(name)),
        None => Some(Piece::Text(part.strip_suffix('{').unwrap_or(part))).filter(|piece| *piece != Piece::Text("")),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::pages::problem::Problem;

    fn keys(texts: &Texts, language: Language) -> BTreeSet<&str> {
        texts.0[&language].keys().map(String::as_str).collect()
    }

    fn values(text: &str) -> BTreeSet<&str> {
        let name = |piece| match piece {
            Piece::Value(name) => Some(name),
            Piece::Text(_) => None,
        };
        pieces(text).filter_map(name).collect()
    }

    #[test]
    fn every_language_says_everything_and_names_the_same_values() {
        let texts = Texts::embedded();
        for language in Language::ALL {
            assert_eq!(keys(&texts, language), keys(&texts, Language::En), "{language}");
            for (key, english) in &texts.0[&Language::En] {
                let text = texts.get(language, key).expect("the keys are the same");
                assert_eq!(values(text), values(english), "{language} {key}");
                assert!(!text.trim().is_empty() && text.trim() == text, "{language} {key}");
            }
        }
    }

    #[test]
    fn every_text_is_used_and_every_text_that_is_used_is_there() {
        let mut used: BTreeSet<String> = BTreeSet::new();
        for (_, template) in super::super::renderer::TEMPLATES {
            for call in ["t(\"", "rich(\""] {
                used.extend(template.split(call).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned));
            }
            used.extend(template.split("else \"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
        used.retain(|key| key != "problem_" && key != "lead");
        used.extend(
            ["scope_openid", "scope_profile", "scope_email", "device_unknown", "device_too_many"].map(str::to_owned),
        );
        for notice in ["device_connected", "device_denied", "signed_out"] {
            used.extend(["title", "text"].map(|part| format!("{notice}_{part}")));
        }
        for problem in Problem::ALL {
            used.extend(["title", "text"].map(|part| format!("problem_{}_{part}", problem.key())));
        }
        let texts = Texts::embedded();
        assert_eq!(used.iter().map(String::as_str).collect::<BTreeSet<_>>(), keys(&texts, Language::En));
    }

    #[test]
    fn a_text_is_taken_to_pieces() {
        let taken: Vec<Piece<'_>> = pieces("Hi {name}: {what}").collect();
        assert_eq!(taken, [Piece::Text("Hi "), Piece::Value("name"), Piece::Text(": "), Piece::Value("what")]);
        assert_eq!(pieces("{a}{b}").collect::<Vec<_>>(), [Piece::Value("a"), Piece::Value("b")]);
    }
}
