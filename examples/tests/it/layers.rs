//! Three layers keep agents apart: the trust policy (issuer and token), the scope of the tag, and the class's
//! role and bucket. Each is switched off in turn, and with each other one, in the JSON that the local AWS is
//! given; what is left must deny exactly what it is for (R118). Tokens are minted, signed and exchanged, and
//! the objects asked for by the AWS SDK, as in the quickstart.

use std::sync::Arc;
use std::time::Duration;

use agentkeys_attest::aws_stsweb::AWS_STSWEB;
use agentkeys_core::{
    Assurance, AttestedIdentity, Clock as _, HttpSettings, ReqwestClient, SystemClock, TrustStore,
};
use agentkeys_examples::{CLASSES, RunningStack, next, own_prefix};
use agentkeys_federation::{
    AwsExchanger, DataClass, ExchangeError, Exchanger as _, RoleSession, SessionTags, Stack,
};
use agentkeys_local_aws::{LocalAws, State};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::Client as S3;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use serde_json::{Value, json};

/// Which of the layers are out of the way.
#[derive(Clone, Copy, Debug)]
struct Off {
    trust: bool,
    tag: bool,
    class: bool,
}

impl Off {
    fn every() -> impl Iterator<Item = Self> {
        (0..8).map(|bits| Self { trust: bits & 1 != 0, tag: bits & 2 != 0, class: bits & 4 != 0 })
    }
}

/// Where something is: a role, or a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Home {
    stack: Stack,
    class: DataClass,
}

struct World {
    aws: LocalAws,
    production: RunningStack,
    test: RunningStack,
    exchanger: AwsExchanger,
    blue: AttestedIdentity,
    red: AttestedIdentity,
}

const STACKS: [Stack; 2] = [Stack::Production, Stack::Test];

fn homes() -> impl Iterator<Item = Home> {
    STACKS.into_iter().flat_map(|stack| CLASSES.into_iter().map(move |class| Home { stack, class }))
}

impl Home {
    /// The same, another class's, and the other stack's.
    fn and_neighbours(self) -> [Self; 3] {
        let stack = if self.stack == Stack::Test { Stack::Production } else { Stack::Test };
        [self, Self { class: next(self.class), ..self }, Self { stack, ..self }]
    }
}

impl World {
    async fn start() -> Self {
        let (account, region) = ("123456789012", "us-east-1");
        let aws =
            LocalAws::start(State::new(account.parse().unwrap(), region.parse().unwrap())).await.unwrap();
        let subjects = ["aws-stsweb/root//*"];
        let production = RunningStack::start(&aws, Stack::Production, &subjects, &CLASSES).await.unwrap();
        let test = RunningStack::start(&aws, Stack::Test, &subjects, &CLASSES).await.unwrap();
        let http = Arc::new(ReqwestClient::new(HttpSettings::new(TrustStore::nobody())).unwrap());
        let exchanger = AwsExchanger::with_endpoint(region.parse().unwrap(), http, aws.endpoint());
        let now = SystemClock::new().now().unwrap();
        let identity = |name: &str| {
            let (agent, end) = (name.parse().unwrap(), now.plus(Duration::from_secs(600)));
            let root = "root".parse().unwrap();
            AttestedIdentity::assertion(AWS_STSWEB, root, agent, Assurance::PlatformAttested, now, end)
                .unwrap()
        };
        let (blue, red) = (identity("blue"), identity("red"));
        Self { aws, production, test, exchanger, blue, red }
    }

    fn stack(&self, stack: Stack) -> &RunningStack {
        if stack == Stack::Test { &self.test } else { &self.production }
    }

    /// Puts both stacks' documents there, without the layers that are off.
    fn install(&self, off: Off) {
        let both = STACKS
            .map(|stack| serde_json::to_value(self.stack(stack).deployment().documents().unwrap()).unwrap());
        let providers: Vec<_> = both.iter().map(|documents| documents["provider"]["arn"].clone()).collect();
        let roles: Vec<_> = both
            .iter()
            .flat_map(|documents| documents["roles"].as_object().unwrap().values())
            .map(|role| role["arn"].clone())
            .collect();
        for (stack, mut documents) in STACKS.into_iter().zip(both.clone()) {
            for role in documents["roles"].as_object_mut().unwrap().values_mut() {
                if off.trust {
                    for statement in statements(&mut role["trust_policy"]) {
                        statement["Principal"]["Federated"] = json!(providers);
                        statement.as_object_mut().unwrap().remove("Condition");
                    }
                }
                for statement in statements(&mut role["role_policy"]) {
                    open(statement, off);
                }
            }
            for bucket in documents["buckets"].as_object_mut().unwrap().values_mut() {
                for statement in statements(&mut bucket["bucket_policy"]) {
                    if off.class {
                        statement["Principal"]["AWS"] = json!(roles);
                    }
                    let bucket =
                        statement["Resource"].as_str().unwrap().split('/').next().unwrap().to_owned();
                    open(statement, off);
                    // a bucket's policy is about this bucket
                    let all = statement["Resource"].as_str().unwrap().replace("arn:aws:s3:::*", &bucket);
                    statement["Resource"] = json!(all);
                }
            }
            self.stack(stack).install(&self.aws, &documents).unwrap();
        }
        for home in homes() {
            for prefix in self.prefixes(home.class) {
                let bucket = self.stack(home.stack).bucket(home.class).parse().unwrap();
                self.aws.put_object(&bucket, &format!("{prefix}note.txt"), "as it was").unwrap();
            }
        }
    }

