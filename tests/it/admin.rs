//! `scopegate.v1.AdminService`: clients, grants, accounts and keys from elsewhere.

use std::collections::BTreeSet;

use prost_types::FieldMask;
use scopegate::proto::scopegate::v1 as api;
use scopegate::proto::scopegate::v1::ClientKind::{Operator, SelfRegistered, Unspecified};
use scopegate::proto::scopegate::v1::admin_service_client::AdminServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{REDIRECT_URI, Registered, Sidecar, USERNAME};

const OPERATOR: &str = "operator-operator-operator-operator";
const OTHER: &str = "other-operator-other-operator-other";
const REVOKER: &str = "revoker-revoker-revoker-revoker-rev";

const CALLERS: &str = "[[grpc.callers]]\nname = 'operator'\ntokens = ['operator-operator-operator-operator']\nall = true\nmay = ['admin']\n\
    [[grpc.callers]]\nname = 'other'\ntokens = ['other-operator-other-operator-other']\nall = true\nmay = ['admin']\n\
    [[grpc.callers]]\nname = 'revoker'\ntokens = ['revoker-revoker-revoker-revoker-rev']\nall = true\n\
    may = ['check', 'introspect', 'revoke', 'watch']\n";

async fn admin(sidecar: &Sidecar) -> AdminServiceClient<Channel> {
    let address = sidecar.addresses.grpc.to_string();
    let tcp = address.split(',').find(|address| !address.starts_with("unix:")).unwrap().to_owned();
    AdminServiceClient::connect(format!("http://{tcp}")).await.unwrap()
}

