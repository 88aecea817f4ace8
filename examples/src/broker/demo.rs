use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::num::NonZeroU32;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agentkeys_attest::aws::{AccountId, ClusterArn, RoleArn as PodRoleArn, StsEndpoint};
use agentkeys_attest::aws_sts::{AwsStsAttestor, AwsStsPins, AwsStsSource, StsRole};
use agentkeys_attest::aws_stsweb::{AWS_STSWEB, StsWebAttestor, StsWebPins, StsWebSource};
use agentkeys_core::jose::KeyTables;
use agentkeys_core::{
    AttestedIdentity, Attestors, Challenges, Clock as _, Evidence, EvidenceSource as _, HttpClient,
    HttpSettings, Issuer, KeyRing, Purpose, Random as _, ReplayGuard, ReqwestClient, RotationTimes,
    SystemClock, SystemRandom, TrustStore,
};
use agentkeys_federation::{
    AuditSink, AwsExchanger, DataClass, OidcProvider, PodRole, SqliteAudit, Stack, StackNames, Tenant,
    TenantPolicy,
};
use agentkeys_local_aws::policy::{IdentityPolicy, TrustPolicy};
use agentkeys_local_aws::{LocalAws, Role, State};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::SdkConfig;

mod load;
mod replica;

pub use load::{LoadAws, start_beside};
pub use replica::{Replica, ReplicaPlaces};

use super::app::{App, Keys, Parts, Wallets};
use super::events::hex;
use super::input::BodyLimits;
use super::start::{Audit, BODY, Running, alone, bind, token_in};
use crate::demo::{
    ACCOUNT, AUDIENCE, CLUSTER, GREEN_ROLE, NAMESPACE, POD_ROLE, REGION, SERVICE_ACCOUNT, SUBJECTS,
    credentials_of, pod_session, pod_tags, sdk_at,
};
use crate::stack::install;
use crate::{CLASSES, Deployment, Failure, own_prefix};

/// A broker with nothing to configure, beside an STS and S3 in this process: everything listens on 127.0.0.1.
///
/// Its folder holds the key files, the audit log, the operator's token, for each agent of [`BrokerDemo::AGENTS`]
/// the token that its pod would have, and `broker.env`; what is there from before is used again.
#[derive(Debug)]
pub struct BrokerDemo {
    folder: PathBuf,
    aws: LocalAws,
    attestors: Attestors,
    names: StackNames,
    running: Running,
}

impl BrokerDemo {
    /// Whose pods' tokens are in the folder.
    pub const AGENTS: [&str; 2] = ["blue", "red"];

    /// Starts it on free ports. The folder is made where it is not there.
    ///
    /// # Errors
    /// Where a port, randomness or a file cannot be had.
    pub async fn start(folder: &Path) -> Result<Self, Failure> {
        Self::with_sessions_of(None, folder).await
    }

    /// The same, whose credentials end after so many seconds, so that a renewal can be watched.
    ///
    /// # Errors
    /// As before.
    pub async fn with_sessions_of(seconds: Option<NonZeroU32>, folder: &Path) -> Result<Self, Failure> {
        make(folder)?;
        let mut state = State::new(ACCOUNT.parse()?, REGION.parse()?);
        state.session_seconds = seconds;
        let aws = LocalAws::start(state).await?;
        let (public, operator) = (bind(LOOPBACK.parse()?).await?, bind(LOOPBACK.parse()?).await?);
        let issuer = Issuer::loopback_http_for_tests(&format!("http://{}", public.local_addr()?))?;
        let names = stack_names()?;
        install(&aws, &issuer, &documents(&issuer, &names)?)?;
        put_roles(&aws)?;
        let (audit, outbound) = (open_audit(&folder.join("audit.db"))?, aws.outbound_issuer());
        let sts = (aws.endpoint(), outbound.as_str());
        let (app, attestors) = app(folder, issuer, &names, sts, audit.sink(), alone()?, KeyTables::off())?;
        let running = Running::listen(app, audit, None, public, operator)?;
        let demo = Self { folder: folder.to_owned(), aws, attestors, names, running };
        demo.renew().await?;
        for agent in Self::AGENTS {
            let identity = demo.identity(agent).await?;
            for class in CLASSES {
                let key = format!("{}note.txt", own_prefix(&identity, class));
                demo.aws.put_object(&demo.bucket(class).parse()?, &key, format!("{agent}'s"))?;
            }
        }
        demo.write_environment().await?;
        Ok(demo)
    }

