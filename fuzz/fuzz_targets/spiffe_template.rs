//! Any text as a SPIFFE ID beside any text as a template, with a line's end between them: what fits is the
//! template filled in, so no two IDs have the same fields, and every field is a name.

#![no_main]

use agentkeys_attest::template::{Match, Template};
use agentkeys_core::{AgentId, SpiffeId, TenantId};
use libfuzzer_sys::fuzz_target;

/// The template with each field as it was found.
fn fill(template: &Template, found: &Match<'_>) -> String {
    let mut filled = String::new();
    let mut rest = template.as_str();
    while let Some((literal, field)) = rest.split_once('{') {
        let (name, after) = field.split_once('}').expect("a brace that is closed");
        let value = match name {
            "agent" => Some(found.agent()),
            "tenant" => found.tenant(),
            other => found.others().find(|(name, _)| *name == other).map(|(_, value)| value),
        };
        filled.extend([literal, value.expect("each field was found")]);
        rest = after;
    }
    filled + rest
}

fuzz_target!(|input: &str| {
    let Some((form, text)) = input.split_once('\n') else { return };
    let template = Template::parse(form);
    if let Ok(template) = &template {
        assert_eq!(template.as_str(), form);
        assert_eq!(&Template::parse(form).unwrap(), template);
        // a template never takes itself
        assert!(template.matches(form).is_none());
    }

    if let Ok(template) = &template
        && let Some(found) = template.matches(text)
    {
        assert_eq!(fill(template, &found), text);
        assert!(AgentId::parse(found.agent()).is_ok());
        assert!(found.tenant().is_none_or(|tenant| TenantId::parse(tenant).is_ok()));
        assert!(found.others().all(|(_, value)| AgentId::parse(value).is_ok()));
        if let Ok(root) = found.trust_root("spiffe://example.org") {
            // it reads back as the fields it was made of
            let behind = root.as_str().strip_prefix("spiffe://example.org").unwrap();
            let fields = behind.strip_prefix('#').unwrap_or_default();
            let read = fields.split('&').filter(|field| !field.is_empty());
            assert!(read.map(|field| field.split_once('=').unwrap()).eq(found.others()));
        }
    }

    let Ok(id) = SpiffeId::parse(text) else { return };
    assert_eq!(id.as_str(), text);
    assert!(text.len() <= 2048 && text.is_ascii() && !text.ends_with('/'));
    assert_eq!(text, format!("spiffe://{}{}", id.trust_domain(), id.path()));
    assert!(!id.trust_domain().as_str().bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'/'));
    let path = id.path();
    assert!(path.is_empty() || path.starts_with('/'));
    for segment in path.split('/').skip(1) {
        assert!(!["", ".", ".."].contains(&segment) && !segment.contains(['%', '?', '#', ':', '@']));
    }
    // what an attestor compares is the path and nothing else of the ID
    if let Ok(template) = &template
        && let Some(found) = template.matches(path)
    {
        assert_eq!(fill(template, &found), path);
    }
});
