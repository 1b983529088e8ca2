//! Pruning: deleting the rows that nobody can use any more, a batch at a time. That they are there or not changes no answer.
//!
//! A batch is one short statement, so whoever waits for the writer or for a lock waits for one batch alone. It names what it
//! found by what it judged, too: a row that changed in between is not the row that was found, and stays.

use super::Store;
use super::engine::{Engine, Pool, on_engine};
use crate::domain::error::Unavailable;
use crate::domain::timestamp::Timestamp;

/// The most rows that one statement deletes.
macro_rules! batch {
    () => {
        500
    };
}

/// What clocks may differ by, in seconds. It is longer than a consent form is good for: until then, the row of its grant says
/// that it was used.
const HOUR: i64 = 3_600;
/// How long it is remembered what was revoked, in seconds.
const DAY: i64 = 24 * HOUR;

/// Deletes from a table a batch of the rows that are due, longest due first.
macro_rules! delete {
    ($table:literal, $key:literal, $due:literal, $condition:expr) => {
        concat!(
            "DELETE FROM ",
            $table,
            " WHERE (",
            $key,
            ", ",
            $due,
            ") IN (SELECT ",
            $key,
            ", ",
            $due,
            " FROM ",
            $table,
            " WHERE ",
            $condition,
            " ORDER BY ",
            $due,
            " LIMIT ",
            batch!(),
            ")",
        )
    };
}

/// Rows that nobody can use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prunable {
    /// Grants that ended by themselves, pending ones with their code: every token of them has expired.
    ExpiredGrants,
    /// Grants that were revoked a day ago.
    RevokedGrants,
    /// Browser sessions that have expired.
    Sessions,
    /// The beginning of the revocation log, as far as it is a day old.
    Log,
    /// The leases of servers that are gone.
    Leases,
    /// Devices that waited for a user for too long, or need not any more.
    Devices,
    /// How many wrong codes users have entered, once it counts no more.
    UserCodes,
    /// Keys that signed ID tokens, when they have not been published for a while. Until then, they verify hints.
    SigningKeys,
    /// What users allowed clients and has not counted for an hour.
    Consents,
    /// Sets of grants that were revoked at once, when no grant and no consent is left that is as old.
    Sets,
    /// Pushed requests that expired an hour ago: until then, a consent form may still be open.
    PushedRequests,
    /// DPoP proofs that are too old to be accepted, by any clock.
    Proofs,
    /// Client assertions that have expired.
    Assertions,
    /// What clients were to be told of ended sessions, when they need not be told any more.
    LogoutNotices,
    /// What login apps decided, when nobody can come back with it any more.
    Interactions,
    /// Clients that registered themselves and were not used in time. One that has a grant stays as long as that.
    UnusedClients,
    /// Clients whose document was read two hours ago and that have no grant. It would be read again. Disabled ones stay, so that they
    /// stay out.
    UnusedDocuments,
    /// Clients that were deleted a day ago, when none of their grants is left.
    DeletedClients,
    /// Users who were deleted a day ago, when nothing of theirs is left.
    DeletedSubjects,
}

impl Prunable {
    /// Sets, clients and users come last: they wait for the grants and the consents to go, and users for their clients.
    pub const ALL: [Self; 19] = [
        Self::ExpiredGrants,
        Self::RevokedGrants,
        Self::Sessions,
        Self::PushedRequests,
        Self::Proofs,
        Self::Log,
        Self::Leases,
        Self::Devices,
        Self::UserCodes,
        Self::SigningKeys,
        Self::Consents,
        Self::Sets,
        Self::Assertions,
        Self::LogoutNotices,
        Self::Interactions,
        Self::UnusedClients,
        Self::UnusedDocuments,
        Self::DeletedClients,
        Self::DeletedSubjects,
    ];

