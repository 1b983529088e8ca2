//! Clients that are there because the configuration names them.

use http::StatusCode;
use scopegate::service::clients::ClientError;
use scopegate::store::ClientChanges;

use super::request;
use crate::harness::{Registered, Sidecar};

const ID: &str = "a4792ccc-144e-407e-86c9-5e7d8d9c3269";
const GIT: &str = "[[apps.built_in]]\nclient_id = 'a4792ccc-144e-407e-86c9-5e7d8d9c3269'\nname = 'git-credential-oauth'\n\
    redirect_uris = ['http://127.0.0.1', 'https://127.0.0.1']\nscopes = ['a']\n";
const LOOPBACK: &str = "http://127.0.0.1:45678";

fn git() -> Registered {
    Registered { id: ID.into(), secret: String::new() }
}

/// A request to a port of this machine.
fn git_request(sidecar: &Sidecar) -> String {
    let redirect_uri = form_urlencoded::byte_serialize(crate::harness::REDIRECT_URI.as_bytes()).collect::<String>();
    let loopback = form_urlencoded::byte_serialize(LOOPBACK.as_bytes()).collect::<String>();
    request(sidecar, &git()).replace(&redirect_uri, &loopback)
}

async fn access_token(sidecar: &Sidecar) -> String {
    let code = sidecar.code_for(&git_request(sidecar)).await;
    let body = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", LOOPBACK),
        ("code_verifier", crate::harness::VERIFIER),
    ];
    sidecar.http().post_as(&git(), "/token", &body).await.tokens().access
}

#[tokio::test]
async fn a_client_that_the_configuration_names_is_there_and_cannot_be_changed() {
    let sidecar = Sidecar::with(GIT).await;
    assert!(sidecar.is_active(&access_token(&sidecar).await).await);
    let id = || ID.parse().unwrap();
    let service = &sidecar.service;
    let changes = ClientChanges { name: Some("Mine".into()), ..ClientChanges::default() };
    let refusals = [
        service.update_client(id(), changes).await.map(drop),
        service.disable_client(id()).await,
        service.enable_client(id()).await,
        service.delete_client(id()).await,
    ];
    for refusal in refusals {
        assert!(matches!(refusal, Err(ClientError::BuiltIn)), "{refusal:?}");
    }
    assert!(service.rotate_client_secret(id(), 0).await.is_err());
}

#[tokio::test]
async fn one_that_is_named_no_more_is_out_of_use_until_it_is_named_again() {
    let sidecar = Sidecar::with(GIT).await;
    let token = access_token(&sidecar).await;
    let other = sidecar.beside().await;
    assert!(!other.is_active(&token).await);
    let page = other.browser().get(&format!("/authorize?{}", git_request(&other))).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{page:?}");
    let again = sidecar.beside_with(&GIT.replace("'git-credential-oauth'", "'Git'")).await;
    assert!(!again.is_active(&token).await, "what was revoked stays so");
    assert!(again.is_active(&access_token(&again).await).await);
    let client = again.service.client(ID.parse().unwrap()).await.unwrap();
    assert_eq!(client.name, "Git");
}

#[tokio::test]
async fn several_servers_that_start_at_once_make_it_once() {
    let first = Sidecar::start().await;
    let servers = [first.beside_with(GIT).await, first.beside_with(GIT).await, first.beside_with(GIT).await];
    // One that is not told of it yet takes it out of use meanwhile.
    first.service.keep_built_in_clients().await.unwrap();
    let starts = servers
        .iter()
        .flat_map(|server| [server.service.keep_built_in_clients(), server.service.keep_built_in_clients()]);
    for started in futures_util::future::join_all(starts).await {
        started.unwrap();
    }
    assert!(servers[0].is_active(&access_token(&servers[2]).await).await);
    assert!(first.service.client(ID.parse().unwrap()).await.unwrap().metadata.built_in);
}

#[tokio::test]
async fn an_id_that_is_another_clients_is_none_for_the_configuration() {
    let sidecar = Sidecar::start().await;
    let named = GIT.replace(ID, &sidecar.shop.id);
    let config = crate::harness::configuration(&sidecar.directory, &named).await;
    let started = tokio::spawn(async move {
        scopegate::server::Server::start(&config, scopegate::effects::Effects::system()).await.map(drop)
    });
    let error = started.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("apps.built_in") && error.contains(&sidecar.shop.id), "{error}");
}
