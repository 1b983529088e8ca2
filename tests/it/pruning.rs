//! Pruning: what nobody can use any more goes, and nothing else.

use std::time::{Duration, Instant};

use scopegate::proto::scopegate::v1 as api;

use crate::harness::{Database, Sidecar, Tokens};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
/// As configured by default, in seconds.
const CODE_LIFETIME: i64 = 60;
const GRANT_LIFETIME: i64 = 90 * DAY;
/// How long one server has the turn to prune.
const TURN: i64 = 60;

/// Waits for something that the server does by itself.
macro_rules! eventually {
    ($condition:expr) => {
        let began = Instant::now();
        while !$condition {
            assert!(began.elapsed() < Duration::from_secs(20), "{}", stringify!($condition));
        }
    };
}

/// The server has pruned for the first time, so the test is alone with its clock for the next minute.
async fn settled(sidecar: Sidecar) -> Sidecar {
    eventually!(
        sidecar.metric("scopegate_store_operations_total{operation=\"measure what is left to prune\"}").await > 0
    );
    sidecar
}

async fn revoke(sidecar: &Sidecar, token: &str) {
    let request =
        api::RevokeRequest { token: token.into(), mode: api::RevocationMode::Bounded.into(), ..Default::default() };
    sidecar.grpc().await.revoke(request).await.unwrap();
}

async fn rows<const N: usize>(database: &mut Database, tables: [&str; N]) -> [i64; N] {
    let mut counts = [0; N];
    for (count, table) in counts.iter_mut().zip(tables) {
        *count = database.count(table).await;
    }
    counts
}

/// Copies every grant 1,203 times, as ones that ended an hour before it was made and a little earlier each.
async fn copy_grants_expired(database: &mut Database) {
    macro_rules! copy {
        ($id:literal) => {
            concat!(
                "INSERT INTO grants (id, client_id, subject_id, session_id, variants, state, generation, created_at, created_seq, \
                 redirect_uri, code_challenge, failed_redemptions, refresh_serial, refresh_variant, rotated_at, expires_at) \
                 WITH RECURSIVE copies (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copies WHERE n < 1203) SELECT ",
                $id,
                ", client_id, subject_id, session_id, variants, state, generation, created_at, created_seq, \
                 redirect_uri, code_challenge, failed_redemptions, refresh_serial, refresh_variant, rotated_at, \
                 created_at - 3600 - n FROM grants, copies",
            )
        };
    }
    let statement = if database.is_shared() {
        copy!("decode(md5(encode(id, 'hex') || n), 'hex')")
    } else {
        copy!("randomblob(16)")
    };
    database.execute(statement).await;
}

