//! Reading the revocation log, and telling other servers at once that there is something to read.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::FromRow;
use sqlx::postgres::{PgListener, PgNotification, PgPool};

use super::Store;
use super::engine::{Engine, on_engine};
use super::rows::number;
use crate::domain::error::Unavailable;
use crate::domain::revocation::{Chain, LogEntry, LogExcerpt, Position, Revocation, Target};
use crate::domain::timestamp::Timestamp;

/// How far back a server that starts reads, in seconds.
const MEMORY: i64 = 24 * 3_600;
/// And how many entries at most.
const MEMORY_ENTRIES: i64 = 1 << 16;
/// How long until PostgreSQL is listened to again after a failure.
const LISTEN_PAUSE: Duration = Duration::from_secs(1);

impl Store {
    /// The position of the log.
    pub async fn revocation_head(&self) -> Result<u64, Unavailable> {
        let reader = self.reader.clone();
        self.run("follow the revocation log", async move {
            let head =
                on_engine!(&reader, on => sqlx::query_scalar("SELECT head FROM revocation_head").fetch_one(on).await?);
            number(head)
        })
        .await
    }

    /// Where a server that starts begins to read: what it then knows goes back a day.
    pub async fn log_start(&self, now: Timestamp) -> Result<Position, Unavailable> {
        let reader = self.reader.clone();
        self.run("follow the revocation log", async move {
            let row: PositionRow = on_engine!(&reader, on => sqlx::query_as(
                "SELECT COALESCE(l.seq, h.head) AS seq, COALESCE(l.chain, h.chain) AS chain \
                 FROM revocation_head h LEFT JOIN revocation_log l ON l.seq = COALESCE( \
                   (SELECT MAX(seq) FROM revocation_log WHERE at < $1 AND seq > h.head - $2), \
                   (SELECT MIN(seq) FROM revocation_log WHERE seq > h.head - $2))",
            )
            .bind(now.as_unix() - MEMORY)
            .bind(MEMORY_ENTRIES)
            .fetch_one(on)
            .await?);
            Ok(match number(row.seq)? {
                // The first entry of all: nothing is before it.
                1 => Position::default(),
                seq => Position { seq, chain: Chain::from_bytes(&row.chain) },
            })
        })
        .await
    }

    /// The log after position `after`, 1,000 entries at most, in one snapshot.
    pub async fn log_after(&self, after: u64) -> Result<LogExcerpt, Unavailable> {
        let reader = self.reader.clone();
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.run("follow the revocation log", async move {
            let rows: Vec<ExcerptRow> = on_engine!(&reader, on => sqlx::query_as(
                "SELECT h.head, CASE WHEN h.head = $1 THEN h.chain ELSE p.chain END AS chain_before, \
                 (SELECT MIN(seq) FROM revocation_log) AS oldest, l.seq, l.kind, l.target, l.value, l.at, l.chain \
                 FROM revocation_head h LEFT JOIN revocation_log p ON p.seq = $1 \
                 LEFT JOIN revocation_log l ON l.seq > $1 AND l.seq <= h.head ORDER BY l.seq LIMIT 1000",
            )
            .bind(after)
            .fetch_all(on)
            .await?);
            let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
            let chain = first.chain_before.as_deref().map(Chain::from_bytes);
            Ok(LogExcerpt {
                head: number(first.head)?,
                oldest: first.oldest.map(number).transpose()?,
                // Before the first entry of all, there is no chain.
                chain: if after == 0 && first.oldest == Some(1) { Some(Chain::default()) } else { chain },
                entries: rows
                    .into_iter()
                    .filter_map(|row| row.entry)
                    .map(LogEntry::try_from)
                    .collect::<Result<_, _>>()?,
            })
        })
        .await
    }

    /// The log as far back as servers remember it.
    pub async fn whole_log(&self) -> Result<Vec<LogEntry>, Unavailable> {
        let reader = self.reader.clone();
        self.run("read the whole revocation log", async move {
            let rows: Vec<EntryRow> = on_engine!(&reader, on => sqlx::query_as(
                "SELECT l.seq, l.kind, l.target, l.value, l.at, l.chain FROM revocation_log l ORDER BY l.seq DESC LIMIT $1",
            )
            .bind(MEMORY_ENTRIES)
            .fetch_all(on)
            .await?);
            rows.into_iter().rev().map(LogEntry::try_from).collect()
        })
        .await
    }

    /// Tells the other servers on this database. On SQLite there are none.
    pub async fn notify(&self, message: String) -> Result<(), Unavailable> {
        let Engine::Postgres(pool) = self.writer.clone() else { return Ok(()) };
        self.run("notify other servers", async move {
            sqlx::query("SELECT pg_notify('scopegate_' || md5(current_schema()), $1)")
                .bind(message)
                .execute(&pool)
                .await
                .map(drop)
        })
        .await
    }

    /// Hears what other servers tell, for ever. Without a message: some may have been lost.
    pub async fn listen(&self, hear: impl Fn(Option<&str>)) {
        let Engine::Postgres(pool) = &self.reader else { return std::future::pending().await };
        loop {
            // The client panics over some of what is no PostgreSQL, and that must not be the end of it.
            let listened = AssertUnwindSafe(listen(pool, &hear)).catch_unwind().await;
            if let Err(error) = listened.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed)) {
                tracing::debug!(cause = %error, "notifications are not heard; the log is read all the same");
            }
            tokio::time::sleep(LISTEN_PAUSE).await;
        }
    }
}

async fn listen(pool: &PgPool, hear: impl Fn(Option<&str>)) -> Result<(), sqlx::Error> {
    let channel: String = sqlx::query_scalar("SELECT 'scopegate_' || md5(current_schema())").fetch_one(pool).await?;
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(&channel).await?;
    hear(None);
    loop {
        let notification = listener.try_recv().await?;
        hear(notification.as_ref().map(PgNotification::payload));
    }
}

#[derive(FromRow)]
struct PositionRow {
    seq: i64,
    chain: Vec<u8>,
}

#[derive(FromRow)]
struct EntryRow {
    seq: i64,
    kind: String,
    target: String,
    value: i64,
    at: i64,
    chain: Vec<u8>,
}

impl TryFrom<EntryRow> for LogEntry {
    type Error = sqlx::Error;

    fn try_from(row: EntryRow) -> Result<Self, sqlx::Error> {
        let target = Target::parse(&row.kind, &row.target, number(row.value)?)
            .map_err(|error| sqlx::Error::Decode(error.into()))?;
        let revocation = Revocation { seq: number(row.seq)?, target, at: Timestamp::from_unix(row.at) };
        Ok(Self { revocation, chain: Chain::from_bytes(&row.chain) })
    }
}

/// What is known of the log as a whole, beside an entry if there is one.
struct ExcerptRow {
    head: i64,
    chain_before: Option<Vec<u8>>,
    oldest: Option<i64>,
    entry: Option<EntryRow>,
}

impl<'r, R: sqlx::Row> FromRow<'r, R> for ExcerptRow
where
    &'static str: sqlx::ColumnIndex<R>,
    i64: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Vec<u8>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Option<i64>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Option<Vec<u8>>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    EntryRow: FromRow<'r, R>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let seq: Option<i64> = row.try_get("seq")?;
        Ok(Self {
            head: row.try_get("head")?,
            chain_before: row.try_get("chain_before")?,
            oldest: row.try_get("oldest")?,
            entry: seq.map(|_| EntryRow::from_row(row)).transpose()?,
        })
    }
}
