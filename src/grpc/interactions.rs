//! `scopegate.v1.InteractionService`: request → one use case → reply.

use std::sync::Arc;

use prost_types::value::Kind as Is;
use prost_types::{ListValue, Struct, Value};
use serde_json::Value as Json;
use tonic::{Request, Response, Status};

use super::revocations::time;
use super::status;
use crate::domain::app_user::UserClaims;
use crate::domain::interaction::{AppSignIn, Kind, Rejection};
use crate::proto::scopegate::v1 as api;
use crate::proto::scopegate::v1::interaction_service_server::InteractionService;
use crate::service::Service;
use crate::service::interaction::{Asked, ConsentAnswer, InteractionFailure, SignInAnswer};

/// How deep a context may be.
const MAX_DEPTH: usize = 16;

#[derive(Clone)]
pub(super) struct InteractionFront {
    service: Arc<Service>,
}

impl InteractionFront {
    pub(super) fn new(service: Arc<Service>) -> Self {
        Self { service }
    }
}

#[tonic::async_trait]
impl InteractionService for InteractionFront {
    async fn get_interaction(
        &self,
        request: Request<api::GetInteractionRequest>,
    ) -> Result<Response<api::GetInteractionResponse>, Status> {
        let asked = self.service.interaction_asked(None, &request.get_ref().challenge).await.map_err(failed)?;
        Ok(Response::new(api::GetInteractionResponse { interaction: Some(interaction(asked)) }))
    }

    async fn accept_login(
        &self,
        request: Request<api::AcceptLoginRequest>,
    ) -> Result<Response<api::AcceptLoginResponse>, Status> {
        let request = request.into_inner();
        let context =
            request.context.map(|context| json(Value { kind: Some(Is::StructValue(context)) }, 0)).transpose()?;
        let answer = SignInAnswer {
            subject: request.subject,
            claims: claims(request.claims),
            sign_in: AppSignIn {
                acr: text(request.acr),
                amr: request.amr,
                remembered: request.remember,
                for_pages: false,
                context: context.map(|context| context.to_string()),
            },
            remember_for: request.remember_for,
        };
        let redirect_to = self.service.accept_login(&request.challenge, answer).await.map_err(failed)?;
        Ok(Response::new(api::AcceptLoginResponse { redirect_to }))
    }

    async fn accept_consent(
        &self,
        request: Request<api::AcceptConsentRequest>,
    ) -> Result<Response<api::AcceptConsentResponse>, Status> {
        let request = request.into_inner();
        let answer = ConsentAnswer {
            scopes: request.granted_scopes,
            resources: request.granted_audiences,
            remember: request.remember,
            claims: claims(request.claims),
        };
        let redirect_to = self.service.accept_consent(&request.challenge, answer).await.map_err(failed)?;
        Ok(Response::new(api::AcceptConsentResponse { redirect_to }))
    }

    async fn reject_interaction(
        &self,
        request: Request<api::RejectInteractionRequest>,
    ) -> Result<Response<api::RejectInteractionResponse>, Status> {
        let api::RejectInteractionRequest { challenge, error, error_description } = request.into_inner();
        let rejection = Rejection::new(&error, &error_description).map_err(|error| failed(error.into()))?;
        let redirect_to = self.service.reject_interaction(None, &challenge, rejection).await.map_err(failed)?;
        Ok(Response::new(api::RejectInteractionResponse { redirect_to }))
    }
}

