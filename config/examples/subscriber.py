#!/usr/bin/env python3
"""Follows flowhook's summaries and alerts over NATS, as any program of yours can.

    pip install nats-py protobuf grpcio-tools
    python -m grpc_tools.protoc -I shared/proto --python_out=. flowhook.proto
    python subscriber.py nats://127.0.0.1:4222 [PREFIX]

Prints a line of JSON for each summary of an interface and each alert. A durable consumer makes that
nothing is missed while this program is away; without one, subscribe to the same subjects.
"""
import asyncio
import json
import signal
import sys

import nats
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

import flowhook_pb2

# Places of counters in InterfaceCounters, see docs/cluster.md.
BYTES, PACKETS = 0, 1


def summary(payload):
    """What one delta says of its interface, and of how many hosts."""
    batch = flowhook_pb2.DeltaBatch.FromString(payload)
    counted = {column.counter: column.values[0] for column in batch.interface.columns}
    return {
        "interface": f"{batch.producer.site}/{batch.producer.node}/{batch.producer.interface}",
        "sequence": batch.producer.sequence,
        "packets": counted.get(PACKETS, 0),
        "bytes": counted.get(BYTES, 0),
        "hosts": len(batch.hosts.addresses),
        "last": batch.end_of_stream,
    }


async def follow(stream, subject, name, read, context):
    """Prints what a stream keeps, from its beginning, and acknowledges it."""
    config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, deliver_policy=DeliverPolicy.ALL)
    messages = await context.pull_subscribe(subject, durable=name, stream=stream, config=config)
    while True:
        try:
            batch = await messages.fetch(100, timeout=5)
        except nats.errors.TimeoutError:
            continue
        for message in batch:
            print(json.dumps(read(message.data)), flush=True)
            await message.ack()


async def main(url, prefix):
    """Follows both until it is stopped."""
    client = await nats.connect(url)
    context, dot = client.jetstream(), f"{prefix}." if prefix else ""
    named = f"{prefix.upper()}_" if prefix else ""
    both = [
        follow(f"{named}DELTA", f"{dot}dl.v1.>", "example-summaries", summary, context),
        follow(f"{named}ALERT", f"{dot}al.v1.>", "example-alerts", json.loads, context),
    ]
    task = asyncio.gather(*both)
    for stop in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(stop, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        await client.drain()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""))
