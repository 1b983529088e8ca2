//! `scopegate.v1.TokenService`: request → one use case → reply.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tonic::{Request, Response, Status, Streaming};

use super::revocations::time;
use super::{checks, consistency, revocations, status};
use crate::domain::caller::{Caller, Permission};
use crate::domain::decision::{Decision, Match, Requirement};
use crate::domain::grant::Confirmation;
use crate::domain::step_up::AuthenticationRequirement;
use crate::domain::timestamp::Timestamp;
use crate::facts::Source;
use crate::proto::scopegate::v1 as api;
use crate::proto::scopegate::v1::token_service_server::TokenService;
use crate::service::Service;
use crate::service::introspection::{ActiveToken, Standing};
use crate::service::possession::Shown;
use crate::service::revocation::Reach;
use crate::telemetry::correlation::{CHECKS, Correlation};

/// How long a refusal may be kept: it does not become a permission, but a new key or scope rule may be on its way.
const REFUSAL_TTL: Duration = Duration::from_secs(10);
/// How long one check may take, whatever the caller allows.
pub(super) const CHECK_LIMIT: Duration = Duration::from_millis(500);
/// The largest batch.
const MAX_BATCH: usize = 1_000;

#[derive(Clone)]
pub(super) struct TokenFront {
    service: Arc<Service>,
    /// Who asks.
    caller: Caller,
}

impl TokenFront {
    pub(super) fn new(service: Arc<Service>, caller: Caller) -> Self {
        Self { service, caller }
    }

    async fn introspect_one(&self, request: &api::IntrospectRequest) -> Result<api::IntrospectResponse, Status> {
        self.come_as_far_as(request.consistency.as_ref()).await?;
        if request.token.is_empty() {
            return Err(status::token_missing());
        }
        let (token, sight) = (&request.token, &self.caller.sight);
        let standing = match request.resource.as_str() {
            "" => self.service.introspect(token, sight).await,
            resource => Box::pin(self.service.introspect_at(token, sight, resource)).await,
        };
        let standing = standing.map_err(status::unavailable)?;
        let consistency_token = self.consistency_token();
        Ok(match &standing.active {
            Some(active) => self.describe(active, standing.source, consistency_token),
            None => api::IntrospectResponse {
                cache_status: cache_status(standing.source).into(),
                consistency_token,
                ..api::IntrospectResponse::default()
            },
        })
    }

    pub(super) async fn check_one(
        &self,
        request: &api::CheckScopesRequest,
    ) -> Result<api::CheckScopesResponse, Status> {
        self.come_as_far_as(request.consistency.as_ref()).await?;
        if request.token.is_empty() {
            return Err(status::token_missing());
        }
        if request.include_introspection && !self.caller.may(Permission::Introspect) {
            return Err(status::caller_not_permitted());
        }
        let requirement = requirement(request)?;
        let shown = request.proof.as_ref().map(shown).unwrap_or_default();
        let (decision, standing) = self
            .service
            .check(&request.token, &self.caller.sight, &requirement, &shown)
            .await
            .map_err(status::unavailable)?;
        let challenge = self.service.challenge(&decision, &requirement, standing.active.as_ref(), &shown);
        let words = challenge.map(|challenge| self.service.words(&challenge, &requirement));
        let answer = self.answer(request, words, &decision, &standing);
        let dpop_nonce = self.service.resource_nonce(standing.active.as_ref(), &shown).unwrap_or_default();
        Ok(api::CheckScopesResponse { dpop_nonce, ..answer })
    }

