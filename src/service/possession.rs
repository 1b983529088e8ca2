//! Proof of possession: who sends a request has the key that its tokens are bound to (RFC 9449, RFC 8705 §3).
//!
//! A proof passes once. Which ones were seen is in the database, so it passes once whichever server it is shown to.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};

use super::Service;
use super::introspection::ActiveToken;
use crate::domain::certificate;
use crate::domain::challenge::{Challenge, Scheme};
use crate::domain::client::Client;
use crate::domain::decision::{Decision, Requirement};
use crate::domain::dpop::{InvalidProof, Proof, ProvenRequest, Thumbprint};
use crate::domain::error::{Failure, InvalidRequest, OAuthError, Unavailable};
use crate::domain::grant::Confirmation;
use crate::domain::network::Network;
use crate::domain::timestamp::Timestamp;

/// What a request to a resource shows of the keys of who sent it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown<'a> {
    /// Every value of the `DPoP` header.
    pub proofs: &'a [String],
    pub method: &'a str,
    pub uri: &'a str,
    /// The `x5t#S256` of the client certificate; empty without one.
    pub certificate: &'a str,
}

/// Where the certificates of clients come from: TLS ends in front.
#[derive(Clone, Debug)]
pub struct ClientCertificates {
    pub header: HeaderName,
    pub proxies: Vec<Network>,
}

impl ClientCertificates {
    /// The thumbprint of the certificate of a request. `None` unless a trusted proxy passed on exactly one.
    pub fn of(&self, headers: &HeaderMap, peer: IpAddr) -> Option<Thumbprint> {
        let mut values = headers.get_all(&self.header).iter();
        let (first, second) = (values.next()?, values.next());
        let is_trusted = second.is_none() && self.proxies.iter().any(|proxy| proxy.contains(peer));
        is_trusted.then(|| certificate::thumbprint(first.as_bytes())).flatten()
    }
}

/// What a request to an endpoint of ours shows of its sender's keys.
pub struct ShownKeys {
    /// Every value of the `DPoP` header.
    pub proofs: Vec<Vec<u8>>,
    /// The thumbprint of the client certificate.
    pub certificate: Option<Thumbprint>,
}

impl ShownKeys {
    /// The same as a request to a resource would show it. A token that comes as a bearer token comes without proofs (RFC 9449 §7.2), and
    /// one that comes by the scheme of DPoP with a proof, if only an empty one, which is none.
    pub fn proofs_by(&self, scheme: Scheme) -> Vec<String> {
        match scheme {
            Scheme::Bearer => Vec::new(),
            Scheme::DPoP if self.proofs.is_empty() => vec![String::new()],
            Scheme::DPoP => self.proofs.iter().map(|proof| String::from_utf8_lossy(proof).into_owned()).collect(),
        }
    }
}

/// The key that tokens are to be bound to.
pub(super) enum BindingKey {
    Proven(Proof),
    Certificate(Thumbprint),
}

impl Service {
    /// The key that a token request shows, as its client has to (RFC 9449 §5.2, RFC 8705 §3.4).
    pub(super) fn binding_key(&self, client: &Client, shown: &ShownKeys) -> Result<Option<BindingKey>, OAuthError> {
        let proof = self.proof_at("/token", &shown.proofs)?;
        if proof.is_none() && client.metadata.dpop_bound_access_tokens {
            return Err(InvalidProof::Required.into());
        }
        if !client.metadata.tls_client_certificate_bound_access_tokens {
            return Ok(proof.map(BindingKey::Proven));
        }
        match (proof, &shown.certificate) {
            (None, Some(certificate)) => Ok(Some(BindingKey::Certificate(certificate.clone()))),
            (None, None) => Err(InvalidRequest::CertificateMissing.into()),
            (Some(_), _) => Err(InvalidRequest::SeveralKeys.into()),
        }
    }

