//! Table `connect_requests`: what `connect_instance` was asked for, and how far it is. Its QR code is
//! kept only while somebody may scan it: every way out of the open states takes it away.

use chrono::{DateTime, Duration, Utc};

use super::sql;
use crate::error::{Error, Result};
use crate::evolution::QrCode;
use crate::exchange::Secret;
use crate::server_log;

/// An open request, by when something is to be done about it.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    pub id: i64,
    pub tenant_id: i32,
    pub due_at: DateTime<Utc>,
}

/// A request as it was claimed, with what its tenant has.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub webhook_url: String,
    pub created_at: DateTime<Utc>,
    pub instance_name: String,
    pub evo_server_url: String,
    pub evo_api_key: Option<Secret>,
    pub webhook_secret: Option<Secret>,
    pub webhook_jwt_key: Option<Secret>,
}

/// Ends the open requests that a condition names, in the state $2 with the error $3.
macro_rules! finish {
    ($condition:literal) => {
        concat!(
            "UPDATE whaply.connect_requests \
                SET state = $2, error = $3, qr_code = NULL, pairing_code = NULL, qr_at = NULL, \
                    finished_at = clock_timestamp(), updated_at = clock_timestamp() \
              WHERE ",
            $condition,
            " RETURNING id, tenant_id, state, error, (SELECT t.instance_name::text FROM whaply.tenants t WHERE t.id = tenant_id)"
        )
    };
}

/// Runs a statement of [`finish!`]; the log tells of what has ended.
fn finish(statement: &'static str, args: &[sql::Arg<'_>]) -> Result<()> {
    let ended = sql::query(statement, args, |row| {
        let (id, tenant_id, state) =
            (row.get::<i64>(1)?, row.get::<i32>(2)?, row.get::<String>(3)?);
        Ok((id, tenant_id, state, row.find::<String>(4)?, row.get::<String>(5)?))
    })?;
    for (id, tenant_id, state, error, instance_name) in ended {
        let why = error.map(|error| format!(": {}", server_log::own_words(&error)));
        let what = format!("connect request {id}: {state}{}", why.unwrap_or_default());
        server_log::tenant_changed(tenant_id, &instance_name, &what);
    }
    Ok(())
}

/// Opens a request in the place of the open one. The caller has locked the tenant.
pub fn open(tenant_id: i32, webhook_url: &str) -> Result<i64> {
    finish(
        finish!("tenant_id = $1 AND state IN ('waiting', 'working', 'scan_qr')"),
        &[tenant_id.into(), "superseded".into(), None::<String>.into()],
    )?;
    let id = sql::query_one(
        "INSERT INTO whaply.connect_requests (tenant_id, webhook_url) VALUES ($1, $2) RETURNING id",
        &[tenant_id.into(), webhook_url.into()],
        |row| row.get(1),
    )?;
    id.ok_or_else(|| Error::Internal("INSERT INTO connect_requests returned no id".to_owned()))
}

/// Whether an earlier request of this tenant named this URL.
pub fn was_asked_for(tenant_id: i32, webhook_url: &str) -> Result<bool> {
    let found = sql::query_one(
        "SELECT true FROM whaply.connect_requests WHERE tenant_id = $1 AND webhook_url = $2 LIMIT 1",
        &[tenant_id.into(), webhook_url.into()],
        |row| row.get::<bool>(1),
    )?;
    Ok(found.is_some())
}

/// The open requests of tenants at home, at most `limit`, those due first.
pub fn open_ones(limit: i64) -> Result<Vec<Due>> {
    sql::query(
        "SELECT r.id, r.tenant_id, r.due_at FROM whaply.connect_requests r \
           JOIN whaply.tenants t ON t.id = r.tenant_id AND t.home = whaply.home_id() \
          WHERE r.state IN ('waiting', 'working', 'scan_qr') ORDER BY r.due_at, r.id LIMIT $1",
        &[limit.into()],
        |row| Ok(Due { id: row.get(1)?, tenant_id: row.get(2)?, due_at: row.time(3)? }),
    )
}

/// A new worker begins: nobody is at work on what is open, whenever it was to be looked at again.
pub fn all_due_now() -> Result<usize> {
    sql::execute(
        "UPDATE whaply.connect_requests r SET due_at = clock_timestamp() \
           FROM (SELECT o.id FROM whaply.connect_requests o \
                  WHERE o.state IN ('waiting', 'working', 'scan_qr') FOR NO KEY UPDATE SKIP LOCKED) AS free \
          WHERE r.id = free.id",
        &[],
    )
}

