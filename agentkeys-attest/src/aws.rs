//! Names of things in AWS, each parsed once.

use crate::text::text;

mod sts_endpoint;

pub use sts_endpoint::{StsEndpoint, StsEndpointError};

/// An AWS account's number: 12 digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(String);

/// A partition: `aws`, `aws-cn`, `aws-us-gov`, …
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(String);

/// A region: `us-east-1`, `us-gov-west-1`, `eusc-de-east-1`. `aws-global` is none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(String);

/// An IAM role's ARN, its path kept: `arn:aws:iam::123456789012:role/team/agents`.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleArn {
    text: String,
    partition: Partition,
    account: AccountId,
    path_and_name: String,
}

/// An EKS cluster's ARN: `arn:aws:eks:us-east-1:123456789012:cluster/prod`.
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelastickubernetesservice.html>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterArn {
    text: String,
    partition: Partition,
    region: Region,
    account: AccountId,
    name: String,
}

/// A session of an IAM role, as STS names it: `arn:aws:sts::123456789012:assumed-role/agents/blue`.
///
/// The role's path is not in it (L30), and the session's name was chosen by whoever assumed the role.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-arns>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssumedRoleArn {
    text: String,
    partition: Partition,
    account: AccountId,
    role_and_session: String,
}

/// A role's unique id, `AROA…`: another one where the role was deleted and made again under its old name.
/// 16 to 128 upper-case letters and digits.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleUniqueId(String);

impl AccountId {
    /// Reads one.
    ///
    /// # Errors
    /// [`ArnError::Account`].
    pub fn parse(text: &str) -> Result<Self, ArnError> {
        let good = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
        if good { Ok(Self(text.to_owned())) } else { Err(ArnError::Account) }
    }
}

impl Partition {
    /// Reads one.
    ///
    /// # Errors
    /// [`ArnError::Partition`].
    pub fn parse(text: &str) -> Result<Self, ArnError> {
        let mut words = text.split('-');
        let good = words.next() == Some("aws") && words.all(is_lower) && text.len() <= MAX_REGION;
        if good { Ok(Self(text.to_owned())) } else { Err(ArnError::Partition) }
    }
}

impl Region {
    /// Reads one.
    ///
    /// # Errors
    /// [`ArnError::Region`].
    pub fn parse(text: &str) -> Result<Self, ArnError> {
        let (area, number) = text.rsplit_once('-').ok_or(ArnError::Region)?;
        let numbered = (1..=2).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
        let good =
            numbered && area.contains('-') && area.split('-').all(is_lower) && text.len() <= MAX_REGION;
        if good { Ok(Self(text.to_owned())) } else { Err(ArnError::Region) }
    }
}

impl RoleArn {
    /// Reads one.
    ///
    /// # Errors
    /// [`ArnError`]; `assumed-role` and every other sort of principal is [`ArnError::Resource`].
    pub fn parse(text: &str) -> Result<Self, ArnError> {
        let arn = Arn::split(text)?;
        if arn.service != "iam" || !arn.region.is_empty() {
            return Err(ArnError::Service);
        }
        let rest = arn.resource.strip_prefix("role").ok_or(ArnError::Resource)?;
        let (path, name) = rest.rsplit_once('/').ok_or(ArnError::Resource)?;
        let path_ok = path.is_empty()
            || (path.len() < MAX_ROLE_PATH
                && path.starts_with('/')
                && path.bytes().all(|byte| (0x21..0x7f).contains(&byte)));
        if !path_ok || !is_name(name, 1) {
            return Err(ArnError::Resource);
        }
        Ok(Self {
            text: text.to_owned(),
            partition: Partition::parse(arn.partition)?,
            account: AccountId::parse(arn.account)?,
            path_and_name: rest.to_owned(),
        })
    }

    /// Its partition.
    #[must_use]
    pub const fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Its account.
    #[must_use]
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// Its path: `/`, or `/team/` and the like.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path_and_name.strip_suffix(self.name()).unwrap_or_default()
    }

    /// Its name, without the path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path_and_name.rsplit('/').next().unwrap_or_default()
    }
}

