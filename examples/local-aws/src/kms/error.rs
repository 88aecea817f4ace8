//! The refusals of KMS: AWS's own codes with AWS's own HTTP status.

use http::StatusCode;

use crate::caller::AuthError;
use crate::issuer::KeyFailure;
use crate::sigv4::SignatureError;

/// A refusal; `Display` is the message that the client reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}", message = self.message())]
pub(crate) enum KmsError {
    /// Policies do not allow the call.
    AccessDenied(String),
    /// The key is disabled.
    Disabled(String),
    /// The session of the caller is over.
    ExpiredToken(String),
    /// A signature with parts missing.
    IncompleteSignature(String),
    /// The server's own fault.
    Internal(String),
    /// The key is not for this.
    InvalidKeyUsage(String),
    /// The signature is wrong, stale or made for something else.
    InvalidSignature(String),
    /// The key is being deleted.
    InvalidState(String),
    /// The request is not signed.
    MissingAuthenticationToken(String),
    /// There is no such key.
    NotFound(String),
    /// A member of the wrong form.
    Serialization(String),
    /// There is no such operation in this version.
    UnknownOperation(String),
    /// The access key is unknown, or the session token is not the one that belongs to it.
    UnrecognizedClient(String),
    /// The key cannot do this at all.
    UnsupportedOperation(String),
    /// A parameter breaks its constraint.
    Validation(String),
}

impl KmsError {
    /// The code in the answer.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::AccessDenied(_) => "AccessDeniedException",
            Self::Disabled(_) => "DisabledException",
            Self::ExpiredToken(_) => "ExpiredTokenException",
            Self::IncompleteSignature(_) => "IncompleteSignatureException",
            Self::Internal(_) => "KMSInternalException",
            Self::InvalidKeyUsage(_) => "InvalidKeyUsageException",
            Self::InvalidSignature(_) => "InvalidSignatureException",
            Self::InvalidState(_) => "KMSInvalidStateException",
            Self::MissingAuthenticationToken(_) => "MissingAuthenticationTokenException",
            Self::NotFound(_) => "NotFoundException",
            Self::Serialization(_) => "SerializationException",
            Self::UnknownOperation(_) => "UnknownOperationException",
            Self::UnrecognizedClient(_) => "UnrecognizedClientException",
            Self::UnsupportedOperation(_) => "UnsupportedOperationException",
            Self::Validation(_) => "ValidationException",
        }
    }

    /// The HTTP status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// A parameter that breaks its constraint, in AWS's words.
    pub(crate) fn constraint(parameter: &str, constraint: &str) -> Self {
        Self::Validation(format!(
            "1 validation error detected: Value at '{parameter}' failed to satisfy constraint: Member must satisfy \
             {constraint}"
        ))
    }

    fn message(&self) -> &str {
        match self {
            Self::AccessDenied(text)
            | Self::Disabled(text)
            | Self::ExpiredToken(text)
            | Self::IncompleteSignature(text)
            | Self::Internal(text)
            | Self::InvalidKeyUsage(text)
            | Self::InvalidSignature(text)
            | Self::InvalidState(text)
            | Self::MissingAuthenticationToken(text)
            | Self::NotFound(text)
            | Self::Serialization(text)
            | Self::UnknownOperation(text)
            | Self::UnrecognizedClient(text)
            | Self::UnsupportedOperation(text)
            | Self::Validation(text) => text,
        }
    }
}

impl From<AuthError> for KmsError {
    fn from(error: AuthError) -> Self {
        let message = error.to_string();
        match error {
            AuthError::Signature(SignatureError::Missing) => Self::MissingAuthenticationToken(message),
            AuthError::Signature(SignatureError::Incomplete(_)) => Self::IncompleteSignature(message),
            AuthError::Signature(_) => Self::InvalidSignature(message),
            AuthError::Unknown => Self::UnrecognizedClient(message),
            AuthError::Expired => Self::ExpiredToken(message),
        }
    }
}

impl From<KeyFailure> for KmsError {
    fn from(error: KeyFailure) -> Self {
        Self::Internal(error.to_string())
    }
}
