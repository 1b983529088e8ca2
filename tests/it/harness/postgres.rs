//! A PostgreSQL server of a test's own, which can hang and be killed. Tests share the one that `tests/with-postgres.sh` starts.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::geteuid;
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// What a loaded machine may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Postgres {
    directory: TempDir,
    server: Child,
}

impl Postgres {
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        if geteuid().is_root() {
            run(Command::new("chown").arg("postgres:").arg(directory.path())).await;
        }
        let data = directory.path().join("data");
        run(own("initdb").args(["-U", "scopegate", "--auth=trust", "--no-sync", "-D"]).arg(&data)).await;
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let mut server = own("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(directory.path()).args(["-h", "", "-c", "fsync=off"]);
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let server = Self { directory, server: server.spawn().unwrap() };
        let began = Instant::now();
        while PgConnection::connect(&server.url()).await.is_err() {
            let log = || std::fs::read_to_string(server.directory.path().join("log")).unwrap();
            assert!(began.elapsed() < PATIENCE, "PostgreSQL does not start: {}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }

    pub fn url(&self) -> String {
        let socket = self.directory.path().display().to_string().replace('/', "%2F");
        format!("postgres://scopegate@{socket}/postgres")
    }

    /// Has the whole server hang (`STOP`), go on (`CONT`) or end (`KILL`): each of its processes, since every connection has one.
    pub fn halt(&self, signal: &str) {
        for process in self.processes() {
            // One that ended by itself meanwhile is as good.
            let _ = std::process::Command::new("kill").args(["-s", signal, &process]).stderr(Stdio::null()).status();
        }
    }

    /// The first, and its children (proc(5)), in this order: the first one would start others for those that end.
    fn processes(&self) -> Vec<String> {
        let Some(first) = self.server.id().map(|id| id.to_string()) else { return Vec::new() };
        let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap_or_default();
        std::iter::once(first).chain(children.split_whitespace().map(str::to_owned)).collect()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Those that hang would not see that the first one has ended.
        self.halt("KILL");
    }
}

/// PostgreSQL refuses to run as root.
fn own(program: &str) -> Command {
    let program = programs().join(program);
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program).current_dir("/");
    command
}

/// Of the newest version that is installed.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is missing: apt-get install postgresql");
    let newest = versions
        .map(|version| version.unwrap().path())
        .max_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
    newest.expect("PostgreSQL is missing: apt-get install postgresql").join("bin")
}

async fn run(command: &mut Command) {
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
