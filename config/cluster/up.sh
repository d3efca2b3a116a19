#!/usr/bin/env bash
# A cluster on this machine: nats-server and PostgreSQL with generated credentials, collectors of two
# sites, two aggregators that share the partitions, two notifiers that share the lanes, each a process of
# its own.
#   up.sh PROGRAM    PROGRAM is the flowhook to run
# Everything is in $FLOWHOOK_CLUSTER (default /tmp/flowhook-cluster-UID); down.sh ends and removes it.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
program=$(realpath "${1:-target/release/flowhook}")
dir=${FLOWHOOK_CLUSTER:-/tmp/flowhook-cluster-$(id -u)}
nats_port=${NATS_PORT:-14222} pg_port=${PG_PORT:-15432} hook_port=${HOOK_PORT:-19099} api_port=${API_PORT:-18080}

fail() { echo "cluster: $*" >&2; exit 1; }
[ -x "$program" ] || fail "there is no $program: build it first"
[ ! -e "$dir" ] || fail "$dir is there: 'just cluster-down' first"
command -v nats-server >/dev/null || PATH="$PATH:/usr/sbin"
command -v nats-server >/dev/null || fail "nats-server is missing: apt-get install nats-server"
pg_bin=
for bin in $(dirname "$(command -v initdb || echo /nowhere/initdb)") $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV); do
  [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ] && { pg_bin=$bin; break; }
done
[ -n "$pg_bin" ] || fail "PostgreSQL's server is missing: apt-get install postgresql"

umask 077
mkdir -p "$dir"
trap 'echo "cluster: not started, see $dir; just cluster-down removes it" >&2' ERR

# start NAME COMMAND...: in the background, output into NAME.log, the process id into NAME.pid.
start() {
  local name=$1
  shift
  setsid "$@" >"$dir/$name.log" 2>&1 </dev/null &
  echo $! >"$dir/$name.pid"
}
# until_ready NAME COMMAND...: waits until COMMAND succeeds; fails when NAME has ended.
until_ready() {
  local name=$1
  shift
  for _ in $(seq 300); do
    "$@" >/dev/null 2>&1 && return
    kill -0 "$(cat "$dir/$name.pid")" 2>/dev/null || { tail -5 "$dir/$name.log" >&2; fail "$name has ended"; }
    sleep 0.1
  done
  tail -5 "$dir/$name.log" >&2
  fail "$name does not answer"
}
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
# Live capture and its wire need root.
live=false
if [ "$(id -u)" = 0 ] && command -v ip >/dev/null && ip link add "fh$api_port-0" type veth 2>/dev/null; then
  ip link del "fh$api_port-0"
  live=true
fi
for port in "$nats_port" "$pg_port" "$hook_port" "$api_port" $((api_port + 1)); do
  ! listens "$port" || fail "port $port is taken"
done

secret() { echo "p$(head -c 18 /dev/urandom | od -An -tx1 | tr -d ' \n')"; }
for name in COLLECTOR_PASSWORD AGGREGATOR_PASSWORD NOTIFIER_PASSWORD READER_PASSWORD ADMIN_PASSWORD; do
  value=$(secret)
  export "$name=$value"
  echo "$value" >"$dir/$name"
done
database_password=$(secret)
head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$dir/SECRET_KEY"

export FLOWHOOK_NATS_LISTEN="127.0.0.1:$nats_port" FLOWHOOK_NATS_STORE="$dir/nats"
start nats nats-server -c config/nats/server.conf
until_ready nats listens "$nats_port"

# PostgreSQL refuses to be root's.
mkdir "$dir/postgres"
as_servant=()
if [ "$(id -u)" = 0 ]; then
  servant=$(getent passwd postgres >/dev/null && echo postgres || echo nobody)
  chmod 711 "$dir"
  chown "$servant" "$dir/postgres"
  as_servant=(setpriv --reuid="$servant" --regid="$(id -g "$servant")" --clear-groups)
fi
run_pg() { (cd "$dir/postgres" && exec "${as_servant[@]}" "$@"); }
run_pg sh -c 'umask 077; cat >password' <<<"$database_password"
run_pg "$pg_bin/initdb" -E UTF8 --locale=C -A scram-sha-256 -U flowhook --pwfile password -D data >"$dir/initdb.log" 2>&1
start postgres "${as_servant[@]}" "$pg_bin/postgres" -D "$dir/postgres/data" -h 127.0.0.1 -p "$pg_port" -k "$dir/postgres"
until_ready postgres grep -q "ready to accept connections" "$dir/postgres.log"
echo "postgresql://flowhook:$database_password@127.0.0.1:$pg_port/postgres" >"$dir/DATABASE"

