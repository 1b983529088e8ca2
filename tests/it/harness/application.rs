//! An application behind a proxy: it answers every request with what came, and counts.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub struct Application {
    pub address: SocketAddr,
    served: Arc<AtomicUsize>,
}

impl Application {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, served) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counter = served.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counter = counter.clone();
                let answer = service_fn(move |request: Request<Incoming>| {
                    counter.fetch_add(1, Ordering::SeqCst);
                    async move { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(describe(&request).to_string()))) }
                });
                tokio::spawn(async move {
                    auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await
                });
            }
        });
        Self { address, served }
    }

    /// How many requests it got.
    pub fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }
}

fn describe(request: &Request<Incoming>) -> Value {
    let mut headers = serde_json::Map::new();
    for (name, value) in request.headers() {
        let values = headers.entry(name.as_str()).or_insert_with(|| json!([]));
        values.as_array_mut().unwrap().push(json!(String::from_utf8_lossy(value.as_bytes())));
    }
    json!({ "method": request.method().as_str(), "target": request.uri().to_string(), "headers": headers })
}