#[tokio::test]
async fn what_nobody_can_use_any_more_is_deleted_and_nothing_else() {
    let sidecar = settled(Sidecar::start().await).await;
    let mut database = sidecar.database().await;
    let (kept, revoked) = (sidecar.tokens().await, sidecar.tokens().await);
    sidecar.code().await;
    revoke(&sidecar, &revoked.access).await;
    database
        .execute(
            "INSERT INTO sidecar_leases (id, applied, lease, expires_at) \
             VALUES ('gone', 0, 1000, 1), ('here', 0, 1000, 4102444800000); \
             INSERT INTO revoked_sets (kind, target, revoked_seq) VALUES ('session', 'old', 1), ('session', 'new', 2)",
        )
        .await;
    let seen = [
        "grants WHERE state = 'pending'",
        "grants WHERE state = 'active'",
        "grants WHERE state = 'revoked'",
        "browser_sessions",
        "revocation_log",
        "sidecar_leases WHERE id = 'gone'",
        "sidecar_leases WHERE id = 'here'",
        "revoked_sets WHERE target = 'old'",
        "revoked_sets WHERE target = 'new'",
    ];

    sidecar.clock.advance(CODE_LIFETIME + HOUR - 1);
    sidecar.service.prune().await.unwrap();
    assert_eq!(rows(&mut database, seen).await, [1, 1, 1, 3, 1, 0, 1, 1, 1], "a server that is gone held a lease");

    sidecar.clock.advance(TURN);
    sidecar.service.prune().await.unwrap();
    assert_eq!(rows(&mut database, seen).await, [0, 1, 1, 3, 1, 0, 1, 1, 1], "the code ended an hour ago");
    sidecar.refresh(&kept.refresh).await.tokens();

    sidecar.clock.advance(DAY);
    let fresh = sidecar.tokens().await;
    sidecar.service.prune().await.unwrap();
    assert_eq!(
        rows(&mut database, seen).await,
        [0, 2, 0, 1, 1, 0, 1, 1, 1],
        "the revocation is a day old, three sessions have expired; the newest entry of the log stays"
    );
    assert!(sidecar.is_active(&fresh.access).await);

    sidecar.clock.advance(GRANT_LIFETIME + HOUR - DAY);
    sidecar.service.prune().await.unwrap();
    assert_eq!(
        rows(&mut database, seen).await,
        [0, 1, 0, 0, 1, 0, 1, 0, 1],
        "the oldest grant has ended, and with it all that the old set covers"
    );

    sidecar.clock.advance(DAY);
    sidecar.service.prune().await.unwrap();
    assert_eq!(rows(&mut database, seen).await, [0, 0, 0, 0, 1, 0, 1, 0, 1]);
    let again = sidecar.tokens().await;
    assert!(sidecar.is_active(&again.access).await, "clients and accounts are not pruned");
}

#[tokio::test]
async fn a_set_that_was_revoked_lately_stays_for_grants_that_cannot_be_seen_yet() {
    let sidecar = settled(Sidecar::start().await).await;
    let mut database = sidecar.database().await;
    let revoked = sidecar.tokens().await;
    revoke(&sidecar, &revoked.access).await;
    database
        .execute("DELETE FROM grants; INSERT INTO revoked_sets (kind, target, revoked_seq) VALUES ('session', 'x', 1)")
        .await;
    sidecar.clock.advance(HOUR - 1);
    sidecar.service.prune().await.unwrap();
    assert_eq!(database.count("revoked_sets").await, 1);
    sidecar.clock.advance(TURN);
    sidecar.service.prune().await.unwrap();
    assert_eq!(database.count("revoked_sets").await, 0);
}

#[tokio::test]
async fn pruning_more_rows_than_one_batch() {
    let sidecar = settled(Sidecar::start().await).await;
    let live = sidecar.tokens().await;
    let mut database = sidecar.database().await;
    copy_grants_expired(&mut database).await;
    assert_eq!(database.count("grants").await, 1_204);
    sidecar.clock.advance(TURN);
    sidecar.service.prune().await.unwrap();
    assert_eq!(database.count("grants").await, 1);
    assert_eq!(sidecar.metric("scopegate_pruned_rows_total{table=\"grants\"}").await, 1_203);
    assert!(sidecar.is_active(&live.access).await);
}

#[tokio::test]
async fn the_log_is_pruned_from_its_beginning_and_keeps_its_head() {
    let sidecar = settled(Sidecar::start().await).await;
    let mut database = sidecar.database().await;
    let mut revoked = Vec::new();
    for _ in 0..5 {
        let Tokens { access, .. } = sidecar.tokens().await;
        revoke(&sidecar, &access).await;
        revoked.push(access);
    }
    // The third was written by a server whose clock was ahead.
    database.execute("UPDATE revocation_log SET at = at + 7200 WHERE seq = 3").await;
    let entries = ["revocation_log", "revocation_log WHERE seq >= 3", "revocation_log WHERE seq = 5"];
    sidecar.clock.advance(DAY + HOUR);
    sidecar.service.prune().await.unwrap();
    assert_eq!(rows(&mut database, entries).await, [3, 3, 1], "no holes, though the fourth and the fifth are old");
    sidecar.clock.advance(HOUR);
    sidecar.service.prune().await.unwrap();
    assert_eq!(rows(&mut database, entries).await, [1, 1, 1], "the head stays");
    let Tokens { access, .. } = sidecar.tokens().await;
    assert!(sidecar.is_active(&access).await);
    revoke(&sidecar, &access).await;
    assert_eq!(rows(&mut database, entries).await, [2, 2, 1], "the log goes on where it was");
    let other = sidecar.beside().await;
    revoked.push(access);
    for access in revoked {
        assert!(!sidecar.is_active(&access).await && !other.is_active(&access).await);
    }
}