    /// The table in which they are.
    pub const fn table(self) -> &'static str {
        match self {
            Self::ExpiredGrants | Self::RevokedGrants => "grants",
            Self::Sessions => "browser_sessions",
            Self::Log => "revocation_log",
            Self::Leases => "sidecar_leases",
            Self::Devices => "device_requests",
            Self::UserCodes => "user_code_attempts",
            Self::SigningKeys => "signing_keys",
            Self::Consents => "consents",
            Self::Sets => "revoked_sets",
            Self::PushedRequests => "pushed_requests",
            Self::Proofs => "dpop_proofs",
            Self::Assertions => "used_assertions",
            Self::UnusedClients | Self::UnusedDocuments | Self::DeletedClients => "clients",
            Self::DeletedSubjects => "subjects",
            Self::LogoutNotices => "logout_notices",
            Self::Interactions => "interactions",
        }
    }

    /// The statement that deletes a batch, and its parameter.
    fn statement(self, pool: &Pool, now: Timestamp) -> (&'static str, i64) {
        let now = now.as_unix();
        match self {
            Self::ExpiredGrants => (delete!("grants", "id", "expires_at", "expires_at <= $1"), now - HOUR),
            Self::RevokedGrants => (delete!("grants", "id", "revoked_at", "revoked_at <= $1"), now - DAY),
            Self::Sessions => (delete!("browser_sessions", "id_hash", "expires_at", "expires_at <= $1"), now),
            Self::PushedRequests => {
                (delete!("pushed_requests", "id_hash", "expires_at", "expires_at <= $1"), now - HOUR)
            }
            Self::Proofs => (delete!("dpop_proofs", "id", "expires_at", "expires_at <= $1"), now - HOUR),
            // The times in the log are those of many clocks, so an old entry may come after a young one, and then it stays: the
            // log has no holes. The entry at the head stays however old it is, since readers look for the one they are at.
            Self::Log => (
                concat!(
                    "DELETE FROM revocation_log \
                     WHERE seq IN (SELECT seq FROM revocation_log ORDER BY seq LIMIT ",
                    batch!(),
                    ") \
                     AND seq < COALESCE((SELECT MIN(oldest.seq) FROM \
                       (SELECT seq, at FROM revocation_log ORDER BY seq LIMIT ",
                    batch!(),
                    ") AS oldest WHERE oldest.at > $1), \
                       (SELECT head FROM revocation_head))",
                ),
                now - DAY,
            ),
            // By the clock that the leases are measured with. By another one, a lease that holds might look ended.
            Self::Leases => (
                match pool {
                    Engine::Sqlite(_) => delete!(
                        "sidecar_leases",
                        "id",
                        "expires_at",
                        "expires_at <= CAST(strftime('%s', 'now') AS BIGINT) * 1000 - $1"
                    ),
                    Engine::Postgres(_) => delete!(
                        "sidecar_leases",
                        "id",
                        "expires_at",
                        "expires_at <= CAST(EXTRACT(EPOCH FROM now()) AS BIGINT) * 1000 - $1"
                    ),
                },
                HOUR * 1_000,
            ),
            Self::Devices => (delete!("device_requests", "id", "expires_at", "expires_at <= $1"), now - HOUR),
            Self::UserCodes => (delete!("user_code_attempts", "subject_id", "since", "since <= $1"), now - HOUR),
            Self::SigningKeys => (delete!("signing_keys", "id", "retires_at", "retires_at <= $1"), now - 90 * DAY),
            Self::Consents => (delete!("consents", "pair", "decided_at", "decided_at <= $1"), now - HOUR),
            // A grant that is being inserted counts from a head that may have moved on, and cannot be seen yet. So what was
            // revoked lately stays.
            Self::Sets => (
                delete!(
                    "revoked_sets",
                    "kind, target",
                    "revoked_seq",
                    "kind <> 'key' AND revoked_seq <= COALESCE((SELECT MIN(created_seq) FROM grants), (SELECT head FROM revocation_head)) \
                     AND NOT EXISTS (SELECT 1 FROM revocation_log WHERE seq = revoked_seq AND at > $1) \
                     AND NOT EXISTS (SELECT 1 FROM consents WHERE pair = target AND created_seq < revoked_seq)"
                ),
                now - HOUR,
            ),
            Self::Assertions => (delete!("used_assertions", "key", "expires_at", "expires_at <= $1"), now - HOUR),
            Self::LogoutNotices => {
                (delete!("logout_notices", "client_id, subject_id, session_id", "expires_at", "expires_at <= $1"), now)
            }
            Self::Interactions => (delete!("interactions", "id", "expires_at", "expires_at <= $1"), now),
            // Its use makes the time NULL, so one that is used meanwhile is not what was found. Whoever grants it something
            // meanwhile holds its row: then the foreign key refuses, and the next turn finds the grant.
            Self::UnusedClients => (
                delete!(
                    "clients",
                    "id",
                    "unused_until",
                    "unused_until <= $1 AND NOT EXISTS (SELECT 1 FROM grants WHERE client_id = clients.id)"
                ),
                now,
            ),
            Self::UnusedDocuments => (
                delete!(
                    "clients",
                    "id",
                    "document_read_at",
                    "document_read_at <= $1 AND disabled_at IS NULL AND deleted_at IS NULL \
                     AND NOT EXISTS (SELECT 1 FROM grants WHERE client_id = clients.id)"
                ),
                now - 2 * HOUR,
            ),
            Self::DeletedClients => (
                delete!(
                    "clients",
                    "id",
                    "deleted_at",
                    "deleted_at <= $1 AND NOT EXISTS (SELECT 1 FROM grants WHERE client_id = clients.id)"
                ),
                now - DAY,
            ),
            Self::DeletedSubjects => (
                delete!(
                    "subjects",
                    "id",
                    "deleted_at",
                    "deleted_at <= $1 AND NOT EXISTS (SELECT 1 FROM grants WHERE subject_id = subjects.id) \
                     AND NOT EXISTS (SELECT 1 FROM clients WHERE owner_subject = subjects.id) AND NOT EXISTS \
                     (SELECT 1 FROM browser_sessions WHERE subject_id = subjects.id) AND NOT EXISTS (SELECT 1 FROM user_code_attempts WHERE subject_id = subjects.id)"
                ),
                now - DAY,
            ),
        }
    }
}

