//! Every mutation of every generated document is caught (R118): a request of the table is decided otherwise, or
//! the linter says what is wrong, or it is no policy any more. The mutations are made by walking over the JSON,
//! so a new part of a document is mutated without anybody thinking of it.

use std::collections::{BTreeMap, BTreeSet};

use agentkeys_examples::{Document, Expectation};
use agentkeys_federation::lint;
use serde_json::{Value, json};

use super::expectations::{both_stacks, documents};

/// A mutation: where, what, and the document with it.
struct Mutant {
    at: String,
    what: String,
    document: Value,
}

/// Every mutation of a document.
fn mutants(document: &Value) -> Vec<Mutant> {
    let mut all = Vec::new();
    walk(document, String::new(), document, &mut all);
    // grants add up: one beside the others undoes them all (R60)
    for statement in document["Statement"].as_array().unwrap() {
        let mut broad = statement.clone();
        broad.as_object_mut().unwrap().remove("Condition");
        broad["Action"] = json!("*");
        for (element, everything) in [("Resource", json!("*")), ("Principal", json!("*"))] {
            if statement.get(element).is_some() {
                broad[element] = everything;
            }
        }
        let mut wider = document.clone();
        wider["Statement"].as_array_mut().unwrap().push(broad);
        all.push(Mutant {
            at: "/Statement".to_owned(),
            what: "a broad grant beside".to_owned(),
            document: wider,
        });
    }
    all
}

fn walk(node: &Value, at: String, whole: &Value, all: &mut Vec<Mutant>) {
    let mut put = |what: String, changed: Value| {
        if changed != *node {
            let mut document = whole.clone();
            *document.pointer_mut(&at).unwrap() = changed;
            all.push(Mutant { at: at.clone(), what, document });
        }
    };
    match node {
        Value::Object(members) => {
            for (name, value) in members {
                let without = || {
                    let mut changed = members.clone();
                    changed.remove(name);
                    changed
                };
                put(format!("without {name}"), Value::Object(without()));
                for renamed in renamed(name) {
                    let mut changed = without();
                    match (changed.get_mut(&renamed), value) {
                        (Some(Value::Object(there)), Value::Object(more)) => there.extend(more.clone()),
                        _ => drop(changed.insert(renamed.clone(), value.clone())),
                    }
                    put(format!("{renamed} for {name}"), Value::Object(changed));
                }
            }
            for (name, value) in members {
                // of a pointer's characters, / and ~ are escaped
                let name = name.replace('~', "~0").replace('/', "~1");
                walk(value, format!("{at}/{name}"), whole, all);
            }
        }
        Value::Array(items) => {
            for index in 0..items.len() {
                let mut changed = items.clone();
                let removed = changed.remove(index);
                put(format!("without {removed}"), Value::Array(changed));
            }
            let first = items.first().and_then(Value::as_str).unwrap_or_default();
            for more in more(&at, first).into_iter().filter(|more| !items.contains(more)) {
                put(format!("{more} beside"), json!([items.as_slice(), &[more]].concat()));
            }
            for (index, item) in items.iter().enumerate() {
                walk(item, format!("{at}/{index}"), whole, all);
            }
        }
        Value::String(text) => {
            for changed in retexted(text) {
                put(format!("{changed:?} for {text:?}"), Value::String(changed));
            }
            // a bare text is a list of one
            for more in more(&at, text).into_iter().filter(|more| more != text) {
                put(format!("{more} beside"), json!([text, more]));
            }
        }
        other => panic!("{other} in a policy"),
    }
}

