//! The generated documents before an evaluator that shares no code with them: what they decide, and that
//! each part of each of them decides something (R118).

use agentkeys_core::Issuer;
use agentkeys_examples::CLASSES;
use agentkeys_federation::{
    ClassAccess, DataClass, OidcProvider, PodRole, SessionRole, SourceIdentity, SourceIdentityPattern,
    WebIdentityTrust,
};
use agentkeys_local_aws::policy::{
    Context, Decision, IdentityPolicy, Principal, Request, ResourcePolicy, TrustPolicy, evaluate_identity,
    evaluate_resource, evaluate_trust,
};
use serde_json::{Value, json};

const ACCOUNT: &str = "123456789012";
const ROLE: &str = "arn:aws:iam::123456789012:role/agentkeys-memory-role";
const CALLER: &str = "arn:aws:iam::123456789012:role/acme-runtime";
const PROVIDER: &str = "arn:aws:iam::123456789012:oidc-provider/broker.example.org/a";
const TEST_PROVIDER: &str = "arn:aws:iam::123456789012:oidc-provider/test.example.org/a";
const OMNI: &str = "9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e";
const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000001";
const WALLET: &str = "0x9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e9c1e";

const WEB_IDENTITY: &str = "sts:AssumeRoleWithWebIdentity";
const TAG_SESSION: &str = "sts:TagSession";
const SET_SOURCE_IDENTITY: &str = "sts:SetSourceIdentity";
const OMNI_REQUESTED: &str = "aws:RequestTag/agentkeys_actor_omni";
const OMNI_TAG: &str = "aws:PrincipalTag/agentkeys_actor_omni";
const WALLET_TAG: &str = "aws:PrincipalTag/agentkeys_user_wallet";

/// A request, and whether it is to be allowed.
struct Case {
    what: &'static str,
    request: Request,
    allowed: bool,
}

fn case(
    what: &'static str,
    principal: Principal,
    action: &str,
    resource: &str,
    context: &[(&str, &str)],
    allowed: bool,
) -> Case {
    let mut keys = Context::new();
    for (key, value) in context {
        keys.insert(key, [(*value).to_owned()]);
    }
    let request =
        Request { principal, action: action.to_owned(), resource: resource.to_owned(), context: keys };
    Case { what, request, allowed }
}

/// The context without a key, or with another value of it.
fn but<'a>(context: &[(&'a str, &'a str)], key: &str, value: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    assert!(context.iter().any(|(known, _)| *known == key), "{key}");
    let replace = |(known, old): &(&'a str, &'a str)| match (*known == key, value) {
        (true, None) => None,
        (true, Some(value)) => Some((*known, value)),
        (false, _) => Some((*known, *old)),
    };
    context.iter().filter_map(replace).collect()
}

fn role(arn: &str) -> Principal {
    let name = arn.rsplit('/').next().unwrap();
    let session = format!("arn:aws:sts::{ACCOUNT}:assumed-role/{name}/s");
    Principal::Aws { account: ACCOUNT.to_owned(), arns: vec![arn.to_owned(), session] }
}

/// Which of the evaluator's functions decides.
#[derive(Clone, Copy, Debug)]
enum Place {
    Identity,
    Resource,
    Trust,
}

/// Whether the document allows it; none where the evaluator does not take it as a document.
fn allows(place: Place, document: &Value, request: &Request) -> Option<bool> {
    let text = document.to_string();
    let decision = match place {
        Place::Identity => evaluate_identity(&[IdentityPolicy::parse(&text).ok()?], request),
        Place::Resource => evaluate_resource(&ResourcePolicy::parse(&text).ok()?, request),
        Place::Trust => evaluate_trust(&TrustPolicy::parse(&text).ok()?, request),
    };
    Some(decision == Decision::Allow)
}

