//! The stand-in for PostgREST, one of whaply's front doors: an HTTP POST becomes one call of
//! `whaply.webhook`, and an SQLSTATE becomes the status PostgREST makes of it. It holds no state.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod};
use serde_json::{Value, json};
use tokio_postgres::NoTls;

use crate::database::Database;
use crate::http::{Answer, HttpServer, Request};

#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// The function that takes the raw body as its one unnamed argument of type json.
    pub function: String,
    /// PostgREST's anonymous role; None: whoever connects, which is a superuser.
    pub role: Option<String>,
    /// How many webhooks are in the database at once.
    pub connections: usize,
    /// Port 0 is any free one.
    pub listen: SocketAddr,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            function: "whaply.webhook".to_owned(),
            role: None,
            connections: 8,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        }
    }
}

pub struct Relay {
    server: HttpServer,
}

struct RelayState {
    pool: Pool,
    options: RelayOptions,
}

impl Relay {
    pub fn start(database: &Database) -> Self {
        Self::start_with(database, RelayOptions::default())
    }

    /// A connection that the server has closed is replaced when it is next needed.
    pub fn start_with(database: &Database, options: RelayOptions) -> Self {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(database.config(), NoTls, recycling);
        let pool = Pool::builder(manager)
            .max_size(options.connections)
            .build()
            .expect("a pool without time limits needs nothing to be built");
        let listen = options.listen;
        let state = Arc::new(RelayState { pool, options });
        let server =
            HttpServer::start_on(listen, move |request| answer(Arc::clone(&state), request));
        Self { server }
    }

    /// What goes into Evolution's webhook settings.
    pub fn url(&self) -> String {
        format!("{}/rpc/webhook", self.server.url())
    }
}

async fn answer(relay: Arc<RelayState>, request: Request) -> Answer {
    if request.method != "POST" || !matches!(request.path.as_str(), "/" | "/rpc/webhook") {
        return failure(404, "PGRST202", "Could not find the function in the schema cache");
    }
    match relay.call(&request).await {
        Ok(body) => Answer::text(200, "application/json; charset=utf-8", body),
        Err(PoolError::Backend(error)) => answer_of_error(&error),
        Err(error) => failure(503, "PGRST000", &described(&error)),
    }
}

impl RelayState {
    /// The function's answer, committed.
    async fn call(&self, request: &Request) -> Result<String, PoolError> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        let headers = json!(request.headers).to_string();
        let settings = "SELECT set_config('request.headers', $1, true), \
                        set_config('request.method', $2, true), \
                        set_config('request.path', $3, true)";
        transaction.query(settings, &[&headers, &request.method, &request.path]).await?;
        if let Some(role) = &self.options.role {
            transaction.query("SELECT set_config('role', $1, true)", &[role]).await?;
        }
        let body = String::from_utf8_lossy(&request.body);
        let call = format!("SELECT {}($1::text::json)::text", self.options.function);
        let row = transaction.query_one(&call, &[&body.as_ref()]).await?;
        let answer: Option<String> = row.get(0);
        transaction.commit().await?;
        Ok(answer.unwrap_or_else(|| "null".to_owned()))
    }
}

fn answer_of_error(error: &tokio_postgres::Error) -> Answer {
    let Some(error) = error.as_db_error() else {
        return failure(503, "PGRST001", &described(error));
    };
    let code = error.code().code();
    let body = json!({
        "code": code,
        "message": error.message(),
        "details": error.detail(),
        "hint": error.hint(),
    });
    Answer::json(status_of(code), &body)
}

fn failure(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({ "code": code, "message": message, "details": null, "hint": Value::Null });
    Answer::json(status, &body)
}

/// PostgREST 14, "Errors from PostgreSQL", for a caller without a JWT; the first match wins.
fn status_of(code: &str) -> u16 {
    const STATUSES: [(&str, u16); 28] = [
        ("08", 503),
        ("09", 500),
        ("0L", 403),
        ("0P", 403),
        ("23503", 409),
        ("23505", 409),
        ("25006", 405),
        ("21000", 500),
        ("25", 500),
        ("28", 403),
        ("2D", 500),
        ("38", 500),
        ("39", 500),
        ("3B", 500),
        ("40", 500),
        ("42883", 404),
        ("42P01", 404),
        ("42P17", 500),
        ("42501", 401),
        ("53400", 500),
        ("53", 503),
        ("57P01", 503),
        // 54, 55, 57 and 58.
        ("5", 500),
        ("F0", 500),
        ("HV", 500),
        ("P0001", 400),
        ("P0", 500),
        ("XX", 500),
    ];
    if let Some(status) = code.strip_prefix("PT") {
        return status.parse().unwrap_or(500);
    }
    let found = STATUSES.iter().find(|(prefix, _)| code.starts_with(prefix));
    found.map_or(400, |(_, status)| *status)
}

/// The error with its causes: the outermost text alone says little.
fn described(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
