use std::fmt;
use std::str::FromStr;

use crate::audit::AuditId;
use crate::cloud::{is_name, is_number, is_region};

/// A RAM role's ARN: `acs:ram::<account>:role/<name>`, compared as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlibabaRoleArn(String);

impl AlibabaRoleArn {
    /// The ARN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an answer's ARN names a session of this name of this role: `role/<name>/<session>`, or
    /// `assumed-role/<name>/<session>` as GetCallerIdentity writes it. RAM tells roles apart without regard to
    /// case and writes their names in lower case.
    pub(super) fn is_of_session(&self, arn: &str, session: &AuditId) -> bool {
        let Some(role) = arn.strip_suffix(session.as_str()).and_then(|rest| rest.strip_suffix('/')) else {
            return false;
        };
        let assumed = self.0.replacen(":role/", ":assumed-role/", 1);
        [self.0.as_str(), &assumed].iter().any(|known| role.eq_ignore_ascii_case(known))
    }
}

impl FromStr for AlibabaRoleArn {
    type Err = AlibabaError;

    /// <https://www.alibabacloud.com/help/en/ram/developer-reference/api-ram-2015-05-01-createrole>
    fn from_str(text: &str) -> Result<Self, AlibabaError> {
        let (account, name) = parts(text, ":role/").ok_or(AlibabaError::Role)?;
        if is_account(account) && is_name(name, 64, b".-_") {
            Ok(Self(text.to_owned()))
        } else {
            Err(AlibabaError::Role)
        }
    }
}

impl fmt::Display for AlibabaRoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An OIDC provider's ARN: `acs:ram::<account>:oidc-provider/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlibabaProviderArn(String);

impl AlibabaProviderArn {
    /// The ARN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AlibabaProviderArn {
    type Err = AlibabaError;

    /// <https://www.alibabacloud.com/help/en/ram/api-createoidcprovider>
    fn from_str(text: &str) -> Result<Self, AlibabaError> {
        let (account, name) = parts(text, ":oidc-provider/").ok_or(AlibabaError::Provider)?;
        let ends = [name.bytes().next(), name.bytes().last()];
        let framed = ends.iter().all(|byte| byte.is_some_and(|byte| byte.is_ascii_alphanumeric()));
        if is_account(account) && is_name(name, 128, b"._-") && framed {
            Ok(Self(text.to_owned()))
        } else {
            Err(AlibabaError::Provider)
        }
    }
}

impl fmt::Display for AlibabaProviderArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where Alibaba Cloud's STS is: the central one, a region's, or a region's from within its VPCs.
/// <https://api.alibabacloud.com/product/Sts>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlibabaSts(String);

impl AlibabaSts {
    /// The central one.
    #[must_use]
    pub fn central() -> Self {
        Self("sts.aliyuncs.com".to_owned())
    }

    /// That of a region, like `cn-hangzhou`.
    ///
    /// # Errors
    /// [`AlibabaError::Region`].
    pub fn of(region: &str) -> Result<Self, AlibabaError> {
        Self::named("sts", region)
    }

    /// That of a region for machines within its VPCs.
    ///
    /// # Errors
    /// [`AlibabaError::Region`].
    pub fn in_vpc(region: &str) -> Result<Self, AlibabaError> {
        Self::named("sts-vpc", region)
    }

    /// Its host.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0
    }

    fn named(service: &str, region: &str) -> Result<Self, AlibabaError> {
        if !is_region(region) {
            return Err(AlibabaError::Region);
        }
        Ok(Self(format!("{service}.{region}.aliyuncs.com")))
    }
}

/// Why a text is not what Alibaba Cloud takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AlibabaError {
    /// Not a provider's ARN.
    #[error("a provider's ARN is acs:ram::<account>:oidc-provider/<name>")]
    Provider,
    /// Not a region.
    #[error("a region is named like cn-hangzhou")]
    Region,
    /// Not a role's ARN.
    #[error("a role's ARN is acs:ram::<account>:role/<name>")]
    Role,
}

fn parts<'t>(text: &'t str, between: &str) -> Option<(&'t str, &'t str)> {
    text.strip_prefix("acs:ram::")?.split_once(between)
}