fn by<T>(token: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

fn reason(status: &Status) -> (Code, String) {
    let reason = status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default();
    (status.code(), reason)
}

/// The fields that a failure blames.
fn blamed(status: &Status) -> Vec<String> {
    assert_eq!(reason(status), (Code::InvalidArgument, "FIELD_INVALID".into()), "{status:?}");
    let details = status.get_error_details();
    details.bad_request().unwrap().field_violations.iter().map(|violation| violation.field.clone()).collect()
}

fn named(name: &str) -> api::CreateClientRequest {
    let client = api::Client {
        client_name: name.into(),
        redirect_uris: vec![REDIRECT_URI.into()],
        scopes: vec!["a".into(), "b".into()],
        ..Default::default()
    };
    api::CreateClientRequest { client: Some(client) }
}

fn update(client: &api::Client, change: impl FnOnce(&mut api::Client), paths: &[&str]) -> api::UpdateClientRequest {
    let mut client = client.clone();
    change(&mut client);
    let paths = paths.iter().map(|&path| path.into()).collect();
    api::UpdateClientRequest { client: Some(client), update_mask: Some(FieldMask { paths }) }
}

#[tokio::test]
async fn a_client_is_made_changed_only_as_it_was_read_given_another_secret_and_removed() {
    let sidecar = Sidecar::start().await;
    let mut admin = admin(&sidecar).await;
    let mut new = named("Orders");
    new.client.as_mut().unwrap().post_logout_redirect_uris = vec!["https://shop.example/out".into()];
    let answer = admin.create_client(new).await.unwrap().into_inner();
    assert!(!format!("{answer:?}").contains(&answer.client_secret) && answer.client_secret.len() == 43);
    let (made, secret) = (answer.client.unwrap(), answer.client_secret);
    assert_eq!((made.kind(), made.grant_types.len(), made.public), (api::ClientKind::Operator, 2, false));
    let get = api::GetClientRequest { client_id: made.client_id.clone() };
    assert_eq!(admin.get_client(get.clone()).await.unwrap().into_inner().client, Some(made.clone()));

    // What the mask names changes, and nothing else.
    let request = update(
        &made,
        |client| {
            client.client_name = "Renamed".into();
            client.access_token_lifetime = 50;
            client.scopes.clear();
        },
        &["client_name", "access_token_lifetime"],
    );
    let renamed = admin.update_client(request.clone()).await.unwrap().into_inner().client.unwrap();
    assert_eq!((&*renamed.client_name, renamed.access_token_lifetime, &renamed.scopes), ("Renamed", 50, &made.scopes));
    assert_eq!(renamed.post_logout_redirect_uris, made.post_logout_redirect_uris);
    assert_ne!(renamed.etag, made.etag);
    let stale = admin.update_client(request).await.unwrap_err();
    assert_eq!(reason(&stale), (Code::Aborted, "ETAG_MISMATCH".into()));
    let delete = api::DeleteClientRequest { client_id: made.client_id.clone(), etag: made.etag.clone() };
    assert_eq!(admin.delete_client(delete).await.unwrap_err().code(), Code::Aborted);

    // Of any number that change what they read at the same time, one does.
    let racing = (0..8).map(|number| {
        let mut admin = admin.clone();
        let request = update(&renamed, |client| client.client_name = format!("Racer {number}"), &["client_name"]);
        async move { admin.update_client(request).await.is_ok() }
    });
    let won = futures_util::future::join_all(racing).await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 1);

    // Nor is one removed that somebody changes at the same time.
    for number in 0..10 {
        let client = admin.create_client(named("Wanted")).await.unwrap().into_inner().client.unwrap();
        let request = update(&client, |client| client.client_name = format!("Wanted {number}"), &["client_name"]);
        let delete = api::DeleteClientRequest { client_id: client.client_id.clone(), etag: client.etag.clone() };
        let (mut one, mut other) = (admin.clone(), admin.clone());
        let (changed, removed) = tokio::join!(one.update_client(request), other.delete_client(delete));
        let get = api::GetClientRequest { client_id: client.client_id };
        let left = admin.get_client(get).await.is_ok();
        assert_eq!((changed.is_ok(), removed.is_ok()), (left, !left));
        if let Err(refused) = removed {
            assert_eq!(reason(&refused), (Code::Aborted, "ETAG_MISMATCH".into()));
        }
    }

    for (change, path) in [
        ((|client| client.client_name = String::new()) as fn(&mut api::Client), "client_name"),
        (|client| client.redirect_uris = vec!["http://evil.example/".into()], "redirect_uris"),
        (|client| client.scopes = vec!["unknown".into()], "scopes"),
        (|client| client.scopes = vec!["a b".into()], "scopes"),
        (|client| client.grant_types = vec!["password".into()], "grant_types"),
        (|client| client.grant_types.clear(), "grant_types"),
        (|client| client.jwks = "{}".into(), "jwks"),
        (|client| client.jwks_uri = "http://a.example/".into(), "jwks_uri"),
        (|client| client.access_token_lifetime = u32::MAX, "access_token_lifetime"),
        (|client| client.refresh_token_rotation = "never".into(), "refresh_token_rotation"),
        (|client| client.access_token_format = "jwe".into(), "access_token_format"),
        (|client| client.consent = "never".into(), "consent"),
        (|client| client.client_uri = "javascript:alert(1)".into(), "client_uri"),
        (|client| client.resources = vec!["nowhere".into()], "resources"),
        (|_| {}, "tls_client_auth_san_dns"),
        (|_| {}, "client_id"),
        (|_| {}, "public"),
        (|_| {}, "*"),
    ] {
        let mut request = update(&renamed, change, &[path]);
        request.client.as_mut().unwrap().etag.clear();
        let status = admin.update_client(request).await.unwrap_err();
        let blamed = blamed(&status);
        assert!(blamed.len() == 1 && (blamed[0].ends_with(path) || blamed[0] == "update_mask"), "{path}: {blamed:?}");
    }
    let status = admin.update_client(update(&made, |_| {}, &[])).await.unwrap_err();
    assert_eq!(blamed(&status), ["update_mask"]);

    let rotate = api::RotateClientSecretRequest { client_id: made.client_id.clone(), overlap: 0 };
    let rotated = admin.rotate_client_secret(rotate).await.unwrap().into_inner();
    assert!(!format!("{rotated:?}").contains(&rotated.client_secret));
    let http = sidecar.http();
    for (secret, status) in [(secret, 401), (rotated.client_secret, 400)] {
        let client = Registered { id: made.client_id.clone(), secret };
        let reply = http.post_as(&client, "/token", &[("grant_type", "authorization_code"), ("code", "x")]).await;
        assert_eq!(reply.status, status);
    }
    let mut public = named("App");
    public.client.as_mut().unwrap().public = true;
    let public = admin.create_client(public).await.unwrap().into_inner();
    assert_eq!(public.client_secret, "");
    let rotate = api::RotateClientSecretRequest { client_id: public.client.unwrap().client_id, overlap: 0 };
    let status = admin.rotate_client_secret(rotate).await.unwrap_err();
    assert_eq!(reason(&status), (Code::FailedPrecondition, "CLIENT_HAS_NO_SECRET".into()));

    let delete = api::DeleteClientRequest { client_id: made.client_id.clone(), ..Default::default() };
    admin.delete_client(delete.clone()).await.unwrap();
    for status in [admin.delete_client(delete).await.unwrap_err(), admin.get_client(get).await.unwrap_err()] {
        assert_eq!(reason(&status), (Code::NotFound, "CLIENT_UNKNOWN".into()));
    }
}

