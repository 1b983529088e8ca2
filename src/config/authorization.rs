//! The section `[authorization]`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::domain::authorization_rules::{
    AnswerRules, ApiShape, AuthorizationRules, Beyond, DecisionApi, EmptyScope, ErrorsOf, MalformedQuery,
    RedirectStatus, Repeated, ScopeRules, Separators, Spelling, Spellings, WithoutScope,
};
use crate::domain::paths::Paths;
use crate::domain::pkce::PkceRules;
use crate::domain::redirect_rules::{RedirectAtToken, RedirectChoice, RedirectMatch, RedirectRules};
use crate::domain::redirect_uri::RedirectScheme;
use crate::domain::scope::{Scope, ScopeSet};

/// What the authorization endpoint takes, and how it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authorization {
    /// The schemes that redirect URIs may have: `https`; `http`, to loopback addresses; `private_use`, reversed domain names; `urn`, without
    /// an authority. URIs of other schemes are neither registered nor followed.
    pub redirect_uri_schemes: Vec<RedirectScheme>,
    /// Which redirect URI counts: `requested`, a registered one, or none where the client has one; `requested_or_first`, a registered one, or
    /// none for the first; `first_registered`, whatever the request says.
    pub redirect_uri: RedirectChoice,
    /// When a requested one is registered: `exact`, but for the port of a loopback literal (RFC 8252 section 7.3); `query_subset`, also with
    /// more parameters; `case_and_slash`, but for case and a slash at the end, and the port of a loopback literal of a public client.
    pub redirect_uri_match: RedirectMatch,
    /// What `redirect_uri` has to be at the token endpoint: `as_authorized`, that of the authorization request, or none as there;
    /// `if_authorized`, anything where there was none; `optional`, where the answer went, or none; `optional_if_only`, the same, none only
    /// from a client that has one; `registered`, any registered one, or none.
    pub redirect_uri_at_token: RedirectAtToken,
    /// Whether a code is shown to the user where the redirect URI is `urn:ietf:wg:oauth:2.0:oob` or `urn:ietf:wg:oauth:2.0:oob:auto`. Needs
    /// `urn` among the schemes.
    pub out_of_band: bool,
    /// The status of redirects to clients: 303 (RFC 9700 section 4.12) or 302.
    pub redirect_status: RedirectStatus,
    /// Whether answers say who answers, in `iss` (RFC 9207).
    pub iss_parameter: bool,
    /// Who is told when `response_type`, `scope` or `state` come twice: `redirect`, the client; `page`, the user.
    pub repeated_parameters: Repeated,
    /// What becomes of a query that is not made of names and values alone, as `a=1&` or `a=%zz`: `read`, what can be read of it counts;
    /// `refuse`, the user is told.
    pub malformed_query: MalformedQuery,
    /// The errors of whose requests are sent back at once: those of `verified_clients`, where for others the user is asked (RFC 9700 section
    /// 4.11.2); or of `all_clients`.
    pub errors_of: ErrorsOf,
    /// What becomes of requested scopes that are not in `scopes.catalogue`: `refuse` the request, `drop` them, or `keep` them.
    pub unknown_scopes: Beyond,
    /// And of those that are, but beyond what the client may ask for.
    pub scopes_beyond_client: Beyond,
    /// Whether a scope has to stand in `scopes.catalogue` itself. Otherwise those count, too, that one there implies, as `read` may imply every
    /// `read:…`.
    pub listed_scopes_only: bool,
    /// What a request without `scope` is for: `all` that the client may ask for, `none`, or `default`.
    pub without_scope: NoScope,
    /// What `default` is.
    pub default_scopes: Vec<Scope>,
    /// What an empty `scope` is: `omitted` (RFC 6749 section 3.1), or a reason to `refuse`.
    pub empty_scope: EmptyScope,
    /// What stands between requested scopes: `space` (RFC 6749 section 3.3), or `space_or_comma`, as some clients send them.
    pub scope_separators: Separators,
    pub api: Api,
    /// How errors of this endpoint are spelled that are not to be spelled as usual: by reason, `error` and `description`, which pages show
    /// below their text; `{redirect_uri}` in it stands for that of the request, in JSON; an empty description is none. The reasons:
    /// `client_missing`, `client_unknown`, `client_document`, `redirect_uri_missing`,
    /// `redirect_uri_malformed`, `redirect_uri_unregistered`, `request_uri`, `malformed`, `too_long`, `client_id_repeated`, `redirect_uri_repeated`,
    /// `response_type_repeated`, `scope_repeated`, `state_repeated`, `response_type_missing`, `response_type_unsupported`,
    /// `client_not_allowed`, `challenge_missing`, `challenge_method`, `challenge`, `scope`, `denied`, `other_scopes`.
    pub errors: BTreeMap<String, Spelling>,
}

