use std::fmt;
use std::str::FromStr;

use super::access::BucketName;
use super::document::PolicyError;
use crate::aws::account::{AccountId, Partition};
use crate::aws::role::RoleArn;
use crate::data_class::DataClass;

/// One of a deployment's two stacks. Each has an issuer of its own, so that neither's tokens open anything of
/// the other (R35, R51), and names of its own (R84).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stack {
    /// Where the agents work.
    Production,
    /// Where changes are tried.
    Test,
}

impl Stack {
    /// Its name, for settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Test => "test",
        }
    }

    /// What every derived name ends in.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Production => "",
            Self::Test => "-test",
        }
    }
}

impl FromStr for Stack {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        [Self::Production, Self::Test]
            .into_iter()
            .find(|stack| stack.as_str() == text)
            .ok_or(PolicyError::Stack)
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The names of a stack's roles and buckets, all derived from one. Every name of the test stack ends in
/// `-test` and none of production's does, whatever a class or tenant is called: in one account no name means
/// two things (R84).
///
/// Buckets carry the account's number, because all accounts share one space of bucket names: whoever took the
/// name first would be handed the agents' data.
///
/// ```
/// # use agentkeys_federation::{DataClass, Stack, StackNames};
/// let names = StackNames::new(Stack::Test, "agentkeys", "aws".parse()?, "123456789012".parse()?)?;
/// assert_eq!(names.role(DataClass::Memory).name(), "agentkeys-memory-role-test");
/// assert_eq!(names.bucket(DataClass::Memory).as_str(), "agentkeys-memory-123456789012-test");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackNames {
    stack: Stack,
    name: String,
    partition: Partition,
    account: AccountId,
    data: ClassNames,
    vault: ClassNames,
    memory: ClassNames,
    config: ClassNames,
    pods: RoleArn,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ClassNames {
    role: RoleArn,
    bucket: BucketName,
}

impl StackNames {
    /// The names that begin with `name`, in one account.
    ///
    /// # Errors
    /// [`PolicyError::Name`] where `name` is not 2 to 20 of `a-z 0-9`, a letter first.
    pub fn new(
        stack: Stack,
        name: &str,
        partition: Partition,
        account: AccountId,
    ) -> Result<Self, PolicyError> {
        // without a hyphen, so that it ends where the first one stands
        let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        let all = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !(first && all && (2..=MAX_NAME).contains(&name.len())) {
            return Err(PolicyError::Name);
        }
        let role = |of: &str| role_arn(&partition, &account, &format!("{name}-{of}-role{}", stack.suffix()));
        let class = |class: DataClass| -> Result<ClassNames, PolicyError> {
            let bucket = format!("{name}-{class}-{account}{}", stack.suffix());
            Ok(ClassNames { role: role(class.as_str())?, bucket: bucket.parse()? })
        };
        Ok(Self {
            stack,
            name: name.to_owned(),
            data: class(DataClass::Data)?,
            vault: class(DataClass::Vault)?,
            memory: class(DataClass::Memory)?,
            config: class(DataClass::Config)?,
            pods: role("pods")?,
            partition,
            account,
        })
    }

    /// Which stack's they are.
    #[must_use]
    pub const fn stack(&self) -> Stack {
        self.stack
    }

    /// The role of a class: `<name>-<class>-role`.
    #[must_use]
    pub const fn role(&self, class: DataClass) -> &RoleArn {
        &self.class(class).role
    }

    /// The bucket of a class: `<name>-<class>-<account>`.
    #[must_use]
    pub const fn bucket(&self, class: DataClass) -> &BucketName {
        &self.class(class).bucket
    }

    /// The role that the agents' pods have: `<name>-pods-role`.
    #[must_use]
    pub const fn pod_role(&self) -> &RoleArn {
        &self.pods
    }

    /// The role whose sessions start a tenant's attributed ones: `<name>-<tenant>-runtime-role`.
    ///
    /// # Errors
    /// [`PolicyError::Tenant`] where `tenant` is not 1 to 24 of `a-z 0-9 -`, letters or digits at both ends.
    /// Nothing is replaced or cut, and IAM takes two names that differ in case for one.
    pub fn runtime_role(&self, tenant: &str) -> Result<RoleArn, PolicyError> {
        self.tenant_role(tenant, "runtime")
    }

    /// The role of a tenant's attributed sessions (R110): `<name>-<tenant>-session-role`.
    ///
    /// # Errors
    /// The same.
    pub fn session_role(&self, tenant: &str) -> Result<RoleArn, PolicyError> {
        self.tenant_role(tenant, "session")
    }

    fn tenant_role(&self, tenant: &str, of: &str) -> Result<RoleArn, PolicyError> {
        let end = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let plain = tenant.bytes().all(|byte| end(Some(byte)) || byte == b'-');
        let ends = end(tenant.bytes().next()) && end(tenant.bytes().last());
        if !(plain && ends && tenant.len() <= MAX_TENANT) {
            return Err(PolicyError::Tenant);
        }
        let Self { stack, name, partition, account, .. } = self;
        role_arn(partition, account, &format!("{name}-{tenant}-{of}-role{}", stack.suffix()))
    }

