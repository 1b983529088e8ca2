//! What the pages take on which users manage their apps: somebody who is signed in, lately where secrets are shown, and forms that this
//! browser session was shown.
//!
//! A form is shown to nobody who has not signed in lately, and is good for ten minutes. So whoever sends one did both.

use super::Service;
use super::app_sign_in::{Again, SessionFailure, Visitor};
use super::sign_in::BrowserSession;
use crate::domain::error::Unavailable;
use crate::domain::parameters::Parameters;
use crate::domain::token::GrantId;

/// So long after the sign-in the forms are shown, in seconds.
const LATELY: u32 = 900;

/// Why nothing is shown or done.
#[derive(Debug)]
pub enum ManagingFailure {
    /// Nobody is signed in; or somebody is, and not lately enough.
    SignIn(Again),
    /// The app does not say when its users signed in.
    NoSignInTime,
    /// It is not known who this is, or it is somebody who is not let in.
    NotAdmitted,
    /// The form is none that this session was shown for this, or it was shown too long ago, or it was used.
    Stale,
    /// There is nothing of this name that is the user's.
    Unknown,
    Unavailable(Unavailable),
}

impl From<Unavailable> for ManagingFailure {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

impl From<SessionFailure> for ManagingFailure {
    fn from(failure: SessionFailure) -> Self {
        match failure {
            SessionFailure::Refused => Self::NotAdmitted,
            SessionFailure::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

impl Service {
    pub(super) async fn signed_in(&self, visitor: &Visitor) -> Result<BrowserSession, ManagingFailure> {
        let session = self.browser_session(visitor).await?;
        session.filter(BrowserSession::is_for_pages).ok_or(ManagingFailure::SignIn(Again::No))
    }

    pub(super) async fn signed_in_lately(&self, visitor: &Visitor) -> Result<BrowserSession, ManagingFailure> {
        let session = self.signed_in(visitor).await?;
        let Some(signed_in_at) = session.signed_in_at() else {
            tracing::warn!("a user wants to manage apps, and the app does not say when the user signed in (auth_time)");
            return Err(ManagingFailure::NoSignInTime);
        };
        let age = self.effects.now().seconds_since(signed_in_at);
        if age < LATELY { Ok(session) } else { Err(ManagingFailure::SignIn(Again::Yes)) }
    }

    /// What a form carries that does `what`.
    pub(super) fn managing_ticket(&self, session: &BrowserSession, what: &str) -> String {
        self.ticket(self.effects.grant_id(), session, &sealed_with(what))
    }

    /// Whether the form is one that does `what`; the random name that it has.
    pub(super) fn open_managing_ticket(
        &self,
        form: &Parameters,
        session: &BrowserSession,
        what: &str,
    ) -> Result<GrantId, ManagingFailure> {
        let ticket = form.get("ticket").ok_or(ManagingFailure::Stale)?;
        self.open_ticket(ticket, session, &sealed_with(what)).map_err(|_| ManagingFailure::Stale)
    }
}

/// What takes the place of the authorization request in a ticket. None of those begins with a line feed: it comes in a URL.
fn sealed_with(what: &str) -> String {
    format!("\n/account {what}")
}