/// Begins to work on a request that is due, for `lease` at most. None: somebody holds it, or it is
/// not due or not open any more.
pub fn claim(id: i64, lease: Duration) -> Result<Option<Claimed>> {
    sql::query_one(
        "UPDATE whaply.connect_requests r \
            SET state = CASE r.state WHEN 'waiting' THEN 'working' ELSE r.state END, \
                claimed_at = clock_timestamp(), updated_at = clock_timestamp(), \
                due_at = clock_timestamp() + make_interval(secs => $2) \
           FROM (SELECT o.id FROM whaply.connect_requests o \
                  WHERE o.id = $1 AND o.state IN ('waiting', 'working', 'scan_qr') AND o.due_at <= clock_timestamp() \
                    FOR NO KEY UPDATE SKIP LOCKED) AS free, whaply.tenants t \
          WHERE r.id = free.id AND t.id = r.tenant_id \
         RETURNING r.webhook_url, r.created_at, t.instance_name::text, t.evo_server_url::text, t.evo_api_key::text, \
                   t.webhook_secret, t.webhook_jwt_key",
        &[id.into(), sql::seconds(lease).into()],
        |row| {
            Ok(Claimed {
                webhook_url: row.get(1)?,
                created_at: row.time(2)?,
                instance_name: row.get(3)?,
                evo_server_url: row.get(4)?,
                evo_api_key: row.find::<String>(5)?.map(Secret::new),
                webhook_secret: row.find::<String>(6)?.map(Secret::new),
                webhook_jwt_key: row.find::<String>(7)?.map(Secret::new),
            })
        },
    )
}

/// Whether a request is still open, and whether this transaction now holds its row.
pub fn try_lock(id: i64) -> Result<(bool, bool)> {
    const OPEN: &str = "SELECT id FROM whaply.connect_requests \
                         WHERE id = $1 AND state IN ('waiting', 'working', 'scan_qr')";
    const LOCK: &str = "SELECT id FROM whaply.connect_requests \
                         WHERE id = $1 AND state IN ('waiting', 'working', 'scan_qr') \
                           FOR NO KEY UPDATE SKIP LOCKED";
    let found = |statement| sql::query_one(statement, &[id.into()], |row| row.get::<i64>(1));
    Ok((found(OPEN)?.is_some(), found(LOCK)?.is_some()))
}

/// How many tries of a request have failed in a row.
pub fn failures(id: i64) -> Result<u32> {
    let failures = sql::query_one(
        "SELECT attempt FROM whaply.connect_requests WHERE id = $1",
        &[id.into()],
        |row| row.get::<i32>(1),
    )?;
    Ok(failures.unwrap_or_default().unsigned_abs())
}

/// Tries again after `wait`; what is to be scanned stays.
pub fn postpone(id: i64, error: &str, wait: Duration) -> Result<()> {
    sql::execute(
        "UPDATE whaply.connect_requests \
            SET state = CASE state WHEN 'working' THEN 'waiting' ELSE state END, attempt = attempt + 1, error = $2, \
                due_at = clock_timestamp() + make_interval(secs => $3), updated_at = clock_timestamp() \
          WHERE id = $1",
        &[id.into(), error.into(), sql::seconds(wait).into()],
    )?;
    Ok(())
}

/// The webhook is set, and a person must scan this. Where the webhook brought a newer code, or that
/// somebody has scanned one, since the claim, that counts. `fresh` is how long the code is believed;
/// `missed` is told where the code is another one than the webhook knows of.
pub fn scan(id: i64, qr: &QrCode, fresh: Duration, missed: &str) -> Result<()> {
    sql::execute(
        "UPDATE whaply.connect_requests \
            SET state = CASE WHEN opened_at > claimed_at THEN 'connected' ELSE 'scan_qr' END, attempt = 0, \
                error = CASE WHEN opened_at > claimed_at THEN NULL \
                             WHEN error = $5 OR (qr_at < claimed_at AND qr_code <> $2) THEN $5 END, \
                qr_code = CASE WHEN opened_at > claimed_at THEN NULL WHEN qr_at > claimed_at THEN qr_code ELSE $2 END, \
                pairing_code = CASE WHEN opened_at > claimed_at THEN NULL \
                                    WHEN qr_at > claimed_at THEN pairing_code ELSE $3 END, \
                qr_at = CASE WHEN opened_at > claimed_at THEN NULL \
                             WHEN qr_at > claimed_at THEN qr_at ELSE clock_timestamp() END, \
                finished_at = CASE WHEN opened_at > claimed_at THEN clock_timestamp() END, \
                due_at = clock_timestamp() + make_interval(secs => $4), updated_at = clock_timestamp() \
          WHERE id = $1",
        &[
            id.into(),
            qr.code.expose().into(),
            qr.pairing_code.as_ref().map(|code| code.expose().to_owned()).into(),
            sql::seconds(fresh).into(),
            missed.into(),
        ],
    )?;
    Ok(())
}

