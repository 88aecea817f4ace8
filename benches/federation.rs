//! What federation costs.
fn main() {}
