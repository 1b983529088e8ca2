//! Clients that nobody here wrote, from the registries. `tests/run.sh` installs them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use scopegate::domain::client::{AuthenticationMethod, ClientMetadata, GrantType, Introspects};
use scopegate::domain::client_keys::ClientKeys;
use scopegate::effects::{Clock as _, Effects};
use scopegate::store::ClientChanges;
use serde_json::{Value, json};

use crate::command_line::start_dev;
use crate::harness::{
    Authority, Front, ManualClock, PASSWORD, Proxy, REDIRECT_URI, Registered, Sidecar, Target, USERNAME,
};

/// A resource that is known, where the scope `a` counts.
const RESOURCE: &str = "https://api.example/orders";
const AFTER_LOGOUT: &str = "https://shop.example/signed-out";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a program against what it is given; what it says, if it ends well.
pub async fn run(
    mut command: tokio::process::Command,
    program: PathBuf,
    flow: Option<&str>,
    input: Stdio,
    given: &Value,
) -> String {
    let output = command
        .arg(&program)
        .args(flow)
        .env("SCOPEGATE_DEV", given.to_string())
        .env("SCOPEGATE_STUBS", root().join(".tools/stubs"))
        .stdin(input)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("{} does not start: {error}: run tests/run.sh", program.display()));
    let (said, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let done = flow.map(|flow| format!("{flow} is done\n")).unwrap_or_default();
    assert!(output.status.success() && said.ends_with(&done), "{}: {said}{failed}", program.display());
    said.into_owned()
}

pub fn python_interpreter() -> tokio::process::Command {
    let interpreter = root().join(".tools/bin/python");
    assert!(interpreter.exists(), "the Python clients are missing: run tests/run.sh, which installs them");
    tokio::process::Command::new(interpreter)
}

/// Runs a Python program of `tests/python`.
pub async fn python_with(program: &str, input: Stdio, given: &Value) -> String {
    run(python_interpreter(), root().join("tests/python").join(program), None, input, given).await
}

/// One flow of a program of `tests/python/clients`: a client of a system that we stand in for.
pub async fn client_flow(program: &str, flow: &str, given: &Value) -> String {
    let mut command = python_interpreter();
    command.env("PYTHONPATH", root().join("tests/python")).env("PYTHONDONTWRITEBYTECODE", "1");
    run(command, root().join("tests/python/clients").join(program), Some(flow), Stdio::null(), given).await
}

/// One flow of a Python program of `tests/python`, against a server of its own.
async fn python(program: &str, flow: &str) {
    python_by("", program, flow).await;
}

/// With more configuration, as TOML.
async fn python_by(more: &str, program: &str, flow: &str) {
    let (_sidecar, given) = given_by(RESOURCE, more).await;
    let program = root().join("tests/python").join(program);
    println!("{}", run(python_interpreter(), program, Some(flow), Stdio::null(), &given).await);
}

/// The same behind the nginx of `deploy/nginx/issuer.conf`, where TLS ends, so that clients insist on it.
async fn python_behind_nginx(program: &str, flow: &str) {
    const REDIRECT_URI: &str = "https://shop.example/callback";
    let authority = Authority::new();
    authority.issue("server", "IP:127.0.0.1");
    let more = |issuer: &str| format!("issuer = '{issuer}'\n[http]\ntrusted_proxies = ['127.0.0.1']");
    let start = async |issuer: String| given_by(RESOURCE, &more(&issuer)).await;
    let address = async |(sidecar, _): &(Sidecar, Value)| sidecar.addresses.http.only_tcp().unwrap();
    let (_front, (sidecar, mut given)) = Front::start(&authority, start, address).await;
    for client in [&sidecar.shop, &sidecar.app] {
        let redirect_uris = Some(vec![REDIRECT_URI.parse().unwrap()]);
        let changes = ClientChanges { redirect_uris, ..ClientChanges::default() };
        sidecar.service.update_client(client.id.parse().unwrap(), changes).await.unwrap();
    }
    given["redirect_uri"] = REDIRECT_URI.into();
    let mut command = python_interpreter();
    command.env("REQUESTS_CA_BUNDLE", authority.file("ca.pem"));
    let program = root().join("tests/python").join(program);
    println!("{}", run(command, program, Some(flow), Stdio::null(), &given).await);
}

