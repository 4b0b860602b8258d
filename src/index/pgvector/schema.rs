//! The table: made when it is not there, else compared with what is needed.

use std::fmt;

use serde_json::Value;

use crate::index::external::collection::{CollectionError, Established};
use crate::settings::index::Metric;

use super::session::Session;

/// The most numbers that a graph takes as `vector`, and as `halfvec`.
const MAX_INDEXED: usize = 2_000;
const MAX_INDEXED_HALF: usize = 4_000;

/// Up to so many rows are counted; above, the server's estimate is told.
const COUNTED: u64 = 100_000;

/// A table's name, quoted when it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    schema: Option<String>,
    name: String,
}

impl Table {
    /// `name` or `schema.name`.
    pub(super) fn named(text: &str) -> Result<Self, String> {
        let (schema, name) = match text.split_once('.') {
            Some((schema, name)) => (Some(schema.to_owned()), name.to_owned()),
            None => (None, text.to_owned()),
        };
        // PostgreSQL cuts longer names, and two could become one.
        let fits = |name: &String| (1..=63).contains(&name.len()) && !name.contains(['\0', '.']);
        if !fits(&name) || !schema.as_ref().is_none_or(fits) {
            return Err("index.collection: must be `table` or `schema.table`, each of 1 to 63 bytes".to_owned());
        }
        Ok(Self { schema, name })
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{}.", quoted(schema))?;
        }
        f.write_str(&quoted(&self.name))
    }
}

/// What the table must be.
pub(super) struct Schema {
    pub(super) table: Table,
    pub(super) dimensions: usize,
    pub(super) metric: Metric,
}

/// The table's columns, in the words of PostgreSQL; `embedding` depends on the dimensions.
const COLUMNS: [(&str, &str); 4] = [("id", "uuid"), ("document", "text"), ("chunk", "integer"), ("metadata", "jsonb")];

impl Schema {
    /// What stands between a row and this parameter, as the graph understands it.
    pub(super) fn distance(&self, parameter: &str) -> String {
        let operator = match self.metric {
            Metric::Cosine => "<=>",
            Metric::Dot => "<#>",
            Metric::L2 => "<->",
        };
        let embedding = self.embedding();
        match self.indexed_type() {
            Some("halfvec") => format!("{embedding} {operator} {parameter}::vector::halfvec({})", self.dimensions),
            _ => format!("{embedding} {operator} {parameter}::vector"),
        }
    }

    /// What the graph is made of.
    fn embedding(&self) -> String {
        match self.indexed_type() {
            Some("halfvec") => format!("(embedding::halfvec({}))", self.dimensions),
            _ => "embedding".to_owned(),
        }
    }

