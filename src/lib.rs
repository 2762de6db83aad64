//! whaply: the whole backend of a WhatsApp AI assistant, inside PostgreSQL. The way of a message:
//! `webhook` reads it, `intake` stores it and asks `conversation` what it means, `worker` lets a
//! model (`llm`) answer and sends the answer through `evolution`.

mod api;
mod conversation;
mod credentials;
mod error;
mod evolution;
mod exchange;
mod front_door;
mod intake;
mod llm;
mod net;
mod process;
mod refusals;
mod schema;
mod secrets;
mod server_log;
mod settings;
mod store;
mod tallies;
mod text;
mod version;
mod webhook;
mod worker;

use pgrx::prelude::*;

pg_module_magic!(name, version);

/// Called when the library is loaded: by the server at its start where it is preloaded, by a
/// session otherwise.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::register();
    worker::at_preload();
    api::watch_database_commands();
}

/// What `cargo pgrx test` needs to know about the server it starts.
#[cfg(test)]
pub mod pg_test {
    pub fn setup(_options: Vec<&str>) {}

    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec!["shared_preload_libraries = 'whaply'"]
    }
}
