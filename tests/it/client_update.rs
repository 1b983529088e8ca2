//! `scopegate client create` and `update`: the same flags, and what is not given stays.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command_line::{fails, json as answer, ok};
use crate::harness::SECRET;

const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// A directory with a migrated database, and configurations in which certificates authenticate nobody, by their authority, and by their
/// key.
fn database() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let text = format!(
        "issuer = 'https://a.example'\n[database]\nurl = 'sqlite:{}/x.db'\n[keys]\nsecret = '{SECRET}'\n[http]\n\
         trusted_proxies = ['127.0.0.1']\nclient_certificate_header = 'x'\nclient_certificate_authentication = ",
        here.display()
    );
    for (file, method) in
        [("c.toml", "off"), ("authority.toml", "tls_client_auth"), ("key.toml", "self_signed_tls_client_auth")]
    {
        std::fs::write(here.join(file), format!("{text}'{method}'")).unwrap();
    }
    std::fs::write(here.join("keys.json"), KEYS).unwrap();
    ok(here, &["migrate", "--config", "c.toml"]);
    directory
}

/// A client, as one of these configurations makes it.
fn create(here: &Path, config: &str, flags: &[&str]) -> Value {
    answer(here, &[&["client", "create", "--name", "X", "--config", config], flags].concat())
}

fn update(here: &Path, config: &str, client: &Value, flags: &[&str]) -> Value {
    let id = client["client_id"].as_str().unwrap();
    answer(here, &[&["client", "update", id, "--config", config], flags].concat())
}

#[test]
fn what_a_client_registered_can_be_changed_and_taken_back_and_stays_otherwise() {
    let directory = database();
    let (here, config) = (directory.path(), "c.toml");
    let client = create(here, config, &["--redirect-uri", "https://shop.example/cb", "--scope", "a"]);
    let flags = ["resource_server", "require_pushed_authorization_requests", "dpop_bound_access_tokens"];
    let said = [
        "--resource",
        "https://r.example",
        "--resource-server",
        "--require-pushed-authorization-requests",
        "--dpop-bound-access-tokens",
        "--post-logout-redirect-uri",
        "https://shop.example/out",
    ];
    let changed = update(here, config, &client, &said);
    let renamed = update(here, config, &client, &["--name", "Newer"]);
    for document in [changed, renamed] {
        assert_eq!(document["resources"], json!(["https://r.example"]));
        assert_eq!(document["redirect_uris"], json!(["https://shop.example/cb"]));
        for name in flags {
            assert_eq!(document[name], true, "{name}: what is not given stays");
        }
    }
    let id = client["client_id"].as_str().unwrap();
    let both = ["client", "update", id, "--tls-client-certificate-bound-access-tokens", "--config", config];
    fails(here, &both, 1, "not to both");
    let taken_back = [
        "--clear",
        "resource",
        "--clear",
        "redirect-uri",
        "--clear",
        "scope",
        "--clear",
        "post-logout-redirect-uri",
        "--resource-server=false",
        "--require-pushed-authorization-requests=false",
        "--dpop-bound-access-tokens=false",
        "--tls-client-certificate-bound-access-tokens",
    ];
    let cleared = update(here, config, &client, &taken_back);
    assert_eq!(
        (cleared.get("resources"), &cleared["redirect_uris"], &cleared["scope"]),
        (None, &json!([]), &json!(""))
    );
    assert_eq!(cleared["tls_client_certificate_bound_access_tokens"], true);
    for name in flags {
        assert_eq!(cleared[name], false, "{name}");
    }
    fails(here, &["client", "update", id, "--clear", "name", "--config", config], 2, "possible values");
}

