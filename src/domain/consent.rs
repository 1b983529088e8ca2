//! What users allowed clients, and when they are not asked again.
//!
//! Whoever can be sure that an answer reaches the client that the user meant may go on without asking. That is so of a client that
//! proves who it is when it redeems the code. A public client is known by its redirect URI alone: one with a host of its own, by https
//! (RFC 8252 §8.6); a scheme or a port of the device may be that of any other app (RFC 6749 §10.2).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::client::Client;
use super::scope::{Implications, ScopeSet};
use super::timestamp::Timestamp;

/// The most decisions that are kept about one client and one user; the oldest goes first.
const MAX_ALLOWANCES: usize = 16;
/// The longest text that is kept about them, in bytes.
const MAX_LENGTH: usize = 16 << 10;

/// For which clients it is remembered what a user allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Remember {
    /// For none.
    Never,
    /// For those that prove who they are.
    #[default]
    Confidential,
    /// Also for public ones, where the answer goes to an https host.
    Always,
}

/// What an operator wants for one client. Never for the client itself to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsentPolicy {
    /// As configured for all.
    #[default]
    Configured,
    /// It is remembered what a user allowed.
    Remember,
    /// Users are asked each time.
    AlwaysAsk,
    /// Users are not asked: it is an app of the operator's own.
    Skip,
}

/// Text that is no such policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is configured, remember, always-ask or skip")]
pub struct UnknownPolicy;

impl ConsentPolicy {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Remember => "remember",
            Self::AlwaysAsk => "always-ask",
            Self::Skip => "skip",
        }
    }

    /// Whether it needs no mention.
    pub fn is_usual(&self) -> bool {
        *self == Self::Configured
    }
}

impl FromStr for ConsentPolicy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        let all = [Self::Configured, Self::Remember, Self::AlwaysAsk, Self::Skip];
        all.into_iter().find(|policy| policy.as_str() == text).ok_or(UnknownPolicy)
    }
}

/// What becomes of a request for other scopes than the user allowed before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OtherScopes {
    /// For fewer, the user need not be asked; for more, the user is asked.
    #[default]
    Ask,
    /// It is refused until the user has taken back what was allowed, also where the user is asked each time.
    Refuse,
}

/// When a user is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// Each time.
    Always,
    /// Unless the user allowed as much before.
    Once,
    /// Not at all.
    Never,
}

/// What holds for all clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsentRules {
    pub remember: Remember,
    /// For how many seconds; `None`: until it is taken back.
    pub lifetime: Option<u32>,
    /// Whether users can allow a part of what they are asked for.
    pub partial: bool,
    pub other_scopes: OtherScopes,
}

impl Default for ConsentRules {
    fn default() -> Self {
        let (remember, other_scopes) = (Remember::default(), OtherScopes::default());
        Self { remember, lifetime: None, partial: true, other_scopes }
    }
}

impl ConsentRules {
    /// When the user of a client is asked whose answer would go to `redirect_uri`.
    pub fn asking(&self, client: &Client, redirect_uri: &str) -> Asking {
        // RFC 8252 §8.6.
        if !client.is_confidential() && !has_host_of_its_own(redirect_uri) {
            return Asking::Always;
        }
        match (client.metadata.consent, self.remember) {
            // An operator can only say of a client of the operator's own that users need not be asked.
            (ConsentPolicy::Skip, _) if client.is_verified() => Asking::Never,
            (ConsentPolicy::Remember, _) | (ConsentPolicy::Configured, Remember::Always) => Asking::Once,
            (ConsentPolicy::Configured, Remember::Confidential) if client.is_confidential() => Asking::Once,
            (ConsentPolicy::Skip | ConsentPolicy::AlwaysAsk, _)
            | (ConsentPolicy::Configured, Remember::Confidential | Remember::Never) => Asking::Always,
        }
    }

    /// What was allowed before this counts no more.
    pub fn horizon(&self, now: Timestamp) -> Option<Timestamp> {
        self.lifetime.map(|lifetime| Timestamp::from_unix(now.as_unix().saturating_sub(i64::from(lifetime))))
    }
}

/// Whether answers that go there reach whoever has that host, and nobody on the user's device.
fn has_host_of_its_own(redirect_uri: &str) -> bool {
    Url::parse(redirect_uri).is_ok_and(|url| {
        url.scheme() == "https"
            && match url.host() {
                Some(Host::Domain(name)) => {
                    let name = name.trim_end_matches('.');
                    name != "localhost" && !name.ends_with(".localhost")
                }
                Some(Host::Ipv4(address)) => !address.is_loopback() && !address.is_unspecified(),
                Some(Host::Ipv6(address)) => !address.is_loopback() && !address.is_unspecified(),
                None => false,
            }
    })
}

/// What a user was asked, and what of it the user kept.
pub struct Decision<'a> {
    pub asked: &'a ScopeSet,
    pub kept: &'a ScopeSet,
    /// In ascending order; none: not restricted.
    pub resources: &'a [Box<str>],
    pub at: Timestamp,
}

