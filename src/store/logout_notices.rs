//! Which clients have to be told that a user was signed out. What says so is written in the transaction that ends the session, and
//! removed when the client knows, or after a day.

use sqlx::FromRow;

use super::Store;
use super::engine::{Transaction, on_engine};
use super::rows::{number, optional, parse};
use crate::domain::client::ClientId;
use crate::domain::error::Unavailable;
use crate::domain::grant::{SessionId, SubjectId};
use crate::domain::timestamp::Timestamp;

/// For how long a client is told, in seconds.
const PERSISTENCE: u32 = 86_400;

/// Writes a notice for each client and session in which a user whom this covers gave the client something. A client has a thousand
/// at most when it gets another one, and one ending makes a thousand at most, of the latest.
macro_rules! announce {
    ($of:literal) => {
        concat!(
            "INSERT INTO logout_notices (client_id, subject_id, session_id, attempts, due_at, expires_at, claimed_until) \
             SELECT g.client_id, g.subject_id, g.session_id, 0, CAST($2 AS BIGINT), CAST($3 AS BIGINT), 0 \
             FROM grants g JOIN clients c ON c.id = g.client_id WHERE ",
            $of,
            " = $1 AND g.state <> 'pending' AND c.disabled_at IS NULL AND c.deleted_at IS NULL \
             AND c.metadata LIKE '%\"backchannel_logout_uri\":\"%' \
             AND (SELECT COUNT(*) FROM logout_notices n WHERE n.client_id = g.client_id) < 1000 \
             GROUP BY g.client_id, g.subject_id, g.session_id ORDER BY MAX(g.created_at) DESC LIMIT 1000 \
             ON CONFLICT DO NOTHING",
        )
    };
}

/// Whose sessions have ended.
pub(super) enum SignedOut<'a> {
    Session(SessionId),
    /// Every session of a user.
    Subject(&'a SubjectId),
}

/// Writes notices, or does not where nobody would deliver them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Announcer {
    #[default]
    Off,
    On,
}

impl Announcer {
    /// After the sessions themselves were deleted: their rows are what two transactions wait for that end the same one.
    pub(super) async fn announce(
        self,
        transaction: &mut Transaction,
        of: SignedOut<'_>,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        if self == Self::Off {
            return Ok(());
        }
        let (statement, id) = match of {
            SignedOut::Session(id) => (announce!("g.session_id"), id.to_string()),
            SignedOut::Subject(id) => (announce!("g.subject_id"), id.as_str().to_owned()),
        };
        on_engine!(transaction, on => sqlx::query(statement)
            .bind(id)
            .bind(now.as_unix())
            .bind(now.plus(PERSISTENCE).as_unix())
            .execute(&mut **on)
            .await
            .map(drop))
    }
}

/// A client and what it has to be told. Others leave it alone until the claim ends.
pub struct ClaimedNotices {
    pub client: ClientId,
    /// Those that were tried least often come first.
    pub notices: Vec<LogoutNotice>,
    pub until: Timestamp,
}

/// That a user was signed out.
#[derive(Clone, Debug)]
pub struct LogoutNotice {
    pub subject: SubjectId,
    /// The session that ended; `None` where it is not known.
    pub session: Option<SessionId>,
    /// So many have failed.
    pub attempts: u32,
    /// From then on the client need not be told.
    pub expires_at: Timestamp,
}

#[derive(FromRow)]
struct NoticeRow {
    subject_id: String,
    session_id: String,
    attempts: i64,
    expires_at: i64,
}

impl TryFrom<NoticeRow> for LogoutNotice {
    type Error = sqlx::Error;

    fn try_from(row: NoticeRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            session: optional(&row.session_id)?,
            subject: SubjectId::new(row.subject_id),
            attempts: number(row.attempts)?,
            expires_at: Timestamp::from_unix(row.expires_at),
        })
    }
}

impl Store {
    /// From now on, clients that have to be told of ended sessions are noted.
    #[must_use]
    pub fn announcing_logouts(mut self) -> Self {
        self.announcer = Announcer::On;
        self
    }

