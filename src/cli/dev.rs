//! `scopegate dev`: everything on embedded defaults, in one directory.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use super::serve::StopSignals;
use super::{CliError, DEV_DATA_DIR, Output, OutputFormat, output};
use crate::config::{Environment, Layers, Scopes};
use crate::domain::client::{ClientMetadata, Introspects};
use crate::domain::pkce::CodeVerifier;
use crate::domain::scope::ScopeSet;
use crate::effects::Effects;
use crate::server::Server;
use crate::service::Service;
use crate::service::accounts::AccountError;
use crate::service::clients::NewClient;
use crate::telemetry;

/// The configuration in the data directory; the other verbs find it there.
pub(super) const CONFIG_FILE: &str = "scopegate.toml";
const DEMO_FILE: &str = "demo.json";
const REDIRECT_URI: &str = "http://127.0.0.1:8765/callback";
/// Where the profile has none.
const DEMO_CATALOGUE: &str = "\
[scopes.catalogue]
openid = \"Know who you are\"
\"orders:read\" = \"See your orders\"
\"orders:write\" = \"Place, change and cancel orders\"
\"profile\" = \"See your name\"

";

#[derive(Args)]
pub(super) struct Arguments {
    /// Which system to stand in for: fittrackee, forgejo, funkwhale, gancio, oauthlib [default: that of the configuration]
    #[arg(long)]
    profile: Option<String>,
    /// Where the database, the keys and the configuration are kept [default: scopegate-data, with -PROFILE behind it for a profile]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    format: OutputFormat,
}

/// What there is to try with. Kept beside the database, for development only.
#[derive(Serialize, Deserialize)]
struct Demo {
    username: String,
    password: String,
    client_id: String,
    client_secret: String,
    /// A public client, as an app on a phone would be.
    app_client_id: String,
    redirect_uri: String,
    scopes: Vec<String>,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, CliError> {
    let effects = Effects::system();
    let Arguments { profile, data_dir, format } = arguments;
    let directory = &data_dir.unwrap_or_else(|| match profile.as_deref().map(Path::new).and_then(Path::file_stem) {
        Some(profile) => PathBuf::from(format!("{DEV_DATA_DIR}-{}", profile.display())),
        None => DEV_DATA_DIR.into(),
    });
    let profile = profile.map(|profile| format!("profile = {profile:?}\n")).unwrap_or_default();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|cause| CliError::File { path: directory.clone(), cause })?;
    let _lock = lock(directory)?;
    let file = directory.join(CONFIG_FILE);
    if !file.exists() {
        write_private(&file, &configuration(directory, &profile, &effects)?)?;
    }
    let config = Layers::new().file(&file)?.text(&profile)?.environment(&Environment::of_process())?.build()?;
    telemetry::start_logging(&config.telemetry)?;
    let stop = StopSignals::new()?;
    let server = Server::start(&config, effects.clone()).await?;
    let demo = demo(&server.backend.service, &config.scopes, &directory.join(DEMO_FILE), &effects).await?;
    match format.output {
        Output::Json => output::json(&json!({
            "http": format!("http://{}", server.addresses.http),
            "grpc": server.addresses.grpc.to_string(),
            "ops": format!("http://{}", server.addresses.ops),
            "account": { "username": demo.username, "password": demo.password },
            "client": {
                "client_id": demo.client_id, "client_secret": demo.client_secret,
                "redirect_uri": demo.redirect_uri, "scopes": demo.scopes,
            },
        }))?,
        Output::Text => print_tour(&server, &demo, directory, &effects),
    }
    stop.received().await;
    server.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// One process per directory. The lock ends with the process, however it ends.
fn lock(directory: &Path) -> Result<File, CliError> {
    let path = directory.join("lock");
    let failed = |cause| CliError::File { path: path.clone(), cause };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CliError::Locked(directory.to_owned())),
        Err(TryLockError::Error(cause)) => Err(failed(cause)),
    }
}

/// Written once; from then on it is the user's.
fn configuration(directory: &Path, profile: &str, effects: &Effects) -> Result<String, CliError> {
    let absolute = fs::canonicalize(directory).map_err(|cause| CliError::File { path: directory.to_owned(), cause })?;
    let database = absolute.join("scopegate.db").display().to_string();
    let database = database.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    let secret = BASE64_STANDARD.encode(effects.random_bytes::<32>());
    let has_scopes = !Layers::new().text(profile)?.effective()?.scopes.catalogue.is_empty();
    let catalogue = if has_scopes { "" } else { DEMO_CATALOGUE };
    Ok(format!(
        "\
# Made by `scopegate dev`. `scopegate config show --config {directory}/{CONFIG_FILE}` prints every key there is.

{profile}
[http]
listen = \"127.0.0.1:8080\"

[grpc]
listen = \"127.0.0.1:50051\"

[ops]
listen = \"127.0.0.1:9464\"

[database]
url = {url:?}

[keys]
secret = \"{secret}\"

{catalogue}[telemetry]
log = \"warn\"
",
        directory = directory.display(),
        url = format!("sqlite:{database}"),
    ))
}

