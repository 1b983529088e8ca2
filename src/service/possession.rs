//! Proof of possession: who sends a request has the key that its tokens are bound to (RFC 9449, RFC 8705 §3).
//!
//! A proof passes once. Which ones were seen is in the database, so it passes once whichever server it is shown to.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};

use super::Service;
use super::introspection::ActiveToken;
use crate::domain::certificate::ClientCertificate;
use crate::domain::challenge::{Challenge, Scheme};
use crate::domain::client::{AuthenticationMethod, Client};
use crate::domain::decision::{Decision, Requirement};
use crate::domain::dpop::{InvalidProof, Proof, ProvenRequest, Thumbprint};
use crate::domain::error::{Failure, InvalidRequest, OAuthError, Unavailable};
use crate::domain::grant::Confirmation;
use crate::domain::network::Network;
use crate::domain::parameters::Parameters;
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

/// Where the certificates of clients come from: TLS ends here, or in front.
#[derive(Clone, Debug)]
pub struct ClientCertificates {
    /// In which the proxies pass them on.
    pub header: Option<HeaderName>,
    pub proxies: Vec<Network>,
    /// How they authenticate clients, if they do.
    pub method: Option<AuthenticationMethod>,
}

impl ClientCertificates {
    /// The certificate of a request: that of its connection or, where that is a trusted proxy's, the one that it passed on, if it is exactly
    /// one.
    pub fn of(
        &self,
        headers: &HeaderMap,
        peer: IpAddr,
        connection: Option<&ClientCertificate>,
    ) -> Option<ClientCertificate> {
        match &self.header {
            Some(header) if self.proxies.iter().any(|proxy| proxy.contains(peer)) => {
                let mut values = headers.get_all(header).iter();
                let (first, second) = (values.next()?, values.next());
                if second.is_none() { ClientCertificate::from_header(first.as_bytes()) } else { None }
            }
            _ => connection.cloned(),
        }
    }
}

/// What a request to an endpoint of ours shows of its sender's keys.
pub struct ShownKeys {
    /// Where the request goes, below the issuer.
    pub path: String,
    /// Every value of the `DPoP` header.
    pub proofs: Vec<Vec<u8>>,
    pub certificate: Option<ClientCertificate>,
}

/// The key that tokens are to be bound to.
pub(super) enum BindingKey {
    Proven(Proof),
    Certificate(Thumbprint),
}

impl Service {
    /// The key that a token request shows, as its client has to (RFC 9449 §5.2, RFC 8705 §3.4).
    pub(super) fn binding_key(&self, client: &Client, shown: &ShownKeys) -> Result<Option<BindingKey>, OAuthError> {
        let proof = self.proof(shown)?;
        if proof.is_none() && client.metadata.dpop_bound_access_tokens {
            return Err(InvalidProof::Required.into());
        }
        if !client.metadata.tls_client_certificate_bound_access_tokens {
            return Ok(proof.map(BindingKey::Proven));
        }
        match (proof, &shown.certificate) {
            (None, Some(certificate)) => Ok(Some(BindingKey::Certificate(certificate.thumbprint()))),
            (None, None) => Err(InvalidRequest::CertificateMissing.into()),
            (Some(_), _) => Err(InvalidRequest::SeveralKeys.into()),
        }
    }

    /// The proof that comes with a request to an endpoint of ours, if one does (RFC 9449 §5). Whether it was seen before is for
    /// [`Self::claim_key`] to say.
    pub(super) fn proof(&self, shown: &ShownKeys) -> Result<Option<Proof>, InvalidProof> {
        let Some(proof) = Proof::of_headers(&shown.proofs)? else { return Ok(None) };
        let uri = format!("{}{}", self.settings.issuer, shown.path);
        let request = ProvenRequest { method: "POST", uri: &uri, token: None, nonces: self.nonce_keys.as_ref() };
        proof.check(&request, self.effects.now())?;
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
                let nonces = self.nonce_keys.as_ref();
                let request = ProvenRequest { method: shown.method, uri: shown.uri, token: Some(text), nonces };
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
        decision.challenge(requirement).map(|error| Challenge {
            error,
            scheme: if concerns_dpop(active, shown) { Scheme::DPoP } else { Scheme::Bearer },
            resource_metadata: self.settings.resources.metadata_url(requirement.audiences()),
        })
    }

    /// The nonce for the next proofs of whoever sends a request (RFC 9449 §8.2). `None` where proofs need none.
    pub fn dpop_nonce(&self) -> Option<String> {
        self.nonce_keys.as_ref().map(|keys| keys.nonce(self.effects.now()))
    }

    /// The same for the answer of a resource server (RFC 9449 §9), which needs it only for DPoP.
    pub fn resource_nonce(&self, active: Option<&ActiveToken>, shown: &Shown<'_>) -> Option<String> {
        self.nonce_keys.as_ref()?;
        concerns_dpop(active, shown).then(|| self.dpop_nonce()).flatten()
    }

    async fn is_first_use(&self, proof: &Proof) -> Result<bool, Unavailable> {
        self.store.remember_proof(proof.id(), proof.expires_at()).await
    }
}

/// Whether the request is one with a DPoP key, or should have been.
fn concerns_dpop(active: Option<&ActiveToken>, shown: &Shown<'_>) -> bool {
    let is_bound = |active: &ActiveToken| matches!(active.variant().confirmation(), Some(Confirmation::Jkt(_)));
    !shown.proofs.is_empty() || active.is_some_and(is_bound)
}

/// The key that a code is to be bound to: the one that is proven, or the one that is only named (RFC 9449 §10).
pub(super) fn named_key(form: &Parameters, proof: Option<&Proof>) -> Result<Option<Thumbprint>, OAuthError> {
    let named: Option<Thumbprint> = form.get("dpop_jkt").map(str::parse).transpose().map_err(InvalidRequest::from)?;
    match (named, proof) {
        (Some(named), Some(proof)) if named != proof.key => Err(InvalidProof::ThumbprintMismatch.into()),
        (None, Some(proof)) => Ok(Some(proof.key.clone())),
        (named, _) => Ok(named),
    }
}
