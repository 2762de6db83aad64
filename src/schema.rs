//! The order of the extension's script: what is in `sql/`, and what each file needs before it.

use pgrx::prelude::*;

extension_sql_file!("../sql/refuse.sql", name = "refuse", bootstrap);
extension_sql_file!("../sql/tables.sql", name = "tables", requires = [api::home::home_id]);
extension_sql_file!("../sql/rules.sql", name = "rules", requires = ["tables"]);
extension_sql_file!("../sql/sources.sql", name = "sources", requires = ["tables"]);
extension_sql_file!("../sql/widen.sql", name = "widen", requires = ["tables"]);
extension_sql_file!("../sql/webhook.sql", name = "webhook", requires = [api::webhook::receive]);
extension_sql_file!(
    "../sql/views.sql",
    name = "views",
    requires =
        ["widen", api::access::masked_keys, api::access::shown_codes, api::instances::draw_qr]
);
extension_sql_file!(
    "../sql/health.sql",
    name = "health",
    requires = [
        "widen",
        api::access::masked_keys,
        api::workers::server_status,
        api::workers::worker_status
    ]
);
extension_sql_file!("../sql/access.sql", name = "access", requires = ["tables"]);
extension_sql_file!(
    "../sql/worker_role.sql",
    name = "worker_role",
    requires = ["webhook", "access", "views", "health", "rules"]
);
extension_sql_file!(
    "../sql/rows.sql",
    name = "rows",
    requires = ["worker_role", "views", "health", api::access::seen_tenants]
);
extension_sql_file!("../sql/finish.sql", name = "finish", finalize);
