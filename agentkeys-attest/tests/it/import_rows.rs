use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The module under `src` that a file belongs to.
fn module_of(file: &Path, src: &Path) -> String {
    let first = file.strip_prefix(src).unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

#[test]
fn r3_r4_no_attestor_needs_another_nor_its_sources_sdk() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let is_attestor = |file: &PathBuf| file.file_name().is_some_and(|name| name == "attestor.rs");
    let attestors: Vec<_> =
        files.iter().filter(|file| is_attestor(file)).map(|file| module_of(file, &src)).collect();
    assert!(!attestors.is_empty());
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        assert!(!text.contains("agentkeys_federation"), "{}", file.display());
        let module = module_of(file, &src);
        // the one place that knows them all chooses among them
        let chooses = module == "lib" || module == "select";
        for other in attestors.iter().filter(|other| **other != module && !chooses) {
            assert!(!text.contains(&format!("crate::{other}")), "{} uses {other}", file.display());
        }
        if file.file_name().is_none_or(|name| name != "source.rs") {
            for sdk in ["aws_sdk", "aws_types", "aws_smithy", "aws_sigv4::", "aws_credential_types"] {
                assert!(!text.contains(sdk), "{} uses {sdk}", file.display());
            }
        }
    }
}