/// What one decision allowed, as far as no later one took it back.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Allowance {
    at: Timestamp,
    scopes: ScopeSet,
    resources: Vec<Box<str>>,
}

/// What a user allowed a client before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed(Vec<Allowance>);

/// Text that is no such thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not what a user allowed")]
pub struct MalformedAllowed;

impl Allowed {
    /// Without what was allowed before `horizon`.
    #[must_use]
    pub fn since(mut self, horizon: Option<Timestamp>) -> Self {
        self.0.retain(|allowance| horizon.is_none_or(|horizon| allowance.at > horizon));
        self
    }

    /// Without what was allowed with one of these scopes, which restrict the others, where `asked` is without it.
    #[must_use]
    pub fn as_restricted(mut self, restrictions: &ScopeSet, asked: &ScopeSet) -> Self {
        let is_free = |scope: &str| restrictions.contains(scope) && !asked.contains(scope);
        self.0.retain(|allowance| !allowance.scopes.iter().any(is_free));
        self
    }

    /// Whether a scope was allowed at these resources.
    pub fn has(&self, scope: &str, resources: &[Box<str>], rules: &Implications) -> bool {
        self.0.iter().any(|allowance| allowance.is_at(resources) && rules.satisfy(&allowance.scopes, scope))
    }

    /// Whether nothing was allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether these scopes, no more and no fewer, were allowed at these resources, in one decision.
    pub fn has_exactly(&self, scopes: &ScopeSet, resources: &[Box<str>]) -> bool {
        self.0.iter().any(|allowance| allowance.is_at(resources) && allowance.scopes == *scopes)
    }

    /// With a decision, which has the last word on what it was about. Who was asked for no scope at all has allowed just that.
    #[must_use]
    pub fn with(mut self, decision: &Decision<'_>, rules: &Implications) -> Self {
        let dropped = decision.asked.filter(|scope| !decision.kept.contains(scope));
        self.0.retain_mut(|allowance| {
            if !allowance.is_at(decision.resources) {
                return true;
            }
            let goes_on = |scope: &str| {
                let alone = allowance.scopes.filter(|other| other == scope);
                !decision.asked.contains(scope) && !dropped.iter().any(|dropped| rules.satisfy(&alone, dropped))
            };
            let kept = allowance.scopes.filter(goes_on);
            let goes_on = !kept.is_empty() || (allowance.scopes.is_empty() && !decision.asked.is_empty());
            allowance.scopes = kept;
            goes_on
        });
        if decision.kept.is_empty() && !decision.asked.is_empty() {
            return self;
        }
        self.0.push(Allowance {
            at: decision.at,
            scopes: decision.kept.clone(),
            resources: decision.resources.to_vec(),
        });
        while self.0.len() > MAX_ALLOWANCES || (!self.0.is_empty() && self.to_string().len() > MAX_LENGTH) {
            self.0.remove(0);
        }
        self
    }
}

impl Allowance {
    /// Without resources, a token is restricted to none: that is another thing than some, and more.
    fn is_at(&self, resources: &[Box<str>]) -> bool {
        self.resources.is_empty() == resources.is_empty()
            && resources.iter().all(|resource| self.resources.contains(resource))
    }
}

/// One line for each decision: the time, the scopes and the resources, with tabs between.
impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Allowance { at, scopes, resources }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{at}\t{scopes}\t{}", resources.join(" "))?;
        }
        Ok(())
    }
}

impl FromStr for Allowed {
    type Err = MalformedAllowed;