fn is_account(text: &str) -> bool {
    is_number(text, 10, 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r91_alibabas_arns_are_parsed_whole() {
        for good in ["acs:ram::1234567890123456:role/testoidc", "acs:ram::1234567890123456:role/A.b-9"] {
            assert_eq!(good.parse::<AlibabaRoleArn>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "testoidc",
            "acs:ram::1234567890123456:role/",
            "acs:ram::1234567890123456:role/a/b",
            "acs:ram::1234567890123456:role/a b",
            "acs:ram::1234567890123456:role/*",
            "acs:ram::1234567890123456:role/a&RoleArn=b",
            "acs:ram::1234567890123456:user/a",
            "acs:ram::1234567890123456:oidc-provider/a",
            "acs:ram:cn-hangzhou:1234567890123456:role/a",
            "acs:ram::123456789:role/a",
            "acs:ram::123456789012345678901:role/a",
            "acs:ram::12345678901234567x:role/a",
            "acs:ram:::role/a",
            "arn:aws:iam::123456789012:role/a",
            " acs:ram::1234567890123456:role/a",
        ] {
            assert_eq!(bad.parse::<AlibabaRoleArn>(), Err(AlibabaError::Role), "{bad}");
        }
        assert!(
            format!("acs:ram::1234567890123456:role/{}", "a".repeat(65)).parse::<AlibabaRoleArn>().is_err()
        );
        for good in [
            "acs:ram::1234567890123456:oidc-provider/TestOidcIdp",
            "acs:ram::1234567890123456:oidc-provider/a",
        ] {
            assert_eq!(good.parse::<AlibabaProviderArn>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "TestOidcIdp",
            "acs:ram::1234567890123456:oidc-provider/",
            "acs:ram::1234567890123456:oidc-provider/-a",
            "acs:ram::1234567890123456:oidc-provider/a.",
            "acs:ram::1234567890123456:oidc-provider/a/b",
            "acs:ram::1234567890123456:saml-provider/a",
            "acs:ram::1234567890123456:role/a",
            "acs:ram::1:oidc-provider/a",
        ] {
            assert_eq!(bad.parse::<AlibabaProviderArn>(), Err(AlibabaError::Provider), "{bad}");
        }
        let long = format!("acs:ram::1234567890123456:oidc-provider/{}", "a".repeat(129));
        assert!(long.parse::<AlibabaProviderArn>().is_err());
    }

    #[test]
    fn r93_the_sts_is_the_central_one_a_regions_or_a_vpcs() {
        assert_eq!(AlibabaSts::central().host(), "sts.aliyuncs.com");
        assert_eq!(AlibabaSts::of("cn-hangzhou").unwrap().host(), "sts.cn-hangzhou.aliyuncs.com");
        assert_eq!(AlibabaSts::in_vpc("us-east-1").unwrap().host(), "sts-vpc.us-east-1.aliyuncs.com");
        for bad in ["", "hangzhou", "cn-x/", "cn-x.evil.example", "CN-X"] {
            assert_eq!(AlibabaSts::of(bad), Err(AlibabaError::Region), "{bad}");
            assert_eq!(AlibabaSts::in_vpc(bad), Err(AlibabaError::Region), "{bad}");
        }
    }

    #[test]
    fn w81_an_answers_arn_is_of_this_role_and_this_session() {
        let role: AlibabaRoleArn = "acs:ram::1234567890123456:role/TestOidc".parse().unwrap();
        let session: AuditId = "ak-AAAAAAAAAAgAAAAAAAAACQ".parse().unwrap();
        let of = |arn: &str| role.is_of_session(arn, &session);
        for good in [
            "acs:ram::1234567890123456:role/testoidc/ak-AAAAAAAAAAgAAAAAAAAACQ",
            "acs:ram::1234567890123456:role/TestOidc/ak-AAAAAAAAAAgAAAAAAAAACQ",
            "acs:ram::1234567890123456:assumed-role/testoidc/ak-AAAAAAAAAAgAAAAAAAAACQ",
        ] {
            assert!(of(good), "{good}");
        }
        for bad in [
            "",
            "ak-AAAAAAAAAAgAAAAAAAAACQ",
            "acs:ram::1234567890123456:role/testoidc",
            "acs:ram::1234567890123456:role/testoidc/",
            "acs:ram::1234567890123456:role/testoidcak-AAAAAAAAAAgAAAAAAAAACQ",
            "acs:ram::1234567890123456:role/testoidc/AK-AAAAAAAAAAGAAAAAAAAACQ",
            "acs:ram::1234567890123456:role/testoidc/ak-AAAAAAAAAAgAAAAAAAAACA",
            "acs:ram::1234567890123456:role/testoidc/x/ak-AAAAAAAAAAgAAAAAAAAACQ",
            "acs:ram::1234567890123456:role/other/ak-AAAAAAAAAAgAAAAAAAAACQ",
            "acs:ram::6543210987654321:role/testoidc/ak-AAAAAAAAAAgAAAAAAAAACQ",
            "acs:ram::1234567890123456:user/testoidc/ak-AAAAAAAAAAgAAAAAAAAACQ",
        ] {
            assert!(!of(bad), "{bad}");
        }
    }
}