#[test]
fn keys_at_a_url_and_those_of_a_file_replace_each_other_and_the_other_flags_stay() {
    let directory = database();
    let (here, config) = (directory.path(), "c.toml");
    let said = [
        "--jwks-uri",
        "https://shop.example/keys",
        "--backchannel-logout-uri",
        "https://shop.example/out",
        "--backchannel-logout-session-required",
        "--access-token-format",
        "jwt",
    ];
    let client = create(here, config, &said);
    let renamed = update(here, config, &client, &["--name", "Newer"]);
    for document in [&client, &renamed] {
        assert_eq!(document["token_endpoint_auth_method"], "private_key_jwt");
        assert_eq!(document["jwks_uri"], "https://shop.example/keys");
        assert_eq!(document["backchannel_logout_uri"], "https://shop.example/out");
        assert_eq!(document["backchannel_logout_session_required"], true);
        assert_eq!(document["access_token_format"], "jwt");
    }
    let with_file = update(here, config, &client, &["--jwks", "keys.json", "--no-backchannel-logout"]);
    assert_eq!((with_file.get("jwks_uri"), with_file.get("backchannel_logout_uri")), (None, None));
    assert_eq!(with_file.get("backchannel_logout_session_required"), None);
    let back =
        update(here, config, &client, &["--jwks-uri", "https://shop.example/keys", "--access-token-format", "opaque"]);
    assert_eq!((&back["jwks_uri"], &back["access_token_format"]), (&said[1].into(), &"opaque".into()));
    let id = client["client_id"].as_str().unwrap();
    for flags in [["--jwks", "keys.json"], ["--tls-client-auth-san-dns", "c.example"], ["--name", "X"]] {
        let both =
            [&["client", "update", id, "--config", config, "--jwks-uri", "http://shop.example/keys"], &flags[..]]
                .concat();
        fails(here, &both, 2, "error");
    }
}

#[test]
fn a_public_client_becomes_no_resource_server() {
    let directory = database();
    let (here, config) = (directory.path(), "c.toml");
    let public = create(here, config, &["--public"]);
    let id = public["client_id"].as_str().unwrap();
    for flag in ["--resource-server", "--resource=https://r.example"] {
        fails(here, &["client", "update", id, flag, "--config", config], 1, "anybody could pose as it");
        fails(here, &["client", "create", "--name", "X", "--public", flag, "--config", config], 2, "cannot be used");
    }
}

#[test]
fn a_client_is_made_for_its_certificate_where_certificates_authenticate() {
    let directory = database();
    let here = directory.path();
    let named = ["--tls-client-auth-san-dns", "c.example"];
    let refused = |config: &str, flags: &[&str], status, because| {
        fails(here, &[&["client", "create", "--name", "X", "--config", config], flags].concat(), status, because);
    };
    refused("c.toml", &named, 1, "http.client_certificate_authentication");
    refused("key.toml", &named, 1, "http.client_certificate_authentication");
    refused("authority.toml", &[&named[..], &["--tls-client-auth-san-ip", "::1"]].concat(), 2, "cannot be used");
    refused("authority.toml", &[&named[..], &["--jwks", "keys.json"]].concat(), 2, "cannot be used");
    refused("authority.toml", &["--tls-client-auth-subject-dn", "shop"], 2, "distinguished name");

    let certified = create(here, "authority.toml", &named);
    assert_eq!(certified.get("client_secret"), None);
    assert_eq!(certified["token_endpoint_auth_method"], "tls_client_auth");
    assert_eq!(certified["tls_client_auth_san_dns"], "c.example");
    let other = update(here, "authority.toml", &certified, &["--tls-client-auth-subject-dn", "CN=c"]);
    assert_eq!((&other["tls_client_auth_subject_dn"], other.get("tls_client_auth_san_dns")), (&json!("CN=c"), None));

    let with_key = create(here, "key.toml", &["--jwks", "keys.json", "--self-signed-tls-client-auth"]);
    assert_eq!(with_key["token_endpoint_auth_method"], "self_signed_tls_client_auth");
    update(here, "key.toml", &with_key, &["--jwks", "keys.json"]);

    let with_secret = create(here, "authority.toml", &[]);
    let id = with_secret["client_id"].as_str().unwrap();
    for flags in [&["--tls-client-auth-subject-dn", "CN=c"][..], &["--jwks", "keys.json"]] {
        let arguments = [&["client", "update", id, "--config", "authority.toml"], flags].concat();
        fails(here, &arguments, 1, "that does not change");
    }
}
