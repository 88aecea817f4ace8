use std::fmt;

use agentkeys_core::jose::sha256;

use super::role::is_session_byte;

/// Who acts in a session, as CloudTrail shows it on every call: 2 to 64 characters of
/// `A-Z a-z 0-9 _ + = , . @ -`, fixed for the session and for every session that is chained to it (R100, R102).
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_monitor.html>
///
/// There are three kinds, and none can be taken for another: [`SourceIdentity::agent`] names a tenant and a
/// session so that both can be read back, [`SourceIdentity::digest`] stands for a pair that is too long for
/// that, [`SourceIdentity::verbatim`] is the host's own text. Nothing is ever cut, folded or replaced: two
/// pairs never share a value (W71, W72).
///
/// ```
/// # use agentkeys_federation::SourceIdentity;
/// let identity = SourceIdentity::agent("acme", "01JZ:7")?;
/// assert_eq!(identity.as_str(), "agent+acme+01JZ=3A7");
/// assert_eq!(SourceIdentity::decode(identity.as_str())?, ("acme".to_owned(), "01JZ:7".to_owned()));
/// # Ok::<(), agentkeys_federation::SourceIdentityError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceIdentity {
    value: String,
    /// What a digest stands for.
    preimage: Option<String>,
}

impl SourceIdentity {
    /// `agent+<tenant>+<session>`: in both parts `A-Z a-z 0-9 _ . - , @` stand for themselves, and every
    /// other byte of their UTF-8 is `=` and two upper-case hex digits.
    ///
    /// # Errors
    /// [`SourceIdentityError::Empty`], and [`SourceIdentityError::Length`] where the whole would be longer
    /// than 64 characters.
    pub fn agent(tenant: &str, session: &str) -> Result<Self, SourceIdentityError> {
        let value = pair(tenant, session, MAX_LENGTH)?;
        Ok(Self { value, preimage: None })
    }

    /// `agent.h1+<52 characters>`: SHA-256 over the pair, for pairs that [`SourceIdentity::agent`] refuses as
    /// too long. Whoever reads it must look the pair up in the audit record, which has the
    /// [`SourceIdentity::preimage`], and no pattern for a tenant matches it: a trust policy needs the exact
    /// list.
    ///
    /// # Errors
    /// [`SourceIdentityError::Empty`], and [`SourceIdentityError::Length`] where the preimage would be longer
    /// than [`MAX_PREIMAGE`].
    pub fn digest(tenant: &str, session: &str) -> Result<Self, SourceIdentityError> {
        let preimage = pair(tenant, session, MAX_PREIMAGE)?;
        let mut message = DIGEST_DOMAIN.to_vec();
        for part in [tenant, session] {
            message.extend_from_slice(&(part.len() as u64).to_be_bytes());
            message.extend_from_slice(part.as_bytes());
        }
        let value = format!("{DIGEST_PREFIX}{}", base32(&sha256(&message)));
        Ok(Self { value, preimage: Some(preimage) })
    }

    /// The host's own text, for example an operator's e-mail address.
    ///
    /// # Errors
    /// [`SourceIdentityError::Reserved`] where it could be taken for an agent's value,
    /// [`SourceIdentityError::AwsPrefix`], [`SourceIdentityError::Length`], [`SourceIdentityError::Charset`].
    pub fn verbatim(text: &str) -> Result<Self, SourceIdentityError> {
        if text.starts_with(AGENT_PREFIX) || text.starts_with(DIGEST_PREFIX) {
            return Err(SourceIdentityError::Reserved);
        }
        if text.to_ascii_lowercase().starts_with("aws:") {
            return Err(SourceIdentityError::AwsPrefix);
        }
        if !(MIN_LENGTH..=MAX_LENGTH).contains(&text.len()) {
            return Err(SourceIdentityError::Length);
        }
        if !text.bytes().all(is_session_byte) {
            return Err(SourceIdentityError::Charset);
        }
        Ok(Self { value: text.to_owned(), preimage: None })
    }