    fn from_str(text: &str) -> Result<Self, MalformedAllowed> {
        let line = |line: &str| {
            let mut parts = line.split('\t');
            let (Some(at), Some(scopes), Some(resources), None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                return Err(MalformedAllowed);
            };
            Ok(Allowance {
                at: Timestamp::from_unix(at.parse().map_err(|_| MalformedAllowed)?),
                scopes: scopes.parse().map_err(|_| MalformedAllowed)?,
                resources: resources.split(' ').filter(|resource| !resource.is_empty()).map(Into::into).collect(),
            })
        };
        text.split('\n').filter(|text| !text.is_empty()).map(line).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::client::{ClientMetadata, ClientType, Introspects, Registrar};
    use crate::domain::secret::SecretHash;

    fn client(public: bool, consent: ConsentPolicy) -> Client {
        let secret = ClientType::Confidential { secret: SecretHash::of("secret"), previous: None };
        Client {
            id: "app".parse().expect("a client id"),
            name: "App".into(),
            client_type: if public { ClientType::Public } else { secret },
            redirect_uris: Vec::new(),
            scopes: ScopeSet::default(),
            introspects: Introspects::Own,
            metadata: ClientMetadata { consent, ..ClientMetadata::default() },
            created_at: Timestamp::from_unix(0),
            disabled_at: None,
            registrar: Registrar::Operator,
            last_used_at: None,
        }
    }

    #[test]
    fn who_is_asked_each_time() {
        use Asking::{Always, Never, Once};
        use ConsentPolicy::{AlwaysAsk, Configured, Skip};
        for (remember, public, policy, redirect_uri, expected) in [
            (Remember::Never, false, Configured, "https://c/", Always),
            (Remember::Never, false, ConsentPolicy::Remember, "https://c/", Once),
            (Remember::Never, false, Skip, "https://c/", Never),
            (Remember::Confidential, false, Configured, "http://127.0.0.1/", Once),
            (Remember::Confidential, false, AlwaysAsk, "https://c/", Always),
            (Remember::Confidential, true, Configured, "https://c/", Always),
            (Remember::Confidential, true, ConsentPolicy::Remember, "https://c/", Once),
            (Remember::Confidential, true, ConsentPolicy::Remember, "com.example.app:/cb", Always),
            (Remember::Confidential, true, Skip, "com.example.app:/cb", Always),
            (Remember::Confidential, true, Skip, "https://c/", Never),
            (Remember::Always, true, Configured, "https://c/", Once),
            (Remember::Always, true, Configured, "http://127.0.0.1/", Always),
            (Remember::Always, true, Configured, "https://127.0.0.1/", Always),
            (Remember::Always, true, Configured, "https://[::1]/", Always),
            (Remember::Always, true, Configured, "https://app.localhost./", Always),
            (Remember::Always, true, AlwaysAsk, "https://c/", Always),
        ] {
            let rules = ConsentRules { remember, ..ConsentRules::default() };
            let asking = rules.asking(&client(public, policy), redirect_uri);
            assert_eq!(asking, expected, "{remember:?} {public} {policy:?} {redirect_uri}");
        }
        let itself = Registrar::Itself { access_token: SecretHash::of("token"), unused_until: None };
        let itself = Client { registrar: itself, ..client(false, Skip) };
        assert_eq!(ConsentRules::default().asking(&itself, "https://c/"), Always);
    }

    fn scopes(text: &str) -> ScopeSet {
        text.parse().expect("scopes")
    }

    fn decided(before: Allowed, asked: &str, kept: &str, resources: &[&str], at: i64, rules: &Implications) -> Allowed {
        let resources: Vec<Box<str>> = resources.iter().map(|&resource| resource.into()).collect();
        let (asked, kept) = (scopes(asked), scopes(kept));
        let at = Timestamp::from_unix(at);
        before.with(&Decision { asked: &asked, kept: &kept, resources: &resources, at }, rules)
    }

    #[test]
    fn decisions_add_up_and_the_last_one_counts() {
        let rules = Implications { umbrellas: vec!["read".into()], ..Implications::default() };
        let has = |allowed: &Allowed, scope: &str| allowed.has(scope, &[], &rules);
        let allowed = decided(Allowed::default(), "a b", "a", &[], 1, &rules);
        assert!(has(&allowed, "a") && !has(&allowed, "b"));
        let allowed = decided(allowed, "b read", "b read", &[], 2, &rules);
        assert!(has(&allowed, "a") && has(&allowed, "b") && has(&allowed, "read:orders"));
        assert!(!allowed.has("a", &["https://r".into()], &rules), "that is another thing");
        assert_eq!(allowed.to_string().parse(), Ok(allowed.clone()));
        let younger = allowed.clone().since(Some(Timestamp::from_unix(1)));
        assert!(!has(&younger, "a") && has(&younger, "b"));
        let fewer = decided(allowed, "a b read:orders", "b", &[], 3, &rules);
        assert!(!has(&fewer, "a") && has(&fewer, "b"));
        assert!(!has(&fewer, "read:orders") && !has(&fewer, "read"), "read would bring it back");
    }

    #[test]
    fn resources_are_allowed_together() {
        let rules = Implications::default();
        let allowed = decided(Allowed::default(), "a", "a", &["https://r", "https://s"], 1, &rules);
        assert!(allowed.has("a", &["https://s".into()], &rules));
        assert!(!allowed.has("a", &["https://s".into(), "https://t".into()], &rules));
        assert!(!allowed.has("a", &[], &rules));
        assert_eq!(allowed.to_string().parse(), Ok(allowed));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let rules = Implications::default();
        let resource = format!("https://r/{}", "x".repeat(2_000));
        let allowed = (0..40)
            .fold(Allowed::default(), |allowed, n| decided(allowed, "a", "a", &[&format!("{resource}{n}")], n, &rules));
        assert!(allowed.to_string().len() <= MAX_LENGTH && allowed.0.len() <= MAX_ALLOWANCES);
        assert!(allowed.has("a", &[format!("{resource}39").into()], &rules), "the newest stays");
        for malformed in ["x\ta\t", "1\ta", "1\ta\t\t", "1\t\"\t"] {
            assert_eq!(malformed.parse::<Allowed>(), Err(MalformedAllowed), "{malformed:?}");
        }
    }
}
