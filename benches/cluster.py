"""Measures a cluster of real programs: cluster.py PROGRAM TRACE"""

import base64
import concurrent.futures
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from measure import machine, median

PROGRAM, TRACE = sys.argv[1:3]
ROUNDS = int(os.environ.get("ROUNDS", "100"))
ROLES = ("aggregator-1", "aggregator-2", "notifier-1", "notifier-2")
# A cluster that takes longer than this for anything has failed.
PATIENCE_S = 600


def free_port():
    """A port below those that the system gives away, which nobody uses now, nor the next one."""
    for port in range(21000 + os.getpid() % 8000, 32000, 2):
        try:
            for number in (port, port + 1):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number))
            return port
        except OSError:
            continue
    sys.exit("no free port")


class Receiver(http.server.BaseHTTPRequestHandler):
    """The far end of the webhook: notes when the alert about each port of a client came."""

    came = {}
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        now = time.time()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for alert in body.get("alerts", []):
            if alert.get("client"):
                self.came.setdefault(alert["client"]["port"], now)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


class Cluster:
    """The programs that config/cluster/up.sh starts, without its collectors."""

    def __init__(self, parent):
        self.dir = f"{parent}/cluster"
        self.ports = [free_port() + offset for offset in (0, 2, 4, 6)]
        self.api, self.nats, self.database, self.hook = self.ports
        self.env = {
            **os.environ,
            "FLOWHOOK_CLUSTER": self.dir,
            "API_PORT": str(self.api),
            "NATS_PORT": str(self.nats),
            "PG_PORT": str(self.database),
            "HOOK_PORT": str(self.hook),
            "SITES": "",
        }
        self.others = []

    def __enter__(self):
        subprocess.run(["config/cluster/up.sh", PROGRAM], env=self.env, check=True, stdout=subprocess.DEVNULL)
        # Ours stands where the demo's receiver was.
        os.kill(self.pid("receiver"), signal.SIGTERM)
        self.receiver = self.listen()
        threading.Thread(target=self.receiver.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        for process in self.others:
            process.kill()
            process.wait()
        subprocess.run(["config/cluster/down.sh"], env=self.env, check=False, stdout=subprocess.DEVNULL)

    def listen(self):
        until = time.monotonic() + 10
        while True:
            try:
                return http.server.ThreadingHTTPServer(("127.0.0.1", self.hook), Receiver)
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def pid(self, name):
        with open(f"{self.dir}/{name}.pid", encoding="utf-8") as file:
            return int(file.read())

    def collector(self, name, interface):
        """Starts a collector of one interface, given as TOML."""
        with open(f"{self.dir}/aggregator-1.toml", encoding="utf-8") as file:
            config = file.read()
        config = config[: config.index("[store]")].replace("aggregator-1", name)
        config = config.replace('user = "aggregator"', 'user = "collector"')
        config = config.replace("AGGREGATOR_PASSWORD", "COLLECTOR_PASSWORD").replace("_INBOX.aggregator", "_INBOX.collector")
        path = f"{self.dir}/{name}.toml"
        with open(path, "w", encoding="utf-8") as file:
            file.write(f'{config}[collector]\ncompress = true\n[[collector.interface]]\nname = "{name}"\n{interface}\n')
        with open(f"{self.dir}/{name}.log", "wb") as log:
            process = subprocess.Popen([PROGRAM, "collector", "-c", path], stdout=log, stderr=log)
        self.others.append(process)
        return process

    def ask(self, path, port=None):
        """What the API answers; None while it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port or self.api}/api/v1/{path}", timeout=10) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return None

    def interface(self, name, port=None):
        """The row of an interface; None while nobody knows it."""
        answer = self.ask("interfaces", port) or {}
        return next((row for row in answer.get("items", []) if row["name"] == name), None)

    def packets(self, name, port=None):
        """Packets of an interface that are counted."""
        row = self.interface(name, port)
        return row["stats"]["packets"] if row else 0

    def sql(self, query):
        with open(f"{self.dir}/DATABASE", encoding="utf-8") as file:
            url = file.read().strip()
        text = subprocess.run(["psql", url, "-XAtc", query], capture_output=True, text=True, check=True).stdout
        return int(text.strip() or 0)

    def stream_bytes(self, stream):
        """Bytes on the disk of a stream's messages."""
        total = 0
        for folder, _, files in os.walk(f"{self.dir}/nats"):
            if f"/streams/{stream}/msgs" in folder:
                total += sum(os.path.getsize(f"{folder}/{name}") for name in files if name.endswith(".blk"))
        return total

    def peak_mib(self, pid):
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))


