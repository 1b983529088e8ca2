//! Requests at a proxy: whether they may pass, and what the application behind is told of their sender.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::HeaderName;

use super::Service;
use super::introspection::ActiveToken;
use super::possession::Shown;
use crate::domain::caller::Sight;
use crate::domain::challenge::{Challenge, Scheme};
use crate::domain::decision::{Decision, Match, Requirement};
use crate::domain::denial::{Body, Denial, Denials, Values};
use crate::domain::dpop::Thumbprint;
use crate::domain::error::Unavailable;
use crate::domain::network::Network;
use crate::domain::presented::{self, Malformed, Presented};
use crate::domain::request_path::RequestPath;
use crate::domain::route::{Policy, Route};

/// How requests at proxies are judged.
#[derive(Debug, Default)]
pub struct Gateway {
    /// The first that matches rules.
    pub routes: Vec<Route>,
    /// Policies that proxies may ask for by name.
    pub policies: BTreeMap<String, Policy>,
    /// Beside `Bearer`, the scheme behind which `Authorization` may have a token, exactly as it is written here.
    pub token_scheme: Option<String>,
    /// Beside `Authorization`, a token may come in this header, as it is.
    pub token_header: Option<HeaderName>,
    /// Beside `Authorization`, a token may come in this cookie.
    pub token_cookie: Option<String>,
    /// There, `Bearer` and a space are before it. Without them it is none.
    pub token_cookie_scheme: bool,
    /// Beside `Authorization`, a token may come in the query under one of these names (RFC 6750 §2.3). None: it may not.
    pub token_parameters: Vec<String>,
    /// Whether the application behind gets the token, too.
    pub forward_token: bool,
    /// Whether proxies may ask over HTTP, at `/check`.
    pub check: bool,
    /// Who may: nobody else is believed.
    pub proxies: Vec<Network>,
    /// How requests are refused.
    pub denials: Option<Denials>,
}

/// A request, as a proxy describes it. What its client wrote is bytes.
#[derive(Debug, Default)]
pub struct GatewayRequest<'r> {
    pub method: &'r str,
    pub scheme: &'r str,
    pub host: &'r str,
    /// The path and the query.
    pub target: &'r [u8],
    /// Every value of `Authorization`.
    pub authorization: Vec<&'r [u8]>,
    /// Every value of `DPoP`.
    pub proofs: Vec<&'r [u8]>,
    /// Every value of [`Gateway::token_header`].
    pub token_headers: Vec<&'r [u8]>,
    /// Every value of `Cookie`.
    pub cookies: Vec<&'r [u8]>,
    /// The certificate of the client, where the proxy vouches for one.
    pub certificate: Option<Thumbprint>,
}

/// What a proxy says that a route needs.
#[derive(Debug)]
pub enum Asked {
    /// Nothing: the rules of the configuration decide.
    Rules,
    /// This.
    Policy(Policy),
    /// What the configuration has under this name.
    Named(String),
}

impl Asked {
    /// Of the keys and values with which a proxy says it. What could be a slip of the pen means nothing at all.
    pub fn said<K: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, &'static str> {
        let mut policy = Policy::default();
        let mut name = None;
        let mut seen: Vec<Vec<u8>> = Vec::new();
        for (key, value) in pairs {
            let (key, value) = (key.as_ref(), str::from_utf8(value.as_ref()).map_err(|_| "a value is not text")?);
            if seen.iter().any(|seen| seen == key) {
                return Err("a key is there twice");
            }
            let words = || value.split_ascii_whitespace().map(str::to_owned).collect();
            match key {
                b"required_scopes" => policy.required_scopes = words(),
                b"audience" => policy.audience = words(),
                b"match" => {
                    policy.r#match = match value {
                        "all" => Match::All,
                        "any" => Match::Any,
                        _ => return Err("match is all or any"),
                    };
                }
                b"anonymous" => policy.anonymous = value.parse().map_err(|_| "anonymous is true or false")?,
                b"policy" => name = Some(value.to_owned()),
                _ => return Err("a key is none of required_scopes, match, audience, anonymous, policy"),
            }
            if value.trim().is_empty() {
                return Err("a value is empty");
            }
            seen.push(key.to_owned());
        }
        if !policy.is_well_formed() {
            return Err("required_scopes has something that is no scope");
        }
        match name {
            Some(_) if policy != Policy::default() => Err("policy stands alone"),
            Some(name) => Ok(Self::Named(name)),
            None if seen.is_empty() => Ok(Self::Rules),
            None => Ok(Self::Policy(policy)),
        }
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Passage {
    /// It passes, for whom the token stands for.
    Allowed {
        active: Box<ActiveToken>,
        /// For the next proofs (RFC 9449 §8.2).
        dpop_nonce: Option<String>,
    },
    /// It passes without a token.
    Anonymous,
    Refused(Refusal),
}

