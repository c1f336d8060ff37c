# Every recipe calls a script of this repository or cargo, and each of these also works without just.
# `just` alone lists the recipes.

cargo := env_var_or_default("CARGO", "cargo")

# Arguments reach the scripts as they are quoted here: "$@".

set positional-arguments

[private]
default:
    @just --list --unsorted

# install what building needs (with --lab --lint: what testing needs); root
setup *OPTIONS:
    deploy/setup "$@"

# build synward and bench
build:
    {{ cargo }} build --release --workspace --locked

# run the tests whose names match PATTERN, or all of them; options as for deploy/test; root
test *ARGUMENTS:
    deploy/test "$@"

# run the Rust tests (those that load eBPF programs need root)
unit *ARGUMENTS:
    {{ cargo }} test --workspace --locked "$@"

# run one story of deploy/tests, such as `just story 20_client_address afxdp`; root
story NAME RESPONDER="xdp": build
    python3 deploy/tests/{{ NAME }}.py {{ RESPONDER }}

# check formatting, lints and licences
lint:
    {{ cargo }} fmt --all --check
    {{ cargo }} clippy --workspace --all-targets --locked -- -D warnings
    {{ cargo }} deny check licenses bans sources

# build the documentation of all crates; a warning is an error
doc *OPTIONS:
    RUSTDOCFLAGS=-Dwarnings {{ cargo }} doc --workspace --no-deps --locked "$@"

# compile the eBPF programs and record what made the committed objects
ebpf:
    ebpf/build

# compare the committed eBPF objects with what the sources compile to
ebpf-check:
    ebpf/build --check

# print the tables of metrics for deploy/README.md
metrics:
    {{ cargo }} run --quiet --locked --package synward --example metrics_markdown

# count the engine's instructions per frame and compare them with the baseline (--renew writes it)
instructions *OPTIONS: build
    deploy/instructions "$@"

# the demonstration of README.md; root
quickstart *OPTIONS:
    deploy/quickstart "$@"

# build, enter or remove a lab of network namespaces; `just lab help`; root
lab *ARGUMENTS: build
    deploy/lab "$@"

# try emulated network devices with real drivers; `just drivers --help`; root
drivers *OPTIONS: build
    deploy/drivers "$@"

# print a configuration with every key, its default and its meaning
example-config:
    @{{ cargo }} run --quiet --release --locked --package synward -- check --example
