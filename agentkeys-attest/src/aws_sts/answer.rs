use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{AttestError, HttpError, HttpResponse};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::aws::{AccountId, ArnError, AssumedRoleArn, RoleUniqueId};

/// Whom STS names: a session of a role.
pub(super) struct Caller {
    pub(super) arn: AssumedRoleArn,
    pub(super) unique_id: RoleUniqueId,
}

/// Reads what STS answered.
///
/// Anything but the one documented answer is no answer: it is neither a yes nor a refusal of the evidence.
/// A redirect is not followed (L9), a body of another form is not searched for an ARN (W5, L1).
pub(super) fn read(answer: &HttpResponse) -> Result<Caller, AttestError> {
    let told = || text(answer).and_then(tokens);
    match answer.status {
        200 => caller(&told().map_err(|what| unusable(Unusable::Form(what)))?),
        400 | 401 | 403 => {
            // the code decides between two refusals only
            let tokens = told().unwrap_or_default();
            let code = error_code(&tokens);
            if code.is_some_and(|code| THROTTLED.contains(&code)) {
                return Err(busy(answer, Unusable::Throttled));
            }
            let known = REFUSALS.iter().find(|(known, _)| code == Some(*known));
            Err(AttestError::Rejected(known.map_or("STS refuses the request", |(_, what)| *what)))
        }
        429 => Err(busy(answer, Unusable::Throttled)),
        status => Err(busy(answer, Unusable::Status(status))),
    }
}

/// What a failure on the way to STS is to whoever presented evidence.
pub(super) fn unreachable(error: HttpError) -> AttestError {
    let retry_after = error.retry_after().unwrap_or(RETRY_AFTER);
    AttestError::Unavailable { source: Arc::new(error), retry_after }
}

/// Why there is no answer of STS. Nothing of what was answered is in it.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("the answer of STS is not of its documented form: {0}")]
    Form(&'static str),
    #[error("STS answers with status {0}")]
    Status(u16),
    #[error("STS asks to slow down")]
    Throttled,
}

fn unusable(source: Unusable) -> AttestError {
    AttestError::Unavailable { source: Arc::new(source), retry_after: RETRY_AFTER }
}

fn busy(answer: &HttpResponse, source: Unusable) -> AttestError {
    let asked = answer.header("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let retry_after = asked.unwrap_or(RETRY_AFTER).clamp(RETRY_AFTER, MAX_RETRY_AFTER);
    AttestError::Unavailable { source: Arc::new(source), retry_after }
}

fn caller(tokens: &[Token]) -> Result<Caller, AttestError> {
    use Token::{Close, Open, Text};
    let form = |what| unusable(Unusable::Form(what));
    let [
        Open(response),
        Open(result),
        Open(first),
        Text(first_text),
        Close,
        Open(second),
        Text(second_text),
        Close,
        Open(third),
        Text(third_text),
        Close,
        Close,
        rest @ ..,
        Close,
    ] = tokens
    else {
        return Err(form("its elements"));
    };
    if response != "GetCallerIdentityResponse" || result != "GetCallerIdentityResult" {
        return Err(form("its elements"));
    }
    match rest {
        [] => {}
        [Open(metadata), Open(id), Text(_), Close, Close]
            if metadata == "ResponseMetadata" && id == "RequestId" => {}
        _ => return Err(form("its elements")),
    }
    let fields = [(first, first_text), (second, second_text), (third, third_text)];
    // three elements and three names: each is there once
    let field = |name: &str| {
        fields
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, text)| text.as_str())
            .ok_or_else(|| form("its elements"))
    };
    let (arn, user_id, account) = (field("Arn")?, field("UserId")?, field("Account")?);

    let account = AccountId::parse(account).map_err(|_| form("its account"))?;
    let arn = AssumedRoleArn::parse(arn).map_err(|error| match error {
        // a user, the root of an account, a federated user: real, and nobody who could be let in
        ArnError::Service | ArnError::Resource => AttestError::Pin("sort of principal"),
        _ => form("its ARN"),
    })?;
    if *arn.account() != account {
        return Err(form("its ARN is of another account"));
    }
    let (unique_id, session) = user_id.split_once(':').ok_or_else(|| form("its user id"))?;
    let unique_id = RoleUniqueId::parse(unique_id).map_err(|_| form("its user id"))?;
    if session != arn.session_name() {
        return Err(form("its user id is of another session"));
    }
    Ok(Caller { arn, unique_id })
}

