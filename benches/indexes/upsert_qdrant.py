"""The upserts of `benches/indexes` with qdrant-client over gRPC: upsert_qdrant.py ADDRESS"""

import sys

from qdrant_client import QdrantClient, models

import rounds

port = int(sys.argv[1].rsplit(":", 1)[1])
client = QdrantClient(host="127.0.0.1", grpc_port=port, prefer_grpc=True, check_compatibility=False)


def make(name, dimensions):
    client.create_collection(name, models.VectorParams(size=dimensions, distance=models.Distance.COSINE))
    return lambda points: client.upsert(name, points, wait=True)


def point(id, document, metadata, vector):
    payload = metadata | {"vectide_document": document, "vectide_chunk": 0}
    return models.PointStruct(id=id, payload=payload, vector=vector)


rounds.serve(make, point)
