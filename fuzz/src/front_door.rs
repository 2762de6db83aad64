//! The threads' part of the HTTP listener, with its own files. The main thread is `checks::front_door`.

#[path = "../../src/front_door/address.rs"]
pub mod address;
#[path = "../../src/front_door/answers.rs"]
mod answers;
#[path = "../../src/front_door/body.rs"]
mod body;
#[path = "../../src/front_door/connections.rs"]
pub mod connections;
#[path = "../../src/front_door/hall.rs"]
pub mod hall;
#[path = "../../src/front_door/health.rs"]
pub mod health;
#[path = "../../src/front_door/http.rs"]
pub mod http;
#[path = "../../src/front_door/limits.rs"]
mod limits;
#[path = "../../src/front_door/metrics.rs"]
mod metrics;
#[path = "../../src/front_door/queue.rs"]
pub mod queue;
#[path = "../../src/front_door/reading.rs"]
mod reading;
#[path = "../../src/front_door/requests.rs"]
mod requests;
#[path = "../../src/front_door/routes.rs"]
pub mod routes;
#[path = "../../src/front_door/standing.rs"]
mod standing;
#[path = "../../src/front_door/statuses.rs"]
pub mod statuses;

/// Of tables that are not there.
pub mod figures {
    #[derive(Clone, Debug, Default)]
    pub struct Figures;
}

mod families {
    use prometheus_client::collector::Collector;
    use prometheus_client::encoding::DescriptorEncoder;

    use super::figures::Figures;

    #[derive(Debug)]
    pub struct Families(pub Figures);

    impl Collector for Families {
        fn encode(&self, _encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
            Ok(())
        }
    }
}

/// A process that nobody stops.
mod stopping {
    pub fn is_stopping() -> bool {
        false
    }

    pub fn insist() {}
}
