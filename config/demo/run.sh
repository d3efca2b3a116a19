#!/usr/bin/env bash
# The demo: a receiver of our own, the bundled capture through everything, and where to look.
#   run.sh          keeps serving the API until Ctrl-C
#   run.sh --once   ends after the report
set -euo pipefail
cd "$(dirname "$0")/../.."

serve=--serve
[ "${1:-}" = --once ] && serve=

scratch=$(mktemp -d)
receiver=
finish() {
  [ -n "$receiver" ] && kill "$receiver" 2>/dev/null || true
  rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 0' INT TERM

: >"$scratch/received.log"
python3 config/demo/receiver.py 9099 9514 "$scratch/received.log" &
receiver=$!
for _ in $(seq 100); do
  curl -s -o /dev/null -X POST -d '{"hello":"receiver"}' http://127.0.0.1:9099/ && break
  kill -0 "$receiver" 2>/dev/null || { echo "the demo's receiver could not start: is port 9099 or 9514 taken?" >&2; exit 7; }
  sleep 0.05
done
: >"$scratch/received.log"

show() {
  echo
  echo "What the receiver on 127.0.0.1:9099 (webhook) and :9514 (syslog) got: $(wc -l <"$scratch/received.log") messages, for example"
  for kind in webhook syslog post; do
    grep "^$kind" "$scratch/received.log" | head -4 | cut -c1-150 | sed 's/^/  /' || true
  done
}

flowhook=(target/release/flowhook --config config/demo.toml replay tests/data/demo.pcap)
echo "flowhook replays tests/data/demo.pcap with config/demo.toml"
echo
if [ -z "$serve" ]; then
  "${flowhook[@]}"
  show
  exit 0
fi

"${flowhook[@]}" --serve >"$scratch/out" &
flowhook_pid=$!
trap 'kill "$flowhook_pid" 2>/dev/null; wait "$flowhook_pid" 2>/dev/null; exit 0' INT TERM
while kill -0 "$flowhook_pid" 2>/dev/null && ! grep -q '^serving' "$scratch/out"; do sleep 0.1; done
cat "$scratch/out"
kill -0 "$flowhook_pid" 2>/dev/null || { wait "$flowhook_pid"; exit $?; }
show
cat <<'TEXT'

Look around:
  curl -s http://127.0.0.1:8080/api/v1/hosts
  curl -s 'http://127.0.0.1:8080/api/v1/alerts?severity=warning'
  curl -s http://127.0.0.1:8080/api/v1/alerts/engaged
  curl -s 'http://127.0.0.1:8080/api/v1/flows?l7=TLS'
  curl -s http://127.0.0.1:8080/api/v1/openapi.json
  curl -s http://127.0.0.1:8080/metrics
TEXT
wait "$flowhook_pid"