impl Store {
    /// The most rows that [`Self::prune`] deletes at once.
    pub const PRUNING_BATCH: u64 = batch!();

    /// Claims the turn to prune, which ends at `until`. `false` while it is somebody else's.
    pub async fn claim_pruning_turn(&self, now: Timestamp, until: Timestamp) -> Result<bool, Unavailable> {
        let writer = self.writer.clone();
        self.run("claim the turn to prune", async move {
            // A turn that ends so late was claimed by a clock that was wrong. Nobody need wait for it.
            let claimed = on_engine!(&writer, on => sqlx::query(
                "UPDATE pruning_turn SET until = $2 WHERE id = 1 AND (until <= $1 OR until > $3)",
            )
            .bind(now.as_unix())
            .bind(until.as_unix())
            .bind(until.as_unix() + HOUR)
            .execute(on).await?.rows_affected());
            Ok(claimed == 1)
        })
        .await
    }

    /// Deletes a batch of what nobody could use `now`, which for consents is the time before which nothing counts that was allowed. How
    /// many rows that were. Fewer than [`Self::PRUNING_BATCH`]: there are no more.
    pub async fn prune(&self, what: Prunable, now: Timestamp) -> Result<u64, Unavailable> {
        let writer = self.writer.clone();
        self.run("prune", async move {
            let (statement, parameter) = what.statement(&writer, now);
            Ok(on_engine!(&writer, on => sqlx::query(statement).bind(parameter).execute(on).await?.rows_affected()))
        })
        .await
    }

    /// For how many seconds the grant that waits longest could have been pruned; 0 when there is none.
    pub async fn oldest_expired(&self, now: Timestamp) -> Result<u32, Unavailable> {
        let reader = self.reader.clone();
        self.run("measure what is left to prune", async move {
            let (expired, revoked): (Option<i64>, Option<i64>) = on_engine!(&reader, on => sqlx::query_as(
                "SELECT (SELECT MIN(expires_at) FROM grants), (SELECT MIN(revoked_at) FROM grants WHERE revoked_at IS NOT NULL)",
            )
            .fetch_one(on).await?);
            let since = [expired.map(|at| at + HOUR), revoked.map(|at| at + DAY)];
            let ages = since.into_iter().flatten().map(|since| now.seconds_since(Timestamp::from_unix(since)));
            Ok(ages.max().unwrap_or(0))
        })
        .await
    }
}
