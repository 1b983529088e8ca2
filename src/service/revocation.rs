//! Ending grants (RFC 7009): durable in SQL first, then in force in this process, then answered.

use super::Service;
use super::audit::acting_as;
use super::client_authentication::Caller as ClientCaller;
use crate::domain::answers::{ForeignToken, UnknownHint};
use crate::domain::audit::{Actor, Event};
use crate::domain::caller::{Caller, Sight};
use crate::domain::error::{Failure, InvalidGrant, OAuthError, Unavailable};
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
    /// presented changes nothing, and the answer does not tell, unless `answers.foreign_token` says otherwise.
    pub async fn revoke_for_client(&self, caller: &ClientCaller<'_>, form: &Parameters) -> Result<(), Failure> {
        form.refuse_repeated()?;
        let client = self.authenticate_client(caller, form).await?;
        let now = self.effects.now();
        let hint = form.get("token_type_hint");
        if self.settings.answers.unknown_hint == UnknownHint::Refuse
            && !hint.is_none_or(|hint| hint == "access_token" || hint == "refresh_token")
        {
            form.require("token")?;
            return Err(OAuthError::UnsupportedTokenType.into());
        }
        let Some(token) = self.live(form.require("token")?, now).await? else { return Ok(()) };
        match self.store.grant(token.grant).await? {
            Some(grant) if grant.client == client.id => {
                let revoking = self.revoke_and_record(Ending::RevokeGrant(grant.id));
                Box::pin(acting_as(Actor::Client(client.id), revoking)).await?;
                Ok(())
            }
            Some(grant) => {
                tracing::warn!(client_id = %client.id, grant_id = %grant.id, "a client tried to revoke another client's token");
                match self.settings.answers.foreign_token {
                    ForeignToken::Ignore => Ok(()),
                    ForeignToken::Refuse => Err(InvalidGrant::ForeignToken.into()),
                }
            }
            None => Ok(()),
        }
    }

    /// Revokes the grant behind a token; who has the token and gets to see it may. Anything else that is presented changes nothing,
    /// and the answer does not tell. By when no server accepts it any more.
    pub async fn revoke_by_token(&self, text: &str, caller: &Caller, reach: Reach) -> Result<Timestamp, Unavailable> {
        let now = self.effects.now();
        let Some(token) = self.live(text, now).await? else { return Ok(now) };
        if !self.is_seen(&token, &caller.sight).await? {
            tracing::warn!(caller = &*caller.name, grant_id = %token.grant, "a caller tried to revoke a token that it may not see");
            return Ok(now);
        }
        self.revoke(Ending::RevokeGrant(token.grant), reach).await
    }

    /// Of a grant that has ended, too: who revokes again waits as long as who revoked it.
    async fn is_seen(&self, token: &Token, sight: &Sight) -> Result<bool, Unavailable> {
        if *sight == Sight::All {
            return Ok(true);
        }
        let grant = self.store.grant(token.grant).await?;
        let variant = grant.as_ref().and_then(|grant| grant.variants.get(token.variant, token.issued_at));
        Ok(variant.is_some_and(|variant| sight.covers(token.kind, variant.resources())))
    }

    /// Ends the grants of a target that exist now, durably; the servers that run learn of it. `false` when there is nothing to end.
    pub async fn revoke_now(&self, target: Target) -> Result<bool, Unavailable> {
        match Ending::of(target) {
            Some(ending) => Ok(self.revoke_and_record(ending).await?.is_some()),
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
        let ended = self.revoke_and_record(ending).await?;
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

    async fn revoke_and_record(&self, ending: Ending) -> Result<Option<u64>, Unavailable> {
        let target = ending.target();
        let ended = self.revoker.revoke(ending).await?;
        if ended.is_some() {
            self.audit.record(Event::Revoked(&target));
        }
        Ok(ended)
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

    async fn live(&self, text: &str, now: Timestamp) -> Result<Option<Token>, Unavailable> {
        let opened = match self.token_keys.open(text) {
            None if self.may_be_jwt(text) => self.open_jwt(text, now).await?,
            opened => opened,
        };
        let good = opened.filter(|signed| !self.index.is_revoked(signed.key)).map(|signed| signed.token);
        Ok(good.filter(|token| !token.is_expired(now)))
    }
}
