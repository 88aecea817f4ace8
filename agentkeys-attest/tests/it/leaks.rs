use agentkeys_core::Evidence;
use agentkeys_core::jose::Algorithm;
use serde_json::json;

use crate::support::{ISSUED, STRANGER, World, claims, evidence, good_token, told};

/// What a token or any piece of it would show.
fn pieces(token: &str) -> Vec<String> {
    let mut pieces: Vec<_> = token.split('.').map(|segment| segment.chars().take(24).collect()).collect();
    pieces.extend(["MARKED", "red-pod"].map(str::to_owned));
    pieces
}

fn assert_clean(shown: &str, token: &str) {
    for piece in pieces(token) {
        assert!(!shown.contains(&piece), "{piece} in {shown}");
    }
}

#[tokio::test]
async fn neither_evidence_nor_attestor_nor_refusal_shows_any_of_a_token() {
    let world = World::new();
    let marked = |path: &[&str]| {
        let mut claims = claims();
        let mut at = &mut claims;
        for name in path {
            at = &mut at[*name];
        }
        *at = json!("MARKED red-pod");
        claims
    };
    let sts = "https://sts.amazonaws.com/";
    let mut tokens: Vec<_> = [
        &["iss"][..],
        &["aud"],
        &["sub"],
        &["exp"],
        &[sts],
        &[sts, "aws_account"],
        &[sts, "principal_id"],
        &[sts, "principal_tags"],
        &[sts, "principal_tags", "kubernetes-pod-name"],
        &[sts, "principal_tags", "kubernetes-pod-uid"],
        &[sts, "principal_tags", "kubernetes-namespace"],
        &[sts, "principal_tags", "kubernetes-service-account"],
        &[sts, "principal_tags", "eks-cluster-name"],
        &[sts, "principal_tags", "eks-cluster-arn"],
    ]
    .map(|path| ISSUED.sign(Algorithm::Rs256, &marked(path)))
    .into();
    tokens.push(STRANGER.sign(Algorithm::Rs256, &claims()));
    tokens.push(ISSUED.sign_raw(Algorithm::Rs256, r#"{"alg":"MARKED"}"#, "{}"));
    tokens.push(ISSUED.sign_raw(Algorithm::Rs256, r#"{"alg":"RS256","kid":"MARKED"}"#, "{}"));
    tokens.push(ISSUED.sign_raw(Algorithm::Rs256, r#"{"alg":"RS256","MARKED":1}"#, "{}"));
    tokens.push("MARKED".to_owned());
    for token in &tokens {
        let error = world.attest(token).await.unwrap_err();
        assert_clean(&format!("{error:?} {error:#?} {}", told(&error)), token);
        assert_clean(&format!("{:?} {:?}", evidence(token), world.attestor), token);
    }
    let bytes = Evidence::new(evidence("x").kind().clone(), b"MARKED\xff".to_vec()).unwrap();
    assert_clean(&format!("{bytes:?}"), "x.x.x");

    let token = good_token();
    let identity = world.attest(&token).await.unwrap();
    let shown = format!("{identity:?} {:?}", world.attestor);
    for segment in token.split('.') {
        assert!(!shown.contains(segment));
    }
}

#[cfg(feature = "aws-sdk")]
#[tokio::test(start_paused = true)]
async fn neither_source_nor_its_errors_show_tokens_credentials_or_answers() {
    use agentkeys_core::EvidenceSource as _;

    use crate::source::{FakeSts, error_answer, token_answer};

    let token = "MARKED-header.MARKED-payload.MARKED-signature";
    let sts = FakeSts::answers(200, token_answer(token));
    let source = sts.source();
    let evidence = source.fetch().await.unwrap();
    assert_clean(&format!("{source:?} {source:#?} {evidence:?}"), token);
    // an answer that is spoilt still has the token in it, and the SDK's error has the answer
    let spoilt = token_answer(token).replace("2027-", "MARKED-");
    for (status, body) in [
        (200, spoilt.clone()),
        (200, format!("<x>{token}</x>")),
        (403, spoilt.clone()),
        (400, spoilt.clone()),
        (500, spoilt),
        (403, error_answer(token)),
        (400, error_answer(token)),
    ] {
        let error = FakeSts::answers(status, body).source().fetch().await.unwrap_err();
        assert_clean(&format!("{error:?} {error:#?} {}", told(&error)), token);
    }
}