/// The document with one thing taken out or made wider, in every way there is, each with its name.
fn weakened(document: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    let statements = document["Statement"].as_array().unwrap();
    for (at, statement) in statements.iter().enumerate() {
        let mut put = |what: String, changed: Value| {
            let mut weak = document.clone();
            weak["Statement"][at] = changed;
            all.push((format!("{}: {what}", statement["Sid"]), weak));
        };
        for (operator, tests) in statement["Condition"].as_object().into_iter().flatten() {
            for (key, values) in tests.as_object().unwrap() {
                let mut changed = statement.clone();
                changed["Condition"][operator].as_object_mut().unwrap().remove(key);
                if changed["Condition"][operator] == json!({}) {
                    changed["Condition"].as_object_mut().unwrap().remove(operator);
                }
                put(format!("without {operator} {key}"), changed);
                for value in values.as_array().into_iter().flatten() {
                    let mut changed = statement.clone();
                    let rest: Vec<_> =
                        values.as_array().unwrap().iter().filter(|kept| *kept != value).collect();
                    changed["Condition"][operator][key] = json!(rest);
                    put(format!("{operator} {key} without {value}"), changed);
                }
                if operator == "StringLike" {
                    let mut changed = statement.clone();
                    changed["Condition"][operator][key] = json!("*");
                    put(format!("{operator} {key} *"), changed);
                }
            }
        }
        for action in statement["Action"].as_array().into_iter().flatten() {
            let mut changed = statement.clone();
            let actions = statement["Action"].as_array().unwrap();
            let rest: Vec<_> = actions.iter().filter(|kept| *kept != action).collect();
            changed["Action"] = json!(rest);
            put(format!("without {action}"), changed);
        }
        let mut changed = statement.clone();
        changed["Action"] = json!("*");
        put("every action".to_owned(), changed);
        if statement["Resource"].as_str().is_some_and(|resource| resource != "*") {
            let mut changed = statement.clone();
            changed["Resource"] = json!("*");
            put("every resource".to_owned(), changed);
        }
        if statement["Principal"].is_object() {
            let mut changed = statement.clone();
            changed["Principal"] = json!("*");
            put("every principal".to_owned(), changed);
        }
        let mut without = document.clone();
        without["Statement"].as_array_mut().unwrap().remove(at);
        if statements.len() > 1 {
            all.push((format!("without {}", statement["Sid"]), without));
        }
    }
    all
}

/// Each request is decided as it must be, and each weakening changes the answer to one of them.
fn decides(place: Place, document: &Value, least: usize, cases: &[Case]) {
    for case in cases {
        assert_eq!(allows(place, document, &case.request), Some(case.allowed), "{}: {document}", case.what);
    }
    let weakened = weakened(document);
    assert!(weakened.len() >= least, "{} ways to weaken {document}", weakened.len());
    for (what, weak) in weakened {
        let noticed = cases
            .iter()
            .any(|case| allows(place, &weak, &case.request).is_some_and(|found| found != case.allowed));
        assert!(noticed, "{what}: nothing decides otherwise without it");
    }
}

fn provider() -> OidcProvider {
    let issuer = Issuer::parse("https://broker.example.org/a").unwrap();
    OidcProvider::new("aws".parse().unwrap(), ACCOUNT.parse().unwrap(), issuer).unwrap()
}

fn federated(arn: &str) -> Principal {
    Principal::Federated(arn.to_owned())
}

const TOKEN: [(&str, &str); 4] = [
    ("broker.example.org/a:aud", "sts.amazonaws.com"),
    ("broker.example.org/a:sub", "aws-stsweb/root//blue"),
    ("sts:RoleAuthorizedByIdp", "true"),
    (OMNI_REQUESTED, OMNI),
];

