//! The generated documents byte for byte, and the linter on documents of others and on our own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use agentkeys_core::Issuer;
use agentkeys_federation::{
    ClassAccess, DataClass, FindingCode, OidcProvider, PodRole, RoleSession, SOURCE_IDENTITY_CLAIM,
    SessionRole, Severity, SourceIdentity, SourceIdentityPattern, WebIdentityTrust, lint,
};
use serde::Deserialize;
use serde_json::Value;

/// Every kind of document that can be generated, by the name of its snapshot.
fn generated() -> BTreeMap<String, String> {
    let issuer = Issuer::parse("https://broker.example.org").unwrap();
    let provider =
        OidcProvider::new("aws".parse().unwrap(), "123456789012".parse().unwrap(), issuer).unwrap();
    let subject = "aws-stsweb/arn:aws:eks:us-east-1:123456789012:cluster%2Fprod//*";
    let trust = WebIdentityTrust::new(provider, subject.parse().unwrap());
    let tenant = SourceIdentityPattern::tenant("acme").unwrap();
    let jane = SourceIdentity::verbatim("jane@example.org").unwrap();
    let listed = SourceIdentityPattern::exactly(jane, [SourceIdentity::digest("acme", "7").unwrap()]);
    let role = |name: &str| format!("arn:aws:iam::123456789012:role/{name}").parse().unwrap();
    let session = SessionRole::new(role("acme-session"), role("acme-runtime"), tenant.clone());
    let pods = PodRole::new("agentkeys".parse().unwrap()).unwrap();

    let mut all = BTreeMap::new();
    let mut put = |name: &str, document: agentkeys_federation::PolicyDocument| {
        assert!(all.insert(name.to_owned(), format!("{document:#}\n")).is_none());
    };
    put("trust", trust.clone().document());
    put("trust-subjects", trust.clone().or_subject("spiffe-svid/r/acme/*".parse().unwrap()).document());
    put("trust-class", trust.clone().pinned_by_class(DataClass::Memory).document());
    put("trust-wallets", trust.clone().for_legacy_wallets().document());
    put("trust-tenant", trust.clone().with_source_identity(tenant).document());
    put("trust-listed", trust.with_source_identity(listed).document());
    put("session-trust", session.trust_policy());
    put("session-caller", session.caller_policy());
    put("session-trust-tagged", session.clone().for_tagged_caller().trust_policy());
    put("session-caller-tagged", session.for_tagged_caller().caller_policy());
    put("pod-trust", pods.trust_policy());
    put("pod-role", pods.role_policy());
    for class in DataClass::ALL {
        let bucket = format!("agentkeys-{class}").parse().unwrap();
        let access = ClassAccess::new(class, bucket, role(&format!("agentkeys-{class}-role")));
        put(&format!("bucket-{class}"), access.bucket_policy());
        put(&format!("role-{class}"), access.role_policy());
        let wallets = access.clone().for_legacy_wallets();
        put(&format!("bucket-{class}-wallets"), wallets.bucket_policy());
        let one = access.for_one_actor("9c1e".repeat(16).parse().unwrap());
        put(&format!("bucket-{class}-one-actor"), one.bucket_policy());
    }
    let memory = "agentkeys-memory".parse().unwrap();
    let access = ClassAccess::new(DataClass::Memory, memory, role("agentkeys-memory-role"));
    let actor = |text: &str| text.repeat(16).parse().unwrap();
    let three = access.for_one_actor(actor("9c1e")).or_actor(actor("70aa")).or_actor(actor("11ff"));
    put("role-memory-three-actors", three.role_policy());
    put("bucket-memory-three-actors", three.bucket_policy());
    all
}

#[test]
fn r73_r86_generated_documents_are_the_same_bytes_for_ever() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/policies");
    let generated = generated();
    for (name, text) in &generated {
        let path = folder.join(format!("{name}.json"));
        let snapshot = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(&snapshot, text, "{}", path.display());
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), generated.len(), "a snapshot of nothing");
}