#[tokio::test]
async fn a_log_longer_than_a_batch_is_pruned_as_far_as_it_is_old() {
    let sidecar = settled(Sidecar::start().await).await;
    let mut database = sidecar.database().await;
    database
        .execute(
            "BEGIN; \
             INSERT INTO revocation_log (seq, kind, target, value, at) \
             WITH RECURSIVE entries (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM entries WHERE n < 1300) \
             SELECT n, 'client', 'x', 0, CASE WHEN n > 1200 THEN 4102444800 ELSE 0 END FROM entries; \
             UPDATE revocation_head SET head = 1300; COMMIT",
        )
        .await;
    sidecar.clock.advance(TURN);
    sidecar.service.prune().await.unwrap();
    assert_eq!(rows(&mut database, ["revocation_log", "revocation_log WHERE seq > 1200"]).await, [100, 100]);
}

#[tokio::test]
async fn two_servers_do_not_prune_at_once() {
    let one = settled(Sidecar::start().await).await;
    let other = settled(one.beside().await).await;
    let mut database = one.database().await;
    let dead = "INSERT INTO sidecar_leases (id, applied, lease, expires_at) VALUES ('gone', 0, 1000, 1)";
    let left = "sidecar_leases WHERE id = 'gone'";
    for (first, second) in [(&one, &other), (&other, &one)] {
        for server in [first, second] {
            server.clock.advance(2 * TURN);
        }
        database.execute(dead).await;
        first.service.prune().await.unwrap();
        assert_eq!(database.count(left).await, 0, "it is its turn");
        database.execute(dead).await;
        second.service.prune().await.unwrap();
        first.service.prune().await.unwrap();
        assert_eq!(database.count(left).await, 1, "the turn is taken, and it is used once");
        second.clock.advance(2 * TURN);
        second.service.prune().await.unwrap();
        assert_eq!(database.count(left).await, 0, "the turn has ended");
        first.clock.advance(2 * TURN);
    }
}

#[tokio::test]
async fn a_turn_that_a_wrong_clock_claimed_does_not_end_pruning() {
    let sidecar = settled(Sidecar::start().await).await;
    let mut database = sidecar.database().await;
    database
        .execute(
            "UPDATE pruning_turn SET until = 4102444800; \
             INSERT INTO sidecar_leases (id, applied, lease, expires_at) VALUES ('gone', 0, 1000, 1)",
        )
        .await;
    sidecar.service.prune().await.unwrap();
    assert_eq!(database.count("sidecar_leases WHERE id = 'gone'").await, 0);
}

