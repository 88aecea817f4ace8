use crate::exchanger::ExchangeError;

/// The codes that are about the token; the others mean the same in every call.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html#API_AssumeRoleWithWebIdentity_Errors>
pub(super) fn of_code(code: &str) -> Option<ExchangeError> {
    Some(match code {
        "ExpiredToken" => ExchangeError::TokenExpired,
        "IDPCommunicationError" => ExchangeError::IssuerUnreachable,
        "IDPRejectedClaim" => ExchangeError::TokenRejected,
        "InvalidIdentityToken" => ExchangeError::TokenInvalid,
        _ => return None,
    })
}