    /// The proof that comes with a request to an endpoint of ours, if one does (RFC 9449 §5). Whether it was seen before is for
    /// [`Self::claim_key`] to say.
    pub(super) fn proof_at(&self, path: &str, proofs: &[Vec<u8>]) -> Result<Option<Proof>, InvalidProof> {
        let Some(proof) = Proof::of_headers(proofs)? else { return Ok(None) };
        let uri = format!("{}{path}", self.settings.issuer);
        proof.check(&ProvenRequest { method: "POST", uri: &uri, token: None }, self.effects.now())?;
        Ok(Some(proof))
    }

    /// The key, with each proof once. This writes, so it comes after whatever the caller can do without: anybody can make proofs.
    pub(super) async fn claim_key(&self, key: Option<&BindingKey>) -> Result<Option<Confirmation>, Failure> {
        match key {
            None => Ok(None),
            Some(BindingKey::Certificate(thumbprint)) => Ok(Some(Confirmation::X5tS256(thumbprint.as_str().into()))),
            Some(BindingKey::Proven(proof)) => {
                self.claim_proof(proof).await?;
                Ok(Some(Confirmation::Jkt(proof.key.as_str().into())))
            }
        }
    }

    pub(super) async fn claim_proof(&self, proof: &Proof) -> Result<(), Failure> {
        if self.is_first_use(proof).await? { Ok(()) } else { Err(InvalidProof::Replayed.into()) }
    }

    /// Why a request may not use a token, as far as keys go (RFC 9449 §7.1, RFC 8705 §3). `None` when it may.
    pub(super) async fn missing_possession(
        &self,
        text: &str,
        active: &ActiveToken,
        shown: &Shown<'_>,
        now: Timestamp,
    ) -> Result<Option<InvalidProof>, Unavailable> {
        match (active.variant().confirmation(), shown.proofs) {
            (None, []) => Ok(None),
            (Some(Confirmation::X5tS256(thumbprint)), []) => Ok(match shown.certificate {
                "" => Some(InvalidProof::Missing),
                shown if shown == &**thumbprint => None,
                _ => Some(InvalidProof::OtherKey),
            }),
            // Who shows a proof takes the token for a bound one. It must not pass as another kind.
            (None | Some(Confirmation::X5tS256(_)), [_, ..]) => Ok(Some(InvalidProof::Unbound)),
            (Some(Confirmation::Jkt(_)), []) => Ok(Some(InvalidProof::Missing)),
            (Some(Confirmation::Jkt(thumbprint)), proofs) => {
                let request = ProvenRequest { method: shown.method, uri: shown.uri, token: Some(text) };
                let checked = Proof::of_headers(proofs).and_then(|proof| {
                    let proof = proof.ok_or(InvalidProof::Missing)?;
                    proof.check(&request, now)?;
                    if proof.key.as_str() == &**thumbprint { Ok(proof) } else { Err(InvalidProof::OtherKey) }
                });
                match checked {
                    Ok(proof) if Box::pin(self.is_first_use(&proof)).await? => Ok(None),
                    Ok(_) => Ok(Some(InvalidProof::Replayed)),
                    Err(cause) => Ok(Some(cause)),
                }
            }
        }
    }

    /// What a resource server answers when a token does not do.
    pub fn challenge<'r>(
        &self,
        decision: &Decision<'_>,
        requirement: &Requirement<'r>,
        active: Option<&ActiveToken>,
        shown: &Shown<'_>,
    ) -> Option<Challenge<'r>> {
        let bound = active.is_some_and(|active| matches!(active.variant().confirmation(), Some(Confirmation::Jkt(_))));
        decision.challenge(requirement).map(|error| Challenge {
            error,
            scheme: if bound || !shown.proofs.is_empty() { Scheme::DPoP } else { Scheme::Bearer },
            resource_metadata: self.settings.resources.metadata_url(requirement.audiences()),
        })
    }

    async fn is_first_use(&self, proof: &Proof) -> Result<bool, Unavailable> {
        self.store.remember_proof(proof.id(), proof.expires_at()).await
    }
}
