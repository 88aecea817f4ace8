//! The guide in `docs/`: each of its blocks is of a kind that something runs, and its links lead somewhere. Its
//! commands are run by `examples/e2e/guide.sh` and the scripts that they name, its Rust is doctests of this package.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Pages with tests of their own.
const LINKED_ONLY: [&str; 2] = ["performance.md", "rules.md"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn pages() -> BTreeMap<String, String> {
    let files = std::fs::read_dir(root().join("docs")).unwrap().map(|file| file.unwrap().path());
    let pages = files.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let pages = pages.map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(&path).unwrap())
    });
    pages.filter(|(name, _)| !LINKED_ONLY.contains(&name.as_str())).collect()
}

/// The info string of each fenced block.
fn infos(page: &str) -> Vec<&str> {
    let fences: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("```")).collect();
    assert!(fences.len().is_multiple_of(2));
    assert!(fences.iter().skip(1).step_by(2).all(|end| end.is_empty()), "{fences:?}");
    fences.into_iter().step_by(2).collect()
}

#[test]
fn the_summary_names_every_page_and_each_is_short() {
    let pages = pages();
    let summary = &pages["SUMMARY.md"];
    for (name, text) in &pages {
        assert!(name == "SUMMARY.md" || summary.contains(&format!("]({name})")), "{name}");
        assert!(text.lines().count() <= 160, "{name}");
    }
    assert!(pages.len() >= 9);
}

#[test]
fn links_lead_somewhere() {
    for (name, text) in pages() {
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        let relative = targets.map(|(target, _)| target).filter(|target| !target.contains("://"));
        for target in relative {
            assert!(root().join("docs").join(target).exists(), "{name}: {target}");
        }
    }
}

#[test]
fn every_block_is_of_a_kind_that_something_runs() {
    let (mut run, ci) = (0, std::fs::read_to_string(root().join(".ci/run")).unwrap());
    assert!(ci.contains("examples/e2e/guide.sh\n"));
    for (name, text) in pages() {
        for info in infos(&text) {
            // a test takes the block out of the page
            if let Some(("json", test)) = info.split_once(" test=") {
                let said = std::fs::read_to_string(root().join("examples/tests/it").join(test)).unwrap();
                assert!(said.contains(&format!("docs/{name}")), "{name}: {test}");
                continue;
            }
            match info.split_once(" e2e=") {
                Some(("sh", ".ci/run")) => {}
                // the script takes the blocks out of the page
                Some(("sh", script)) => {
                    let said = std::fs::read_to_string(root().join("examples/e2e").join(script)).unwrap();
                    assert!(said.contains(&format!("docs/{name}")), "{name}: {script}");
                    assert!(ci.contains(&format!("examples/e2e/{script}\n")), "{script}");
                }
                _ => assert!(
                    ["sh", "rust", "rust,no_run"].contains(&info) || info.starts_with("toml file="),
                    "{name}: nothing runs a block of the kind {info:?}"
                ),
            }
            run += 1;
        }
    }
    assert!(run >= 18, "{run} blocks");
}

#[test]
fn rust_on_a_page_is_a_doctest() {
    let library = include_str!("../../src/lib.rs");
    for (name, text) in pages() {
        let has_rust = infos(&text).iter().any(|info| info.starts_with("rust"));
        assert_eq!(has_rust, library.contains(&format!("docs/{name}\")")), "{name}");
    }
}

#[test]
fn what_root_runs_is_what_ci_runs() {
    let ci = std::fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(pages()["aws.md"].contains("```sh e2e=.ci/run\nexamples/e2e/ceph_rgw.sh\n```"));
    assert!(ci.contains(" examples/e2e/ceph_rgw.sh\n"));
}