    /// Its servers.
    #[must_use]
    pub const fn running(&self) -> &Running {
        &self.running
    }

    /// The STS and S3.
    #[must_use]
    pub const fn aws(&self) -> &LocalAws {
        &self.aws
    }

    /// The bucket of a class.
    #[must_use]
    pub fn bucket(&self, class: DataClass) -> &str {
        self.names.bucket(class).as_str()
    }

    /// Where the token of an agent's pod is.
    #[must_use]
    pub fn evidence_file(&self, agent: &str) -> PathBuf {
        self.folder.join(format!("{agent}.evidence"))
    }

    /// Who an agent is found to be.
    ///
    /// # Errors
    /// Where it is not let in.
    pub async fn identity(&self, agent: &str) -> Result<AttestedIdentity, Failure> {
        Ok(self.attestors.attest(&self.evidence(agent).await?).await?)
    }

    /// A new token of an agent's pod, as EKS gives it.
    ///
    /// # Errors
    /// Where the STS gives none.
    pub async fn evidence(&self, agent: &str) -> Result<Evidence, Failure> {
        evidence(&self.aws, agent).await
    }

    /// The configuration of an SDK in an agent's pod.
    ///
    /// # Errors
    /// Where the name is not a pod's.
    pub fn pod(&self, agent: &str) -> Result<SdkConfig, Failure> {
        pod(&self.aws, agent)
    }

    /// What signs requests for agent green, who is a role and no pod.
    ///
    /// # Errors
    /// Never: the role is there.
    pub fn green(&self) -> Result<AwsStsSource, Failure> {
        green(&self.aws)
    }

    /// Writes a new token for each agent's pod: they live five minutes.
    ///
    /// # Errors
    /// Where the STS gives none or a file cannot be written.
    pub async fn renew(&self) -> Result<(), Failure> {
        for agent in Self::AGENTS {
            let evidence = self.evidence(agent).await?;
            write(&self.evidence_file(agent), evidence.expose())?;
        }
        Ok(())
    }

    /// Signs with what is in the key files now.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub fn reload_keys(&self) -> Result<(), Failure> {
        self.running.app().replace_keys(Keys {
            oidc: KeyRing::load(self.folder.join("oidc-keypair.json"))?,
            session: KeyRing::load(self.folder.join("session-keypair.json"))?,
        })
    }

    /// Stops it.
    ///
    /// # Errors
    /// As [`Running::shutdown`].
    pub async fn shutdown(self) -> Result<(), Failure> {
        let Self { running, aws, attestors, .. } = self;
        drop(attestors);
        running.shutdown().await?;
        aws.shutdown().await;
        Ok(())
    }

    /// What to copy into another terminal.
    ///
    /// # Errors
    /// Where an agent is not let in.
    pub async fn environment(&self) -> Result<String, Failure> {
        let (broker, operator) = (self.running.public(), self.running.operator());
        let folder = self.folder.display();
        let mut lines = format!(
            "export BROKER_URL=http://{broker}\nexport BROKER_OPERATOR_URL=http://{operator}\n\
             export BROKER_OPERATOR_TOKEN_FILE={folder}/operator.token\nexport AWS_ENDPOINT_URL={}\n\
             export AWS_REGION={REGION}\nexport AWS_DEFAULT_REGION={REGION}\n",
            self.aws.endpoint(),
        );
        for class in CLASSES {
            let name = class.as_str().to_uppercase();
            lines.push_str(&format!("export {name}_BUCKET={}\n", self.bucket(class)));
        }
        for agent in Self::AGENTS {
            let (name, identity) = (agent.to_uppercase(), self.identity(agent).await?);
            lines.push_str(&format!("export {name}_EVIDENCE_KIND={AWS_STSWEB}\n"));
            lines.push_str(&format!("export {name}_EVIDENCE_FILE={}\n", self.evidence_file(agent).display()));
            for class in CLASSES {
                let class_name = class.as_str().to_uppercase();
                lines.push_str(&format!(
                    "export {name}_{class_name}_PREFIX={}\n",
                    own_prefix(&identity, class)
                ));
            }
        }
        Ok(lines)
    }

    /// What to do with it.
    #[must_use]
    pub fn hints(&self) -> [String; 6] {
        let folder = self.folder.display();
        [
            format!("# in another terminal: . {folder}/broker.env"),
            "# agent blue beside a sidecar, with its credentials of the class memory:".to_owned(),
            "export AGENTKEYS_BROKER=$BROKER_URL AGENTKEYS_CLASS=memory".to_owned(),
            format!("export ATTESTOR={AWS_STSWEB} AGENTKEYS_EVIDENCE_FILE=$BLUE_EVIDENCE_FILE"),
            "cargo run -p agentkeys-examples --example sidecar -- exec \\\n    \
             aws s3 ls s3://$MEMORY_BUCKET/$BLUE_MEMORY_PREFIX"
                .to_owned(),
            "# the same with $RED_MEMORY_PREFIX is AccessDenied".to_owned(),
        ]
    }

    async fn write_environment(&self) -> Result<(), Failure> {
        write(&self.folder.join("broker.env"), self.environment().await?.as_bytes())
    }
}