def wait(what, ready):
    """Asks until there is an answer; it, and when it came."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        answer = ready()
        if answer:
            return answer, time.monotonic()
        time.sleep(0.1)
    sys.exit(f"waited {PATIENCE_S} s for {what}")


def packets_in(file):
    """Packets of a capture file, and the seconds of event time that it lasts."""
    text = subprocess.run(["capinfos", "-MTcu", file], capture_output=True, text=True, check=True).stdout
    _, packets, seconds = text.splitlines()[1].split("\t")
    return int(packets), float(seconds)


def read_trace(cluster, packets):
    """The trace as fast as it can be read, until all of it is counted and every flow is in the store."""
    start = time.monotonic()
    collector = cluster.collector("load", f'files = ["{TRACE}"]')
    _, counted = wait("all packets", lambda: cluster.packets("load") == packets)
    collector_mib = cluster.peak_mib(collector.pid) if collector.poll() is None else 0
    row = cluster.interface("load")
    flows = sum(protocol["flows"] for protocol in row["l7"].values())
    _, stored = wait("all flows in the store", lambda: cluster.sql("SELECT count(*) FROM flowhook.flow_record") >= flows)
    # A duplicate would be a second row.
    rows = cluster.sql("SELECT count(*) FROM flowhook.flow_record")
    missing = sum(batches["missing"] for batches in row["batches"].values())
    if rows != flows or missing:
        sys.exit(f"{flows} flows were counted, {rows} are stored, {missing} batches are missing")
    sent = [cluster.stream_bytes(stream) / flows for stream in ("DELTA", "FLOW")]
    kept = cluster.sql(
        "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'flowhook.flow_record'::regclass"
    )
    return flows, counted - start, stored - start, sent, kept / flows, row["hosts"], collector_mib


def time_alerts(cluster):
    """Seconds from a packet on the loopback interface to the webhook about it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = listener.getsockname()[1]
        collector = cluster.collector("live", f'device = "lo"\nfilter = "tcp port {server}"')
        word = base64.b64encode(b"user:word").decode()
        request = f"GET / HTTP/1.1\r\nHost: example.net\r\nAuthorization: Basic {word}\r\n\r\n".encode()

        def ask():
            """One conversation with a password in it."""
            with socket.create_connection(("127.0.0.1", server)) as client:
                other, _ = listener.accept()
                with other:
                    port = client.getsockname()[1]
                    sent = time.time()
                    client.sendall(request)
                    other.recv(65536)
                    other.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    client.recv(65536)
            return port, sent

        # The first ones only show that it listens.
        def heard():
            port, _ = ask()
            time.sleep(0.5)
            return port in Receiver.came

        wait("the first alert", heard)
        asked = []
        for _ in range(ROUNDS):
            asked.append(ask())
            time.sleep(0.05)
        wait("every alert", lambda: all(port in Receiver.came for port, _ in asked))
        collector.terminate()
        collector.wait()
    ways = sorted(Receiver.came[port] - sent for port, sent in asked)
    return median(ways), ways[min(len(ways) - 1, int(len(ways) * 0.99))]


