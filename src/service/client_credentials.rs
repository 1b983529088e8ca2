//! Tokens for a client itself (RFC 6749 §4.4).
//!
//! There is one grant per client and what it is granted, made by the first request. Each later one reads it and writes nothing, but for
//! the DPoP proofs and keys that it has seen; no
//! refresh token is needed (RFC 6749 §4.4.3). Its subject is `client:` and the client's id (RFC 9068 §2.2), which is no user's. A grant
//! that was revoked, or that ends before the token would, gives its name to a new one: ids are random and never used again, so no
//! revocation covers what comes after it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::Service;
use super::possession::BindingKey;
use super::token_endpoint::IssuedTokens;
use crate::domain::audit::Event;
use crate::domain::authorization::requested_scopes;
use crate::domain::client::{Client, ClientId};
use crate::domain::error::{Failure, InvalidScope, OAuthError};
use crate::domain::grant::{Further, Grant, GrantState, Restriction, SubjectId, Variant};
use crate::domain::openid::{OPENID, PROFILE};
use crate::domain::parameters::Parameters;
use crate::domain::timestamp::Timestamp;
use crate::store::NewMachineGrant;

/// So often a grant is looked for, while others may take it away.
const ATTEMPTS: usize = 4;

impl Service {
    pub(super) async fn client_credentials(
        &self,
        client: &Client,
        key: Option<&BindingKey>,
        form: &Parameters,
    ) -> Result<IssuedTokens, Failure> {
        // RFC 6749 §4.4.2. Such a client cannot be made; this is for what is in the database all the same.
        if !client.is_confidential() {
            return Err(OAuthError::UnauthorizedClient.into());
        }
        let mut scopes = requested_scopes(form, client, &self.settings.implications)?;
        if self.settings.openid.is_some() {
            // A machine is no user to tell of.
            scopes = scopes.filter(|scope| scope != OPENID && scope != PROFILE);
        }
        if scopes.is_empty() && !client.scopes.is_empty() {
            return Err(InvalidScope::NotAllowed.into());
        }
        let resources = self.settings.resources.requested(form)?;
        let scopes = self.settings.resources.scopes_at(&resources, &scopes)?;
        let granted = Variant::new(scopes, Restriction { resources, confirmation: None });
        self.check_length(client, &granted)?;
        let signer = self.access_token_signer(client).await?;
        let key = self.claim_key(key).await?;
        let wanted = granted.bound_to(key);
        let now = self.effects.now();
        let lifetime = client.lifetimes(&self.settings.lifetimes).access_token;
        let (grant, variant) = self.machine_grant(client, &granted, &wanted, now).await?;
        let tokens = self.further_access_token(&grant, &wanted, Further { variant, issued_at: now, lifetime });
        Ok(self.in_format(tokens, &grant, signer.as_ref()).await?)
    }

    /// The grant behind the tokens of a machine, and the index of `wanted` in its list. It outlives a token that is issued now.
    /// Keys share a grant, and one whose list is full gives its name to the next: a machine may make a key whenever it starts.
    async fn machine_grant(
        &self,
        client: &Client,
        granted: &Variant,
        wanted: &Variant,
        now: Timestamp,
    ) -> Result<(Grant, u8), Failure> {
        let name = name(&client.id, granted);
        let lifetimes = client.lifetimes(&self.settings.lifetimes);
        let lasts = |grant: &Grant| match grant.state {
            GrantState::Active(rotation) => now.after(lifetimes.access_token) <= rotation.expires_at,
            GrantState::Pending | GrantState::Revoked => false,
        };
        for _ in 0..ATTEMPTS {
            match self.store.machine_grant(name.clone()).await? {
                Some(grant) if lasts(&grant) => {
                    if grant.variants.place(wanted, now, lifetimes.access_token).is_none() {
                        self.store.release_machine_grant(grant.id, name.clone()).await?;
                    } else if let Some(variant) = self.index_of(&grant, wanted, now, lifetimes.access_token).await? {
                        return Ok((grant, variant));
                    }
                    continue;
                }
                Some(grant) => self.store.release_machine_grant(grant.id, name.clone()).await?,
                None => {}
            }
            let new = NewMachineGrant {
                id: self.effects.grant_id(),
                client: client.id.clone(),
                subject: subject_of(&client.id),
                variant: granted.clone(),
                name: name.clone(),
                now,
                expires_at: match (lifetimes.refresh_token_absolute, lifetimes.access_token) {
                    (0, _) | (_, 0) => Timestamp::NEVER,
                    (absolute, access) => now.plus(absolute.saturating_add(access)),
                },
            };
            let (id, subject) = (new.id, new.subject.clone());
            if self.store.insert_machine_grant(new).await? {
                self.audit.record(Event::GrantMade { subject: &subject, client: &client.id, grant: id });
            }
        }
        Err(InvalidScope::TooManyVariants.into())
    }
}

/// Who a client is when it acts for itself. A user's subject is random hexadecimal digits, so it is never this.
fn subject_of(client: &ClientId) -> SubjectId {
    SubjectId::new(format!("client:{client}"))
}

/// What a machine's grant is found by. A client id has no line feed.
fn name(client: &ClientId, variant: &Variant) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{client}\n{variant}")))
}
