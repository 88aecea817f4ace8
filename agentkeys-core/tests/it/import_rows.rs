//! Who may import whom, read off the `use crate::` lines of the source.

use std::fs;
use std::path::{Path, PathBuf};

/// Lower rows first. A module imports lower rows only.
const ROWS: &[&[&str]] = &[
    &["error", "secret", "clock", "random", "kind"],
    &["jose", "issuer", "identity", "http", "evidence", "token", "spiffe"],
    &["keys", "discovery", "signer", "replay"],
    &["verifier", "attestor"],
    &["minter", "session", "bearer"],
];

/// The few imports inside a row, by file.
const SIDEWAYS: &[(&str, &str)] = &[
    // every port's error answers `kind()`
    ("clock.rs", "error"),
    ("random.rs", "error"),
    ("keys/cache.rs", "discovery"),
    // a ring holds what signs, and says what the signer says
    ("keys/ring.rs", "signer"),
    ("keys/ring/document.rs", "signer"),
    ("keys/ring/error.rs", "signer"),
    // an attestor's refusal carries the verifier's
    ("attestor.rs", "verifier"),
    // a session is a token like any other: one place puts tokens together
    ("session.rs", "minter"),
];

/// What a module must not import although it is in a lower row.
const NEVER: &[(&str, &str)] = &[
    ("verifier", "identity"),
    ("verifier", "attestor"),
    ("verifier", "minter"),
    ("jose", "http"),
    ("jose", "clock"),
    ("jose", "random"),
];

/// Text that stands in these files and in no other.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("aws_lc_rs", &["jose/crypto.rs", "jose/key_tables/tests.rs", "testing.rs"]),
    ("cryptoki::", &["signer/pkcs11/token.rs"]),
    ("zeroize::", &["secret.rs"]),
    ("SystemTime::now", &["clock.rs"]),
    ("Instant::now", &[]),
    ("getrandom::", &["random.rs"]),
    ("reqwest::", &["http.rs", "http/reqwest.rs"]),
    ("std::env", &[]),
    ("std::fs", &["keys/ring/file.rs"]),
    ("mem::forget", &["signer/pkcs11/token.rs"]),
];

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

fn module_of(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap()
}

/// The modules that a line imports from the crate's root.
fn imports(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let path = ["use crate::", "pub use crate::", "pub(crate) use crate::"]
        .iter()
        .find_map(|start| line.strip_prefix(start))?;
    path.split([':', ';', ' ']).next()
}

/// What is wrong with one file.
fn check(file: &str, source: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let (own, code) = (module_of(file), source.split("#[cfg(test)]").next().unwrap());
    for line in source.lines() {
        let Some(imported) = imports(line) else { continue };
        if imported == own || own == "testing" {
            continue;
        }
        let complaint = match (row(own), row(imported)) {
            (Some(own_row), Some(imported_row)) if imported_row < own_row => None,
            (Some(own_row), Some(imported_row)) if imported_row == own_row => {
                (!SIDEWAYS.contains(&(file, imported))).then_some("imports sideways")
            }
            (Some(_), Some(_)) => Some("imports upwards"),
            _ => Some("imports what has no row"),
        };
        let complaint = complaint.or_else(|| NEVER.contains(&(own, imported)).then_some("must never import"));
        // a module's own tests may use any lower helper, and nothing more
        wrong.extend(complaint.map(|complaint| format!("{file} {complaint}: {imported}")));
    }
    let commented = |line: &&str| !line.trim_start().starts_with("//");
    for (text, files) in ONLY_IN {
        if code.lines().filter(commented).any(|line| line.contains(text)) && !files.contains(&file) {
            wrong.push(format!("{file} uses {text}"));
        }
    }
    wrong
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { sources(&path, found) } else { found.push(path) }
    }
}

#[test]
fn the_rows_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 25);
    let mut wrong = Vec::new();
    for path in files {
        let file = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
        if file != "lib.rs" {
            assert!(row(module_of(&file)).is_some() || module_of(&file) == "testing", "{file} has no row");
            wrong.extend(check(&file, &fs::read_to_string(&path).unwrap()));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn forged_lines_are_caught() {
    for (file, line) in [
        ("jose/jwk.rs", "use crate::http::HttpClient;"),
        ("jose/jwk.rs", "use crate::clock::Timestamp;"),
        ("verifier.rs", "use crate::identity::AgentId;"),
        ("verifier/claims.rs", "use crate::attestor::Attestor;"),
        ("verifier.rs", "use crate::minter::Minter;"),
        ("verifier.rs", "use crate::bearer::VerifyLayer;"),
        ("keys.rs", "use crate::verifier::Verifier;"),
        ("keys.rs", "use crate::signer::TokenSigner;"),
        ("signer.rs", "use crate::keys::KeyRing;"),
        ("clock.rs", "use crate::issuer::Issuer;"),
        ("minter.rs", "    use crate::session::Sessions;"),
        ("attestor.rs", "use crate::testing::ManualClock;"),
        ("keys.rs", "pub(crate) use crate::minter::sign;"),
        ("signer.rs", "use aws_lc_rs::signature;"),
        ("token.rs", "use zeroize::Zeroizing;"),
        ("verifier.rs", "let now = std::time::SystemTime::now();"),
        ("session.rs", "let home = std::env::var(\"HOME\");"),
    ] {
        assert_eq!(check(file, line).len(), 1, "{file}: {line}");
    }
    for (file, line) in [
        ("keys/cache.rs", "use crate::discovery::ProviderMetadata;"),
        ("verifier.rs", "use crate::keys::KeySource;"),
        ("testing.rs", "use crate::clock::Clock;"),
        ("verifier.rs", "/// unlike std::env"),
    ] {
        assert_eq!(check(file, line), Vec::<String>::new(), "{file}: {line}");
    }
}
