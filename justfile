# Recipes. `./dev RECIPE` installs what they need first.

set shell := ["bash", "-euo", "pipefail", "-c"]

# List the recipes
default:
    @just --list

# Build, replay the bundled capture through everything, keep serving the API (--once: end instead)
run *flags:
    cargo build --release --quiet --bin flowhook
    config/demo/run.sh {{ flags }}

# A cluster on this machine: nats-server, PostgreSQL, two collectors, aggregators and notifiers
cluster profile="release":
    cargo build --profile {{ profile }} --quiet --bin flowhook
    config/cluster/up.sh "${CARGO_TARGET_DIR:-target}/{{ if profile == "dev" { "debug" } else { profile } }}/flowhook"

# End and remove what `just cluster` has started
cluster-down:
    config/cluster/down.sh

# Formatting, lints, and all tests
test: fmt-check lint previous
    cargo test --workspace --quiet --no-fail-fast -- --skip chaos::
    # The bus again, with a current server.
    FLOWHOOK_NATS_SERVER="$PWD/target/nats-current/embedded_nats/bin/nats-server" cargo test --workspace --lib --quiet -- bus::nats
    # Alone: it measures how soon a process takes over.
    cargo test --test integration --quiet -- chaos::

# Build the previous program, which the upgrade is tested with
previous:
    tests/upgrade/build.sh

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

# Criterion benches: capture files, decoder, flow table, dissectors, script call, ledger, lists
bench *args:
    cargo bench --quiet --bench capture_file --bench decode --bench flow_table --bench dissectors --bench export_decode --bench script_call --bench ledger -- {{ args }}
    cargo bench --quiet --package shared --bench lists -- {{ args }}

# Fuzz one target (decode, capture_file, pipeline, dissectors, exports, collected, wire, config, apps, script), or one dissector
fuzz target seconds="60" dissector="":
    tests/fuzz/run.sh {{ target }} {{ seconds }} {{ dissector }}

# Fuzz everything: decoders and the ten hottest dissectors 10 minutes each, every other a minute; LONG and SHORT seconds
fuzz-all long="600" short="60":
    tests/fuzz/all.sh {{ long }} {{ short }}

# Make the fuzz targets' corpora again, from what the tests feed and the bundled captures
fuzz-corpus:
    mkdir -p target
    rm -f target/fuzz-recorded.txt
    FLOWHOOK_FUZZ_RECORD="$PWD/target/fuzz-recorded.txt" cargo test --quiet --package collector --lib
    FLOWHOOK_FUZZ_RECORD="$PWD/target/fuzz-recorded.txt" cargo test --quiet --test integration fuzz::the_corpora_are_small

# Packets per CPU second and peak memory on a generated trace
bench-replay packets="2000000":
    cargo build --release --quiet --bin flowhook --example trace
    benches/replay.sh {{ packets }}

# A whole cluster under load: flows a second, bytes a flow, packet to webhook, takeover, catching up
bench-cluster:
    cargo build --release --quiet --bin flowhook --example trace
    benches/cluster.sh

# CPU, wall time and memory beside softflowd, nfpcapd, argus and ndpiReader: mixed, manyflows or both
bench-peers kind="both":
    cargo build --release --quiet --bin flowhook --example trace
    benches/peers.sh {{ kind }}

# A SYN flood of spoofed flows: packets/s, peak memory, and what became of the conversations in it
bench-synflood syns="10000000" profile="release":
    cargo build --profile {{ profile }} --quiet --bin flowhook --example trace
    benches/synflood.py {{ syns }} {{ profile }}

# What a packet costs against the number of live flows
bench-flows *flows:
    cargo build --release --quiet --bin flowhook --example trace
    python3 -B benches/live_flows.py {{ flows }}

# What recognising a flow costs, by protocol
bench-dissectors:
    cargo run --release --quiet --example dissector_cost

# What calling a flow hook costs: native, lowered, interpreted, Lua 5.4; and 64 hooks of which none match
bench-hooks samples="300" profile="release":
    cargo run --profile {{ profile }} --quiet --package collector --example hook_cost -- {{ samples }}

# CPU a packet with and without a dozen scripts that mean harm, by turns
bench-hostile rounds="7" profile="release":
    cargo build --profile {{ profile }} --quiet --bin flowhook --example trace
    benches/hostile.py {{ rounds }} {{ profile }}

# What a minute's run over a million hosts of one interface costs
bench-hosts hosts="1000000":
    cargo run --release --quiet --example million_hosts -- {{ hosts }}

# Notifications: webhooks a second, evaluations of criteria, latency at 500 a second, beside a dead endpoint
bench-notify alerts="20000":
    cargo run --quiet --release --package notifier --example notify_speed -- {{ alerts }}

# 10,000 transitions a second, for so many seconds, to a recipient who takes 60 messages a minute
storm seconds="60":
    FLOWHOOK_STORM_SECONDS={{ seconds }} cargo test --quiet --package notifier --lib ten_thousand_transitions

# Events over NATS and through the outbox, dispatch of hooks, 10,000 filters
bench-events events="20000" profile="release":
    cargo run --profile {{ profile }} --quiet --example event_cost -- {{ events }}

# What 100,000 engaged alerts cost: refreshes, transitions on disk, a restart
bench-alerts alerts="100000":
    cargo run --release --quiet --example engaged_alerts -- {{ alerts }}

# Simulate the cluster on virtual time with so many seeds; `SIM_SEED=n just sim` runs one again
sim seeds="2000":
    SIM_SEEDS={{ seeds }} cargo test --quiet --test sim

# Break a cluster of real processes and servers, as a seed says, and look through what is left
chaos seed="1" rounds="3":
    CHAOS_SEED={{ seed }} CHAOS_ROUNDS={{ rounds }} cargo test --quiet --test integration chaos:: -- --nocapture

# Write a generated capture: mixed, manyflows, synflood [OUT [COUNT] [SEED]], or live OUT FLOWS [PACKETS]
trace kind out=("target/traces/" + kind + ".pcap") *counts:
    mkdir -p "$(dirname "{{ out }}")"
    cargo run --release --quiet --example trace -- {{ kind }} {{ out }} {{ counts }}

# Recognised protocols against an independent classifier's answer; FOLDER holds captures and expected.tsv
l7-score folder="../shared/captures":
    cargo build --release --quiet --bin flowhook --example l7_score
    "${CARGO_TARGET_DIR:-target}/release/examples/l7_score" {{ folder }}

# Record the bundled capture again, from real programs (root)
record:
    tests/data/record.sh

# Licences, duplicate versions, advisories (needs cargo-deny)
deny:
    cargo deny check
