//! Columns of tenants that name where a secret is in place of the secret itself: for the worker, which
//! looks whether it is there. What may be shown of them is the business of `keys`.

use super::sql;
use crate::error::Result;
use crate::exchange::Secret;

/// A column of a tenant that names a source.
pub struct Named {
    pub tenant_id: i32,
    pub column: String,
    pub value: Secret,
}

/// Of the tenants at home here: those behind an id, by their ids, so many at least as there are, and of the
/// last tenant all. A former secret is one only while it counts.
pub fn named_after(tenant_id: i32, at_least: i64) -> Result<Vec<Named>> {
    sql::query(
        "SELECT t.id, c.name, c.value FROM whaply.tenants t \
          CROSS JOIN LATERAL (VALUES \
                ('evo_api_key', t.evo_api_key::text), \
                ('llm_api_key', t.llm_api_key), \
                ('webhook_secret', t.webhook_secret), \
                ('webhook_secret_before', CASE WHEN t.webhook_secret IS NOT NULL \
                      AND t.webhook_secret_changed_at > now() - interval '24 hours' THEN t.webhook_secret_before END), \
                ('webhook_jwt_key', t.webhook_jwt_key)) AS c (name, value) \
          WHERE t.id > $1 AND t.home = whaply.home_id() AND btrim(c.value) ~ '^(env|file|vault):' \
          ORDER BY t.id FETCH FIRST $2 ROWS WITH TIES",
        &[tenant_id.into(), at_least.into()],
        |row| {
            Ok(Named {
                tenant_id: row.get(1)?,
                column: row.get(2)?,
                value: Secret::new(row.get::<String>(3)?),
            })
        },
    )
}