/// What may be added to a list that begins with this text: what could mean something there.
fn more(at: &str, first: &str) -> Vec<Value> {
    let more: &[&str] = match at.split('/').nth(3) {
        // an element of a list, not a list
        _ if at.ends_with(|end: char| end.is_ascii_digit()) => &[],
        Some("Action") if first.starts_with("sts:") => {
            &["*", "sts:SetSourceIdentity", "sts:AssumeRole", "sts:AssumeRoleWithSAML", "sts:TagSession"]
        }
        Some("Action") if first.contains("Bucket") => &["*", "s3:PutBucketPolicy", "s3:ListBucketVersions"],
        Some("Action") => &["*", "s3:GetObjectAcl", "s3:PutObjectAcl", "s3:GetObjectVersion"],
        Some("Resource") if first == "*" => &[],
        Some("Resource") if first.contains(":role/") => &["*", "arn:aws:iam::123456789012:role/somebody"],
        Some("Resource") if first.contains('/') => &["*", "arn:aws:s3:::somebody/*"],
        Some("Resource") => &["*", "arn:aws:s3:::somebody"],
        Some("Condition") => &["*"],
        Some("Principal") => &[
            "*",
            "arn:aws:iam::123456789012:role/somebody",
            "arn:aws:iam::123456789012:root",
            "arn:aws:iam::123456789012:oidc-provider/elsewhere.example.org",
            "ec2.amazonaws.com",
        ],
        _ => &[],
    };
    more.iter().map(|text| json!(text)).collect()
}

/// Other names for a member.
fn renamed(name: &str) -> Vec<String> {
    match name {
        "Action" | "Resource" | "Principal" => vec![format!("Not{name}")],
        "AWS" | "Federated" | "Service" => ["AWS", "Federated", "Service"]
            .iter()
            .filter(|kind| **kind != name)
            .map(ToString::to_string)
            .collect(),
        "Null" => vec!["Bool".to_owned()],
        "Bool" | "StringEquals" | "StringLike" | "ForAllValues:StringEquals" => {
            let plain = name.trim_start_matches("ForAllValues:");
            let mut names = vec![
                format!("{name}IfExists"),
                format!("ForAllValues:{plain}"),
                format!("ForAnyValue:{plain}"),
                "Null".to_owned(),
            ];
            match plain {
                "StringEquals" => names.extend(["StringNotEquals", "StringLike"].map(str::to_owned)),
                "StringLike" => names.extend(["StringNotLike", "StringEquals"].map(str::to_owned)),
                _ => {}
            }
            names.retain(|other| other != name);
            names
        }
        // keys of conditions
        key if key.ends_with(":aud") || key.ends_with(":sub") => {
            vec![
                key.replace(".example.org", ".example.com"),
                key.replace(":aud", ":amr").replace(":sub", ":oaud"),
            ]
        }
        key if key.contains("agentkeys_actor_omni") => {
            vec![key.replace("actor_omni", "user_wallet"), key.replace("agentkeys_actor_omni", "team")]
        }
        key if key.contains(':') && !key.starts_with("For") => vec![format!("{key}2")],
        _ => Vec::new(),
    }
}

/// Other texts for a text: everything; each of its parts everything; longer, shorter, turned round.
fn retexted(text: &str) -> Vec<String> {
    let mut all: Vec<String> = ["*", ""].map(str::to_owned).into();
    match text {
        "Allow" => return vec!["Deny".to_owned()],
        "2012-10-17" => return vec!["2008-10-17".to_owned()],
        "true" => all.push("false".to_owned()),
        "false" => all.push("true".to_owned()),
        _ => {}
    }
    for separator in ['/', ':', '+'] {
        let parts: Vec<_> = text.split(separator).collect();
        if parts.len() == 1 {
            continue;
        }
        for at in 0..parts.len() {
            let joined = |part: &str| {
                let mut parts = parts.clone();
                parts[at] = part;
                parts.join(&separator.to_string())
            };
            all.push(joined("*"));
            all.push(joined(&format!("{}*", parts[at].trim_end_matches('*'))));
            // all that follows is everything
            all.push([&parts[..at], &["*"]].concat().join(&separator.to_string()));
        }
    }
    if text.contains("${") {
        all.push(text.replace("agentkeys_actor_omni", "agentkeys_user_wallet"));
        all.push(text.replace("actor_omni}", "actor_omni, '*'}"));
        all.push(text.replace("actor_omni}", "actor_omni}*"));
        all.push(text.replace("${", "$").replace('}', ""));
    } else {
        all.extend(["*", "?"].map(|wildcard| format!("{text}{wildcard}")));
    }
    all.retain(|other| !other.contains("**"));
    all.push(text.replace("-role", "-role-test"));
    all.push(text.replace("-role-test", "-role"));
    all.retain(|other| other != text);
    all.sort();
    all.dedup();
    all
}

