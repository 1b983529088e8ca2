//! Rows as the database has them, and the domain values that they are. A row that is no valid value is an error of ours,
//! never an answer.

use std::fmt::Display;
use std::str::FromStr;

use sqlx::FromRow;

use crate::domain::client::{
    AuthenticationMethod, Client, ClientMetadata, ClientType, Introspects, PreviousSecret, Registrar,
};
use crate::domain::grant::{Grant, GrantFacts, GrantState, Rotation, SessionId, SubjectId};
use crate::domain::openid::Authentication;
use crate::domain::secret::SecretHash;
use crate::domain::timestamp::Timestamp;
use crate::domain::token::GrantId;

/// Parses a column that this program wrote.
pub(super) fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<T, sqlx::Error> {
    text.parse().map_err(|error: T::Err| corrupt(error.to_string()))
}

pub(super) fn number<T: TryFrom<i64>>(value: i64) -> Result<T, sqlx::Error> {
    T::try_from(value).map_err(|_| corrupt(format!("{value} is out of range")))
}

pub(super) fn corrupt(what: String) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}

pub(super) fn bytes<const N: usize>(bytes: &[u8]) -> Result<[u8; N], sqlx::Error> {
    bytes.try_into().map_err(|_| corrupt(format!("{} bytes where there should be {N}", bytes.len())))
}

/// Values that are kept one a line in one column; none of them can hold a line feed.
pub(super) fn join_lines(values: impl Iterator<Item = impl AsRef<str>>) -> String {
    values.map(|value| value.as_ref().to_owned()).collect::<Vec<_>>().join("\n")
}

pub(super) fn lines<T: FromStr<Err: Display>>(text: &str) -> Result<Vec<T>, sqlx::Error> {
    text.split('\n').map(parse).collect()
}

/// A column that is empty where there is no value.
pub(super) fn optional<T: FromStr<Err: Display>>(text: &str) -> Result<Option<T>, sqlx::Error> {
    Some(text).filter(|text| !text.is_empty()).map(parse).transpose()
}

#[derive(FromRow)]
pub(super) struct ClientRow {
    id: String,
    name: String,
    secret_hash: Option<Vec<u8>>,
    previous_secret_hash: Option<Vec<u8>>,
    previous_secret_until: Option<i64>,
    redirect_uris: String,
    scopes: String,
    introspects: String,
    metadata: String,
    created_at: i64,
    disabled_at: Option<i64>,
    registration_hash: Option<Vec<u8>>,
    unused_until: Option<i64>,
    document_read_at: Option<i64>,
    document_fresh_until: Option<i64>,
    owner_subject: Option<String>,
    verified_at: Option<i64>,
    last_used_at: Option<i64>,
}

impl TryFrom<ClientRow> for Client {
    type Error = sqlx::Error;

    fn try_from(row: ClientRow) -> Result<Self, sqlx::Error> {
        let metadata: ClientMetadata =
            serde_json::from_str(&row.metadata).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Self {
            id: parse(&row.id)?,
            name: row.name,
            client_type: match (row.secret_hash, metadata.token_endpoint_auth_method) {
                (Some(hash), _) => ClientType::Confidential {
                    secret: SecretHash::from_bytes(bytes(&hash)?),
                    previous: match (row.previous_secret_hash, row.previous_secret_until) {
                        (Some(hash), Some(until)) => Some(PreviousSecret {
                            secret: SecretHash::from_bytes(bytes(&hash)?),
                            until: Timestamp::from_unix(until),
                        }),
                        _ => None,
                    },
                },
                (None, Some(AuthenticationMethod::PrivateKeyJwt)) => ClientType::Signing,
                (None, Some(method)) if method.is_by_certificate() => ClientType::Certified,
                (None, _) => ClientType::Public,
            },
            redirect_uris: match row.redirect_uris.as_str() {
                "" => Vec::new(),
                text => lines(text)?,
            },
            scopes: parse(&row.scopes)?,
            introspects: match row.introspects.as_str() {
                "own" => Introspects::Own,
                "any" => Introspects::Any,
                other => return Err(corrupt(format!("{other} is not what a client introspects"))),
            },
            metadata,
            created_at: Timestamp::from_unix(row.created_at),
            disabled_at: row.disabled_at.map(Timestamp::from_unix),
            registrar: match (row.registration_hash, row.document_read_at, row.document_fresh_until) {
                (Some(hash), ..) => Registrar::Itself {
                    access_token: SecretHash::from_bytes(bytes(&hash)?),
                    unused_until: row.unused_until.map(Timestamp::from_unix),
                },
                (None, Some(read_at), Some(fresh_until)) => Registrar::Document {
                    read_at: Timestamp::from_unix(read_at),
                    fresh_until: Timestamp::from_unix(fresh_until),
                },
                (None, ..) => match row.owner_subject {
                    Some(owner) => Registrar::User {
                        owner: SubjectId::new(owner),
                        verified_at: row.verified_at.map(Timestamp::from_unix),
                    },
                    None => Registrar::Operator,
                },
            },
            last_used_at: row.last_used_at.map(Timestamp::from_unix),
        })
    }
}

