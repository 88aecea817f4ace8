use std::fmt;
use std::str::FromStr;

use crate::aws::account::{AccountId, Partition};
use crate::aws::role::{Region, RoleError};

/// A KMS key's ARN: `arn:<partition>:kms:<region>:<12 digits>:key/<id>`, compared as a whole. An alias is none:
/// it may point to another key tomorrow.
/// <https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyArn(String);

impl KeyArn {
    /// The ARN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The region that the key is in.
    #[must_use]
    pub fn region(&self) -> &str {
        self.0.split(':').nth(3).unwrap_or_default()
    }
}

impl FromStr for KeyArn {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        if text.len() > MAX_KEY_ARN {
            return Err(RoleError::KeyArn);
        }
        let parts: Vec<&str> = text.split(':').collect();
        let &["arn", partition, "kms", region, account, key] = parts.as_slice() else {
            return Err(RoleError::KeyArn);
        };
        let well = partition.parse::<Partition>().is_ok()
            && region.parse::<Region>().is_ok()
            && account.parse::<AccountId>().is_ok()
            && key.strip_prefix("key/").is_some_and(is_key_id);
        if well { Ok(Self(text.to_owned())) } else { Err(RoleError::KeyArn) }
    }
}

impl fmt::Display for KeyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A UUID, or `mrk-` and 32 digits for a multi-Region key.
fn is_key_id(id: &str) -> bool {
    let hexadecimal = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    if let Some(digits) = id.strip_prefix("mrk-") {
        return hexadecimal(digits, 32);
    }
    let groups: Vec<&str> = id.split('-').collect();
    groups.len() == 5 && groups.iter().zip([8, 4, 4, 4, 12]).all(|(group, digits)| hexadecimal(group, digits))
}

const MAX_KEY_ARN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r45_a_key_is_named_by_its_whole_arn_and_by_no_alias() {
        let id = "1234abcd-12ab-34cd-56ef-1234567890ab";
        for good in [
            format!("arn:aws:kms:us-east-1:123456789012:key/{id}"),
            format!("arn:aws-cn:kms:cn-north-1:123456789012:key/{id}"),
            "arn:aws:kms:eu-central-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab".to_owned(),
        ] {
            let arn: KeyArn = good.parse().unwrap();
            assert_eq!(arn.as_str(), good);
            assert_eq!(arn.region(), good.split(':').nth(3).unwrap());
        }
        for bad in [
            id.to_owned(),
            "alias/oidc".to_owned(),
            "arn:aws:kms:us-east-1:123456789012:alias/oidc".to_owned(),
            format!("arn:aws:kms:us-east-1:123456789012:key/{id}:x"),
            format!("arn:aws:kms:us-east-1:123456789012:key/{id}/x"),
            format!("arn:aws:kms:us-east-1:123456789012:{id}"),
            format!("arn:aws:kms::123456789012:key/{id}"),
            format!("arn:aws:kms:us-east-1:12345678901:key/{id}"),
            format!("arn:gcp:kms:us-east-1:123456789012:key/{id}"),
            format!("arn:aws:iam:us-east-1:123456789012:key/{id}"),
            format!(" arn:aws:kms:us-east-1:123456789012:key/{id}"),
            format!("arn:aws:kms:us-east-1:123456789012:key/{}", id.to_uppercase()),
            "arn:aws:kms:us-east-1:123456789012:key/*".to_owned(),
            "arn:aws:kms:us-east-1:123456789012:key/".to_owned(),
            "arn:aws:kms:us-east-1:123456789012:key/mrk-".to_owned(),
            "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef".to_owned(),
            String::new(),
        ] {
            assert_eq!(bad.parse::<KeyArn>(), Err(RoleError::KeyArn), "{bad}");
        }
    }
}
