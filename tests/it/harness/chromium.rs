//! One real browser for all tests: Chromium, driven by `tests/node/chromium.js`, which ends with this process.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;

/// Where Debian has it, and others.
const PROGRAMS: [&str; 3] = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/snap/bin/chromium"];
/// A scenario that takes longer hangs.
const PATIENCE: Duration = Duration::from_mins(2);

/// The browser, and the client's side of its scenarios.
pub struct Chromium {
    /// The origin of a client that browsers can be sent back to.
    pub client: String,
    state: Mutex<State>,
}

struct State {
    input: ChildStdin,
    waiting: HashMap<u64, oneshot::Sender<Option<String>>>,
    last: u64,
}

static CHROMIUM: OnceLock<Chromium> = OnceLock::new();

impl Chromium {
    /// The one that runs, or a new one.
    pub async fn get() -> &'static Self {
        tokio::task::spawn_blocking(|| CHROMIUM.get_or_init(Self::start)).await.unwrap()
    }

    fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let installed = root.join("tests/node/node_modules/playwright-core");
        assert!(installed.exists(), "the driver of Chromium is missing: run tests/run.sh, which installs it");
        let program = PROGRAMS.into_iter().find(|program| Path::new(program).exists());
        let program = program.expect("Chromium is missing: apt-get install chromium, or tests/run.sh, which does so");
        let mut child = Command::new("node")
            .arg(root.join("tests/node/chromium.js"))
            .env("CHROMIUM", program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Node.js is missing: run tests/run.sh, which says which");
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).expect("Chromium did not start; what it said is above");
        std::thread::spawn(move || {
            Self::listen(output);
            let _ = child.wait();
        });
        Self {
            client: ready["client"].as_str().unwrap().to_owned(),
            state: Mutex::new(State { input, waiting: HashMap::new(), last: 0 }),
        }
    }

    /// Hands what came of each scenario to the test that waits for it.
    fn listen(output: BufReader<ChildStdout>) {
        for line in output.lines() {
            let Ok(answer) = serde_json::from_str::<Value>(&line.unwrap()) else { continue };
            let waiting = CHROMIUM.wait().state.lock().unwrap().waiting.remove(&answer["id"].as_u64().unwrap());
            if let Some(waiting) = waiting {
                let _ = waiting.send(answer["error"].as_str().map(str::to_owned));
            }
        }
    }

    /// Plays a scenario of `tests/node/pages.js` in this world; panics with what went wrong.
    pub async fn play(&self, scenario: &str, world: &Value) {
        let (told, outcome) = oneshot::channel();
        {
            let mut state = self.state.lock().unwrap();
            state.last += 1;
            let line = json!({ "id": state.last, "scenario": scenario, "world": world });
            let id = state.last;
            state.waiting.insert(id, told);
            writeln!(state.input, "{line}").unwrap();
        }
        match tokio::time::timeout(PATIENCE, outcome).await {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(error))) => panic!("{scenario}: {error}"),
            Ok(Err(_)) => panic!("{scenario}: Chromium is gone"),
            Err(error) => panic!("{scenario}: no end after {PATIENCE:?}: {error}"),
        }
    }
}

/// Where pictures of the pages go: beside what was built.
pub fn screenshots() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let target = program.ancestors().find(|directory| directory.join("CACHEDIR.TAG").exists());
    target.expect("tests run in the target directory").join("screenshots")
}
