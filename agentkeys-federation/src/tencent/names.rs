use crate::cloud::{is_name, is_number, is_region};
use crate::text::text;

/// A CAM role: `qcs::cam::uin/<account>:roleName/<name>`, compared as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TencentRoleArn(String);

/// An OIDC provider's name: 1 to 128 letters, digits and `_ - .`. The call has it where others have an ARN.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TencentProviderName(String);

/// A region's name, like `ap-guangzhou`. There is no default.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TencentRegion(String);

text!(TencentRoleArn, TencentError::Role, |text| {
    let parts = text.strip_prefix("qcs::cam::uin/").and_then(|rest| rest.split_once(":roleName/"));
    // <https://cloud.tencent.com/document/api/598/36223>
    parts.is_some_and(|(account, name)| is_number(account, 1, 20) && is_name(name, 128, b"+=,.@_-"))
});
text!(TencentProviderName, TencentError::Provider, |text| is_name(text, 128, b"_-."));
text!(TencentRegion, TencentError::Region, is_region);

/// Why a text is not what Tencent Cloud takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TencentError {
    /// Not a provider's name.
    #[error("a provider's name is 1 to 128 letters, digits and _ - .")]
    Provider,
    /// Not a region.
    #[error("a region is named like ap-guangzhou")]
    Region,
    /// Not a role.
    #[error("a role is qcs::cam::uin/<account>:roleName/<name>")]
    Role,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r91_tencents_names_are_parsed_whole() {
        let good = "qcs::cam::uin/100000000001:roleName/agents+=,.@_-9";
        assert_eq!(good.parse::<TencentRoleArn>().unwrap().to_string(), good);
        for bad in [
            "",
            "agents",
            "qcs::cam::uin/100000000001:roleName/",
            "qcs::cam::uin/100000000001:roleName/a/b",
            "qcs::cam::uin/100000000001:roleName/a:b",
            "qcs::cam::uin/100000000001:roleName/*",
            "qcs::cam::uin/100000000001:role/4611686018427397919",
            "qcs::cam::uin/:roleName/a",
            "qcs::cam::uin/1x:roleName/a",
            "qcs::cam::uin/123456789012345678901:roleName/a",
            "qcs:cam:uin/100000000001:roleName/a",
            "acs:ram::1234567890123456:role/a",
            " qcs::cam::uin/100000000001:roleName/a",
            "qcs::cam::uin/100000000001:roleName/a\n",
        ] {
            assert_eq!(bad.parse::<TencentRoleArn>(), Err(TencentError::Role), "{bad}");
        }
        let long = format!("qcs::cam::uin/100000000001:roleName/{}", "a".repeat(129));
        assert!(long.parse::<TencentRoleArn>().is_err());
        assert_eq!("test-oidc_1.x".parse::<TencentProviderName>().unwrap().to_string(), "test-oidc_1.x");
        for bad in ["", "a b", "a/b", "qcs::cam::uin/1:oidc-provider/a", "é", "a\n", &"a".repeat(129)] {
            assert_eq!(bad.parse::<TencentProviderName>(), Err(TencentError::Provider), "{bad}");
        }
        assert_eq!("ap-guangzhou".parse::<TencentRegion>().unwrap().to_string(), "ap-guangzhou");
        for bad in ["", "guangzhou", "ap-guangzhou\r\nx-tc-token: x", "AP-GUANGZHOU"] {
            assert_eq!(bad.parse::<TencentRegion>(), Err(TencentError::Region), "{bad}");
        }
    }
}
