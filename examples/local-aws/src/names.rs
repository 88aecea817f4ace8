//! Names as AWS spells them, parsed once.
//!
//! Every name that comes from a state file or off the wire becomes one of these types before anything else looks at
//! it, so no later code asks again whether an account id has twelve digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not the name it was meant to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct InvalidName {
    what: &'static str,
    rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as AWS writes it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                let accepts: fn(&str) -> bool = $accepts;
                if accepts(&text) { Ok(Self(text)) } else { Err(InvalidName { what: $what, rule: $rule }) }
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// An AWS account id: twelve digits.
    AccountId,
    "an account id",
    "twelve digits",
    |text| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
);

name!(
    /// A region, such as `us-east-1`.
    Region,
    "a region",
    "1 to 32 of a-z, 0-9 and '-'",
    |text| (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);

name!(
    /// The id of a KMS key: a UUID, or `mrk-` and 32 hexadecimal digits.
    KmsKeyId,
    "the id of a KMS key",
    "a UUID in lower case, or mrk- and 32 hexadecimal digits",
    |text| {
        let digits: String = text.strip_prefix("mrk-").unwrap_or(text).replace('-', "");
        let shape = text.starts_with("mrk-") && text.matches('-').count() == 1
            || text.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
        shape && digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    }
);

name!(
    /// The path of a role or user: `/`, or segments between slashes.
    IamPath,
    "a path",
    "'/' or printable segments that begin and end with '/' (512 characters at most)",
    |text| text.starts_with('/')
        && text.ends_with('/')
        && text.len() <= 512
        && text.bytes().all(|b| b.is_ascii_graphic())
);

name!(
    /// The name of a role, without its path.
    RoleName,
    "a role name",
    "1 to 64 of letters, digits and _+=,.@-",
    |text| (1..=64).contains(&text.len()) && text.bytes().all(is_word)
);

name!(
    /// The name of an IAM user, without its path.
    UserName,
    "a user name",
    "1 to 64 of letters, digits and _+=,.@-",
    |text| (1..=64).contains(&text.len()) && text.bytes().all(is_word)
);

name!(
    /// The name of a role session.
    SessionName,
    "a role session name",
    "2 to 64 of letters, digits and _+=,.@-",
    |text| (2..=64).contains(&text.len()) && text.bytes().all(is_word)
);

name!(
    /// The source identity of a session; once set, no later hop can change it.
    SourceIdentity,
    "a source identity",
    "2 to 64 of letters, digits and _+=,.@-, not starting with 'aws:'",
    |text| (2..=64).contains(&text.len()) && text.bytes().all(is_word)
);

name!(
    /// An access key id.
    AccessKeyId,
    "an access key id",
    "16 to 128 upper-case letters and digits",
    |text| (16..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
);

name!(
    /// The unique id of a role (`AROA…`) or user (`AIDA…`).
    UniqueId,
    "a unique id",
    "16 to 128 upper-case letters and digits",
    |text| (16..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
);

name!(
    /// The name of a bucket.
    BucketName,
    "a bucket name",
    "3 to 63 of a-z, 0-9, '.' and '-', beginning and ending with a letter or digit",
    |text| (3..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-')
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
);

name!(
    /// The URL of an OIDC provider, equal byte for byte to the `iss` of its tokens.
    ///
    /// IAM takes `https` only and no port. Here `http` is taken too, with a port, when the host is loopback.
    ProviderUrl,
    "a provider URL",
    "an https URL, or an http URL of a loopback host, of at most 255 characters and without query, fragment or user",
    is_provider_url
);

impl IamPath {
    /// The path `/`.
    #[must_use]
    pub fn root() -> Self {
        Self("/".to_owned())
    }
}

impl ProviderUrl {
    /// The URL without its scheme: the tail of the provider's ARN and the prefix of its condition keys.
    #[must_use]
    pub fn without_scheme(&self) -> &str {
        self.0.split_once("://").map_or(self.as_str(), |(_, rest)| rest)
    }
}

/// `[\w+=,.@-]`, the class that IAM uses for almost every name.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)
}

fn is_provider_url(text: &str) -> bool {
    let Ok(url) = text.parse::<http::Uri>() else {
        return false;
    };
    let Some(authority) = url.authority() else {
        return false;
    };
    let plain = url.query().is_none() && !text.contains(['#', '@', '?']) && text.len() <= 255;
    match url.scheme_str() {
        Some("https") => plain && authority.port().is_none(),
        Some("http") => plain && is_loopback(authority.host()),
        _ => false,
    }
}

/// Whether a host of a URL can only be this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The ARN of a role, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoleArn {
    pub(crate) account: AccountId,
    pub(crate) path: IamPath,
    pub(crate) name: RoleName,
}

impl FromStr for RoleArn {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = InvalidName { what: "a role ARN", rule: "arn:aws:iam::<account>:role/<path><name>" };
        let rest = text.strip_prefix("arn:aws:iam::").ok_or_else(|| invalid.clone())?;
        let (account, resource) = rest.split_once(':').ok_or_else(|| invalid.clone())?;
        let resource = resource.strip_prefix("role").ok_or_else(|| invalid.clone())?;
        let cut = resource.rfind('/').ok_or_else(|| invalid.clone())?;
        let (path, name) = resource.split_at(cut + 1);
        Ok(Self { account: account.parse()?, path: path.parse()?, name: name.parse()? })
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:aws:iam::{}:role{}{}", self.account, self.path, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_arn_keeps_its_path() {
        let arn: RoleArn = "arn:aws:iam::123456789012:role/team/a/writer".parse().unwrap();
        assert_eq!((arn.path.as_str(), arn.name.as_str()), ("/team/a/", "writer"));
        assert_eq!(arn.to_string(), "arn:aws:iam::123456789012:role/team/a/writer");
    }

    #[test]
    fn what_is_no_role_arn_is_refused() {
        for text in [
            "",
            "arn:aws:iam::123456789012:user/x",
            "arn:aws:iam::12345678901:role/x",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:rolex",
            "arn:aws:sts::123456789012:assumed-role/x/y",
        ] {
            assert!(text.parse::<RoleArn>().is_err(), "{text}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for text in [
            "http://127.0.0.1:8080",
            "http://localhost:1/a/b",
            "http://[::1]:9",
            "https://issuer.example.com/x",
        ] {
            assert!(text.parse::<ProviderUrl>().is_ok(), "{text}");
        }
        for text in [
            "http://issuer.example.com",
            "http://127.0.0.1.example.com",
            "https://issuer.example.com:8443",
            "https://issuer.example.com/?q",
            "https://user@issuer.example.com",
            "ftp://127.0.0.1",
            "127.0.0.1:80",
        ] {
            assert!(text.parse::<ProviderUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn session_names_have_aws_limits() {
        assert!("ab".parse::<SessionName>().is_ok());
        assert!("a".parse::<SessionName>().is_err());
        assert!("a b".parse::<SessionName>().is_err());
        assert!("a/b".parse::<SessionName>().is_err());
        assert!("x".repeat(65).parse::<SessionName>().is_err());
    }
}