    const fn class(&self, class: DataClass) -> &ClassNames {
        match class {
            DataClass::Data => &self.data,
            DataClass::Vault => &self.vault,
            DataClass::Memory => &self.memory,
            DataClass::Config => &self.config,
        }
    }
}

fn role_arn(partition: &Partition, account: &AccountId, name: &str) -> Result<RoleArn, PolicyError> {
    format!("arn:{partition}:iam::{account}:role/{name}").parse().map_err(|_| PolicyError::Name)
}

/// A role's name has 64 characters and a bucket's 63: the longest that is derived from these two has 63.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
const MAX_NAME: usize = 20;
const MAX_TENANT: usize = 24;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(stack: Stack, name: &str) -> Result<StackNames, PolicyError> {
        StackNames::new(stack, name, "aws-cn".parse().unwrap(), "123456789012".parse().unwrap())
    }

    fn all(names: &StackNames, tenants: &[&str]) -> Vec<String> {
        let mut all = vec![names.pod_role().name().to_owned()];
        for class in DataClass::ALL {
            all.push(names.role(class).name().to_owned());
            all.push(names.bucket(class).as_str().to_owned());
        }
        for tenant in tenants {
            all.push(names.runtime_role(tenant).unwrap().name().to_owned());
            all.push(names.session_role(tenant).unwrap().name().to_owned());
        }
        all
    }

    // tenants that are named like a stack, a class or a kind of role
    const TENANTS: [&str; 6] = ["acme", "acme-test", "test", "memory", "pods", "acme-session-role"];

    #[test]
    fn r84_every_name_of_the_test_stack_ends_in_test_and_none_of_productions_does() {
        let production = all(&names(Stack::Production, "agentkeys").unwrap(), &TENANTS);
        let test = all(&names(Stack::Test, "agentkeys").unwrap(), &TENANTS);
        assert_eq!(production.len(), 1 + 2 * 4 + 2 * TENANTS.len());
        for (production, test) in production.iter().zip(&test) {
            assert!(!production.ends_with("-test"), "{production}");
            assert_eq!(test, &format!("{production}-test"));
        }
    }

    #[test]
    fn r84_no_two_things_of_an_account_share_a_name() {
        let deployments = [(Stack::Production, "agentkeys"), (Stack::Test, "agentkeys"), (Stack::Test, "ag")];
        let every: Vec<_> = deployments
            .iter()
            .flat_map(|(stack, name)| all(&names(*stack, name).unwrap(), &TENANTS))
            .collect();
        let distinct: BTreeSet<_> = every.iter().map(|name| name.to_lowercase()).collect();
        assert_eq!(distinct.len(), every.len());
    }

    #[test]
    fn r84_w78_names_are_whole_or_refused() {
        let of = names(Stack::Test, "agentkeys").unwrap();
        assert_eq!(of.stack(), Stack::Test);
        assert_eq!(
            of.role(DataClass::Vault).as_str(),
            "arn:aws-cn:iam::123456789012:role/agentkeys-vault-role-test"
        );
        assert_eq!(of.bucket(DataClass::Vault).as_str(), "agentkeys-vault-123456789012-test");
        assert_eq!(of.pod_role().name(), "agentkeys-pods-role-test");
        assert_eq!(of.session_role("acme").unwrap().name(), "agentkeys-acme-session-role-test");
        let longest = names(Stack::Test, &"a".repeat(MAX_NAME)).unwrap();
        assert_eq!(longest.runtime_role(&"a".repeat(MAX_TENANT)).unwrap().name().len(), 63);

        for bad in ["", "a", "9a", "-a", "a-b", "Ab", "a.b", "a_b", "a b", "aé", &"a".repeat(MAX_NAME + 1)] {
            assert_eq!(names(Stack::Production, bad), Err(PolicyError::Name), "{bad}");
        }
        for bad in ["", "-", "-a", "a-", "Acme", "a.b", "a/b", "a*", "aé", "a b", &"a".repeat(MAX_TENANT + 1)]
        {
            assert_eq!(of.session_role(bad), Err(PolicyError::Tenant), "{bad}");
            assert_eq!(of.runtime_role(bad), Err(PolicyError::Tenant), "{bad}");
        }
    }

    #[test]
    fn r84_a_stack_is_named_and_never_guessed() {
        for stack in [Stack::Production, Stack::Test] {
            assert_eq!(stack.to_string().parse(), Ok(stack));
        }
        for bad in ["", "prod", "Test", "staging", " test"] {
            assert_eq!(bad.parse::<Stack>(), Err(PolicyError::Stack), "{bad}");
        }
    }
}