    fn answer(
        &self,
        request: &api::CheckScopesRequest,
        words: Option<(u16, String)>,
        decision: &Decision<'_>,
        standing: &Standing,
    ) -> api::CheckScopesResponse {
        let described = standing.active.as_ref().filter(|_| request.include_introspection);
        let (http_status, www_authenticate) = words.unwrap_or((200, String::new()));
        api::CheckScopesResponse {
            http_status: http_status.into(),
            www_authenticate,
            decision: match decision {
                Decision::Allowed => api::Decision::Allowed,
                Decision::InactiveToken => api::Decision::InactiveToken,
                Decision::InsufficientScope { .. } => api::Decision::InsufficientScope,
                Decision::InvalidAudience => api::Decision::InvalidAudience,
                Decision::InsufficientUserAuthentication { .. } => api::Decision::InsufficientUserAuthentication,
                Decision::InvalidProof(_) => api::Decision::InvalidProof,
            }
            .into(),
            missing_scopes: match decision {
                Decision::InsufficientScope { missing } | Decision::InsufficientUserAuthentication { missing } => {
                    missing.iter().map(|&scope| scope.to_owned()).collect()
                }
                _ => Vec::new(),
            },
            introspection: described.map(|active| self.describe(active, standing.source, self.consistency_token())),
            cache_status: cache_status(standing.source).into(),
            cache_ttl: self.cache_ttl(request, decision, standing),
            consistency_token: self.consistency_token(),
            dpop_nonce: String::new(),
            restrictions: standing
                .active
                .as_ref()
                .map(|active| self.service.restrictions_of(active))
                .unwrap_or_default(),
        }
    }

    fn describe(&self, active: &ActiveToken, source: Source, consistency_token: String) -> api::IntrospectResponse {
        let (scopes, known) = (self.service.scopes_of(active), active.facts.authentication.as_ref());
        api::IntrospectResponse {
            active: true,
            scope: scopes.to_string(),
            client_id: active.facts.client.to_string(),
            username: active.facts.username.to_string(),
            token_type: active.token_type().into(),
            exp: active.token.expires_at().map_or(0, Timestamp::as_unix),
            iat: active.token.issued_at.as_unix(),
            nbf: active.token.issued_at.as_unix(),
            sub: active.facts.subject.as_str().to_owned(),
            aud: active.variant().resources().iter().map(ToString::to_string).collect(),
            iss: self.service.settings.issuer.clone(),
            jti: active.token.jti(),
            cnf: active.variant().confirmation().map(confirmation),
            scopes: scopes.iter().map(str::to_owned).collect(),
            grant_id: active.token.grant.to_string(),
            cache_status: cache_status(source).into(),
            consistency_token,
            session_id: active.facts.session.map(|session| session.to_string()).unwrap_or_default(),
            auth_time: known.map_or(0, |known| known.auth_time.as_unix()),
            acr: known.and_then(|known| known.acr.as_deref()).unwrap_or_default().to_owned(),
        }
    }

    /// How long a caller may keep an answer.
    fn cache_ttl(
        &self,
        request: &api::CheckScopesRequest,
        decision: &Decision<'_>,
        standing: &Standing,
    ) -> Option<prost_types::Duration> {
        let bound = standing.active.as_ref().is_some_and(|active| active.variant().confirmation().is_some());
        let ttl = match decision {
            // A proof is for one request.
            Decision::InvalidProof(_) => Duration::ZERO,
            // What was recent enough is not so for long.
            Decision::Allowed if bound || request.max_age.is_some() => Duration::ZERO,
            Decision::Allowed => self.service.settings.answer_ttl,
            Decision::InactiveToken
            | Decision::InsufficientScope { .. }
            | Decision::InsufficientUserAuthentication { .. }
            | Decision::InvalidAudience => REFUSAL_TTL,
        };
        Some(ttl).filter(|ttl| !ttl.is_zero()).and_then(|ttl| ttl.try_into().ok())
    }

    /// Read your own revocation: an answer is never older than what the caller has seen.
    async fn come_as_far_as(&self, consistency: Option<&api::Consistency>) -> Result<(), Status> {
        let Some(consistency) = consistency.filter(|consistency| !consistency.at_least_as_fresh.is_empty()) else {
            return Ok(());
        };
        let position = consistency::position(&consistency.at_least_as_fresh)?;
        let reached = Box::pin(self.service.reaches(position)).await.map_err(status::unavailable)?;
        reached.then_some(()).ok_or_else(status::behind)
    }

