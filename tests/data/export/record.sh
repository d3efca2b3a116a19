#!/usr/bin/env bash
# Records what real exporters send for the first packets of demo.pcap, as captures of loopback
# (root; needs softflowd, pmacct, nfdump, tcpdump). What each exporter says it counted goes to
# <name>.log, from which expected.json was filled in.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d /tmp/export.XXXX)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
tcpdump -r ../demo.pcap -c 400 -w "$work/in.pcap" 2>/dev/null
tcpdump -r ../demo.pcap -c 60 -w "$work/few.pcap" 2>/dev/null

# record NAME PORT COMMAND…
record() {
  local name=$1 port=$2
  shift 2
  tcpdump -i lo -U -w "$work/$name.pcap" "udp dst port $port" 2>/dev/null &
  local tcpdump=$!
  sleep 1
  "$@" >"$work/$name.log" 2>&1 || true
  sleep 1
  kill $tcpdump
  wait $tcpdump 2>/dev/null || true
  cp "$work/$name.pcap" "$name.pcap"
  echo "== $name"
  tail -n "${TAIL:-30}" "$work/$name.log"
}

softflowd() {
  (cd "$work" && timeout -s INT 5 softflowd -r in.pcap -n 127.0.0.1:2055 -d -6 -p "$work/pid" -c none "$@")
}

pmacct() { # PLUGIN, PCAP, then lines of configuration
  local plugin=$1 pcap=$2
  shift 2
  {
    echo "daemonize: false"
    echo "pcap_savefile: $pcap"
    echo "plugins: $plugin"
    echo "aggregate: src_host, dst_host, src_port, dst_port, proto, tos, tcpflags, vlan, src_mac, dst_mac"
    printf '%s\n' "$@"
  } >"$work/pmacct.conf"
  timeout -s INT 9 pmacctd -f "$work/pmacct.conf"
}

nfprobe() {
  pmacct nfprobe "$work/in.pcap" "nfprobe_receiver: 127.0.0.1:2055" \
    "nfprobe_timeouts: tcp=5:expint=1:maxlife=10:udp=5:general=5:icmp=5" "$@"
}

replay() {
  mkdir -p "$work/flows"
  [ -n "$(ls "$work/flows")" ] || nfpcapd -r "$work/in.pcap" -w "$work/flows" -e 30,10
  nfdump -R "$work/flows" -q -o "fmt:%ts %td %pr %sap %dap %pkt %byt" -s record/bytes -n 1
  for file in "$work"/flows/nfcapd.*; do nfreplay -r "$file" -H 127.0.0.1 -p 2055 -v "$1"; done
}

record softflowd-v5 2055 softflowd -v 5
record softflowd-v9 2055 softflowd -v 9
record softflowd-ipfix 2055 softflowd -v 10
record softflowd-biflow 2055 softflowd -v 10 -b
record softflowd-sampled 2055 softflowd -v 9 -s 10
record pmacct-v5 2055 nfprobe "nfprobe_version: 5" "nfprobe_engine: 3:4"
record pmacct-v9 2055 nfprobe "nfprobe_version: 9" "nfprobe_engine: 7"
record pmacct-ipfix 2055 nfprobe "nfprobe_version: 10" "nfprobe_engine: 7"
record pmacct-sampled 2055 nfprobe "nfprobe_version: 10" "sampling_rate: 10"
record pmacct-sflow 6343 pmacct sfprobe "$work/few.pcap" "sfprobe_receiver: 127.0.0.1:6343" \
  "sfprobe_agentip: 192.0.2.9" "sampling_rate: 1"
record nfreplay-v5 2055 replay 5
record nfreplay-v9 2055 replay 9
