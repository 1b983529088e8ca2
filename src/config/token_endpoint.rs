//! The section `[token_endpoint]`.

use http::HeaderValue;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::domain::client::AuthenticationMethod;
use crate::domain::credentials::RepeatedCredentials;
use crate::service::token_endpoint::{ClientRequests, ContentType};

/// Which requests the token, revocation and introspection endpoints take.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenEndpoint {
    /// Of which content types a body may be: `form`, `json`, an object of texts, and `multipart`, without files. OAuth has `form` alone.
    pub content_types: Vec<ContentType>,
    /// How clients may authenticate, wherever they do; `none`: public clients are let in.
    pub client_authentication: Vec<AuthenticationMethod>,
    /// A secret in the header and in the body: `refuse`, or `if_equal`, as one.
    pub repeated_credentials: RepeatedCredentials,
    /// Refuse requests with a query.
    pub refuse_query: bool,
    /// The origins whose pages may call these endpoints from a browser, or `*`. None of these calls has cookies.
    pub cors_origins: Vec<String>,
}

impl Default for TokenEndpoint {
    fn default() -> Self {
        use AuthenticationMethod::{
            ClientSecretBasic, ClientSecretPost, None, PrivateKeyJwt, SelfSignedTlsClientAuth, TlsClientAuth,
        };
        Self {
            content_types: vec![ContentType::Form],
            client_authentication: vec![
                ClientSecretBasic,
                ClientSecretPost,
                PrivateKeyJwt,
                TlsClientAuth,
                SelfSignedTlsClientAuth,
                None,
            ],
            repeated_credentials: RepeatedCredentials::Refuse,
            refuse_query: false,
            cors_origins: Vec::new(),
        }
    }
}

impl TokenEndpoint {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, why: &str| Err(ConfigError::new(&format!("token_endpoint.{key}"), why));
        if self.content_types.is_empty() {
            return wrong("content_types", "these are some of form, json and multipart");
        }
        if self.client_authentication.is_empty() {
            return wrong("client_authentication", "without any, no client gets a token");
        }
        let is_origin = |text: &String| {
            text == "*" || url::Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == *text)
        };
        if let Some(other) = self.cors_origins.iter().find(|text| !is_origin(text)) {
            return wrong(
                "cors_origins",
                &format!("{other:?} is neither an origin, such as https://app.example, nor *"),
            );
        }
        Ok(())
    }

    pub(super) fn rules(&self) -> ClientRequests {
        ClientRequests {
            content_types: self.content_types.clone(),
            authentication: self.client_authentication.clone(),
            repeated: self.repeated_credentials,
            refuse_query: self.refuse_query,
            origins: self.cors_origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect(),
        }
    }
}