impl AssumedRoleArn {
    /// Reads one.
    ///
    /// # Errors
    /// [`ArnError`]; a role, a user, the root and a federated user are [`ArnError::Service`] or
    /// [`ArnError::Resource`].
    pub fn parse(text: &str) -> Result<Self, ArnError> {
        let arn = Arn::split(text)?;
        if arn.service != "sts" || !arn.region.is_empty() {
            return Err(ArnError::Service);
        }
        let rest = arn.resource.strip_prefix("assumed-role/").ok_or(ArnError::Resource)?;
        let (role, session) = rest.split_once('/').ok_or(ArnError::Resource)?;
        if !is_name(role, 1) || !is_name(session, 2) {
            return Err(ArnError::Resource);
        }
        Ok(Self {
            text: text.to_owned(),
            partition: Partition::parse(arn.partition)?,
            account: AccountId::parse(arn.account)?,
            role_and_session: rest.to_owned(),
        })
    }

    /// Its partition.
    #[must_use]
    pub const fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The role's account.
    #[must_use]
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// The role's name, without its path.
    #[must_use]
    pub fn role_name(&self) -> &str {
        self.role_and_session.split('/').next().unwrap_or_default()
    }

    /// The session's name: 2 to 64 characters that whoever assumed the role chose (L7).
    #[must_use]
    pub fn session_name(&self) -> &str {
        self.role_and_session.rsplit('/').next().unwrap_or_default()
    }
}

impl RoleUniqueId {
    /// Reads one.
    ///
    /// # Errors
    /// [`ArnError::UniqueId`].
    pub fn parse(text: &str) -> Result<Self, ArnError> {
        let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        let good = text.starts_with("AROA")
            && (16..=MAX_UNIQUE_ID).contains(&text.len())
            && text.bytes().all(allowed);
        if good { Ok(Self(text.to_owned())) } else { Err(ArnError::UniqueId) }
    }
}

impl ClusterArn {
    /// Reads one.
    ///
    /// # Errors
    /// [`ArnError`].
    pub fn parse(text: &str) -> Result<Self, ArnError> {
        let arn = Arn::split(text)?;
        if arn.service != "eks" {
            return Err(ArnError::Service);
        }
        let name = arn.resource.strip_prefix("cluster/").ok_or(ArnError::Resource)?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let good = name.len() <= MAX_CLUSTER_NAME
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.bytes().all(allowed);
        if !good {
            return Err(ArnError::Resource);
        }
        Ok(Self {
            text: text.to_owned(),
            partition: Partition::parse(arn.partition)?,
            region: Region::parse(arn.region)?,
            account: AccountId::parse(arn.account)?,
            name: name.to_owned(),
        })
    }

    /// Its partition.
    #[must_use]
    pub const fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Its region.
    #[must_use]
    pub const fn region(&self) -> &Region {
        &self.region
    }

    /// Its account.
    #[must_use]
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

text!(AccountId, ArnError, 0);
text!(Partition, ArnError, 0);
text!(Region, ArnError, 0);
text!(RoleArn, ArnError, text);
text!(AssumedRoleArn, ArnError, text);
text!(RoleUniqueId, ArnError, 0);
text!(ClusterArn, ArnError, text);

/// Why a text does not name the thing in AWS that it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArnError {
    /// Not an account.
    #[error("an AWS account is 12 digits")]
    Account,
    /// Not six parts.
    #[error("an ARN is arn:partition:service:region:account:resource")]
    Form,
    /// Not a partition.
    #[error("an AWS partition is aws or begins with aws-")]
    Partition,
    /// Not a region.
    #[error("an AWS region is of the form us-east-1")]
    Region,
    /// The last part names another sort of thing, or none.
    #[error("the ARN names another sort of resource")]
    Resource,
    /// The ARN is of another service.
    #[error("the ARN is of another service")]
    Service,
    /// Not a role's unique id.
    #[error("a role's unique id is AROA and 12 to 124 upper-case letters and digits")]
    UniqueId,
}