#[test]
fn r48_w65_every_part_of_the_trust_policy_decides() {
    let trust = WebIdentityTrust::new(provider(), "aws-stsweb/root//*".parse().unwrap())
        .or_subject("spiffe-svid/root/acme/red".parse().unwrap());
    let document = serde_json::to_value(trust.document()).unwrap();
    let is = |what, key, value, allowed| {
        case(what, federated(PROVIDER), WEB_IDENTITY, "", &but(&TOKEN, key, value), allowed)
    };
    let (aud, sub) = (TOKEN[0].0, TOKEN[1].0);
    let cases = [
        case("a good token", federated(PROVIDER), WEB_IDENTITY, "", &TOKEN, true),
        case("its tags", federated(PROVIDER), TAG_SESSION, "", &TOKEN, true),
        is("an agent of the other list", sub, Some("spiffe-svid/root/acme/red"), true),
        is("an agent beside the other list", sub, Some("spiffe-svid/root/acme/reds"), false),
        is("an agent of another cluster", sub, Some("aws-stsweb/root2//blue"), false),
        is("an agent with a tenant", sub, Some("aws-stsweb/root/acme/blue"), false),
        is("no subject", sub, None, false),
        is("another audience", aud, Some("reports.example.org"), false),
        is("no audience", aud, None, false),
        is("a token that names no role", "sts:RoleAuthorizedByIdp", None, false),
        is("a token that names another role", "sts:RoleAuthorizedByIdp", Some("false"), false),
        is("no tag", OMNI_REQUESTED, None, false),
        is("an empty tag", OMNI_REQUESTED, Some(""), false),
        case("the test stack's provider", federated(TEST_PROVIDER), WEB_IDENTITY, "", &TOKEN, false),
        case("a role of the account", role(CALLER), WEB_IDENTITY, "", &TOKEN, false),
        case("a source identity", federated(PROVIDER), SET_SOURCE_IDENTITY, "", &TOKEN, false),
        case("another action", federated(PROVIDER), "sts:AssumeRole", "", &TOKEN, false),
    ];
    decides(Place::Trust, &document, 10, &cases);
}

#[test]
fn r51_a_test_issuers_token_opens_no_production_role() {
    let document = |issuer: &str| {
        let issuer = Issuer::parse(issuer).unwrap();
        let provider = OidcProvider::new("aws".parse().unwrap(), ACCOUNT.parse().unwrap(), issuer).unwrap();
        let trust = WebIdentityTrust::new(provider, "aws-stsweb/root//*".parse().unwrap());
        serde_json::to_value(trust.document()).unwrap()
    };
    let production = document("https://broker.example.org/a");
    let test = document("https://test.example.org/a");
    let test_token = TOKEN.map(|(key, value)| (key, value)).map(|(key, value)| match key {
        "broker.example.org/a:aud" => ("test.example.org/a:aud", value),
        "broker.example.org/a:sub" => ("test.example.org/a:sub", value),
        key => (key, value),
    });
    for (what, document, arn, token, allowed) in [
        ("own", &production, PROVIDER, TOKEN, true),
        ("own, test", &test, TEST_PROVIDER, test_token, true),
        ("test token", &production, TEST_PROVIDER, test_token, false),
        ("test token, production's ARN", &production, PROVIDER, test_token, false),
        ("production's token at test", &test, PROVIDER, TOKEN, false),
    ] {
        let case = case(what, federated(arn), WEB_IDENTITY, "", &token, allowed);
        assert_eq!(allows(Place::Trust, document, &case.request), Some(allowed), "{what}");
    }
}

#[test]
fn r54_a_role_of_the_older_scope_asks_for_the_wallet() {
    let trust = WebIdentityTrust::new(provider(), "aws-stsweb/root//*".parse().unwrap()).for_legacy_wallets();
    let document = serde_json::to_value(trust.document()).unwrap();
    let wallet: Vec<_> =
        TOKEN.into_iter().take(3).chain([("aws:RequestTag/agentkeys_user_wallet", WALLET)]).collect();
    let cases = [
        case("with a wallet", federated(PROVIDER), WEB_IDENTITY, "", &wallet, true),
        case("with an actor alone", federated(PROVIDER), WEB_IDENTITY, "", &TOKEN, false),
    ];
    for case in cases {
        assert_eq!(allows(Place::Trust, &document, &case.request), Some(case.allowed), "{}", case.what);
    }
}

#[test]
fn r48_w65_w68_every_part_of_a_trust_policy_that_a_class_pins_decides() {
    let trust = WebIdentityTrust::new(provider(), "aws-stsweb/root//*".parse().unwrap());
    let document = serde_json::to_value(trust.pinned_by_class(DataClass::Vault).document()).unwrap();
    let class = "aws:RequestTag/agentkeys_data_class";
    let token: Vec<_> = but(&TOKEN, TOKEN[2].0, None).into_iter().chain([(class, "vault")]).collect();
    let is =
        |what, key, value| case(what, federated(PROVIDER), WEB_IDENTITY, "", &but(&token, key, value), false);
    let cases = [
        case("a good token", federated(PROVIDER), WEB_IDENTITY, "", &token, true),
        case("its tags", federated(PROVIDER), TAG_SESSION, "", &token, true),
        is("no class", class, None),
        is("another class", class, Some("memory")),
        is("no tag", OMNI_REQUESTED, None),
        is("an empty tag", OMNI_REQUESTED, Some("")),
        is("another audience", TOKEN[0].0, Some("reports.example.org")),
        is("another agent", TOKEN[1].0, Some("aws-stsweb/root2//blue")),
        case("the test stack's provider", federated(TEST_PROVIDER), WEB_IDENTITY, "", &token, false),
        case("another action", federated(PROVIDER), "sts:AssumeRole", "", &token, false),
    ];
    decides(Place::Trust, &document, 7, &cases);
}

