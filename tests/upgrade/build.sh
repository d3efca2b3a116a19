#!/usr/bin/env bash
# Builds the program of the commit that tests/upgrade/previous names, once, to target/previous/flowhook:
# the upgrade test runs it beside today's. Write another commit there when a release is made.
set -euo pipefail
cd "$(dirname "$0")/../.."
commit=$(cat tests/upgrade/previous)
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
place=$target/previous
[ "$(cat "$place/commit" 2>/dev/null)" = "$commit" ] && [ -x "$place/flowhook" ] && exit 0
if ! git cat-file -e "$commit^{commit}" 2>/dev/null; then
  # A copy without history: the test says that it skips.
  echo "SKIPPED: the previous program cannot be built, this copy has no commit $commit" >&2
  exit 0
fi
echo "building the previous program ($commit): the upgrade is tested with it" >&2
rm -rf "$place"
mkdir -p "$place/source"
trap 'rm -rf "$place/source"' EXIT
git archive "$commit" | tar -x -C "$place/source"
# The same target folder, so that libraries that did not change are built once.
cargo build --quiet --locked --manifest-path "$place/source/Cargo.toml" --target-dir "$target" --bin flowhook
cp "$target/debug/flowhook" "$place/flowhook"
echo "$commit" >"$place/commit"
