//! What is counted, in the format of Prometheus. No label holds a value that a client chose.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::families::Families;
use super::figures::Figures;
use super::queue::Answer;

/// Every name begins with it.
const PREFIX: &str = "whaply";

pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Status {
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Action {
    action: String,
    duplicate: bool,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

pub struct Metrics {
    registry: Registry,
    requests: Family<Status, Counter>,
    events: Family<Action, Counter>,
    refused: Family<Reason, Counter>,
    batch_events: Histogram,
    batch_seconds: Histogram,
    ingest_seconds: Histogram,
    queue_events: Gauge,
    connections: Gauge,
    cut_off: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.000_5, 2.0, 16));
        let mut metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            requests: Family::default(),
            events: Family::default(),
            refused: Family::default(),
            batch_events: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            batch_seconds: seconds(),
            ingest_seconds: seconds(),
            queue_events: Gauge::default(),
            connections: Gauge::default(),
            cut_off: Counter::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("http_requests", "Requests answered", self.requests.clone());
        registry.register("events", "Webhooks stored, by what was done", self.events.clone());
        registry.register("refused", "Posts refused", self.refused.clone());
        registry.register("batch_events", "Events in a transaction", self.batch_events.clone());
        registry.register("batch_seconds", "Time of a transaction", self.batch_seconds.clone());
        let ingest = "From the arrival of a webhook to its durable commit";
        registry.register("ingest_seconds", ingest, self.ingest_seconds.clone());
        registry.register("queue_events", "Webhooks that wait", self.queue_events.clone());
        registry.register("connections", "Open connections", self.connections.clone());
        let cut = "Connections cut off because the client was too slow";
        registry.register("connections_cut_off", cut, self.cut_off.clone());
    }

    pub fn answered(&self, status: u16) {
        self.requests.get_or_create(&Status { status }).inc();
    }

    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    pub fn batch(&self, events: usize, took: Duration) {
        self.batch_events.observe(events as f64);
        self.batch_seconds.observe(took.as_secs_f64());
    }

    pub fn done(&self, answer: &Answer, took: Duration) {
        if let Ok(outcome) = answer {
            let action = Action { action: outcome.action.clone(), duplicate: outcome.duplicate };
            self.events.get_or_create(&action).inc();
            self.ingest_seconds.observe(took.as_secs_f64());
        }
    }

    pub fn cut_off(&self, connections: usize) {
        self.cut_off.inc_by(connections as u64);
    }

    /// The text of all of it. `figures` None: the main thread did not tell in time.
    pub fn text(
        &self,
        queued: usize,
        connections: usize,
        figures: Option<Figures>,
    ) -> Result<String, fmt::Error> {
        self.queue_events.set(i64::try_from(queued).unwrap_or(i64::MAX));
        self.connections.set(i64::try_from(connections).unwrap_or(i64::MAX));
        let mut told = Registry::with_prefix(PREFIX);
        told.register_collector(Box::new(Families(figures.unwrap_or_default())));
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &told)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front_door::statuses::Refusal;

    #[test]
    fn what_was_counted_stands_in_the_text() {
        let metrics = Metrics::default();
        metrics.answered(200);
        metrics.answered(200);
        metrics.refused(Refusal::TooLarge.label());
        metrics.batch(5, Duration::from_millis(3));
        let figures = Figures { worker_is_up: true, ..Figures::default() };
        let text = metrics.text(3, 2, Some(figures)).unwrap();
        for line in [
            "whaply_http_requests_total{status=\"200\"} 2",
            "whaply_refused_total{reason=\"too_large\"} 1",
            "whaply_batch_events_sum 5.0",
            "whaply_queue_events 3",
            "whaply_connections 2",
            "whaply_worker_up 1",
            "whaply_database_up 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} is not in\n{text}");
        }
    }
}