fn green(aws: &LocalAws) -> Result<AwsStsSource, Failure> {
    let (role, name) = (GREEN_ROLE.parse()?, "i-0123456789abcdef0".parse()?);
    let hour = Duration::from_secs(3600);
    let session = aws.workload_session(&role, &name, agentkeys_local_aws::Tags::default(), hour)?;
    let endpoint = StsEndpoint::loopback_http_for_tests(REGION.parse()?, aws.endpoint())?;
    Ok(AwsStsSource::new(credentials_of(&session), endpoint, AUDIENCE.parse()?))
}

/// What an administrator applies for this issuer.
fn documents(issuer: &Issuer, names: &StackNames) -> Result<serde_json::Value, Failure> {
    let provider = OidcProvider::new("aws".parse()?, ACCOUNT.parse()?, issuer.clone())?;
    let subjects = SUBJECTS.iter().map(|subject| subject.parse()).collect::<Result<_, _>>()?;
    let deployment = Deployment::new(names.clone(), provider, subjects, CLASSES.to_vec())?;
    Ok(serde_json::to_value(deployment.documents()?)?)
}

fn pod(aws: &LocalAws, agent: &str) -> Result<SdkConfig, Failure> {
    let session = pod_session(aws, agent, pod_tags(agent)?)?;
    Ok(sdk_at(aws.endpoint(), SharedCredentialsProvider::new(credentials_of(&session))))
}

async fn evidence(aws: &LocalAws, agent: &str) -> Result<Evidence, Failure> {
    Ok(StsWebSource::new(&pod(aws, agent)?, &REGION.parse()?, AUDIENCE.parse()?).fetch().await?)
}

