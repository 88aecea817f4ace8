use std::fmt;
use std::iter;
use std::str::FromStr;

use super::document::{PolicyDocument, PolicyError, Principal, Statement};
use crate::actor::ActorOmni;
use crate::aws::role::RoleArn;
use crate::aws::tags::{TAG_ACTOR_OMNI, TAG_USER_WALLET};
use crate::data_class::DataClass;

/// What a class's role finds in the class's bucket: the objects under the prefix of the agent whose tag the
/// session carries, and nothing else (R53, R56, R58).
///
/// Listing and objects are two statements, because the prefix of a listing is a condition and that of an
/// object is part of the resource; each tests for the tag (R59, W66).
#[derive(Clone, Debug)]
pub struct ClassAccess {
    class: DataClass,
    bucket: BucketName,
    role: RoleArn,
    scope: Scope,
    others: Vec<ActorOmni>,
}

/// Whose objects.
#[derive(Clone, Debug)]
enum Scope {
    Actor,
    LegacyWallet,
    OneActor(ActorOmni),
}

impl ClassAccess {
    /// Access of `role` to `bucket`, which hold this class and no other, scoped by [`TAG_ACTOR_OMNI`]:
    /// `bots/<actor>/<class>/…`.
    #[must_use]
    pub const fn new(class: DataClass, bucket: BucketName, role: RoleArn) -> Self {
        Self { class, bucket, role, scope: Scope::Actor, others: Vec::new() }
    }

    /// Scoped by the older [`TAG_USER_WALLET`]: `<wallet>/…` (R54).
    #[must_use]
    pub fn for_legacy_wallets(mut self) -> Self {
        self.scope = Scope::LegacyWallet;
        self
    }

    /// For one actor, without a policy variable: for servers that cannot read one in `Resource` and have no
    /// `Null`, such as the Ceph Object Gateway. The session's tag must be this actor's.
    /// <https://docs.ceph.com/en/latest/radosgw/session-tags/>
    #[must_use]
    pub fn for_one_actor(mut self, actor: ActorOmni) -> Self {
        self.scope = Scope::OneActor(actor);
        self
    }

    /// And for this one: each actor has two statements of its own. AWS takes 10,240 characters of a role's
    /// policies and 20 KiB of a bucket's, room for about a dozen actors and two dozen.
    #[must_use]
    pub fn or_actor(mut self, actor: ActorOmni) -> Self {
        self.others.push(actor);
        self
    }

    /// The bucket's policy: it names this role alone.
    #[must_use]
    pub fn bucket_policy(&self) -> PolicyDocument {
        let role = || Principal::Aws(self.role.to_string());
        PolicyDocument::new(self.statements().map(|statement| statement.to(role())).collect())
    }

    /// The role's own policy, which says the same once more. A broader grant beside it would undo both: the
    /// grants of all policies add up (R60).
    #[must_use]
    pub fn role_policy(&self) -> PolicyDocument {
        PolicyDocument::new(self.statements().collect())
    }

    fn statements(&self) -> impl Iterator<Item = Statement> {
        let others = self.others.iter().cloned().map(Scope::OneActor);
        // the name of a statement stands once in a document
        let numbered = (2_u32..).map(|number| number.to_string());
        let names = iter::once(String::new()).chain(numbered);
        let scopes = iter::once(self.scope.clone()).chain(others);
        scopes.zip(names).flat_map(|(scope, name)| self.statements_of(&scope, &name))
    }

    fn statements_of(&self, scope: &Scope, name: &str) -> [Statement; 2] {
        let (class, own) = (self.class, scope.own_prefix(self.class));
        let bucket = format!("arn:{}:s3:::{}", self.role.partition(), self.bucket);
        let list = Statement::allow(format!("{class:?}List{name}"), ["s3:ListBucket"])
            .on(bucket.clone())
            .when("StringLike", "s3:prefix", [own.as_str()]);
        let actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"];
        let objects =
            Statement::allow(format!("{class:?}Objects{name}"), actions).on(format!("{bucket}/{own}"));
        [scope.tagged(list), scope.tagged(objects)]
    }
}

impl Scope {
    /// An untagged session's variable has no value, but nobody needs to rely on it (R56).
    fn tagged(&self, statement: Statement) -> Statement {
        match self {
            Self::Actor => statement.when("Null", principal_tag(TAG_ACTOR_OMNI), ["false"]),
            Self::LegacyWallet => statement.when("Null", principal_tag(TAG_USER_WALLET), ["false"]),
            Self::OneActor(actor) => {
                statement.when("StringEquals", principal_tag(TAG_ACTOR_OMNI), [actor.as_str()])
            }
        }
    }

    fn own_prefix(&self, class: DataClass) -> String {
        let class = class.prefix();
        match self {
            Self::Actor => format!("bots/${{{}}}/{class}/*", principal_tag(TAG_ACTOR_OMNI)),
            Self::LegacyWallet => format!("${{{}}}/*", principal_tag(TAG_USER_WALLET)),
            Self::OneActor(actor) => format!("bots/{actor}/{class}/*"),
        }
    }
}

fn principal_tag(key: &str) -> String {
    format!("aws:PrincipalTag/{key}")
}

/// A bucket's name.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(String);

impl BucketName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BucketName {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let end =
            |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let inner = |byte: u8| end(Some(byte)) || byte == b'.' || byte == b'-';
        let shaped = end(text.bytes().next()) && end(text.bytes().last()) && !text.contains("..");
        if (3..=63).contains(&text.len()) && text.bytes().all(inner) && shaped {
            Ok(Self(text.to_owned()))
        } else {
            Err(PolicyError::Bucket)
        }
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_hold_nothing_that_means_more_in_a_policy() {
        for good in ["abc", "agentkeys-memory", "a.b-c9"] {
            assert!(good.parse::<BucketName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            &*"a".repeat(64),
            "-abc",
            "abc-",
            ".abc",
            "a..b",
            "Abc",
            "a*c",
            "a/b",
            "a_b",
            "${x}",
            "a b",
            "é-a",
        ] {
            assert_eq!(bad.parse::<BucketName>(), Err(PolicyError::Bucket), "{bad}");
        }
    }
}
