use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::{
    Assurance, AttestedIdentity, Audience, Clock as _, ExtraClaims, Issuer, MintRequest, Minter, SystemClock,
    Timestamp, Token, TrustRoot,
};
use agentkeys_federation::{DataClass, ExchangeError, Exchanger as _, RoleSession, SessionTags, TAGS_CLAIM};

use super::Proof;
use crate::cheating::{ROLES_CLAIM, Then, refused_at, rogue, tampered};
use crate::{Failure, Report};

/// Tokens that must not be exchanged, each for one reason. The gateway gives none for its AccessDenied, so a
/// good token goes before and after each: it is the token that was refused, not the gateway that was out of order.
pub(super) async fn try_everything(
    proof: &Proof<'_>,
    blue: &AttestedIdentity,
    report: &mut Report,
) -> Result<(), Failure> {
    let memory = proof.session(blue, DataClass::Memory);
    let minter = &proof.minter;
    let role = proof.names.role(DataClass::Memory);
    let (tags, bare) = (SessionTags::of(blue), || RoleSession::new(role.clone()));
    let aud = |audience: &str| -> Result<MintRequest, Failure> {
        let claims = ExtraClaims::new().with(ROLES_CLAIM, [role.as_str()])?;
        let claims = claims.with(TAGS_CLAIM, tags.clone().with_data_class(DataClass::Memory))?;
        Ok(MintRequest::new(Audience::parse(audience)?).with_claims(claims))
    };
    let hour = Duration::from_secs(3600);
    let now = SystemClock::new().now()?;
    let then = minter.clone().with_clock(Arc::new(Then(now.minus(hour))));
    let elsewhere = Minter::new(Issuer::parse("https://elsewhere.example.org")?, minter.keys().clone());
    let thief = rogue(minter.issuer().clone())?;
    let early = like(blue, blue.trust_root().clone(), now.minus(hour))?;
    let stranger = like(blue, "arn:aws:eks:us-east-1:123456789012:cluster/other".parse()?, now)?;
    let mint =
        async |minter: &Minter, session: &RoleSession| minter.mint(blue, session.mint_request()?).await;

    let attempts = [
        ("a token that is over", then.mint(&early, memory.mint_request()?).await?),
        ("a token for another audience", minter.mint(blue, aud("reports.example.org")?).await?),
        ("a token from another issuer, signed by our key", mint(&elsewhere, &memory).await?),
        ("a token in our issuer's name, signed by another key", mint(&thief, &memory).await?),
        (
            "a token for the data role, used for the memory role",
            mint(minter, &proof.session(blue, DataClass::Data)).await?,
        ),
        ("a token that names no class", mint(minter, &bare().with_tags(tags.clone())).await?),
        ("an untagged token", mint(minter, &bare()).await?),
        (
            "a token of a class without an agent",
            mint(minter, &bare().with_tags(SessionTags::new().with_data_class(DataClass::Memory))).await?,
        ),
        ("a token for an agent of another cluster", minter.mint(&stranger, memory.mint_request()?).await?),
    ];
    for (attempt, token) in &attempts {
        exchanged(proof, blue, report).await?;
        let refused = proof.exchanger.exchange(token, &memory).await.err();
        report.check(refused == Some(ExchangeError::Denied));
        report.refusal(attempt, GATEWAY, DENIED, refused_at(proof.gateway.url(), role, token.expose()).await);
    }
    let good: Token = mint(minter, &memory).await?;
    let unsigned = good.expose().rsplit_once('.').map_or("", |(signed, _)| signed);
    for (attempt, token) in [
        ("a token with one byte changed", tampered(good.expose())),
        ("a token without its signature", format!("{unsigned}.")),
    ] {
        exchanged(proof, blue, report).await?;
        report.refusal(attempt, GATEWAY, DENIED, refused_at(proof.gateway.url(), role, &token).await);
    }
    exchanged(proof, blue, report).await?;

    // and the request that is right in all of this is
    report.check(refused_at(proof.gateway.url(), role, good.expose()).await.is_none());
    report.check(
        proof.exchanger.exchange(&minter.mint(blue, aud("sts.amazonaws.com")?).await?, &memory).await.is_ok(),
    );
    Ok(())
}

/// A good token is exchanged.
async fn exchanged(proof: &Proof<'_>, blue: &AttestedIdentity, report: &mut Report) -> Result<(), Failure> {
    let session = proof.session(blue, DataClass::Memory);
    let token = proof.minter.mint(blue, session.mint_request()?).await?;
    report.check(proof.exchanger.exchange(&token, &session).await.is_ok());
    Ok(())
}

/// An agent of the same name, under this root and attested then.
fn like(blue: &AttestedIdentity, root: TrustRoot, at: Timestamp) -> Result<AttestedIdentity, Failure> {
    let (kind, agent, lifetime) = (blue.kind().clone(), blue.agent().clone(), Duration::from_secs(600));
    Ok(AttestedIdentity::assertion(kind, root, agent, Assurance::PlatformAttested, at, at.plus(lifetime))?)
}

const GATEWAY: &str = "the gateway";
const DENIED: &str = "403 AccessDenied";
