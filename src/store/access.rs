//! Table `access`: which tenants a role sees, and for what. The one place that decides it: policies, views
//! and functions all ask here. It grants nothing; that is `whaply.grant_access`.

use std::ffi::CStr;

use pgrx::pg_sys;
use serde_json::Value;

use super::acting_role::{self, Acting};
use super::sql::{self, array};
use super::tenants;
use crate::error::{Error, Result};

/// Stands for the tenants that are yet to come, and for what belongs to none: only who sees all sees it.
const OF_NO_TENANT: i32 = 0;

/// What a caller wants to do with a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Ingest,
    Operator,
    Admin,
}

impl Level {
    pub fn from_text(text: &str) -> Result<Self> {
        match text {
            "ingest" => Ok(Self::Ingest),
            "operator" => Ok(Self::Operator),
            "admin" => Ok(Self::Admin),
            _ => Err(Error::InvalidArgument {
                argument: "level",
                reason: format!("there is no level \"{text}\""),
                hint: "Give 'ingest', 'operator' or 'admin'.",
            }),
        }
    }

    /// The levels that allow it.
    fn granted_by(self) -> Vec<&'static str> {
        match self {
            Self::Ingest => vec!["ingest", "admin"],
            Self::Operator => vec!["operator", "admin"],
            Self::Admin => vec!["admin"],
        }
    }
}

/// The role that called a function.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    role: pg_sys::Oid,
}

/// Which tenants.
#[derive(Debug, Default)]
struct Sight {
    all: bool,
    ids: Vec<i32>,
    /// By instance, as a claim names them.
    instances: Vec<String>,
}

impl Caller {
    pub fn new(role: pg_sys::Oid) -> Self {
        Self { role }
    }

    /// Whether row-level security holds this role back nowhere, so that no list need be read.
    pub fn is_free(&self) -> bool {
        // SAFETY: looks into the catalog cache, in a transaction.
        let is_privileged = unsafe {
            pg_sys::superuser_arg(self.role) || pg_sys::has_bypassrls_privilege(self.role)
        };
        is_privileged
            || acting_role::worker_role() == Some(self.role)
            // Nothing is granted by tenant there: PostgreSQL's own privileges decide, as they did.
            || acting_role::acting() == Acting::OlderTables
    }

    /// Whether this caller may do this with this tenant.
    pub fn sees(&self, level: Level, tenant_id: i32) -> Result<bool> {
        if self.is_free() {
            return Ok(true);
        }
        let sight = self.sight(level)?;
        Ok(sight.all || sight.listed()?.contains(&tenant_id))
    }

    /// Whether this caller may do this with the tenant of an instance, if there is one. Who sees all is told
    /// so without a look for it.
    pub fn sees_instance(&self, level: Level, instance: &str) -> Result<bool> {
        if self.is_free() {
            return Ok(true);
        }
        let sight = self.sight(level)?;
        if sight.all {
            return Ok(true);
        }
        let tenant_id = tenants::id_of(instance)?;
        let listed = sight.listed()?;
        Ok(tenant_id.is_some_and(|id| listed.contains(&id)))
    }

    /// The ids of all tenants that this caller may do this with; of one who sees all, 0 too.
    pub fn seen(&self, level: Level) -> Result<Vec<i32>> {
        if !self.is_free() {
            let sight = self.sight(level)?;
            if !sight.all {
                return sight.listed();
            }
        }
        let mut ids: Vec<i32> = sql::query("SELECT id FROM whaply.tenants", &[], |row| row.get(1))?;
        ids.push(OF_NO_TENANT);
        Ok(ids)
    }

    /// What was granted to this role or one whose rights it has. A claim counts for the very role it was
    /// granted to: whoever only inherits from it may be one that sets the claim itself, and so may it be
    /// once it can log in.
    fn sight(&self, level: Level) -> Result<Sight> {
        let rows = sql::query(
            "SELECT a.tenant_id, a.claim FROM whaply.access a \
               JOIN pg_catalog.pg_roles r ON r.rolname = a.role_name \
              WHERE a.level = ANY ($2) \
                AND CASE WHEN a.claim IS NULL THEN pg_catalog.pg_has_role($1, r.oid, 'USAGE') \
                         ELSE r.oid = $1 AND NOT r.rolcanlogin END \
             UNION ALL \
             SELECT NULL, NULL FROM pg_catalog.pg_class c \
              WHERE c.oid = 'whaply.tenants'::pg_catalog.regclass AND pg_catalog.pg_has_role($1, c.relowner, 'USAGE')",
            &[self.role.into(), array(level.granted_by().into_iter().map(str::to_owned))],
            |row| Ok((row.find::<i32>(1)?, row.find::<String>(2)?)),
        )?;
        let mut sight = Sight::default();
        for row in rows {
            match row {
                (Some(id), _) => sight.ids.push(id),
                (None, Some(claim)) => sight.instances.extend(claimed(&claim)),
                (None, None) => sight.all = true,
            }
        }
        Ok(sight)
    }
}

impl Sight {
    /// The ids of the tenants that are listed one by one.
    fn listed(self) -> Result<Vec<i32>> {
        let mut ids = self.ids;
        if !self.instances.is_empty() {
            ids.extend(sql::query::<i32>(
                "SELECT id FROM whaply.tenants WHERE instance_name = ANY ($1)",
                &[self.instances.into()],
                |row| row.get(1),
            )?);
        }
        Ok(ids)
    }
}

/// The instances that a claim of the request names: one, or several.
fn claimed(claim: &str) -> Vec<String> {
    // SAFETY: the name is NUL-terminated; the returned text lives until the setting changes and is
    // copied at once.
    let claims = unsafe {
        let value = pg_sys::GetConfigOption(c"request.jwt.claims".as_ptr(), true, false);
        if value.is_null() {
            return Vec::new();
        }
        CStr::from_ptr(value).to_string_lossy().into_owned()
    };
    // What is no JSON claims nothing.
    let claims: Value = serde_json::from_str(&claims).unwrap_or_default();
    let value = claim.split('.').try_fold(&claims, |value, name| value.get(name));
    match value {
        Some(Value::String(instance)) => vec![instance.clone()],
        Some(Value::Array(all)) => {
            all.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}