    /// Blue's own, red's, nobody's.
    fn prefixes(&self, class: DataClass) -> [String; 3] {
        [own_prefix(&self.blue, class), own_prefix(&self.red, class), String::new()]
    }

    /// An S3 client with blue's session of a role, or none where its trust policy denies that.
    async fn session(&self, issuer: Stack, tagged: bool, role: Home) -> Option<S3> {
        let arn = self.stack(role.stack).role(role.class);
        let tags = if tagged { SessionTags::of(&self.blue) } else { SessionTags::new() };
        let session = RoleSession::new(arn.clone()).with_tags(tags);
        let minter = self.stack(issuer).minter();
        let token = minter.mint(&self.blue, session.mint_request().unwrap()).await.unwrap();
        let credentials = match self.exchanger.exchange(&token, &session).await {
            Ok(credentials) => Credentials::from(credentials),
            Err(ExchangeError::Denied) => return None,
            Err(error) => panic!("{role:?}: {error}"),
        };
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.aws.region().to_owned()))
            .endpoint_url(self.aws.endpoint())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .force_path_style(true);
        Some(S3::from_conf(config.build()))
    }

    /// Whether the object can be read and its prefix listed: both or neither.
    async fn opens(&self, s3: &S3, bucket: Home, prefix: &str) -> bool {
        let bucket = self.stack(bucket.stack).bucket(bucket.class);
        let read = s3.get_object().bucket(bucket).key(format!("{prefix}note.txt")).send().await;
        let listed = s3.list_objects_v2().bucket(bucket).prefix(prefix).send().await;
        let (read, listed) = (allowed(read), allowed(listed));
        assert_eq!(read, listed, "{bucket} {prefix}");
        read
    }
}

fn statements(policy: &mut Value) -> &mut Vec<Value> {
    policy["Statement"].as_array_mut().unwrap()
}

/// Takes the scope of the tag, the class, or both, out of what a role finds in buckets.
fn open(statement: &mut Value, off: Off) {
    let is_list = statement["Action"] == "s3:ListBucket";
    let mut resource = statement["Resource"].as_str().unwrap().to_owned();
    let bucket = resource.split('/').next().unwrap().to_owned();
    if off.tag {
        statement.as_object_mut().unwrap().remove("Condition");
        resource = if is_list { bucket.clone() } else { format!("{bucket}/*") };
    }
    if off.class {
        resource = resource.replace(&bucket, "arn:aws:s3:::*");
        for class in CLASSES {
            resource = resource.replace(&format!("/{}/*", class.prefix()), "/*");
            let condition = statement.get("Condition").map(ToString::to_string);
            if let Some(condition) = condition {
                let wider = condition.replace(&format!("/{}/*", class.prefix()), "/*");
                statement["Condition"] = serde_json::from_str(&wider).unwrap();
            }
        }
    }
    statement["Resource"] = json!(resource);
}

/// Only S3's own AccessDenied is a denial (R70).
fn allowed<T, E: ProvideErrorMetadata + std::fmt::Debug, R: std::fmt::Debug>(
    outcome: Result<T, SdkError<E, R>>,
) -> bool {
    match outcome {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.code(), Some("AccessDenied"), "{error:?}");
            false
        }
    }
}

#[tokio::test]
async fn r118_r51_r56_r58_each_layer_alone_denies_what_it_is_for() {
    let world = World::start().await;
    for off in Off::every() {
        world.install(off);
        let (mut opened, mut denied) = (0, 0);
        for (issuer, tagged) in [(Stack::Production, true), (Stack::Test, true), (Stack::Production, false)] {
            for role in homes() {
                // the issuer, and a token without the tag
                let trusted = off.trust || issuer == role.stack && tagged;
                let session = world.session(issuer, tagged, role).await;
                assert_eq!(session.is_some(), trusted, "{off:?}: {issuer} tagged={tagged} {role:?}");
                let Some(s3) = session else {
                    denied += 9;
                    continue;
                };
                for bucket in role.and_neighbours() {
                    let in_class = off.class || role == bucket;
                    for (at, prefix) in world.prefixes(bucket.class).iter().enumerate() {
                        let in_scope = off.tag || tagged && at == 0;
                        let opens = world.opens(&s3, bucket, prefix).await;
                        assert_eq!(
                            opens,
                            in_class && in_scope,
                            "{off:?}: {issuer} tagged={tagged} {role:?} {bucket:?} {prefix:?}"
                        );
                        if opens { opened += 1 } else { denied += 1 }
                    }
                }
            }
        }
        // 18 sessions and 9 places each; with nothing off, six own prefixes; with everything off, all of them
        assert_eq!(opened + denied, 18 * 9);
        match off {
            Off { trust: false, tag: false, class: false } => assert_eq!(opened, 6),
            Off { trust: true, tag: true, class: true } => assert_eq!(denied, 0),
            _ => assert!(opened > 6 && denied > 0, "{off:?}: {opened} {denied}"),
        }
    }
}
