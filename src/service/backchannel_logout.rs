//! Back-channel logout (OpenID Connect Back-Channel Logout 1.0): clients are told that a user was signed out.
//!
//! Ending a session writes down who has to be told, in the same transaction (`store::logout_notices`). Each server delivers what is
//! there, a client's notices one after the other, so that one that answers slowly keeps no other client waiting. Whoever goes away
//! while it delivers leaves the rest to others: a client may be told twice, and is never forgotten.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use prometheus_client::metrics::{counter::Counter, family::Family};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::Service;
use crate::domain::backchannel_logout::{LOGOUT_TOKEN_TYPE, LogoutOf, LogoutTokenClaims, pause_after};
use crate::domain::error::Unavailable;
use crate::domain::outgoing::OutgoingUrl;
use crate::domain::timestamp::Timestamp;
use crate::store::{ClaimedNotices, LogoutNotice};

/// How often each server looks whether somebody has to be told.
const INTERVAL: Duration = Duration::from_secs(1);
/// And how soon again where that has failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(10);
/// To how many clients at once.
const CLIENTS_AT_ONCE: usize = 8;
/// How long one client has the turn, and after how many failures in a row it loses it.
const TURN: Duration = Duration::from_secs(20);
const FAILURES: u32 = 3;
/// For how many seconds others leave a claimed client alone: longer than a turn and its last request.
const CLAIM: u32 = 120;

/// What is counted about logout tokens.
#[derive(Clone, Default)]
pub struct LogoutMetrics {
    /// Attempts by outcome: `delivered`, `failed`, and `abandoned` for the last one that failed.
    pub tokens: Family<[(&'static str, &'static str); 1], Counter>,
}

/// How an attempt went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Delivered,
    Failed,
}

impl Service {
    /// Delivers what there is, for ever.
    pub async fn deliver_logouts_for_ever(self: Arc<Self>) {
        let mut interval = interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut turns = JoinSet::new();
        loop {
            interval.tick().await;
            while turns.try_join_next().is_some() {}
            while turns.len() < CLIENTS_AT_ONCE {
                let now = self.effects.now();
                match self.store.claim_logout_notices(now, now.plus(CLAIM)).await {
                    Ok(Some(claim)) => {
                        let service = self.clone();
                        turns.spawn(async move { service.deliver(claim).await });
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(error = %error, cause = %error.cause, "clients could not be told that users were signed out");
                        sleep(FAILURE_PAUSE).await;
                        break;
                    }
                }
            }
        }
    }

    /// One client's turn. Where it cannot be ended, it ends with the claim.
    async fn deliver(&self, claim: ClaimedNotices) {
        let ended = match self.deliver_claimed(&claim).await {
            Ok(due_at) => self.store.release_logout_notices(&claim, due_at).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::warn!(client_id = %claim.client, error = %error, cause = %error.cause, "a client could not be told that users were signed out");
        }
    }

    /// When the next turn of this client may be, where something is left.
    async fn deliver_claimed(&self, claim: &ClaimedNotices) -> Result<Timestamp, Unavailable> {
        let client = self.store.client(claim.client.clone()).await?.filter(|client| client.disabled_at.is_none());
        let uri = client.as_ref().and_then(|client| client.metadata.backchannel_logout_uri.as_ref());
        let needs_session = client.as_ref().is_some_and(|client| client.metadata.backchannel_logout_session_required);
        let (began, mut failures) = (Instant::now(), 0);
        for notice in &claim.notices {
            let uri = match uri {
                Some(uri) if notice.session.is_some() || !needs_session => uri,
                // It does not want to be told, or could not understand it.
                _ => {
                    self.store.remove_logout_notice(claim, notice).await?;
                    continue;
                }
            };
            if began.elapsed() >= TURN {
                break;
            }
            match self.send_logout_token(claim, notice, uri).await? {
                Outcome::Delivered => {
                    self.count_logout("delivered");
                    self.store.remove_logout_notice(claim, notice).await?;
                    failures = 0;
                }
                Outcome::Failed => {
                    let due_at = self.effects.now().plus(pause_after(notice.attempts + 1));
                    if due_at >= notice.expires_at {
                        tracing::warn!(client_id = %claim.client, attempts = notice.attempts + 1, "a client was not told that a user was signed out, and will not be");
                        self.count_logout("abandoned");
                        self.store.remove_logout_notice(claim, notice).await?;
                    } else {
                        self.count_logout("failed");
                        self.store.postpone_logout_notice(claim, notice, due_at).await?;
                    }
                    failures += 1;
                    if failures == FAILURES {
                        return Ok(due_at);
                    }
                }
            }
        }
        Ok(self.effects.now())
    }

    /// §2.5 and §2.8. The token is made for this attempt.
    async fn send_logout_token(
        &self,
        claim: &ClaimedNotices,
        notice: &LogoutNotice,
        uri: &OutgoingUrl,
    ) -> Result<Outcome, Unavailable> {
        let of = LogoutOf {
            client: claim.client.as_str(),
            subject: notice.subject.as_str(),
            session: notice.session.map(|session| session.to_string()),
        };
        let jti = self.effects.random_name();
        let claims = LogoutTokenClaims::new(&self.settings.issuer, of, jti, self.effects.now());
        let token = self.signing_keys.signer().await?.sign(LOGOUT_TOKEN_TYPE, &claims).await?;
        let form = form_urlencoded::Serializer::new(String::new()).append_pair("logout_token", &token).finish();
        match self.outgoing.post_form(uri, form).await {
            // §2.8: some frameworks make 204 of an empty 200.
            Ok(StatusCode::OK | StatusCode::NO_CONTENT) => Ok(Outcome::Delivered),
            Ok(status) => {
                tracing::info!(client_id = %claim.client, status = status.as_u16(), attempts = notice.attempts + 1, "a client did not accept a logout token");
                Ok(Outcome::Failed)
            }
            Err(error) => {
                tracing::info!(client_id = %claim.client, cause = %error, attempts = notice.attempts + 1, "a logout token could not be delivered");
                Ok(Outcome::Failed)
            }
        }
    }

    fn count_logout(&self, outcome: &'static str) {
        self.logouts.tokens.get_or_create(&[("outcome", outcome)]).inc();
    }
}