    /// The tenant and the session of an `agent+…` value, as it stands in CloudTrail. Only what
    /// [`SourceIdentity::agent`] writes is read, so that a pair has one spelling.
    ///
    /// # Errors
    /// [`SourceIdentityError::NotAnAgent`].
    pub fn decode(text: &str) -> Result<(String, String), SourceIdentityError> {
        let rest = text.strip_prefix(AGENT_PREFIX).ok_or(SourceIdentityError::NotAnAgent)?;
        let (tenant, session) = rest.split_once(SEPARATOR).ok_or(SourceIdentityError::NotAnAgent)?;
        let (tenant, session) = (decode_part(tenant)?, decode_part(session)?);
        // whatever was spelled otherwise, was not written by us
        match Self::agent(&tenant, &session) {
            Ok(canonical) if canonical.value == text => Ok((tenant, session)),
            _ => Err(SourceIdentityError::NotAnAgent),
        }
    }

    /// The value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.value
    }

    /// What a [`SourceIdentity::digest`] stands for: the text that [`SourceIdentity::agent`] would write if it
    /// were not too long.
    #[must_use]
    pub fn preimage(&self) -> Option<&str> {
        self.preimage.as_deref()
    }
}

impl fmt::Display for SourceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.value)
    }
}

/// Which source identities a role's trust policy takes. There is always at least one: no list would mean
/// no condition, and then anything goes (W76).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceIdentityPattern(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// `agent+<tenant>+`
    Tenant(String),
    Exactly(Vec<SourceIdentity>),
}

impl SourceIdentityPattern {
    /// Every session of a tenant. `+`, `*` and `?` never stand in an encoded tenant, so no other tenant's
    /// value begins like this one's.
    ///
    /// # Errors
    /// [`SourceIdentityError::Empty`], and [`SourceIdentityError::Length`] where no session would fit.
    pub fn tenant(tenant: &str) -> Result<Self, SourceIdentityError> {
        let prefix = tenant_prefix(tenant, MAX_LENGTH)?;
        if prefix.len() >= MAX_LENGTH {
            return Err(SourceIdentityError::Length);
        }
        Ok(Self(Kind::Tenant(prefix)))
    }

    /// These and no others, compared byte for byte.
    #[must_use]
    pub fn exactly(first: SourceIdentity, others: impl IntoIterator<Item = SourceIdentity>) -> Self {
        let mut all: Vec<_> = std::iter::once(first).chain(others).collect();
        all.sort();
        all.dedup();
        Self(Kind::Exactly(all))
    }

    /// Whether the trust policy would take it.
    #[must_use]
    pub fn matches(&self, identity: &SourceIdentity) -> bool {
        match &self.0 {
            Kind::Tenant(prefix) => identity.value.len() > prefix.len() && identity.value.starts_with(prefix),
            Kind::Exactly(all) => all.contains(identity),
        }
    }

    /// The operator and the values of the condition.
    pub(crate) fn condition(&self) -> (&'static str, Vec<String>) {
        match &self.0 {
            Kind::Tenant(prefix) => ("StringLike", vec![format!("{prefix}*")]),
            Kind::Exactly(all) => ("StringEquals", all.iter().map(ToString::to_string).collect()),
        }
    }
}

/// Why a text or pair is not a source identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceIdentityError {
    /// Begins with `aws:`.
    #[error("a source identity does not begin with aws:")]
    AwsPrefix,
    /// A character that AWS does not take.
    #[error("a source identity has only A-Z a-z 0-9 _ + = , . @ -")]
    Charset,
    /// An empty tenant or session.
    #[error("a source identity names a tenant and a session")]
    Empty,
    /// Too short or too long. It is never cut.
    #[error(
        "a source identity is {MIN_LENGTH} to {MAX_LENGTH} characters after encoding, what a digest stands \
         for at most {MAX_PREIMAGE}"
    )]
    Length,
    /// Not what [`SourceIdentity::agent`] writes.
    #[error("not the source identity of a tenant and a session")]
    NotAnAgent,
    /// Begins like an agent's.
    #[error("a verbatim source identity does not begin with {AGENT_PREFIX} or {DIGEST_PREFIX}")]
    Reserved,
}