#[tokio::test]
async fn k4_a_pruned_grant_is_as_dead_as_it_was() {
    let sidecar = settled(Sidecar::start().await).await;
    let (code, tokens) = (sidecar.code().await, sidecar.tokens().await);
    let redeemed = sidecar.code().await;
    sidecar.redeem(&redeemed).await.tokens();
    // The tokens are still good by themselves: nothing but the row says that they are not.
    sidecar.database().await.execute("UPDATE grants SET expires_at = 0").await;
    sidecar.database().await.execute("UPDATE pruning_turn SET until = 0").await;
    sidecar.service.prune().await.unwrap();
    assert_eq!(sidecar.database().await.count("grants").await, 0);
    assert!(!sidecar.is_active(&tokens.access).await && !sidecar.is_active(&tokens.refresh).await);
    assert_eq!(sidecar.check(&tokens.access, &[]).await.decision(), api::Decision::InactiveToken);
    for code in [code, redeemed] {
        sidecar.redeem(&code).await.assert_error(400, "invalid_grant");
    }
    sidecar.refresh(&tokens.refresh).await.assert_error(400, "invalid_grant");
    revoke(&sidecar, &tokens.access).await;
    let revoked = sidecar.http().post_as(&sidecar.shop, "/revoke", &[("token", &tokens.refresh)]).await;
    assert_eq!(revoked.status, 200);
    let introspected = sidecar.http().post_as(&sidecar.shop, "/introspect", &[("token", &tokens.access)]).await;
    assert_eq!(introspected.body, r#"{"active":false}"#);
    assert_eq!(sidecar.database().await.count("revocation_log").await, 0, "there was nothing to revoke");
}

#[tokio::test]
async fn the_age_of_what_should_have_been_pruned_is_a_metric() {
    let age = "scopegate_oldest_expired_age_seconds";
    let sidecar = settled(Sidecar::start().await).await;
    let tokens = sidecar.tokens().await;
    sidecar.clock.advance(GRANT_LIFETIME + HOUR);
    sidecar.service.prune().await.unwrap();
    assert_eq!(sidecar.metric(age).await, 0);
    assert!(!sidecar.is_active(&tokens.access).await);

    let (one, other) = (sidecar.tokens().await, sidecar.tokens().await);
    revoke(&sidecar, &other.access).await;
    sidecar.clock.advance(DAY + 30);
    // Somebody who has the turn does nothing with it.
    let database = &mut sidecar.database().await;
    database.execute("UPDATE pruning_turn SET until = (SELECT MAX(revoked_at) + 86400 + 60 FROM grants)").await;
    sidecar.service.prune().await.unwrap();
    assert_eq!(sidecar.metric(age).await, 30);
    sidecar.clock.advance(TURN);
    sidecar.service.prune().await.unwrap();
    assert_eq!(sidecar.metric(age).await, 0);
    sidecar.refresh(&one.refresh).await.tokens();
}

#[tokio::test]
async fn a_server_prunes_by_itself_soon_after_it_started() {
    let first = settled(Sidecar::start().await).await;
    let live = first.tokens().await;
    let mut database = first.database().await;
    copy_grants_expired(&mut database).await;
    database.execute("UPDATE pruning_turn SET until = 0").await;
    let second = first.beside().await;
    eventually!(database.count("grants").await == 1);
    eventually!(second.metric("scopegate_pruned_rows_total{table=\"grants\"}").await == 1_203);
    assert!(second.is_active(&live.access).await);
}

#[tokio::test]
async fn a_database_that_cannot_be_pruned_is_pruned_when_it_can() {
    let sidecar = settled(Sidecar::start().await).await;
    let mut database = sidecar.database().await;
    sidecar.tokens().await;
    copy_grants_expired(&mut database).await;
    database.execute("ALTER TABLE grants RENAME TO lost").await;
    sidecar.clock.advance(TURN);
    assert!(sidecar.service.prune().await.is_err());
    database.execute("ALTER TABLE lost RENAME TO grants").await;
    sidecar.clock.advance(TURN);
    sidecar.service.prune().await.unwrap();
    assert_eq!(database.count("grants").await, 1);
}

#[tokio::test]
async fn what_a_user_allowed_goes_when_it_has_not_counted_for_an_hour() {
    for (lifetime, left) in [(1_000, 0), (0, 1)] {
        let config = format!("[consent]\nremember = 'confidential'\nlifetime = {lifetime}");
        let sidecar = settled(Sidecar::with(&config).await).await;
        let mut database = sidecar.database().await;
        sidecar.tokens().await;
        sidecar.clock.advance(lifetime + HOUR - 1);
        sidecar.service.prune().await.unwrap();
        assert_eq!(database.count("consents").await, 1);
        sidecar.clock.advance(TURN);
        sidecar.service.prune().await.unwrap();
        assert_eq!(database.count("consents").await, left, "{lifetime}");
    }
}
