//! The `policy` example as a user runs it: its own binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use serde_json::{Value, json};

const SAMPLE: &str = include_str!("../../deployment.toml");

fn policy(arguments: &[&str]) -> Output {
    // a plain `cargo test` builds the examples of a package beside its tests
    let deps = std::env::current_exe().unwrap();
    let path = deps.parent().unwrap().parent().unwrap().join("examples").join("policy");
    assert!(path.exists(), "not built: run `cargo test -p agentkeys-examples` without choosing targets");
    Command::new(path).args(arguments).env_clear().output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A new folder of this name.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("policy-{name}"));
    let _none = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The documents of a configuration.
fn documents(name: &str, config: &str) -> Value {
    let folder = folder(name);
    let (status, documents, errors) = said(&policy(&["--config", &write(&folder, "d.toml", config)]));
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    serde_json::from_str(&documents).unwrap()
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn r86_the_same_deployment_gives_the_same_bytes() {
    let (status, first, errors) = said(&policy(&[]));
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    assert_eq!(said(&policy(&[])).1, first);
    let folder = folder("same");
    assert_eq!(said(&policy(&["--config", &write(&folder, "d.toml", SAMPLE)])).1, first);
    // the order in which a file names things is not part of what they mean
    let turned = SAMPLE
        .replace("\"data\", \"vault\", \"memory\"", "\"memory\", \"vault\", \"data\"")
        .replace(
            "    \"aws-stsweb/",
            "    \"spiffe-svid/spiffe:%2F%2Fexample.org/acme/*\",\n    \"aws-stsweb/",
        )
        .replacen("//*\",\n    \"spiffe-svid/spiffe:%2F%2Fexample.org/acme/*\",\n]", "//*\",\n]", 1);
    assert_ne!(turned, SAMPLE);
    assert_eq!(said(&policy(&["--config", &write(&folder, "turned.toml", turned)])).1, first);
}

#[test]
fn r57_r58_r84_both_stacks_have_every_document_and_no_name_in_common() {
    let production = documents("production", SAMPLE);
    assert_eq!(production["stack"], "production");
    assert_eq!(
        keys(&production["roles"]),
        [
            "agentkeys-acme-runtime-role",
            "agentkeys-acme-session-role",
            "agentkeys-data-role",
            "agentkeys-memory-role",
            "agentkeys-pods-role",
            "agentkeys-vault-role"
        ]
    );
    assert_eq!(
        keys(&production["buckets"]),
        ["agentkeys-data-123456789012", "agentkeys-memory-123456789012", "agentkeys-vault-123456789012"]
    );
    for (name, role) in production["roles"].as_object().unwrap() {
        assert_eq!(role["arn"], format!("arn:aws:iam::123456789012:role/{name}"));
        assert!(role["trust_policy"]["Statement"].is_array());
        assert_eq!(role["role_policy"].is_object(), !name.ends_with("session-role"), "{name}");
    }

    let test = SAMPLE
        .replace("stack = \"production\"", "stack = \"test\"")
        .replace("https://broker.example.org", "https://test.example.org");
    let test = documents("test", &test);
    for kind in ["roles", "buckets"] {
        let productions: Vec<_> = keys(&production[kind]).iter().map(|name| format!("{name}-test")).collect();
        assert_eq!(keys(&test[kind]), productions);
    }
    let (production, test) = (production.to_string(), test.to_string());
    assert!(production.contains("broker.example.org") && !production.contains("test"));
    assert!(test.contains("test.example.org") && !test.contains("broker.example.org"));
    for name in ["-role\"", "123456789012\"", "123456789012/"] {
        assert!(production.contains(name) && !test.contains(name), "{name}");
    }
}

#[test]
fn r71_r72_the_provider_has_a_thumbprint_where_there_is_a_chain() {
    let bare = json!({ "Url": "https://broker.example.org", "ClientIDList": ["sts.amazonaws.com"] });
    assert_eq!(documents("bare", SAMPLE)["provider"]["parameters"], bare);

    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agentkeys-federation/tests/data/chain");
    let pem = |name: &str| {
        let base64 = base64::engine::general_purpose::STANDARD.encode(fs::read(data.join(name)).unwrap());
        let lines: Vec<_> =
            base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    let (leaf, above) = (pem("leaf.der"), pem("intermediate.der"));
    let config = SAMPLE.replace("# chain = ", "chain = ");
    let line = 1 + config.lines().position(|line| line.starts_with("chain")).unwrap();
    let folder = folder("chain");
    let file = write(&folder, "d.toml", config);
    write(&folder, "chain.pem", format!("{leaf}{above}"));
    let (status, documents, _) = said(&policy(&["--config", &file]));
    assert_eq!(status, Some(0));
    let documents: Value = serde_json::from_str(&documents).unwrap();
    // as openssl prints it
    let thumbprints = json!(["57b3bc04c049b86c0921b649cb9012e42e596d11"]);
    assert_eq!(documents["provider"]["parameters"]["ThumbprintList"], thumbprints);

    for (what, chain) in
        [("the leaf alone", leaf.clone()), ("turned round", format!("{above}{leaf}")), ("no PEM", "x".into())]
    {
        write(&folder, "chain.pem", chain);
        let (status, documents, errors) = said(&policy(&["--config", &file]));
        assert_eq!((status, documents.as_str()), (Some(2), ""), "{what}");
        assert!(errors.contains(&format!("line {line}: ")), "{what}: {errors}");
    }
    fs::remove_file(folder.join("chain.pem")).unwrap();
    assert!(said(&policy(&["--config", &file])).2.contains("chain.pem: "));
}

#[test]
fn r83_a_wrong_line_is_named() {
    let folder = folder("wrong");
    // the line that begins so is replaced, and is the one that is named
    for (line, by) in [
        ("stack = ", "stack = \"prod\""),
        ("stack = ", "stack = true"),
        ("name = ", "name = \"Agent-Keys\""),
        ("partition = ", "partition = \"gcp\""),
        ("account = ", "account = \"12345678901\""),
        ("account = ", "acount = \"123456789012\""),
        ("issuer = ", "issuer = \"http://broker.example.org\""),
        ("issuer = ", "issuer = \"https://broker.example.org:8443\""),
        ("issuer = ", "issuer = \"https://broker.example.org/*\""),
        ("classes = ", "classes = [\"data\", \"secrets\"]"),
        ("classes = ", "classes = []"),
        ("classes = ", "classes = [\"data\", \"data\"]"),
        ("    \"aws-stsweb", "    \"*\","),
        ("    \"aws-stsweb", "    \"aws-stsweb/*//*\","),
        ("subjects = [\"spiffe", "subjects = [\"spiffe-svid/*/acme/*\"]"),
        ("audience = ", "audience = \"${aws:username}\""),
        ("audience = ", "audiences = \"agentkeys\""),
        ("name = \"acme\"", "name = \"acme/x\""),
        ("name = \"acme\"", "name = \"\""),
        ("[pods]", "[podz]"),
        ("[pods]", "[pods"),
    ] {
        let mut found = None;
        let changed: Vec<_> = SAMPLE
            .lines()
            .enumerate()
            .map(|(at, known)| {
                if found.is_none() && known.starts_with(line) {
                    found = Some(at + 1);
                    by
                } else {
                    known
                }
            })
            .collect();
        let file = write(&folder, "d.toml", changed.join("\n"));
        let (status, documents, errors) = said(&policy(&["--config", &file]));
        assert_eq!((status, documents.as_str()), (Some(2), ""), "{by}");
        let number = found.unwrap();
        assert!(
            errors.contains(&format!("line {number}:")) || errors.contains(&format!("line {number},")),
            "{by}: {errors}"
        );
        assert!(errors.contains(&file) && !errors.contains("panicked"), "{errors}");
    }
}

#[test]
fn r83_a_missing_line_is_named() {
    let folder = folder("missing");
    for key in ["stack", "name", "partition", "account", "issuer", "classes", "audience"] {
        let lines = SAMPLE.lines().filter(|line| !line.starts_with(&format!("{key} = ")));
        let file = write(&folder, "d.toml", lines.collect::<Vec<_>>().join("\n"));
        let (status, documents, errors) = said(&policy(&["--config", &file]));
        assert_eq!((status, documents.as_str()), (Some(2), ""), "{key}");
        assert!(errors.contains(&format!("missing field `{key}`")), "{key}: {errors}");
    }
    let no_subject = SAMPLE.replace("    \"aws-stsweb/arn:aws:eks:us-east-1:123456789012:cluster%2Fprod//*\",\n    \"spiffe-svid/spiffe:%2F%2Fexample.org/acme/*\",\n", "");
    assert!(
        said(&policy(&["--config", &write(&folder, "d.toml", no_subject)]))
            .2
            .contains("at least one subject")
    );
    let twice = format!("{SAMPLE}\n[[tenants]]\nname = \"acme\"\nsubjects = [\"oidc/r/acme/*\"]\n");
    assert!(said(&policy(&["--config", &write(&folder, "d.toml", twice)])).2.contains("named twice"));
    assert_eq!(policy(&["--config", "/nonexistent/d.toml"]).status.code(), Some(2));
}

#[test]
fn r49_r60_lint_finds_what_is_wrong_and_says_so_with_its_status() {
    let folder = folder("lint");
    let documents = documents("linted", SAMPLE);
    let role = &documents["roles"]["agentkeys-memory-role"];
    let bucket = &documents["buckets"]["agentkeys-memory-123456789012"]["bucket_policy"];
    let good = write(&folder, "trust.json", role["trust_policy"].to_string());
    let good2 = write(&folder, "bucket.json", bucket.to_string());
    assert_eq!(said(&policy(&["lint", &good, &good2])), (Some(0), String::new(), String::new()));

    let mut open = role["trust_policy"].clone();
    open["Statement"][0]["Condition"].as_object_mut().unwrap().remove("StringLike");
    let open = write(&folder, "open.json", open.to_string());
    let sentence = "Tokens about any subject of the provider are taken.";
    let line = format!("{open}: statement 1: error: subject_open: {sentence}\n");
    assert_eq!(said(&policy(&["lint", &good, &open, &good2])), (Some(1), line, String::new()));

    // nobody gets in by it: a warning, and no failure
    let mut mute = role["trust_policy"].clone();
    mute["Statement"][0]["Action"] = json!("sts:AssumeRoleWithWebIdentity");
    let mute = write(&folder, "mute.json", mute.to_string());
    let (status, found, _) = said(&policy(&["lint", &mute]));
    assert_eq!(status, Some(0));
    assert!(found.contains(": statement 1: warning: tag_session_missing: "), "{found}");

    for (name, bytes) in
        [("text.json", b"no policy".as_slice()), ("empty.json", b""), ("latin.json", b"\xff\xfe")]
    {
        let bad = write(&folder, name, bytes);
        assert_eq!(policy(&["lint", &open, &bad, &good]).status.code(), Some(2), "{name}");
    }
    let (status, found, errors) = said(&policy(&["lint", "/nonexistent.json", &open]));
    assert_eq!(status, Some(2));
    assert!(
        found.contains("subject_open") && errors.contains("/nonexistent.json"),
        "the others are still read"
    );
}

#[test]
fn the_table_says_what_must_become_of_each_request_and_what_local_aws_makes_of_it() {
    let (status, table, errors) = said(&policy(&["table"]));
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    let documents = documents("table", SAMPLE);
    let rows: Vec<Value> = serde_json::from_str(&table).unwrap();
    assert!(rows.len() >= 60, "{}", rows.len());
    for row in rows {
        assert_eq!(row["allowed"], row["local_aws"], "{row}");
        assert!(documents.pointer(row["document"].as_str().unwrap()).is_some(), "{row}");
    }
}

#[test]
fn unknown_arguments_are_refused_with_the_usage() {
    for arguments in
        [&["lint"][..], &["--config"], &["--confg", "x"], &["x"], &["--config", "a", "b"], &["table", "x"]]
    {
        let (status, documents, errors) = said(&policy(arguments));
        assert_eq!((status, documents.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(errors.contains("usage:"), "{arguments:?}");
    }
}
