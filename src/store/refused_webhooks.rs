//! Table `refused_webhooks`: sums of the posts that were turned away, one row for a tenant and a
//! reason. Never written by whoever is refused.

use super::sql;
use crate::error::Result;
use crate::refusals::Refused;
use crate::server_log;

/// Adds what was counted since the last time; the tenants whose rows somebody holds, which are not
/// waited for: nothing of theirs is written. A sum begins anew after a day without refusals. What
/// was counted for a tenant that is gone is dropped.
pub fn add(refused: &[Refused]) -> Result<Vec<i32>> {
    let column = |read: fn(&Refused) -> i64| refused.iter().map(read).collect::<Vec<i64>>();
    let reasons: Vec<String> = refused.iter().map(|one| one.reason.as_str().to_owned()).collect();
    let told = sql::query(
        "WITH counted AS ( \
             SELECT nullif(c.tenant_id, 0)::integer AS tenant_id, c.reason, c.refused, \
                    to_timestamp(c.last_at / 1e6) AS last_at \
               FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[]) AS c (tenant_id, reason, refused, last_at)), \
         free AS ( \
             SELECT t.id FROM whaply.tenants t WHERE t.id IN (SELECT tenant_id FROM counted) \
              ORDER BY t.id FOR KEY SHARE SKIP LOCKED), \
         added AS ( \
             INSERT INTO whaply.refused_webhooks AS r (tenant_id, reason, refused, first_at, last_at) \
             SELECT c.tenant_id, c.reason, sum(c.refused), max(c.last_at), max(c.last_at) FROM counted c \
              WHERE c.tenant_id IS NULL OR c.tenant_id IN (SELECT id FROM free) \
              GROUP BY c.tenant_id, c.reason ORDER BY c.tenant_id, c.reason \
             ON CONFLICT (coalesce(tenant_id, 0), reason) DO UPDATE \
                SET refused = CASE WHEN r.last_at < excluded.last_at - interval '1 day' THEN 0 ELSE r.refused END \
                              + excluded.refused, \
                    first_at = CASE WHEN r.last_at < excluded.last_at - interval '1 day' THEN excluded.first_at \
                               ELSE r.first_at END, \
                    last_at = greatest(r.last_at, excluded.last_at) \
             RETURNING r.tenant_id, r.reason, r.first_at = r.last_at AS begins) \
         SELECT t.id, NULL, NULL FROM whaply.tenants t \
          WHERE t.id IN (SELECT tenant_id FROM counted) AND t.id NOT IN (SELECT id FROM free) \
          UNION ALL \
         SELECT a.tenant_id, t.instance_name::text, a.reason \
           FROM added a LEFT JOIN whaply.tenants t ON t.id = a.tenant_id WHERE a.begins",
        &[
            column(|one| one.tenant_id.map_or(0, i64::from)).into(),
            reasons.into(),
            column(|one| i64::from(one.count)).into(),
            column(|one| one.last_at.timestamp_micros()).into(),
        ],
        |row| Ok((row.find::<i32>(1)?, row.find::<String>(2)?, row.find::<String>(3)?)),
    )?;
    let mut held = Vec::new();
    for (tenant_id, instance_name, reason) in told {
        match (tenant_id, instance_name, reason) {
            (Some(tenant_id), Some(instance_name), Some(reason)) => {
                server_log::tenant_changed(tenant_id, &instance_name, &refused_now(&reason));
            }
            (Some(tenant_id), ..) => held.push(tenant_id),
            (None, _, reason) => {
                let reason = refused_now(&reason.unwrap_or_default());
                server_log::changed(&format!("an unknown instance: {reason}"));
            }
        }
    }
    Ok(held)
}

fn refused_now(reason: &str) -> String {
    format!("webhooks: refused: {reason}; whaply.health tells how many")
}

/// Deletes the rows without a refusal for this many days, but for those that somebody holds.
pub fn delete_older_than(days: i32) -> Result<usize> {
    sql::execute(
        "DELETE FROM whaply.refused_webhooks \
          WHERE id IN (SELECT id FROM whaply.refused_webhooks \
                        WHERE last_at < now() - make_interval(days => $1) FOR UPDATE SKIP LOCKED)",
        &[days.into()],
    )
}
