//! Accounts of the built-in login, as an operator manages them.

use zeroize::Zeroizing;

use super::Service;
use crate::domain::app_user::is_machine;
use crate::domain::audit::Event;
use crate::domain::error::Unavailable;
use crate::domain::grant::SubjectId;
use crate::store::{Account, Ending, PasswordHash};

/// Long enough to be worth a slow hash (NIST SP 800-63B §5.1.1.2).
pub const MIN_PASSWORD_LENGTH: usize = 8;
pub const MAX_PASSWORD_LENGTH: usize = 1024;

/// Why an account cannot be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("there is no account {0}")]
    Unknown(String),
    #[error("there is an account {0} already")]
    Exists(String),
    #[error("a user name has 1 to 64 characters and no white space or control characters")]
    Username,
    #[error("a password has {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} bytes")]
    Password,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Service {
    pub async fn create_account(&self, username: String, password: Zeroizing<String>) -> Result<Account, AccountError> {
        let length = username.chars().count();
        if !(1..=64).contains(&length) || username.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(AccountError::Username);
        }
        check_password(&password)?;
        let account = Account {
            username: username.clone(),
            subject: SubjectId::new(self.effects.random_name()),
            password_hash: self.passwords.hash(password, &self.effects).await?,
            created_at: self.effects.now(),
            disabled_at: None,
        };
        if self.store.insert_account(account.clone()).await? {
            self.audit.record(Event::AccountCreated(&account.subject));
            Ok(account)
        } else {
            Err(AccountError::Exists(username))
        }
    }

    /// Also signs the user out everywhere and revokes what the user granted.
    pub async fn set_password(&self, username: String, password: Zeroizing<String>) -> Result<(), AccountError> {
        check_password(&password)?;
        let account = self.account(username).await?;
        let hash = self.passwords.hash(password, &self.effects).await?;
        if self.revoker.revoke(Ending::SetPassword(account.subject.clone(), PasswordHash(hash))).await?.is_none() {
            return Err(AccountError::Unknown(account.username));
        }
        self.audit.record(Event::AccountPasswordSet(&account.subject));
        Ok(())
    }

    /// Refuses sign-in, signs the user out everywhere and revokes what the user granted. A user of the app is named by its `sub`. The
    /// clients that the user made count as disabled for as long.
    pub async fn disable_account(&self, username: String) -> Result<(), AccountError> {
        let subject = self.subject_of(username).await?;
        if self.revoker.revoke(Ending::DisableSubject(subject.clone())).await?.is_some() {
            self.audit.record(Event::AccountDisabled(&subject));
        }
        Ok(())
    }

    /// Lets a disabled user sign in again.
    pub async fn enable_account(&self, username: String) -> Result<(), AccountError> {
        let subject = self.subject_of(username).await?;
        if self.store.enable_subject(subject.clone()).await? {
            self.audit.record(Event::AccountEnabled(&subject));
        }
        Ok(())
    }

    /// Ends what the user granted, signs the user out everywhere, deletes the clients that the user made, and forgets who it was. A user of
    /// the app is named by its `sub`. If it fails half-way, it can be done again: the user goes last.
    pub async fn delete_account(&self, username: String) -> Result<(), AccountError> {
        let subject = self.subject_of(username.clone()).await?;
        if is_machine(&subject) {
            return Err(AccountError::Unknown(username));
        }
        // So that none is made any more.
        self.revoker.revoke(Ending::DisableSubject(subject.clone())).await?;
        for client in self.store.own_clients(subject.clone()).await? {
            if self.revoker.revoke(Ending::DeleteClient(client.id.clone(), None)).await?.is_some() {
                self.audit.record(Event::ClientDeleted(&client.id));
            }
        }
        if self.revoker.revoke(Ending::DeleteSubject(subject.clone())).await?.is_some() {
            self.audit.record(Event::AccountDeleted(&subject));
        }
        Ok(())
    }

    /// The subject that has this name as its account or as its `sub`.
    pub async fn subject_of(&self, name: String) -> Result<SubjectId, AccountError> {
        match self.store.account(name.clone()).await? {
            Some(account) => Ok(account.subject),
            None if self.store.has_subject(name.clone()).await? => Ok(SubjectId::new(name)),
            None => Err(AccountError::Unknown(name)),
        }
    }

    async fn account(&self, username: String) -> Result<Account, AccountError> {
        self.store.account(username.clone()).await?.ok_or(AccountError::Unknown(username))
    }
}

fn check_password(password: &str) -> Result<(), AccountError> {
    if (MIN_PASSWORD_LENGTH..=MAX_PASSWORD_LENGTH).contains(&password.len()) {
        Ok(())
    } else {
        Err(AccountError::Password)
    }
}