fn write_private(path: &Path, text: &str) -> Result<(), CliError> {
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|cause| CliError::File { path: path.to_owned(), cause })
}

/// The demo of an earlier start, if its client is still there; a new one otherwise.
async fn demo(service: &Service, scopes: &Scopes, file: &Path, effects: &Effects) -> Result<Demo, CliError> {
    if let Ok(text) = fs::read_to_string(file)
        && let Ok(demo) = serde_json::from_str::<Demo>(&text)
        && let Ok(id) = demo.client_id.parse()
        && service.client(id).await.is_ok()
    {
        return Ok(demo);
    }
    let (username, password) = ("demo".to_owned(), BASE64_URL_SAFE_NO_PAD.encode(effects.random_bytes::<9>()));
    let secret = Zeroizing::new(password.clone());
    match service.create_account(username.clone(), secret.clone()).await {
        Err(AccountError::Exists(_)) => service.set_password(username.clone(), secret).await?,
        other => drop(other?),
    }
    let scopes: Vec<String> = scopes.catalogue.keys().cloned().collect();
    let new = |name: &str, public| NewClient {
        name: name.into(),
        redirect_uris: vec![REDIRECT_URI.parse().expect("a loopback URI can be registered")],
        scopes: scopes.join(" ").parse::<ScopeSet>().expect("the catalogue has scopes"),
        public,
        introspects: Introspects::Own,
        metadata: ClientMetadata::default(),
    };
    let (app, _) = service.create_client(new("Demo app", true)).await?;
    let (client, client_secret) = service.create_client(new("Demo shop", false)).await?;
    let demo = Demo {
        username,
        password,
        client_id: client.id.to_string(),
        client_secret: client_secret.map(|secret| secret.expose().to_owned()).unwrap_or_default(),
        app_client_id: app.id.to_string(),
        redirect_uri: REDIRECT_URI.into(),
        scopes,
    };
    write_private(file, &serde_json::to_string_pretty(&demo).map_err(std::io::Error::other)?)?;
    Ok(demo)
}

fn print_tour(server: &Server, demo: &Demo, directory: &Path, effects: &Effects) {
    let http = format!("http://{}", server.addresses.http);
    let verifier = effects.secret();
    let challenge = verifier.expose().parse::<CodeVerifier>().map(|verifier| verifier.challenge().as_str().to_owned());
    let paths = &server.backend.service.settings.paths;
    let (authorize, token) = (paths.authorize.first(), paths.token.first());
    let authorize =
        url::form_urlencoded::Serializer::for_suffix(format!("{http}{authorize}?"), http.len() + authorize.len() + 1)
            .append_pair("response_type", "code")
            .append_pair("client_id", &demo.client_id)
            .append_pair("redirect_uri", &demo.redirect_uri)
            .append_pair("scope", &demo.scopes.join(" "))
            .append_pair("code_challenge", &challenge.unwrap_or_default())
            .append_pair("code_challenge_method", "S256")
            .finish();
    let program = std::env::args().next().unwrap_or_else(|| "scopegate".into());
    let Demo { username, password, client_id, client_secret, app_client_id, redirect_uri, .. } = demo;
    println!(
        "\
scopegate dev: everything is in {directory}; nothing of it is meant for production.

  user                 {username}
  password             {password}
  confidential client  {client_id}
  its secret           {client_secret}
  public client        {app_client_id}
  metadata             {http}/.well-known/oauth-authorization-server

1. Be the user: open this in a browser, sign in, choose, allow.

  {authorize}

2. Be the app: the browser was sent to {redirect_uri}?code=…, where nothing listens.
   Copy the code out of the address bar within a minute and redeem it. (Or let examples/third_party_app.py do steps 1 and 2.)

  curl -d client_id={client_id} -d client_secret={client_secret} -d grant_type=authorization_code -d redirect_uri={redirect_uri} \\
    -d code_verifier={verifier} {http}{token} -d code=CODE

3. Be a service that got the access token with a request:

  {program} token check ACCESS_TOKEN --scope {scope} --endpoint {grpc}

listening {addresses}",
        directory = directory.display(),
        verifier = verifier.expose(),
        scope = demo.scopes.iter().find(|scope| scope.contains("read")).or(demo.scopes.first()).map_or("", |scope| scope),
        grpc = server.addresses.grpc.iter().next().map(ToString::to_string).unwrap_or_default(),
        addresses = server.addresses,
    );
}
