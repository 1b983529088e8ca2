//! A database and a Redis that send garbage, and replies that nobody waits for any more: never an answer, never the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use scopegate::domain::grant::{GrantFacts, SubjectId};
use scopegate::domain::secret::MasterSecret;
use scopegate::domain::token::GrantId;
use scopegate::domain::variant_list::VariantList;
use scopegate::effects::Effects;
use scopegate::facts::redis::{Endpoint, RedisMetrics, Replacement, Shared, SharedCache, SharedKeys};
use scopegate::proto::scopegate::v1 as api;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::Code;

use crate::floods::{log, memory, serves, start};
use crate::harness::{Line, Redis, SECRET, Sidecar, line};

/// What a loaded machine may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that says `first` to whoever asks something, and then `rest` without end.
struct Liar {
    port: u16,
    task: JoinHandle<()>,
}

impl Liar {
    async fn start(first: &'static [u8], rest: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let chunk = rest.repeat((64 << 10) / rest.len().max(1));
                    let mut asked = [0; 1];
                    if stream.read_exact(&mut asked).await.is_err() || stream.write_all(first).await.is_err() {
                        return;
                    }
                    while !chunk.is_empty() && stream.write_all(&chunk).await.is_ok() {}
                    // Says nothing more.
                    let mut rest = [0; 1_024];
                    while matches!(stream.read(&mut rest).await, Ok(1..)) {}
                });
            }
        });
        Self { port, task }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rg92_a_redis_that_sends_garbage_is_gone_without() {
    for (name, first, rest) in [
        ("noise", &b"\x00\xff\x16\x03\x01\xfe\r\n\x00\r\n"[..], &b""[..]),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n", b""),
        ("half a number", b":1", b""),
        ("a string longer than memory", b"$9223372036854775807\r\nx", b""),
        ("an array longer than memory", b"*9223372036854775807\r\n:1\r\n", b""),
        ("arrays in arrays", b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*-2\r\n", b""),
        ("messages that nobody subscribed to", b">2\r\n+message\r\n+x\r\n", b""),
    ] {
        let liar = Liar::start(first, rest).await;
        let directory = tempfile::tempdir().unwrap();
        let url = format!("redis://127.0.0.1:{}", liar.port);
        let (mut child, dev) = start(directory.path(), 1_024, &[("SCOPEGATE_REDIS__URL", &url)]).await;
        let began = Instant::now();
        let mut most = 0;
        while began.elapsed() < Duration::from_secs(2) {
            most = most.max(memory(&child));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        serves(&dev).await;
        most = most.max(memory(&child));
        assert!(most < 160 << 20, "{name}: {} MiB", most >> 20);
        let log = log(directory.path());
        assert!(log.contains("Redis does not answer"), "{name}: {log}");
        assert!(!log.contains("panicked"), "{name}: {log}");
        child.kill().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rg92_a_database_that_sends_garbage_is_an_error_at_start() {
    for (name, first, rest) in [
        ("noise", &b"\x00\xff\x16\x03\x01"[..], &b"\xfe\r\n\x00"[..]),
        ("silence", b"", b""),
        ("a message longer than memory", b"R\x7f\xff\xff\xff", b"x"),
        ("a message of no length", b"R\0\0\0\0", b"R\0\0\0\0"),
        ("a message shorter than itself", b"R\0\0\0\x08\0\0", b"\0"),
        ("an unknown way to prove oneself", b"R\0\0\0\x08\0\0\0\x63", b""),
        ("an error without an end", b"E\0\0\0\x10SERRORSERRORS", b"E"),
        (
            "ready at once, and rows that nobody asked for",
            b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05ID\0\0\0\x06\xff\xffD\0\0\0\x06\xff\xff",
            b"",
        ),
    ] {
        let liar = Liar::start(first, rest).await;
        let directory = tempfile::tempdir().unwrap();
        let url = format!("postgres://scopegate@127.0.0.1:{}/x?sslmode=disable", liar.port);
        std::fs::write(
            directory.path().join("c.toml"),
            format!(
                "[http]\nlisten = '127.0.0.1:0'\n[grpc]\nlisten = '127.0.0.1:0'\n[ops]\nlisten = '127.0.0.1:0'\n\
                 [database]\nurl = '{url}'\n[keys]\nsecret = '{SECRET}'\n"
            ),
        )
        .unwrap();
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_scopegate"))
            .args(["serve", "--config", "c.toml"])
            .current_dir(directory.path())
            .env_clear()
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::fs::File::create(directory.path().join("log")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "{name}: it waits for ever");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let log = log(directory.path());
        assert_eq!(status.code(), Some(1), "{name}: {log}");
        assert!(log.contains("scopegate: ") && log.contains(" failed: "), "{name}: {log}");
    }
}

#[tokio::test]
async fn rg92_a_database_that_sends_garbage_in_between_is_unknown_and_passes() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    // SQLite has no line that anything could come through.
    let Some((line, through)) = line(directory.path()).await else { return };
    let sidecar = Sidecar::on(directory, &through).await;
    let other = sidecar.beside().await;
    let listening = "pg_stat_activity WHERE query LIKE 'LISTEN%' || md5(current_schema()) || '%'";
    for _ in 0..3 {
        let (cold, revoked) = (sidecar.tokens().await, sidecar.tokens().await);
        sidecar.revoke(&revoked.access, api::RevocationMode::Bounded).await;
        line.set(Line::Garbled);
        // The others tell of this one, too, and what arrives is garbage.
        other.revoke(&other.tokens().await.access, api::RevocationMode::Bounded).await;
        let request = |token: &str| api::IntrospectRequest { token: token.into(), ..Default::default() };
        for _ in 0..5 {
            let status = sidecar.grpc().await.introspect(request(&cold.access)).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable);
            match sidecar.grpc().await.introspect(request(&revoked.access)).await {
                Ok(answer) => assert!(!answer.into_inner().active),
                Err(status) => assert_eq!(status.code(), Code::Unavailable),
            }
        }
        line.set(Line::Whole);
        let began = Instant::now();
        while sidecar.grpc().await.introspect(request(&cold.access)).await.map(|a| a.into_inner().active).ok()
            != Some(true)
        {
            assert!(began.elapsed() < PATIENCE, "it does not recover");
        }
        assert!(!sidecar.is_active(&revoked.access).await);
        while sidecar.database().await.count(listening).await < 2 {
            assert!(began.elapsed() < PATIENCE, "one of them listens no more");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rg76_after_a_hundred_thousand_dropped_commands_every_reply_is_the_one_that_was_asked_for() {
    const GRANTS: u8 = 100;
    let redis = Redis::start().await;
    let keys = SharedKeys::derive(&MasterSecret::from_base64(SECRET).unwrap());
    let metrics = RedisMetrics::default();
    let endpoint = Endpoint::parse(&redis.url(), None).unwrap();
    let shared = Arc::new(SharedCache::new(endpoint, "test:", keys, metrics.clone()));
    let keeping = shared.clone();
    let keeper = tokio::spawn(async move { keeping.run().await });
    let began = Instant::now();
    while metrics.up.get() == 0 {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for number in 0..GRANTS {
        let facts = GrantFacts {
            authentication: None,
            client: "shop".parse().unwrap(),
            subject: SubjectId::new(format!("subject-{number}")),
            username: format!("user-{number}").into(),
            session: None,
            variants: VariantList::default(),
            generation: 0,
            created_seq: 0,
            as_of: 0,
        };
        shared.put(GrantId::from_bytes([number; 16]), 0, &facts, Replacement::Replace);
    }
    redis.holds(GRANTS.into()).await;

    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let shared = shared.clone();
            tokio::spawn(async move {
                let [mut read, mut dropped] = [0_u32; 2];
                while dropped < 12_500 {
                    let random: [u8; 2] = Effects::system().random_bytes();
                    let number = random[0] % GRANTS;
                    let ask = shared.get(GrantId::from_bytes([number; 16]), 0);
                    // Some are never answered in time, some are, and some nearly.
                    let patience = Duration::from_micros(u64::from(random[1]) * 2);
                    match tokio::time::timeout(patience, ask).await {
                        // It came too late, or there is no connection for a while.
                        Err(_) | Ok(Shared::Missing) => dropped += 1,
                        Ok(Shared::Facts(facts)) => {
                            assert_eq!(&*facts.username, format!("user-{number}"));
                            read += 1;
                        }
                        Ok(Shared::Unusable) => panic!("the reply to another command"),
                    }
                }
                read
            })
        })
        .collect();
    let mut read = 0;
    for task in tasks {
        read += task.await.unwrap();
    }
    assert!(read > 0, "not one was waited for");
    for number in 0..GRANTS {
        let began = Instant::now();
        loop {
            match shared.get(GrantId::from_bytes([number; 16]), 0).await {
                Shared::Facts(facts) => break assert_eq!(&*facts.username, format!("user-{number}")),
                Shared::Missing => assert!(began.elapsed() < PATIENCE),
                Shared::Unusable => panic!("the reply to another command"),
            }
        }
    }
    assert_eq!(metrics.unusable.get(), 0);
    keeper.abort();
}