: >"$dir/received.log"
start receiver python3 "$root/config/demo/receiver.py" "$hook_port" "$hook_port" "$dir/received.log"
until_ready receiver listens "$hook_port"

# The demo's scripts, which post to its receiver.
cp -r config/demo/scripts "$dir/scripts"
find "$dir/scripts" -name '*.rhai' -exec sed -i "s/127.0.0.1:9099/127.0.0.1:$hook_port/" {} +

# configure SITE NAME ROLE API_PORT: writes the configuration of one process.
configure() {
  local site=$1 name=$2 role=$3 upper
  upper=$(echo "$role" | tr '[:lower:]' '[:upper:]')
  sed -e "s|site = \"demo\"|site = \"$site\"|; s|name = \"demo-node\"|name = \"$name\"\nstate_dir = \"$dir/$name\"\nsecret_key = \"file:$dir/SECRET_KEY\"|" \
    -e "s/127.0.0.1:8080/127.0.0.1:$4/; s/127.0.0.1:9099/127.0.0.1:$hook_port/; s/port = 9514/port = $hook_port/" \
    -e "s|dir = \"config/demo/scripts\"|dir = \"$dir/scripts\"|; s/log = \"warn\"/log = \"info\"/" config/demo.toml
  cat <<TOML

[bus]
kind = "nats"
[bus.nats]
servers = ["nats://127.0.0.1:$nats_port"]
user = "$role"
password = "file:$dir/${upper}_PASSWORD"
inbox_prefix = "_INBOX.$role"
TOML
  if [ "$role" != collector ]; then
    printf '[store]\nkind = "postgres"\n[store.postgres]\nurl = "file:%s/DATABASE"\n' "$dir"
  else
    printf '[collector]\ncompress = true\n[[collector.interface]]\nname = "uplink"\nfiles = ["%s/tests/data/demo.pcap"]\n' "$root"
  fi
}
# wire SITE: a pair of virtual Ethernet ends through which the capture goes round and round, and the
# collector's interface at one end of it.
wires=0
wire() {
  wires=$((wires + 1))
  local ours="fh$api_port-$wires" theirs="fh$api_port-$wires-far"
  ip link add "$ours" mtu 9000 type veth peer name "$theirs" mtu 9000
  echo "$ours" >>"$dir/links"
  for end in "$ours" "$theirs"; do
    # The kernel is to say nothing of its own there.
    ip link set "$end" addrgenmode none arp off
    ip link set "$end" up
  done
  printf '[[collector.interface]]\nname = "wire"\ndevice = "%s"\n' "$ours" >>"$dir/$1-collector.toml"
  start "$1-wire" python3 "$root/config/cluster/replay.py" "$root/tests/data/demo.pcap" "$theirs"
}
# run SITE NAME ROLE API_PORT
run() {
  configure "$@" >"$dir/$2.toml"
  if [ "$3" = collector ] && $live; then wire "$1"; fi
  start "$2" "$program" "$3" -c "$dir/$2.toml"
}
run berlin aggregator-1 aggregator "$api_port"
run lisbon aggregator-2 aggregator $((api_port + 1))
until_ready aggregator-1 listens "$api_port"
until_ready aggregator-2 listens $((api_port + 1))
for number in 1 2; do
  run berlin "notifier-$number" notifier "$api_port"
  until_ready "notifier-$number" grep -q started "$dir/notifier-$number.log"
done
# SITES: whose collectors run; none when empty.
for site in ${SITES-berlin lisbon}; do run "$site" "$site-collector" collector "$api_port"; done
sed -e 's/^user = .*/user = "reader"/; s/AGGREGATOR_PASSWORD/READER_PASSWORD/; s/_INBOX.aggregator/_INBOX.reader/' \
  "$dir/aggregator-1.toml" >"$dir/reader.toml"
trap - ERR

cat <<TEXT
Collectors of two sites, two aggregators and two notifiers run here; the collectors read
tests/data/demo.pcap (interface uplink)$($live && echo ", and capture it live from a wire on which it goes round (wire)").
Configurations, logs and passwords are in $dir.

Look around (the second aggregator answers on port $((api_port + 1))):
  curl -s http://127.0.0.1:$api_port/api/v1/health
  curl -s http://127.0.0.1:$api_port/api/v1/interfaces
  curl -s 'http://127.0.0.1:$((api_port + 1))/api/v1/alerts?severity=warning'
  $program events tail -c $dir/reader.toml 'al.v1.>'
  psql "\$(cat $dir/DATABASE)" -c 'SELECT recipient, pending, delivered FROM flowhook.lane'
  kill -9 \$(cat $dir/aggregator-2.pid)      # the other takes its partitions over
  tail $dir/received.log $dir/*.log

End and remove it all: just cluster-down
TEXT