#[derive(FromRow)]
pub(super) struct GrantRow {
    pub(super) id: Vec<u8>,
    client_id: String,
    subject_id: String,
    username: String,
    session_id: String,
    variants: String,
    state: String,
    generation: i64,
    created_at: i64,
    refresh_serial: i64,
    refresh_variant: i64,
    rotated_at: Option<i64>,
    expires_at: Option<i64>,
    access_lifetime: i64,
    idle_until: Option<i64>,
    authentication: String,
}

impl TryFrom<GrantRow> for Grant {
    type Error = sqlx::Error;

    fn try_from(row: GrantRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: GrantId::from_bytes(bytes(&row.id)?),
            client: parse(&row.client_id)?,
            subject: SubjectId::new(row.subject_id),
            username: row.username,
            session: optional::<SessionId>(&row.session_id)?,
            variants: parse(&row.variants)?,
            state: match (row.state.as_str(), row.rotated_at, row.expires_at) {
                ("pending", ..) => GrantState::Pending,
                ("revoked", ..) => GrantState::Revoked,
                ("active", Some(rotated_at), Some(expires_at)) => GrantState::Active(Rotation {
                    serial: number(row.refresh_serial)?,
                    rotated_at: Timestamp::from_unix(rotated_at),
                    variant: number(row.refresh_variant)?,
                    expires_at: Timestamp::from_unix(expires_at),
                    access_lifetime: number(row.access_lifetime)?,
                    idle_until: Timestamp::from_unix(row.idle_until.unwrap_or(expires_at)),
                }),
                (state, ..) => return Err(corrupt(format!("a grant in state {state} lacks its times"))),
            },
            generation: number(row.generation)?,
            created_at: Timestamp::from_unix(row.created_at),
            authentication: authentication(&row.authentication)?,
        })
    }
}

fn authentication(json: &str) -> Result<Option<Authentication>, sqlx::Error> {
    match json {
        "" => Ok(None),
        json => serde_json::from_str(json).map(Some).map_err(|error| corrupt(error.to_string())),
    }
}

#[derive(FromRow)]
pub(super) struct FactsRow {
    as_of: i64,
    client_id: String,
    subject_id: String,
    username: String,
    session_id: String,
    authentication: String,
    variants: String,
    /// 1 when the grant is active and neither its client nor its subject was revoked since it was created.
    alive: i64,
    generation: i64,
    created_seq: i64,
}

impl TryFrom<FactsRow> for GrantFacts {
    type Error = sqlx::Error;

    fn try_from(row: FactsRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            client: parse(&row.client_id)?,
            subject: SubjectId::new(row.subject_id),
            username: row.username.into(),
            session: optional::<SessionId>(&row.session_id)?,
            authentication: authentication(&row.authentication)?.as_ref().and_then(Authentication::of_user),
            variants: parse(&row.variants)?,
            generation: if row.alive == 1 { number(row.generation)? } else { Self::REVOKED },
            created_seq: number(row.created_seq)?,
            as_of: number(row.as_of)?,
        })
    }
}
