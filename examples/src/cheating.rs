use std::sync::Arc;

use agentkeys_attest::aws::StsEndpoint;
use agentkeys_attest::aws_stsweb::AWS_STSWEB;
use agentkeys_core::{
    AttestedIdentity, Audience, Clock, ClockError, Evidence, EvidenceSource as _, ExtraClaims, Issuer,
    KeyRing, LocalSigner, MintRequest, Minter, SystemRandom, Timestamp,
};
use agentkeys_federation::{DataClass, RoleArn, RoleSession, SessionTags, TAGS_CLAIM};
use agentkeys_local_aws::{SessionCredentials, Tags};
use aws_sdk_sts::error::ProvideErrorMetadata as _;
use aws_sdk_sts::types::Tag;

use crate::demo::{AUDIENCE, CLUSTER, Demo, NAMESPACE, OTHER_AUDIENCE, REGION, SERVICE_ACCOUNT};
use crate::{Agent, Failure, Report};

/// Everything that somebody would try first, with clients that are not ours; each must be refused, with
/// just the code that it should be.
pub(crate) async fn try_everything(
    demo: &Demo,
    blue: &Agent,
    red: &Agent,
    report: &mut Report,
) -> Result<(), Failure> {
    forged_evidence(demo, report).await?;
    misused_requests(demo, report).await?;
    foreign_tokens(demo, blue, report).await?;
    incomplete_tokens(demo, blue, report).await?;
    other_stack(demo, blue, report).await?;
    misused_tokens(demo, red, report).await
}

/// At the attestor.
async fn forged_evidence(demo: &Demo, report: &mut Report) -> Result<(), Failure> {
    let attestor = "the attestor";

    // red's pod asks STS to put blue's pod name into request_tags: that is all a caller can choose
    let victim = [("kubernetes-pod-name", "blue-pod")];
    let token = web_identity_token(demo, &demo.pod_session("red")?, AUDIENCE, &victim).await?;
    let found = attest(demo, &token).await;
    let code = match found {
        Ok(identity) if identity.agent().as_str() == "red" => Some(UNREAD.to_owned()),
        Ok(_) => None,
        Err(code) => Some(code),
    };
    report.refusal("red's pod asks for request_tags that name blue's pod", attestor, UNREAD, code);

    // a session that Pod Identity did not tag says everything about blue's pod in request_tags
    let victim = [
        ("eks-cluster-arn", CLUSTER),
        ("eks-cluster-name", "demo"),
        ("kubernetes-namespace", NAMESPACE),
        ("kubernetes-service-account", SERVICE_ACCOUNT),
        ("kubernetes-pod-name", "blue-pod"),
        ("kubernetes-pod-uid", "7f0c0000-0000-4000-8000-000000000004"),
    ];
    let bare = demo.session_with("bare", Tags::default())?;
    let token = web_identity_token(demo, &bare, AUDIENCE, &victim).await?;
    let code = attest(demo, &token).await.err();
    let attempt = "a session without a pod's tags brings all six in request_tags";
    report.refusal(attempt, attestor, "evidence_incomplete", code);

    let token = web_identity_token(demo, &demo.pod_session("blue")?, AUDIENCE, &[]).await?;
    let code = attest(demo, &tampered(&token)).await.err();
    report.refusal("evidence with one byte changed", attestor, "token_signature", code);

    // the same account, cluster and pod names, in somebody else's AWS
    let elsewhere = Demo::start().await?;
    let token = web_identity_token(&elsewhere, &elsewhere.pod_session("blue")?, AUDIENCE, &[]).await?;
    let code = attest(demo, &token).await.err();
    report.refusal("evidence from another issuer", attestor, "token_signature", code);
    Ok(())
}

/// At the attestor: presigned requests that are real, and for something else.
async fn misused_requests(demo: &Demo, report: &mut Report) -> Result<(), Failure> {
    let attestor = "the attestor";
    let green = demo.green_session()?;

    let evidence = demo.signer(&green, AUDIENCE, None)?.fetch().await?;
    demo.attestors.attest(&evidence).await?;
    let code = attested(demo, &evidence).await.err();
    report.refusal("a presigned request that was used before", attestor, "evidence_replayed", code);

    let evidence = demo.signer(&demo.pod_session("blue")?, AUDIENCE, None)?.fetch().await?;
    let code = attested(demo, &evidence).await.err();
    report.refusal("a presigned request of a role that is no agent", attestor, "evidence_pin", code);

    // STS finds that the header which we send is not the one that was signed
    let evidence = demo.signer(&green, "another-broker", None)?.fetch().await?;
    let code = attested(demo, &evidence).await.err();
    report.refusal("a presigned request for another broker", attestor, "evidence_rejected", code);

    let elsewhere = StsEndpoint::regional("eu-central-1".parse()?)?;
    let evidence = demo.signer(&green, AUDIENCE, Some(elsewhere))?.fetch().await?;
    let code = attested(demo, &evidence).await.err();
    report.refusal("a presigned request for another region", attestor, "evidence_misdirected", code);
    Ok(())
}

