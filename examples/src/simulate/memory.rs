//! What a credential cache takes: filled through [`AwsExchanger`] and AWS's SDK, whose strings it keeps.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{
    Clock as _, HttpClient, HttpError, HttpRequest, HttpResponse, Issuer, KeyRing, LocalSigner, Minter,
    SystemClock, SystemRandom,
};
use agentkeys_federation::{AwsExchanger, CredentialCache, RoleArn, RoleSessionName, SessionDuration};
use async_trait::async_trait;
use aws_sdk_sts::primitives::{DateTime, DateTimeFormat};

use super::model::Workload;
use super::real::agent_of;
use crate::Failure;

/// What each cached actor takes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Memory {
    /// How many were measured.
    pub actors: u32,
    /// The length of each session token, in bytes.
    pub token: u32,
    /// The key id's, secret's and session token's own bytes.
    pub credentials: u32,
    /// By how much the process's resident memory grew for each, in bytes: the credentials, and all around them.
    pub resident: u32,
}

impl Memory {
    /// What is kept beside the credentials' own bytes: key, slot, times, and what the allocator rounds up.
    #[must_use]
    pub const fn beside(&self) -> u32 {
        self.resident.saturating_sub(self.credentials)
    }
}

/// Fills a cache with `actors` whose session tokens have `token` bytes.
///
/// # Errors
/// Where an exchange fails, or the memory cannot be read: it is Linux's `/proc`.
pub async fn measure(actors: u32, token: u32) -> Result<Memory, Failure> {
    let (signer, _unused) = LocalSigner::generate(&SystemRandom::new())?;
    let minter = Minter::new(Issuer::parse("https://broker.example.org")?, KeyRing::new(Arc::new(signer)));
    let region = "us-east-1".parse()?;
    let exchanger = Arc::new(AwsExchanger::new(region, Arc::new(Sts { token: "x".repeat(token as usize) })));
    // what the SDK and the runtime need once is there before anything is counted
    let warm = actors / 4;
    let room = NonZeroUsize::new((warm + actors) as usize).ok_or("no actors")?;
    let cache = CredentialCache::new(minter, exchanger, room);
    fill(&cache, 0..warm).await?;
    let before = resident()?;
    fill(&cache, warm..warm + actors).await?;
    let grown = resident()?.saturating_sub(before);
    let credentials = u32::try_from(KEY_ID.len() + SECRET.len())? + token;
    Ok(Memory { actors, token, credentials, resident: u32::try_from(grown * 1024 / u64::from(actors))? })
}

async fn fill(cache: &CredentialCache, agents: std::ops::Range<u32>) -> Result<(), Failure> {
    let workload = Workload::new(1, SessionDuration::MAX_CHAINED);
    let now = SystemClock::new().now()?;
    for agent in agents {
        let (identity, session) = agent_of(agent, now, now.plus(Duration::from_secs(3600)), &workload)?;
        cache.credentials(&identity, &session).await?;
    }
    Ok(())
}

/// The resident memory of this process, in KiB.
/// <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>
fn resident() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// An STS that takes every token and answers as AWS does.
#[derive(Debug)]
struct Sts {
    token: String,
}

#[async_trait]
impl HttpClient for Sts {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let asked = |name: &str| {
            let mut found = form_urlencoded::parse(request.body.expose()).filter(|(key, _)| key == name);
            found.next().map(|(_, value)| value.into_owned()).unwrap_or_default()
        };
        let role = asked("RoleArn").parse::<RoleArn>().map_err(|_| HttpError::Timeout)?;
        let name = asked("RoleSessionName").parse::<RoleSessionName>().map_err(|_| HttpError::Timeout)?;
        let ends = SystemClock::new().now().map_err(|_| HttpError::Timeout)?.plus(Duration::from_secs(3600));
        let ends = i64::try_from(ends.as_unix()).map_err(|_| HttpError::Timeout)?;
        let ends = DateTime::from_secs(ends).fmt(DateTimeFormat::DateTime).map_err(|_| HttpError::Timeout)?;
        let body = format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <AssumeRoleWithWebIdentityResult><AssumedRoleUser><Arn>{}</Arn>\
             <AssumedRoleId>AROAEXAMPLE:{name}</AssumedRoleId></AssumedRoleUser><Credentials>\
             <AccessKeyId>{KEY_ID}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>\
             <SessionToken>{}</SessionToken><Expiration>{ends}</Expiration></Credentials>\
             </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
            role.session_arn(&name),
            self.token
        );
        Ok(HttpResponse::new(200, Vec::new(), body))
    }
}

/// As long as AWS's.
const KEY_ID: &str = "ASIAEXAMPLEEXAMPLE00";
const SECRET: &str = "0123456789012345678901234567890123456789";
