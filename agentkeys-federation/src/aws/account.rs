use super::role::RoleError;
use crate::text::text;

/// An AWS account: twelve digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(String);

/// A partition of AWS: `aws`, `aws-cn`, `aws-us-gov`, …
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(String);

text!(AccountId, RoleError::Account, |text| text.len() == ACCOUNT_DIGITS
    && text.bytes().all(|b| b.is_ascii_digit()));
text!(Partition, RoleError::Partition, |text| text == "aws"
    || text.strip_prefix("aws-").is_some_and(|tail| {
        !tail.is_empty() && tail.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    }));

pub(super) const ACCOUNT_DIGITS: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_partitions_are_parsed_whole() {
        assert!("012345678901".parse::<AccountId>().is_ok());
        for bad in ["", "12345678901", "1234567890123", "12345678901a", "١23456789012", " 12345678901"] {
            assert_eq!(bad.parse::<AccountId>(), Err(RoleError::Account), "{bad}");
        }
        for good in ["aws", "aws-cn", "aws-us-gov", "aws-eusc"] {
            assert!(good.parse::<Partition>().is_ok(), "{good}");
        }
        for bad in ["", "aws-", "AWS", "awsx", "aws-CN", "aws:cn", "gcp", "aws-*"] {
            assert_eq!(bad.parse::<Partition>(), Err(RoleError::Partition), "{bad}");
        }
    }
}