/// At the STS: tokens that are not this issuer's.
async fn foreign_tokens(demo: &Demo, blue: &Agent, report: &mut Report) -> Result<(), Failure> {
    let (sts, role) = ("the STS", demo.production.role(DataClass::Memory).clone());
    let session = RoleSession::new(role.clone()).with_tags(SessionTags::of(blue.identity()));

    let unregistered = Issuer::loopback_http_for_tests("http://127.0.0.1:1/rogue")?;
    let token = rogue(unregistered)?.mint(blue.identity(), session.mint_request()?).await?;
    let code = assume(demo, token.expose(), &role).await;
    report.refusal("a token from another issuer", sts, "InvalidIdentityToken", code);

    let token = rogue(demo.production.minter().issuer().clone())?
        .mint(blue.identity(), session.mint_request()?)
        .await?;
    let code = assume(demo, token.expose(), &role).await;
    report.refusal("a token in our issuer's name, signed by another key", sts, "InvalidIdentityToken", code);

    let token = demo.production.minter().mint(blue.identity(), session.mint_request()?).await?;
    let code = assume(demo, &tampered(token.expose()), &role).await;
    report.refusal("a token with one byte changed", sts, "InvalidIdentityToken", code);

    let evidence = web_identity_token(demo, &demo.pod_session("blue")?, AUDIENCE, &[]).await?;
    let code = assume(demo, &evidence, &role).await;
    report.refusal("evidence handed to the STS instead of a token", sts, "InvalidIdentityToken", code);
    Ok(())
}

/// At the STS: tokens of ours that lack what the role's trust policy asks for, one thing at a time.
async fn incomplete_tokens(demo: &Demo, blue: &Agent, report: &mut Report) -> Result<(), Failure> {
    let (trust, role) = ("the role's trust policy", demo.production.role(DataClass::Memory).clone());
    let sts: Audience = "sts.amazonaws.com".parse()?;
    let tags = SessionTags::of(blue.identity());
    let pinned = || ExtraClaims::new().with(ROLES_CLAIM, [role.as_str()]);

    let untagged = MintRequest::new(sts.clone()).with_claims(pinned()?);
    let unpinned = MintRequest::new(sts.clone()).with_claims(ExtraClaims::new().with(TAGS_CLAIM, &tags)?);
    let elsewhere = MintRequest::new(OTHER_AUDIENCE.parse()?).with_claims(pinned()?.with(TAGS_CLAIM, &tags)?);
    for (attempt, request) in [
        ("an untagged token", untagged),
        ("a token that names no role", unpinned),
        ("a token for another audience of the same provider", elsewhere),
    ] {
        let token = demo.production.minter().mint(blue.identity(), request).await?;
        report.refusal(attempt, trust, "AccessDenied", assume(demo, token.expose(), &role).await);
    }

    // an identity that this broker might attest as well, of a cluster that these roles are not for
    let stranger = AttestedIdentity::assertion(
        AWS_STSWEB,
        CLUSTER.replace("demo", "staging").parse()?,
        blue.identity().agent().clone(),
        blue.identity().assurance(),
        blue.identity().attested_at(),
        blue.identity().not_after(),
    )?;
    let session = RoleSession::new(role.clone()).with_tags(SessionTags::of(&stranger));
    let token = demo.production.minter().mint(&stranger, session.mint_request()?).await?;
    let code = assume(demo, token.expose(), &role).await;
    report.refusal("a token for an agent of another cluster", trust, "AccessDenied", code);
    Ok(())
}

/// At the STS: the tokens of one stack, in good order and made out for the other's role.
async fn other_stack(demo: &Demo, blue: &Agent, report: &mut Report) -> Result<(), Failure> {
    let (production, test) = (&demo.production, &demo.test);
    for (attempt, issuer, owner) in [
        ("a token of the test stack, for production's role", test, production),
        ("a token of production, for the test stack's role", production, test),
    ] {
        let role = owner.role(DataClass::Memory);
        let session = RoleSession::new(role.clone()).with_tags(SessionTags::of(blue.identity()));
        let token = issuer.minter().mint(blue.identity(), session.mint_request()?).await?;
        let code = assume(demo, token.expose(), role).await;
        report.refusal(attempt, "the role's trust policy", "AccessDenied", code);
    }
    Ok(())
}

