//! Processes that stop at the worst moment.

use std::time::Duration;

use tokio::process::{Child, Command};

/// Has a process hang (`STOP`) or end (`KILL`), and waits until it does: signals take their time, and a thread that runs may still answer.
pub async fn halt(child: &mut Child, signal: &str) {
    let process = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-s", signal, &process]).status().await.unwrap().success());
    while signal == "STOP" && !is_stopped(&process) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if signal == "KILL" {
        child.wait().await.unwrap();
    }
}

/// Whether every thread of a process is stopped (proc(5)).
fn is_stopped(process: &str) -> bool {
    let mut threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.all(|thread| std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap().contains(") T "))
}
