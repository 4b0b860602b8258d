//! PostgreSQL 18 with pgvector.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use uuid::Uuid;
use vectide::index::distance::Scorer;
use vectide::index::external::collection::{Collection, CollectionError, Established, Nearest, Point};
use vectide::index::external::inspect::Inspect;
use vectide::index::pgvector::PgvectorTable;
use vectide::index::{Filter, IndexError};
use vectide::settings::index::Metric;
use vectide::settings::pgvector::PgvectorSettings;
use vectide::testkit::index_contract::points::{DIMENSIONS, point, vector};
use vectide::testkit::index_contract::relay::with_port;
use vectide::testkit::index_contract::shop::{Place, Shop, truth, write};
use vectide::testkit::index_contract::{Backend, Subject, WRONG_KEY, WrongKey, assert_same, block_on};

use crate::killed;
use crate::points::{assert_filtered, near};
use crate::server::{Server, Shared};

struct Postgres {
    url: String,
}

impl Postgres {
    fn at(url: &str) -> Self {
        Self { url: url.to_owned() }
    }

    /// Does in this database what its administrator may do.
    async fn administrate(&self, database: &str, statements: &[&str]) {
        let mut config: tokio_postgres::Config = self.url.parse().unwrap();
        let config = config.dbname(database).password("secret");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        for statement in statements {
            client.batch_execute(statement).await.unwrap();
        }
    }

    /// The address of another database of the server.
    fn database(&self, name: &str) -> String {
        let (server, _) = self.url.rsplit_once('/').unwrap();
        format!("{server}/{name}")
    }

    /// A table in this database, as this user sees it, whose password is `guest`.
    fn table_of(&self, user: &str, database: &str) -> PgvectorTable {
        let url = self.database(database).replace("postgres@", &format!("{user}@"));
        table(&url, "password: guest")
    }
}

/// One server for all tests; it ends with the process.
fn server() -> Option<&'static Postgres> {
    static SHARED: Shared<Postgres> = Shared::new("pgvector.sh", Postgres::at);
    SHARED.get()
}

fn settings(url: &str, more: &str) -> PgvectorSettings {
    serde_yaml::from_str(&format!("{{ url: '{url}', {more} }}")).unwrap()
}

fn table(url: &str, more: &str) -> PgvectorTable {
    PgvectorTable::new(&settings(url, more), "contract", DIMENSIONS).unwrap()
}

impl Subject for Postgres {
    fn place(&self, name: &str, metric: Metric) -> Place {
        Place::Collection(self.collection(name, DIMENSIONS, metric))
    }

    fn refused_filters(&self) -> Vec<(Value, &'static str)> {
        // JSON paths say all that a filter can.
        Vec::new()
    }

    fn exceptions(&self) -> Vec<Value> {
        // Its numbers are decimals.
        vec![json!({"big": 9_007_199_254_740_992.0})]
    }

    fn poison(&self) -> Option<(Value, &'static str)> {
        Some((json!({"price": 1, "no\\te": "a\u{0}b"}), "no\\te"))
    }
}

impl Backend for Postgres {
    fn collection(&self, name: &str, dimensions: usize, metric: Metric) -> Arc<dyn Inspect> {
        let settings =
            PgvectorSettings { metric, ..settings(&self.url, &format!("collection: {name}, password: secret")) };
        Arc::new(PgvectorTable::new(&settings, "contract", dimensions).unwrap())
    }

    fn through(&self, name: &str, port: &dyn Fn(u16) -> u16, timeout: Duration) -> Arc<dyn Inspect> {
        let more = format!("collection: {name}, password: secret, timeout: {}ms", timeout.as_millis());
        Arc::new(table(&with_port(&self.url, port), &more))
    }

    fn with_wrong_key(&self) -> WrongKey {
        WrongKey::Refused(Arc::new(table(&self.url, &format!("password: {WRONG_KEY}"))), "index.password")
    }

    fn changes_metadata_alone(&self) -> bool {
        true
    }

