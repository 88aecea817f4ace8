//! The documents behind the isolation, condition by condition. What a missing condition lets through is
//! shown by the quickstart's matrix and its attempts to cheat; here is what they must say.

use agentkeys_core::Issuer;
use agentkeys_examples::DataClass;
use agentkeys_examples::policies::{bucket_policy, pod_policy, pod_trust_policy, trust_policy};
use serde_json::json;

const ROLE: &str = "arn:aws:iam::123456789012:role/agentkeys-memory-role";
const PROVIDER: &str = "arn:aws:iam::123456789012:oidc-provider/broker.example.org/a";

#[test]
fn r48_w65_the_trust_policy_asks_for_audience_subject_role_and_tag() {
    let issuer = Issuer::parse("https://broker.example.org/a").unwrap();
    let statements = trust_policy(PROVIDER, &issuer, &["aws-stsweb/*"])["Statement"].clone();
    assert_eq!(
        statements,
        json!([{
            "Effect": "Allow",
            "Principal": { "Federated": PROVIDER },
            "Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession"],
            "Condition": {
                "StringEquals": { "broker.example.org/a:aud": "sts.amazonaws.com" },
                "StringLike": { "broker.example.org/a:sub": ["aws-stsweb/*"] },
                "Bool": { "sts:RoleAuthorizedByIdp": "true" },
                "Null": { "aws:RequestTag/agentkeys_actor_omni": "false" },
            },
        }])
    );
}

#[test]
fn r56_every_statement_of_a_bucket_policy_has_the_null_test() {
    for class in DataClass::ALL {
        let policy = bucket_policy(class, &class.bucket(), ROLE);
        let statements = policy["Statement"].as_array().unwrap();
        assert_eq!(statements.len(), 2);
        for statement in statements {
            let tagged = json!({ "aws:PrincipalTag/agentkeys_actor_omni": "false" });
            assert_eq!(statement["Condition"]["Null"], tagged, "{statement}");
            assert_eq!(statement["Principal"], json!({ "AWS": ROLE }));
            assert_eq!(statement["Effect"], "Allow");
        }
    }
}

#[test]
fn r53_r59_listing_and_objects_are_scoped_by_the_tag_in_two_statements() {
    let policy = bucket_policy(DataClass::Memory, "b", ROLE);
    let own = "bots/${aws:PrincipalTag/agentkeys_actor_omni}/memory/*";
    let [list, objects] = [0, 1].map(|at| &policy["Statement"][at]);
    assert_eq!(list["Action"], "s3:ListBucket");
    assert_eq!(list["Resource"], "arn:aws:s3:::b");
    assert_eq!(list["Condition"]["StringLike"], json!({ "s3:prefix": own }));
    assert_eq!(objects["Action"], json!(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]));
    assert_eq!(objects["Resource"], format!("arn:aws:s3:::b/{own}"));
}

#[test]
fn r27_l17_a_pod_may_only_ask_for_a_token_and_only_eks_may_start_its_session() {
    let trust = pod_trust_policy();
    assert_eq!(trust["Statement"][0]["Principal"], json!({ "Service": "pods.eks.amazonaws.com" }));
    let policy = pod_policy("agentkeys");
    let conditions = &policy["Statement"][0]["Condition"];
    // ForAllValues alone is true where the key is missing (L26)
    assert_eq!(conditions["ForAllValues:StringEquals"], json!({ "sts:IdentityTokenAudience": "agentkeys" }));
    assert_eq!(conditions["Null"], json!({ "sts:IdentityTokenAudience": "false" }));
}