/// What a request without `scope` is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoScope {
    #[default]
    All,
    None,
    Default,
}

/// Where an app's own page sends what its user decided. The user is known as on our own pages.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// What such a request looks like: as of `fittrackee`, `funkwhale`, `gancio` or `forgejo`; or `none`.
    pub shape: ApiShape,
    /// Its path.
    pub path: String,
}

impl Default for Authorization {
    fn default() -> Self {
        let RedirectRules { schemes, choice, matching, at_token, out_of_band } = RedirectRules::default();
        let AnswerRules { status, name_issuer, errors_of } = AnswerRules::default();
        Self {
            redirect_uri_schemes: schemes,
            redirect_uri: choice,
            redirect_uri_match: matching,
            redirect_uri_at_token: at_token,
            out_of_band,
            redirect_status: status,
            iss_parameter: name_issuer,
            repeated_parameters: Repeated::default(),
            malformed_query: MalformedQuery::default(),
            errors_of,
            unknown_scopes: Beyond::default(),
            listed_scopes_only: false,
            scopes_beyond_client: Beyond::default(),
            without_scope: NoScope::default(),
            default_scopes: Vec::new(),
            empty_scope: EmptyScope::default(),
            scope_separators: Separators::default(),
            api: Api::default(),
            errors: BTreeMap::new(),
        }
    }
}

impl Authorization {
    pub(super) fn validate(&self, paths: &Paths) -> Result<(), ConfigError> {
        let wrong = |key: &str, why: &str| Err(ConfigError::new(key, why));
        if self.redirect_uri_schemes.is_empty() {
            return wrong("authorization.redirect_uri_schemes", "this has a scheme");
        }
        if self.out_of_band && !self.redirect_uri_schemes.contains(&RedirectScheme::Urn) {
            return wrong("authorization.out_of_band", "this needs urn among authorization.redirect_uri_schemes");
        }
        if self.without_scope == NoScope::Default && self.default_scopes.is_empty() {
            return wrong("authorization.default_scopes", "authorization.without_scope needs a scope here");
        }
        if self.api.shape != ApiShape::None {
            let checked = paths.check_decisions(&self.api.path);
            checked.map_err(|error| ConfigError::new("authorization.api.path", &error.to_string()))?;
        }
        for (reason, Spelling { error, description }) in &self.errors {
            let key = format!("authorization.errors.{reason}");
            // RFC 6749 section 4.1.2.1.
            let is_said = |text: &str| text.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E));
            if !Spellings::REASONS.contains(&reason.as_str()) {
                return wrong(&key, "there is no such reason");
            }
            if !is_said(error) || !is_said(description.as_deref().unwrap_or_default()) {
                return wrong(&key, "this is made of printable ASCII characters other than \" and \\");
            }
        }
        Ok(())
    }

    /// `catalogue` has every known scope; an empty one knows all.
    pub(super) fn rules(&self, pkce: PkceRules, catalogue: ScopeSet) -> AuthorizationRules {
        AuthorizationRules {
            redirects: RedirectRules {
                schemes: self.redirect_uri_schemes.clone(),
                choice: self.redirect_uri,
                matching: self.redirect_uri_match,
                at_token: self.redirect_uri_at_token,
                out_of_band: self.out_of_band,
            },
            pkce,
            scopes: ScopeRules {
                unknown: self.unknown_scopes,
                beyond_client: self.scopes_beyond_client,
                without: match self.without_scope {
                    NoScope::All => WithoutScope::All,
                    NoScope::None => WithoutScope::None,
                    NoScope::Default => WithoutScope::These(self.default_scopes.iter().cloned().collect()),
                },
                empty: self.empty_scope,
                separators: self.scope_separators,
                catalogue: (!catalogue.is_empty()).then_some(catalogue),
                listed_only: self.listed_scopes_only,
            },
            repeated: self.repeated_parameters,
            malformed_query: self.malformed_query,
            answers: AnswerRules {
                status: self.redirect_status,
                name_issuer: self.iss_parameter,
                errors_of: self.errors_of,
            },
            spellings: Spellings::new(self.errors.clone()),
            api: (self.api.shape != ApiShape::None)
                .then(|| DecisionApi { shape: self.api.shape, path: self.api.path.clone() }),
        }
    }
}