    fn write_foreign<'a>(&'a self, name: &'a str, points: &'a [Point]) -> BoxFuture<'a, ()> {
        // A table that others made may let them be empty.
        let empty = format!(
            "ALTER TABLE {name} ALTER document DROP NOT NULL, ALTER chunk DROP NOT NULL, ALTER embedding DROP NOT NULL"
        );
        let insert = |(point, (document, chunk)): (&Point, &(&str, &str))| {
            let Point { id, vector, metadata, .. } = point;
            format!("INSERT INTO {name} VALUES ('{id}', {document}, {chunk}, '{:?}', '{metadata}')", &**vector)
        };
        let strange = [("NULL", "NULL"), ("'a'", "NULL"), ("NULL", "0"), ("''", "0"), ("'a'", "-1")];
        let inserts = points.iter().zip(strange.iter().cycle()).map(insert);
        let far = format!("INSERT INTO {name} VALUES ('{}', 'a', 0, NULL, '{{}}')", Uuid::nil());
        let statements: Vec<String> = [empty, far].into_iter().chain(inserts).collect();
        async move {
            self.administrate("postgres", &statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
        }
        .boxed()
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, ()> {
        async move { self.administrate("postgres", &[&format!("DROP TABLE {name}")]).await }.boxed()
    }
}

vectide::collection_contract!(server);

#[test]
fn a_database_that_is_not_there_is_named() {
    let Some(postgres) = server() else { return };
    block_on(async {
        let error = table(&postgres.database("nothing"), "password: secret").establish().await;
        let told = |text: &str| text.contains("database \"nothing\" does not exist") && text.contains("`index.url`");
        assert!(matches!(&error, Err(CollectionError::Fatal(text)) if told(text)), "{error:?}");
    });
}

#[test]
fn a_database_without_the_extension_is_refused_with_what_an_administrator_must_do() {
    let Some(postgres) = server() else { return };
    block_on(async {
        let make = ["CREATE ROLE guest LOGIN PASSWORD 'guest'", "CREATE DATABASE bare"];
        postgres.administrate("postgres", &make).await;
        // A connection of its own each time.
        let refused = async || match postgres.table_of("guest", "bare").establish().await {
            Err(CollectionError::Fatal(told)) => told,
            other => panic!("{other:?}"),
        };
        let told = refused().await;
        assert!(told.contains("an administrator run `CREATE EXTENSION vector`"), "{told}");
        assert!(told.contains("permission denied to create extension"), "{told}");

        // As on a server where pgvector was never installed.
        let hidden = "ALTER DATABASE bare SET extension_control_path = '/nowhere'";
        postgres.administrate("bare", &[hidden, "GRANT CREATE ON DATABASE bare TO guest"]).await;
        let told = refused().await;
        assert!(told.contains("pgvector was installed on the server") && told.contains("is not available"), "{told}");

        postgres.administrate("bare", &["ALTER DATABASE bare RESET extension_control_path"]).await;
        postgres.administrate("bare", &["CREATE EXTENSION vector"]).await;
        let told = refused().await;
        assert!(told.contains("permission denied for schema public") && told.contains("`GRANT CREATE"), "{told}");

        postgres.administrate("bare", &["GRANT CREATE ON SCHEMA public TO guest"]).await;
        assert_eq!(postgres.table_of("guest", "bare").establish().await, Ok(Established::Created));
    });
}

#[test]
fn a_server_that_takes_no_more_connections_is_asked_again() {
    let Some(postgres) = server() else { return };
    block_on(async {
        let crowd = ["CREATE ROLE crowd LOGIN PASSWORD 'guest' CONNECTION LIMIT 0"];
        postgres.administrate("postgres", &crowd).await;
        let table = postgres.table_of("crowd", "postgres");
        let error = table.look().await.unwrap_err();
        let CollectionError::Unavailable { reason, .. } = &error else { panic!("{error:?}") };
        assert!(reason.contains("too many connections for role"), "{reason}");
        postgres.administrate("postgres", &["ALTER ROLE crowd CONNECTION LIMIT 1"]).await;
        assert_eq!(table.look().await, Ok(None));
    });
}

/// What is half made would be taken for a table whose indexes somebody took away.
#[test]
fn a_table_is_made_with_its_indexes_or_not_at_all() {
    let Some(postgres) = server() else { return };
    block_on(async {
        postgres.administrate("postgres", &["CREATE DATABASE half"]).await;
        let refuse = "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql
                      AS $$ BEGIN RAISE EXCEPTION 'no index today'; END $$";
        let trigger =
            "CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION refuse()";
        postgres.administrate("half", &["CREATE EXTENSION vector", refuse, trigger]).await;
        let table = table(&postgres.database("half"), "password: secret");
        let told = table.establish().await;
        assert!(
            matches!(&told, Err(CollectionError::Unavailable { reason, .. }) if reason.contains("no index today")),
            "{told:?}"
        );
        assert_eq!(table.look().await, Ok(None));
        postgres.administrate("half", &["DROP EVENT TRIGGER refuse"]).await;
        assert_eq!(table.establish().await, Ok(Established::Created));
    });
}

