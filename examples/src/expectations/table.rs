use agentkeys_federation::{DataClass, RoleArn, TAG_ACTOR_OMNI};

use super::{Asker, Expectation, Keys};
use crate::deployment::{Deployment, Tenant};

impl Deployment {
    /// What its documents must allow and deny.
    #[must_use]
    pub fn expectations(&self) -> Vec<Expectation> {
        let mut table = Table { deployment: self, all: Vec::new() };
        for &class in self.classes() {
            let role = self.names().role(class);
            let subjects: Vec<_> = self.subjects().iter().map(|subject| subject.as_str()).collect();
            table.tokens(role, &subjects);
            table.access(&format!("/roles/{}/role_policy", role.name()), class);
            let bucket = format!("/buckets/{}/bucket_policy", self.names().bucket(class));
            table.access(&bucket, class);
            table.strangers(&bucket, class);
        }
        table.pods();
        for tenant in self.tenants() {
            let subjects: Vec<_> = tenant.subjects.iter().map(|subject| subject.as_str()).collect();
            table.tokens(&tenant.runtime, &subjects);
            table.sessions(tenant);
        }
        table.all
    }
}

struct Table<'a> {
    deployment: &'a Deployment,
    all: Vec<Expectation>,
}

impl Table<'_> {
    #[expect(clippy::too_many_arguments, reason = "a row of the table is its seven columns")]
    fn put(
        &mut self,
        document: &str,
        what: impl Into<String>,
        principal: &Asker,
        action: &str,
        resource: &str,
        context: &Keys,
        allowed: bool,
    ) {
        self.all.push(Expectation {
            document: document.to_owned(),
            what: what.into(),
            principal: principal.clone(),
            action: action.to_owned(),
            resource: resource.to_owned(),
            context: context.clone(),
            allowed,
        });
    }

    /// Who becomes a role with a token (R48-R51, W65).
    fn tokens(&mut self, role: &RoleArn, subjects: &[&str]) {
        let provider = self.deployment.provider();
        let host = provider.issuer().without_scheme();
        let (aud, sub) = (format!("{host}:aud"), format!("{host}:sub"));
        let (ours, arn) = (Asker::Federated(provider.arn()), role.as_str());
        let document = format!("/roles/{}/trust_policy", role.name());
        let document = document.as_str();
        for subject in subjects {
            let agent = subject.replace('*', "blue");
            let token = keys(&[
                (&aud, "sts.amazonaws.com"),
                (&sub, &agent),
                (ROLE_PIN, "true"),
                (&format!("aws:RequestTag/{TAG_ACTOR_OMNI}"), OMNI),
            ]);
            self.put(document, "a good token", &ours, WEB_IDENTITY, arn, &token, true);
            self.put(document, "its tags", &ours, TAG_SESSION, arn, &token, true);
            for action in [ASSUME_ROLE, SET_SOURCE_IDENTITY, SAML] {
                self.put(document, "another action", &ours, action, arn, &token, false);
            }
            for (what, key, value) in [
                ("another audience", &*aud, Some("reports.example.org")),
                ("another audience that begins alike", &*aud, Some("sts.amazonaws.com.example.org")),
                ("no audience", &*aud, None),
                ("no subject", &*sub, None),
                ("a subject of one word", &*sub, Some("blue")),
                ("no role pin", ROLE_PIN, None),
                ("another role's pin", ROLE_PIN, Some("false")),
                ("no tag", &*format!("aws:RequestTag/{TAG_ACTOR_OMNI}"), None),
            ] {
                let token = but(&token, key, value);
                self.put(document, what, &ours, WEB_IDENTITY, arn, &token, false);
            }
            // kind, root, tenant and agent, one at a time another's
            for (at, pattern) in subject.split('/').enumerate().filter(|(_, pattern)| *pattern != "*") {
                let mut parts: Vec<_> = agent.split('/').collect();
                let other = format!("{pattern}2");
                if let Some(part) = parts.get_mut(at) {
                    *part = &other;
                }
                let token = but(&token, &sub, Some(&parts.join("/")));
                let what =
                    format!("another {}", ["kind", "root", "tenant", "agent"].get(at).unwrap_or(&"part"));
                self.put(document, what, &ours, WEB_IDENTITY, arn, &token, false);
            }
            // the same words from somebody else
            let elsewhere = provider.arn().replace(host, "elsewhere.example.org");
            for (what, other) in [
                ("another provider", Asker::Federated(elsewhere)),
                (
                    "a provider whose name begins alike",
                    Asker::Federated(format!("{}.example", provider.arn())),
                ),
                ("a role of the account", Asker::Role(other_role(role))),
                ("a service", Asker::Service("ec2.amazonaws.com")),
            ] {
                self.put(document, what, &other, WEB_IDENTITY, arn, &token, false);
                self.put(document, what, &other, ASSUME_ROLE, arn, &token, false);
            }
            let theirs: Keys = token
                .iter()
                .map(|(key, value)| (key.replace(host, "elsewhere.example.org"), value.clone()))
                .collect();
            self.put(document, "another provider's claims", &ours, WEB_IDENTITY, arn, &theirs, false);
        }
    }

    /// What a session of a class's role finds (R53, R56, R58, R59, W66).
    fn access(&mut self, document: &str, class: DataClass) {
        let names = self.deployment.names();
        let role = Asker::Role(names.role(class).to_string());
        let (bucket, word) = (bucket_arn(names.role(class), names.bucket(class).as_str()), class.prefix());
        let own = format!("bots/{OMNI}/{word}/");
        let tag = format!("aws:PrincipalTag/{TAG_ACTOR_OMNI}");
        let tagged = keys(&[(&tag, OMNI)]);

        let object = format!("{bucket}/{own}n");
        for action in OBJECT_ACTIONS {
            self.put(document, "own object", &role, action, &object, &tagged, true);
            for (what, key) in [
                ("another actor's object", format!("bots/{OTHER}/{word}/n")),
                ("another class's part", format!("bots/{OMNI}/{}/n", other_class(class).prefix())),
                ("the actor's other things", format!("bots/{OMNI}/n")),
                ("a key without the first folder", format!("{OMNI}/{word}/n")),
                ("a key of another first folder", format!("x/{OMNI}/{word}/n")),
                ("a key without a prefix", "n".to_owned()),
                ("an actor whose number begins alike", format!("bots/{OMNI}0/{word}/n")),
            ] {
                let key = format!("{bucket}/{key}");
                self.put(document, what, &role, action, &key, &tagged, false);
            }
            self.put(document, "untagged", &role, action, &object, &Keys::new(), false);
            let other = keys(&[(&tag, OTHER)]);
            self.put(document, "another actor's tag", &role, action, &object, &other, false);
            let wallet = keys(&[("aws:PrincipalTag/agentkeys_user_wallet", OMNI)]);
            self.put(document, "the number in another tag", &role, action, &object, &wallet, false);
        }
        let star = keys(&[(&tag, "*")]);
        self.put(document, "a tag that is a star", &role, "s3:GetObject", &object, &star, false);
        for action in OTHER_OBJECT_ACTIONS {
            self.put(document, "another action on own object", &role, action, &object, &tagged, false);
        }

        let listing = |tag_value: Option<&str>, prefix: Option<&str>| {
            let all =
                [tag_value.map(|value| (tag.as_str(), value)), prefix.map(|value| ("s3:prefix", value))];
            keys(&all.into_iter().flatten().collect::<Vec<_>>())
        };
        let own_list = listing(Some(OMNI), Some(&own));
        self.put(document, "own listing", &role, LIST, &bucket, &own_list, true);
        for (what, prefix) in [
            ("another actor's listing", Some(format!("bots/{OTHER}/{word}/"))),
            ("another class's listing", Some(format!("bots/{OMNI}/{}/", other_class(class).prefix()))),
            ("all the actor's things", Some(format!("bots/{OMNI}/"))),
            ("all actors", Some("bots/".to_owned())),
            ("a listing of another first folder", Some(format!("x/{OMNI}/{word}/"))),
            ("a listing with an empty prefix", Some(String::new())),
            ("a listing without a prefix", None),
        ] {
            let context = listing(Some(OMNI), prefix.as_deref());
            self.put(document, what, &role, LIST, &bucket, &context, false);
        }
        for (what, value) in [("an untagged listing", None), ("another actor's tag", Some(OTHER))] {
            let context = listing(value, Some(&own));
            self.put(document, what, &role, LIST, &bucket, &context, false);
        }
        for action in OTHER_BUCKET_ACTIONS {
            self.put(document, "another action on the bucket", &role, action, &bucket, &own_list, false);
        }

        // the same in buckets that are not this class's, or not this stack's
        let mut others = vec![
            ("the other stack's bucket", other_stack(names.bucket(class).as_str())),
            ("a bucket whose name begins alike", format!("{}x", names.bucket(class))),
            ("somebody's bucket", "somebody".to_owned()),
        ];
        let classes = self.deployment.classes().iter().filter(|other| **other != class);
        others.extend(classes.map(|other| ("another class's bucket", names.bucket(*other).to_string())));
        for (what, other) in others {
            let bucket = bucket_arn(names.role(class), &other);
            for action in OBJECT_ACTIONS {
                let object = format!("{bucket}/{own}n");
                self.put(document, what, &role, action, &object, &tagged, false);
            }
            self.put(document, what, &role, LIST, &bucket, &own_list, false);
        }
    }

    /// Who is not the bucket's role (R58): whatever tags he has.
    fn strangers(&mut self, document: &str, class: DataClass) {
        let names = self.deployment.names();
        let (bucket, word) = (bucket_arn(names.role(class), names.bucket(class).as_str()), class.prefix());
        let own = format!("bots/{OMNI}/{word}/");
        let tag = format!("aws:PrincipalTag/{TAG_ACTOR_OMNI}");
        let role = names.role(class);
        let others = self.deployment.classes().iter().filter(|other| **other != class);
        let mut strangers: Vec<_> = others
            .map(|other| ("another class's role", Asker::Role(names.role(*other).to_string())))
            .collect();
        strangers.push(("the other stack's role", Asker::Role(other_stack(role.as_str()))));
        strangers.push(("the pods' role", Asker::Role(names.pod_role().to_string())));
        strangers.push(("another role", Asker::Role(other_role(role))));
        strangers.push(("a role of another account", Asker::Role(foreign(role))));
        strangers.push(("a service", Asker::Service("ec2.amazonaws.com")));
        strangers.push(("a token", Asker::Federated(self.deployment.provider().arn())));
        for (what, stranger) in strangers {
            let object = format!("{bucket}/{own}n");
            for action in OBJECT_ACTIONS {
                self.put(document, what, &stranger, action, &object, &keys(&[(&tag, OMNI)]), false);
            }
            let context = keys(&[(&tag, OMNI), ("s3:prefix", &own)]);
            self.put(document, what, &stranger, LIST, &bucket, &context, false);
        }
    }

    /// The pods' role (R27, W12, L17, L26).
    fn pods(&mut self) {
        let Some(audience) = self.deployment.pod_audience() else { return };
        let role = self.deployment.names().pod_role();
        let (eks, none) = (Asker::Service("pods.eks.amazonaws.com"), Keys::new());
        let document = format!("/roles/{}/trust_policy", role.name());
        for action in [ASSUME_ROLE, TAG_SESSION] {
            self.put(&document, "EKS", &eks, action, role.as_str(), &none, true);
            for (what, other) in [
                ("another service", Asker::Service("ec2.amazonaws.com")),
                ("a role of the account", Asker::Role(other_role(role))),
                ("a token", Asker::Federated(self.deployment.provider().arn())),
            ] {
                self.put(&document, what, &other, action, role.as_str(), &none, false);
            }
        }
        for action in [SET_SOURCE_IDENTITY, WEB_IDENTITY, SAML] {
            self.put(&document, "another action", &eks, action, role.as_str(), &none, false);
        }

        let document = format!("/roles/{}/role_policy", role.name());
        let pod = Asker::Role(role.to_string());
        let (token, key) = ("sts:GetWebIdentityToken", "sts:IdentityTokenAudience");
        let good = keys(&[(key, audience.as_str())]);
        self.put(&document, "a token", &pod, token, "*", &good, true);
        let longer = format!("{audience}2");
        for other in ["sts.amazonaws.com", &longer] {
            self.put(
                &document,
                "a token for another audience",
                &pod,
                token,
                "*",
                &keys(&[(key, other)]),
                false,
            );
        }
        let both = Keys::from([(key.to_owned(), vec![audience.to_string(), "sts.amazonaws.com".to_owned()])]);
        self.put(&document, "a token for another audience as well", &pod, token, "*", &both, false);
        self.put(&document, "a token for nobody", &pod, token, "*", &none, false);
        for action in [
            "sts:TagGetWebIdentityToken",
            ASSUME_ROLE,
            SAML,
            TAG_SESSION,
            SET_SOURCE_IDENTITY,
            "s3:GetObject",
        ] {
            self.put(&document, "another action", &pod, action, "*", &good, false);
        }
    }

    /// Both halves of a tenant's attributed sessions (R104, R105, R115).
    fn sessions(&mut self, tenant: &Tenant) {
        let (runtime, session) = (Asker::Role(tenant.runtime.to_string()), tenant.session.as_str());
        let tag = format!("aws:PrincipalTag/{TAG_ACTOR_OMNI}");
        let (source, prefix) = ("sts:SourceIdentity", format!("agent+{}+", tenant.name));
        let good = keys(&[(source, &format!("{prefix}7")), (&tag, OMNI)]);
        let trust = format!("/roles/{}/trust_policy", tenant.session.name());
        let caller = format!("/roles/{}/role_policy", tenant.runtime.name());
        for document in [&trust, &caller] {
            for action in [ASSUME_ROLE, TAG_SESSION, SET_SOURCE_IDENTITY] {
                self.put(document, "an attributed session", &runtime, action, session, &good, true);
                for (what, key, value) in [
                    ("unattributed", source, None),
                    ("as another tenant", source, Some("agent+another+7")),
                    (
                        "as a tenant whose name begins alike",
                        source,
                        Some(&*format!("agent+{}2+7", tenant.name)),
                    ),
                    ("as somebody", source, Some("jane")),
                    (
                        "as somebody whose name holds the tenant's",
                        source,
                        Some(&*format!("jane+{}+7", tenant.name)),
                    ),
                    ("as somebody who begins alike", source, Some(&*format!("agents+{}+7", tenant.name))),
                    ("from an untagged session", &*tag, None),
                ] {
                    let context = but(&good, key, value);
                    self.put(document, what, &runtime, action, session, &context, false);
                }
            }
            for action in [WEB_IDENTITY, SAML, "sts:GetFederationToken"] {
                self.put(document, "another action", &runtime, action, session, &good, false);
            }
        }
        for (what, other) in [
            ("another role", Asker::Role(other_role(&tenant.runtime))),
            ("the other stack's role", Asker::Role(other_stack(tenant.runtime.as_str()))),
            ("a role of another account", Asker::Role(foreign(&tenant.runtime))),
            ("a class's role", Asker::Role(self.deployment.names().role(DataClass::Memory).to_string())),
            ("a token", Asker::Federated(self.deployment.provider().arn())),
            ("a service", Asker::Service("ec2.amazonaws.com")),
        ] {
            for action in [ASSUME_ROLE, SET_SOURCE_IDENTITY] {
                self.put(&trust, what, &other, action, session, &good, false);
            }
        }
        for (what, other) in [
            ("another role", other_role(&tenant.session)),
            ("the other stack's role", other_stack(session)),
            ("a role whose name begins alike", format!("{session}x")),
            ("a role of another account", foreign(&tenant.session)),
        ] {
            for action in [ASSUME_ROLE, SET_SOURCE_IDENTITY] {
                self.put(&caller, what, &runtime, action, &other, &good, false);
            }
        }
    }
}

