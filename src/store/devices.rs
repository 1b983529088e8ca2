//! Devices that wait for a user (RFC 8628). The grant that the user makes has the id of the request, so a request makes one grant.

use serde_json::json;
use sqlx::FromRow;

use super::Store;
use super::engine::on_engine;
use super::rows::{bytes, corrupt, number, parse};
use crate::domain::client::ClientId;
use crate::domain::error::Unavailable;
use crate::domain::grant::{SessionId, SubjectId, Variant};
use crate::domain::openid::Authentication;
use crate::domain::timestamp::Timestamp;
use crate::domain::token::GrantId;

/// A client has at most so many requests at a time.
const MAX_DEVICE_REQUESTS: i64 = 10_000;
/// What a device that asks too early has to wait longer from then on, in seconds (RFC 8628 §3.5).
const SLOW_DOWN: i64 = 5;
/// For how long it is remembered what a user entered, in seconds.
const ATTEMPTS_WINDOW: i64 = 600;

/// A request to be.
pub struct NewDeviceRequest {
    pub id: GrantId,
    pub client: ClientId,
    /// A MAC of the user code.
    pub user_code: [u8; 16],
    pub variant: Variant,
    pub interval: u32,
    pub now: Timestamp,
    pub expires_at: Timestamp,
}

/// A request that a user has to decide.
#[derive(Clone, Debug)]
pub struct DeviceRequest {
    pub id: GrantId,
    pub client: ClientId,
    pub variant: Variant,
}

/// A user's decision.
pub struct DeviceApproval {
    pub id: GrantId,
    pub subject: SubjectId,
    /// The browser session in which the user approved.
    pub session: SessionId,
    /// How the user signed in.
    pub authentication: Authentication,
    pub variant: Variant,
    pub now: Timestamp,
}

/// What a device is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceState {
    Pending,
    /// The same, but it has asked too early.
    Hasty,
    Approved,
    Denied,
}

#[derive(FromRow)]
struct DeviceRow {
    id: Vec<u8>,
    client_id: String,
    variant: String,
}

#[derive(FromRow)]
struct PollRow {
    state: String,
    slowed_at: Option<i64>,
}

impl TryFrom<DeviceRow> for DeviceRequest {
    type Error = sqlx::Error;

    fn try_from(row: DeviceRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: GrantId::from_bytes(bytes(&row.id)?),
            client: parse(&row.client_id)?,
            variant: parse(&row.variant)?,
        })
    }
}

