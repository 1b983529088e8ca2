//! The keys that sign ID tokens and other JSON Web Tokens. Each server that wants the next one inserts it under the number after the
//! last that it knows: the first succeeds, and the others read what it made.

use serde_json::json;
use sqlx::FromRow;

use super::Store;
use super::engine::on_engine;
use super::rows::{corrupt, number};
use crate::domain::error::Unavailable;
use crate::domain::jwk::PublicKey;
use crate::domain::signing_key::Term;
use crate::domain::timestamp::Timestamp;

/// A key as it is stored.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// The order in which keys were made.
    pub number: u32,
    pub public: PublicKey,
    /// The private key, sealed.
    pub sealed: Vec<u8>,
    pub created_at: Timestamp,
    pub term: Term,
}

#[derive(FromRow)]
struct KeyRow {
    number: i64,
    public_key: String,
    private_key: Vec<u8>,
    created_at: i64,
    activates_at: i64,
    retires_at: i64,
}

impl TryFrom<KeyRow> for StoredKey {
    type Error = sqlx::Error;

    fn try_from(row: KeyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            number: number(row.number)?,
            public: serde_json::from_str(&row.public_key).map_err(|error| corrupt(error.to_string()))?,
            sealed: row.private_key,
            created_at: Timestamp::from_unix(row.created_at),
            term: Term {
                activates_at: Timestamp::from_unix(row.activates_at),
                retires_at: Timestamp::from_unix(row.retires_at),
            },
        })
    }
}

impl Store {
    /// All keys, oldest first.
    pub async fn signing_keys(&self) -> Result<Vec<StoredKey>, Unavailable> {
        let reader = self.reader.clone();
        self.run("read the signing keys", async move {
            let rows: Vec<KeyRow> = on_engine!(&reader, on => sqlx::query_as(
                "SELECT number, public_key, private_key, created_at, activates_at, retires_at FROM signing_keys ORDER BY number",
            )
            .fetch_all(on).await?);
            rows.into_iter().map(StoredKey::try_from).collect()
        })
        .await
    }

    /// Adds a key, whose predecessor retires when it activates. `false` when another server took the number: nothing has changed.
    pub async fn insert_signing_key(&self, key: StoredKey, predecessor: Option<u32>) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("insert a signing key", async move {
            let mut transaction = writer.begin().await?;
            let inserted = on_engine!(&mut transaction, on => sqlx::query(
                "INSERT INTO signing_keys (id, number, public_key, private_key, created_at, activates_at, retires_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            )
            .bind(key.public.thumbprint())
            .bind(i64::from(key.number))
            .bind(json!(key.public).to_string())
            .bind(key.sealed)
            .bind(key.created_at.as_unix())
            .bind(key.term.activates_at.as_unix())
            .bind(key.term.retires_at.as_unix())
            .execute(&mut **on).await?.rows_affected());
            if inserted == 0 {
                return Ok(false);
            }
            if let Some(predecessor) = predecessor {
                on_engine!(&mut transaction, on => {
                    sqlx::query("UPDATE signing_keys SET retires_at = $2 WHERE number = $1")
                        .bind(i64::from(predecessor))
                        .bind(key.term.activates_at.as_unix())
                        .execute(&mut **on)
                        .await
                        .map(drop)
                })?;
            }
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Forgets all keys that were made before this one.
    pub async fn delete_signing_keys_before(&self, first: u32) -> Result<(), Unavailable> {
        let writer = self.writer.clone();
        self.run("delete signing keys", async move {
            on_engine!(&writer, on => sqlx::query("DELETE FROM signing_keys WHERE number < $1")
                .bind(i64::from(first))
                .execute(on).await.map(drop))
        })
        .await
    }
}
