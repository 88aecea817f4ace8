//! The README's commands are the ones that CI runs. (Its example is a doctest of this package's library.)

const README: &str = include_str!("../../../README.md");

#[test]
fn the_readme_is_short_and_its_commands_are_what_ci_runs() {
    assert!(README.lines().count() < 125);
    let ci = include_str!("../../../.ci/run");
    for command in ["cargo run -p agentkeys-examples --example quickstart", "cargo test"] {
        assert!(README.contains(&format!("```sh\n{command}\n```")), "{command}");
        assert!(ci.contains(&format!("step {command}\n")), "{command}");
    }
    let first = ci.lines().find(|line| line.starts_with("step "));
    assert_eq!(first, Some("step cargo test"), "the test command comes first");
}