    fn consistency_token(&self) -> String {
        consistency::token(self.service.revocation_position())
    }
}

fn requirement(request: &api::CheckScopesRequest) -> Result<Requirement<'_>, Status> {
    let matching = match request.r#match() {
        api::Match::Unspecified | api::Match::All => Match::All,
        api::Match::Any => Match::Any,
    };
    let authentication =
        AuthenticationRequirement::new(&request.acr_values, request.max_age).map_err(status::malformed_acr)?;
    Requirement::new(&request.required_scopes, matching, &request.required_audiences)
        .map(|requirement| requirement.with_authentication(authentication))
        .map_err(status::malformed_scope)
}

fn shown(proof: &api::Proof) -> Shown<'_> {
    Shown {
        proofs: &proof.dpop,
        method: &proof.http_method,
        uri: &proof.http_uri,
        certificate: &proof.client_certificate_sha256,
    }
}

/// What was said belongs to a trace. Nothing is read for it where nobody logs it.
pub(super) fn log_check(answer: &Result<api::CheckScopesResponse, Status>, headers: &http::HeaderMap) {
    match answer {
        Ok(answer) if tracing::enabled!(target: CHECKS, tracing::Level::DEBUG) => {
            let Correlation { trace_id, request_id } = Correlation::of(headers);
            let decision = answer.decision().as_str_name();
            tracing::debug!(target: CHECKS, trace_id, request_id, decision, "a token was checked");
        }
        Ok(_) => {}
        Err(failure) => {
            let Correlation { trace_id, request_id } = Correlation::of(headers);
            tracing::info!(trace_id, request_id, code = ?failure.code(), "a token could not be checked");
        }
    }
}

/// A line for each answer, as above, and one for all that failed: no batch fills the log of those who did not ask for it.
fn log_batch(answers: &[Result<api::CheckScopesResponse, Status>], headers: &http::HeaderMap) {
    answers.iter().filter(|answer| answer.is_ok()).for_each(|answer| log_check(answer, headers));
    let mut failures = answers.iter().filter_map(|answer| answer.as_ref().err());
    if let Some(first) = failures.next() {
        let Correlation { trace_id, request_id } = Correlation::of(headers);
        let failed = 1 + failures.count();
        tracing::info!(trace_id, request_id, code = ?first.code(), failed, "tokens of a batch could not be checked");
    }
}

fn reach(mode: api::RevocationMode) -> Reach {
    match mode {
        api::RevocationMode::Unspecified | api::RevocationMode::Strict => Reach::Strict,
        api::RevocationMode::Bounded => Reach::Bounded,
    }
}

fn confirmation(key: &Confirmation) -> api::Confirmation {
    match key {
        Confirmation::Jkt(thumbprint) => {
            api::Confirmation { jkt: thumbprint.to_string(), ..api::Confirmation::default() }
        }
        Confirmation::X5tS256(thumbprint) => {
            api::Confirmation { x5t_s256: thumbprint.to_string(), ..api::Confirmation::default() }
        }
    }
}

fn cache_status(source: Source) -> api::CacheStatus {
    match source {
        Source::Nowhere => api::CacheStatus::Unspecified,
        Source::Local => api::CacheStatus::Local,
        Source::Shared => api::CacheStatus::Shared,
        Source::Store => api::CacheStatus::Store,
        Source::Bypassed => api::CacheStatus::Bypassed,
    }
}

#[tonic::async_trait]
impl TokenService for TokenFront {
    async fn introspect(
        &self,
        request: Request<api::IntrospectRequest>,
    ) -> Result<Response<api::IntrospectResponse>, Status> {
        self.introspect_one(request.get_ref()).await.map(Response::new)
    }