fn keys(all: &[(&str, &str)]) -> Keys {
    all.iter().map(|(key, value)| ((*key).to_owned(), vec![(*value).to_owned()])).collect()
}

/// The keys without one, or with another value of it.
fn but(all: &Keys, key: &str, value: Option<&str>) -> Keys {
    let mut all = all.clone();
    all.remove(key);
    all.extend(value.map(|value| (key.to_owned(), vec![value.to_owned()])));
    all
}

/// The ARN of a bucket in this role's partition.
fn bucket_arn(role: &RoleArn, bucket: &str) -> String {
    format!("arn:{}:s3:::{bucket}", role.partition())
}

const fn other_class(class: DataClass) -> DataClass {
    match class {
        DataClass::Memory => DataClass::Vault,
        _ => DataClass::Memory,
    }
}

/// The same name in the other stack.
fn other_stack(name: &str) -> String {
    name.strip_suffix("-test").map_or_else(|| format!("{name}-test"), str::to_owned)
}

fn other_role(role: &RoleArn) -> String {
    role.as_str().replace(role.name(), "somebody")
}

/// The same name in another account.
fn foreign(role: &RoleArn) -> String {
    role.as_str().replace(role.account(), "999999999999")
}

const OMNI: &str = "9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e";
const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000001";
const WEB_IDENTITY: &str = "sts:AssumeRoleWithWebIdentity";
const ASSUME_ROLE: &str = "sts:AssumeRole";
const SAML: &str = "sts:AssumeRoleWithSAML";
const TAG_SESSION: &str = "sts:TagSession";
const SET_SOURCE_IDENTITY: &str = "sts:SetSourceIdentity";
const ROLE_PIN: &str = "sts:RoleAuthorizedByIdp";
const LIST: &str = "s3:ListBucket";
const OBJECT_ACTIONS: [&str; 3] = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"];
const OTHER_OBJECT_ACTIONS: [&str; 4] =
    ["s3:GetObjectVersion", "s3:DeleteObjectVersion", "s3:PutObjectAcl", "s3:GetObjectAcl"];
const OTHER_BUCKET_ACTIONS: [&str; 4] =
    ["s3:ListBucketVersions", "s3:ListBucketMultipartUploads", "s3:PutBucketPolicy", "s3:DeleteBucket"];