/// Why a mutation that nothing catches changes nothing. These are all.
fn means_the_same(mutant: &Mutant) -> Option<&'static str> {
    let (at, what) = (mutant.at.as_str(), mutant.what.as_str());
    let of_one_value = !at.contains("sts:IdentityTokenAudience") && !what.contains(" for ForAllValues:");
    if at.ends_with("/Sid") || what == "without Sid" {
        Some("a Sid is a comment")
    } else if what == "\"*\" beside" && at.contains("StringEquals/") {
        Some("to StringEquals a star is a star")
    } else if what == "StringLike for StringEquals" {
        Some("no value of it has a wildcard")
    } else if what.starts_with("ForAnyValue:") && of_one_value {
        Some("these keys have one value, so that any of them is that one")
    } else if what.contains("*?\" for ") && (at.contains(":sub") || at.ends_with("/sts:SourceIdentity")) {
        Some("neither an agent's nor a session's name is empty")
    } else if what == "ForAllValues:StringEqualsIfExists for ForAllValues:StringEquals" {
        Some("the key is required beside it")
    } else {
        None
    }
}

/// How a mutation came out, the first that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// It is no policy any more: AWS does not store it.
    Refused,
    ByTheTable,
    ByTheLinter,
    Missed,
}

fn fate(pointer: &str, mutant: &Mutant, rows: &[&Expectation]) -> Fate {
    let Ok(document) = Document::parse(pointer, &mutant.document) else { return Fate::Refused };
    if rows.iter().any(|row| row.decide(&document).unwrap() != row.allowed) {
        return Fate::ByTheTable;
    }
    if lint(&mutant.document.to_string()).is_empty() { Fate::Missed } else { Fate::ByTheLinter }
}

#[test]
fn r118_every_mutation_of_every_generated_document_is_caught() {
    for deployment in both_stacks() {
        let (documents, table) = (documents(&deployment), deployment.expectations());
        let pointers: BTreeSet<_> = table.iter().map(|row| row.document.as_str()).collect();
        let mut fates: BTreeMap<Fate, usize> = BTreeMap::new();
        let (mut missed, mut same) = (Vec::new(), BTreeSet::new());
        for pointer in pointers {
            let rows: Vec<_> = table.iter().filter(|row| row.document == pointer).collect();
            let good = documents.pointer(pointer).unwrap().clone();
            let good = Mutant { at: String::new(), what: "nothing".to_owned(), document: good };
            assert_eq!(fate(pointer, &good, &rows), Fate::Missed, "{pointer}");
            for mutant in mutants(documents.pointer(pointer).unwrap()) {
                let fate = fate(pointer, &mutant, &rows);
                *fates.entry(fate).or_default() += 1;
                match (fate, means_the_same(&mutant)) {
                    (Fate::Missed, None) => missed.push(format!("{pointer}{}: {}", mutant.at, mutant.what)),
                    (Fate::Missed, Some(reason)) => {
                        same.insert(reason);
                    }
                    _ => {}
                }
            }
        }
        assert!(missed.is_empty(), "{} mutations that nothing catches: {missed:#?}", missed.len());
        // each reason is needed, and the walker has walked
        assert_eq!(same.len(), 6, "{same:?}");
        assert!(fates[&Fate::ByTheTable] > 800 && fates[&Fate::ByTheLinter] > 200, "{fates:?}");
    }
}
