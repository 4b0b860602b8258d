"""Rounds of upserts, as `benches/indexes` asks for them on standard input: dimensions, points a call, the first point, how many points.
Answers with the seconds that it took, and the seconds of processor time."""

import random
import sys
import time
import uuid


def serve(make, point):
    """`make(name, dimensions)` makes a collection and returns what upserts a list of points into it. `point(id, document, metadata, vector)`
    makes one of them."""
    for line in sys.stdin:
        dimensions, batch, first, count = map(int, line.split())
        if first == 0:
            upsert = make(f"python_{dimensions}_{batch}", dimensions)
        points = [
            point(
                str(uuid.uuid5(uuid.NAMESPACE_OID, f"product-{number}")),
                f"product-{number}",
                {"category": "shoes", "price": 12.5, "stock": number},
                [random.random() * 2 - 1 for _ in range(dimensions)],
            )
            for number in range(first, first + count)
        ]
        started, cpu = time.perf_counter(), time.process_time()
        for at in range(0, count, batch):
            upsert(points[at : at + batch])
        print(time.perf_counter() - started, time.process_time() - cpu, flush=True)
