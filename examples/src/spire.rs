use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_attest::spire::{SpireAttestor, SpireBundles, SpirePins, SpireSource, WorkloadSocket};
use agentkeys_core::jose::{Compact, Header};
use agentkeys_core::{
    AttestError, AttestedIdentity, Attestors, Clock as _, Evidence, EvidenceSource as _, HttpSettings,
    KeySource as _, ReqwestClient, SystemClock, TrustDomain, TrustStore,
};
use agentkeys_federation::{
    AwsCredentials, AwsExchanger, CredentialSource, DataClass, Exchanger as _, RoleSession, SessionTags,
    Stack,
};
use agentkeys_local_aws::{LocalAws, State};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::primitives::ByteStream;
use serde_json::Value;
use tokio::sync::watch;

use crate::agent::{s3, timed};
use crate::demo::{ACCOUNT, AUDIENCE, REGION, own_prefix, sdk_at};
use crate::{Failure, RunningStack};

/// A small world on loopback that lets in the agents of one tenant of a SPIFFE trust domain.
#[derive(Debug)]
pub struct SpireDemo {
    aws: LocalAws,
    source: SpireSource,
    bundles: SpireBundles,
    attestors: Attestors,
    exchanger: Arc<AwsExchanger>,
    stack: RunningStack,
}

impl SpireDemo {
    /// Starts it beside the agent that listens on `socket`, whose trust domain is `example.org` and which
    /// gives this process an ID of the form `/agent/{tenant}/{agent}`.
    ///
    /// # Errors
    /// Where a port or randomness cannot be had.
    pub async fn start(socket: WorkloadSocket) -> Result<Self, Failure> {
        let trust_domain: TrustDomain = TRUST_DOMAIN.parse()?;
        let bundles = SpireBundles::new(socket.clone(), &trust_domain);
        let pins = SpirePins { trust_domain, audience: AUDIENCE.parse()?, template: TEMPLATE.parse()? };
        let attestors = Attestors::new().with(SpireAttestor::new(pins, Arc::new(bundles.clone()))?)?;
        let source = SpireSource::new(socket, AUDIENCE.parse()?);

        let aws = LocalAws::start(State::new(ACCOUNT.parse()?, REGION.parse()?)).await?;
        let stack =
            RunningStack::start(&aws, Stack::Production, &[SPIRE_SUBJECTS], &[DataClass::Memory]).await?;
        let http = Arc::new(ReqwestClient::new(HttpSettings::new(TrustStore::nobody()))?);
        let exchanger = Arc::new(AwsExchanger::with_endpoint(REGION.parse()?, http, aws.endpoint()));
        Ok(Self { aws, source, bundles, attestors, exchanger, stack })
    }

    /// Evidence, identity, token, credentials, and what they open; `say` hears each step.
    ///
    /// # Errors
    /// Where a step fails, or lets through what it must not.
    pub async fn walk(&self, say: impl Fn(&str)) -> Result<(), Failure> {
        let (evidence, took) = timed(self.source.fetch()).await;
        let evidence = evidence?;
        say(&step("1 evidence", "a JWT-SVID of the Workload API, for `agentkeys`", took));
        let (identity, took) = timed(self.attestors.attest(&evidence)).await;
        let identity = identity?;
        let assurance = identity.assurance().as_str();
        say(&step("2 attested", &format!("{} · {assurance}", identity.subject()), took));

        let session = RoleSession::new(self.stack.role(DataClass::Memory).clone())
            .with_tags(SessionTags::of(&identity));
        let (token, took) = timed(self.stack.minter().mint(&identity, session.mint_request()?)).await;
        let token = token?;
        say(&step("3 token", &format!("ES256, ≤ 5 min, issued by {}", self.stack.minter().issuer()), took));
        let (credentials, took) = timed(self.exchanger.exchange(&token, &session)).await;
        let credentials: AwsCredentials = credentials?;
        let id = credentials.access_key_id().get(..8).unwrap_or_default();
        say(&step("4 credentials", &format!("{id}…, 15 min, {}", session.role()), took));

        let own = own_prefix(&identity, DataClass::Memory);
        let other = format!("bots/{}/memory/note.txt", "0".repeat(64));
        let (opened, took) = timed(self.open(identity, session, &own, &other)).await;
        opened?;
        say(&step("5 data", &format!("own prefix {}…, AccessDenied on another's", clip(&own, 13)), took));
        Ok(())
    }

    async fn open(
        &self,
        identity: AttestedIdentity,
        session: RoleSession,
        own: &str,
        other: &str,
    ) -> Result<(), Failure> {
        let bucket = self.stack.bucket(DataClass::Memory);
        self.aws.put_object(&bucket.parse()?, other, "not yours")?;
        let source =
            CredentialSource::new(self.stack.minter().clone(), self.exchanger.clone(), identity, session);
        let s3 = s3(&sdk_at(self.aws.endpoint(), SharedCredentialsProvider::new(source)));
        let note = format!("{own}note.txt");
        s3.put_object().bucket(bucket).key(&note).body(ByteStream::from_static(b"mine")).send().await?;
        match s3.get_object().bucket(bucket).key(other).send().await {
            Err(error) if error.code() == Some("AccessDenied") => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Err("another agent's object was read".into()),
        }
    }

