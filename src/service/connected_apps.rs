//! The apps that a user lets use the account: seeing them, and ending that.

use super::Service;
use super::app_sign_in::Visitor;
use super::audit::acting_as;
use super::authorization::DescribedScope;
use super::managing::ManagingFailure;
use super::revocation::Reach;
use crate::domain::audit::Actor;
use crate::domain::client::{Client, ClientId};
use crate::domain::parameters::Parameters;
use crate::domain::revocation::Target;
use crate::domain::timestamp::Timestamp;

const REVOKE: &str = "revoke";

/// What the page says, and what its forms carry.
pub struct ConnectedApps {
    pub username: String,
    pub apps: Vec<DescribedApp>,
    pub ticket: String,
}

/// An app and what it may do.
pub struct DescribedApp {
    pub client: Client,
    pub scopes: Vec<DescribedScope>,
    pub granted_at: Timestamp,
    /// When it last got tokens. What it did with them, nobody wrote down.
    pub last_used_at: Timestamp,
}

impl Service {
    pub async fn connected_apps(&self, visitor: &Visitor) -> Result<ConnectedApps, ManagingFailure> {
        let session = self.signed_in(visitor).await?;
        let apps = self.store.connected_apps(session.session.subject.clone(), self.effects.now()).await?;
        Ok(ConnectedApps {
            ticket: self.managing_ticket(&session, REVOKE),
            username: session.session.username,
            apps: apps
                .into_iter()
                .map(|app| DescribedApp {
                    scopes: app.scopes.iter().map(|scope| self.describe(scope)).collect(),
                    client: app.client,
                    granted_at: app.granted_at,
                    last_used_at: app.last_used_at,
                })
                .collect(),
        })
    }

    /// Ends whatever the user granted to a client, on every server before this returns. It only takes access away, so it needs no recent
    /// sign-in.
    pub async fn disconnect_app(&self, form: &Parameters, visitor: &Visitor) -> Result<(), ManagingFailure> {
        let session = self.signed_in(visitor).await?;
        self.open_managing_ticket(form, &session, REVOKE)?;
        let client: ClientId = form.get("client_id").and_then(|id| id.parse().ok()).ok_or(ManagingFailure::Unknown)?;
        let subject = session.session.subject;
        // Nothing is written about what was never granted. What was granted and is not redeemed yet ends, too.
        if !self.store.has_granted(subject.clone(), client.clone()).await? {
            return Err(ManagingFailure::Unknown);
        }
        tracing::info!(sub = subject.as_str(), client_id = %client, "a user ended an app's access");
        let user = Actor::User(subject.clone());
        acting_as(user, self.revoke_target(Target::SubjectClient(subject, client), Reach::Strict)).await?;
        Ok(())
    }
}
