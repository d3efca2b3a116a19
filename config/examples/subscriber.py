#!/usr/bin/env python3
"""Follows flowhook's summaries and alerts over NATS, as any program of yours can.

    pip install nats-py protobuf grpcio-tools zstandard
    python -m grpc_tools.protoc -I shared/proto --python_out=. flowhook.proto
    python subscriber.py nats://127.0.0.1:4222 [PREFIX]

Prints a line of JSON for each of them. A durable consumer misses nothing while this program is away.
"""
import asyncio
import json
import signal
import sys

import nats
import zstandard
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

import flowhook_pb2

BYTES, PACKETS = 0, 1  # places of counters of interfaces, see docs/counters.md


def summary(payload):
    """What one delta says of its interface, and of how many hosts."""
    if payload.startswith(b"\x28\xb5\x2f\xfd"):  # collector.compress
        payload = zstandard.decompress(payload)
    batch = flowhook_pb2.DeltaBatch.FromString(payload)
    counted = {column.counter: column.values[0] for column in batch.interface.columns}
    return {
        "interface": f"{batch.producer.site}/{batch.producer.node}/{batch.producer.interface}",
        "packets": counted.get(PACKETS, 0),
        "bytes": counted.get(BYTES, 0),
        "hosts": len(batch.hosts.addresses),
        "last": batch.end_of_stream,
    }


async def follow(context, prefix, stream, subject, read):
    """Prints what a stream keeps, from its beginning, and acknowledges it."""
    stream = f"{prefix.upper()}_{stream}" if prefix else stream
    subject = f"{prefix}.{subject}" if prefix else subject
    config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, deliver_policy=DeliverPolicy.ALL)
    messages = await context.pull_subscribe(subject, durable=f"example-{stream}", stream=stream, config=config)
    while True:
        try:
            for message in await messages.fetch(100, timeout=5):
                print(json.dumps(read(message.data)), flush=True)
                await message.ack()
        except nats.errors.TimeoutError:
            pass


async def main(url, prefix=""):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    context = (await nats.connect(url, inbox_prefix="_INBOX.reader")).jetstream()  # the one it may listen to
    await asyncio.gather(follow(context, prefix, "DELTA", "dl.v1.>", summary), follow(context, prefix, "ALERT", "al.v1.>", json.loads))


asyncio.run(main(*sys.argv[1:3]))
