#!/usr/bin/env python3
"""Sends a capture's frames out of an interface, a minute's worth a minute, round and round.

Usage: replay.py CAPTURE INTERFACE
"""
import itertools
import socket
import struct
import sys
import time

ROUND_S = 60


def frames(path):
    """Seconds since the first frame, and the frame, of a pcap file in this machine's byte order."""
    with open(path, "rb") as file:
        magic, *_ = struct.unpack("=IHHiIII", file.read(24))
        second = {0xA1B2C3D4: 1e6, 0xA1B23C4D: 1e9}[magic]
        begin = None
        while header := file.read(16):
            seconds, fraction, length, _ = struct.unpack("=IIII", header)
            at = seconds + fraction / second
            begin = at if begin is None else begin
            yield at - begin, file.read(length)


capture = list(frames(sys.argv[1]))
pace = ROUND_S / max(capture[-1][0], 1)
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind((sys.argv[2], 0))
for number in itertools.count():
    start = time.monotonic()
    for at, frame in capture:
        time.sleep(max(0, start + at * pace - time.monotonic()))
        try:
            wire.send(frame)
        except OSError as error:
            # A full queue, or an end that is down for a moment.
            print(error, file=sys.stderr, flush=True)
            time.sleep(0.1)
    time.sleep(max(0, start + ROUND_S - time.monotonic()))
