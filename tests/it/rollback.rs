//! A fault after each statement of an exchange: nothing is half done, and the same request works afterwards.
//!
//! Triggers are the faults: one for each kind of write that an exchange makes, which fails right after the statement, or only when the
//! transaction commits. Which writes those are, other triggers find out first.

use std::collections::BTreeSet;

use scopegate::domain::client::{ClientMetadata, GrantType, Introspects};

use crate::harness::{
    Database, PASSWORD, REDIRECT_URI, Registered, Reply, Sidecar, USERNAME, VERIFIER, basic, encode, form,
    hidden_fields, ticked_scopes,
};

const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// What a server writes by itself.
const OWN: [&str; 3] = ["sidecar_leases", "pruning_turn", "_sqlx_migrations"];

/// What one request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exchange {
    SignIn,
    Approve,
    Redeem,
    Replay,
    Refresh,
    Narrow,
    Revoke,
    Machine,
    Push,
    Device,
    Connect,
    Poll,
}

/// A request that is ready to be sent, any number of times.
struct Ready {
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
}

/// When a write fails.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Statement,
    Commit,
}

impl Exchange {
    const ALL: [Self; 12] = [
        Self::SignIn,
        Self::Approve,
        Self::Redeem,
        Self::Replay,
        Self::Refresh,
        Self::Narrow,
        Self::Revoke,
        Self::Machine,
        Self::Push,
        Self::Device,
        Self::Connect,
        Self::Poll,
    ];

