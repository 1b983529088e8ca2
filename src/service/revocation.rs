//! Ending grants (RFC 7009): durable in SQL first, then in force in this process, then answered.

use super::Service;
use crate::domain::certificate::ClientCertificate;
use crate::domain::error::{Failure, Unavailable};
use crate::domain::parameters::Parameters;
use crate::domain::revocation::Target;
use crate::domain::timestamp::Timestamp;
use crate::domain::token::{GrantId, Token};
use crate::store::Ending;

/// How far a revocation must have reached when the call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// No server accepts the token any more.
    Strict,
    /// It is durable, and every server will deny the token within the bound.
    Bounded,
}

impl Service {
    /// RFC 7009 §2.1: a client revokes a token of its own, and with it the whole grant. Anything else that is
    /// presented changes nothing, and the answer does not tell.
    pub async fn revoke_for_client(
        &self,
        authorization: &[&[u8]],
        certificate: Option<&ClientCertificate>,
        form: &Parameters,
    ) -> Result<(), Failure> {
        form.refuse_repeated()?;
        let client = self.authenticate_client(authorization, certificate, form).await?;
        let now = self.effects.now();
        let Some(token) = self.live(form.require("token")?, now) else { return Ok(()) };
        match self.store.grant(token.grant).await? {
            Some(grant) if grant.client == client.id => self.revoke_grant(grant.id).await.map_err(Failure::from),
            Some(grant) => {
                tracing::warn!(client_id = %client.id, grant_id = %grant.id, "a client tried to revoke another client's token");
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Revokes the grant behind a token; who has the token may. By when no server accepts it any more.
    pub async fn revoke_by_token(&self, text: &str, reach: Reach) -> Result<Timestamp, Unavailable> {
        let now = self.effects.now();
        let Some(token) = self.live(text, now) else { return Ok(now) };
        self.revoke(Ending::RevokeGrant(token.grant), reach).await
    }

    /// Ends the grants of a target that exist now, durably; the servers that run learn of it. `false` when there is nothing to end.
    pub async fn revoke_now(&self, target: Target) -> Result<bool, Unavailable> {
        match Ending::of(target) {
            Some(ending) => Ok(self.revoker.revoke(ending).await?.is_some()),
            None => Ok(false),
        }
    }

    /// Ends the grants of a target that exist now. By when no server accepts a token of them any more.
    pub async fn revoke_target(&self, target: Target, reach: Reach) -> Result<Timestamp, Unavailable> {
        match Ending::of(target) {
            Some(ending) => self.revoke(ending, reach).await,
            None => Ok(self.effects.now()),
        }
    }

    /// Ends grants. By when no server accepts a token of them any more.
    ///
    /// A strict revocation waits until every other server has applied it, or its lease has ended. If the caller goes away meanwhile,
    /// the revocation stands.
    async fn revoke(&self, ending: Ending, reach: Reach) -> Result<Timestamp, Unavailable> {
        let ended = self.revoker.revoke(ending).await?;
        if !self.store.is_shared() {
            return Ok(self.effects.now());
        }
        match reach {
            Reach::Strict => {
                // What had ended before may not have reached the others yet: they have to come as far as this server has.
                self.follower.all_have_reached(ended.unwrap_or_else(|| self.index.applied())).await;
                Ok(self.effects.now())
            }
            Reach::Bounded => {
                let bound = self.follower.bound().as_secs() + 1;
                Ok(self.effects.now().plus(u32::try_from(bound).unwrap_or(u32::MAX)))
            }
        }
    }

    /// The position that covers everything that was revoked through this process.
    pub fn revocation_position(&self) -> u64 {
        self.index.applied()
    }

    /// Whether this process has come as far as `position`, if need be after reading the log once more.
    pub async fn reaches(&self, position: u64) -> Result<bool, Unavailable> {
        if self.index.applied() < position {
            self.follower.catch_up().await?;
        }
        Ok(self.index.applied() >= position)
    }

    pub(super) async fn revoke_grant(&self, grant: GrantId) -> Result<(), Unavailable> {
        self.revoker.revoke(Ending::RevokeGrant(grant)).await.map(drop)
    }

    fn live(&self, text: &str, now: Timestamp) -> Option<Token> {
        self.open(text).filter(|token| !token.is_expired(now))
    }
}
