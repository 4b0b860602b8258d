"""The upserts of `benches/indexes` with qdrant-client over gRPC: qdrant.py URL"""
import random, sys, time, uuid
from qdrant_client import QdrantClient, models

port = int(sys.argv[1].rsplit(":", 1)[1])
client = QdrantClient(host="127.0.0.1", grpc_port=port, prefer_grpc=True, check_compatibility=False)
for dimensions, batch, count in [(128, 100, 10_000), (128, 1_000, 10_000), (1_536, 100, 4_000), (1_536, 1_000, 4_000)]:
    name = f"python_bench_{dimensions}"
    if not client.collection_exists(name):
        client.create_collection(name, models.VectorParams(size=dimensions, distance=models.Distance.COSINE))
    points = [
        models.PointStruct(
            id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"product-{n}")),
            payload={"category": "shoes", "price": 12.5, "stock": n, "vectide_document": f"product-{n}", "vectide_chunk": 0},
            vector=[random.random() * 2 - 1 for _ in range(dimensions)],
        )
        for n in range(count)
    ]
    started, cpu = time.perf_counter(), time.process_time()
    for at in range(0, count, batch):
        client.upsert(name, points[at : at + batch], wait=True)
    rate, cpu = count / (time.perf_counter() - started), (time.process_time() - cpu) * 1e6 / count
    print(f"| {dimensions} | {batch} | 1 | {rate:.0f} | {cpu:.1f} |", flush=True)
