//! synward.
fn main() {}