    /// Rotates the trust domain's JWT authority while SVIDs are fetched and appraised all the time: none of
    /// them may fail, and one of the old authority must be refused once that is revoked.
    ///
    /// # Errors
    /// Where that does not hold, or the server does not do as told.
    pub async fn rotate(&self, server: &SpireServer, say: impl Fn(&str)) -> Result<(), Failure> {
        let before = self.source.fetch().await?;
        self.attestors.attest(&before).await?;
        let old = kid(&before)?;
        let (verified, mut seen) = watch::channel(Verified::default());
        let (source, attestors) = (self.source.clone(), self.attestors.clone());
        let verifying = tokio::spawn(async move { keep_verifying(&source, &attestors, &verified).await });
        let verifying = AbortOnDrop(verifying);

        let (new, took) = timed(async {
            let new = server.authority("prepare", None).await?;
            self.until("the agent knows the new authority", |kids| kids.contains(&new)).await?;
            Ok::<_, Failure>(new)
        })
        .await;
        let new = new?;
        say(&step("6 prepared", &format!("{}… is in the agent's bundle", clip(&new, 8)), took));

        server.authority("activate", Some(&new)).await?;
        server.authority("taint", Some(&old)).await?;
        let (renewed, took) = timed(seen.wait_for(|seen| seen.kid == new || seen.failed.is_some())).await;
        let count = renewed?.good()?;
        say(&step("7 activated", &format!("an SVID of it after {count} that passed"), took));
        // tainted is not revoked
        self.attestors.attest(&before).await?;

        let revoked = async {
            server.authority("revoke", Some(&old)).await?;
            self.until("the agent drops the old authority", |kids| !kids.contains(&old)).await
        };
        let (revoked, took) = timed(revoked).await;
        revoked?;
        match self.attestors.attest(&before).await {
            Err(AttestError::Verify(refused)) if refused.code() == "token_key_unknown" => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Err("an SVID of a revoked authority passed".into()),
        }
        say(&step("8 revoked", "the SVID that passed before is refused: token_key_unknown", took));

        let enough = seen.borrow().good()? + AFTERWARDS;
        let count = seen.wait_for(|seen| seen.count >= enough || seen.failed.is_some()).await?.good()?;
        drop(verifying);
        say(&step(
            "9 meanwhile",
            &format!("{count} SVIDs fetched and appraised, none refused"),
            Duration::ZERO,
        ));
        Ok(())
    }

    /// Waits until the kids that are trusted are as they should be.
    async fn until(&self, what: &'static str, held: impl Fn(&[String]) -> bool) -> Result<(), Failure> {
        for _ in 0..600 {
            let keys = self.bundles.read(SystemClock::new().now()?)?;
            let kids = keys.keys().iter().filter_map(|key| key.kid()).map(ToString::to_string);
            if held(&kids.collect::<Vec<_>>()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(format!("half a minute passed before {what}").into())
    }
}

/// The command line of a SPIRE server.
#[derive(Clone, Debug)]
pub struct SpireServer {
    command: PathBuf,
    socket: PathBuf,
}

impl SpireServer {
    /// The server that `command` reaches through its private `socket`.
    #[must_use]
    pub const fn new(command: PathBuf, socket: PathBuf) -> Self {
        Self { command, socket }
    }

    /// `localauthority jwt <what>`; answers the authority's id, which is its key's.
    async fn authority(&self, what: &'static str, id: Option<&str>) -> Result<String, Failure> {
        let mut command = Command::new(&self.command);
        command.args(["localauthority", "jwt", what, "-output", "json", "-socketPath"]).arg(&self.socket);
        if let Some(id) = id {
            command.args(["-authorityID", id]);
        }
        let done = tokio::task::spawn_blocking(move || command.output()).await??;
        if !done.status.success() {
            return Err(format!("{what}: {}", String::from_utf8_lossy(&done.stderr)).into());
        }
        let answer: Value = serde_json::from_slice(&done.stdout)?;
        let authority = answer.as_object().and_then(|answer| answer.values().next());
        let id = authority.and_then(|authority| authority["authority_id"].as_str());
        Ok(id.ok_or("the server names no authority")?.to_owned())
    }
}

/// What the loop has seen so far.
#[derive(Clone, Debug, Default)]
struct Verified {
    count: u64,
    /// The key of the last one.
    kid: String,
    failed: Option<String>,
}

impl Verified {
    fn good(&self) -> Result<u64, Failure> {
        match &self.failed {
            Some(failed) => Err(format!("a good SVID failed after {}: {failed}", self.count).into()),
            None => Ok(self.count),
        }
    }
}

async fn keep_verifying(source: &SpireSource, attestors: &Attestors, verified: &watch::Sender<Verified>) {
    loop {
        let outcome = async {
            let evidence = source.fetch().await?;
            attestors.attest(&evidence).await?;
            kid(&evidence)
        };
        let outcome: Result<String, Failure> = outcome.await;
        verified.send_modify(|verified| match outcome {
            Ok(kid) => *verified = Verified { count: verified.count + 1, kid, failed: None },
            Err(error) => verified.failed = Some(error.to_string()),
        });
        if verified.borrow().failed.is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn kid(evidence: &Evidence) -> Result<String, Failure> {
    let header = Compact::split(std::str::from_utf8(evidence.expose())?)?.header_json()?;
    Ok(Header::parse(&header)?.kid.ok_or("the SVID names no key")?.into_owned())
}

fn step(name: &str, saw: &str, took: Duration) -> String {
    let took = if took.is_zero() { String::new() } else { format!("{took:>10.1?}") };
    format!("   {name:<14} {saw:<76} {took}")
}

fn clip(text: &str, most: usize) -> &str {
    text.get(..most).unwrap_or(text)
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) const TRUST_DOMAIN: &str = "example.org";
pub(crate) const TEMPLATE: &str = "/agent/{tenant}/{agent}";
/// The agents of one tenant of the trust domain.
pub(crate) const SPIRE_SUBJECTS: &str = "spiffe-svid/spiffe:%2F%2Fexample.org/acme/*";
/// How many SVIDs must still pass after the revocation.
const AFTERWARDS: u64 = 20;
