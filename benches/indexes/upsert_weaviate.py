"""The upserts of `benches/indexes` with weaviate-client over gRPC: upsert_weaviate.py ADDRESS

The class is as Vectide makes it, so that the server has the same to do.
"""

import json
import sys

import weaviate
from weaviate.classes.data import DataObject
from weaviate.classes.init import Auth

import rounds

http, grpc = (int(address.rsplit(":", 1)[1]) for address in sys.argv[1].split())
client = weaviate.connect_to_custom(
    "127.0.0.1", http, False, "127.0.0.1", grpc, False, auth_credentials=Auth.api_key("secret"), skip_init_checks=True
)
KEPT = {"vectide_document": "text", "vectide_chunk": "int", "vectide_metadata": "text"}
FILTERED = {"vectide_there": "text[]", "category": "text", "price": "number", "stock": "number"}


def make(name, dimensions):
    def prop(name, kind):
        text = {"indexSearchable": False, "tokenization": "field"} if kind.startswith("text") else {}
        return {"name": name, "dataType": [kind], "indexFilterable": name in FILTERED} | text

    collection = client.collections.create_from_dict(
        {
            "class": name,
            "vectorizer": "none",
            "vectorIndexConfig": {"distance": "cosine"},
            "properties": [prop(name, kind) for name, kind in (KEPT | FILTERED).items()],
        }
    )

    def upsert(points):
        answer = collection.data.insert_many(points)
        assert not answer.has_errors, answer.errors

    return upsert


def point(id, document, metadata, vector):
    kept = {"vectide_document": document, "vectide_chunk": 0, "vectide_metadata": json.dumps(metadata)}
    return DataObject(uuid=id, properties=metadata | kept | {"vectide_there": list(metadata)}, vector=vector)


rounds.serve(make, point)
