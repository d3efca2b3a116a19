#!/usr/bin/env bash
# Writes the configuration of a site with a nats-server of its own (docs/sites.md): that server's, those of
# its flowhook processes, and passwords.
#   generate.sh [--collectors-only] SITE HUB FOLDER
# SITE     its name: letters, digits, - and _
# HUB      where the hub's nats-server takes leaf nodes, such as nats-leaf://site:PASSWORD@hub:7422
# FOLDER   where to write; must not be there
# --collectors-only   no aggregator at the site: the hub's serve it
set -euo pipefail
here=$(dirname "$(realpath "$0")")
fail() { echo "generate.sh: $*" >&2; exit 2; }

own_aggregator=true
if [ "${1:-}" = --collectors-only ]; then own_aggregator=false; shift; fi
[ $# = 3 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
site=$1 hub=$2 dir=$3
[[ $site =~ ^[A-Za-z0-9_-]{1,32}$ ]] || fail "SITE: '$site' is not made of letters, digits, - and _"
url='^(nats|nats-leaf|tls|ws|wss)://[][A-Za-z0-9:/@._~%+=-]+$'
[[ $hub =~ $url ]] || fail "HUB: '${hub##*@}' is no URL such as nats-leaf://site:PASSWORD@hub:7422, with %XX for odd characters"
[ ! -e "$dir" ] || fail "FOLDER: $dir is there"
[[ $dir != *[[:cntrl:]\"\'\\\$\`]* ]] || fail "FOLDER: '$dir' has a character that means something in a configuration"

umask 077
mkdir -p "$dir"
dir=$(realpath "$dir")
secret() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
roles="COLLECTOR AGGREGATOR NOTIFIER READER ADMIN"
for role in $roles; do secret >"$dir/$role.password"; done
head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$dir/secret-key"

# The server's configuration, and its environment: passwords stay out of the former.
cp "$here/../nats/server.conf" "$here/../nats/site.conf" "$dir/"
if ! $own_aggregator; then
  # Questions and settings of the hub's aggregators have to reach the collectors.
  sed -i '/^ *"sc\.v1\.>", "hb\.v1\.>"/d; s/"\$O\.>",$/"$O.>"]/' "$dir/site.conf"
  # Nobody else makes the streams where there is no aggregator.
  sed -i 's/"rq.v1._role.aggregator.>", "$JS.API.INFO"\]/"rq.v1._role.aggregator.>", "$JS.API.INFO",\n            "$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.UPDATE.*", "$JS.API.STREAM.INFO.*"]/' "$dir/server.conf"
fi
{
  echo "FLOWHOOK_SITE=$site"
  echo "FLOWHOOK_HUB_URL='$hub'"
  echo "FLOWHOOK_NATS_LISTEN=127.0.0.1:4222"
  echo "FLOWHOOK_NATS_STORE=/var/lib/nats"
  # A password of digits alone would be a number to nats-server.
  for role in $roles; do echo "${role}_PASSWORD=p$(cat "$dir/$role.password")"; done
} >"$dir/nats.env"
for role in $roles; do sed -i 's/^/p/' "$dir/$role.password"; done

# configure ROLE: what every process of a site says.
configure() {
  local role=$1
  cat <<TOML
[node]
site = "$site"
name = "$site-$role"
state_dir = "/var/lib/flowhook/$role"
secret_key = "file:$dir/secret-key"
# local_networks = ["192.168.0.0/16"]

[bus]
kind = "nats"
[bus.nats]
servers = ["nats://127.0.0.1:4222"]
user = "$role"
password = "file:$dir/${role^^}.password"
inbox_prefix = "_INBOX.$role"
TOML
}
{
  configure collector
  $own_aggregator || printf 'create_streams = true\n'
  printf '\n[collector]\ncompress = true\n[[collector.interface]]\nname = "uplink"\ndevice = "eth0"\n'
} >"$dir/collector.toml"
if $own_aggregator; then
  { configure aggregator; printf '\n[aggregator]\nonly_own_site = true\n'; } >"$dir/aggregator.toml"
  { configure notifier; printf '\n[notifier]\nlocal_only = true\n'; } >"$dir/notifier.toml"
fi

cat <<TEXT
Wrote $dir. At the site:
  set -a; . $dir/nats.env; set +a; nats-server -c $dir/site.conf
$($own_aggregator && for role in aggregator notifier; do echo "  flowhook $role -c $dir/$role.toml"; done)
  flowhook collector -c $dir/collector.toml      # say what to capture there
At the hub, in the configuration of every aggregator:
  [[bus.nats.sites]]
  domain = "$site"
$($own_aggregator || echo "  own_aggregator = false")
TEXT
