//! What can go wrong in front of a person. The texts, `problem_…` in `languages/*.toml`, say what the person can do about it.

use crate::domain::authorization::Fatal;

/// What an error page tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Problem {
    ForeignForm,
    Unavailable,
    Unreadable,
    NothingToSignInTo,
    Forged,
    SignedOut,
    Expired,
    Used,
    Stale,
    ClientMissing,
    ClientUnknown,
    ClientDocument,
    RedirectUriMissing,
    RedirectUriUnregistered,
    RequestExpired,
    Malformed,
    MalformedLogout,
    NotFound,
    MethodNotAllowed,
    AddressTooLong,
    NotAdmitted,
    NoSignInTime,
    Denied,
}

impl Problem {
    #[cfg(test)]
    pub(super) const ALL: [Self; 23] = [
        Self::ForeignForm,
        Self::Unavailable,
        Self::Unreadable,
        Self::NothingToSignInTo,
        Self::Forged,
        Self::SignedOut,
        Self::Expired,
        Self::Used,
        Self::Stale,
        Self::ClientMissing,
        Self::ClientUnknown,
        Self::ClientDocument,
        Self::RedirectUriMissing,
        Self::RedirectUriUnregistered,
        Self::RequestExpired,
        Self::Malformed,
        Self::MalformedLogout,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::AddressTooLong,
        Self::NotAdmitted,
        Self::NoSignInTime,
        Self::Denied,
    ];

    /// The middle of its keys: `problem_KEY_title`, `problem_KEY_text`.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::ForeignForm => "foreign_form",
            Self::Unavailable => "unavailable",
            Self::Unreadable => "unreadable",
            Self::NothingToSignInTo => "nothing_to_sign_in_to",
            Self::Forged => "forged",
            Self::SignedOut => "signed_out",
            Self::Expired => "expired",
            Self::Used => "used",
            Self::Stale => "stale",
            Self::ClientMissing => "client_missing",
            Self::ClientUnknown => "client_unknown",
            Self::ClientDocument => "client_document",
            Self::RedirectUriMissing => "redirect_uri_missing",
            Self::RedirectUriUnregistered => "redirect_uri_unregistered",
            Self::RequestExpired => "request_expired",
            Self::Malformed => "malformed",
            Self::MalformedLogout => "malformed_logout",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::AddressTooLong => "address_too_long",
            Self::NotAdmitted => "not_admitted",
            Self::NoSignInTime => "no_sign_in_time",
            Self::Denied => "denied",
        }
    }
}

impl From<Fatal> for Problem {
    fn from(fatal: Fatal) -> Self {
        match fatal {
            Fatal::ClientMissing => Self::ClientMissing,
            Fatal::ClientUnknown => Self::ClientUnknown,
            Fatal::ClientDocument => Self::ClientDocument,
            Fatal::RedirectUriMissing => Self::RedirectUriMissing,
            Fatal::RedirectUriMalformed | Fatal::RedirectUriUnregistered => Self::RedirectUriUnregistered,
            Fatal::RequestUri => Self::RequestExpired,
            Fatal::Malformed | Fatal::Repeated(_) => Self::Malformed,
            Fatal::TooLong => Self::AddressTooLong,
        }
    }
}