def take_over(cluster, packets):
    """Seconds from the death of an aggregator until the other answers for everything.

    The trace came faster than time passes, so no state of it has been put away yet: the other goes through
    all of it again. Takeovers in real time are tests/takeover.rs's.
    """
    start = time.monotonic()
    os.kill(cluster.pid("aggregator-1"), signal.SIGKILL)
    missed, whole = threading.Event(), []

    def ask():
        """Notes whether something is missing, or when the answer came that lacks nothing."""
        answer = cluster.ask("interfaces", cluster.api + 1)
        if answer and answer.get("missing"):
            missed.set()
        elif answer and missed.is_set():
            counted = [row["stats"]["packets"] for row in answer["items"] if row["name"] == "load"]
            if counted == [packets]:
                whole.append(time.monotonic())

    # An answer takes seconds while somebody does not give his share: questions overlap.
    with concurrent.futures.ThreadPoolExecutor(max_workers=32) as questions:
        until = start + PATIENCE_S
        while not whole and time.monotonic() < until:
            questions.submit(ask)
            time.sleep(0.2)
    if not whole:
        sys.exit("the other aggregator did not take over")
    return min(whole) - start


def catch_up(cluster, packets):
    """Seconds that an aggregator takes for a trace that came while none was there."""
    os.kill(cluster.pid("aggregator-2"), signal.SIGTERM)
    wait("the last aggregator's end", lambda: is_gone(cluster.pid("aggregator-2")))
    collector = cluster.collector("late", f'files = ["{TRACE}"]')
    wait("the collector to be done", lambda: collector.poll() is not None or quiet(cluster))
    start = time.monotonic()
    with open(f"{cluster.dir}/again.log", "wb") as log:
        again = subprocess.Popen([PROGRAM, "aggregator", "-c", f"{cluster.dir}/aggregator-1.toml"], stdout=log, stderr=log)
    cluster.others.append(again)
    _, done = wait("what came meanwhile", lambda: cluster.packets("late") == packets)
    return done - start


def is_gone(pid):
    """A child of somebody who does not wait for it stays as a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def quiet(cluster):
    """True when nothing has been added to the summaries for two seconds."""
    before = cluster.stream_bytes("DELTA")
    time.sleep(2)
    return cluster.stream_bytes("DELTA") == before


def main():
    print(machine(), flush=True)
    packets, seconds = packets_in(TRACE)
    rows = []

    def measured(what, value, unit, goal=None, most=True):
        rows.append((what, value, unit, goal, most))
        print(f"{what}: {value:,.2f} {unit}", flush=True)

    with tempfile.TemporaryDirectory() as parent:
        os.chmod(parent, 0o711)
        with Cluster(parent) as cluster:
            flows, counted, stored, sent, kept, hosts, collector_mib = read_trace(cluster, packets)
            print(f"{packets:,} packets, {flows:,} flows, {hosts:,} hosts, {seconds:.0f} s of event time")
            measured("flows counted, from the collector to the aggregator's state", flows / counted, "a second", 150_000, False)
            measured("flows stored, with every counter", flows / stored, "a second", 50_000, False)
            measured("summaries on NATS", sent[0], "bytes a flow")
            measured("flow records on NATS", sent[1], "bytes a flow", 60)
            measured("flow records in PostgreSQL with their indexes", kept, "bytes a flow")
            measured("peak of the collector", collector_mib, "MiB")
            for role in ROLES:
                measured(f"peak of {role}", cluster.peak_mib(cluster.pid(role)), "MiB")
            if os.geteuid() == 0:
                middle, slow = time_alerts(cluster)
                measured("from a packet to the webhook, p50", middle, "s", 1.5)
                measured("from a packet to the webhook, p99", slow, "s", 4)
            else:
                print("SKIPPED: a live capture needs root")
            measured("takeover after a kill, the whole trace gone through again", take_over(cluster, packets), "s")
            measured("catching up after an outage", seconds / catch_up(cluster, packets), "times real time", 5, False)
    failed = False
    print("\n| what | measured | goal |\n|---|---|---|")
    for what, value, unit, goal, most in rows:
        met = goal is None or (value <= goal if most else value >= goal)
        failed |= not met
        mark = "" if met else " (missed)"
        print(f"| {what} | {value:,.2f} {unit} | {'' if goal is None else f'{goal:,}'}{mark} |")
    sys.exit(1 if failed and os.environ.get("GOALS") != "no" else 0)


if __name__ == "__main__":
    main()
