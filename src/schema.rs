//! The order of the extension's script: what is in `sql/`, and what each file needs before it.

use pgrx::prelude::*;

extension_sql_file!("../sql/refuse.sql", name = "refuse", bootstrap);
extension_sql_file!("../sql/tables.sql", name = "tables", requires = [api::home::home_id]);
extension_sql_file!("../sql/sources.sql", name = "sources", requires = ["tables"]);
extension_sql_file!("../sql/widen.sql", name = "widen", requires = ["tables"]);
extension_sql_file!("../sql/webhook.sql", name = "webhook", requires = [api::webhook::receive]);
extension_sql_file!(
    "../sql/views.sql",
    name = "views",
    requires = ["widen", api::instances::draw_qr, api::workers::worker_status]
);
extension_sql_file!("../sql/finish.sql", name = "finish", finalize);
