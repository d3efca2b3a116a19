#!/usr/bin/env python3
"""The demo's receiver: takes webhooks over HTTP and syslog over UDP, and writes one line for each.

Usage: receiver.py HTTP_PORT SYSLOG_PORT LOG_FILE
"""
import json
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

http_port, syslog_port, log_path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
log = open(log_path, "a", buffering=1, encoding="utf-8")
lock = threading.Lock()


def write(line):
    with lock:
        log.write(line + "\n")


class Webhook(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            message = json.loads(body)
            alerts = message.get("alerts", [])
            for alert in alerts:
                write(f"webhook  {alert['action']:<8} {alert['severity']:<9} {alert['type']}: {alert['message']}")
            if not alerts:
                write(f"post     {json.dumps(message)[:200]}")
        except (ValueError, KeyError) as error:
            write(f"webhook  unreadable: {error}")
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


def syslog():
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", syslog_port))
    while True:
        data, _ = udp.recvfrom(65535)
        write("syslog   " + data.decode("utf-8", "replace").rstrip())


threading.Thread(target=syslog, daemon=True).start()
ThreadingHTTPServer(("127.0.0.1", http_port), Webhook).serve_forever()
