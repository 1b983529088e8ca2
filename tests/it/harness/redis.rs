//! A Redis of one's own: a process on a free port that keeps its files in a temporary directory and ends with the test. It asks
//! for a password, unless it is a Sentinel.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use redis::{Client, FromRedisValue};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The password `p@ss`, as it stands in a URL.
const LOGIN: &str = ":p%40ss@";
/// What a loaded machine may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Redis {
    pub directory: TempDir,
    pub port: u16,
    login: &'static str,
    arguments: Vec<String>,
    process: Child,
}

impl Redis {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more directives of `redis.conf`, as arguments.
    pub async fn start_with(more: &[&str]) -> Self {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let mut arguments: Vec<String> =
            ["--bind", "127.0.0.1", "--save", "", "--requirepass", "p@ss"].map(Into::into).into();
        arguments.extend(["--port".into(), port.to_string()]);
        arguments.extend(more.iter().map(|&argument| argument.into()));
        Self::run(directory, port, LOGIN, arguments).await
    }

    /// A Sentinel that knows `master` as `mymaster`.
    pub async fn sentinel(master: &Self) -> Self {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let configuration = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {} 1\nsentinel auth-pass mymaster p@ss\n",
            master.port
        );
        std::fs::write(directory.path().join("sentinel.conf"), configuration).unwrap();
        Self::run(directory, port, "", vec!["sentinel.conf".into(), "--sentinel".into()]).await
    }

    /// A cluster of one node, which has all slots.
    pub async fn cluster() -> Self {
        let bus = free_port().to_string();
        let node = Self::start_with(&[
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus,
            "--cluster-announce-ip",
            "127.0.0.1",
        ])
        .await;
        let () = node.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
        let began = Instant::now();
        while !node.ask::<String>(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok") {
            assert!(began.elapsed() < PATIENCE, "the cluster does not form");
        }
        node
    }

    /// With TLS on a second port, which is returned. Its certificate is for 127.0.0.1 and of the authority in `ca.pem`.
    pub async fn with_tls() -> (Self, u16) {
        let port = free_port();
        let directory = tempfile::tempdir().unwrap();
        make_certificates(directory.path()).await;
        let file = |name| directory.path().join(name).display().to_string();
        let redis = Self::start_with(&[
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &file("server.pem"),
            "--tls-key-file",
            &file("server.key"),
            "--tls-ca-cert-file",
            &file("ca.pem"),
            "--tls-auth-clients",
            "no",
        ])
        .await;
        std::fs::copy(file("ca.pem"), redis.directory.path().join("ca.pem")).unwrap();
        (redis, port)
    }

    /// Its URL, for one who knows the password.
    pub fn url(&self) -> String {
        self.url_as(self.login)
    }

    /// Its URL, by way of another port.
    pub fn url_at(&self, port: u16) -> String {
        format!("redis://{}127.0.0.1:{port}", self.login)
    }

    /// Its URL, with another login in front of the host.
    pub fn url_as(&self, login: &str) -> String {
        format!("redis://{login}127.0.0.1:{}", self.port)
    }

    /// What it answers to a command.
    pub async fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        self.try_asking(command).await.unwrap()
    }

    /// The names of what it holds.
    pub async fn keys(&self) -> Vec<String> {
        self.ask(&["KEYS", "*"]).await
    }

    /// Waits until it holds so many values.
    pub async fn holds(&self, count: usize) {
        let began = Instant::now();
        while self.keys().await.len() != count {
            assert!(began.elapsed() < PATIENCE, "it holds {:?}", self.keys().await);
        }
    }

    /// Ends it at once. What it had not saved is lost.
    pub async fn stop(&mut self) {
        self.process.kill().await.unwrap();
    }

    /// Starts it again, with what was saved.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.process = spawn(self.directory.path(), &self.arguments);
        self.wait().await;
    }

    /// It keeps its connections and answers nothing.
    pub async fn pause(&self) {
        self.signal("-STOP").await;
    }

    pub async fn resume(&self) {
        self.signal("-CONT").await;
    }

    async fn run(directory: TempDir, port: u16, login: &'static str, arguments: Vec<String>) -> Self {
        let process = spawn(directory.path(), &arguments);
        let mut redis = Self { directory, port, login, arguments, process };
        redis.wait().await;
        redis
    }

    async fn wait(&mut self) {
        let began = Instant::now();
        while let Err(error) = self.try_asking::<String>(&["PING"]).await {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "redis-server {:?}: {error}", self.arguments);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn try_asking<T: FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let mut connection = Client::open(self.url())?.get_multiplexed_async_connection().await?;
        redis::cmd(command[0]).arg(&command[1..]).query_async(&mut connection).await
    }

    async fn signal(&self, signal: &str) {
        let process = self.process.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &process]).status().await.unwrap().success());
    }
}

fn spawn(directory: &Path, arguments: &[String]) -> Child {
    Command::new("redis-server")
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("redis-server is missing: apt-get install redis-server")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The authority `ca.pem`, and a certificate of it for this machine: `server.pem` and its key `server.key`.
pub(super) async fn make_certificates(directory: &Path) {
    let make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                -subj /CN=authority -keyout ca.key -out ca.pem && \
                openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server -keyout server.key -out server.csr && \
                echo subjectAltName=IP:127.0.0.1,DNS:localhost >server.ext && \
                openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.pem";
    let made = Command::new("sh").args(["-c", make]).current_dir(directory).output().await.unwrap();
    assert!(made.status.success(), "apt-get install openssl? {}", String::from_utf8_lossy(&made.stderr));
}