/// A broker for the agents of the STS at `endpoint`, whose tokens for pods are another issuer's, with its files in `folder`.
fn app(
    folder: &Path,
    issuer: Issuer,
    names: &StackNames,
    (endpoint, outbound_issuer): (&str, &str),
    audit: Arc<dyn AuditSink>,
    (guard, challenges): (Arc<dyn ReplayGuard>, Challenges),
    key_tables: KeyTables,
) -> Result<(App, Attestors), Failure> {
    // everything is plain HTTP on loopback, so no certificate authority is trusted at all
    let http: Arc<dyn HttpClient> = Arc::new(ReqwestClient::new(HttpSettings::new(TrustStore::nobody()))?);
    let pods = StsWebAttestor::new(pins(outbound_issuer)?, Arc::clone(&http))?;
    let green_role = role_arn(GREEN_ROLE);
    let requests = AwsStsPins {
        endpoints: vec![StsEndpoint::loopback_http_for_tests(REGION.parse()?, endpoint)?],
        audience: AUDIENCE.parse()?,
        roles: vec![StsRole::named(green_role.parse()?, "green".parse()?)],
    };
    let requests = AwsStsAttestor::new(requests, Arc::clone(&http), guard)?;
    let attestors = Attestors::new().with(pods)?.with(requests.with_challenges(challenges.clone()))?;
    let give = |policy: TenantPolicy, class| policy.with_role(class, names.role(class).clone());
    let policy = CLASSES.into_iter().fold(TenantPolicy::new(), give);
    let tenants = [CLUSTER, &green_role].map(|root| Ok((Tenant::unnamed(root.parse()?), policy.clone())));
    let app = App::new(Parts {
        issuer,
        keys: Keys {
            oidc: open_keys(&folder.join("oidc-keypair.json"))?,
            session: open_keys(&folder.join("session-keypair.json"))?,
        },
        times: RotationTimes::new(MAX_AGE),
        key_tables,
        attestors: attestors.clone(),
        assertions: Some(AWS_STSWEB),
        challenges: Some(challenges),
        exchanger: Arc::new(AwsExchanger::with_endpoint(REGION.parse()?, http, endpoint)),
        audit,
        tenants: tenants.into_iter().collect::<Result<_, Failure>>()?,
        wallets: Wallets::default(),
        operator_token: Some(token_in(&operator_token(folder)?)?),
        body: BodyLimits { bytes: 64 * 1024, time: BODY },
        requests: 256,
    })?;
    Ok((app, attestors))
}

fn make(folder: &Path) -> Result<(), Failure> {
    if !folder.exists() {
        DirBuilder::new().mode(0o700).create(folder)?;
    }
    Ok(())
}

fn stack_names() -> Result<StackNames, Failure> {
    Ok(StackNames::new(Stack::Production, "agentkeys", "aws".parse()?, ACCOUNT.parse()?)?)
}

/// The role of the pods, and one that is agent green.
fn put_roles(aws: &LocalAws) -> Result<(), Failure> {
    let generated = PodRole::new(AUDIENCE.parse()?)?;
    let trust = || TrustPolicy::parse(&generated.trust_policy().to_string());
    let mut pods = Role::new(POD_ROLE.parse()?, trust()?);
    pods.policies.push(IdentityPolicy::parse(&generated.role_policy().to_string())?);
    aws.put_role(pods);
    aws.put_role(Role::new(GREEN_ROLE.parse()?, trust()?));
    Ok(())
}

fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}

fn pins(outbound_issuer: &str) -> Result<StsWebPins, Failure> {
    Ok(StsWebPins {
        issuer: Issuer::loopback_http_for_tests(outbound_issuer)?,
        audience: AUDIENCE.parse()?,
        account: ACCOUNT.parse::<AccountId>()?,
        role: role_arn(POD_ROLE).parse::<PodRoleArn>()?,
        cluster: CLUSTER.parse::<ClusterArn>()?,
        namespace: NAMESPACE.parse()?,
        service_account: SERVICE_ACCOUNT.parse()?,
        pod_suffix: "-pod".parse()?,
    })
}

fn open_keys<P: Purpose>(path: &Path) -> Result<KeyRing<P>, Failure> {
    if !path.exists() {
        KeyRing::<P>::generate(&SystemRandom::new(), SystemClock::new().now()?)?.create(path)?;
    }
    Ok(KeyRing::load(path)?)
}

fn open_audit(path: &Path) -> Result<Audit, Failure> {
    let audit = if path.exists() { SqliteAudit::open(path)? } else { SqliteAudit::create(path)? };
    Ok(Audit::Sqlite(Arc::new(audit)))
}

fn operator_token(folder: &Path) -> Result<PathBuf, Failure> {
    let path = folder.join("operator.token");
    if !path.exists() {
        let mut token = [0; 32];
        SystemRandom::new().fill(&mut token)?;
        write(&path, hex(&token).as_bytes())?;
    }
    Ok(path)
}

/// Writes beside the file and renames, so that a reader never finds half of it.
fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let beside = path.with_extension("new");
    let _left_by_a_crash = fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    Ok(fs::rename(&beside, path)?)
}

const LOOPBACK: &str = "127.0.0.1:0";

/// Short, so that a rotation can be watched.
const MAX_AGE: Duration = Duration::from_secs(5);