/// An ARN's parts, none of them checked.
struct Arn<'t> {
    partition: &'t str,
    service: &'t str,
    region: &'t str,
    account: &'t str,
    resource: &'t str,
}

impl<'t> Arn<'t> {
    fn split(text: &'t str) -> Result<Self, ArnError> {
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().ok_or(ArnError::Form);
        if text.len() > MAX_ARN || next()? != "arn" {
            return Err(ArnError::Form);
        }
        let (partition, service, region, account) = (next()?, next()?, next()?, next()?);
        Ok(Self { partition, service, region, account, resource: next()? })
    }
}

/// Whether `text` can name a role or its session; both take the same letters and 64 of them at most.
fn is_name(text: &str, shortest: usize) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    (shortest..=MAX_NAME).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_lower(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_Role.html>
const MAX_ARN: usize = 2048;
const MAX_ROLE_PATH: usize = 512;
/// Of a role's name and of its session's name.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
const MAX_NAME: usize = 64;
const MAX_UNIQUE_ID: usize = 128;

/// <https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCluster.html>
const MAX_CLUSTER_NAME: usize = 100;

const MAX_REGION: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn r15_role_arns_round_trip_and_keep_every_part(
            partition in "aws(-[a-z]{2,3}){0,2}",
            account in "[0-9]{12}",
            path in "/([!-~]{1,40}/)?",
            name in "[A-Za-z0-9_+=,.@-]{1,64}",
        ) {
            let text = format!("arn:{partition}:iam::{account}:role{path}{name}");
            let role = RoleArn::parse(&text).unwrap();
            prop_assert_eq!(role.as_str(), &text);
            prop_assert_eq!(role.to_string(), text);
            prop_assert_eq!(role.partition().as_str(), partition);
            prop_assert_eq!(role.account().as_str(), account);
            prop_assert_eq!((role.path(), role.name()), (path.as_str(), name.as_str()));
        }

        #[test]
        fn l3_l30_assumed_role_arns_round_trip_and_keep_every_part(
            partition in "aws(-[a-z]{2,3}){0,2}",
            account in "[0-9]{12}",
            role in "[A-Za-z0-9_+=,.@-]{1,64}",
            session in "[A-Za-z0-9_+=,.@-]{2,64}",
        ) {
            let text = format!("arn:{partition}:sts::{account}:assumed-role/{role}/{session}");
            let arn = AssumedRoleArn::parse(&text).unwrap();
            prop_assert_eq!(arn.to_string(), text);
            prop_assert_eq!(arn.partition().as_str(), partition);
            prop_assert_eq!(arn.account().as_str(), account);
            prop_assert_eq!((arn.role_name(), arn.session_name()), (role.as_str(), session.as_str()));
        }

        #[test]
        fn w25_cluster_arns_round_trip_and_keep_every_part(
            partition in "aws(-[a-z]{2,3}){0,2}",
            region in "[a-z]{2,4}(-[a-z]{2,9}){1,2}-[1-9]",
            account in "[0-9]{12}",
            name in "[A-Za-z0-9][A-Za-z0-9_-]{0,99}",
        ) {
            let text = format!("arn:{partition}:eks:{region}:{account}:cluster/{name}");
            let cluster = ClusterArn::parse(&text).unwrap();
            prop_assert_eq!(cluster.to_string(), text);
            prop_assert_eq!(cluster.partition().as_str(), partition);
            prop_assert_eq!(cluster.region().as_str(), region);
            prop_assert_eq!(cluster.account().as_str(), account);
            prop_assert_eq!(cluster.name(), name);
        }

        #[test]
        fn no_text_makes_the_parsers_panic_or_change_it(
            text in "(arn:)?(aws|iam|sts|eks|role/|assumed-role/|cluster/|[0-9]{12}|[:/a-z0-9-]){0,12}\\PC*",
        ) {
            if let Ok(arn) = AssumedRoleArn::parse(&text) {
                let (role, session) = (arn.role_name(), arn.session_name());
                prop_assert_eq!(
                    format!("arn:{}:sts::{}:assumed-role/{role}/{session}", arn.partition(), arn.account()),
                    text.as_str()
                );
            }
            if let Ok(role) = RoleArn::parse(&text) {
                prop_assert_eq!(role.as_str(), &text);
                prop_assert_eq!(format!("{}{}", role.path(), role.name()), text.split_once(":role").unwrap().1);
            }
            if let Ok(cluster) = ClusterArn::parse(&text) {
                prop_assert_eq!(cluster.as_str(), &text);
            }
        }
    }

    #[test]
    fn l19_only_iam_roles_are_role_arns() {
        for (bad, error) in [
            ("", ArnError::Form),
            ("arn:aws:iam::123456789012", ArnError::Form),
            ("ARN:aws:iam::123456789012:role/a", ArnError::Form),
            ("arn:aws:sts::123456789012:assumed-role/agents/session", ArnError::Service),
            ("arn:aws:iam:us-east-1:123456789012:role/a", ArnError::Service),
            ("arn:aws:iam::123456789012:assumed-role/agents/session", ArnError::Resource),
            ("arn:aws:iam::123456789012:user/a", ArnError::Resource),
            ("arn:aws:iam::123456789012:role", ArnError::Resource),
            ("arn:aws:iam::123456789012:role/", ArnError::Resource),
            ("arn:aws:iam::123456789012:roles/a", ArnError::Resource),
            ("arn:aws:iam::123456789012:role/a/", ArnError::Resource),
            ("arn:aws:iam::123456789012:role/*", ArnError::Resource),
            ("arn:aws:iam::123456789012:role/a b/c", ArnError::Resource),
            ("arn:aws:iam::12345678901:role/a", ArnError::Account),
            ("arn:aws:iam::12345678901x:role/a", ArnError::Account),
            ("arn:aws:iam::*:role/a", ArnError::Account),
            ("arn::iam::123456789012:role/a", ArnError::Partition),
            ("arn:awsx:iam::123456789012:role/a", ArnError::Partition),
            ("arn:aws-:iam::123456789012:role/a", ArnError::Partition),
            ("arn:*:iam::123456789012:role/a", ArnError::Partition),
            (&format!("arn:aws:iam::123456789012:role/{}", "a".repeat(65)), ArnError::Resource),
            (&format!("arn:aws:iam::123456789012:role/{}/a", "p".repeat(511)), ArnError::Resource),
            (&format!("arn:aws:iam::123456789012:role/{}", "a".repeat(2048)), ArnError::Form),
        ] {
            assert_eq!(RoleArn::parse(bad), Err(error), "{bad}");
        }
        let longest = format!("arn:aws:iam::123456789012:role/{}/{}", "p".repeat(510), "a".repeat(64));
        assert_eq!(RoleArn::parse(&longest).unwrap().path().len(), MAX_ROLE_PATH);
    }

    #[test]
    fn w6_l6_only_sessions_of_roles_are_assumed_role_arns() {
        for (bad, error) in [
            ("", ArnError::Form),
            ("assumed-role/agents/blue", ArnError::Form),
            ("ARN:aws:sts::123456789012:assumed-role/agents/blue", ArnError::Form),
            (" arn:aws:sts::123456789012:assumed-role/agents/blue", ArnError::Form),
            ("arn:aws:iam::123456789012:role/agents", ArnError::Service),
            ("arn:aws:iam::123456789012:user/agents", ArnError::Service),
            ("arn:aws:iam::123456789012:root", ArnError::Service),
            ("arn:aws:iam::123456789012:assumed-role/agents/blue", ArnError::Service),
            ("arn:aws:STS::123456789012:assumed-role/agents/blue", ArnError::Service),
            ("arn:aws:sts:us-east-1:123456789012:assumed-role/agents/blue", ArnError::Service),
            ("arn:aws:sts::123456789012:federated-user/agents", ArnError::Resource),
            ("arn:aws:sts::123456789012:assumed-role", ArnError::Resource),
            ("arn:aws:sts::123456789012:assumed-role/agents", ArnError::Resource),
            ("arn:aws:sts::123456789012:assumed-role/agents/", ArnError::Resource),
            ("arn:aws:sts::123456789012:assumed-role//blue", ArnError::Resource),
            ("arn:aws:sts::123456789012:assumed-role/agents/b", ArnError::Resource),
            ("arn:aws:sts::123456789012:assumed-role/team/agents/blue", ArnError::Resource),
            ("arn:aws:sts::123456789012:assumed-role/agents/blue/", ArnError::Resource),
            ("arn:aws:sts::123456789012:assumed-role/agents/bl:ue", ArnError::Resource),
            ("arn:aws:sts::123456789012:assumed-role/agents/bl*e", ArnError::Resource),
            ("arn:aws:sts::123456789012:assumed-role/agents/blue ", ArnError::Resource),
            ("arn:aws:sts::123456789012:assumed-role/agents/blue\n", ArnError::Resource),
            ("arn:aws:sts::123456789012:assumed-role/agents/bl\u{fc}e", ArnError::Resource),
            ("arn:aws:sts::12345678901:assumed-role/agents/blue", ArnError::Account),
            ("arn:aws:sts::*:assumed-role/agents/blue", ArnError::Account),
            ("arn:aws:sts::\u{661}23456789012:assumed-role/agents/blue", ArnError::Account),
            ("arn:gcp:sts::123456789012:assumed-role/agents/blue", ArnError::Partition),
            (&format!("arn:aws:sts::123456789012:assumed-role/{}/blue", "a".repeat(65)), ArnError::Resource),
            (
                &format!("arn:aws:sts::123456789012:assumed-role/agents/{}", "b".repeat(65)),
                ArnError::Resource,
            ),
        ] {
            assert_eq!(AssumedRoleArn::parse(bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn l30_only_roles_have_a_roles_unique_id() {
        for good in ["AROADBQP57FF2AEXAMPLE", "AROA123456789012", &format!("AROA{}", "A".repeat(124))] {
            assert_eq!(RoleUniqueId::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "AROA",
            "AROA12345678901",
            "AIDADBQP57FF2AEXAMPLE",
            "aroadbqp57ff2aexample",
            "AROADBQP57FF2AEXAMPLE:blue",
            "AROA*7FF2AEXAMPLEEEEE",
            &format!("AROA{}", "A".repeat(125)),
        ] {
            assert_eq!(RoleUniqueId::parse(bad), Err(ArnError::UniqueId), "{bad}");
        }
    }

    #[test]
    fn w25_only_eks_clusters_are_cluster_arns() {
        for (bad, error) in [
            ("eks", ArnError::Form),
            ("arn:aws:ecs:us-east-1:123456789012:cluster/prod", ArnError::Service),
            ("arn:aws:eks:us-east-1:123456789012:nodegroup/prod", ArnError::Resource),
            ("arn:aws:eks:us-east-1:123456789012:cluster/", ArnError::Resource),
            ("arn:aws:eks:us-east-1:123456789012:cluster/a/b", ArnError::Resource),
            ("arn:aws:eks:us-east-1:123456789012:cluster/-a", ArnError::Resource),
            ("arn:aws:eks:us-east-1:123456789012:cluster/*", ArnError::Resource),
            ("arn:aws:eks:us-east-1::cluster/prod", ArnError::Account),
            ("arn:aws:eks::123456789012:cluster/prod", ArnError::Region),
            ("arn:aws:eks:aws-global:123456789012:cluster/prod", ArnError::Region),
            (&format!("arn:aws:eks:us-east-1:123456789012:cluster/{}", "a".repeat(101)), ArnError::Resource),
        ] {
            assert_eq!(ClusterArn::parse(bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn the_global_endpoint_is_no_region() {
        for good in ["us-east-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1", "ap-southeast-12"] {
            assert!(Region::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "aws-global",
            "us-east",
            "east-1",
            "us-east-1a",
            "us-east-123",
            "US-east-1",
            "us--1",
            "a/b-c-1",
        ] {
            assert_eq!(Region::parse(bad), Err(ArnError::Region), "{bad}");
        }
    }
}
