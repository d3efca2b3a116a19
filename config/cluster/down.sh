#!/usr/bin/env bash
# Ends what up.sh has started, in order, and removes its folder.
set -euo pipefail
dir=${FLOWHOOK_CLUSTER:-/tmp/flowhook-cluster-$(id -u)}
[ -d "$dir" ] || { echo "cluster: nothing is in $dir"; exit 0; }

# stop NAME SIGNAL: asks the process that up.sh has started, and waits until it has ended.
stop() {
  local file="$dir/$1.pid" pid
  [ -f "$file" ] || return 0
  pid=$(cat "$file")
  kill -"$2" "$pid" 2>/dev/null || return 0
  for _ in $(seq 600); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
}
for name in berlin-wire lisbon-wire berlin-collector lisbon-collector aggregator-1 aggregator-2 notifier-1 notifier-2; do
  stop "$name" TERM
done
stop receiver TERM
if [ -f "$dir/links" ]; then
  while read -r link; do ip link del "$link" 2>/dev/null || true; done <"$dir/links"
fi
stop nats TERM
# INT: does not wait for connections.
stop postgres INT
rm -rf "$dir"
echo "cluster: everything has ended and $dir is removed"