/// A table that is named without a schema is the first of that name in the user's search path.
#[test]
fn tables_of_one_name_are_told_apart_by_their_schemas() {
    let Some(postgres) = server() else { return };
    block_on(async {
        postgres.administrate("postgres", &["CREATE SCHEMA one", "CREATE SCHEMA two"]).await;
        let through = async |path: &str| {
            let url = format!("{}?options=-csearch_path%3D{path},public", postgres.url);
            let table = table(&url, "collection: in_both, password: secret");
            assert_eq!(table.establish().await, Ok(Established::Created));
            (table.place().to_owned(), table.mark().await.unwrap().unwrap())
        };
        let ((place, one), (same, two)) = (through("one").await, through("two").await);
        assert_eq!((place, one.as_str(), two.as_str()), (same, "one", "two"));
        let named = table(&postgres.url, "collection: two.in_both, password: secret");
        assert_eq!(named.mark().await.unwrap().as_deref(), Some("two"));
    });
}

/// So that it would be answered for fewer rows than were sent.
#[test]
fn a_table_that_keeps_rows_back_is_for_a_person_to_mend() {
    let Some(postgres) = server() else { return };
    block_on(async {
        let table = postgres.collection("kept_back", DIMENSIONS, Metric::Cosine);
        table.establish().await.unwrap();
        let keep = "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql
                    AS $$ BEGIN IF NEW.document = 'b' THEN RETURN NULL; END IF; RETURN NEW; END $$";
        let trigger = "CREATE TRIGGER keep BEFORE INSERT ON kept_back FOR EACH ROW EXECUTE FUNCTION keep()";
        postgres.administrate("postgres", &[keep, trigger]).await;
        let points = ["a", "b", "c"].map(|document| point(document, 0, &json!({}), 1));
        let told = table.upsert(&points).await;
        assert!(matches!(&told, Err(CollectionError::Fatal(text)) if text.contains("2 of 3 rows")), "{told:?}");
        postgres.administrate("postgres", &["DROP TRIGGER keep ON kept_back"]).await;
        table.upsert(&points).await.unwrap();
        let ids = points.each_ref().map(|point| point.id);
        assert_same(table.fetch(&ids).await.unwrap(), &points.each_ref());
    });
}

/// Of a graph that gave up it is not seen: no row is missing that it would have named.
#[test]
fn a_search_that_the_graph_gives_up_on_finds_all_the_same() {
    let Some(postgres) = server() else { return };
    block_on(async {
        // Its own candidates only, as with many more rows by default.
        let shallow = "ALTER DATABASE shallow SET hnsw.max_scan_tuples = 1";
        // To look at each row seems dear, as with many more of them.
        let dear = "ALTER DATABASE shallow SET enable_seqscan = off";
        postgres.administrate("postgres", &["CREATE DATABASE shallow", "LOAD 'vector'", shallow, dear]).await;
        let url = postgres.database("shallow");
        let table = table(&url, "collection: shallow, password: secret");
        table.establish().await.unwrap();
        let points: Vec<Point> =
            (0..3_000).map(|number| point(&format!("d{number}"), 0, &json!({"n": number}), number)).collect();
        for points in points.chunks(500) {
            table.upsert(points).await.unwrap();
        }
        postgres.administrate("shallow", &["ANALYZE shallow"]).await;
        // The farthest three.
        let query = vector(4711, DIMENSIONS);
        let scorer = Scorer::new(Metric::Cosine, &query);
        let mut far: Vec<&Point> = points.iter().collect();
        far.sort_by(|a, b| scorer.score(&a.vector).total_cmp(&scorer.score(&b.vector)));
        let any: Vec<Value> = far[..3]
            .iter()
            .map(|point| {
                let number: u64 = point.document.as_str()[1..].parse().unwrap();
                json!({"n": {"gte": number, "lte": number}})
            })
            .collect();
        let filter = Filter::from_json(&json!({ "or": any })).unwrap();
        let found = near(&table, Nearest { vector: &query, filter: Some(&filter), limit: 5 }).await.unwrap();
        let found: Vec<&str> = found.iter().map(|found| found.document.as_str()).collect();
        assert_eq!(found, [2, 1, 0].map(|place: usize| far[place].document.as_str()));
        let found = near(&table, Nearest { vector: &query, filter: None, limit: 2_500 }).await.unwrap();
        assert_eq!(found.iter().map(|found| &found.document).collect::<HashSet<_>>().len(), 2_500);
    });
}

