//! Table `findings`: what the reply worker meets and no other table tells, for view `health`. Only the
//! worker writes it; it decides nothing.

use super::sql;
use crate::error::Result;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A row that PostgreSQL does not let the worker change.
    Refused,
    /// A column whose source cannot be read.
    Secret,
}

impl Subject {
    /// As it stands in `findings.subject`.
    fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Secret => "secret",
        }
    }
}

/// One of a tenant. `object` tells it from the others of its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub tenant_id: i32,
    pub object: String,
    pub problem: String,
}

/// Makes the table say of a subject what was found now, and nothing else. Nobody's lock on a tenant is
/// waited for: what could not be written makes this false, and so does a table that is not there yet,
/// above the tables of the release before.
pub fn replace(subject: Subject, found: &[Finding]) -> Result<bool> {
    if !exist()? {
        return Ok(false);
    }
    let unwritten = sql::query_one(
        "WITH found AS MATERIALIZED ( \
             SELECT * FROM unnest($2::integer[], $3::text[], $4::text[]) AS n (tenant_id, object, problem)), \
         over AS ( \
             DELETE FROM whaply.findings WHERE (tenant_id, subject, object) IN ( \
                    SELECT f.tenant_id, f.subject, f.object FROM whaply.findings f \
                     WHERE f.subject = $1 AND NOT EXISTS ( \
                           SELECT FROM found n WHERE n.tenant_id = f.tenant_id AND n.object = f.object) \
                       FOR UPDATE SKIP LOCKED)), \
         free AS MATERIALIZED ( \
             SELECT t.id FROM whaply.tenants t WHERE t.id IN (SELECT n.tenant_id FROM found n) \
              ORDER BY t.id FOR KEY SHARE SKIP LOCKED), \
         written AS ( \
             INSERT INTO whaply.findings AS f (tenant_id, subject, object, problem) \
             SELECT n.tenant_id, $1, n.object, n.problem FROM found n WHERE n.tenant_id IN (SELECT id FROM free) \
              ORDER BY n.tenant_id, n.object \
             ON CONFLICT (tenant_id, subject, object) DO UPDATE SET problem = excluded.problem \
              WHERE f.problem <> excluded.problem) \
         SELECT count(*) FROM found n JOIN whaply.tenants t ON t.id = n.tenant_id \
          WHERE t.id NOT IN (SELECT id FROM free)",
        &[
            subject.as_str().into(),
            sql::array(found.iter().map(|one| one.tenant_id)),
            sql::array(found.iter().map(|one| one.object.clone())),
            sql::array(found.iter().map(|one| one.problem.clone())),
        ],
        |row| row.get::<i64>(1),
    )?;
    Ok(unwritten == Some(0))
}

fn exist() -> Result<bool> {
    let exist = "SELECT pg_catalog.to_regclass('whaply.findings') IS NOT NULL";
    Ok(sql::query_one(exist, &[], |row| row.get(1))?.unwrap_or(false))
}