    /// `None`: no graph takes so many numbers, and a search looks at every row.
    fn indexed_type(&self) -> Option<&'static str> {
        [("vector", MAX_INDEXED), ("halfvec", MAX_INDEXED_HALF)]
            .into_iter()
            .find(|(_, most)| self.dimensions <= *most)
            .map(|(kind, _)| kind)
    }

    pub(super) async fn establish(&self, session: &mut Session<'_>) -> Result<Established, CollectionError> {
        match self.make(session).await {
            // Another made the same at the same moment.
            Err(CollectionError::OneRefused(_)) => self.make(session).await,
            done => done,
        }
    }

    async fn make(&self, session: &mut Session<'_>) -> Result<Established, CollectionError> {
        self.enable_extension(session).await?;
        if let Some(found) = self.look(session).await? {
            return Ok(found);
        }
        // One transaction: a table that is there is taken for whole, and without its indexes every search would read all of it.
        session.execute_together(&self.creation()).await?;
        Ok(Established::Created)
    }

    /// As [`Schema::establish`], and makes nothing.
    pub(super) async fn look(&self, session: &mut Session<'_>) -> Result<Option<Established>, CollectionError> {
        let sql = "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
                   WHERE attrelid = to_regclass($1::text) AND attnum > 0 AND NOT attisdropped";
        let rows = session.query(sql, &[&self.table.to_string()]).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let columns: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        self.check_columns(&columns)?;
        self.check_metric(session).await?;
        // Counting a large table takes as long as reading it.
        let sql = format!(
            "SELECT CASE WHEN n < {COUNTED} THEN n ELSE greatest(n, reltuples::bigint) END
             FROM pg_class, (SELECT count(*) AS n FROM (SELECT FROM {} LIMIT {COUNTED}) AS first) AS counted
             WHERE oid = to_regclass($1::text)",
            self.table
        );
        let rows = session.query(&sql, &[&self.table.to_string()]).await?;
        let points = rows.first().map_or(0, |row| row.get::<_, i64>(0)).cast_unsigned();
        Ok(Some(match points {
            ..COUNTED => Established::Existing { points },
            at_least => Established::Uncounted { at_least },
        }))
    }

    /// The schema that the table is in: for a table that is named without one, the first of the user's search path that has it.
    pub(super) async fn found_in(&self, session: &mut Session<'_>) -> Result<Option<String>, CollectionError> {
        let sql = "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass($1::text)";
        let rows = session.query(sql, &[&self.table.to_string()]).await?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    async fn enable_extension(&self, session: &mut Session<'_>) -> Result<(), CollectionError> {
        let there = session.query("SELECT 1 FROM pg_extension WHERE extname = 'vector'", &[]).await?;
        if !there.is_empty() {
            return Ok(());
        }
        match session.execute("CREATE EXTENSION IF NOT EXISTS vector", &[]).await {
            Err(CollectionError::Fatal(reason)) => Err(CollectionError::Fatal(format!(
                "the extension `vector` is not in this database: let an administrator run `CREATE EXTENSION vector` there, after pgvector was \
                 installed on the server. It cannot be made by this user: {reason}"
            ))),
            done => done.map(drop),
        }
    }

    fn creation(&self) -> Vec<String> {
        let (table, dimensions) = (&self.table, self.dimensions);
        // Without a name of its own PostgreSQL gives each index one that is free.
        let mut statements = vec![
            format!(
                "CREATE TABLE IF NOT EXISTS {table} (id uuid PRIMARY KEY, document text NOT NULL, chunk integer NOT NULL,
                 embedding vector({dimensions}) NOT NULL, metadata jsonb NOT NULL)"
            ),
            format!("CREATE INDEX ON {table} USING gin (metadata jsonb_path_ops)"),
        ];
        if let Some(kind) = self.indexed_type() {
            let (embedding, class) = (self.embedding(), operator_class(kind, self.metric));
            statements.push(format!("CREATE INDEX ON {table} USING hnsw ({embedding} {class})"));
        }
        statements
    }

    fn check_columns(&self, columns: &[(String, String)]) -> Result<(), CollectionError> {
        let embedding = format!("vector({})", self.dimensions);
        for (name, wanted) in COLUMNS.into_iter().chain([("embedding", embedding.as_str())]) {
            let found = columns.iter().find(|(column, _)| column == name).map(|(_, found)| found.as_str());
            if found != Some(wanted) {
                let found = found.map_or("is not there".to_owned(), |found| format!("is `{found}`"));
                return Err(CollectionError::Unfit(format!(
                    "its column `{name}` {found}, and `{wanted}` is needed: name another table in `index.collection`, or use the \
                     embedding model that this one was made for"
                )));
            }
        }
        Ok(())
    }

    /// By the operator class of its graph. A table without one serves every metric, slowly.
    async fn check_metric(&self, session: &mut Session<'_>) -> Result<(), CollectionError> {
        let sql = "SELECT opcname::text FROM pg_index JOIN pg_opclass ON pg_opclass.oid = ANY (indclass::oid[])
                   WHERE indrelid = to_regclass($1::text) AND opcname ~ '^(vector|halfvec)_'";
        let rows = session.query(sql, &[&self.table.to_string()]).await?;
        let classes: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let wanted = operator_class(self.indexed_type().unwrap_or("vector"), self.metric);
        match classes.first() {
            Some(found) if !classes.iter().any(|class| class == wanted) => Err(CollectionError::Unfit(format!(
                "its index is made for `{found}`, and `index.metric` needs `{wanted}`: set the metric that it was made with, or name \
                 another table in `index.collection`"
            ))),
            _ => Ok(()),
        }
    }
}

fn operator_class(kind: &str, metric: Metric) -> &'static str {
    match (kind, metric) {
        ("halfvec", Metric::Cosine) => "halfvec_cosine_ops",
        ("halfvec", Metric::Dot) => "halfvec_ip_ops",
        ("halfvec", Metric::L2) => "halfvec_l2_ops",
        (_, Metric::Cosine) => "vector_cosine_ops",
        (_, Metric::Dot) => "vector_ip_ops",
        (_, Metric::L2) => "vector_l2_ops",
    }
}

/// The first key of this object whose value holds NUL anywhere.
pub(super) fn field_with_nul(metadata: &str) -> Option<String> {
    fn holds(value: &Value) -> bool {
        match value {
            Value::String(text) => text.contains('\0'),
            Value::Array(elements) => elements.iter().any(holds),
            Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || holds(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    let Ok(Value::Object(fields)) = serde_json::from_str(metadata) else { return None };
    fields.into_iter().find(|(key, value)| key.contains('\0') || holds(value)).map(|(key, _)| key)
}