/// The two forms of a source identity's condition, both as the trust of a token.
#[test]
fn r104_r105_w76_a_source_identity_is_asked_for_or_refused() {
    let agent = SourceIdentity::agent("acme", "7").unwrap();
    let jane = SourceIdentity::verbatim("jane").unwrap();
    for (pattern, good, foreign) in [
        (SourceIdentityPattern::tenant("acme").unwrap(), "agent+acme+7", "agent+acme2+7"),
        (SourceIdentityPattern::exactly(agent, [jane]), "jane", "janet"),
    ] {
        let trust = WebIdentityTrust::new(provider(), "aws-stsweb/root//*".parse().unwrap());
        let document = serde_json::to_value(trust.with_source_identity(pattern.clone()).document()).unwrap();
        let attributed: Vec<_> = TOKEN.into_iter().chain([("sts:SourceIdentity", good)]).collect();
        let is = |what, key, value| {
            case(what, federated(PROVIDER), WEB_IDENTITY, "", &but(&attributed, key, value), false)
        };
        let cases = [
            case("attributed", federated(PROVIDER), WEB_IDENTITY, "", &attributed, true),
            case("its tags", federated(PROVIDER), TAG_SESSION, "", &attributed, true),
            case("its source identity", federated(PROVIDER), SET_SOURCE_IDENTITY, "", &attributed, true),
            case(
                "in another's words",
                federated(PROVIDER),
                WEB_IDENTITY,
                "",
                &but(&attributed, "sts:SourceIdentity", Some("agent+acme+7")),
                true,
            ),
            is("unattributed", "sts:SourceIdentity", None),
            is("another tenant's", "sts:SourceIdentity", Some(foreign)),
            is("another audience", TOKEN[0].0, Some("reports.example.org")),
            is("another agent", TOKEN[1].0, Some("aws-stsweb/root2//blue")),
            is("another role", TOKEN[2].0, Some("false")),
            is("no tag", OMNI_REQUESTED, None),
            case("the test stack's provider", federated(TEST_PROVIDER), WEB_IDENTITY, "", &attributed, false),
            case("another action", federated(PROVIDER), "sts:AssumeRole", "", &attributed, false),
        ];
        decides(Place::Trust, &document, 10, &cases);
    }
}

/// What a session of a class's role asks of the class's bucket.
fn access_cases(
    principal: fn() -> Principal,
    bucket: &str,
    tag: &'static str,
    id: &str,
    class: &str,
) -> Vec<Case> {
    let (root, other) = match tag {
        WALLET_TAG => (format!("{id}/"), format!("0x{}/", "1".repeat(40))),
        _ => (format!("bots/{id}/{class}/"), format!("bots/{OTHER}/{class}/")),
    };
    let nobody = root.replace(id, "");
    let own = [(tag, id)];
    let arn = format!("arn:aws:s3:::{bucket}");
    let get = |what, key: &str, context: &[(&str, &str)], allowed| {
        case(what, principal(), "s3:GetObject", &format!("{arn}/{key}n"), context, allowed)
    };
    let list = |what, prefix: &str, tags: &[(&str, &str)], allowed| {
        let context: Vec<_> = tags.iter().copied().chain([("s3:prefix", prefix)]).collect();
        case(what, principal(), "s3:ListBucket", &arn, &context, allowed)
    };
    vec![
        get("own object", &root, &own, true),
        case("own put", principal(), "s3:PutObject", &format!("{arn}/{root}n"), &own, true),
        case("own delete", principal(), "s3:DeleteObject", &format!("{arn}/{root}n"), &own, true),
        list("own listing", &root, &own, true),
        get("another's object", &other, &own, false),
        get("no prefix", "", &own, false),
        get("untagged", &root, &[], false),
        get("an empty tag's object", &nobody, &[(tag, "")], false),
        get("another's tag", &root, &[(tag, OTHER)], false),
        list("another's listing", &other, &own, false),
        list("the whole bucket", "", &own, false),
        case("a listing without prefix", principal(), "s3:ListBucket", &arn, &own, false),
        list("an untagged listing", &root, &[], false),
        list("an empty tag's listing", &nobody, &[(tag, "")], false),
        list("another's tag's listing", &root, &[(tag, OTHER)], false),
        case("another action", principal(), "s3:PutObjectAcl", &format!("{arn}/{root}n"), &own, false),
        case(
            "another bucket action",
            principal(),
            "s3:DeleteBucket",
            &arn,
            &[own[0], ("s3:prefix", &root)],
            false,
        ),
        case(
            "another bucket",
            principal(),
            "s3:GetObject",
            &format!("arn:aws:s3:::other/{root}n"),
            &own,
            false,
        ),
        case(
            "another bucket's listing",
            principal(),
            "s3:ListBucket",
            "arn:aws:s3:::other",
            &[own[0], ("s3:prefix", &root)],
            false,
        ),
    ]
}