/// Runs a JavaScript program of `tests/node` with what it is given.
pub async fn node_with(program: &str, given: &Value) -> String {
    javascript(program, None, given).await
}

async fn javascript(program: &str, flow: Option<&str>, given: &Value) -> String {
    let installed = root().join("tests/node/node_modules");
    assert!(installed.exists(), "the JavaScript clients are missing: run tests/run.sh, which installs them");
    let program = root().join("tests/node").join(program);
    run(tokio::process::Command::new("node"), program, flow, Stdio::null(), given).await
}

/// One flow of a JavaScript program of `tests/node`, against a server of its own.
async fn node(program: &str, flow: &str) {
    let (_sidecar, given) = given(RESOURCE).await;
    println!("{}", javascript(program, Some(flow), &given).await);
}

async fn openid_client(flow: &str) {
    node("openid_client.js", flow).await;
}

async fn oauth4webapi(flow: &str) {
    node("oauth4webapi.js", flow).await;
}

/// A server with a client for everything, and what a program is told of it.
async fn given(resource: &str) -> (Sidecar, Value) {
    given_by(resource, "").await
}

/// With more configuration, as TOML.
async fn given_by(resource: &str, more: &str) -> (Sidecar, Value) {
    let sidecar = Sidecar::with(&format!(
        "{more}\n[consent]\nremember = 'confidential'\n[registration]\nmode = 'open'\n\
         [resources.catalogue]\n'{resource}' = ['a']\n'https://mail.example' = []"
    ))
    .await;
    tokio::spawn(keep_time(sidecar.clock.clone()));
    let register = async |public, grant_types: &[GrantType]| {
        let metadata = ClientMetadata { grant_types: grant_types.to_vec(), ..ClientMetadata::default() };
        sidecar.register(public, Introspects::Own, metadata).await
    };
    let machine = register(false, &[GrantType::ClientCredentials]).await;
    let device = register(true, &[GrantType::DeviceCode, GrantType::RefreshToken]).await;
    let metadata = ClientMetadata { resources: vec![resource.into()], ..ClientMetadata::default() };
    let api = sidecar.register(false, Introspects::Own, metadata).await;
    let (signer, private_key) = signer(&sidecar).await;
    let exchanging = [GrantType::AuthorizationCode, GrantType::RefreshToken, GrantType::TokenExchange];
    sidecar
        .change(&sidecar.shop, ClientMetadata { grant_types: exchanging.to_vec(), ..ClientMetadata::default() })
        .await;
    for client in [&sidecar.shop, &sidecar.app, &machine] {
        let scopes = Some("a b c openid profile".parse().unwrap());
        let changes = ClientChanges { scopes, ..ClientChanges::default() };
        sidecar.service.update_client(client.id.parse().unwrap(), changes).await.unwrap();
    }
    let uris = vec![AFTER_LOGOUT.parse().unwrap()];
    sidecar.service.set_post_logout_redirect_uris(sidecar.shop.id.parse().unwrap(), uris).await.unwrap();
    let client = |client: &Registered| json!({ "client_id": client.id, "client_secret": client.secret });
    let given = json!({
        "http": sidecar.service.settings.issuer,
        "account": { "username": USERNAME, "password": PASSWORD },
        "redirect_uri": REDIRECT_URI,
        "after_logout": AFTER_LOGOUT,
        "resource": resource,
        "shop": client(&sidecar.shop), "app": client(&sidecar.app), "machine": client(&machine),
        "device": client(&device), "api": client(&api),
        "signer": { "client_id": signer.id, "private_key": private_key },
    });
    (sidecar, given)
}

