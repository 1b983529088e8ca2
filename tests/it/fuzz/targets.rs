//! What is fuzzed: each target takes any bytes and asserts what has to hold of them. The tests run them on stable, with proptest; the
//! package in `fuzz` gives them to libFuzzer.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use scopegate::domain::authorization::{AuthorizationRequest, AuthorizationResponse, Rejection, client_id};
use scopegate::domain::authorization_rules::AuthorizationRules;
use scopegate::domain::client::{Client, ClientMetadata, ClientType, Introspects, Registrar};
use scopegate::domain::credentials::{ClientCredentials, Proof, RepeatedCredentials};
use scopegate::domain::error::OAuthError;
use scopegate::domain::jwk::PublicKey;
use scopegate::domain::jwt_access_token;
use scopegate::domain::parameters::{MAX_PARAMETERS, Parameters};
use scopegate::domain::redirect_uri::RedirectUri;
use scopegate::domain::resource::ResourceCatalogue;
use scopegate::domain::revocation::Revocation;
use scopegate::domain::scope::{Implications, Scope, ScopeSet};
use scopegate::domain::secret::{MacKey, MasterSecret};
use scopegate::domain::timestamp::Timestamp;
use scopegate::domain::token::{KeyId, TokenKeys};
use scopegate::facts::redis::reread_signed_facts;
use serde_json::Value;
use url::Url;

/// A target, its name and inputs to begin with.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: &'static [&'static [u8]],
}

pub const TARGETS: [Target; 9] = [
    Target {
        name: "parameters",
        run: parameters,
        seeds: &[b"a=1&b=&c=x&c=&d=%C3%A4+%2B", b"grant_type=refresh_token&scope=a+b"],
    },
    Target {
        name: "basic_header",
        run: basic_header,
        seeds: &[b"Basic YXBwOnMzY3JldA==", b"basic YSUzQWI6JTJCKyVDMyVBNA=="],
    },
    Target {
        name: "redirect_uri",
        run: redirect_uri,
        seeds: &[
            b"https://c/cb?a=1\0https://c/cb?a=1",
            b"http://127.0.0.1:1/cb\0http://127.0.0.1:51004/cb",
            b"http://[::1]/cb\0http://[::1]:9/cb?x@y",
            b"com.example.app:/cb\0com.example.app:/cb",
        ],
    },
    Target { name: "scope", run: scope, seeds: &[b"read:orders write", b" b  a b "] },
    Target {
        name: "token",
        run: token,
        seeds: &[
            b"sg_ac_EwIwMTIzNDU2Nzg5YWJjZGVmAAAABQAAAAkAZVPxAAAAAli4RZPclopXz7xm9_jRvuqDAT5feA",
            b"sg_at_EwIwMTIzNDU2Nzg5YWJjZGVmAAAABQAAAAkAZVPxAAAAAlhr_BZnnulIao0aDD6J7azP4-g7uQ",
        ],
    },
    Target {
        name: "jwt_access_token",
        run: jwt_access_token,
        seeds: &[
            b"{\"alg\":\"EdDSA\",\"kid\":\"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k\",\"typ\":\"at+jwt\"}\0\
              {\"iss\":\"https://i\",\"exp\":1,\"sg_ptr\":\"sg_jt_EwIwMTIzNDU2Nzg5YWJjZGVmAAAABQAAAAkAZVPxAAAAAlh8zdOLisxCkKlCoThWgsUx2xk2sA\"}",
            b"{\"typ\":\"at+jwt\",\"kid\":\"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k\",\"alg\":\"none\"}\0\
              {\"sg_ptr\":\"sg_jt_EwIwMTIzNDU2Nzg5YWJjZGVmAAAABQAAAAkAZVPxAAAAAlh8zdOLisxCkKlCoThWgsUx2xk2sA\",\"iss\":\"https://i\",\"scope\":\"a\"}",
            b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhi",
        ],
    },
    Target {
        name: "revocation_line",
        run: revocation_line,
        seeds: &[b"1 1700000000 grant 1 000102030405060708090a0b0c0d0e0f", b"18446744073709551615 0 client 0 app"],
    },
    Target { name: "shared_facts", run: shared_facts, seeds: &[b"\x01\x01c\x01s\x03ann\x00\x01\x03a b\x02\x03\x04"] },
    Target {
        name: "authorization_request",
        run: authorization_request,
        seeds: &[
            b"response_type=code&client_id=app&redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2Fcb&scope=a+b&state=x%26y\
              &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256",
            b"response_type=token&client_id=app&redirect_uri=https://c/cb?a=1&state=%0d%0a",
        ],
    },
];