    async fn batch_introspect(
        &self,
        request: Request<api::BatchIntrospectRequest>,
    ) -> Result<Response<api::BatchIntrospectResponse>, Status> {
        use api::batch_introspect_result::Result as Item;
        let requests = &request.get_ref().requests;
        if requests.len() > MAX_BATCH {
            return Err(status::batch_too_large(MAX_BATCH));
        }
        let results = join_all(requests.iter().map(async |request| api::BatchIntrospectResult {
            result: Some(match self.introspect_one(request).await {
                Ok(response) => Item::Response(response),
                Err(status) => Item::Error(status::as_item(&status)),
            }),
        }))
        .await;
        Ok(Response::new(api::BatchIntrospectResponse { results }))
    }

    async fn check_scopes(
        &self,
        request: Request<api::CheckScopesRequest>,
    ) -> Result<Response<api::CheckScopesResponse>, Status> {
        let answer = self.check_one(request.get_ref()).await;
        log_check(&answer, request.metadata().as_ref());
        answer.map(Response::new)
    }

    async fn batch_check_scopes(
        &self,
        request: Request<api::BatchCheckScopesRequest>,
    ) -> Result<Response<api::BatchCheckScopesResponse>, Status> {
        use api::batch_check_scopes_result::Result as Item;
        let requests = &request.get_ref().requests;
        if requests.len() > MAX_BATCH {
            return Err(status::batch_too_large(MAX_BATCH));
        }
        let answers = join_all(requests.iter().map(|request| self.check_one(request))).await;
        log_batch(&answers, request.metadata().as_ref());
        let item = |answer| match answer {
            Ok(response) => Item::Response(response),
            Err(status) => Item::Error(status::as_item(&status)),
        };
        let results = answers.into_iter().map(|answer| api::BatchCheckScopesResult { result: Some(item(answer)) });
        Ok(Response::new(api::BatchCheckScopesResponse { results: results.collect() }))
    }

    type StreamCheckScopesStream = checks::Stream;

    async fn stream_check_scopes(
        &self,
        requests: Request<Streaming<api::StreamCheckScopesRequest>>,
    ) -> Result<Response<Self::StreamCheckScopesStream>, Status> {
        checks::answers(self.service.clone(), self.clone(), requests).map(Response::new)
    }

    async fn revoke(&self, request: Request<api::RevokeRequest>) -> Result<Response<api::RevokeResponse>, Status> {
        let request = request.get_ref();
        if request.token.is_empty() {
            return Err(status::token_missing());
        }
        let revoked = self.service.revoke_by_token(&request.token, &self.caller, reach(request.mode())).await;
        let effective = revoked.map_err(status::unavailable)?;
        Ok(Response::new(api::RevokeResponse {
            consistency_token: self.consistency_token(),
            effective_time: Some(time(effective)),
        }))
    }

    async fn batch_revoke(
        &self,
        request: Request<api::BatchRevokeRequest>,
    ) -> Result<Response<api::BatchRevokeResponse>, Status> {
        let reach = reach(request.get_ref().mode());
        let target = revocations::target(request.into_inner())?;
        let effective = self.service.revoke_target(target, reach).await.map_err(status::unavailable)?;
        Ok(Response::new(api::BatchRevokeResponse {
            consistency_token: self.consistency_token(),
            effective_time: Some(time(effective)),
        }))
    }

    type WatchRevocationsStream = revocations::Stream;

    async fn watch_revocations(
        &self,
        request: Request<api::WatchRevocationsRequest>,
    ) -> Result<Response<Self::WatchRevocationsStream>, Status> {
        let cursor = Some(&request.get_ref().consistency_token).filter(|token| !token.is_empty());
        let after = cursor.map(|token| consistency::position(token)).transpose()?;
        revocations::watch(self.service.clone(), after).await.map(Response::new)
    }
}