/// A machine that authenticates by a key, and its private key in PEM.
async fn signer(sidecar: &Sidecar) -> (Registered, String) {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let [x, y] = [x, y].map(|coordinate| BASE64_URL_SAFE_NO_PAD.encode(coordinate));
    let keys = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "x": x, "y": y }] });
    let metadata = ClientMetadata {
        grant_types: vec![GrantType::ClientCredentials],
        token_endpoint_auth_method: Some(AuthenticationMethod::PrivateKeyJwt),
        jwks: Some(ClientKeys::parse(keys).unwrap()),
        ..ClientMetadata::default()
    };
    let encoded = BASE64_STANDARD.encode(pkcs8.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{encoded}\n-----END PRIVATE KEY-----\n");
    (sidecar.register(false, Introspects::Own, metadata).await, pem)
}

/// One flow of the MCP SDK, whose server is the resource. Where that is has to be known before it starts, so a proxy is there first.
async fn mcp(flow: &str) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("resource.sock");
    let proxy = Proxy::to(Target::Unix(socket.clone())).await;
    let (_sidecar, mut given) = given(&format!("http://127.0.0.1:{}/mcp", proxy.port)).await;
    given["socket"] = socket.to_str().unwrap().into();
    println!("{}", javascript("mcp.js", Some(flow), &given).await);
}