#[test]
fn filters_that_postgresql_reads_in_ways_of_its_own_mean_what_they_mean_everywhere() {
    let Some(postgres) = server() else { return };
    block_on(async {
        let table = postgres.collection("own_ways", DIMENSIONS, Metric::Cosine);
        table.establish().await.unwrap();
        let metadata = [
            json!({"a": [[5], "x"]}),
            json!({"a": [5, 6]}),
            json!({"a": 5}),
            json!({"a": [["z"]]}),
            json!({"a": {"-1": 6, "01": 6, "+1": 6, " 1": 6}}),
            json!({"a": {"1": [6]}}),
            json!({"a": "m"}),
            json!({"a": "mm"}),
        ];
        let points: Vec<Point> =
            (1..).zip(&metadata).map(|(seed, metadata)| point(&format!("d{seed}"), 0, metadata, seed)).collect();
        table.upsert(&points).await.unwrap();
        let vector = vector(4711, DIMENSIONS);
        for json in [
            json!({"a": {"gt": 1}}),
            json!({"a": {"gt": "n"}}),
            json!({"not": {"a": {"gte": 5, "lte": 5}}}),
            json!({"/a/-1": 6}),
            json!({"/a/01": 6}),
            json!({"/a/+1": {"exists": true}}),
            json!({"/a/ 1": {"exists": false}}),
            json!({"/a/1": 6}),
            json!({"/a/1/-1": 6}),
            json!({"a": "m\u{0}"}),
            json!({"a": {"in": ["m", "m\u{0}"]}}),
            json!({"not": {"a\u{0}": 1}}),
            json!({"/a\u{0}": {"exists": false}}),
            json!({"a": {"gt": "m\u{0}"}}),
            json!({"a": {"gte": "m\u{0}z"}}),
            json!({"a": {"lt": "m\u{0}"}}),
            json!({"a": {"lte": "m\u{0}z"}}),
        ] {
            assert_filtered(&*table, &points, &vector, &json).await;
        }
    });
}

#[test]
fn a_rule_that_every_row_breaks_takes_none_out_and_one_that_a_document_breaks_takes_that_one() {
    let Some(postgres) = server() else { return };
    block_on(async {
        let shop = Shop::new(postgres.place("ruled", Metric::Cosine)).await;
        let metadata = json!({"price": 1});
        shop.write(vec![write("a", &metadata, &[1]), write("b", &metadata, &[2])]).await.unwrap();
        let add = "ALTER TABLE ruled ADD owner text NOT NULL DEFAULT 'us'";
        postgres.administrate("postgres", &[add, "ALTER TABLE ruled ALTER owner DROP DEFAULT"]).await;
        let changes = || vec![write("a", &metadata, &[3]), write("bad", &metadata, &[4])];
        let told = shop.write(changes()).await;
        let Err(IndexError::Fatal(reason)) = &told else { panic!("{told:?}") };
        assert!(reason.contains("\"owner\"") && reason.contains("even a point without metadata"), "{reason}");
        let found = shop.near(vector(1, DIMENSIONS), 9, None).await.unwrap();
        assert_eq!(found.len(), 2, "both are still found");

        let rule = "ALTER TABLE ruled DROP owner, ADD CHECK (document <> 'bad')";
        postgres.administrate("postgres", &[rule]).await;
        let refused = shop.write(changes()).await.unwrap();
        assert_eq!(refused.iter().map(|refused| refused.write).collect::<Vec<_>>(), [1]);
        let expected =
            [("a", metadata.clone(), &[3][..]), ("b", metadata.clone(), &[2]), ("bad", metadata.clone(), &[])];
        shop.assert_holds(&truth(&expected)).await;
    });
}

#[test]
fn a_statement_that_the_server_gives_up_names_the_setting() {
    let Some(postgres) = server() else { return };
    block_on(async {
        postgres.collection("locked", DIMENSIONS, Metric::Cosine).establish().await.unwrap();
        let locked = Locked::table(postgres, "locked").await;
        let impatient = table(&postgres.url, "collection: locked, password: secret, timeout: 2s");
        let points = [point("a", 0, &json!({}), 1)];
        let told = impatient.upsert(&points).await;
        let Err(CollectionError::Unavailable { reason, .. }) = &told else { panic!("{told:?}") };
        assert!(reason.contains("statement timeout") && reason.contains("`index.timeout`"), "{reason}");
        drop(locked);
        let patient = postgres.collection("locked", DIMENSIONS, Metric::Cosine);
        patient.upsert(&points).await.unwrap();
        assert_same(patient.fetch(&[points[0].id]).await.unwrap(), &[&points[0]]);
    });
}