#[tokio::test]
async fn x7_rg45_lists_come_in_pages_whose_tokens_are_good_for_their_list_and_caller_alone() {
    let sidecar = Sidecar::with(CALLERS).await;
    let mut admin = admin(&sidecar).await;
    let mut made = BTreeSet::from([sidecar.shop.id.clone(), sidecar.app.id.clone()]);
    for number in 0..5 {
        let client = admin.create_client(named(&format!("Na%me_{number}"))).await.unwrap().into_inner().client;
        made.insert(client.unwrap().client_id);
    }
    let list = |page_size, page_token: &str| api::ListClientsRequest {
        page_size,
        page_token: page_token.into(),
        ..Default::default()
    };
    let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), Vec::new());
    loop {
        let page = admin.list_clients(by(OPERATOR, list(2, &token))).await.unwrap().into_inner();
        seen.extend(page.clients.into_iter().map(|client| client.client_id));
        token = page.next_page_token;
        pages.push(token.clone());
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((seen.len(), seen.into_iter().collect::<BTreeSet<_>>(), pages.len()), (7, made, 4));
    let all = admin.list_clients(by(OPERATOR, list(0, ""))).await.unwrap().into_inner();
    assert_eq!((all.clients.len(), &*all.next_page_token), (7, ""));

    let good = &pages[0];
    let mut forged: Vec<String> = (0..good.len())
        .map(|at| {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).unwrap()
        })
        .collect();
    forged.extend(["x", "' OR 1=1 --", "AAAA", &good[1..], &format!("{good}A")].map(String::from));
    forged.push("A".repeat(100_000));
    for token in &forged {
        let status = admin.list_clients(by(OPERATOR, list(2, token))).await.unwrap_err();
        assert_eq!(reason(&status), (Code::InvalidArgument, "PAGE_TOKEN_INVALID".into()), "{token}");
    }
    let filtered = api::ListClientsRequest { disabled: Some(false), ..list(2, good) };
    for request in [by(OTHER, list(2, good)), by(OPERATOR, filtered)] {
        assert_eq!(reason(&admin.list_clients(request).await.unwrap_err()).1, "PAGE_TOKEN_INVALID");
    }
    let request = api::ListAccountsRequest { page_token: good.clone(), ..Default::default() };
    assert_eq!(reason(&admin.list_accounts(by(OPERATOR, request)).await.unwrap_err()).1, "PAGE_TOKEN_INVALID");
    assert_eq!(blamed(&admin.list_clients(by(OPERATOR, list(-1, ""))).await.unwrap_err()), ["page_size"]);

    // Filters say what they say: no pattern, and no statement.
    let find = |name_prefix: &str, kind: api::ClientKind, disabled| api::ListClientsRequest {
        name_prefix: name_prefix.into(),
        kind: kind.into(),
        disabled,
        ..Default::default()
    };
    for (request, expected) in [
        (find("Na%me_", Unspecified, None), 5),
        (find("Na%", Operator, Some(false)), 5),
        (find("N%", Unspecified, None), 0),
        (find("na", Unspecified, None), 0),
        (find("' OR '1'='1", Unspecified, None), 0),
        (find("", SelfRegistered, None), 0),
        (find("", Unspecified, Some(true)), 0),
    ] {
        let found = admin.list_clients(by(OPERATOR, request.clone())).await.unwrap().into_inner();
        assert_eq!(found.clients.len(), expected, "{request:?}");
    }

    // Grants, the newest first.
    let mut grants = Vec::new();
    for _ in 0..3 {
        let tokens = sidecar.tokens().await;
        grants.insert(0, sidecar.introspect(&tokens.access).await.grant_id);
        sidecar.clock.advance(1);
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let request =
            api::ListGrantsRequest { page_size: 1, page_token: token, account: USERNAME.into(), ..Default::default() };
        let page = admin.list_grants(by(OPERATOR, request)).await.unwrap().into_inner();
        seen.extend(page.grants.into_iter().map(|grant| grant.grant_id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, grants);
}

#[tokio::test]
async fn grants_accounts_and_keys_are_administered() {
    let sidecar = Sidecar::with("[keys]\nsigning_algorithm = 'ES256'").await;
    let mut admin = admin(&sidecar).await;
    let tokens = sidecar.tokens().await;
    let known = sidecar.introspect(&tokens.access).await;
    let get = api::GetGrantRequest { grant_id: known.grant_id.clone() };
    let grant = admin.get_grant(get).await.unwrap().into_inner().grant.unwrap();
    assert_eq!(
        (grant.state(), &grant.subject, &grant.scopes),
        (api::GrantState::Active, &known.sub, &vec!["a".into(), "b".into()])
    );
    let active = api::ListGrantsRequest { active: true, client_id: sidecar.shop.id.clone(), ..Default::default() };
    assert_eq!(admin.list_grants(active.clone()).await.unwrap().into_inner().grants, vec![grant]);
    let revoke = api::RevokeGrantsRequest { grant_id: known.grant_id.clone(), ..Default::default() };
    assert!(admin.revoke_grants(revoke.clone()).await.unwrap().into_inner().revoked);
    assert!(!sidecar.is_active(&tokens.access).await);
    assert!(!admin.revoke_grants(revoke).await.unwrap().into_inner().revoked, "it had ended before");
    assert_eq!(admin.list_grants(active).await.unwrap().into_inner().grants, []);
    let tokens = sidecar.tokens().await;
    let both =
        api::RevokeGrantsRequest { account: USERNAME.into(), client_id: sidecar.shop.id.clone(), ..Default::default() };
    assert!(admin.revoke_grants(both.clone()).await.unwrap().into_inner().revoked);
    assert!(!sidecar.is_active(&tokens.access).await);
    for ambiguous in
        [api::RevokeGrantsRequest::default(), api::RevokeGrantsRequest { grant_id: known.grant_id, ..both }]
    {
        assert_eq!(blamed(&admin.revoke_grants(ambiguous).await.unwrap_err()), ["grant_id"]);
    }
    let status = admin.get_grant(api::GetGrantRequest { grant_id: "0".repeat(32) }).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "GRANT_UNKNOWN".into()));

    let create = api::CreateAccountRequest { username: "bob".into(), password: "a long password".into() };
    assert!(!format!("{create:?}").contains("long"));
    let bob = admin.create_account(create.clone()).await.unwrap().into_inner().account.unwrap();
    assert_eq!((&*bob.username, bob.disabled), ("bob", false));
    let status = admin.create_account(create).await.unwrap_err();
    assert_eq!(reason(&status), (Code::AlreadyExists, "ACCOUNT_EXISTS".into()));
    let short = api::CreateAccountRequest { username: "eve".into(), password: "short".into() };
    assert_eq!(blamed(&admin.create_account(short).await.unwrap_err()), ["password"]);
    let set = api::SetAccountPasswordRequest { username: "bob".into(), password: "another password".into() };
    admin.set_account_password(set).await.unwrap();
    admin.disable_account(api::DisableAccountRequest { username: "bob".into() }).await.unwrap();
    let page = admin
        .list_accounts(api::ListAccountsRequest { page_size: 1, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(page.accounts.iter().map(|account| &*account.username).collect::<Vec<_>>(), [USERNAME]);
    let next = api::ListAccountsRequest { page_token: page.next_page_token, ..Default::default() };
    let page = admin.list_accounts(next).await.unwrap().into_inner();
    assert_eq!((&*page.accounts[0].username, page.accounts[0].disabled, &*page.next_page_token), ("bob", true, ""));
    admin.enable_account(api::EnableAccountRequest { username: "bob".into() }).await.unwrap();
    let status = admin.enable_account(api::EnableAccountRequest { username: "nobody".into() }).await.unwrap_err();
    assert_eq!(reason(&status), (Code::NotFound, "ACCOUNT_UNKNOWN".into()));
    let status = admin.enable_account(api::EnableAccountRequest { username: "a\0b".into() }).await.unwrap_err();
    assert_eq!(blamed(&status), ["username"]);

    admin.rotate_key(api::RotateKeyRequest { compromised: true }).await.unwrap();
    let keys = admin.list_keys(api::ListKeysRequest {}).await.unwrap().into_inner().keys;
    assert_eq!(keys.iter().map(|key| (&*key.alg, &*key.state)).collect::<Vec<_>>(), [("ES256", "active")]);
    assert!(admin.revoke_key(api::RevokeKeyRequest { key_id: 9 }).await.unwrap().into_inner().revoked);
    assert!(!admin.revoke_key(api::RevokeKeyRequest { key_id: 9 }).await.unwrap().into_inner().revoked);
    assert_eq!(blamed(&admin.revoke_key(api::RevokeKeyRequest { key_id: 16 }).await.unwrap_err()), ["key_id"]);
}

#[tokio::test]
async fn only_who_may_administers() {
    let sidecar = Sidecar::with(CALLERS).await;
    let mut admin = admin(&sidecar).await;
    let status = admin.list_clients(by(REVOKER, api::ListClientsRequest::default())).await.unwrap_err();
    assert_eq!(reason(&status), (Code::PermissionDenied, "CALLER_NOT_PERMITTED".into()));
    admin.list_clients(by(OPERATOR, api::ListClientsRequest::default())).await.unwrap();
    let request = api::IntrospectRequest { token: "x".into(), ..Default::default() };
    let status = sidecar.grpc().await.introspect(by(OPERATOR, request)).await.unwrap_err();
    assert_eq!(reason(&status).0, Code::PermissionDenied, "who administers does nothing else");
}
