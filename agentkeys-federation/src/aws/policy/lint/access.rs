use super::condition::{Level, level};
use super::parse::{Document, Kind, Statement};
use super::{FindingCode, Findings, trust};

/// What a bucket or a role opens.
pub(super) fn lint(document: &Document, found: &mut Findings) {
    for (at, statement) in document.allows() {
        let covers = |action: &&&str| statement.actions.covers(action);
        if let Some(action) = LISTINGS.iter().find(covers) {
            listing(document, at, statement, action, found);
        }
        if let Some(action) = OBJECTS.iter().find(covers) {
            objects(document, at, statement, action, found);
        }
        if document.kind == Kind::Identity {
            sessions(document, at, statement, found);
        }
    }
    if document.kind == Kind::Identity {
        trust::source_identity(document, found);
    }
}

/// W66: the bucket is the resource of a listing, so that its prefix must be a condition.
fn listing(document: &Document, at: usize, statement: &Statement, action: &str, found: &mut Findings) {
    let prefixes: Vec<_> = statement.tests.iter().filter(|test| test.key == "s3:prefix").collect();
    if level(document, statement, action, "s3:prefix") == Level::Unknown {
        return;
    }
    // one test that narrows is enough, as all of them must hold
    let own = prefixes.iter().any(|test| {
        let (requires, scopes) = (test.requires(), test.values.iter().map(|value| Scope::of(value)));
        requires && scopes.into_iter().all(|scope| scope.is_own(document, statement, action, at, found))
    });
    if !own {
        found.put(FindingCode::ListingUnscoped, Some(at));
    }
}

fn objects(document: &Document, at: usize, statement: &Statement, action: &str, found: &mut Findings) {
    let Some(resources) = statement.resources.as_ref() else { return };
    // what is not listed is not the agent's
    let own = !resources.negated
        && resources.patterns.iter().all(|arn| {
            // a bucket's own ARN holds no objects
            if arn.contains(":::") && !arn.contains(['/', '*', '?']) {
                return true;
            }
            let key =
                arn.split_once(":::").and_then(|(_, path)| path.split_once('/')).map_or("*", |(_, key)| key);
            Scope::of(key).is_own(document, statement, action, at, found)
        });
    if !own {
        found.put(FindingCode::ObjectsUnscoped, Some(at));
    }
}

/// What stands before the first wildcard of a prefix or key.
#[derive(Debug)]
struct Scope<'a> {
    fixed: &'a str,
    /// The tag whose value is part of it.
    tag: Option<&'a str>,
    has_default: bool,
    /// Whether the fixed part is a folder of its own.
    is_folder: bool,
}

impl<'a> Scope<'a> {
    fn of(pattern: &'a str) -> Self {
        let fixed = pattern.split(['*', '?']).next().unwrap_or_default();
        let variable =
            fixed.split_once("${").and_then(|(_, rest)| rest.split_once('}')).map(|(name, _)| name);
        let (name, default) = match variable.and_then(|name| name.split_once(',')) {
            Some((name, _)) => (Some(name), true),
            None => (variable, false),
        };
        let tag = name.map(str::trim).and_then(|name| {
            let (kind, key) = name.split_once('/')?;
            let own = OWN_TAGS.contains(&name.to_lowercase().as_str());
            (own && kind.eq_ignore_ascii_case("aws:PrincipalTag")).then_some(key)
        });
        // `bots/${tag}*` would match the actor whose number only begins alike
        let is_folder = fixed.len() == pattern.len() || fixed.ends_with('/');
        Self { fixed, tag, has_default: default, is_folder }
    }

    /// Whether it is one actor's: by his tag in it, or because the tag is compared with a value.
    fn is_own(
        &self,
        document: &Document,
        statement: &Statement,
        action: &str,
        at: usize,
        found: &mut Findings,
    ) -> bool {
        if self.has_default {
            found.put(FindingCode::VariableDefault, Some(at));
        }
        let of = |key: &str| level(document, statement, action, key);
        match self.tag {
            Some(tag) => {
                let level = of(&format!("aws:principaltag/{}", tag.to_lowercase()));
                if level < Level::Present && level != Level::Unknown {
                    found.put(FindingCode::TagNotTested, Some(at));
                }
                self.is_folder
            }
            // or without a variable: the one value that the tag may have is a folder of the path
            None => {
                let named = |value: &str| self.fixed.split('/').any(|folder| folder == value);
                let tests = statement.tests.iter().filter(|test| OWN_TAGS.contains(&test.key.as_str()));
                let mut one = tests.filter_map(|test| match test.values.as_slice() {
                    [value] if of(&test.key) == Level::Pinned => Some(value),
                    _ => None,
                });
                self.is_folder && one.any(|value| named(value))
            }
        }
    }
}

/// What a role may ask STS for.
fn sessions(document: &Document, at: usize, statement: &Statement, found: &mut Findings) {
    let everything = |patterns: &[String]| patterns.iter().any(|arn| arn.contains(['*', '?']));
    let wide = statement.resources.as_ref().is_some_and(|all| all.negated || everything(&all.patterns));
    if wide && statement.actions.covers("sts:AssumeRole") {
        found.put(FindingCode::AnyRole, Some(at));
    }
    let (token, key) = ("sts:GetWebIdentityToken", "sts:identitytokenaudience");
    let audience = level(document, statement, token, key);
    // the audiences are a list, and nobody says what an operator without ForAllValues makes of two
    let each = statement.tests.iter().any(|test| test.key == key && test.narrows_each());
    let open = audience < Level::Pinned || !each;
    if statement.actions.covers(token) && open && audience != Level::Unknown {
        found.put(FindingCode::TokenAudienceOpen, Some(at));
    }
    if statement.actions.covers("sts:TagGetWebIdentityToken") {
        found.put(FindingCode::TokenTags, Some(at));
    }
}

/// Keys are compared in lower case. Another tag's prefix may be that of many agents.
const OWN_TAGS: [&str; 2] =
    ["aws:principaltag/agentkeys_actor_omni", "aws:principaltag/agentkeys_user_wallet"];

const LISTINGS: [&str; 3] = ["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"];
const OBJECTS: [&str; 5] =
    ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:GetObjectVersion", "s3:DeleteObjectVersion"];