/// Has a table for itself: nobody else reads or writes it until it is dropped.
struct Locked(tokio_postgres::Client);

impl Locked {
    async fn table(postgres: &Postgres, name: &str) -> Self {
        let mut config: tokio_postgres::Config = postgres.url.parse().unwrap();
        let (client, connection) = config.password("secret").connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(&format!("BEGIN; LOCK TABLE {name}")).await.unwrap();
        Self(client)
    }

    /// Returns when as many connections wait for it. Panics long before any of them gives up.
    async fn waited_for_by(&self, connections: i64) {
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation IN
                       (SELECT relation FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'AccessExclusiveLock')";
        let since = Instant::now();
        loop {
            let found: i64 = self.0.query_one(waiting, &[]).await.unwrap().get(0);
            if found == connections {
                return;
            }
            assert!(since.elapsed() < Duration::from_secs(60), "{found} wait for it, and not {connections}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

const PATIENT: &str = "password: secret, concurrency: 1, timeout: 300s";

#[test]
fn searches_that_take_their_time_keep_no_write_waiting() {
    let Some(postgres) = server() else { return };
    block_on(async {
        let table = table(&postgres.url, &format!("collection: searched, {PATIENT}"));
        table.establish().await.unwrap();
        let locked = Locked::table(postgres, "searched").await;
        let points = [point("a", 0, &json!({}), 1)];
        let search = table.nearest(Nearest { vector: &points[0].vector, filter: None, limit: 1 });
        let both = async {
            locked.waited_for_by(2).await;
            drop(locked);
        };
        let (found, written, ()) = tokio::join!(search, table.upsert(&points), both);
        assert!(found.unwrap().len() <= 1);
        written.unwrap();
    });
}

#[test]
fn a_search_ends_in_the_server_too_when_nobody_waits_for_it_any_longer() {
    let Some(postgres) = server() else { return };
    block_on(async {
        let table = table(&postgres.url, &format!("collection: left_alone, {PATIENT}"));
        table.establish().await.unwrap();
        let locked = Locked::table(postgres, "left_alone").await;
        let vector = vector(1, DIMENSIONS);
        let search = || table.nearest(Nearest { vector: &vector, filter: None, limit: 1 });
        tokio::select! {
            found = search() => panic!("{found:?}"),
            () = locked.waited_for_by(1) => {}
        }
        locked.waited_for_by(0).await;
        drop(locked);
        assert_eq!(search().await, Ok(vec![]), "its place among the connections is free again");
    });
}

#[test]
fn a_vector_of_more_numbers_than_a_graph_takes_is_indexed_in_half_precision() {
    let Some(postgres) = server() else { return };
    block_on(async {
        for dimensions in [2_000, 2_001, 3_072, 4_001] {
            let collection = postgres.collection(&format!("wide_{dimensions}"), dimensions, Metric::Cosine);
            assert_eq!(collection.establish().await, Ok(Established::Created));
            assert_eq!(collection.establish().await, Ok(Established::Existing { points: 0 }));
            let mut point = point("a", 0, &json!({}), 1);
            point.vector = vector(1, dimensions);
            collection.upsert(std::slice::from_ref(&point)).await.unwrap();
            assert_same(collection.fetch(&[point.id]).await.unwrap(), &[&point]);
            let nearest = Nearest { vector: &point.vector, filter: None, limit: 3 };
            assert_eq!(collection.nearest(nearest).await.unwrap().len(), 1);
        }
    });
}

#[test]
fn killed_again_and_again_it_ends_in_step_and_pays_again_only_for_what_was_on_its_way() {
    let Some(mut server) = Server::start("pgvector.sh") else { return };
    let backend = Postgres::at(&server.address);
    let section =
        |name: &str| format!("{{ type: pgvector, url: '{}', password: secret, collection: {name} }}", backend.url);
    killed::it_ends_in_step_and_pays_again_only_for_what_was_on_its_way(&backend, section, &mut server, 5);
}

#[test]
fn a_server_that_was_killed_has_all_that_it_answered() {
    let Some(mut server) = Server::start("pgvector.sh") else { return };
    let backend = Postgres::at(&server.address);
    killed::a_server_that_was_killed_has_all_that_it_answered(&backend, &mut server);
}
