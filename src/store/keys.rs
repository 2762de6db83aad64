//! What of a tenant's keys and codes may be shown: that a key is set, or where it comes from; and the codes
//! that link a number, to whom it is their work. Keys themselves are read in `tenants`, for the worker.

use super::sql;
use crate::error::Result;

/// A tenant's keys as everybody may see them: None (not set), `***`, or the source that a value names
/// (`env:…`, `file:…`, `vault:…`). URLs without the password that one may hold.
pub struct Masked {
    pub tenant_id: i32,
    pub evo_server_url: Option<String>,
    pub evo_api_key: Option<String>,
    pub llm_base_url: Option<String>,
    pub llm_api_key: Option<String>,
    pub webhook_secret: Option<String>,
    pub webhook_secret_before: Option<String>,
    pub webhook_jwt_key: Option<String>,
}

/// A column that holds a key, or its source.
macro_rules! mask {
    ($column:literal) => {
        concat!(
            ", CASE WHEN ",
            $column,
            " ~ '^(env|file|vault):' THEN ",
            $column,
            "::text WHEN ",
            $column,
            " IS NOT NULL THEN '***' END"
        )
    };
}

/// A column that holds a URL. Some servers take their key in the query.
macro_rules! without_password {
    ($column:literal) => {
        concat!(
            ", regexp_replace(regexp_replace(",
            $column,
            ", '//[^/?#]*@', '//***@'), '([?&][^=&#]*=)[^&#]*', E'\\\\1***', 'g')"
        )
    };
}

/// The keys of these tenants.
pub fn masked(tenants: &[i32]) -> Result<Vec<Masked>> {
    sql::query(
        concat!(
            "SELECT id",
            without_password!("evo_server_url"),
            mask!("evo_api_key"),
            without_password!("llm_base_url"),
            mask!("llm_api_key"),
            mask!("webhook_secret"),
            mask!("webhook_secret_before"),
            mask!("webhook_jwt_key"),
            " FROM whaply.tenants WHERE id = ANY ($1) ORDER BY id"
        ),
        &[tenants.to_vec().into()],
        |row| {
            Ok(Masked {
                tenant_id: row.get(1)?,
                evo_server_url: row.find(2)?,
                evo_api_key: row.find(3)?,
                llm_base_url: row.find(4)?,
                llm_api_key: row.find(5)?,
                webhook_secret: row.find(6)?,
                webhook_secret_before: row.find(7)?,
                webhook_jwt_key: row.find(8)?,
            })
        },
    )
}

/// The codes of a request that wait to be scanned or typed.
pub struct Codes {
    pub request_id: i64,
    pub qr_code: Option<String>,
    pub pairing_code: Option<String>,
}

/// The codes of these tenants' requests.
pub fn codes(tenants: &[i32]) -> Result<Vec<Codes>> {
    sql::query(
        "SELECT id, qr_code, pairing_code FROM whaply.connect_requests \
          WHERE (qr_code IS NOT NULL OR pairing_code IS NOT NULL) AND tenant_id = ANY ($1)",
        &[tenants.to_vec().into()],
        |row| {
            Ok(Codes { request_id: row.get(1)?, qr_code: row.find(2)?, pairing_code: row.find(3)? })
        },
    )
}
