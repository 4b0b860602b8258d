//! Connections: opened when they are needed, kept while they work, and dropped with the first error that is not the server's answer, or
//! with a statement that nobody waits for any longer.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::types::ToSql;
use tokio_postgres::{CancelToken, Client, Config, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::index::external::authorities;
use crate::index::external::collection::CollectionError;
use crate::settings::Secret;
use crate::settings::pgvector::PgvectorSettings;

/// So many candidates a search in the graph looks at before filters; then it goes on in order, where the server can. The graph's own
/// default, 40, would answer no more than 40 rows.
const CANDIDATES: u32 = 200;

/// How much longer than the server the client waits.
const LENIENCE: Duration = Duration::from_secs(1);

/// What stands for `$1`, `$2` in a statement.
pub(super) type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// See the module.
pub(super) struct Sessions {
    config: Config,
    tls: MakeRustlsConnect,
    timeout: Duration,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Client>>,
}

/// The parser's own error may show a part of the address.
fn wrong_address(url: &str) -> &'static str {
    match url.split_once('?') {
        Some((address, query)) if Config::from_str(address).is_ok() => {
            if query.contains("sslmode=verify-") {
                "index.url: write `sslmode=require`; certificates are verified with it too"
            } else {
                "index.url: what stands behind the `?` is no parameter of a connection, or has a value that is not known"
            }
        }
        _ => "index.url: is no address of a database; write it like `postgres://user@localhost:5432/products`",
    }
}

impl Sessions {
    pub(super) fn new(settings: &PgvectorSettings) -> Result<Self, String> {
        let mut config = Config::from_str(&settings.url).map_err(|_| wrong_address(&settings.url).to_owned())?;
        if config.get_hosts().is_empty() {
            return Err("index.url: names no host; write it like `postgres://user@localhost:5432/products`".to_owned());
        }
        if config.get_password().is_some() {
            return Err("index.url: holds a password; put it into `index.password` instead".to_owned());
        }
        let password = Secret::given("index.password", settings.password.as_ref(), settings.password_file.as_deref())?;
        if let Some(password) = password {
            config.password(password.reveal());
        }
        let encrypted = config.get_ssl_mode() != SslMode::Disable;
        authorities::not_in_vain(settings.ca_file.as_deref(), encrypted, "`sslmode` in `index.url`")?;
        if settings.ca_file.is_some() {
            // `prefer`, the default, would go on in plain text with whoever says that he has no TLS.
            config.ssl_mode(SslMode::Require);
        }
        let timeout = settings.timeout.as_duration();
        config.connect_timeout(timeout).application_name("vectide");
        Ok(Self {
            config,
            tls: MakeRustlsConnect::new(tls(settings)?),
            timeout,
            permits: Arc::new(Semaphore::new(settings.concurrency)),
            idle: Mutex::default(),
        })
    }

    /// `host:port/database`.
    pub(super) fn address(&self) -> String {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(folder)) => folder.display().to_string(),
            None => String::new(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        format!("{host}:{port}/{}", self.config.get_dbname().or(self.config.get_user()).unwrap_or_default())
    }

    /// How long a statement may take, and a connection to open.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// A connection that nobody else uses meanwhile.
    pub(super) async fn session(&self) -> Result<Session<'_>, CollectionError> {
        let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        let idle = self.idle.lock().pop().filter(|client| !client.is_closed());
        let client = match idle {
            Some(client) => client,
            None => timely("the attempt to connect", self.timeout, self.connect()).await??,
        };
        Ok(Session { sessions: self, cancel: client.cancel_token(), client: Some(client), permit: Some(permit) })
    }

    async fn connect(&self) -> Result<Client, CollectionError> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        tokio::spawn(async move {
            // Whoever uses the connection is told.
            let _ = connection.await;
        });
        client.batch_execute(&format!("SET statement_timeout = {}", self.timeout.as_millis())).await?;
        for setting in
            [format!("SET hnsw.ef_search = {CANDIDATES}"), "SET hnsw.iterative_scan = strict_order".to_owned()]
        {
            match client.batch_execute(&setting).await {
                // An older pgvector does not know the second one.
                Err(error) if error.as_db_error().is_some() => {}
                done => done?,
            }
        }
        Ok(client)
    }
}

