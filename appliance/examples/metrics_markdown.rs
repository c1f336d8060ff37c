//! Prints the metrics as a table for deploy/README.md: `cargo run --example metrics_markdown`.

fn main() {
    print!("{}", synward::observe::metrics::markdown());
}