fn pair(tenant: &str, session: &str, most: usize) -> Result<String, SourceIdentityError> {
    let mut text = tenant_prefix(tenant, most)?;
    encode(session, &mut text, most)?;
    if text.len() > most { Err(SourceIdentityError::Length) } else { Ok(text) }
}

fn tenant_prefix(tenant: &str, most: usize) -> Result<String, SourceIdentityError> {
    let mut text = AGENT_PREFIX.to_owned();
    encode(tenant, &mut text, most)?;
    text.push(SEPARATOR);
    Ok(text)
}

/// Appends the encoded part. What cannot fit is not encoded at all.
fn encode(part: &str, text: &mut String, most: usize) -> Result<(), SourceIdentityError> {
    if part.is_empty() {
        return Err(SourceIdentityError::Empty);
    }
    if part.len() > most {
        return Err(SourceIdentityError::Length);
    }
    for byte in part.bytes() {
        if is_plain(byte) {
            text.push(char::from(byte));
        } else {
            text.extend([ESCAPE, digit(byte >> 4), digit(byte & 15)]);
        }
    }
    Ok(())
}

fn decode_part(part: &str) -> Result<String, SourceIdentityError> {
    let mut bytes = part.bytes();
    let mut text = Vec::with_capacity(part.len());
    while let Some(byte) = bytes.next() {
        if byte != ESCAPE as u8 {
            text.push(byte);
            continue;
        }
        let mut half = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        let escaped = half().zip(half()).and_then(|(high, low)| u8::try_from(16 * high + low).ok());
        text.push(escaped.ok_or(SourceIdentityError::NotAnAgent)?);
    }
    String::from_utf8(text).map_err(|_| SourceIdentityError::NotAnAgent)
}

const fn is_plain(byte: u8) -> bool {
    is_session_byte(byte) && byte != SEPARATOR as u8 && byte != ESCAPE as u8
}

/// The upper-case digit of half a byte.
const fn digit(nibble: u8) -> char {
    (if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }) as char
}

/// Lower case, without padding. <https://www.rfc-editor.org/rfc/rfc4648#section-6>
fn base32(bytes: &[u8]) -> String {
    let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
    let five = |at: usize| (0..5).fold(0_u8, |value, offset| value << 1 | u8::from(bit(at + offset)));
    let letter = |value: u8| char::from(if value < 26 { b'a' + value } else { b'2' + value - 26 });
    (0..8 * bytes.len()).step_by(5).map(|at| letter(five(at))).collect()
}

/// The claim that AWS reads the source identity from.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_monitor.html>
pub const SOURCE_IDENTITY_CLAIM: &str = "https://aws.amazon.com/source_identity";

const AGENT_PREFIX: &str = "agent+";
const DIGEST_PREFIX: &str = "agent.h1+";
const DIGEST_DOMAIN: &[u8] = b"agentkeys/source-identity/v1\0";
const SEPARATOR: char = '+';
const ESCAPE: char = '=';

/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
const MIN_LENGTH: usize = 2;
const MAX_LENGTH: usize = 64;

