//! The userinfo endpoint (OpenID Connect Core §5.3).

use serde::Serialize;

use super::Service;
use super::possession::Shown;
use crate::domain::challenge::{Challenge, ChallengeError, Scheme};
use crate::domain::decision::{Decision, Match, Requirement};
use crate::domain::error::Unavailable;
use crate::domain::openid::{OPENID, PROFILE};

/// What the user is called (OpenID Connect Core §5.1).
#[derive(Serialize)]
pub struct UserInfo {
    sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// Why nothing is told.
pub enum UserInfoFailure {
    /// The access token does not do (RFC 6750 §3).
    Challenged {
        status: u16,
        www_authenticate: String,
    },
    Unavailable(Unavailable),
}

impl From<Unavailable> for UserInfoFailure {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

impl Service {
    /// What the scopes of an access token let its client know of the user.
    pub async fn user_info(&self, access_token: &str, shown: &Shown<'_>) -> Result<UserInfo, UserInfoFailure> {
        let scopes = [OPENID.to_owned()];
        let requirement = Requirement::new(&scopes, Match::All, &[])
            .map_err(|error| Unavailable { operation: "ask for a scope", cause: Box::new(error) })?;
        let (decision, standing) = self.check(access_token, &requirement, shown).await?;
        let refusal = self.challenge(&decision, &requirement, standing.active.as_ref(), shown);
        let challenged = |challenge: Challenge<'_>| UserInfoFailure::Challenged {
            status: challenge.http_status(),
            www_authenticate: challenge.to_string(),
        };
        let scheme = if shown.proofs.is_empty() { Scheme::Bearer } else { Scheme::DPoP };
        let refused = |error| Challenge { error, scheme, resource_metadata: None };
        let (Decision::Allowed, Some(active)) = (&decision, standing.active) else {
            return Err(challenged(refusal.unwrap_or(refused(ChallengeError::InvalidToken))));
        };
        // A resource must not learn with the token that it gets what is meant for the client.
        if !active.variant().resources().is_empty() {
            return Err(challenged(refused(ChallengeError::InvalidAudience)));
        }
        let name = active.scopes().contains(PROFILE).then(|| active.facts.username.to_string());
        Ok(UserInfo { sub: active.facts.subject.as_str().to_owned(), preferred_username: name.clone(), name })
    }
}