    /// What it cannot do without writing.
    const fn writes(self) -> &'static [&'static str] {
        match self {
            Self::SignIn => &["INSERT browser_sessions"],
            Self::Approve | Self::Machine => &["INSERT grants"],
            Self::Redeem | Self::Refresh | Self::Narrow => &["UPDATE grants"],
            Self::Replay | Self::Revoke => &["UPDATE revocation_head", "INSERT revocation_log", "UPDATE grants"],
            Self::Push => &["INSERT pushed_requests"],
            Self::Device => &["INSERT device_requests"],
            Self::Connect => &["INSERT grants", "UPDATE device_requests"],
            Self::Poll => &["UPDATE grants", "UPDATE device_requests"],
        }
    }

    async fn prepare(self, sidecar: &Sidecar, television: &Registered, machine: &Registered) -> Ready {
        let (shop, request) = (&sidecar.shop, sidecar.request(&[]));
        let redemption = |code: &str| {
            [
                ("grant_type", "authorization_code"),
                ("code", code),
                ("redirect_uri", REDIRECT_URI),
                ("code_verifier", VERIFIER),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
        };
        let as_client = |client: &Registered, path, fields: &[(String, String)]| Ready {
            path,
            headers: vec![("authorization", basic(&client.id, &client.secret))],
            body: encode(fields),
        };
        let own = |fields: &[(&str, &str)]| -> Vec<(String, String)> {
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let start = async || {
            let reply = sidecar.http().post_as(television, "/device_authorization", &[("scope", "a b")]).await.json();
            let [code, user_code] = ["device_code", "user_code"].map(|name| reply[name].as_str().unwrap().to_owned());
            let mut browser = sidecar.browser();
            browser.consent_page(&request).await;
            let page = browser.get(&format!("/device?user_code={user_code}")).await;
            let cookie = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
            let fields = [hidden_fields(&page.body), ticked_scopes(&page.body), own(&[("decision", "approve")])];
            let connect =
                Ready { path: "/device", headers: vec![("cookie", cookie.join("; "))], body: encode(&fields.concat()) };
            (code, connect)
        };
        match self {
            Self::SignIn => {
                let body = form(&[("username", USERNAME), ("password", PASSWORD), ("request", &request)]);
                Ready { path: "/login", headers: vec![], body }
            }
            Self::Approve => {
                let mut browser = sidecar.browser();
                let page = browser.consent_page(&request).await;
                let cookie = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
                let fields = [hidden_fields(&page.body), ticked_scopes(&page.body), own(&[("decision", "approve")])];
                let body = encode(&fields.concat());
                Ready { path: "/consent", headers: vec![("cookie", cookie.join("; "))], body }
            }
            Self::Redeem => as_client(shop, "/token", &redemption(&sidecar.code().await)),
            Self::Replay => {
                let code = sidecar.code().await;
                sidecar.redeem(&code).await.tokens();
                as_client(shop, "/token", &redemption(&code))
            }
            Self::Refresh => {
                let refresh = sidecar.tokens().await.refresh;
                as_client(shop, "/token", &own(&[("grant_type", "refresh_token"), ("refresh_token", &refresh)]))
            }
            Self::Narrow => {
                let refresh = sidecar.tokens().await.refresh;
                let fields = [("grant_type", "refresh_token"), ("refresh_token", &refresh), ("scope", "a")];
                as_client(shop, "/token", &own(&fields))
            }
            Self::Revoke => as_client(shop, "/revoke", &own(&[("token", &sidecar.tokens().await.access)])),
            // Each with other resources, so that each needs a grant of its own.
            Self::Machine => {
                let resource = format!("https://{}.example", sidecar.code().await.to_lowercase().replace('_', ""));
                let fields = [("grant_type", "client_credentials"), ("scope", "a"), ("resource", &resource)];
                as_client(machine, "/token", &own(&fields))
            }
            Self::Push => {
                Ready { path: "/par", headers: vec![("authorization", basic(&shop.id, &shop.secret))], body: request }
            }
            Self::Device => as_client(television, "/device_authorization", &own(&[("scope", "a")])),
            Self::Connect => start().await.1,
            Self::Poll => {
                let (code, connect) = start().await;
                assert!(!fails(&connect.send(sidecar).await));
                as_client(television, "/token", &own(&[("grant_type", DEVICE_CODE), ("device_code", &code)]))
            }
        }
    }
}

impl Ready {
    async fn send(&self, sidecar: &Sidecar) -> Reply {
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        sidecar.http().post_text(self.path, &headers, &self.body).await
    }
}

/// Whether an answer says that the server does not know.
fn fails(reply: &Reply) -> bool {
    let location = reply.header("location").unwrap_or_default();
    assert!(reply.status != 500 && reply.status != 404, "{reply:?}");
    reply.status == 503 || location.contains("error=temporarily_unavailable")
}

/// Every row, except those that a server writes by itself.
async fn everything(database: &mut Database) -> BTreeSet<String> {
    let own = |entry: &String| OWN.iter().any(|table| entry.starts_with(table));
    database.entries().await.into_iter().filter(|entry| !own(entry)).collect()
}

/// Runs a statement of this engine's own.
async fn run(database: &mut Database, sqlite: String, postgres: String) {
    let statement = if database.is_shared() { postgres } else { sqlite };
    database.run(statement).await;
}

/// The writes of an exchange, such as `UPDATE grants`.
async fn writes_of(sidecar: &Sidecar, database: &mut Database, ready: &Ready) -> Vec<String> {
    let mut tables = database.tables().await;
    tables.retain(|table| !OWN.contains(&table.as_str()));
    database.execute("CREATE TABLE write_log (entry TEXT NOT NULL)").await;
    for table in &tables {
        for write in ["INSERT", "UPDATE", "DELETE"] {
            let log = format!("INSERT INTO write_log VALUES ('{write} {table}');");
            run(
                database,
                format!("CREATE TRIGGER log_{table}_{write} AFTER {write} ON {table} BEGIN {log} END"),
                format!(
                    "CREATE FUNCTION log_{table}_{write}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {log} RETURN NULL; END $$; \
                     CREATE TRIGGER log_{table}_{write} AFTER {write} ON {table} FOR EACH ROW EXECUTE FUNCTION log_{table}_{write}()"
                ),
            )
            .await;
        }
    }
    assert!(!fails(&ready.send(sidecar).await));
    let log = everything(database).await;
    for table in &tables {
        for write in ["INSERT", "UPDATE", "DELETE"] {
            run(
                database,
                format!("DROP TRIGGER log_{table}_{write}"),
                format!("DROP FUNCTION log_{table}_{write} CASCADE"),
            )
            .await;
        }
    }
    database.execute("DROP TABLE write_log").await;
    let entries = log.iter().filter_map(|line| line.strip_prefix("write_log: "));
    entries.map(|entry| entry.trim_matches(['(', ')', '"']).to_owned()).collect()
}

async fn set_fault(database: &mut Database, write: &str, moment: Moment) {
    let (write, table) = write.split_once(' ').unwrap();
    let fault = "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'fault'; END $$;";
    let (sqlite, postgres) = match moment {
        Moment::Statement => (
            format!("CREATE TRIGGER fault AFTER {write} ON {table} BEGIN SELECT RAISE(ABORT, 'fault'); END"),
            format!("{fault} CREATE TRIGGER fault AFTER {write} ON {table} FOR EACH ROW EXECUTE FUNCTION fault()"),
        ),
        // On SQLite, a reference to nothing, which is looked for at the end.
        Moment::Commit => (
            format!(
                "CREATE TABLE missing (id INTEGER PRIMARY KEY); \
                 CREATE TABLE dangling (id INTEGER REFERENCES missing (id) DEFERRABLE INITIALLY DEFERRED); \
                 CREATE TRIGGER fault AFTER {write} ON {table} BEGIN INSERT INTO dangling VALUES (1); END"
            ),
            format!(
                "{fault} CREATE CONSTRAINT TRIGGER fault AFTER {write} ON {table} DEFERRABLE INITIALLY DEFERRED \
                 FOR EACH ROW EXECUTE FUNCTION fault()"
            ),
        ),
    };
    run(database, sqlite, postgres).await;
}

async fn mend(database: &mut Database) {
    let sqlite = "DROP TRIGGER fault; DROP TABLE IF EXISTS dangling; DROP TABLE IF EXISTS missing";
    run(database, sqlite.into(), "DROP FUNCTION fault CASCADE".into()).await;
}

#[tokio::test]
async fn rg18_a_fault_after_any_statement_of_an_exchange_leaves_nothing_behind() {
    // Guessing is not what this is about.
    let sidecar = Sidecar::with("[attempts]\nper_account_and_address = 0").await;
    let mut database = sidecar.database().await;
    let metadata = ClientMetadata { grant_types: vec![GrantType::DeviceCode], ..ClientMetadata::default() };
    let television = sidecar.register(false, Introspects::Own, metadata).await;
    let machine = sidecar.register_for(&[GrantType::ClientCredentials]).await;
    for exchange in Exchange::ALL {
        let ready = exchange.prepare(&sidecar, &television, &machine).await;
        let writes = writes_of(&sidecar, &mut database, &ready).await;
        for expected in exchange.writes() {
            assert!(writes.iter().any(|write| write == expected), "{exchange:?} makes other writes: {writes:?}");
        }
        for write in &writes {
            for moment in [Moment::Statement, Moment::Commit] {
                let ready = exchange.prepare(&sidecar, &television, &machine).await;
                let before = everything(&mut database).await;
                set_fault(&mut database, write, moment).await;
                let reply = ready.send(&sidecar).await;
                mend(&mut database).await;
                let failed = fails(&reply);
                assert!(
                    failed || !exchange.writes().contains(&write.as_str()),
                    "{exchange:?} {write} {moment:?}: {reply:?}"
                );
                if !failed {
                    continue;
                }
                let after = everything(&mut database).await;
                let mut changed: Vec<_> = before.symmetric_difference(&after).collect();
                if exchange == Exchange::Poll {
                    // When a device asked is counted by itself, so that it cannot ask too often whatever fails.
                    changed.retain(|line| !line.starts_with("device_requests"));
                    sidecar.clock.advance(6);
                }
                assert!(changed.is_empty(), "{exchange:?} {write} {moment:?}: {changed:#?}");
                assert_eq!(database.open_transactions().await, 0, "{exchange:?} {write} {moment:?}");
                let again = ready.send(&sidecar).await;
                assert!(!fails(&again), "{exchange:?} {write} {moment:?}: {again:?}");
                assert_eq!(again.status == 400, exchange == Exchange::Replay, "{again:?}");
                assert_ne!(everything(&mut database).await, before, "{exchange:?} works now");
            }
        }
    }
}
