//! Frames and connections without end: the server lives, its memory is bounded, and others are served.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use scopegate::proto::scopegate::v1 as api;
use scopegate::proto::scopegate::v1::token_service_client::TokenServiceClient;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, split};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tonic::transport::Channel;

use crate::harness::Http;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u32 = 11;
/// What a loaded machine may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a server may take more under every flood of this file.
const MEMORY: u64 = 32 << 20;

/// `dev` with few descriptors or as many as there are, and its log in a file.
pub async fn start(directory: &Path, descriptors: u32, environment: &[(&str, &str)]) -> (Child, Value) {
    let run = format!("ulimit -n {descriptors} && exec '{}' dev --output json", env!("CARGO_BIN_EXE_scopegate"));
    let mut child = Command::new("sh")
        .args(["-c", &run])
        .current_dir(directory)
        .env_clear()
        .envs(["HTTP", "GRPC", "OPS"].map(|name| (format!("SCOPEGATE_{name}__LISTEN"), "127.0.0.1:0")))
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(directory.join("log")).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
    let dev = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{}", log(directory)));
    (child, dev)
}

pub fn log(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("log")).unwrap()
}

/// What a process has in memory, in bytes.
pub fn memory(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

async fn connect(dev: &Value) -> TokenServiceClient<Channel> {
    TokenServiceClient::connect(format!("http://{}", dev["grpc"].as_str().unwrap())).await.unwrap()
}

async fn answers(mut grpc: TokenServiceClient<Channel>) {
    let request = api::CheckScopesRequest { token: "garbage".into(), ..Default::default() };
    let answer = timeout(PATIENCE, grpc.check_scopes(request)).await.unwrap().unwrap().into_inner();
    assert_eq!(answer.decision(), api::Decision::InactiveToken);
}

/// Both fronts serve somebody who comes now.
pub async fn serves(dev: &Value) {
    answers(timeout(PATIENCE, connect(dev)).await.unwrap()).await;
    let http = Http::new(dev["http"].as_str().unwrap());
    let metadata = timeout(PATIENCE, http.get("/.well-known/oauth-authorization-server")).await.unwrap();
    assert_eq!(metadata.status, 200);
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a call, in HPACK without its tables.
fn headers() -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let literal = |name: &str, value: &str| [vec![0], text(name), text(value)].concat();
    [
        // POST and http, of the static table.
        vec![0x83, 0x86],
        literal(":path", "/scopegate.v1.TokenService/CheckScopes"),
        literal(":authority", "localhost"),
        literal("content-type", "application/grpc"),
        literal("te", "trailers"),
    ]
    .concat()
}

fn call(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &headers())
}

