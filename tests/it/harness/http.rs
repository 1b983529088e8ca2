//! Plain HTTP requests: no redirects followed, nothing interpreted.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::{Registered, Tokens};

/// A client of one server.
#[derive(Clone)]
pub struct Http {
    base: String,
    /// What `Host` says, where it is not the address.
    host: Option<String>,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Http {
    pub fn new(base: &str) -> Self {
        Self { base: base.into(), host: None, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// The scheme and the address.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Asking for this host.
    pub fn for_host(self, host: &str) -> Self {
        Self { host: Some(host.into()), ..self }
    }

    /// From another address than 127.0.0.1: all of 127.0.0.0/8 is this machine's.
    pub fn at_address(&self, address: [u8; 4]) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_local_address(Some(address.into()));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Self { client, ..self.clone() }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], "").await
    }

    pub async fn post(&self, path: &str, parameters: &[(&str, &str)]) -> Reply {
        self.post_text(path, &[], &form(parameters)).await
    }

    /// With the client's credentials: Basic, or its id in the form where it is public.
    pub async fn post_as(&self, client: &Registered, path: &str, parameters: &[(&str, &str)]) -> Reply {
        if client.secret.is_empty() {
            return self.post(path, &[parameters, &[("client_id", &client.id)]].concat()).await;
        }
        self.post_text(path, &[(AUTHORIZATION.as_str(), &basic(&client.id, &client.secret))], &form(parameters)).await
    }

    /// A form as it is written.
    pub async fn post_text(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let form = (CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded");
        self.send(Method::POST, path, &[headers, &[form]].concat(), body).await
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        let host = self.host.iter().map(|host| ("host", host.as_str()));
        for (name, value) in
            host.filter(|_| !headers.iter().any(|(name, _)| *name == "host")).chain(headers.iter().copied())
        {
            request = request.header(name, value);
        }
        let response = self.client.request(request.body(Full::from(body.to_owned())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
        Reply { status: parts.status, headers: parts.headers, body }
    }
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The `error` member of an error answer; empty for others.
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    pub fn tokens(&self) -> Tokens {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        let json = self.json();
        let member = |name: &str| json[name].as_str().unwrap_or_else(|| panic!("no {name}: {json}")).to_owned();
        Tokens { access: member("access_token"), refresh: member("refresh_token"), scope: member("scope") }
    }

    /// The access token of a token response without a refresh token.
    pub fn access_token(&self) -> String {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        let json = self.json();
        assert_eq!(json.get("refresh_token"), None);
        json["access_token"].as_str().unwrap_or_else(|| panic!("no access_token: {json}")).to_owned()
    }

    /// Asserts an error answer of RFC 6749 §5.2, in its form.
    #[track_caller]
    pub fn assert_error(&self, status: u16, error: &str) {
        assert_eq!((self.status.as_u16(), self.error().as_str()), (status, error), "{}", self.body);
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
    }
}

/// `application/x-www-form-urlencoded`.
pub fn form(parameters: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// An `Authorization` header (RFC 6749 §2.3.1).
pub fn basic(id: &str, secret: &str) -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", encode(id), encode(secret))))
}
