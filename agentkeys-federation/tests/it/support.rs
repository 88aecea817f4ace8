use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::testing::{FakeHttp, ManualClock, SeededRandom};
use agentkeys_core::{
    AgentId, Assurance, AttestedIdentity, EvidenceKind, Issuer, KeyRing, LocalSigner, Minter, SystemRandom,
    Timestamp, Token,
};
use agentkeys_federation::{AwsExchanger, RoleArn, RoleSession, RoleSessionName, SessionTags};

pub(crate) const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
pub(crate) const STS: &str = "https://sts.us-east-1.amazonaws.com/";

pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) http: Arc<FakeHttp>,
    pub(crate) minter: Minter,
    pub(crate) identity: AttestedIdentity,
    pub(crate) session: RoleSession,
    pub(crate) exchanger: AwsExchanger,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new(NOW);
        let http = FakeHttp::new();
        let (signer, _) = LocalSigner::generate(&SystemRandom::new()).unwrap();
        let issuer = Issuer::parse("https://broker.example.org").unwrap();
        let minter = Minter::new(issuer, KeyRing::new(Arc::new(signer)))
            .with_clock(clock.clone())
            .with_random(SeededRandom::new(7));
        let identity = AttestedIdentity::assertion(
            EvidenceKind::from_static("aws-stsweb"),
            "arn:aws:eks:us-east-1:123456789012:cluster/demo".parse().unwrap(),
            "blue".parse::<AgentId>().unwrap(),
            Assurance::PlatformAttested,
            NOW,
            NOW.plus(Duration::from_secs(1800)),
        )
        .unwrap();
        let session = RoleSession::new(role()).with_tags(SessionTags::of(&identity));
        let exchanger =
            AwsExchanger::new("us-east-1".parse().unwrap(), http.clone()).with_clock(clock.clone());
        Self { clock, http, minter, identity, session, exchanger }
    }

    pub(crate) async fn token(&self) -> Token {
        self.minter.mint(&self.identity, self.session.mint_request().unwrap()).await.unwrap()
    }
}

pub(crate) fn role() -> RoleArn {
    "arn:aws:iam::123456789012:role/agents/agentkeys-memory-role".parse().unwrap()
}

/// AWS's answer to AssumeRoleWithWebIdentity, shortened.
pub(crate) fn success(token: &Token, role: &RoleArn, expiration: &str) -> String {
    let name = RoleSessionName::of_token(token);
    format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><AssumedRoleUser><Arn>{}</Arn>\
         <AssumedRoleId>AROAEXAMPLE:{name}</AssumedRoleId></AssumedRoleUser><Credentials>\
         <AccessKeyId>ASIAEXAMPLE</AccessKeyId><SecretAccessKey>MARKED-secret</SecretAccessKey>\
         <SessionToken>MARKED-session</SessionToken><Expiration>{expiration}</Expiration></Credentials>\
         </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
        role.session_arn(&name)
    )
}

/// An STS error as AWS writes it; its message holds a marker that must never come back out.
pub(crate) fn failure(code: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>MARKED-upstream</Message></Error><RequestId>1</RequestId></ErrorResponse>"
    )
}