/// Programs have clocks of their own, so that of their server has to be right.
async fn keep_time(clock: Arc<ManualClock>) {
    loop {
        let behind = Effects::system().now().as_unix() - clock.now().as_unix();
        clock.advance(behind.max(0));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn requests_oauthlib_authlib_and_grpcio_do_the_main_job() {
    let directory = tempfile::tempdir().unwrap();
    let (_child, dev) = start_dev(directory.path()).await;
    println!("{}", python_with("main_job.py", Stdio::null(), &dev).await);
}

#[tokio::test]
async fn openid_client_waits_for_the_user_of_a_device() {
    openid_client("deviceFlow").await;
}

#[tokio::test]
async fn openid_client_learns_that_the_user_of_a_device_denied() {
    openid_client("deviceDenied").await;
}

#[tokio::test]
async fn openid_client_discovers_the_server_by_both_documents() {
    openid_client("discovery").await;
}

#[tokio::test]
async fn openid_client_sees_that_the_user_denied() {
    openid_client("denied").await;
}

#[tokio::test]
async fn openid_client_redeems_refreshes_introspects_and_revokes_with_either_way_to_send_a_secret() {
    openid_client("code").await;
}

#[tokio::test]
async fn openid_client_reads_the_challenge_for_a_wrong_secret() {
    openid_client("wrongSecret").await;
}

#[tokio::test]
async fn f17_openid_client_verifies_id_tokens_also_after_a_refresh_and_asks_userinfo() {
    openid_client("idToken").await;
}

#[tokio::test]
async fn openid_client_asks_for_a_new_sign_in_by_prompt_and_max_age() {
    openid_client("signInAnew").await;
}

#[tokio::test]
async fn openid_client_takes_an_answer_as_a_form() {
    openid_client("formPost").await;
}

#[tokio::test]
async fn openid_client_signs_the_user_out() {
    openid_client("signOut").await;
}

#[tokio::test]
async fn openid_client_pushes_its_request() {
    openid_client("pushedRequest").await;
}

#[tokio::test]
async fn openid_client_binds_tokens_to_a_key_of_every_algorithm() {
    openid_client("dpop").await;
}

#[tokio::test]
async fn openid_client_registers_itself_with_each_method() {
    openid_client("registration").await;
}

#[tokio::test]
async fn openid_client_authenticates_by_keys_of_every_algorithm() {
    openid_client("privateKeyJwt").await;
}

#[tokio::test]
async fn u4_openid_client_gets_tokens_for_a_machine_which_userinfo_refuses() {
    openid_client("clientCredentials").await;
}

#[tokio::test]
async fn openid_client_exchanges_a_token_for_less() {
    openid_client("tokenExchange").await;
}

#[tokio::test]
async fn oauth4webapi_discovers_the_server_by_both_documents() {
    oauth4webapi("discovery").await;
}

#[tokio::test]
async fn oauth4webapi_sees_that_the_user_denied() {
    oauth4webapi("denied").await;
}

#[tokio::test]
async fn oauth4webapi_redeems_refreshes_introspects_and_revokes() {
    oauth4webapi("code").await;
}

#[tokio::test]
async fn oauth4webapi_sees_a_replayed_code_refused_and_its_tokens_dead() {
    oauth4webapi("replayedCode").await;
}

#[tokio::test]
async fn oauth4webapi_notices_a_mix_up_of_issuers() {
    oauth4webapi("mixUp").await;
}

#[tokio::test]
async fn oauth4webapi_verifies_id_tokens_and_asks_userinfo() {
    oauth4webapi("idToken").await;
}

#[tokio::test]
async fn oauth4webapi_pushes_its_request_and_binds_the_code() {
    oauth4webapi("pushedRequest").await;
}

#[tokio::test]
async fn oauth4webapi_binds_tokens_to_a_key() {
    oauth4webapi("dpop").await;
}

#[tokio::test]
async fn oauth4webapi_registers_itself_with_a_secret_and_with_keys() {
    oauth4webapi("registration").await;
}

#[tokio::test]
async fn oauth4webapi_asks_for_resources() {
    oauth4webapi("resources").await;
}

#[tokio::test]
async fn oauth4webapi_finds_the_authorization_server_of_a_resource() {
    oauth4webapi("protectedResource").await;
}

#[tokio::test]
async fn oauth4webapi_gets_tokens_for_a_machine_and_exchanges_others() {
    oauth4webapi("otherGrants").await;
}

#[tokio::test]
async fn oauth4webapi_waits_for_the_user_of_a_device() {
    oauth4webapi("deviceFlow").await;
}

#[tokio::test]
async fn an_mcp_client_finds_registers_and_asks_by_itself_and_calls_a_tool() {
    mcp("user").await;
}

#[tokio::test]
async fn an_mcp_client_refreshes_and_asks_its_user_again_after_a_revocation() {
    mcp("refreshing").await;
}

#[tokio::test]
async fn an_mcp_client_without_a_user_proves_itself_by_a_secret_or_a_key() {
    mcp("machine").await;
}

#[tokio::test]
async fn authlib_verifies_id_tokens_refreshes_introspects_and_revokes() {
    python("authlib_client.py", "id_token").await;
}

#[tokio::test]
async fn authlib_gets_tokens_for_a_machine() {
    python("authlib_client.py", "client_credentials").await;
}

#[tokio::test]
async fn authlib_authenticates_by_a_key() {
    python("authlib_client.py", "private_key_jwt").await;
}

#[tokio::test]
async fn authlib_polls_for_a_device() {
    python("authlib_client.py", "device").await;
}

#[tokio::test]
async fn requests_oauthlib_refreshes_by_itself() {
    python("requests_oauthlib_client.py", "code_and_refresh").await;
}

#[tokio::test]
async fn requests_oauthlib_does_not_notice_that_its_provider_is_not_oauthlibs() {
    for flow in ["code_and_refresh", "client_credentials"] {
        python_by("profile = 'oauthlib'", "requests_oauthlib_client.py", flow).await;
    }
}

#[tokio::test]
async fn requests_oauthlib_gets_tokens_for_a_machine() {
    python("requests_oauthlib_client.py", "client_credentials").await;
}

#[tokio::test]
async fn requests_oauthlib_polls_for_a_device() {
    python("requests_oauthlib_client.py", "device").await;
}

#[tokio::test]
async fn authlib_insists_on_tls_and_gets_it_at_an_nginx_in_front() {
    python_behind_nginx("authlib_client.py", "id_token").await;
}

#[tokio::test]
async fn requests_oauthlib_insists_on_tls_and_gets_it_at_an_nginx_in_front() {
    python_behind_nginx("requests_oauthlib_client.py", "code_and_refresh").await;
}