#[test]
fn r53_r56_r58_r59_w66_every_part_of_a_buckets_and_a_roles_policy_decides() {
    for class in DataClass::ALL {
        let bucket = format!("agentkeys-{class}");
        let of = ClassAccess::new(class, bucket.parse().unwrap(), ROLE.parse().unwrap());
        for (access, tag, id) in [
            (of.clone(), OMNI_TAG, OMNI),
            (of.clone().for_legacy_wallets(), WALLET_TAG, WALLET),
            (of.for_one_actor(OMNI.parse().unwrap()), OMNI_TAG, OMNI),
        ] {
            let mut cases = access_cases(|| role(ROLE), &bucket, tag, id, class.prefix());
            let document = serde_json::to_value(access.role_policy()).unwrap();
            decides(Place::Identity, &document, 11, &cases);

            // in the bucket's policy the same, and nobody but this class's role
            let strangers = access_cases(|| role(CALLER), &bucket, tag, id, class.prefix());
            let denied = |case: Case| Case { what: "another class's role", allowed: false, ..case };
            cases.extend(strangers.into_iter().map(denied));
            let document = serde_json::to_value(access.bucket_policy()).unwrap();
            decides(Place::Resource, &document, 13, &cases);
        }
    }
}

#[test]
fn r53_r56_w66_each_of_several_actors_has_what_is_his() {
    let (class, bucket, third) = (DataClass::Memory, "agentkeys-memory", "3".repeat(64));
    let access = ClassAccess::new(class, bucket.parse().unwrap(), ROLE.parse().unwrap())
        .for_one_actor(OMNI.parse().unwrap())
        .or_actor(third.parse().unwrap());
    let of = |id| access_cases(|| role(ROLE), bucket, OMNI_TAG, id, class.prefix());
    let across = |tag, of: &str| {
        let object = format!("arn:aws:s3:::{bucket}/bots/{of}/memory/n");
        case("the other's object", role(ROLE), "s3:GetObject", &object, &[(OMNI_TAG, tag)], false)
    };
    let mut cases: Vec<_> = of(OMNI).into_iter().chain(of(&third)).collect();
    cases.extend([across(OMNI, &third), across(&third, OMNI)]);
    let document = serde_json::to_value(access.role_policy()).unwrap();
    decides(Place::Identity, &document, 22, &cases);
    let document = serde_json::to_value(access.bucket_policy()).unwrap();
    let strangers = |id| access_cases(|| role(CALLER), bucket, OMNI_TAG, id, class.prefix());
    let all = strangers(OMNI).into_iter().chain(strangers(&third));
    cases.extend(all.map(|case| Case { what: "another class's role", allowed: false, ..case }));
    decides(Place::Resource, &document, 26, &cases);
}

