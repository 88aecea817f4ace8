//! Who may depend on whom, as the manifests say it: core on none of ours, attest and federation on core
//! alone, local-aws on none, so that a green run against it proves something.

/// The packages of ours in a manifest's `[dependencies]`.
fn ours(manifest: &str) -> Vec<&str> {
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let names = section.lines().filter_map(|line| line.split([' ', '.']).next());
    names.filter(|name| name.starts_with("agentkeys-")).collect()
}

#[test]
fn crates_depend_on_each_other_only_down_the_flow() {
    assert!(ours(include_str!("../../../agentkeys-core/Cargo.toml")).is_empty());
    assert_eq!(ours(include_str!("../../../agentkeys-attest/Cargo.toml")), ["agentkeys-core"]);
    assert_eq!(ours(include_str!("../../../agentkeys-federation/Cargo.toml")), ["agentkeys-core"]);
    let local_aws = include_str!("../../local-aws/Cargo.toml");
    assert!(local_aws.lines().filter(|line| !line.starts_with("name")).all(|line| {
        !["agentkeys-core", "agentkeys-attest", "agentkeys-federation"].iter().any(|name| line.contains(name))
    }));
}

#[test]
fn the_check_reads_a_manifest() {
    let manifest = "[package]\nname = \"x\"\n\n[dependencies]\nagentkeys-attest.workspace = true\nserde = \"1\"\n\n[dev-dependencies]\nagentkeys-core = \"1\"\n";
    assert_eq!(ours(manifest), ["agentkeys-attest"]);
}
