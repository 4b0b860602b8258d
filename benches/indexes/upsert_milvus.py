"""The upserts of `benches/indexes` with pymilvus: upsert_milvus.py ADDRESS"""

import sys

from pymilvus import DataType, MilvusClient

import rounds

client = MilvusClient(uri=sys.argv[1])


def make(name, dimensions):
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=36)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimensions)
    schema.add_field("document", DataType.VARCHAR, max_length=1024)
    schema.add_field("chunk", DataType.INT64)
    schema.add_field("metadata", DataType.JSON)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 200})
    client.create_collection(name, schema=schema, index_params=index)
    return lambda points: client.upsert(name, points)


def point(id, document, metadata, vector):
    return {"id": id, "document": document, "chunk": 0, "metadata": metadata, "vector": vector}


rounds.serve(make, point)