pub fn connected(id: i64) -> Result<()> {
    finish(finish!("id = $1"), &[id.into(), "connected".into(), None::<String>.into()])?;
    Ok(())
}

pub fn fail(id: i64, error: &str) -> Result<()> {
    finish(finish!("id = $1"), &[id.into(), "failed".into(), error.into()])?;
    Ok(())
}

/// The webhook tells that the line is open: what was to be scanned has been. A request that is still
/// under way is left to its worker, which has not seen the webhook's settings yet.
pub fn line_opened(tenant_id: i32) -> Result<()> {
    sql::execute(
        "UPDATE whaply.connect_requests \
            SET opened_at = clock_timestamp(), updated_at = clock_timestamp() \
          WHERE tenant_id = $1 AND state IN ('waiting', 'working', 'scan_qr')",
        &[tenant_id.into()],
    )?;
    finish(
        finish!("tenant_id = $1 AND state = 'scan_qr'"),
        &[tenant_id.into(), "connected".into(), None::<String>.into()],
    )?;
    Ok(())
}

/// The webhook tells that Evolution shows no more codes.
pub fn nobody_scanned(tenant_id: i32, error: &str) -> Result<()> {
    finish(
        finish!("tenant_id = $1 AND state = 'scan_qr'"),
        &[tenant_id.into(), "failed".into(), error.into()],
    )?;
    Ok(())
}

/// The webhook brings a code, which is believed for as long as `fresh`.
pub fn qr_came(tenant_id: i32, qr: &QrCode, fresh: Duration) -> Result<()> {
    sql::execute(
        "UPDATE whaply.connect_requests \
            SET qr_code = $2, pairing_code = $3, qr_at = clock_timestamp(), updated_at = clock_timestamp(), \
                error = CASE state WHEN 'scan_qr' THEN NULL ELSE error END, \
                due_at = CASE state WHEN 'scan_qr' THEN clock_timestamp() + make_interval(secs => $4) ELSE due_at END \
          WHERE tenant_id = $1 AND state IN ('waiting', 'working', 'scan_qr')",
        &[
            tenant_id.into(),
            qr.code.expose().into(),
            qr.pairing_code.as_ref().map(|code| code.expose().to_owned()).into(),
            sql::seconds(fresh).into(),
        ],
    )?;
    Ok(())
}

/// What the newest QR code of a tenant says.
pub fn qr_code(tenant_id: i32) -> Result<Option<Secret>> {
    let code = sql::query_one(
        "SELECT qr_code FROM whaply.connect_requests WHERE tenant_id = $1 ORDER BY id DESC LIMIT 1",
        &[tenant_id.into()],
        |row| row.find::<String>(1),
    )?;
    Ok(code.flatten().map(Secret::new))
}

/// The state of a tenant's newest request, and that of its line.
pub fn states(tenant_id: i32) -> Result<(Option<String>, Option<String>)> {
    let states = sql::query_one(
        "SELECT (SELECT r.state FROM whaply.connect_requests r WHERE r.tenant_id = t.id ORDER BY r.id DESC LIMIT 1), \
                t.connection_state \
           FROM whaply.tenants t WHERE t.id = $1",
        &[tenant_id.into()],
        |row| Ok((row.find(1)?, row.find(2)?)),
    )?;
    Ok(states.unwrap_or_default())
}

/// Locks a tenant against another request for it; its id, and whether this database is its home.
pub fn lock_tenant(instance: &str) -> Result<Option<(i32, bool)>> {
    sql::query_one(
        "SELECT id, home IS NOT DISTINCT FROM whaply.home_id() FROM whaply.tenants WHERE instance_name = $1 \
            FOR NO KEY UPDATE",
        &[instance.into()],
        |row| Ok((row.get(1)?, row.get(2)?)),
    )
}

/// Keeps the key of an instance, for a tenant that has none; a key that is there stays.
pub fn keep_token(tenant_id: i32, token: &Secret) -> Result<()> {
    sql::execute(
        "UPDATE whaply.tenants SET evo_api_key = $2, updated_at = clock_timestamp() \
          WHERE id = $1 AND evo_api_key IS NULL",
        &[tenant_id.into(), token.expose().into()],
    )?;
    Ok(())
}