/// Sends a flood and hears how it ends: the error code of the GOAWAY, if one came. One who does not listen reads nothing until all is
/// sent, or cannot be sent any more.
async fn flood(address: &str, listens: bool, frames: impl Fn(u32) -> Vec<u8>, count: u32) -> Option<u32> {
    let (mut reader, mut writer) = split(TcpStream::connect(address).await.unwrap());
    let send = async move {
        writer.write_all(PREFACE).await?;
        for first in (0..count).step_by(500) {
            let chunk: Vec<u8> = (first..count.min(first + 500)).flat_map(&frames).collect();
            // A server that takes no more has answered by that.
            if timeout(Duration::from_secs(2), writer.write_all(&chunk)).await.is_err() {
                break;
            }
        }
        let _ = timeout(Duration::from_secs(1), writer.shutdown()).await;
        Ok::<_, std::io::Error>(())
    };
    let mut answer = Vec::new();
    let hear = async {
        // A server that is through with it may reset the connection.
        let _ = timeout(PATIENCE, reader.read_to_end(&mut answer)).await.expect("the connection is not ended");
    };
    if listens {
        let _ = tokio::join!(send, hear);
    } else {
        let _ = send.await;
        hear.await;
    }
    let mut code = None;
    let mut rest = answer.as_slice();
    while let [a, b, c, kind, _, _, _, _, _, after @ ..] = rest {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
        let Some((payload, next)) = after.split_at_checked(length) else { break };
        if *kind == GOAWAY {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        rest = next;
    }
    code
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rg79_floods_of_frames_end_their_connection_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, dev) = start(directory.path(), 1_024, &[]).await;
    serves(&dev).await;
    let steady = connect(&dev).await;
    let (before, address) = (memory(&child), dev["grpc"].as_str().unwrap());

    let rapid_reset = |n: u32| [call(2 * n + 1), frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes())].concat();
    let too_many_streams = |n: u32| call(2 * n + 1);
    let header = [&[0, 1, b'x', 100][..], &[b'a'; 100]].concat();
    let continuation = |n: u32| match n {
        0 => frame(HEADERS, 0, 1, &headers()),
        _ => frame(CONTINUATION, 0, 1, &header),
    };
    let empty_continuation = |n: u32| frame(if n == 0 { HEADERS } else { CONTINUATION }, 0, 1, &[]);
    for (name, code) in [
        ("rapid reset", flood(address, true, rapid_reset, 20_000).await),
        ("streams over the limit", flood(address, true, too_many_streams, 20_000).await),
        ("CONTINUATION", flood(address, true, continuation, 100_000).await),
        ("empty CONTINUATION", flood(address, true, empty_continuation, 100_000).await),
    ] {
        assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{name}");
        answers(steady.clone()).await;
    }
    // These may be sent, and cost the one who sends them as much. Who does not read what comes back is not read any further.
    let ping = |_| frame(PING, 0, 0, b"12345678");
    let settings = |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]);
    let empty_data = |n: u32| if n == 0 { call(1) } else { frame(DATA, 0, 1, &[]) };
    // A header of 3 KiB in the table, and ten thousand references to it in one block.
    let entry = [&[0x40, 1, b'x', 0x7f, 0x81, 0x17][..], &[b'a'; 127 + 1 + (0x17 << 7)]].concat();
    let bomb = |n: u32| {
        let block = if n == 0 {
            [headers(), entry.clone(), vec![0xbe; 10_000]].concat()
        } else {
            [headers(), vec![0xbe; 10_000]].concat()
        };
        frame(HEADERS, END_HEADERS | 1, 2 * n + 1, &block)
    };
    for listens in [true, false] {
        flood(address, listens, ping, 300_000).await;
        flood(address, listens, settings, 300_000).await;
        flood(address, listens, empty_data, 300_000).await;
        flood(address, listens, bomb, 500).await;
        answers(steady.clone()).await;
    }

    // The other front speaks HTTP/1.1, to which such frames are no request; there, requests can come without end.
    let http = dev["http"].as_str().unwrap().strip_prefix("http://").unwrap();
    assert_eq!(flood(http, true, rapid_reset, 20_000).await, None);
    let request = b"GET /.well-known/oauth-authorization-server HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut pipeline = TcpStream::connect(http).await.unwrap();
    for _ in 0..200 {
        if timeout(Duration::from_secs(1), pipeline.write_all(&request.repeat(500))).await.is_err() {
            break;
        }
    }
    serves(&dev).await;
    drop(pipeline);
    let after = memory(&child);
    assert!(after < before + MEMORY, "{} MiB have become {} MiB", before >> 20, after >> 20);
    answers(steady).await;
    assert!(!log(directory.path()).contains("panicked"), "{}", log(directory.path()));
    child.kill().await.unwrap();
}

#[tokio::test]
async fn rg81_a_server_that_runs_out_of_descriptors_serves_whom_it_has_and_accepts_again() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, dev) = start(directory.path(), 64, &[]).await;
    let steady = connect(&dev).await;
    answers(steady.clone()).await;
    let [http, grpc] = ["http", "grpc"].map(|front| dev[front].as_str().unwrap().trim_start_matches("http://"));
    let began = Instant::now();
    let mut connections = Vec::new();
    while !log(directory.path()).contains("a connection could not be accepted") {
        assert!(began.elapsed() < PATIENCE, "it does not run out: {}", log(directory.path()));
        for address in [http, grpc] {
            let mut connection = TcpStream::connect(address).await.unwrap();
            let _ = connection.write_all(b"GET").await;
            connections.push(connection);
        }
    }
    answers(steady.clone()).await;
    assert!(child.try_wait().unwrap().is_none());
    drop(connections);
    serves(&dev).await;
    answers(steady).await;
    assert!(!log(directory.path()).contains("panicked"), "{}", log(directory.path()));
    child.kill().await.unwrap();
}
