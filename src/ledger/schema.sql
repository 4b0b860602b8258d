-- The ledger of one pipeline. Safe to read with `sqlite3 ledger.sqlite` while Vectide runs; change nothing by hand.
--
-- Versions are decimal texts of billionths (of a second, for times): they may need more than 64 bits.
-- Times are Unix milliseconds. The numbers of the vectors are in `vectors.bin` beside this file: see src/ledger/vectors/slots.rs.

-- Every document that a change ever named, deleted ones included: a late change must still meet the delete.
CREATE TABLE documents (
    id       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,       -- the document id in the data
    metadata TEXT,                       -- JSON beside the vectors; NULL: not in the index
    record   BLOB,                       -- of the record that made it what it is: digest (16 bytes) and operation (0 upsert, 1 patch, 2 delete); NULL: unknown, or not in the index
    chunks   BLOB NOT NULL,              -- what the index holds, in order: point key (8 bytes, little-endian) and text fingerprint (32) each
    document TEXT NOT NULL               -- JSON: {"whole":version,"deleted":version,"fields":[[version,{name:value}]]}
) STRICT;

-- One embedding per distinct text.
CREATE TABLE vectors (
    id          INTEGER PRIMARY KEY,     -- the slot of its numbers in vectors.bin, from 1
    fingerprint BLOB NOT NULL,           -- SHA-256 of the vector space and the text; no two rows have the same
    key         INTEGER NOT NULL         -- the segment of the slot, and the first bits of the fingerprint: see src/ledger/vectors/segment.rs
) STRICT;
CREATE INDEX vectors_key ON vectors (key);

-- One row, from the first vector on.
CREATE TABLE vector_file (
    only_row  INTEGER PRIMARY KEY CHECK (only_row = 1),
    mark      BLOB NOT NULL,             -- random: vectors.bin has the same one, so that the file of another ledger is noticed
    next_slot INTEGER NOT NULL           -- the first slot that was never used
) STRICT;

-- Slots whose vector was dropped: used again before the file grows.
CREATE TABLE free_slots (
    slot INTEGER PRIMARY KEY
) STRICT;

-- What the index searches: one row per chunk.
CREATE TABLE points (
    key      INTEGER PRIMARY KEY,        -- never used again
    document INTEGER NOT NULL,           -- documents.id
    chunk    INTEGER NOT NULL,           -- from 0
    vector   INTEGER NOT NULL            -- vectors.id
) STRICT;

-- Documents whose points in another system may differ from what is held here: noted before that system is written to, forgotten when it
-- has everything. Empty with the embedded index.
CREATE TABLE unwritten (
    document INTEGER PRIMARY KEY,        -- documents.id
    points   INTEGER NOT NULL            -- that system may hold the chunks below this number
) STRICT;

-- One row. Kept in the transaction of each write, so that nobody has to count.
CREATE TABLE counts (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    next_point INTEGER NOT NULL,         -- the key of the next point
    documents  INTEGER NOT NULL,         -- rows of documents
    indexed    INTEGER NOT NULL,         -- of these in the index
    points     INTEGER NOT NULL          -- points in the index, in this file or in another system
) STRICT;
INSERT INTO counts VALUES (1, 1, 0, 0, 0);

-- How far each source is settled: reading goes on from here.
CREATE TABLE positions (
    source     TEXT NOT NULL,            -- its name in the configuration
    "partition" TEXT NOT NULL,           -- a file's path, a topic's partition, the journal
    detail     TEXT NOT NULL,            -- the source's own: what it needs to find its place again
    "offset"   INTEGER NOT NULL,
    ordinal    INTEGER NOT NULL,         -- the line or row, for people
    PRIMARY KEY (source, "partition")
) STRICT, WITHOUT ROWID;

-- Records that could not be processed.
CREATE TABLE dead_letters (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,           -- when it last failed
    source   TEXT NOT NULL,
    position TEXT NOT NULL,              -- where in the source
    document TEXT,                       -- the document id, where the record told it
    version  TEXT,                       -- the change's version, where the record told it
    reason   TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    "order"  TEXT NOT NULL,              -- the version that the source's own order gives it
    taken_in INTEGER NOT NULL,           -- 1: the change is part of its document
    replay   INTEGER NOT NULL DEFAULT 0, -- 1: asked for again, and not settled yet
    hash     BLOB NOT NULL,              -- SHA-256 of the payload
    payload  BLOB NOT NULL,              -- the record's bytes; none of a document that was only looked at again
    UNIQUE (source, position, hash)
) STRICT;
CREATE INDEX dead_letters_document ON dead_letters (document) WHERE document IS NOT NULL;
CREATE INDEX dead_letters_replay ON dead_letters (id) WHERE replay = 1;

-- What an HTTP source accepted and has not settled yet.
CREATE TABLE journal (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    source  TEXT NOT NULL,
    at      INTEGER NOT NULL,            -- Unix milliseconds, without the `seq` nanoseconds that its order has on top
    payload BLOB NOT NULL
) STRICT;

-- What the pipeline was built with, to notice when that changes.
CREATE TABLE settings (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row: sums over all runs.
CREATE TABLE totals (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    texts      INTEGER NOT NULL,         -- sent to the provider
    tokens     INTEGER NOT NULL,
    money      REAL NOT NULL,            -- US dollars
    cache_hits INTEGER NOT NULL,         -- texts that needed no call
    events     INTEGER NOT NULL          -- settled
) STRICT;
INSERT INTO totals VALUES (1, 0, 0, 0, 0, 0);
