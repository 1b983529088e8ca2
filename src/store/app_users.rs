//! Users that the app knows: the subjects under its names, and what it said of them last. There is no row before a user does something.

use sqlx::FromRow;

use super::Store;
use super::engine::{Transaction, on_engine};
use super::rows::corrupt;
use crate::domain::app_user::{AppUser, UserClaims};
use crate::domain::error::Unavailable;
use crate::domain::grant::SubjectId;
use crate::domain::timestamp::Timestamp;

/// How a subject stands to those who name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectStanding {
    /// It has done nothing yet, or may go on.
    Welcome,
    Disabled,
    /// Others named it: an account of the built-in login, or whoever was asked before.
    OfOthers,
}

/// A user, and whose name the subject is.
pub struct NamedUser {
    pub user: AppUser,
    pub realm: String,
}

#[derive(FromRow)]
struct SubjectRow {
    realm: String,
    disabled_at: Option<i64>,
}

impl Store {
    pub async fn subject_standing(&self, subject: SubjectId, realm: String) -> Result<SubjectStanding, Unavailable> {
        let reader = self.reader.clone();
        self.run("read whose a subject is", async move {
            let row: Option<SubjectRow> = on_engine!(&reader, on => {
                sqlx::query_as("SELECT realm, disabled_at FROM subjects WHERE id = $1")
                    .bind(subject.as_str().to_owned())
                    .fetch_optional(on).await?
            });
            Ok(match row {
                Some(row) if row.realm != realm => SubjectStanding::OfOthers,
                Some(SubjectRow { disabled_at: Some(_), .. }) => SubjectStanding::Disabled,
                Some(_) | None => SubjectStanding::Welcome,
            })
        })
        .await
    }

    /// Makes the subject of a user, or brings what is known of it up to date. `false` when the subject is of another realm, or was deleted:
    /// nothing has changed.
    pub async fn name_subject(&self, named: NamedUser, now: Timestamp) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("name a subject", async move {
            let mut transaction = writer.begin().await?;
            let is_ours = write_subject(&mut transaction, &named, now).await?;
            transaction.commit().await?;
            Ok(is_ours)
        })
        .await
    }

    /// What the app said last of a user whom it names.
    pub async fn user_claims(&self, subject: SubjectId) -> Result<Option<UserClaims>, Unavailable> {
        let reader = self.reader.clone();
        self.run("read what the app said of a user", async move {
            let claims: Option<String> = on_engine!(&reader, on => {
                sqlx::query_scalar("SELECT claims FROM subjects WHERE id = $1 AND claims <> ''")
                    .bind(subject.as_str().to_owned())
                    .fetch_optional(on).await?
            });
            claims.map(|claims| serde_json::from_str(&claims).map_err(|error| corrupt(error.to_string()))).transpose()
        })
        .await
    }
}

/// As [`Store::name_subject`], together with what the user does.
pub(super) async fn write_subject(
    transaction: &mut Transaction,
    NamedUser { user, realm }: &NamedUser,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let claims = serde_json::to_string(&user.claims).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let written = on_engine!(transaction, on => sqlx::query(
        "INSERT INTO subjects (id, name, created_at, revoked_seq, realm, claims) VALUES ($1, $2, $3, 0, $4, $5) \
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, claims = excluded.claims \
         WHERE subjects.realm = excluded.realm AND subjects.deleted_at IS NULL",
    )
    .bind(user.subject.as_str().to_owned())
    .bind(user.name().to_owned())
    .bind(now.as_unix())
    .bind(realm.clone())
    .bind(claims)
    .execute(&mut **on).await?.rows_affected());
    Ok(written == 1)
}
