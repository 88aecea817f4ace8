use crate::exchanger::ExchangeError;

/// The codes that are about what the call is signed with; the others mean the same in every call.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html#API_AssumeRole_Errors> and
/// <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>
pub(super) fn of_code(code: &str) -> Option<ExchangeError> {
    Some(match code {
        "ExpiredToken" => ExchangeError::BaseExpired,
        "IncompleteSignature"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "MissingAuthenticationToken"
        | "RequestExpired"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClient" => ExchangeError::BaseInvalid,
        _ => return None,
    })
}
