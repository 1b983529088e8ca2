//! The userinfo endpoint (OpenID Connect Core §5.3).

use serde::Serialize;

use super::Service;
use super::possession::{Shown, ShownKeys};
use crate::domain::app_user::UserClaims;
use crate::domain::caller::Sight;
use crate::domain::certificate::ClientCertificate;
use crate::domain::challenge::{Challenge, ChallengeError, Scheme};
use crate::domain::decision::{Decision, Match, Requirement};
use crate::domain::dpop::{InvalidProof, Thumbprint};
use crate::domain::error::Unavailable;
use crate::domain::grant::SubjectId;
use crate::domain::openid::{EMAIL, GROUPS, OPENID, PROFILE};
use crate::domain::presented::Presented;
use crate::domain::scope::ScopeSet;

/// What the user is called (OpenID Connect Core §5.1).
#[derive(Serialize)]
pub struct UserInfo {
    sub: String,
    #[serde(flatten)]
    claims: UserClaims,
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
    /// What the app said of a user, as far as the scopes go; `None` for a user whom it does not name.
    pub(super) async fn claims_of_app(
        &self,
        subject: &SubjectId,
        scopes: &ScopeSet,
    ) -> Result<Option<UserClaims>, Unavailable> {
        let tells_groups = self.settings.openid.as_ref().is_some_and(|openid| openid.groups);
        let tells_something =
            [PROFILE, EMAIL].iter().any(|scope| scopes.contains(scope)) || tells_groups && scopes.contains(GROUPS);
        if self.settings.login.is_built_in() || !tells_something {
            return Ok(None);
        }
        let claims = self.store.user_claims(subject.clone()).await?.map(|claims| claims.within(scopes));
        Ok(claims.map(|claims| UserClaims { groups: claims.groups.filter(|_| tells_groups), ..claims }))
    }

    /// What the scopes of an access token let its client know of the user. `method` and `keys` are of the request that presents it.
    pub async fn user_info(
        &self,
        presented: Presented<'_>,
        method: &str,
        keys: &ShownKeys,
    ) -> Result<UserInfo, UserInfoFailure> {
        let scopes = [OPENID.to_owned()];
        let requirement = Requirement::new(&scopes, Match::All, &[])
            .map_err(|error| Unavailable { operation: "ask for a scope", cause: Box::new(error) })?;
        // RFC 9449 §7.2: with the other scheme, a proof counts for nothing.
        let proofs = match presented.scheme {
            Scheme::Bearer => Vec::new(),
            Scheme::DPoP => keys.proofs.iter().map(|proof| String::from_utf8_lossy(proof).into_owned()).collect(),
        };
        let certificate = keys.certificate.as_ref().map(ClientCertificate::thumbprint);
        let uri = format!("{}{}", self.settings.issuer, keys.path);
        let shown = Shown {
            proofs: &proofs,
            method,
            uri: &uri,
            certificate: certificate.as_ref().map_or("", Thumbprint::as_str),
        };
        let challenged = |challenge: &Challenge<'_>| UserInfoFailure::Challenged {
            status: challenge.http_status(),
            www_authenticate: challenge.to_string(),
        };
        let of = |error| Challenge { error, scheme: presented.scheme, resource_metadata: None };
        if presented.scheme == Scheme::DPoP && proofs.is_empty() {
            return Err(challenged(&of(ChallengeError::InvalidProof(InvalidProof::Required))));
        }
        let (decision, standing) = self.check(presented.token, &Sight::All, &requirement, &shown).await?;
        let refusal = self.challenge(&decision, &requirement, standing.active.as_ref(), &shown);
        let (Decision::Allowed, Some(active)) = (&decision, standing.active) else {
            return Err(challenged(&refusal.unwrap_or(of(ChallengeError::InvalidToken))));
        };
        // A machine is no user to tell of, whatever its scopes imply.
        if active.facts.username.is_empty() {
            return Err(challenged(&of(ChallengeError::InvalidToken)));
        }
        // A resource must not learn with the token that it gets what is meant for the client.
        if !active.variant().resources().is_empty() {
            return Err(challenged(&of(ChallengeError::InvalidAudience)));
        }
        let sub = active.facts.subject.as_str().to_owned();
        let claims = match self.claims_of_app(&active.facts.subject, active.scopes()).await? {
            Some(claims) => claims,
            None if active.scopes().contains(PROFILE) => {
                let name = Some(active.facts.username.to_string());
                UserClaims { preferred_username: name.clone(), name, ..UserClaims::default() }
            }
            None => UserClaims::default(),
        };
        Ok(UserInfo { sub, claims })
    }
}