/// The longest text that a [`SourceIdentity::digest`] may stand for, in bytes.
pub const MAX_PREIMAGE: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Error = SourceIdentityError;

    #[test]
    fn r101_w71_the_form_of_an_agents_value() {
        for (tenant, session, text) in [
            ("acme", "01JZ:7", "agent+acme+01JZ=3A7"),
            ("a+b", "c=d", "agent+a=2Bb+c=3Dd"),
            ("A.b-c_d", ",@", "agent+A.b-c_d+,@"),
            ("é", " ", "agent+=C3=A9+=20"),
            ("*", "?", "agent+=2A+=3F"),
            ("a", "b\0", "agent+a+b=00"),
        ] {
            assert_eq!(SourceIdentity::agent(tenant, session).unwrap().as_str(), text);
            assert_eq!(SourceIdentity::decode(text).unwrap(), (tenant.to_owned(), session.to_owned()));
        }
    }

    #[test]
    fn w71_empty_parts_and_long_values_are_errors_and_nothing_is_cut() {
        assert_eq!(SourceIdentity::agent("", "s"), Err(Error::Empty));
        assert_eq!(SourceIdentity::agent("t", ""), Err(Error::Empty));
        assert_eq!(SourceIdentity::digest("", "s"), Err(Error::Empty));
        assert_eq!(SourceIdentity::digest("t", ""), Err(Error::Empty));
        assert_eq!(SourceIdentity::agent("t", &"s".repeat(56)).unwrap().as_str().len(), 64);
        assert_eq!(SourceIdentity::agent("t", &"s".repeat(57)), Err(Error::Length));
        assert_eq!(SourceIdentity::agent("t", &":".repeat(19)), Err(Error::Length));
        assert_eq!(SourceIdentity::agent("t", &"s".repeat(1 << 20)), Err(Error::Length));
        // `agent+t+` and what is left of the 1024
        assert!(SourceIdentity::digest("t", &"s".repeat(1016)).is_ok());
        assert_eq!(SourceIdentity::digest("t", &"s".repeat(1017)), Err(Error::Length));
        assert_eq!(SourceIdentity::digest("t", &":".repeat(339)), Err(Error::Length));
        assert_eq!(SourceIdentityPattern::tenant(""), Err(Error::Empty));
        assert!(SourceIdentityPattern::tenant(&"t".repeat(56)).is_ok());
        assert_eq!(SourceIdentityPattern::tenant(&"t".repeat(57)), Err(Error::Length));
    }

    #[test]
    fn w71_only_the_canonical_spelling_is_decoded() {
        for bad in [
            "",
            "agent",
            "agent+",
            "agent+a",
            "agent+a+",
            "agent++b",
            "agent+a+b+c",
            "Agent+a+b",
            "agent+a+=3a",
            "agent+a+=41",
            "agent+a+=4",
            "agent+a+=",
            "agent+a+=GG",
            "agent+a+=FF",
            "agent+a+=C3",
            "agent+a+=+1",
            "agent+a+b:c",
            "agent+a+b c",
            "agent+a+é",
            "agent.h1+a+b",
            " agent+a+b",
            "agent:acme:7",
        ] {
            assert_eq!(SourceIdentity::decode(bad), Err(Error::NotAnAgent), "{bad}");
        }
        let long = format!("agent+t+{}", "s".repeat(57));
        assert_eq!(SourceIdentity::decode(&long), Err(Error::NotAnAgent));
    }

    #[test]
    fn r100_verbatim_values_have_awss_form_and_never_look_like_an_agents() {
        assert!(SourceIdentity::verbatim("jane.doe+ops@example.org").is_ok());
        assert!(SourceIdentity::verbatim("ag").is_ok());
        for (bad, error) in [
            ("", Error::Length),
            ("a", Error::Length),
            (&*"a".repeat(65), Error::Length),
            ("a b", Error::Charset),
            ("agent:acme:7", Error::Charset),
            ("jané", Error::Charset),
            ("a*", Error::Charset),
            ("aws:x", Error::AwsPrefix),
            ("AWS:x", Error::AwsPrefix),
            ("agent+acme+7", Error::Reserved),
            ("agent+", Error::Reserved),
            ("agent.h1+x", Error::Reserved),
        ] {
            assert_eq!(SourceIdentity::verbatim(bad), Err(error), "{bad}");
        }
    }

    // computed with Python's hashlib and base64
    #[test]
    fn w71_golden_vector_of_the_digest_form() {
        let digest = SourceIdentity::digest("acme", "01JZ:7").unwrap();
        assert_eq!(digest.as_str(), "agent.h1+qny3iyp6y4zfkwphs52mbgbzbxajs2caeu3ch4nfga4hh77df6ya");
        assert_eq!(digest.preimage(), Some("agent+acme+01JZ=3A7"));
        assert_eq!(SourceIdentity::agent("acme", "7").unwrap().preimage(), None);
        assert_eq!(SourceIdentity::decode(digest.as_str()), Err(Error::NotAnAgent));
        assert!(!SourceIdentityPattern::tenant("acme").unwrap().matches(&digest));
    }

    #[test]
    fn w76_w77_a_pattern_is_a_tenants_prefix_or_a_list_and_never_nothing() {
        let tenant = SourceIdentityPattern::tenant("a:b").unwrap();
        assert_eq!(tenant.condition(), ("StringLike", vec!["agent+a=3Ab+*".to_owned()]));
        let jane = SourceIdentity::verbatim("jane").unwrap();
        let agent = SourceIdentity::agent("a:b", "1").unwrap();
        let list = SourceIdentityPattern::exactly(jane.clone(), [agent.clone(), jane.clone()]);
        let values = vec!["agent+a=3Ab+1".to_owned(), "jane".to_owned()];
        assert_eq!(list.condition(), ("StringEquals", values));
        assert!(list.matches(&jane) && list.matches(&agent) && tenant.matches(&agent));
        assert!(!tenant.matches(&jane));
        assert!(!list.matches(&SourceIdentity::verbatim("jan").unwrap()));
        assert!(!list.matches(&SourceIdentity::agent("a:b", "11").unwrap()));
    }

    /// Parts that fit, of any characters.
    fn part() -> impl Strategy<Value = String> {
        prop_oneof!["\\PC{1,4}", "[a-c+=:*?%]{1,6}", any::<char>().prop_map(String::from)]
    }

    proptest! {
        #[test]
        fn w71_w72_no_two_pairs_share_a_value(a in (part(), part()), b in (part(), part())) {
            let (Ok(one), Ok(two)) = (SourceIdentity::agent(&a.0, &a.1), SourceIdentity::agent(&b.0, &b.1))
            else { return Ok(()) };
            prop_assert_eq!(one == two, a == b);
            let digests = (SourceIdentity::digest(&a.0, &a.1), SourceIdentity::digest(&b.0, &b.1));
            prop_assert_eq!(digests.0.unwrap() == digests.1.unwrap(), a == b);
        }

        #[test]
        fn r100_w71_every_value_has_awss_form_and_is_read_back(tenant in part(), session in part()) {
            let Ok(identity) = SourceIdentity::agent(&tenant, &session) else { return Ok(()) };
            let text = identity.as_str();
            prop_assert!((2..=64).contains(&text.len()) && text.bytes().all(is_session_byte), "{}", text);
            prop_assert_eq!(SourceIdentity::decode(text), Ok((tenant, session)));
            prop_assert_eq!(SourceIdentity::verbatim(text), Err(Error::Reserved));
        }

        #[test]
        fn w71_what_is_decoded_is_what_would_be_encoded(text in "(agent\\+)?[a-c=0-9A-F+]{0,12}") {
            if let Ok((tenant, session)) = SourceIdentity::decode(&text) {
                let again = SourceIdentity::agent(&tenant, &session).unwrap();
                prop_assert_eq!(again.as_str(), &text);
            }
        }

        #[test]
        fn w76_a_tenants_pattern_matches_its_own_sessions_alone(one in part(), two in part(), session in part()) {
            let Ok(identity) = SourceIdentity::agent(&two, &session) else { return Ok(()) };
            let Ok(pattern) = SourceIdentityPattern::tenant(&one) else { return Ok(()) };
            prop_assert_eq!(pattern.matches(&identity), one == two);
        }
    }
}
