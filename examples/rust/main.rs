//! A small service that is protected by scopegate, through `scopegate::client`: `cargo run --example orders`.

use std::error::Error;

use axum::routing::{get, post};
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use scopegate::client::Sidecar;
use scopegate::proto::scopegate::v1::IntrospectResponse;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listen = setting("LISTEN", "127.0.0.1:3000");
    let public_url = setting("PUBLIC_URL", &format!("http://{listen}"));
    let sidecar = Sidecar::new(&setting("SCOPEGATE", "127.0.0.1:50051"), &public_url)?;
    let reading = get(orders).layer(sidecar.require(&"orders:read".parse()?));
    let writing = post(orders).layer(sidecar.require(&"orders:read orders:write".parse()?));
    let app = Router::new().route("/orders", reading.merge(writing));

    let listener = TcpListener::bind(listen).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let app = TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), app).await
        });
    }
}

async fn orders(Extension(identity): Extension<IntrospectResponse>) -> String {
    format!("orders of {}\n", identity.sub)
}

#[expect(clippy::disallowed_methods, reason = "an example is a program of its own")]
fn setting(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}
