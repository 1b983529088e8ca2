//! Decisions that a page of the app sends: the whole request at once, and what the user decided.
//!
//! No page of ours was shown, so there is no ticket. Whether the request comes from the app's own page, the front decides.

use super::Service;
use super::authorization::{Allowance, Verdict};
use super::sign_in::BrowserSession;
use crate::domain::audit::Event;
use crate::domain::authorization::{AuthorizationResponse, Fatal, Rejection, ResponseTarget, client_id};
use crate::domain::error::{AccessDenied, Failure, OAuthError, Unavailable};
use crate::domain::parameters::Parameters;
use crate::domain::token::TokenText;

/// A code, and where it goes.
pub struct DirectCode {
    pub code: TokenText,
    pub response: AuthorizationResponse,
    /// The same as a URI, for a script to go to.
    pub location: String,
}

/// Why there is none.
#[derive(Debug)]
pub enum DirectFailure {
    Page(Fatal),
    Refused { target: Box<ResponseTarget>, error: OAuthError },
    Unavailable(Unavailable),
}

impl From<Fatal> for DirectFailure {
    fn from(fatal: Fatal) -> Self {
        Self::Page(fatal)
    }
}

impl From<Unavailable> for DirectFailure {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

impl Service {
    /// The redirect URI of such a request counts, also where that of a page does not. Who is not signed in lately enough for the request
    /// is refused: there is nobody to ask.
    pub async fn authorize_directly(
        &self,
        asked: &Parameters,
        verdict: Verdict,
        session: BrowserSession,
    ) -> Result<DirectCode, DirectFailure> {
        let client = self.store.client(client_id(asked)?).await?;
        let client = client.filter(|client| client.disabled_at.is_none()).ok_or(Fatal::ClientUnknown)?;
        self.is_for(&client, &session)?;
        let rules = self.settings.authorization.by_request();
        let request = self.valid_request(asked, &client, &rules, false).map_err(|rejection| match rejection {
            Rejection::Page(fatal) => fatal.into(),
            Rejection::Redirect { target, error } => refused(&target, error),
        })?;
        let target = request.target.clone();
        let hinted = match self.hinted_subject(&client, &request).await {
            Ok(hinted) => hinted,
            Err(Failure::Refused(error)) => return Err(refused(&target, error)),
            Err(Failure::Unavailable(error)) => return Err(error.into()),
        };
        if request.sign_in.asks_for_class && !self.settings.login.is_built_in() {
            return Err(refused(&target, OAuthError::UnmetAuthenticationRequirements));
        }
        if hinted.is_some_and(|subject| subject != session.session.subject)
            || !self.signed_in_lately_enough(&session, &request, "")
        {
            return Err(refused(&target, OAuthError::LoginRequired));
        }
        let subject = session.session.subject.clone();
        if verdict == Verdict::Deny {
            self.audit.record(Event::ConsentDenied { subject: &subject, client: &client.id });
            return Err(refused(&target, AccessDenied::ByUser.into()));
        }
        let standing = self.standing(&client, &request, &session).await?;
        if standing.is_other() {
            return Err(refused(&target, AccessDenied::OtherScopes.into()));
        }
        if request.scopes.is_empty() && !rules.scopes.admit_none() {
            return Err(refused(&target, AccessDenied::NoScopeKept.into()));
        }
        self.can_sign()?;
        let (grant, scopes) = (self.effects.grant_id(), request.scopes.clone());
        let basis = self.decided(standing, &request, &scopes);
        // The client or the user is gone meanwhile.
        let code = self.new_code(grant, session, request, Allowance { scopes, basis }).await?;
        let code = code.ok_or(Fatal::ClientUnknown)?;
        self.audit.record(Event::ConsentGiven { subject: &subject, client: &client.id, grant });
        let issuer = &self.settings.issuer;
        let (response, location) =
            (target.with_code(code.expose(), issuer), target.location_with_code(code.expose(), issuer));
        Ok(DirectCode { code, response, location })
    }
}

fn refused(target: &ResponseTarget, error: OAuthError) -> DirectFailure {
    DirectFailure::Refused { target: Box::new(target.clone()), error }
}