#[test]
fn r86_the_order_in_which_subjects_are_named_changes_nothing() {
    let issuer = Issuer::parse("https://broker.example.org").unwrap();
    let provider =
        OidcProvider::new("aws".parse().unwrap(), "123456789012".parse().unwrap(), issuer).unwrap();
    let (one, two) = ("spiffe-svid/a/acme/*".parse().unwrap(), "spiffe-svid/b/acme/*".parse().unwrap());
    let trust = |first: &agentkeys_federation::SubjectPattern,
                 second: &agentkeys_federation::SubjectPattern| {
        WebIdentityTrust::new(provider.clone(), first.clone())
            .or_subject(second.clone())
            .or_subject(first.clone())
    };
    assert_eq!(trust(&one, &two).document().to_string(), trust(&two, &one).document().to_string());
    assert!(!trust(&one, &two).document().to_string().contains(['\n', ' ']));
}

#[test]
fn r49_r60_w65_w66_w80_our_own_documents_have_no_findings() {
    for (name, text) in generated() {
        let codes: Vec<_> = lint(&text).iter().map(|finding| finding.code()).collect();
        // on AWS it would let in tokens that name another role
        let known: &[_] = if name == "trust-class" { &[FindingCode::RoleNotPinned] } else { &[] };
        assert_eq!(codes, known, "{name}");
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    policy: Value,
    findings: BTreeSet<String>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../data/policy-lint-cases.json")).unwrap()
}

#[test]
fn r49_r50_r56_r60_w12_w65_w66_w76_w80_the_table_of_documents() {
    let cases = cases();
    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert!(names.len() == cases.len() && cases.len() >= 60, "{} cases", cases.len());
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for case in &cases {
        // a string is a document's text
        let text = case.policy.as_str().map_or_else(|| case.policy.to_string(), str::to_owned);
        let found: BTreeSet<_> =
            lint(&text).iter().map(|finding| finding.code().as_str().to_owned()).collect();
        if found != case.findings {
            wrong.push(format!("{}: {found:?}, not {:?}", case.name, case.findings));
        }
        seen.extend(found);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for code in FindingCode::ALL {
        assert!(seen.contains(code.as_str()), "no document has {}", code.as_str());
    }
}

/// A role of a service account has conditions on `:sub` and `:aud` of its cluster's issuer and no others.
#[test]
fn r114_the_conditions_of_irsa_are_recognised() {
    let irsa: Vec<_> = cases().into_iter().filter(|case| case.name.starts_with("irsa: ")).collect();
    assert_eq!(irsa.len(), 5);
    for case in irsa {
        let found: BTreeSet<_> =
            lint(&case.policy.to_string()).iter().map(|finding| finding.code()).collect();
        // not known as a provider of ours, but what it asks of a token is read
        assert!(found.contains(&FindingCode::TagNotTested), "{}", case.name);
        let other = case.name.contains("another cluster");
        let (sub, aud) = (case.name.contains("sub") && !other, case.name.contains("aud") && !other);
        assert_eq!(found.contains(&FindingCode::SubjectOpen), !sub, "{}", case.name);
        assert_eq!(found.contains(&FindingCode::AudienceOpen), !aud, "{}", case.name);
    }
}

#[test]
fn only_what_lets_nobody_in_is_a_warning() {
    let warnings: Vec<_> =
        FindingCode::ALL.iter().filter(|code| code.severity() == Severity::Warning).collect();
    assert_eq!(
        warnings,
        [
            &FindingCode::WildcardArn,
            &FindingCode::TagSessionMissing,
            &FindingCode::SourceIdentityForbidden,
            &FindingCode::SourceIdentityNotAllowed,
            &FindingCode::TokenTags
        ]
    );
    let found = lint("no policy");
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(finding.severity(), Severity::Error);
    let sentence = FindingCode::Unreadable.sentence();
    assert_eq!(finding.to_string(), format!("document: error: unreadable: {sentence}"));
}

#[test]
fn r99_the_token_carries_the_source_identity_only_where_one_was_given() {
    let role = "arn:aws:iam::123456789012:role/r".parse().unwrap();
    let session = RoleSession::new(role);
    assert_eq!(session.source_identity(), None);
    let claims = |session: &RoleSession| format!("{:?}", session.mint_request().unwrap());
    assert!(!claims(&session).contains(SOURCE_IDENTITY_CLAIM));
    let identity = SourceIdentity::agent("acme", "7").unwrap();
    let session = session.with_source_identity(identity.clone());
    assert_eq!(session.source_identity(), Some(&identity));
    assert!(claims(&session).contains(SOURCE_IDENTITY_CLAIM));
}