fn interaction(asked: Asked) -> api::Interaction {
    let kind = match asked.kind {
        Kind::Login => api::InteractionKind::Login,
        Kind::Consent => api::InteractionKind::Consent,
    };
    let client = asked.client.as_ref();
    let mut interaction = api::Interaction {
        kind: kind.into(),
        client_id: client.map(|client| client.id.to_string()).unwrap_or_default(),
        client_name: client.map(|client| client.name.clone()).unwrap_or_default(),
        client_verified: client.is_some_and(crate::domain::client::Client::is_verified),
        request_url: asked.request_url,
        must_sign_in: asked.must_sign_in,
        ..api::Interaction::default()
    };
    if let Some(request) = asked.request {
        interaction.requested_scopes = request.scopes.iter().map(str::to_owned).collect();
        interaction.requested_audiences = request.resources.iter().map(ToString::to_string).collect();
        interaction.max_age = request.sign_in.max_age;
        interaction.login_hint = request.sign_in.login_hint.unwrap_or_default();
        let locales = request.sign_in.ui_locales.unwrap_or_default();
        interaction.ui_locales = locales.split_ascii_whitespace().map(str::to_owned).collect();
    }
    if let Some(session) = asked.session {
        session.subject.as_str().clone_into(&mut interaction.subject);
        interaction.session_id = session.id.to_string();
        interaction.auth_time = Some(time(session.created_at));
        let sign_in = *session.sign_in.unwrap_or_default();
        interaction.acr = sign_in.acr.unwrap_or_default();
        interaction.amr = sign_in.amr;
        interaction.context =
            sign_in.context.and_then(|context| match value(serde_json::from_str(&context).ok()?).kind {
                Some(Is::StructValue(context)) => Some(context),
                _ => None,
            });
    }
    interaction
}

fn text(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn claims(claims: Option<api::UserClaims>) -> UserClaims {
    let claims = claims.unwrap_or_default();
    UserClaims {
        name: text(claims.name),
        preferred_username: text(claims.preferred_username),
        given_name: text(claims.given_name),
        family_name: text(claims.family_name),
        picture: text(claims.picture),
        locale: text(claims.locale),
        email: text(claims.email),
        email_verified: claims.email_verified,
        groups: Some(claims.groups).filter(|groups| !groups.is_empty()),
    }
}

fn json(value: Value, depth: usize) -> Result<Json, Status> {
    if depth > MAX_DEPTH {
        return Err(status::invalid_field("context", "this is not so deep"));
    }
    Ok(match value.kind {
        None | Some(Is::NullValue(_)) => Json::Null,
        Some(Is::BoolValue(value)) => value.into(),
        Some(Is::NumberValue(value)) => value.into(),
        Some(Is::StringValue(value)) => value.into(),
        Some(Is::ListValue(ListValue { values })) => {
            values.into_iter().map(|value| json(value, depth + 1)).collect::<Result<Vec<_>, _>>()?.into()
        }
        Some(Is::StructValue(Struct { fields })) => Json::Object(
            fields
                .into_iter()
                .map(|(name, value)| Ok((name, json(value, depth + 1)?)))
                .collect::<Result<_, Status>>()?,
        ),
    })
}

fn value(json: Json) -> Value {
    let kind = match json {
        Json::Null => Is::NullValue(0),
        Json::Bool(value) => Is::BoolValue(value),
        Json::Number(value) => Is::NumberValue(value.as_f64().unwrap_or_default()),
        Json::String(value) => Is::StringValue(value),
        Json::Array(values) => Is::ListValue(ListValue { values: values.into_iter().map(value).collect() }),
        Json::Object(fields) => {
            Is::StructValue(Struct { fields: fields.into_iter().map(|(name, field)| (name, value(field))).collect() })
        }
    };
    Value { kind: Some(kind) }
}

fn failed(failure: InteractionFailure) -> Status {
    match failure {
        InteractionFailure::Unknown => status::not_found("INTERACTION_UNKNOWN", "there is no such interaction"),
        InteractionFailure::Over { restart } => status::interaction_over(restart),
        InteractionFailure::Unacceptable(error) => status::invalid_field(field(error.member), error.why),
        InteractionFailure::Unavailable(error) => status::unavailable(error),
    }
}

/// What this service calls a member of the API over REST.
fn field(member: &'static str) -> &'static str {
    match member {
        "grant_scope" => "granted_scopes",
        "grant_access_token_audience" => "granted_audiences",
        other => other,
    }
}