/// The code of an error answer.
fn error_code(tokens: &[Token]) -> Option<&str> {
    match tokens {
        [Token::Open(response), Token::Open(error), members @ ..]
            if response == "ErrorResponse" && error == "Error" =>
        {
            members.windows(3).find_map(|three| match three {
                [Token::Open(name), Token::Text(code), Token::Close] if name == "Code" => Some(code.as_str()),
                _ => None,
            })
        }
        _ => None,
    }
}

/// The body, where the answer says that it is XML and says so once.
fn text(answer: &HttpResponse) -> Result<&str, &'static str> {
    let mut types = answer.headers.iter().filter(|(name, _)| name == "content-type").map(|(_, value)| value);
    let (Some(content_type), None) = (types.next(), types.next()) else {
        return Err("its content type");
    };
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !MEDIA_TYPES.iter().any(|known| media_type.eq_ignore_ascii_case(known)) {
        return Err("its content type");
    }
    std::str::from_utf8(&answer.body).map_err(|_| "its encoding")
}

/// A piece of the few kinds that STS writes.
enum Token {
    Open(String),
    Text(String),
    Close,
}

/// The pieces of an XML document of STS's namespace, white space between them left out.
///
/// Only what STS writes is read: a DTD, an entity, a character reference, CDATA, a comment, a processing
/// instruction, an attribute and a namespace of somebody else are each refused where they stand.
fn tokens(text: &str) -> Result<Vec<Token>, &'static str> {
    let mut reader = Reader::from_str(text);
    let mut tokens = Vec::new();
    let mut seen = 0_usize;
    loop {
        let event = reader.read_event().map_err(|_| "it is no XML")?;
        seen += 1;
        if seen > MAX_EVENTS {
            return Err("it is too long");
        }
        match event {
            Event::Eof => return Ok(tokens),
            Event::Decl(declaration) if seen == 1 && DECLARATIONS.contains(&&*declaration) => {}
            Event::Start(start) => {
                let expected: &[_] = if tokens.is_empty() { &[("xmlns", NAMESPACE)] } else { &[] };
                check_attributes(&start, expected)?;
                let name = std::str::from_utf8(start.name().into_inner()).map_err(|_| "its encoding")?;
                tokens.push(Token::Open(name.to_owned()));
            }
            Event::End(_) => tokens.push(Token::Close),
            Event::Text(text) => {
                let text = std::str::from_utf8(&text).map_err(|_| "its encoding")?;
                if !text.trim_ascii().is_empty() {
                    tokens.push(Token::Text(text.to_owned()));
                }
            }
            _ => return Err("what STS does not write"),
        }
    }
}

/// Whether an element has these attributes and no other.
fn check_attributes(start: &BytesStart<'_>, expected: &[(&str, &str)]) -> Result<(), &'static str> {
    let mut expected = expected.iter();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| "it is no XML")?;
        let (name, value) = expected.next().ok_or("its attributes")?;
        if attribute.key.into_inner() != name.as_bytes() || *attribute.value != *value.as_bytes() {
            return Err("its namespace");
        }
    }
    if expected.next().is_some() { Err("its namespace") } else { Ok(()) }
}

/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
const MEDIA_TYPES: [&str; 2] = ["text/xml", "application/xml"];
const DECLARATIONS: [&[u8]; 2] = [br#"xml version="1.0""#, br#"xml version="1.0" encoding="UTF-8""#];
const MAX_EVENTS: usize = 64;

/// <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>
const REFUSALS: &[(&str, &str)] = &[
    ("AccessDenied", "STS: AccessDenied"),
    ("ExpiredToken", "STS: ExpiredToken, the credentials behind the evidence have expired"),
    ("IncompleteSignature", "STS: IncompleteSignature"),
    ("InvalidClientTokenId", "STS: InvalidClientTokenId, there are no such credentials"),
    ("RegionDisabledException", "STS: RegionDisabledException, the account does not use this region"),
    (
        "SignatureDoesNotMatch",
        "STS: SignatureDoesNotMatch, it was signed for another audience or challenge, or not by this key",
    ),
];
const THROTTLED: [&str; 4] =
    ["Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded"];

const RETRY_AFTER: Duration = Duration::from_secs(1);
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
