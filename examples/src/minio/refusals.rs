use std::sync::Arc;
use std::time::Duration;

use agentkeys_core::jose::{Compact, sha256};
use agentkeys_core::{
    Assurance, AttestedIdentity, Audience, Clock as _, ExtraClaims, Issuer, MintRequest, Minter, SystemClock,
};
use agentkeys_federation::{DataClass, ExchangeError, Exchanger as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Proof;
use super::server::CLIENT_ID;
use crate::cheating::{ROLES_CLAIM, Then, refused_at, rogue, tampered};
use crate::{Failure, Report};

/// Tokens that must not be exchanged, each for one reason. MinIO has one code for all of them, so a good token goes
/// before and after each: it is the token that was refused, not the server that was out of order.
pub(super) async fn try_everything(
    proof: &Proof,
    blue: &AttestedIdentity,
    report: &mut Report,
) -> Result<(), Failure> {
    let memory = proof.session(blue, DataClass::Memory);
    let (minter, role) = (&proof.minter, memory.role());
    let claims = |audience: &str, claims: ExtraClaims| -> Result<MintRequest, Failure> {
        Ok(MintRequest::new(Audience::parse(audience)?).with_claims(claims))
    };
    let pinned = |role: &str| ExtraClaims::new().with(ROLES_CLAIM, [role]);
    let hour = Duration::from_secs(3600);
    let now = SystemClock::new().now()?;
    let then = minter.clone().with_clock(Arc::new(Then(now.minus(hour))));
    let early = AttestedIdentity::assertion(
        blue.kind().clone(),
        blue.trust_root().clone(),
        blue.agent().clone(),
        Assurance::PlatformAttested,
        now.minus(hour),
        now.minus(hour / 2),
    )?;
    let thief = rogue(minter.issuer().clone())?;
    let good = minter.mint(blue, memory.mint_request()?).await?;
    let unsigned = good.expose().rsplit_once('.').map_or("", |(signed, _)| signed);

    for (attempt, token) in [
        ("a token that is over", then.mint(&early, memory.mint_request()?).await?),
        (
            "a token for another audience",
            minter.mint(blue, claims("reports.example.org", pinned(role.as_str())?)?).await?,
        ),
        (
            "a token in our issuer's name, signed by another key",
            thief.mint(blue, memory.mint_request()?).await?,
        ),
        ("a token that names no role", minter.mint(blue, claims(CLIENT_ID, ExtraClaims::new())?).await?),
        (
            "a token that names a role without a policy",
            minter.mint(blue, claims(CLIENT_ID, pinned("arn:aws:iam::123456789012:role/x")?)?).await?,
        ),
    ] {
        exchanged(proof, blue, report).await?;
        let refused = proof.exchanger.exchange(&token, &memory).await.err();
        report.check(refused == Some(ExchangeError::TokenInvalid));
        report.refusal(attempt, MINIO, REFUSED, refused_at(proof.server.url(), role, token.expose()).await);
    }
    let payload = Compact::split(good.expose())?.payload()?;
    let forged =
        |header: &str| format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(&payload));
    // with no client secret in its configuration, MinIO would take this: the empty secret is the key
    let hmac = forged(&format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{CLIENT_ID}"}}"#));
    let hmac = format!("{hmac}.{}", URL_SAFE_NO_PAD.encode(unkeyed(&hmac)));
    for (attempt, token) in [
        ("a token with one byte changed", tampered(good.expose())),
        ("a token without its signature", format!("{unsigned}.")),
        ("a token of the algorithm none", format!("{}.", forged(r#"{"alg":"none","typ":"JWT"}"#))),
        ("a token signed with an empty secret, by the client's name", hmac),
    ] {
        exchanged(proof, blue, report).await?;
        report.refusal(attempt, MINIO, REFUSED, refused_at(proof.server.url(), role, &token).await);
    }
    exchanged(proof, blue, report).await?;
    report.check(refused_at(proof.server.url(), role, good.expose()).await.is_none());

    // our own side, where MinIO would open the role that the token names
    let data = proof.session(blue, DataClass::Data);
    report.check(proof.exchanger.exchange(&good, &data).await.err() == Some(ExchangeError::TokenInvalid));

    // what MinIO does not look at: whoever signs with a key of this issuer's is taken at his word
    let elsewhere = Minter::new(Issuer::parse("https://elsewhere.example.org")?, minter.keys().clone());
    let token = elsewhere.mint(blue, memory.mint_request()?).await?;
    report.check(refused_at(proof.server.url(), role, token.expose()).await.is_none());
    let saw = "the issuer that a token names: with our key, any name is taken";
    report.step("", "not checked", saw.to_owned(), Duration::ZERO);
    Ok(())
}

/// HMAC-SHA-256 with the empty key. <https://www.rfc-editor.org/rfc/rfc2104#section-2>
fn unkeyed(message: &str) -> [u8; 32] {
    let inner = sha256(&[&[0x36; 64], message.as_bytes()].concat());
    sha256(&[&[0x5c; 64][..], &inner].concat())
}

/// A good token is exchanged.
async fn exchanged(proof: &Proof, blue: &AttestedIdentity, report: &mut Report) -> Result<(), Failure> {
    let session = proof.session(blue, DataClass::Memory);
    let token = proof.minter.mint(blue, session.mint_request()?).await?;
    report.check(proof.exchanger.exchange(&token, &session).await.is_ok());
    Ok(())
}

const MINIO: &str = "MinIO";
const REFUSED: &str = "400 InvalidParameterValue";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forgery_is_a_real_hmac_of_an_empty_key() {
        let of_nothing = "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad";
        let found: String = unkeyed("").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, of_nothing);
    }
}
