//! The refusals of STS: AWS's own codes with AWS's own HTTP status.

use http::StatusCode;

use crate::caller::AuthError;
use crate::sigv4::SignatureError;

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:ident;)+) => {
        /// A refusal; `Display` is the message that the client reads.
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        pub(crate) enum StsError {
            $($(#[$doc])* #[error("{0}")] $variant(String),)+
        }

        impl StsError {
            /// The code in the answer.
            pub(crate) fn code(&self) -> &'static str {
                match self { $(Self::$variant(_) => $code,)+ }
            }

            /// The HTTP status of the answer.
            pub(crate) fn status(&self) -> StatusCode {
                match self { $(Self::$variant(_) => StatusCode::$status,)+ }
            }
        }
    };
}

refusals! {
    /// Policies do not allow the call.
    AccessDenied = "AccessDenied", FORBIDDEN;
    /// The session of the caller is over.
    ExpiredToken = "ExpiredToken", FORBIDDEN;
    /// The presented JWT is no longer, or not yet, valid.
    ExpiredWebIdentity = "ExpiredTokenException", BAD_REQUEST;
    /// The issuer of the presented JWT does not answer.
    IdpCommunication = "IDPCommunicationError", BAD_REQUEST;
    /// A signature with parts missing.
    IncompleteSignature = "IncompleteSignature", BAD_REQUEST;
    /// The server's own fault, and AWS's answer to a token whose `sub` is null.
    Internal = "InternalFailure", INTERNAL_SERVER_ERROR;
    /// There is no such action in this version.
    InvalidAction = "InvalidAction", BAD_REQUEST;
    /// The access key is unknown, or the session token is not the one that belongs to it.
    InvalidClientTokenId = "InvalidClientTokenId", FORBIDDEN;
    /// The presented JWT cannot be accepted.
    InvalidIdentityToken = "InvalidIdentityToken", BAD_REQUEST;
    /// A parameter contradicts the session, such as a transitive tag that is to be overridden.
    InvalidParameterValue = "InvalidParameterValue", BAD_REQUEST;
    /// The claims of the requested token are too many.
    JwtPayloadSizeExceeded = "JWTPayloadSizeExceededException", BAD_REQUEST;
    /// The session policy is not a policy.
    MalformedPolicyDocument = "MalformedPolicyDocument", BAD_REQUEST;
    /// A parameter occurs twice or the body is no form.
    MalformedQueryString = "MalformedQueryString", NOT_FOUND;
    /// The request is not signed.
    MissingAuthenticationToken = "MissingAuthenticationToken", FORBIDDEN;
    /// A required parameter is missing.
    MissingParameter = "MissingParameter", BAD_REQUEST;
    /// Something that AWS has and this server does not.
    NotImplemented = "NotImplemented", NOT_IMPLEMENTED;
    /// The account has outbound federation switched off.
    OutboundFederationDisabled = "OutboundWebIdentityFederationDisabledException", FORBIDDEN;
    /// Session policy and tags are too much.
    PackedPolicyTooLarge = "PackedPolicyTooLarge", BAD_REQUEST;
    /// The body is larger than the server reads.
    RequestEntityTooLarge = "RequestEntityTooLarge", PAYLOAD_TOO_LARGE;
    /// The token would outlive the session that asks for it.
    SessionDurationEscalation = "SessionDurationEscalationException", FORBIDDEN;
    /// The signature is wrong, stale or made for something else.
    SignatureDoesNotMatch = "SignatureDoesNotMatch", FORBIDDEN;
    /// A parameter breaks its constraint.
    Validation = "ValidationError", BAD_REQUEST;
}

impl StsError {
    /// A parameter that breaks its constraint, in AWS's words.
    pub(crate) fn constraint(parameter: &str, constraint: &str) -> Self {
        Self::Validation(format!(
            "1 validation error detected: Value at '{parameter}' failed to satisfy constraint: {constraint}"
        ))
    }

    /// The refusal of a principal that no policy allows.
    pub(crate) fn denied(principal: &str, action: &str, resource: &str) -> Self {
        Self::AccessDenied(format!(
            "User: {principal} is not authorized to perform: {action} on resource: {resource}"
        ))
    }
}

impl From<AuthError> for StsError {
    fn from(error: AuthError) -> Self {
        let message = error.to_string();
        match error {
            AuthError::Signature(SignatureError::Missing) => Self::MissingAuthenticationToken(message),
            AuthError::Signature(SignatureError::Incomplete(_)) => Self::IncompleteSignature(message),
            AuthError::Signature(_) => Self::SignatureDoesNotMatch(message),
            AuthError::Unknown => Self::InvalidClientTokenId(message),
            AuthError::Expired => Self::ExpiredToken(message),
        }
    }
}