/// A connection in use. It goes back when it is dropped between two statements; a statement that was given up takes it along, and the
/// server is told to end it.
pub(super) struct Session<'a> {
    sessions: &'a Sessions,
    /// Not while a statement is under way.
    client: Option<Client>,
    cancel: CancelToken,
    permit: Option<OwnedSemaphorePermit>,
}

impl Session<'_> {
    /// Runs a statement; answers how many rows it touched.
    pub(super) async fn execute(&mut self, sql: &str, parameters: Parameters<'_>) -> Result<u64, CollectionError> {
        let client = self.take()?;
        let done = self.wait(sql, client.execute(sql, parameters)).await?;
        self.client = Some(client);
        Ok(done?)
    }

    /// Runs statements in one transaction.
    pub(super) async fn execute_together(&mut self, statements: &[String]) -> Result<(), CollectionError> {
        let client = self.take()?;
        let sql = statements.join(";\n");
        let done = self.wait(&sql, client.batch_execute(&sql)).await?;
        self.client = Some(client);
        Ok(done?)
    }

    /// Runs a statement; answers its rows.
    pub(super) async fn query(&mut self, sql: &str, parameters: Parameters<'_>) -> Result<Vec<Row>, CollectionError> {
        let client = self.take()?;
        let done = self.wait(sql, client.query(sql, parameters)).await?;
        self.client = Some(client);
        Ok(done?)
    }

    /// As [`Session::query`], in a transaction in which this setting holds.
    pub(super) async fn query_with(
        &mut self,
        setting: &str,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, CollectionError> {
        let mut client = self.take()?;
        let rows = async {
            let transaction = client.transaction().await?;
            transaction.batch_execute(&format!("SET LOCAL {setting}")).await?;
            let rows = transaction.query(sql, parameters).await?;
            transaction.commit().await?;
            Ok::<_, tokio_postgres::Error>(rows)
        };
        let done = self.wait(sql, rows).await?;
        self.client = Some(client);
        Ok(done?)
    }

    /// The server would go on with it, and keep the connection for that long.
    fn end_statement(&mut self) {
        let (cancel, tls, timeout) = (self.cancel.clone(), self.sessions.tls.clone(), self.sessions.timeout);
        let permit = self.permit.take();
        // Where there is none, it is ending, and the connection with it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                // A server that cannot be told ends it by itself, at its `statement_timeout`.
                let _ = tokio::time::timeout(timeout, cancel.cancel_query(tls)).await;
                drop(permit);
            });
        }
    }

    fn take(&mut self) -> Result<Client, CollectionError> {
        let given_up =
            || CollectionError::Unavailable { reason: "the connection was given up".to_owned(), after: None };
        self.client.take().ok_or_else(given_up)
    }

    /// The server gives up a statement that takes too long; a server that does not answer is given up a little later.
    async fn wait<T>(&self, sql: &str, statement: impl Future<Output = T>) -> Result<T, CollectionError> {
        let call = sql.split_whitespace().next().unwrap_or(sql);
        timely(call, self.sessions.timeout + LENIENCE, statement).await
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        match self.client.take() {
            Some(client) if client.is_closed() => {}
            Some(client) => self.sessions.idle.lock().push(client),
            None => self.end_statement(),
        }
    }
}

async fn timely<T>(call: &str, timeout: Duration, work: impl Future<Output = T>) -> Result<T, CollectionError> {
    tokio::time::timeout(timeout, work).await.map_err(|_| CollectionError::Unavailable {
        reason: format!("no answer to {call} in {timeout:?} (`index.timeout`)"),
        after: None,
    })
}

fn tls(settings: &PgvectorSettings) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| format!("TLS cannot be used: {error}"))?;
    let Some(file) = &settings.ca_file else {
        let builder = builder.with_platform_verifier().map_err(|error| format!("TLS cannot be used: {error}"))?;
        return Ok(builder.with_no_client_auth());
    };
    Ok(builder.with_root_certificates(authorities::read(file)?).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_an_address_is_told_without_it() {
        for (url, words) in [
            ("postgres://u:secret@h/d?sslmode=verify-full", "write `sslmode=require`"),
            ("postgres://u:secret@h/d?pgbouncer=true", "behind the `?`"),
            ("postgres//u:secret@h/d?pgbouncer=true", "no address"),
            ("nonsense", "no address"),
        ] {
            let told = wrong_address(url);
            assert!(Config::from_str(url).is_err() && told.contains(words), "{url}: {told}");
        }
    }
}
