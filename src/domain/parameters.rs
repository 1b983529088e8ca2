//! Request parameters as OAuth has them: `application/x-www-form-urlencoded`, each at most once, an empty value
//! the same as none, unknown ones ignored (RFC 6749 §3.1 and §3.2). Where it may be, also a JSON object of strings.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use zeroize::Zeroizing;

use super::error::InvalidRequest;

/// More parameters than this are refused.
pub const MAX_PARAMETERS: usize = 64;

/// Whether it is made of pairs of a name and a value alone, as whoever writes a form does it: browsers and servers make something of
/// anything else, each its own.
pub fn is_well_formed(encoded: &str) -> bool {
    let is_pair = |pair: &str| {
        let mut escapes = pair.split('%').skip(1).map(str::as_bytes);
        pair.contains('=') && escapes.all(|rest| rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit))
    };
    encoded.is_empty() || encoded.split('&').all(is_pair)
}

/// Parsed parameters. Some are secrets, so `Debug` shows only names.
#[derive(Default)]
pub struct Parameters(BTreeMap<String, Vec<Zeroizing<String>>>);

impl Parameters {
    pub fn parse(encoded: &[u8]) -> Result<Self, InvalidRequest> {
        let pairs = form_urlencoded::parse(encoded);
        Self::from_pairs(pairs.map(|(name, value)| (name.into_owned(), Zeroizing::new(value.into_owned()))))
    }

    /// The members of a JSON object, each a string or null. One that is there twice is a parameter that is repeated.
    pub fn from_json(text: &[u8]) -> Result<Self, InvalidRequest> {
        let mut json = serde_json::Deserializer::from_slice(text);
        let members = json.deserialize_map(Members).map_err(|_| InvalidRequest::NotJson)?;
        json.end().map_err(|_| InvalidRequest::NotJson)?;
        Self::from_pairs(members.into_iter())
    }

    /// From names and values.
    pub fn from_pairs(pairs: impl Iterator<Item = (String, Zeroizing<String>)>) -> Result<Self, InvalidRequest> {
        let mut parameters: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (count, (name, value)) in pairs.enumerate() {
            if count == MAX_PARAMETERS {
                return Err(InvalidRequest::TooManyParameters);
            }
            parameters.entry(name).or_default().push(value);
        }
        Ok(Self(parameters))
    }

    /// The value, unless the parameter is missing, empty or repeated.
    pub fn get(&self, name: &str) -> Option<&str> {
        match self.0.get(name)?.as_slice() {
            [value] => Some(value.as_str()).filter(|value| !value.is_empty()),
            _ => None,
        }
    }

    pub fn require(&self, name: &'static str) -> Result<&str, InvalidRequest> {
        self.get(name).ok_or(InvalidRequest::Missing(name))
    }

    /// Every value of a parameter that may be repeated.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(|value| value.as_str())
    }

    /// As a form, without some parameters and with others.
    pub fn encode(&self, without: &[&str], with: &[(&str, &str)]) -> String {
        let kept = self.0.iter().filter(|(name, _)| !without.contains(&name.as_str()));
        let pairs = kept.flat_map(|(name, values)| values.iter().map(move |value| (name.as_str(), value.as_str())));
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).extend_pairs(with).finish()
    }

    pub fn is_repeated(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|values| values.len() > 1)
    }

    /// Refuses any repeated parameter but `resource`, the one that may be (RFC 8707 §2).
    pub fn refuse_repeated(&self) -> Result<(), InvalidRequest> {
        if self.0.iter().any(|(name, values)| values.len() > 1 && name != "resource") {
            return Err(InvalidRequest::Repeated);
        }
        Ok(())
    }
}

/// Reads an object of strings, with each member as often as it is there.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, Zeroizing<String>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Option<String>>()? {
            members.push((name, Zeroizing::new(value.unwrap_or_default())));
        }
        Ok(members)
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_is_missing_and_repeated_is_refused() {
        let parameters = Parameters::parse(b"a=1&b=&c=x&c=&d=%C3%A4+%2B").expect("few parameters");
        assert_eq!(parameters.get("a"), Some("1"));
        assert_eq!(parameters.get("b"), None);
        assert_eq!(parameters.get("c"), None);
        assert_eq!(parameters.get("d"), Some("ä +"));
        assert_eq!(parameters.require("b"), Err(InvalidRequest::Missing("b")));
        assert!(parameters.is_repeated("c") && !parameters.is_repeated("a"));
        assert_eq!(parameters.refuse_repeated(), Err(InvalidRequest::Repeated));
        assert_eq!(format!("{parameters:?}"), r#"{"a", "b", "c", "d"}"#);
    }

    #[test]
    fn whatever_is_not_a_name_and_a_value_is_not_well_formed() {
        for good in ["", "a=", "=", "a=1&b=2", "a=1=2", "a=%C3%a4+&b=\u{e4}"] {
            assert!(is_well_formed(good), "{good}");
        }
        for bad in ["&", "a", "a=1&", "&a=1", "a=1&&b=2", "a=1&b", "a=%", "a=%4", "a=%4g", "%zz=1", "a=%\u{e4}"] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }

    #[test]
    fn t25_too_many_parameters_are_refused() {
        let many = "a=1&".repeat(MAX_PARAMETERS + 1);
        assert_eq!(Parameters::parse(many.as_bytes()).err(), Some(InvalidRequest::TooManyParameters));
    }

    #[test]
    fn a_json_object_of_strings_is_parameters() {
        let text = br#" {"a": "1", "b": "", "c": null, "d": "\u00e4 +", "e": "x", "e": "y"} "#;
        let parameters = Parameters::from_json(text).expect("an object of strings");
        assert_eq!((parameters.get("a"), parameters.get("b"), parameters.get("c")), (Some("1"), None, None));
        assert_eq!(parameters.get("d"), Some("ä +"));
        assert!(parameters.is_repeated("e"));
        for bad in ["", "[]", "1", r#"{"a": 1}"#, r#"{"a": ["1"]}"#, r#"{"a": {}}"#, r#"{"a": "1"} x"#, r#"{"a": "1" "#]
        {
            assert_eq!(Parameters::from_json(bad.as_bytes()).err(), Some(InvalidRequest::NotJson), "{bad}");
        }
        let many: Vec<String> = (0..=MAX_PARAMETERS).map(|n| format!(r#""{n}": "1" "#)).collect();
        let many = format!("{{{}}}", many.join(","));
        assert_eq!(Parameters::from_json(many.as_bytes()).err(), Some(InvalidRequest::TooManyParameters));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Parameters::parse(&bytes);
            let _ = Parameters::from_json(&bytes);
        }
    }
}
