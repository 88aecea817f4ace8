//! The isolation proof on a store that nobody here wrote: MinIO.
//!
//! It knows neither roles nor session tags. The claim that pins a token to its role names the policy, and the
//! policy reads who the agent is from the token's subject, as `${jwt:sub}`:
//!
//! | class | what decides |
//! |---|---|
//! | memory | a policy of objects alone, with the variable in `Resource` |
//! | data | the same, and a listing whose prefix is a condition |
//! | vault | the data class's objects, by a variable whose claim is in no token of ours: what not to write |
//!
//! <https://github.com/minio/minio/blob/master/docs/multi-user/README.md#policy-variables>

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{
    AttestedIdentity, HttpSettings, KeyRing, LocalSigner, Minter, ReqwestClient, SystemRandom, TrustStore,
};
use agentkeys_federation::{
    CredentialSource, DataClass, MinioExchanger, RoleSession, SessionTags, Stack, StackNames,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::Client as S3;
use serde_json::{Value, json};

use crate::agent::{Platform, attest, s3, timed};
use crate::demo::{ACCOUNT, Demo, REGION, sdk_at};
use crate::issuer::IssuerServer;
use crate::place::{NOTE, Place};
use crate::{Failure, Report};

mod matrix;
mod refusals;
mod server;

use server::MinioServer;

/// Starts `program` with its data in `folder`, puts buckets and policies there, and tries with two agents what must
/// work and what must not.
///
/// # Errors
/// Where a step that must succeed fails; a check that does not hold is part of the report instead.
pub async fn prove_on_minio(program: &Path, folder: &Path) -> Result<Report, Failure> {
    let mut report = Report::new("MinIO", LEAST_CHECKS);
    // who vouches for the agents is the quickstart's little world; its STS and S3 are not asked for anything else
    let demo = Demo::start().await?;
    let mut agents = Vec::new();
    for name in ["blue", "red"] {
        let agent = attest(&demo, &Platform::Pod, name, &mut report).await?;
        // a subject without a tenant has two slashes in a row, which MinIO takes in no key
        agents.push((name, agent.with_tenant("acme".parse()?)));
    }
    let (signer, _unused) = LocalSigner::generate(&SystemRandom::new())?;
    let keys = KeyRing::new(Arc::new(signer));
    let issuer = IssuerServer::start(&keys).await?;
    let minter = Minter::new(issuer.issuer().clone(), keys);
    let proof = Proof::install(program, folder, minter, &mut report).await?;
    matrix::fill(&proof, &agents, &mut report).await?;
    let [(_, blue), ..] = agents.as_slice() else { return Err("two agents were started".into()) };
    refusals::try_everything(&proof, blue, &mut report).await?;
    Ok(report)
}

/// What MinIO holds.
#[derive(Debug)]
struct Proof {
    server: MinioServer,
    names: StackNames,
    minter: Minter,
    exchanger: Arc<MinioExchanger>,
}

impl Proof {
    async fn install(
        program: &Path,
        folder: &Path,
        minter: Minter,
        report: &mut Report,
    ) -> Result<Self, Failure> {
        let (server, took) = timed(MinioServer::start(program, folder, minter.issuer())).await;
        let server = server?;
        report.step("", "MinIO", format!("{}   S3 and STS of MinIO", server.url()), took);
        let names = StackNames::new(Stack::Production, "agentkeys", "aws".parse()?, ACCOUNT.parse()?)?;
        // plain HTTP on loopback: no certificate authority is trusted at all
        let http = Arc::new(ReqwestClient::new(HttpSettings::new(TrustStore::nobody()))?);
        let exchanger = Arc::new(MinioExchanger::new(REGION.parse()?, http, server.url()));
        let proof = Self { server, names, minter, exchanger };
        for class in CLASSES {
            proof.server.s3().create_bucket().bucket(proof.bucket(class)).send().await?;
            let policy = proof.policy(class).to_string();
            proof.server.put_policy(proof.names.role(class).as_str(), &policy).await?;
        }
        let careless =
            proof.policy(LISTED).to_string().replace("${jwt:sub}", &format!("${{jwt:{NO_CLAIM}}}"));
        proof.server.put_policy(proof.names.role(DataClass::Vault).as_str(), &careless).await?;
        let saw = format!("{}   its keys are fetched by MinIO", proof.minter.issuer());
        report.step("", "issuer", saw, Duration::ZERO);
        Ok(proof)
    }

    /// What a class's role may do. No generator writes it: neither the variable nor the limits are AWS's.
    fn policy(&self, class: DataClass) -> Value {
        let (bucket, own) = (
            format!("arn:aws:s3:::{}", self.bucket(class)),
            format!("bots/${{jwt:sub}}/{}/*", class.prefix()),
        );
        let mut statements = vec![json!({
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
            "Resource": [format!("{bucket}/{own}")],
        })];
        if class == LISTED {
            statements.push(json!({
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": [bucket],
                "Condition": { "StringLike": { "s3:prefix": [own] } },
            }));
        }
        json!({ "Version": "2012-10-17", "Statement": statements })
    }

    fn bucket(&self, class: DataClass) -> &str {
        self.names.bucket(class).as_str()
    }

    /// What the broker asks for.
    fn session(&self, agent: &AttestedIdentity, class: DataClass) -> RoleSession {
        RoleSession::new(self.names.role(class).clone()).with_tags(SessionTags::of(agent))
    }

    /// An S3 client whose credentials come from tokens of ours.
    fn client(&self, agent: &AttestedIdentity, class: DataClass) -> S3 {
        let (minter, exchanger) = (self.minter.clone(), self.exchanger.clone());
        let source = CredentialSource::new(minter, exchanger, agent.clone(), self.session(agent, class));
        s3(&sdk_at(self.server.url(), SharedCredentialsProvider::new(source)))
    }

    fn place(&self, agent: &AttestedIdentity, class: DataClass) -> Place {
        let key = format!("bots/{}/{}/{NOTE}", agent.subject(), class.prefix());
        Place { bucket: self.bucket(class).to_owned(), key, tag: None }
    }

    /// An object that no agent owns.
    fn nobodys(&self, class: DataClass) -> Place {
        Place { bucket: self.bucket(class).to_owned(), key: NOTE.to_owned(), tag: None }
    }
}

const CLASSES: [DataClass; 2] = [DataClass::Memory, LISTED];
/// What no token of ours says.
const NO_CLAIM: &str = "upn";
/// The class whose role may list.
const LISTED: DataClass = DataClass::Data;
/// 48 cells, and for each of 11 attempts to cheat two checks at least.
const LEAST_CHECKS: usize = 80;
