//! The built-in login: accounts and browser sessions.

use zeroize::Zeroizing;

use super::Service;
use super::accounts::MAX_PASSWORD_LENGTH;
use crate::domain::error::Unavailable;
use crate::domain::secret::{RandomSecret, SecretHash};
use crate::store::Session;

/// A browser that just signed in.
pub struct SignedIn {
    /// The session cookie: new at each sign-in, so a cookie that was planted before is worth nothing.
    pub cookie: RandomSecret,
    /// Seconds.
    pub max_age: u32,
}

/// A browser that is signed in.
pub struct BrowserSession {
    pub id: SecretHash,
    pub session: Session,
}

impl Service {
    /// `None` for an unknown or disabled account and for a wrong password: the same answer after the same time.
    pub async fn sign_in(&self, username: &str, password: &str) -> Result<Option<SignedIn>, Unavailable> {
        if password.len() > MAX_PASSWORD_LENGTH {
            return Ok(None);
        }
        let account = self.store.account(username.to_owned()).await?.filter(|account| account.disabled_at.is_none());
        let hash = account.as_ref().map(|account| account.password_hash.clone());
        if !self.passwords.verify(Zeroizing::new(password.to_owned()), hash).await? {
            return Ok(None);
        }
        let Some(account) = account else { return Ok(None) };
        let (now, cookie) = (self.effects.now(), self.effects.secret());
        let max_age = self.settings.session_lifetime;
        let inserted = self.store.insert_session(cookie.hash(), account.subject, now, now.plus(max_age)).await?;
        Ok(inserted.then_some(SignedIn { cookie, max_age }))
    }

    /// Who the browser with this cookie is signed in as.
    pub async fn browser_session(&self, cookie: Option<&str>) -> Result<Option<BrowserSession>, Unavailable> {
        let Some(cookie) = cookie else { return Ok(None) };
        let id = SecretHash::of(cookie);
        let session = self.store.session(id, self.effects.now()).await?;
        Ok(session.map(|session| BrowserSession { id, session }))
    }

    pub async fn sign_out(&self, cookie: Option<&str>) -> Result<(), Unavailable> {
        match cookie {
            Some(cookie) => self.store.delete_session(SecretHash::of(cookie)).await,
            None => Ok(()),
        }
    }
}