/// At the STS: a good token, used for what it is not for.
async fn misused_tokens(demo: &Demo, red: &Agent, report: &mut Report) -> Result<(), Failure> {
    let memory = red.credentials().iter().find(|held| held.class == DataClass::Memory);
    let token = &memory.ok_or("red holds memory credentials")?.token;
    let code = assume(demo, token.expose(), demo.production.role(DataClass::Vault)).await;
    let attempt = "a token for the memory role, used for the vault role";
    report.refusal(attempt, "the STS", "InvalidIdentityToken", code);
    Ok(())
}

/// A minter with a key of its own and no scruples.
pub(crate) fn rogue(issuer: Issuer) -> Result<Minter, Failure> {
    let (signer, _) = LocalSigner::generate(&SystemRandom::new())?;
    Ok(Minter::new(issuer, KeyRing::new(Arc::new(signer))))
}

/// The token with one character of its payload changed to another of the same alphabet.
pub(crate) fn tampered(token: &str) -> String {
    let at = token.find('.').map_or(0, |dot| dot + 10);
    let change = |(index, c)| match (index == at, c) {
        (true, 'A') => 'B',
        (true, _) => 'A',
        (false, c) => c,
    };
    token.chars().enumerate().map(change).collect()
}

/// The identity, or the code of the refusal.
async fn attest(demo: &Demo, token: &str) -> Result<AttestedIdentity, String> {
    let evidence = Evidence::new(AWS_STSWEB, token).map_err(|error| error.to_string())?;
    attested(demo, &evidence).await
}

/// The same of any evidence.
async fn attested(demo: &Demo, evidence: &Evidence) -> Result<AttestedIdentity, String> {
    demo.attestors.attest(evidence).await.map_err(|error| error.code().to_owned())
}

/// Asks the STS for evidence with a plain SDK client, which can do what our source cannot: add tags.
async fn web_identity_token(
    demo: &Demo,
    session: &SessionCredentials,
    audience: &str,
    request_tags: &[(&str, &str)],
) -> Result<String, Failure> {
    let client = aws_sdk_sts::Client::new(&demo.sdk(session));
    let mut call = client.get_web_identity_token().audience(audience).signing_algorithm("RS256");
    for (key, value) in request_tags {
        call = call.tags(Tag::builder().key(*key).value(*value).build()?);
    }
    let answer = call.send().await?;
    Ok(answer.web_identity_token().ok_or("STS gave no token")?.to_owned())
}

/// Hands a token to the STS. Answers AWS's code, or none where it worked.
async fn assume(demo: &Demo, token: &str, role: &RoleArn) -> Option<String> {
    refusal(demo.aws.endpoint(), role, token).await.map(|(_, code)| code)
}

/// Hands a token to the STS at `url`. Answers its status and code as one text, or none where it worked.
pub(crate) async fn refused_at(url: &str, role: &RoleArn, token: &str) -> Option<String> {
    refusal(url, role, token).await.map(|(status, code)| format!("{status} {code}"))
}

/// The same with a plain SDK client, and the two apart.
async fn refusal(url: &str, role: &RoleArn, token: &str) -> Option<(u16, String)> {
    let config = aws_sdk_sts::Config::builder()
        .behavior_version(aws_sdk_sts::config::BehaviorVersion::latest())
        .region(aws_sdk_sts::config::Region::new(REGION))
        .endpoint_url(url)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let call = aws_sdk_sts::Client::from_conf(config)
        .assume_role_with_web_identity()
        .role_arn(role.as_str())
        .role_session_name("cheater")
        .web_identity_token(token);
    match call.send().await {
        Ok(_) => None,
        Err(error) => {
            let status = error.raw_response().map_or(0, |answer| answer.status().as_u16());
            let body = error.raw_response().and_then(|answer| answer.body().bytes()).unwrap_or_default();
            let denied = String::from_utf8_lossy(body).contains("<Code>AccessDenied</Code>");
            let code = if denied { Some("AccessDenied") } else { error.code() };
            Some((status, code.unwrap_or("no answer").to_owned()))
        }
    }
}

/// The evidence is good, and for what it was before: red. What the caller wrote into it was not read.
const UNREAD: &str = "request_tags_unread";

pub(crate) const ROLES_CLAIM: &str = "https://aws.amazon.com/roles";

/// A clock that stands still.
#[derive(Debug)]
pub(crate) struct Then(pub(crate) Timestamp);

impl Clock for Then {
    fn now(&self) -> Result<Timestamp, ClockError> {
        Ok(self.0)
    }
}