    /// Claims all that is due for the client that waits longest and is not told anything by somebody else. `None` when there is none.
    pub async fn claim_logout_notices(
        &self,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<ClaimedNotices>, Unavailable> {
        let (reader, writer) = (self.reader.clone(), self.writer.clone());
        self.run("look for clients to tell of a logout", async move {
            let client: Option<String> = on_engine!(&reader, on => sqlx::query_scalar(
                "SELECT n.client_id FROM logout_notices n WHERE n.due_at <= $1 AND n.expires_at > $1 AND NOT EXISTS \
                 (SELECT 1 FROM logout_notices WHERE client_id = n.client_id AND claimed_until > $1) ORDER BY n.due_at LIMIT 1",
            )
            .bind(now.as_unix())
            .fetch_optional(on).await?);
            let Some(client) = client else { return Ok(None) };
            let rows: Vec<NoticeRow> = on_engine!(&writer, on => sqlx::query_as(
                "UPDATE logout_notices SET claimed_until = $3 \
                 WHERE client_id = $1 AND due_at <= $2 AND expires_at > $2 AND claimed_until <= $2 \
                 RETURNING subject_id, session_id, attempts, expires_at",
            )
            .bind(client.clone())
            .bind(now.as_unix())
            .bind(until.as_unix())
            .fetch_all(on).await?);
            let mut notices: Vec<LogoutNotice> =
                rows.into_iter().map(LogoutNotice::try_from).collect::<Result<_, _>>()?;
            notices.sort_by_key(|notice| notice.attempts);
            Ok((!notices.is_empty()).then_some(ClaimedNotices { client: parse(&client)?, notices, until }))
        })
        .await
    }

    /// Removes a notice: the client knows, or need not any more.
    pub async fn remove_logout_notice(&self, claim: &ClaimedNotices, notice: &LogoutNotice) -> Result<(), Unavailable> {
        let (writer, client, until) = (self.writer.clone(), claim.client.to_string(), claim.until.as_unix());
        let (subject, session) = (notice.subject.as_str().to_owned(), session_id(notice));
        self.run("remove a logout notice", async move {
            on_engine!(&writer, on => sqlx::query(
                "DELETE FROM logout_notices WHERE client_id = $1 AND subject_id = $2 AND session_id = $3 AND claimed_until = $4",
            )
            .bind(client)
            .bind(subject)
            .bind(session)
            .bind(until)
            .execute(on).await.map(drop))
        })
        .await
    }

    /// Has a notice wait after an attempt that failed.
    pub async fn postpone_logout_notice(
        &self,
        claim: &ClaimedNotices,
        notice: &LogoutNotice,
        due_at: Timestamp,
    ) -> Result<(), Unavailable> {
        let (writer, client, until) = (self.writer.clone(), claim.client.to_string(), claim.until.as_unix());
        let (subject, session) = (notice.subject.as_str().to_owned(), session_id(notice));
        self.run("postpone a logout notice", async move {
            on_engine!(&writer, on => sqlx::query(
                "UPDATE logout_notices SET attempts = attempts + 1, due_at = $5 \
                 WHERE client_id = $1 AND subject_id = $2 AND session_id = $3 AND claimed_until = $4",
            )
            .bind(client)
            .bind(subject)
            .bind(session)
            .bind(until)
            .bind(due_at.as_unix())
            .execute(on).await.map(drop))
        })
        .await
    }

    /// Ends a claim. What is left of it and due before waits until then.
    pub async fn release_logout_notices(&self, claim: &ClaimedNotices, due_at: Timestamp) -> Result<(), Unavailable> {
        let (writer, client, until) = (self.writer.clone(), claim.client.to_string(), claim.until.as_unix());
        self.run("release logout notices", async move {
            on_engine!(&writer, on => sqlx::query(
                "UPDATE logout_notices SET claimed_until = 0, due_at = CASE WHEN due_at < $3 THEN $3 ELSE due_at END \
                 WHERE client_id = $1 AND claimed_until = $2",
            )
            .bind(client)
            .bind(until)
            .bind(due_at.as_unix())
            .execute(on).await.map(drop))
        })
        .await
    }
}

fn session_id(notice: &LogoutNotice) -> String {
    notice.session.map(|session| session.to_string()).unwrap_or_default()
}