/// A value is there once and not empty, or it is missing.
pub fn parameters(data: &[u8]) {
    let mut expected: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut count = 0;
    for (name, value) in form_urlencoded::parse(data) {
        expected.entry(name).or_default().push(value);
        count += 1;
    }
    let Ok(parameters) = Parameters::parse(data) else {
        return assert!(count > MAX_PARAMETERS);
    };
    for (name, values) in &expected {
        let once = match values.as_slice() {
            [value] if !value.is_empty() => Some(value.as_ref()),
            _ => None,
        };
        assert_eq!(parameters.get(name), once);
        assert_eq!(parameters.is_repeated(name), values.len() > 1);
        assert!(parameters.all(name).eq(values.iter().map(AsRef::as_ref)));
    }
    assert_eq!(parameters.refuse_repeated().is_err(), expected.values().any(|values| values.len() > 1));
}

/// Credentials that are read are those that the same credentials, written anew, say.
pub fn basic_header(data: &[u8]) {
    let Ok(credentials) = ClientCredentials::parse(&[data], &Parameters::default(), RepeatedCredentials::Refuse) else {
        return;
    };
    let secret = secret_of(&credentials);
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let written = format!("Basic {}:{}", encode(credentials.id.as_str()), encode(secret));
    let (scheme, pair) = written.split_once(' ').expect("it was just written");
    let header = format!("{scheme} {}", BASE64_STANDARD.encode(pair));
    let again = ClientCredentials::parse(&[header.as_bytes()], &Parameters::default(), RepeatedCredentials::Refuse)
        .expect("they are good");
    assert_eq!(again.id, credentials.id);
    assert_eq!(secret_of(&again), secret);
    assert_eq!(matches!(again.proof, Proof::None), secret.is_empty());
}

fn secret_of(credentials: &ClientCredentials) -> &str {
    match &credentials.proof {
        Proof::Secret { secret, .. } => secret.expose(),
        _ => "",
    }
}

/// What is registered leads nowhere dangerous, and what matches it goes to the same place as others read URIs.
pub fn redirect_uri(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (registered, presented) = text.split_once('\0').unwrap_or((text, text));
    let Ok(uri) = registered.parse::<RedirectUri>() else { return };
    assert!(uri.matches(registered));
    let url = Url::parse(registered).expect("it is registered");
    assert!(url.scheme() == "https" || url.scheme() == "http" || url.scheme().contains('.'));
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
    if url.scheme() == "http" {
        assert!(["127.0.0.1", "[::1]", "localhost"].contains(&url.host_str().expect("http has a host")));
    }
    if uri.matches(presented) && presented != registered {
        let other = Url::parse(presented).expect("what matches is a URI");
        let place = |url: &Url| {
            let parts = [url.scheme(), url.host_str().unwrap_or_default(), url.path(), url.query().unwrap_or_default()];
            (parts.map(str::to_owned), url.username().to_owned(), url.fragment().map(str::to_owned))
        };
        assert_eq!(place(&url), place(&other), "only the port differs");
        assert!(presented.starts_with("http://127.0.0.1") || presented.starts_with("http://[::1]"));
    }
}

