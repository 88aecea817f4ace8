use super::condition::{Level, is_denied, level};
use super::parse::{Document, Principals, Statement};
use super::{FindingCode, Findings};
use crate::aws::tags::{TAG_ACTOR_OMNI, TAG_USER_WALLET};

/// Who may become a role.
pub(super) fn lint(document: &Document, found: &mut Findings) {
    let web = !is_denied(document, WEB_IDENTITY) && document.allows_action(WEB_IDENTITY);
    let mut providers = Vec::new();
    for (at, statement) in document.allows() {
        let Some(principals) = &statement.principals else { continue };
        for provider in &principals.federated {
            if !providers.contains(&provider) {
                providers.push(provider);
            }
        }
        if providers.len() > 1 && !principals.federated.is_empty() {
            found.put(FindingCode::SeveralProviders, Some(at));
        }
        if web
            && !principals.aws.is_empty()
            && document.allows().any(|(_, other)| is_entered_by_tokens(other))
        {
            found.put(FindingCode::MixedPrincipals, Some(at));
        }
        if is_entered_by_tokens(statement) && web {
            tokens(document, at, statement, principals, found);
        }
    }
    pods(document, found);
    source_identity(document, found);
}

fn is_entered_by_tokens(statement: &Statement) -> bool {
    let federated = statement.principals.as_ref().is_some_and(|p| p.anybody || !p.federated.is_empty());
    federated && statement.actions.covers(WEB_IDENTITY)
}

/// R48, W65.
fn tokens(
    document: &Document,
    at: usize,
    statement: &Statement,
    principals: &Principals,
    found: &mut Findings,
) {
    let of = |key: &str| level(document, statement, WEB_IDENTITY, &key.to_lowercase());
    // each provider's claims have keys of their own
    let claim = |claim: &str| {
        let each = principals.federated.iter().map(|provider| of(&format!("{}:{claim}", host(provider))));
        each.min().unwrap_or(Level::Open)
    };
    let is_short = |level: Level, least: Level| level < least && level != Level::Unknown;
    if is_short(claim("aud"), Level::Pinned) {
        found.put(FindingCode::AudienceOpen, Some(at));
    }
    if is_short(claim("sub"), Level::Pinned) {
        found.put(FindingCode::SubjectOpen, Some(at));
    }
    let root_is_open = |provider: &String| {
        let key = format!("{}:sub", host(provider)).to_lowercase();
        let mut tests = statement.tests.iter().filter(|test| test.key == key && test.is_like());
        tests.any(|test| test.values.iter().any(|value| has_open_root(value)))
    };
    if principals.federated.iter().any(root_is_open) {
        found.put(FindingCode::SubjectRootOpen, Some(at));
    }
    if is_short(of("sts:RoleAuthorizedByIdp"), Level::Pinned) {
        found.put(FindingCode::RoleNotPinned, Some(at));
    }
    let tag = [TAG_ACTOR_OMNI, TAG_USER_WALLET].map(|key| of(&format!("aws:RequestTag/{key}")));
    if tag.into_iter().all(|level| is_short(level, Level::Present)) {
        found.put(FindingCode::TagNotTested, Some(at));
    }
    let tags = |other: &Statement| {
        let same = other.principals.as_ref().is_some_and(|other| {
            other.anybody || principals.federated.iter().all(|provider| other.federated.contains(provider))
        });
        same && other.actions.covers("sts:TagSession")
    };
    if is_denied(document, "sts:TagSession") || !document.allows().any(|(_, other)| tags(other)) {
        found.put(FindingCode::TagSessionMissing, Some(at));
    }
}

/// Whether a pattern of subjects as we write them, `<kind>/<root>/<tenant>/<agent>`, has a wildcard in kind or
/// root (R79).
fn has_open_root(subject: &str) -> bool {
    let wild = |part: &str| part.contains(['*', '?']);
    matches!(subject.split('/').collect::<Vec<_>>().as_slice(), [kind, root, _, _] if wild(kind) || wild(root))
}

/// What the claims' keys of a provider begin with.
fn host(provider: &str) -> &str {
    provider.split_once(":oidc-provider/").map_or(provider, |(_, host)| host)
}

/// W12: nobody but EKS starts and tags the sessions of the pods' role.
fn pods(document: &Document, found: &mut Findings) {
    let is_pods = |statement: &Statement| {
        statement
            .principals
            .as_ref()
            .is_some_and(|principals| principals.services.iter().any(|name| name == PODS))
    };
    if !document.allows().any(|(_, statement)| is_pods(statement)) {
        return;
    }
    for (at, statement) in document.allows() {
        let shared = statement.principals.as_ref().is_some_and(|principals| principals.count() > 1);
        if shared || !is_pods(statement) {
            found.put(FindingCode::PodsShared, Some(at));
        }
    }
}

/// Required only if every way in requires it (W80). A role that never mentions one is unattributed, which is
/// a choice and no mistake.
pub(super) fn source_identity(document: &Document, found: &mut Findings) {
    let is_named = |statement: &Statement| {
        statement.tests.iter().any(|test| test.key == SOURCE_IDENTITY)
            || statement.allows && statement.actions.covers(SET_SOURCE_IDENTITY)
    };
    if !document.statements.iter().any(is_named) {
        return;
    }
    let settable = document.allows_action(SET_SOURCE_IDENTITY) && !is_denied(document, SET_SOURCE_IDENTITY);
    for (at, statement) in document.allows() {
        for way in [ASSUME_ROLE, WEB_IDENTITY, "sts:AssumeRoleWithSAML"] {
            if !statement.actions.covers(way) || is_denied(document, way) || !can_go(statement, way) {
                continue;
            }
            match level(document, statement, way, SOURCE_IDENTITY) {
                Level::Open => found.put(FindingCode::SourceIdentityNotRequired, Some(at)),
                Level::Forbidden => found.put(FindingCode::SourceIdentityForbidden, Some(at)),
                Level::Present => found.put(FindingCode::SourceIdentityUnpinned, Some(at)),
                Level::Unknown | Level::Pinned => {}
            }
            if !settable && level(document, statement, way, SOURCE_IDENTITY) >= Level::Present {
                found.put(FindingCode::SourceIdentityNotAllowed, Some(at));
            }
        }
    }
}

/// A federated principal has no `AssumeRole`, and nobody else comes with a token.
fn can_go(statement: &Statement, way: &str) -> bool {
    let Some(principals) = &statement.principals else { return way == ASSUME_ROLE };
    let federated = !principals.federated.is_empty();
    let others = !principals.aws.is_empty() || !principals.services.is_empty();
    principals.anybody || if way == ASSUME_ROLE { others } else { federated }
}

const WEB_IDENTITY: &str = "sts:AssumeRoleWithWebIdentity";
const ASSUME_ROLE: &str = "sts:AssumeRole";
const SET_SOURCE_IDENTITY: &str = "sts:SetSourceIdentity";
/// Keys are compared in lower case.
const SOURCE_IDENTITY: &str = "sts:sourceidentity";
const PODS: &str = "pods.eks.amazonaws.com";
