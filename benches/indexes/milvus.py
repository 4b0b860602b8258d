"""The upserts of `benches/indexes` with pymilvus: milvus.py URL"""
import sys, time, uuid, random
from pymilvus import DataType, MilvusClient

client = MilvusClient(uri=sys.argv[1])
for dimensions, batch, count in [(128, 100, 10_000), (128, 1_000, 10_000), (1_536, 100, 4_000), (1_536, 1_000, 4_000)]:
    name = f"python_bench_{dimensions}"
    if not client.has_collection(name):
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=36)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimensions)
        schema.add_field("document", DataType.VARCHAR, max_length=1024)
        schema.add_field("chunk", DataType.INT64)
        schema.add_field("metadata", DataType.JSON)
        index = client.prepare_index_params()
        index.add_index("vector", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 200})
        client.create_collection(name, schema=schema, index_params=index)
    rows = [
        {
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"product-{n}")),
            "document": f"product-{n}",
            "chunk": 0,
            "metadata": {"category": "shoes", "price": 12.5, "stock": n},
            "vector": [random.random() * 2 - 1 for _ in range(dimensions)],
        }
        for n in range(count)
    ]
    started, cpu = time.perf_counter(), time.process_time()
    for at in range(0, count, batch):
        client.upsert(name, rows[at : at + batch])
    rate, cpu = count / (time.perf_counter() - started), (time.process_time() - cpu) * 1e6 / count
    print(f"| {dimensions} | {batch} | 1 | {rate:.0f} | {cpu:.1f} |", flush=True)