impl Store {
    /// Makes a request. `false` when the user code is taken, or when the client is disabled or has too many.
    pub async fn insert_device_request(&self, request: NewDeviceRequest) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("insert a device request", async move {
            let inserted = on_engine!(&writer, on => sqlx::query(
                "INSERT INTO device_requests (id, client_id, user_code, variant, state, created_at, expires_at, poll_interval) \
                 SELECT $1, c.id, $3, $4, 'pending', $5, $6, $7 FROM clients c \
                 WHERE c.id = $2 AND c.disabled_at IS NULL AND c.deleted_at IS NULL \
                 AND (SELECT COUNT(*) FROM device_requests WHERE client_id = $2 AND expires_at > $5) < $8 \
                 ON CONFLICT DO NOTHING",
            )
            .bind(request.id.as_bytes().to_vec())
            .bind(request.client.to_string())
            .bind(request.user_code.to_vec())
            .bind(request.variant.to_string())
            .bind(request.now.as_unix())
            .bind(request.expires_at.as_unix())
            .bind(i64::from(request.interval))
            .bind(MAX_DEVICE_REQUESTS)
            .execute(on).await?.rows_affected());
            Ok(inserted == 1)
        })
        .await
    }

    /// The request with this user code, if nobody has decided it yet.
    pub async fn device_request(
        &self,
        user_code: [u8; 16],
        now: Timestamp,
    ) -> Result<Option<DeviceRequest>, Unavailable> {
        let reader = self.reader.clone();
        self.run("read a device request", async move {
            let row: Option<DeviceRow> = on_engine!(&reader, on => sqlx::query_as(
                "SELECT id, client_id, variant FROM device_requests WHERE user_code = $1 AND state = 'pending' AND expires_at > $2",
            )
            .bind(user_code.to_vec())
            .bind(now.as_unix())
            .fetch_optional(on).await?);
            row.map(DeviceRequest::try_from).transpose()
        })
        .await
    }

    /// Makes the grant of a request, pending until the device comes for it. `false` when the request was decided before or
    /// has expired, or when the client or the subject is gone by now.
    pub async fn approve_device(&self, approval: DeviceApproval) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("approve a device", async move {
            let mut transaction = writer.begin().await?;
            let id = approval.id.as_bytes().to_vec();
            let inserted = on_engine!(&mut transaction, on => {
                let claimed = sqlx::query(
                    "UPDATE device_requests SET state = 'approved' WHERE id = $1 AND state = 'pending' AND expires_at > $2",
                )
                .bind(id.clone())
                .bind(approval.now.as_unix())
                .execute(&mut **on).await?.rows_affected();
                if claimed == 0 {
                    return Ok(false);
                }
                sqlx::query(
                    "INSERT INTO grants (id, client_id, subject_id, variants, state, generation, created_at, created_seq, \
                     redirect_uri, code_challenge, failed_redemptions, refresh_serial, refresh_variant, session_id, expires_at, authentication) \
                     SELECT d.id, c.id, s.id, $3, 'pending', 0, $4, h.head, '', '', 0, 0, 0, $5, d.expires_at, $6 \
                     FROM revocation_head h, device_requests d, clients c, subjects s \
                     WHERE d.id = $1 AND c.id = d.client_id AND c.disabled_at IS NULL AND c.deleted_at IS NULL \
                     AND s.id = $2 AND s.disabled_at IS NULL \
                     ON CONFLICT (id) DO NOTHING",
                )
                .bind(id)
                .bind(approval.subject.as_str().to_owned())
                .bind(approval.variant.to_string())
                .bind(approval.now.as_unix())
                .bind(approval.session.to_string())
                .bind(json!(approval.authentication).to_string())
                .execute(&mut **on).await?.rows_affected()
            });
            if inserted == 1 {
                transaction.commit().await?;
            }
            Ok(inserted == 1)
        })
        .await
    }

    /// `false` when the request was decided before or has expired.
    pub async fn deny_device(&self, id: GrantId, now: Timestamp) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("deny a device", async move {
            let denied = on_engine!(&writer, on => sqlx::query(
                "UPDATE device_requests SET state = 'denied' WHERE id = $1 AND state = 'pending' AND expires_at > $2",
            )
            .bind(id.as_bytes().to_vec())
            .bind(now.as_unix())
            .execute(on).await?.rows_affected());
            Ok(denied == 1)
        })
        .await
    }

    /// How a request of this client stands, and that its device asked now. `None` when there is none.
    pub async fn poll_device(
        &self,
        id: GrantId,
        client: ClientId,
        now: Timestamp,
    ) -> Result<Option<DeviceState>, Unavailable> {
        let writer = self.writer.clone();
        self.run("poll for a device", async move {
            // Clocks tick in seconds, so a second is forgiven.
            let row: Option<PollRow> = on_engine!(&writer, on => sqlx::query_as(
                "UPDATE device_requests SET \
                 poll_interval = CASE WHEN polled_at + poll_interval - 1 > $3 THEN poll_interval + $4 ELSE poll_interval END, \
                 slowed_at = CASE WHEN polled_at + poll_interval - 1 > $3 THEN $3 END, polled_at = $3 \
                 WHERE id = $1 AND client_id = $2 RETURNING state, slowed_at",
            )
            .bind(id.as_bytes().to_vec())
            .bind(client.to_string())
            .bind(now.as_unix())
            .bind(SLOW_DOWN)
            .fetch_all(on).await?).pop();
            row.map(|row| match row.state.as_str() {
                "pending" if row.slowed_at.is_some() => Ok(DeviceState::Hasty),
                "pending" => Ok(DeviceState::Pending),
                "approved" => Ok(DeviceState::Approved),
                "denied" => Ok(DeviceState::Denied),
                other => Err(corrupt(format!("{other} is no state of a device"))),
            })
            .transpose()
        })
        .await
    }

    /// Counts a code that a user enters, before it is looked at: however many are entered at the same time, each counts. How many
    /// that makes.
    pub async fn count_user_code(&self, subject: SubjectId, now: Timestamp) -> Result<u32, Unavailable> {
        let writer = self.writer.clone();
        self.run("count a user code", async move {
            let failures: Option<i64> = on_engine!(&writer, on => sqlx::query_scalar(
                "INSERT INTO user_code_attempts (subject_id, failures, since) VALUES ($1, 1, $2) \
                 ON CONFLICT (subject_id) DO UPDATE SET \
                 failures = CASE WHEN user_code_attempts.since <= $3 THEN 1 ELSE user_code_attempts.failures + 1 END, \
                 since = CASE WHEN user_code_attempts.since <= $3 THEN $2 ELSE user_code_attempts.since END \
                 RETURNING failures",
            )
            .bind(subject.as_str().to_owned())
            .bind(now.as_unix())
            .bind(now.as_unix() - ATTEMPTS_WINDOW)
            .fetch_all(on).await?)
            .pop();
            number(failures.ok_or(sqlx::Error::RowNotFound)?)
        })
        .await
    }

    /// Takes one back: the code was good.
    pub async fn forgive_user_code(&self, subject: SubjectId) -> Result<(), Unavailable> {
        let writer = self.writer.clone();
        self.run("forgive a user code", async move {
            on_engine!(&writer, on => sqlx::query(
                "UPDATE user_code_attempts SET failures = failures - 1 WHERE subject_id = $1 AND failures > 0",
            )
            .bind(subject.as_str().to_owned())
            .execute(on).await.map(drop))
        })
        .await
    }
}