#[test]
fn r52_r53_one_classs_prefix_is_not_anothers() {
    for class in CLASSES {
        let bucket = format!("agentkeys-{class}");
        let access = ClassAccess::new(class, bucket.parse().unwrap(), ROLE.parse().unwrap());
        let document = serde_json::to_value(access.bucket_policy()).unwrap();
        for other in DataClass::ALL {
            let key = format!("arn:aws:s3:::{bucket}/bots/{OMNI}/{}/n", other.prefix());
            let own = class == other;
            let case = case("a class", role(ROLE), "s3:GetObject", &key, &[(OMNI_TAG, OMNI)], own);
            assert_eq!(allows(Place::Resource, &document, &case.request), Some(own), "{key}");
        }
    }
}

#[test]
fn r104_r105_r115_every_part_of_both_halves_of_a_session_role_decides() {
    let pattern = SourceIdentityPattern::tenant("acme").unwrap();
    let of = SessionRole::new(ROLE.parse().unwrap(), CALLER.parse().unwrap(), pattern);
    let stranger = "arn:aws:iam::123456789012:role/globex-runtime";
    for tagged in [false, true] {
        let of = if tagged { of.clone().for_tagged_caller() } else { of.clone() };
        let mut context = vec![("sts:SourceIdentity", "agent+acme+7")];
        if tagged {
            context.push((OMNI_TAG, OMNI));
        }
        let mut cases = vec![
            case("assume", role(CALLER), "sts:AssumeRole", ROLE, &context, true),
            case("attribute", role(CALLER), SET_SOURCE_IDENTITY, ROLE, &context, true),
            case("tags", role(CALLER), TAG_SESSION, ROLE, &context, tagged),
            case("another action", role(CALLER), WEB_IDENTITY, ROLE, &context, false),
        ];
        for (what, value) in [
            ("unattributed", None),
            ("as another tenant", Some("agent+globex+7")),
            ("as somebody", Some("jane")),
            ("as nobody", Some("")),
        ] {
            let context = but(&context, "sts:SourceIdentity", value);
            cases.push(case(what, role(CALLER), "sts:AssumeRole", ROLE, &context, false));
        }
        if tagged {
            let context = but(&context, OMNI_TAG, None);
            cases.push(case("untagged", role(CALLER), "sts:AssumeRole", ROLE, &context, false));
        }
        let trust = serde_json::to_value(of.trust_policy()).unwrap();
        let mut at_the_role = cases;
        at_the_role.push(case("another caller", role(stranger), "sts:AssumeRole", ROLE, &context, false));
        decides(Place::Trust, &trust, 6, &at_the_role);

        let permission = serde_json::to_value(of.caller_policy()).unwrap();
        at_the_role.pop();
        at_the_role.push(case("another role", role(CALLER), "sts:AssumeRole", stranger, &context, false));
        decides(Place::Identity, &permission, 6, &at_the_role);
    }
}

#[test]
fn r27_l17_l26_every_part_of_a_pods_role_decides() {
    let pods = PodRole::new("agentkeys".parse().unwrap()).unwrap();
    let eks = || Principal::Service("pods.eks.amazonaws.com".to_owned());
    let ec2 = Principal::Service("ec2.amazonaws.com".to_owned());
    let trust = serde_json::to_value(pods.trust_policy()).unwrap();
    let cases = [
        case("eks", eks(), "sts:AssumeRole", "", &[], true),
        case("eks tags", eks(), TAG_SESSION, "", &[], true),
        case("a source identity", eks(), SET_SOURCE_IDENTITY, "", &[], false),
        case("another service", ec2, "sts:AssumeRole", "", &[], false),
        case("a role of the account", role(CALLER), TAG_SESSION, "", &[], false),
    ];
    decides(Place::Trust, &trust, 4, &cases);

    let policy = serde_json::to_value(pods.role_policy()).unwrap();
    let (token, audience) = ("sts:GetWebIdentityToken", "sts:IdentityTokenAudience");
    let cases = [
        case("a token", role(CALLER), token, "*", &[(audience, "agentkeys")], true),
        case("for another audience", role(CALLER), token, "*", &[(audience, "elsewhere")], false),
        case("for nobody", role(CALLER), token, "*", &[], false),
        case(
            "with tags of its own",
            role(CALLER),
            "sts:TagGetWebIdentityToken",
            "*",
            &[(audience, "agentkeys")],
            false,
        ),
    ];
    decides(Place::Identity, &policy, 3, &cases);
}