/// A set of scopes is sorted, has no doubles and reads back as itself.
pub fn scope(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(scopes) = text.parse::<ScopeSet>() else {
        return assert!(text.split(' ').any(|scope| !scope.is_empty() && !Scope::is_well_formed(scope)));
    };
    assert_eq!(scopes.as_str().parse::<ScopeSet>(), Ok(scopes.clone()));
    let list: Vec<&str> = scopes.iter().collect();
    assert!(list.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(text.split(' ').filter(|scope| !scope.is_empty()).all(|scope| scopes.contains(scope)));
}

/// Only what our keys sealed opens, and to that alone.
pub fn token(data: &[u8]) {
    let keys = token_keys();
    let Ok(text) = str::from_utf8(data) else { return };
    if let Some(signed) = keys.open(text) {
        assert_eq!(keys.seal(&signed.token).expose(), text);
    }
}

fn token_keys() -> TokenKeys {
    let secret = BASE64_STANDARD.encode([7; 32]);
    let master = MasterSecret::from_base64(&secret).expect("32 bytes");
    TokenKeys::new(KeyId::new(3).expect("one of 16"), MacKey::derive(&master, "scopegate/v1/token"))
}

/// Only what has our header, our issuer and a pointer that our keys sealed is looked at further, and nobody has signed it. The bytes are a
/// header and claims, or where no zero byte parts them, the whole.
pub fn jwt_access_token(data: &[u8]) {
    let keys = token_keys();
    let text = match data.iter().position(|byte| *byte == 0) {
        Some(at) => {
            let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
            format!("{}.{}.{}", encode(&data[..at]), encode(&data[at + 1..]), encode(&[7; 64]))
        }
        None => String::from_utf8_lossy(data).into_owned(),
    };
    let Some(presented) = jwt_access_token::Presented::parse(&text, &keys, "https://i") else { return };
    assert!(text.len() <= scopegate::domain::jwt::MAX_LENGTH && text.bytes().filter(|byte| *byte == b'.').count() == 2);
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let key: PublicKey =
        serde_json::from_value(serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "x": x })).expect("a key");
    assert_eq!(presented.verify(&key), None);
    let part = |index| -> Option<Value> {
        let part = text.split('.').nth(index).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
        serde_json::from_slice(&part.expect("base64url")).ok()
    };
    // What is not looked at may have a string that is none (a surrogate without the other): nobody of ours signs such.
    let (Some(header), Some(claims)) = (part(0), part(1)) else { return };
    assert_eq!((header.as_object().expect("an object").len(), &header["typ"]), (3, &"at+jwt".into()));
    assert_eq!((&header["kid"], &claims["iss"]), (&presented.kid().into(), &"https://i".into()));
    let pointer = claims["sg_ptr"].as_str().expect("text");
    let signed = keys.open_pointer(pointer).expect("what our keys sealed");
    assert_eq!(keys.seal_pointer(&signed.token).expose(), pointer);
}

/// A line that is read is written as it was meant.
pub fn revocation_line(data: &[u8]) {
    let Ok(line) = str::from_utf8(data) else { return };
    if let Some(revocation) = Revocation::parse(line) {
        assert_eq!(Revocation::parse(&revocation.to_string()), Some(revocation));
    }
}

/// No value, even with a right tag, makes the reader fail, and what is read is written and read again as the same.
pub fn shared_facts(data: &[u8]) {
    if let Some((read, again)) = reread_signed_facts(data) {
        assert_eq!(Some(read), again);
    }
}

/// An answer goes to a registered URI, with the state as it came, and the user is asked for no more than the client may have.
pub fn authorization_request(data: &[u8]) {
    let registered = ["https://c/cb?a=1", "http://127.0.0.1/cb"];
    let client = Client {
        id: "app".parse().expect("a client id"),
        name: "App".into(),
        client_type: ClientType::Public,
        redirect_uris: registered.map(|uri| uri.parse().expect("a redirect URI")).into(),
        scopes: "a b".parse().expect("scopes"),
        introspects: Introspects::Own,
        metadata: ClientMetadata::default(),
        registrar: Registrar::Operator,
        last_used_at: None,
        created_at: Timestamp::from_unix(0),
        disabled_at: None,
    };
    let Ok(parameters) = Parameters::parse(data) else { return };
    let _ = client_id(&parameters);
    let rules = AuthorizationRules::default();
    let (implications, known) = (Implications::default(), ResourceCatalogue::default());
    let (target, location) = match AuthorizationRequest::validate(&parameters, &client, &rules, &implications, &known) {
        Ok(request) => {
            assert!(request.scopes.iter().all(|scope| client.scopes.contains(scope)) && !request.scopes.is_empty());
            let challenge = request.challenge.expect("it is required");
            assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(challenge.as_str()).map(|digest| digest.len()), Ok(32));
            let location = request.target.with_code("code", "https://i");
            (request.target, location)
        }
        Err(Rejection::Redirect { target, error }) => {
            assert_ne!(error, OAuthError::UnsupportedGrantType);
            let location = target.with_error(rules.spellings.spell(&error), "https://i");
            (target, location)
        }
        Err(Rejection::Page(_)) => return,
    };
    assert!(client.redirect_uris.iter().any(|uri| uri.matches(target.redirect_uri())));
    let location = match location {
        AuthorizationResponse::Redirect(location) => location,
        AuthorizationResponse::FormPost { action, fields } => {
            assert_eq!(action, target.redirect_uri());
            let state = fields.iter().find(|(name, _)| *name == "state").map(|(_, value)| value.as_str());
            return assert_eq!(state, parameters.get("state"));
        }
        other => panic!("{other:?}"),
    };
    assert!(location.starts_with(target.redirect_uri()) && location.bytes().all(|byte| byte.is_ascii_graphic()));
    let query = Url::parse(&location).expect("a redirect URI and a query");
    let state = query.query_pairs().find(|(name, _)| name == "state").map(|(_, value)| value.into_owned());
    assert_eq!(state.as_deref(), parameters.get("state"));
}
