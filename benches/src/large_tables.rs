//! Fills a database with what months of a busy house leave behind, by large_tables.sql. It measures nothing.

use anyhow::{Context, Result};
use support::Database;

const FILL: &str = include_str!("../large_tables.sql");

/// Hint bits and statistics, which a house of that age has; not inside a transaction.
const VACUUMED: [&str; 6] =
    ["tenants", "sessions", "messages", "processed_events", "replies", "deliveries"];

/// The memory of a server that has run for months holds the indexes.
const READ_INDEXES: &str = "
    CREATE EXTENSION IF NOT EXISTS pg_prewarm;
    SELECT pg_prewarm(i.indexrelid)
      FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
     WHERE c.relnamespace = 'whaply'::regnamespace";

/// `scale`: 1 for the sizes that large_tables.sql names.
pub fn fill(database: &Database, scale: &str) -> Result<()> {
    let mut client = database.connect();
    client.batch_execute(&format!("SET large_tables.scale = '{scale}'"))?;
    client.batch_execute(FILL).context("large_tables.sql")?;
    for table in VACUUMED {
        client.batch_execute(&format!("VACUUM (ANALYZE) whaply.{table}"))?;
    }
    client.batch_execute(READ_INDEXES).context("the indexes cannot be read into memory")
}
