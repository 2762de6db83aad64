//! What the end-to-end tests stand on: a throw-away PostgreSQL server, and fakes of all that whaply
//! talks to. It never depends on whaply: everything here is outside the server, as in the field.

pub mod backlog;
pub mod cluster;
mod cluster_options;
pub mod copies;
pub mod database;
mod dumps;
pub mod every_row;
pub mod evolution;
pub mod gate;
mod guard;
pub mod http;
pub mod interleaving;
pub mod listener;
pub mod llama;
pub mod llm;
pub mod payload;
pub mod person;
pub mod ports;
pub mod prometheus;
pub mod proxy;
pub mod relay;
pub mod rows;
pub mod say;
pub mod scene;
pub mod secrets;
mod server_user;
mod siblings;
pub mod tls;
pub mod wait;
pub mod worker;
pub mod writers;

pub use cluster::{Cluster, ClusterOptions, StopMode, shared_cluster};
pub use database::Database;
pub use evolution::{
    Echo, EvolutionOptions, FakeEvolution, Instance, Said, SendBehaviour, SendCall, SentText,
    Webhook, WebhookAttempt,
};
pub use gate::Gate;
pub use interleaving::{HeldStep, OpenTransaction, WaitingCall, ingest};
pub use llama::Llama;
pub use llm::{FakeLlm, LlmBehaviour, LlmOptions, LlmRequest};
pub use person::Person;
pub use relay::{Relay, RelayOptions};
pub use rows::PATIENCE;
pub use scene::{ModelServer, Scene, SceneOptions};
pub use wait::wait_until;
