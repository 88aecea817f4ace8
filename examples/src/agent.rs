use std::time::Duration;

use agentkeys_attest::aws_stsweb::StsWebSource;
use agentkeys_attest::spire::{SpireSource, WorkloadSocket};
use agentkeys_core::{AttestedIdentity, Evidence, EvidenceSource as _, Token};
use agentkeys_federation::{ActorOmni, CredentialSource, DataClass, RoleSession, SessionTags};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::Client as S3;

use crate::demo::{AUDIENCE, CLASSES, Demo, REGION, own_prefix};
use crate::{Failure, Report, RunningStack};

/// An agent that has proved itself and holds credentials of every class's role.
#[derive(Debug)]
pub struct Agent {
    name: String,
    identity: AttestedIdentity,
    credentials: Vec<Credentials>,
}

/// Credentials of one class's role.
#[derive(Debug)]
#[non_exhaustive]
pub struct Credentials {
    /// Whose role.
    pub class: DataClass,
    /// An S3 client that uses them.
    pub s3: S3,
    /// The token that they were exchanged for.
    pub token: Token,
}

impl Agent {
    /// Starts an agent on its platform and walks it from evidence to credentials.
    pub(crate) async fn start(
        demo: &Demo,
        platform: &Platform,
        name: &str,
        report: &mut Report,
    ) -> Result<Self, Failure> {
        let identity = attest(demo, platform, name, report).await?;
        let mut credentials = Vec::new();
        for class in CLASSES {
            credentials.push(credentials_of(demo, name, &identity, class, report).await?);
        }
        Ok(Self { name: name.to_owned(), identity, credentials })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who it was found to be.
    #[must_use]
    pub const fn identity(&self) -> &AttestedIdentity {
        &self.identity
    }

    /// Its credentials, one for each class.
    #[must_use]
    pub fn credentials(&self) -> &[Credentials] {
        &self.credentials
    }

    /// Where its objects of a class are.
    #[must_use]
    pub fn prefix(&self, class: DataClass) -> String {
        own_prefix(&self.identity, class)
    }
}

/// What an agent runs on, and so who vouches for it.
#[derive(Clone, Debug)]
pub(crate) enum Platform {
    /// A pod of the cluster: its session's tags say which.
    Pod,
    /// Anything that has credentials of a role of its own.
    Role,
    /// A process that this SPIFFE agent knows.
    Spire(WorkloadSocket),
}

impl Platform {
    async fn evidence(&self, demo: &Demo, name: &str) -> Result<(Evidence, &'static str), Failure> {
        match self {
            Self::Pod => {
                let pod = demo.sdk(&demo.pod_session(name)?);
                let source = StsWebSource::new(&pod, &REGION.parse()?, Demo::audience()?);
                let saw =
                    "a JWT of the account's own STS (GetWebIdentityToken), RS256, 5 min, for `agentkeys`";
                Ok((source.fetch().await?, saw))
            }
            Self::Role => {
                let source = demo.signer(&demo.green_session()?, AUDIENCE, None)?;
                let saw = "a presigned request to STS (GetCallerIdentity), 1 min, for `agentkeys`, good once";
                Ok((source.fetch().await?, saw))
            }
            Self::Spire(socket) => {
                let source = SpireSource::new(socket.clone(), Demo::audience()?);
                Ok((source.fetch().await?, "a JWT-SVID of the Workload API, for `agentkeys`"))
            }
        }
    }
}

/// Evidence to identity.
pub(crate) async fn attest(
    demo: &Demo,
    platform: &Platform,
    name: &str,
    report: &mut Report,
) -> Result<AttestedIdentity, Failure> {
    let (evidence, took) = timed(platform.evidence(demo, name)).await;
    let (evidence, saw) = evidence?;
    report.step(name, "1 evidence", saw.to_owned(), took);

    let (identity, took) = timed(demo.broker.attest(&evidence)).await;
    let identity = identity?;
    let root = identity.trust_root().as_str().rsplit(':').next().unwrap_or_default();
    let (kind, assurance) = (identity.kind(), identity.assurance().as_str());
    let instance = identity.instance().and_then(|instance| instance.as_str().get(..8));
    let instance = instance.map_or_else(String::new, |instance| format!(" · pod uid {instance}…"));
    let saw = format!("{} · {assurance} by {kind}, …:{root}{instance}", identity.agent());
    report.step(name, "2 attested", saw, took);
    report.check(identity.agent().as_str() == name);
    Ok(identity)
}

async fn credentials_of(
    demo: &Demo,
    name: &str,
    identity: &AttestedIdentity,
    class: DataClass,
    report: &mut Report,
) -> Result<Credentials, Failure> {
    let (token, took) = timed(demo.broker.token(identity, class)).await;
    let token = token?;
    let kid = token.kid().get(..6).unwrap_or_default();
    let omni = ActorOmni::of(identity);
    let omni = omni.as_str().get(..8).unwrap_or_default();
    let saw = format!(
        "ES256, kid {kid}…, ≤ 5 min, agentkeys_actor_omni={omni}…, for the {} role only",
        class.as_str()
    );
    report.step(name, "3 token", saw, took);

    let (credentials, took) = timed(demo.broker.credentials(identity, class)).await;
    let credentials = credentials?;
    // the second time they are kept
    let (again, _) = timed(demo.broker.credentials(identity, class)).await;
    report.check(again?.access_key_id() == credentials.access_key_id());
    let id = credentials.access_key_id().get(..8).unwrap_or_default();
    let session = RoleSession::new(demo.production.role(class).clone()).with_tags(SessionTags::of(identity));
    let saw = format!("{id}…, 15 min, {}", session.role());
    report.step(name, "4 credentials", saw, took);

    // from here on, what an agent would use: a source that renews, behind an ordinary SDK client
    let s3 = client(demo, &demo.production, identity, session);
    Ok(Credentials { class, s3, token })
}

/// An S3 client whose credentials come from this stack's tokens.
pub(crate) fn client(
    demo: &Demo,
    stack: &RunningStack,
    identity: &AttestedIdentity,
    session: RoleSession,
) -> S3 {
    let (minter, exchanger) = (stack.minter().clone(), demo.exchanger.clone());
    let source = CredentialSource::new(minter, exchanger, identity.clone(), session);
    s3(&demo.sdk_with(SharedCredentialsProvider::new(source)))
}

pub(crate) fn s3(sdk: &aws_types::SdkConfig) -> S3 {
    S3::from_conf(aws_sdk_s3::config::Builder::from(sdk).force_path_style(true).build())
}

#[expect(clippy::disallowed_methods, reason = "an example may say how long a step took")]
pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begun = std::time::Instant::now();
    let done = work.await;
    (done, begun.elapsed())
}
