//! What the benches share: servers on core 0, the load on core 1, and figures for people and programs.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::{fs, process};

pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Ends with its owner, also where a start fails half way.
pub struct Process(pub Child);

impl Process {
    /// The processor time of all threads, at 100 ticks a second as Linux reports it everywhere.
    pub fn cpu_seconds(&self) -> Outcome<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        // The name in front, in parentheses, may have spaces; utime and stime are fields 14 and 15.
        let fields = stat.rsplit_once(')').ok_or("no name")?.1.split_whitespace().skip(11).take(2);
        Ok(fields.map(str::parse::<f64>).sum::<Result<f64, _>>()? / 100.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program, on core 0.
pub fn server(pinned: bool, program: &Path) -> Command {
    let mut command = if pinned { Command::new("taskset") } else { Command::new(program) };
    if pinned {
        command.args(["--cpu-list", "0"]).arg(program);
    }
    command
}

/// `taskset` because the standard library cannot. Threads that start later inherit it.
pub fn pin_to_core_1() -> bool {
    let own = process::id().to_string();
    let taskset = Command::new("taskset").args(["--cpu-list", "--pid", "1", &own]).stdout(Stdio::null()).status();
    taskset.is_ok_and(|status| status.success())
}

/// How often a scopegate has asked its database about a grant so far.
pub fn lookups(ops: SocketAddr) -> Outcome<Vec<String>> {
    let mut stream = TcpStream::connect(ops)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let text = io::read_to_string(stream)?;
    let operations = text.lines().filter(|line| line.starts_with("scopegate_store_operations_total{"));
    Ok(operations.filter(|line| line.contains("read the facts of a grant")).map(Into::into).collect())
}

pub fn report(figures: &[(&str, f64)]) {
    for (name, value) in figures {
        println!("{name:<36} {value:>12.3}");
    }
    println!("{}", figures.iter().copied().collect::<serde_json::Value>());
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
