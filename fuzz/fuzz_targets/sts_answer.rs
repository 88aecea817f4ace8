//! Any bytes as an answer of STS: whoever it makes an agent is a session of a role that is let in, in so many
//! words.

#![no_main]

use agentkeys_core::{Assurance, ErrorKind, HttpResponse};
use libfuzzer_sys::fuzz_target;

mod sts;

const EVIDENCE: &str = concat!(
    r#"{"url":"https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15"#,
    "&X-Amz-Algorithm=AWS4-HMAC-SHA256",
    "&X-Amz-Credential=ASIAQ3EGZ5EXAMPLEKEY%2F20270115%2Feu-west-1%2Fsts%2Faws4_request",
    "&X-Amz-Date=20270115T080000Z&X-Amz-Expires=60&X-Amz-Security-Token=token",
    "&X-Amz-Signature=0000000000000000000000000000000000000000000000000000000000000000",
    r#"&X-Amz-SignedHeaders=host%3Bx-agentkeys-audience"}"#,
);

/// The one text between two tags, found the simple way.
fn between<'t>(text: &'t str, name: &str) -> &'t str {
    let (open, close) = (format!("<{name}"), format!("</{name}"));
    assert_eq!((text.matches(&open).count(), text.matches(&close).count()), (1, 1), "{name}");
    let (_, rest) = text.split_once(&open).unwrap();
    let (_, rest) = rest.split_once('>').unwrap();
    rest.split_once(&close).unwrap().0
}

fuzz_target!(|body: &[u8]| {
    let headers = vec![("content-type".to_owned(), "text/xml".to_owned())];
    let (found, asked) = sts::attest(EVIDENCE.as_bytes(), HttpResponse::new(200, headers, body));
    assert_eq!(asked.len(), 1);
    let identity = match found {
        Ok(identity) => identity,
        // no answer, somebody who is not let in, a session whose name no agent can have
        Err(refused) => {
            let kinds = [ErrorKind::Unavailable, ErrorKind::Denied, ErrorKind::Invalid];
            assert!(kinds.contains(&refused.kind()));
            assert!(refused.kind() != ErrorKind::Invalid || refused.code() == "evidence_identity");
            return;
        }
    };
    let text = std::str::from_utf8(body).unwrap();
    assert!(!text.contains('&') && !text.contains("<!"));
    assert!(text.contains("\"https://sts.amazonaws.com/doc/2011-06-15/\"") || text.contains('\''));
    let arn = between(text, "Arn");
    assert_eq!(between(text, "Account"), "123456789012");
    let session = between(text, "UserId").split_once(':').unwrap().1;
    match identity.assurance() {
        Assurance::PlatformAttested => {
            assert_eq!(identity.agent().as_str(), "blue");
            assert_eq!(arn, format!("arn:aws:sts::123456789012:assumed-role/agents/{session}"));
            assert_eq!(identity.trust_root().as_str(), "arn:aws:iam::123456789012:role/agents");
        }
        _ => {
            assert_eq!(identity.agent().as_str(), session);
            assert_eq!(arn, format!("arn:aws:sts::123456789012:assumed-role/launcher/{session}"));
            assert_eq!(identity.trust_root().as_str(), "arn:aws:iam::123456789012:role/launcher");
        }
    }
});
