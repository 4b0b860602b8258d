"""The upserts of `benches/indexes` with psycopg and pgvector's package for it: upsert_pgvector.py ADDRESS

By `executemany`, which sends all rows of a call before it waits for the first answer.
"""

import sys

import psycopg
from pgvector.psycopg import register_vector
from pgvector import Vector
from psycopg.types.json import Jsonb

import rounds

connection = psycopg.connect(sys.argv[1], password="secret", autocommit=True)
connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
register_vector(connection)


def make(name, dimensions):
    connection.execute(
        f"CREATE TABLE {name} (id uuid PRIMARY KEY, document text NOT NULL, chunk integer NOT NULL,"
        f" embedding vector({dimensions}) NOT NULL, metadata jsonb NOT NULL)"
    )
    connection.execute(f"CREATE INDEX ON {name} USING gin (metadata jsonb_path_ops)")
    connection.execute(f"CREATE INDEX ON {name} USING hnsw (embedding vector_cosine_ops)")
    insert = (
        f"INSERT INTO {name} (id, document, chunk, embedding, metadata) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (id) DO UPDATE SET document = excluded.document, chunk = excluded.chunk, embedding = excluded.embedding,"
        " metadata = excluded.metadata"
    )

    def upsert(points):
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(insert, points)

    return upsert


def point(id, document, metadata, vector):
    return id, document, 0, Vector(vector), Jsonb(metadata)


rounds.serve(make, point)
