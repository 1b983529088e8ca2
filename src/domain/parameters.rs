//! Request parameters as OAuth has them: `application/x-www-form-urlencoded`, each at most once, an empty value
//! the same as none, unknown ones ignored (RFC 6749 §3.1 and §3.2).

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use super::error::InvalidRequest;

/// More parameters than this are refused.
pub const MAX_PARAMETERS: usize = 64;

/// Parsed parameters. Some are secrets, so `Debug` shows only names.
#[derive(Default)]
pub struct Parameters(BTreeMap<String, Vec<Zeroizing<String>>>);

impl Parameters {
    pub fn parse(encoded: &[u8]) -> Result<Self, InvalidRequest> {
        let mut parameters: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (count, (name, value)) in form_urlencoded::parse(encoded).enumerate() {
            if count == MAX_PARAMETERS {
                return Err(InvalidRequest::TooManyParameters);
            }
            parameters.entry(name.into_owned()).or_default().push(Zeroizing::new(value.into_owned()));
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
    fn t25_too_many_parameters_are_refused() {
        let many = "a=1&".repeat(MAX_PARAMETERS + 1);
        assert_eq!(Parameters::parse(many.as_bytes()).err(), Some(InvalidRequest::TooManyParameters));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Parameters::parse(&bytes);
        }
    }
}
