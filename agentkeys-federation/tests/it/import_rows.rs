//! Architecture, section 5: federation imports core, never attest; nothing here names another crate of ours.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn forbidden(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|line| {
        let imports = line.starts_with("use ") || line.starts_with("pub use ");
        imports && (line.contains("agentkeys_attest") || line.contains("agentkeys_local_aws"))
            || line.contains("std::env") && !line.contains("std::env::temp_dir()")
            || line.contains("aws_config") && !line.starts_with("//")
    })
}

#[test]
fn federation_imports_neither_attest_nor_the_environment() {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 8);
    for path in found {
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(forbidden(&text), None, "{}", path.display());
    }
}

#[test]
fn the_check_finds_what_it_looks_for() {
    assert!(forbidden("use agentkeys_attest::AwsStsWeb;").is_some());
    assert!(forbidden("    let role = std::env::var(\"X\");").is_some());
    assert!(forbidden("use agentkeys_core::Token;").is_none());
    // a test's folder
    assert!(forbidden("    let folder = std::env::temp_dir();").is_none());
}
