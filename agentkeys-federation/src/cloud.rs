//! What the clouds beside AWS have in common.

use std::fmt;
use std::str::FromStr;

use agentkeys_core::{Audience, IssuerError};

use crate::alibaba::AlibabaRoleArn;
use crate::aws::RoleArn;
use crate::gcp::GcpServiceAccount;
use crate::tencent::TencentRoleArn;

mod session;
mod wire;

pub use session::CloudSession;
pub(crate) use session::Federated;
pub(crate) use wire::{
    Caller, form, is_success, json, moment, of_status, post_form, post_json, secret, written,
};

/// What an agent becomes in a cloud, by the name that cloud gives it (R91).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CloudRole {
    /// A RAM role.
    Alibaba(AlibabaRoleArn),
    /// An IAM role.
    Aws(RoleArn),
    /// A service account.
    Gcp(GcpServiceAccount),
    /// A CAM role.
    Tencent(TencentRoleArn),
}

impl CloudRole {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Alibaba(role) => role.as_str(),
            Self::Aws(role) => role.as_str(),
            Self::Gcp(account) => account.as_str(),
            Self::Tencent(role) => role.as_str(),
        }
    }

    /// Whether both name one role: RAM and CAM tell names apart without regard to case, so no two that differ in
    /// nothing else count as two.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.as_str().eq_ignore_ascii_case(other.as_str())
    }
}

impl From<RoleArn> for CloudRole {
    fn from(role: RoleArn) -> Self {
        Self::Aws(role)
    }
}

/// A client ID under which an identity provider of Alibaba Cloud or Tencent Cloud knows our tokens: their `aud`.
///
/// 1 to 128 letters, digits and `. - _ : /`, a letter or digit first. AWS's own audience is none: a token with
/// it would be good at AWS as well. A client ID of its own for each role, required by the role's trust policy,
/// makes a token good for that role alone.
/// <https://www.alibabacloud.com/help/en/ram/api-createoidcprovider>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Audience);

impl ClientId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) const fn audience(&self) -> &Audience {
        &self.0
    }
}

impl FromStr for ClientId {
    type Err = ClientIdError;

    fn from_str(text: &str) -> Result<Self, ClientIdError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:/".contains(&byte);
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !begins || text.len() > MAX_CLIENT_ID || !text.bytes().all(allowed) {
            return Err(ClientIdError::Form);
        }
        if is_of_another_cloud(text) {
            return Err(ClientIdError::OtherCloud);
        }
        Ok(Self(Audience::parse(text).map_err(|_: IssuerError| ClientIdError::Form)?))
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no client ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientIdError {
    /// Not of the form.
    #[error("a client ID is 1 to {MAX_CLIENT_ID} letters, digits and . - _ : /, a letter or digit first")]
    Form,
    /// The audience of AWS or Google Cloud.
    #[error("the audience of another cloud is no client ID")]
    OtherCloud,
}

/// AWS's STS in all its partitions, and the names that Google Cloud takes.
fn is_of_another_cloud(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("amazonaws.com") || text.contains("iam.googleapis.com")
}

const MAX_CLIENT_ID: usize = 128;

/// Whether `name` is 1 to `longest` ASCII letters, digits and `also`.
pub(crate) fn is_name(name: &str, longest: usize, also: &[u8]) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || also.contains(&byte);
    (1..=longest).contains(&name.len()) && name.bytes().all(allowed)
}

/// Whether `text` is `shortest` to `longest` digits.
pub(crate) fn is_number(text: &str, shortest: usize, longest: usize) -> bool {
    (shortest..=longest).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether `text` is a region's name: lower-case letters and digits in at least two parts.
pub(crate) fn is_region(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let shaped = text.split('-').count() >= 2 && text.split('-').all(|part| !part.is_empty());
    text.len() <= 32 && text.bytes().all(allowed) && shaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r90_a_client_id_is_no_audience_of_another_cloud() {
        for good in ["sts.aliyuncs.com", "a", "0:x/y_z-1.2", "acs:ram::1234567890123456:role/x"] {
            assert_eq!(good.parse::<ClientId>().unwrap().as_str(), good);
        }
        assert_eq!("c".repeat(128).parse::<ClientId>().unwrap().to_string(), "c".repeat(128));
        let long = "c".repeat(129);
        for bad in ["", ".a", "-a", ":a", "/a", "_a", "a b", "a\n", "a*", "a,b", "é", "aé", "a\"", &long] {
            assert_eq!(bad.parse::<ClientId>(), Err(ClientIdError::Form), "{bad}");
        }
        for other in [
            "sts.amazonaws.com",
            "STS.AmazonAWS.com",
            "sts.us-east-1.amazonaws.com",
            "sts.amazonaws.com.cn",
            "https://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        ] {
            assert_eq!(other.parse::<ClientId>(), Err(ClientIdError::OtherCloud), "{other}");
        }
    }

    #[test]
    fn r91_the_parts_of_names_are_bounded() {
        for (name, longest, also, good) in [
            ("a", 1, &b""[..], true),
            ("", 1, b"", false),
            ("ab", 1, b"", false),
            ("a-b", 3, b"-", true),
            ("a-b", 3, b"", false),
            ("é", 3, b"", false),
        ] {
            assert_eq!(is_name(name, longest, also), good, "{name}");
        }
        for (text, good) in [("12", true), ("1", false), ("1234", false), ("1a", false), ("\u{661}", false)] {
            assert_eq!(is_number(text, 2, 3), good, "{text}");
        }
        for good in ["cn-hangzhou", "us-east-1", "ap-guangzhou", "cn-shanghai-finance-1"] {
            assert!(is_region(good), "{good}");
        }
        for bad in ["", "cn", "CN-hangzhou", "cn--x", "-cn", "cn-", "cn-x.evil.example", "cn-x/", "cn-\u{e9}"]
        {
            assert!(!is_region(bad), "{bad}");
        }
        assert!(!is_region(&format!("cn-{}", "x".repeat(30))));
    }
}
