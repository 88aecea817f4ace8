use agentkeys_core::Issuer;
use serde::Serialize;
use serde::ser::{SerializeStruct as _, Serializer};

use super::document::PolicyError;
use super::thumbprint::Thumbprint;
use crate::aws::account::{AccountId, Partition};
use crate::aws::role::STS_AUDIENCE;

/// An issuer as IAM knows it. Another issuer is another provider with another ARN, so that a role that
/// trusts one trusts no other: production and test are kept apart by this alone (R35, R51).
///
/// Serialized, it is what `CreateOpenIDConnectProvider` is called with (R72).
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcProvider {
    partition: Partition,
    account: AccountId,
    issuer: Issuer,
    thumbprints: Vec<Thumbprint>,
}

impl OidcProvider {
    /// The provider of `issuer` in an account.
    ///
    /// # Errors
    /// [`PolicyError::Issuer`] for a port (other than on loopback) and for `*`, `?` and `$`, which mean
    /// something else in a policy.
    pub fn new(partition: Partition, account: AccountId, issuer: Issuer) -> Result<Self, PolicyError> {
        let port = issuer.authority().contains(':') && !issuer.is_loopback_http();
        if port || issuer.without_scheme().contains(['*', '?', '$']) {
            return Err(PolicyError::Issuer);
        }
        Ok(Self { partition, account, issuer, thumbprints: Vec::new() })
    }

    /// With a thumbprint. AWS looks at it only where the issuer's certificate does not chain to a root that
    /// AWS itself trusts.
    ///
    /// # Errors
    /// [`PolicyError::Thumbprints`] for a sixth.
    pub fn with_thumbprint(mut self, thumbprint: Thumbprint) -> Result<Self, PolicyError> {
        if self.thumbprints.len() >= MAX_THUMBPRINTS {
            return Err(PolicyError::Thumbprints);
        }
        self.thumbprints.push(thumbprint);
        Ok(self)
    }

    /// `arn:<partition>:iam::<account>:oidc-provider/<issuer without https://>`, byte for byte (R37).
    #[must_use]
    pub fn arn(&self) -> String {
        let Self { partition, account, issuer, .. } = self;
        format!("arn:{partition}:iam::{account}:oidc-provider/{}", issuer.without_scheme())
    }

    /// The issuer.
    #[must_use]
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The one audience whose tokens it takes (R38).
    #[must_use]
    pub const fn client_id(&self) -> &'static str {
        STS_AUDIENCE
    }

    /// The condition key of a claim: `<issuer without https://>:<claim>` (R36).
    pub(super) fn key(&self, claim: &str) -> String {
        format!("{}:{claim}", self.issuer.without_scheme())
    }
}

impl Serialize for OidcProvider {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut call = serializer.serialize_struct("CreateOpenIDConnectProvider", 3)?;
        call.serialize_field("Url", &self.issuer)?;
        call.serialize_field("ClientIDList", &[self.client_id()])?;
        // without a list IAM fetches the top certificate itself
        if self.thumbprints.is_empty() {
            call.skip_field("ThumbprintList")?;
        } else {
            call.serialize_field("ThumbprintList", &self.thumbprints)?;
        }
        call.end()
    }
}

const MAX_THUMBPRINTS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(issuer: Issuer) -> Result<OidcProvider, PolicyError> {
        OidcProvider::new("aws-cn".parse().unwrap(), "123456789012".parse().unwrap(), issuer)
    }

    #[test]
    fn r36_r37_the_arn_is_made_of_the_issuer_byte_for_byte() {
        for (issuer, arn) in [
            ("https://broker.example.org", "oidc-provider/broker.example.org"),
            ("https://Broker.example.org/A/", "oidc-provider/Broker.example.org/A/"),
        ] {
            let provider = provider(Issuer::parse(issuer).unwrap()).unwrap();
            assert_eq!(provider.arn(), format!("arn:aws-cn:iam::123456789012:{arn}"));
            assert_eq!(provider.key("aud"), format!("{}:aud", &issuer["https://".len()..]));
        }
    }

    #[test]
    fn r35_issuers_that_aws_does_not_register_are_refused() {
        for bad in [
            "https://h.example:443",
            "https://h.example:8443/a",
            "https://h.example/*",
            "https://h.example/$a",
        ] {
            assert_eq!(provider(Issuer::parse(bad).unwrap()), Err(PolicyError::Issuer), "{bad}");
        }
        let loopback = Issuer::loopback_http_for_tests("http://127.0.0.1:4599").unwrap();
        assert!(provider(loopback).is_ok());
        let star = Issuer::loopback_http_for_tests("http://127.0.0.1:4599/*").unwrap();
        assert_eq!(provider(star), Err(PolicyError::Issuer));
    }

    #[test]
    fn r38_r72_the_parameters_of_the_call() {
        let bare = provider(Issuer::parse("https://h.example").unwrap()).unwrap();
        let call = serde_json::json!({ "Url": "https://h.example", "ClientIDList": ["sts.amazonaws.com"] });
        assert_eq!(serde_json::to_value(&bare).unwrap(), call);
        let thumbprint: Thumbprint = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
        let mut full = bare;
        for _ in 0..5 {
            full = full.with_thumbprint(thumbprint.clone()).unwrap();
        }
        let list = serde_json::to_value(&full).unwrap()["ThumbprintList"].clone();
        assert_eq!(list, serde_json::json!(vec![thumbprint.as_str(); 5]));
        assert_eq!(full.with_thumbprint(thumbprint), Err(PolicyError::Thumbprints));
    }
}
