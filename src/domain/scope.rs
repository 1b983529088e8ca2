//! Scopes: their syntax (RFC 6749 §3.3), sets of them, and the rules by which one scope implies another.
//!
//! Matching is exact and case-sensitive; whatever goes beyond that is an [`Implications`] rule that
//! the operator wrote down.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest scope token that is accepted, in bytes.
pub const MAX_SCOPE_LENGTH: usize = 256;

/// One scope token: `1*( %x21 / %x23-5B / %x5D-7E )` (RFC 6749 §3.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(Box<str>);

/// Text that is not a scope token, or not a list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is made of printable ASCII characters other than space, \" and \\, {MAX_SCOPE_LENGTH} at most")]
pub struct MalformedScope;

impl Scope {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` is a scope token, without building one.
    pub fn is_well_formed(text: &str) -> bool {
        !text.is_empty()
            && text.len() <= MAX_SCOPE_LENGTH
            && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E))
    }
}

impl FromStr for Scope {
    type Err = MalformedScope;

    fn from_str(text: &str) -> Result<Self, MalformedScope> {
        if Self::is_well_formed(text) { Ok(Self(text.into())) } else { Err(MalformedScope) }
    }
}

impl TryFrom<String> for Scope {
    type Error = MalformedScope;

    fn try_from(text: String) -> Result<Self, MalformedScope> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.0.into()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A set of scopes, kept as the sorted, space-separated text that the protocols send, in one allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ScopeSet(Box<str>);

impl ScopeSet {
    /// The `scope` value: tokens in ascending order, separated by one space.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ').filter(|token| !token.is_empty())
    }

    pub fn contains(&self, scope: &str) -> bool {
        self.iter().any(|granted| granted == scope)
    }

    /// The scopes of either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut tokens: Vec<&str> = self.iter().chain(other.iter()).collect();
        tokens.sort_unstable();
        tokens.dedup();
        Self(tokens.join(" ").into())
    }

    /// The scopes of this set for which `keep` holds.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.iter().filter(|scope| keep(scope)).collect::<Vec<_>>().join(" ").into())
    }
}

impl FromStr for ScopeSet {
    type Err = MalformedScope;

    fn from_str(text: &str) -> Result<Self, MalformedScope> {
        let mut tokens: Vec<&str> = text.split(' ').filter(|token| !token.is_empty()).collect();
        if !tokens.iter().all(|token| Scope::is_well_formed(token)) {
            return Err(MalformedScope);
        }
        tokens.sort_unstable();
        tokens.dedup();
        Ok(Self(tokens.join(" ").into()))
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut scopes: Vec<Scope> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        let tokens: Vec<&str> = scopes.iter().map(Scope::as_str).collect();
        Self(tokens.join(" ").into())
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rules by which a granted scope implies others. They apply together and transitively:
/// with the first two, `write` implies `write:orders`, and that implies `read:orders`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Implications {
    /// Prefix umbrellas: with `read` in the list, `read` implies every `read:…`.
    pub umbrellas: Vec<String>,
    /// `write:x` implies `read:x`.
    pub write_implies_read: bool,
    /// `a` implies `a.b`, and `a.b` implies `a.b.c`.
    pub hierarchy: bool,
    /// Explicit lists: the key implies each of its values.
    pub explicit: BTreeMap<String, Vec<String>>,
}

impl Implications {
    /// Whether `granted` holds `required`, literally or by implication.
    pub fn satisfy(&self, granted: &ScopeSet, required: &str) -> bool {
        granted.contains(required) || self.imply(granted, required)
    }

    fn imply(&self, granted: &ScopeSet, required: &str) -> bool {
        if *self == Self::default() {
            return false;
        }
        // Backwards from the requirement through everything that would imply it. `seen` ends the walk where
        // explicit lists form a circle.
        let mut seen = vec![required.to_owned()];
        let mut next = 0;
        while let Some(narrow) = seen.get(next) {
            for wider in self.implied_by(narrow) {
                if granted.contains(&wider) {
                    return true;
                }
                if !seen.contains(&wider) {
                    seen.push(wider);
                }
            }
            next += 1;
        }
        false
    }

    /// The scopes that imply `narrow` in one step.
    fn implied_by(&self, narrow: &str) -> Vec<String> {
        let mut wider = Vec::new();
        if let Some((prefix, rest)) = narrow.split_once(':') {
            if self.umbrellas.iter().any(|umbrella| umbrella == prefix) {
                wider.push(prefix.to_owned());
            }
            if self.write_implies_read && prefix == "read" {
                wider.push(format!("write:{rest}"));
            }
        }
        if self.hierarchy
            && let Some((parent, _)) = narrow.rsplit_once('.')
        {
            wider.push(parent.to_owned());
        }
        for (scope, implied) in &self.explicit {
            if implied.iter().any(|scope| scope == narrow) {
                wider.push(scope.clone());
            }
        }
        wider
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(text: &str) -> ScopeSet {
        text.parse().expect("well-formed scopes")
    }

    #[test]
    fn scope_tokens_follow_rfc_6749_section_3_3() {
        for good in ["a", "read:orders", "!", "#", "[", "]", "~", "https://x/y?z", "'", "a.b"] {
            assert!(good.parse::<Scope>().is_ok(), "{good}");
        }
        let long = "a".repeat(MAX_SCOPE_LENGTH + 1);
        for bad in ["", " ", "a b", "\"", "\\", "\u{7f}", "é", "a\n", "\0", "a\tb", &long] {
            assert_eq!(bad.parse::<Scope>(), Err(MalformedScope), "{bad:?}");
        }
    }

    #[test]
    fn a_scope_set_is_sorted_and_has_no_doubles() {
        assert_eq!(set(" b  a b ").as_str(), "a b");
        assert_eq!(set("").as_str(), "");
        assert!(set("").is_empty());
        assert_eq!("a \"".parse::<ScopeSet>(), Err(MalformedScope));
    }

    #[test]
    fn i16_implication_rules_as_a_table() {
        let none = Implications::default();
        let umbrella = Implications { umbrellas: vec!["read".into(), "write".into()], ..Implications::default() };
        let read = Implications { write_implies_read: true, ..Implications::default() };
        let both = Implications { write_implies_read: true, ..umbrella.clone() };
        let hierarchy = Implications { hierarchy: true, ..Implications::default() };
        let explicit = Implications {
            explicit: BTreeMap::from([
                ("admin".into(), vec!["orders".into(), "users".into()]),
                ("root".into(), vec!["admin".into()]),
                ("users".into(), vec!["root".into()]),
            ]),
            ..Implications::default()
        };
        for (rules, granted, required, expected) in [
            (&none, "read", "read", true),
            (&none, "read", "readonly", false),
            (&none, "readonly", "read", false),
            (&none, "a b", "ab", false),
            (&none, "Read", "read", false),
            (&none, "read", "read:orders", false),
            (&umbrella, "read", "read:orders", true),
            (&umbrella, "read", "read:orders:line", true),
            (&umbrella, "read", "reader:orders", false),
            (&umbrella, "read", "write:orders", false),
            (&umbrella, "read:orders", "read", false),
            (&umbrella, "write", "read:orders", false),
            (&read, "write:orders", "read:orders", true),
            (&read, "write:orders", "read:users", false),
            (&read, "read:orders", "write:orders", false),
            (&read, "write", "read", false),
            (&both, "write", "read:orders", true),
            (&hierarchy, "a", "a.b", true),
            (&hierarchy, "a", "a.b.c", true),
            (&hierarchy, "a.b", "a", false),
            (&hierarchy, "a", "ab.c", false),
            (&explicit, "admin", "orders", true),
            (&explicit, "root", "orders", true),
            (&explicit, "users", "orders", true),
            (&explicit, "orders", "admin", false),
            (&explicit, "other", "orders", false),
        ] {
            assert_eq!(
                rules.satisfy(&set(granted), required),
                expected,
                "{granted} satisfies {required} under {rules:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_what_parses_is_stable(text in ".{0,64}") {
            if let Ok(scopes) = text.parse::<ScopeSet>() {
                prop_assert_eq!(scopes.as_str().parse::<ScopeSet>(), Ok(scopes));
            }
        }

        #[test]
        fn without_rules_only_members_are_satisfied(granted in "[a-c.:]{1,3}( [a-c.:]{1,3}){0,3}", required in "[a-c.:]{1,3}") {
            let granted = set(&granted);
            prop_assert_eq!(Implications::default().satisfy(&granted, &required), granted.contains(&required));
        }
    }
}
