# Recipes. `./dev RECIPE` installs what they need first.

set shell := ["bash", "-euo", "pipefail", "-c"]

# List the recipes
default:
    @just --list

# Build, replay the bundled capture through everything, keep serving the API (--once: end instead)
run *flags:
    cargo build --release --quiet --bin flowhook
    config/demo/run.sh {{ flags }}

# Formatting, lints, and all tests
test: fmt-check lint
    cargo test --workspace --quiet --no-fail-fast

# What CI runs
ci: test

# Check formatting
fmt-check:
    cargo fmt --all --check

# Lints; warnings are errors
lint:
    cargo clippy --workspace --all-targets --quiet -- -D warnings

# Format everything
fmt:
    cargo fmt --all

# Replay capture files and report
replay +files:
    cargo run --release --quiet --bin flowhook -- replay {{ files }}

# Criterion benches: decoder, flow table, dissectors, script call, ledger
bench *args:
    cargo bench --quiet --bench decode --bench flow_table --bench dissectors --bench script_call --bench ledger -- {{ args }}

# Packets per CPU second and peak memory on a generated trace
bench-replay packets="2000000":
    cargo build --release --quiet --bin flowhook --example trace
    benches/replay.sh {{ packets }}

# Record the bundled capture again, from real programs (root)
record:
    tests/data/record.sh

# Licences, duplicate versions, advisories (needs cargo-deny)
deny:
    cargo deny check