/// Why a request does not pass.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 400, 401, 403 or 503, unless the configuration has another one.
    pub status: u16,
    /// As RFC 6750 §3.1 has it; `None` where the request presents nothing.
    pub error: Option<(&'static str, String)>,
    pub www_authenticate: Option<String>,
    /// For the next proofs (RFC 9449 §9).
    pub dpop_nonce: Option<String>,
    /// In place of the error.
    pub body: Option<Box<Body>>,
}

impl Refusal {
    fn of(status: u16, code: &'static str, description: impl Into<String>) -> Self {
        Self { status, error: Some((code, description.into())), www_authenticate: None, dpop_nonce: None, body: None }
    }

    /// What is answered, if anything is.
    pub fn body(&self) -> Option<Body> {
        self.body.as_deref().cloned().or_else(|| {
            let (error, description) = self.error.as_ref()?;
            let text = serde_json::json!({ "error": error, "error_description": description }).to_string();
            Some(Body { content_type: "application/json".into(), text })
        })
    }

    fn malformed(cause: Malformed) -> Self {
        let www_authenticate = Some(format!(r#"Bearer error="invalid_request", error_description="{cause}""#));
        Self { www_authenticate, ..Self::of(400, "invalid_request", cause.to_string()) }
    }
}

/// A proxy asks for a policy that the configuration does not have: neither yes nor no is right.
#[derive(Debug)]
pub enum GatewayFailure {
    UnknownPolicy(String),
    Unavailable(Unavailable),
}

impl From<Unavailable> for GatewayFailure {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

impl Service {
    /// Whether a request may pass, at a proxy of this sight.
    pub async fn admit(
        &self,
        request: &GatewayRequest<'_>,
        asked: &Asked,
        sight: &Sight,
    ) -> Result<Passage, GatewayFailure> {
        let any_token = Policy::default();
        let policy = match asked {
            Asked::Policy(policy) => policy,
            Asked::Named(name) => match self.settings.gateway.policies.get(name) {
                Some(policy) => policy,
                None => return Err(GatewayFailure::UnknownPolicy(name.clone())),
            },
            Asked::Rules if self.settings.gateway.routes.is_empty() => &any_token,
            Asked::Rules => match self.rule(request) {
                Ok(policy) => policy,
                Err(refusal) => return Ok(Passage::Refused(refusal)),
            },
        };
        let query_token = self.settings.gateway.token_in(request.target);
        match self.token_of(request, query_token.as_ref().map(|(counts, token)| (*counts, token.as_str()))) {
            Ok(Some(presented)) => self.judge_presented(request, presented, policy, sight).await,
            Ok(None) if policy.anonymous => Ok(Passage::Anonymous),
            Ok(None) => Ok(Passage::Refused(self.nothing_presented(policy))),
            Err(cause) => Ok(Passage::Refused(Refusal::malformed(cause))),
        }
    }

    fn rule(&self, request: &GatewayRequest<'_>) -> Result<&Policy, Refusal> {
        let path = RequestPath::of_target(request.target)
            .map_err(|cause| Refusal::of(400, "invalid_request", cause.to_string()))?;
        let mut routes = self.settings.gateway.routes.iter();
        routes
            .find(|route| route.matches(request.method, request.host, path))
            .map(|route| &route.policy)
            .ok_or_else(|| Refusal::of(403, "access_denied", "no rule is about this request"))
    }

    /// The one token of a request, wherever the operator lets it stand (RFC 6750 §2: in one way alone).
    fn token_of<'r>(
        &self,
        request: &GatewayRequest<'r>,
        in_query: Option<(bool, &'r str)>,
    ) -> Result<Option<Presented<'r>>, Malformed> {
        let gateway = &self.settings.gateway;
        let in_header = presented::in_headers(&request.authorization, gateway.token_scheme.as_deref())?;
        let in_own_header = match request.token_headers.as_slice() {
            [] => None,
            [value] => Some(str::from_utf8(value).map_err(|_| Malformed)?),
            [_, ..] => return Err(Malformed),
        };
        let in_cookie = gateway.token_cookie.as_deref().and_then(|name| cookie(&request.cookies, name));
        let in_cookie = if gateway.token_cookie_scheme { in_cookie.and_then(behind_scheme) } else { in_cookie };
        // A token in the query counts as a second way even where it does not count as one.
        if in_header.is_some() && in_query.is_some() {
            return Err(Malformed);
        }
        let in_query = in_query.filter(|(counts, _)| *counts).map(|(_, token)| token);
        let elsewhere = [in_own_header, in_cookie, in_query];
        let mut all = in_header.into_iter().chain(elsewhere.into_iter().flatten().map(as_bearer));
        match (all.next(), all.next()) {
            (_, Some(_)) => Err(Malformed),
            (Some(presented), None) if !presented::is_token68(presented.token) => Err(Malformed),
            (presented, None) => Ok(presented),
        }
    }

    async fn judge_presented(
        &self,
        request: &GatewayRequest<'_>,
        Presented { scheme, token }: Presented<'_>,
        policy: &Policy,
        sight: &Sight,
    ) -> Result<Passage, GatewayFailure> {
        let requirement = policy.requirement().expect("policies were checked when they were read");
        // A bound token does not pass as a bearer token, nor the other way round (RFC 9449 §7.2): where the scheme promises a proof, a
        // missing one is a bad one.
        let proofs: Vec<String> = match (scheme, request.proofs.as_slice()) {
            (Scheme::Bearer, _) => Vec::new(),
            (Scheme::DPoP, []) => vec![String::new()],
            (Scheme::DPoP, proofs) => proofs.iter().map(|proof| String::from_utf8_lossy(proof).into_owned()).collect(),
        };
        let path = String::from_utf8_lossy(request.target.split(|&byte| byte == b'?').next().unwrap_or_default());
        let uri =
            if proofs.is_empty() { String::new() } else { format!("{}://{}{path}", request.scheme, request.host) };
        let certificate = request.certificate.as_ref().map(Thumbprint::as_str).unwrap_or_default();
        let shown = Shown { proofs: &proofs, method: request.method, uri: &uri, certificate };
        let (decision, standing) = self.check(token, sight, &requirement, &shown).await?;
        let dpop_nonce = self.resource_nonce(standing.active.as_ref(), &shown);
        if let (Decision::Allowed, Some(active)) = (&decision, &standing.active) {
            return Ok(Passage::Allowed { active: Box::new(active.clone()), dpop_nonce });
        }
        let challenge = self
            .challenge(&decision, &requirement, standing.active.as_ref(), &shown)
            .expect("what is not allowed has a challenge");
        let refusal = Refusal {
            www_authenticate: Some(challenge.to_string()),
            dpop_nonce,
            ..Refusal::of(challenge.http_status(), challenge.error.code(), challenge.error.to_string())
        };
        Ok(Passage::Refused(self.worded(refusal, |denials| denials.of(&challenge), requirement.scopes())))
    }

    /// RFC 6750 §3.1: no error is named to who presents nothing; what to ask for, and where, is.
    fn nothing_presented(&self, policy: &Policy) -> Refusal {
        let mut attributes = Vec::new();
        if let Some(url) = self.settings.resources.metadata_url(&policy.audience) {
            attributes.push(format!(r#"resource_metadata="{url}""#));
        }
        if policy.r#match == Match::All && !policy.required_scopes.is_empty() {
            attributes.push(format!(r#"scope="{}""#, policy.required_scopes.join(" ")));
        }
        let challenge =
            if attributes.is_empty() { "Bearer".into() } else { format!("Bearer {}", attributes.join(", ")) };
        let refusal =
            Refusal { status: 401, error: None, www_authenticate: Some(challenge), dpop_nonce: None, body: None };
        self.worded(refusal, |denials| Some(&denials.missing_token), &policy.required_scopes)
    }

    /// Neither yes nor no.
    pub fn cannot_judge(&self) -> Refusal {
        let refusal = Refusal::of(503, "temporarily_unavailable", "the access token cannot be checked now");
        self.worded(refusal, |denials| Some(&denials.unavailable), &[])
    }

    /// The status and the `WWW-Authenticate` value that go with a challenge. Empty: there is no such header.
    pub fn words(&self, challenge: &Challenge<'_>, requirement: &Requirement<'_>) -> (u16, String) {
        let (status, standard) = (challenge.http_status(), challenge.to_string());
        let Some(denial) = self.settings.gateway.denials.as_ref().and_then(|denials| denials.of(challenge)) else {
            return (status, standard);
        };
        let values = Values { scopes: requirement.scopes(), issuer: &self.settings.issuer, challenge: &standard };
        (denial.status(status), denial.www_authenticate(&values).unwrap_or_default())
    }

    /// A refusal in the words of the application behind.
    fn worded<'d>(
        &'d self,
        refusal: Refusal,
        which: impl FnOnce(&'d Denials) -> Option<&'d Denial>,
        scopes: &[String],
    ) -> Refusal {
        let Some(denial) = self.settings.gateway.denials.as_ref().and_then(which) else { return refusal };
        let challenge = refusal.www_authenticate.as_deref().unwrap_or_default();
        let values = Values { scopes, issuer: &self.settings.issuer, challenge };
        Refusal {
            status: denial.status(refusal.status),
            www_authenticate: denial.www_authenticate(&values),
            body: denial.body(&values).map(Box::new),
            ..refusal
        }
    }
}

impl Gateway {
    /// The token in the query of a target, and whether it counts. Two are malformed, which no token can be.
    fn token_in(&self, target: &[u8]) -> Option<(bool, String)> {
        let mut tokens = self.in_query(target);
        let (name, first) = tokens.next()?;
        let counts = self.takes(&name);
        Some(match tokens.next() {
            Some((other, _)) => (counts || self.takes(&other), String::new()),
            None => (counts, first.into_owned()),
        })
    }

    fn takes(&self, parameter: &str) -> bool {
        self.token_parameters.iter().any(|own| own == parameter)
    }

    /// The names under which a target has tokens in its query: the application behind does not get them.
    pub fn token_parameters_of(&self, target: &[u8]) -> Vec<String> {
        let mut names: Vec<String> = self.in_query(target).map(|(name, _)| name.into_owned()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// `access_token` is one even where none is taken there.
    fn in_query<'r>(&self, target: &'r [u8]) -> impl Iterator<Item = (Cow<'r, str>, Cow<'r, str>)> {
        let query = target.splitn(2, |&byte| byte == b'?').nth(1).unwrap_or_default();
        form_urlencoded::parse(query).filter(|(name, _)| name == "access_token" || self.takes(name))
    }
}

fn as_bearer(token: &str) -> Presented<'_> {
    Presented { scheme: Scheme::Bearer, token }
}

/// What is behind `Bearer` and a space, which cookies cannot have as it is. Nothing is malformed, and so are two.
fn behind_scheme(cookie: &str) -> Option<&str> {
    if cookie.is_empty() {
        return Some(cookie);
    }
    let (scheme, token) = cookie.split_once("%20").or_else(|| cookie.split_once(' '))?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

/// A cookie that is there once: twice is malformed, as above.
fn cookie<'r>(headers: &[&'r [u8]], name: &str) -> Option<&'r str> {
    let pairs = headers.iter().filter_map(|header| str::from_utf8(header).ok()).flat_map(|header| header.split(';'));
    let mut values =
        pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(own, _)| *own == name).map(|(_, value)| value);
    let first = values.next()?;
    Some(if values.next().is_some() { "" } else { first })
}
