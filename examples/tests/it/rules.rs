//! docs/rules.md and the tests agree: each rule that a test cites is in the table, and each test in the
//! table is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const RULES: &str = include_str!("../../../docs/rules.md");

/// The numbers at the beginning of a test's name: `w15_l13_…` cites W15 and L13.
fn cited(name: &str) -> Vec<String> {
    let number = |word: &&str| {
        let (letter, digits) = word.split_at(1);
        ["r", "w", "l"].contains(&letter)
            && !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    name.split('_').take_while(|word| !word.is_empty() && number(word)).map(str::to_uppercase).collect()
}

/// Rule number to the tests that its row names.
fn table(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut rules = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let columns: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [number, sentence, source, tests] = columns.as_slice() else { panic!("four columns: {line}") };
        if cited(&number.to_lowercase()).is_empty() {
            continue;
        }
        assert!(sentence.len() > 20 && !source.is_empty() && !tests.is_empty(), "{line}");
        let tests: BTreeSet<_> = tests.split(' ').map(|test| test.trim_matches('`').to_owned()).collect();
        assert!(rules.insert((*number).to_owned(), tests).is_none(), "{number} stands twice");
    }
    rules
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["target", ".git"].contains(&name) {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// The names of all tests in the workspace's source.
fn tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut files);
    let mut names = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
                names.insert(rest.split(['(', '<']).next().unwrap().to_owned());
                is_test = false;
            }
        }
    }
    names
}

#[test]
fn every_rule_that_a_test_cites_is_in_the_table_with_that_test() {
    let rules = table(RULES);
    for test in tests() {
        for number in cited(&test) {
            let row = rules.get(&number);
            assert!(
                row.is_some_and(|row| row.contains(&test)),
                "{test} cites {number}: add it to docs/rules.md"
            );
        }
    }
}

#[test]
fn every_test_in_the_table_is_there() {
    let tests = tests();
    let rules = table(RULES);
    assert!(rules.len() > 50);
    for (number, named) in rules {
        for test in named {
            assert!(tests.contains(&test), "{number}: no test is named {test}");
        }
    }
}

#[test]
fn the_check_reads_names_and_rows() {
    assert_eq!(cited("w15_l13_a_rule"), ["W15", "L13"]);
    assert!(cited("without_json").is_empty() && cited("rules_w1").is_empty());
    assert_eq!(table("| W1 | a sentence that is long | x | `a` `b` |")["W1"].len(), 2);
}
