//! The figures of the tables and of the worker in the format of Prometheus. Every value of a label is one
//! of a few words of ours, or, for the first tenants only, the name that the business gave its instance.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::figures::{Figures, Tables};
use crate::store::extension::LIBRARY_VERSION;
use crate::store::figures::{Count, TenantFigures};
use crate::tallies::{BOUNDS, Reading};

const OPEN_REPLIES: [&str; 3] = ["waiting", "generating", "sending"];
const OPEN_DELIVERIES: [&str; 3] = ["pending", "sending", "uncertain"];
const PAUSES: [&str; 5] =
    ["human_takeover", "other_sender", "ai_failed", "loop_guard", "manual_pause"];
const LINES: [&str; 5] = ["open", "connecting", "close", "refused", "unknown"];

/// One scrape's figures.
#[derive(Debug)]
pub struct Families(pub Figures);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Figures { worker_is_up, counted, tables } = &self.0;
        let mut families = Writer(&mut encoder);
        families.labelled(
            ("build_info", "The version of the library"),
            [("version", LIBRARY_VERSION, 1)],
        )?;
        families.gauge("worker_up", "Whether a reply worker runs", u32::from(*worker_is_up))?;
        let answers = "Whether the tables could be read";
        families.gauge("database_up", answers, u32::from(tables.is_some()))?;
        if let Some(counted) = counted {
            families.counted(counted)?;
        }
        tables.as_ref().map_or(Ok(()), |tables| families.tables(tables))
    }
}

struct Writer<'a, 'b>(&'a mut DescriptorEncoder<'b>);

/// The name of a family and its help.
type Named = (&'static str, &'static str);

impl Writer<'_, '_> {
    fn tables(&mut self, tables: &Tables) -> fmt::Result {
        let overdue = "How long the oldest waiting reply has been due";
        self.number("reply_overdue_seconds", overdue, tables.overdue_seconds)?;
        self.by("state", ("replies", "Open replies"), &OPEN_REPLIES, &tables.replies)?;
        let deliveries = ("deliveries", "Messages on their way out");
        self.by("state", deliveries, &OPEN_DELIVERIES, &tables.deliveries)?;
        let paused = ("paused_chats", "Chats in which the assistant is silent");
        self.by("reason", paused, &PAUSES, &tables.paused_chats)?;
        let lines = ("lines", "WhatsApp lines, one for each tenant");
        self.by("state", lines, &LINES, &tables.lines)?;
        let dead = tables.dead_rows.iter().map(|(table, rows)| ("table", table.as_str(), *rows));
        self.labelled(("table_dead_rows", "Rows that vacuum has yet to take away"), dead)?;
        self.tenants(&tables.tenants)
    }

    fn tenants(&mut self, tenants: &[TenantFigures]) -> fmt::Result {
        type Value = fn(&TenantFigures) -> i64;
        let families: [(Named, Value); 3] = [
            (("tenant_line_up", "Whether the tenant's WhatsApp line is open"), |tenant| {
                i64::from(tenant.line_is_open)
            }),
            (("tenant_open_replies", "Open replies of the tenant"), |tenant| tenant.open_replies),
            (
                ("tenant_failed_replies", "Replies of the tenant that failed in the last 24 hours"),
                |tenant| tenant.failed_replies,
            ),
        ];
        for (named, value) in families {
            let names = tenants.iter().map(|tenant| escaped(&tenant.instance_name));
            let values: Vec<(String, i64)> = names.zip(tenants.iter().map(value)).collect();
            let values = values.iter().map(|(name, value)| ("tenant", name.as_str(), *value));
            self.labelled(named, values)?;
        }
        Ok(())
    }

    fn counted(&mut self, counted: &Reading) -> fmt::Result {
        let ended =
            counted.replies.iter().map(|(end, replies)| ([("state", end.as_str())], *replies));
        self.counters(("replies_ended", "Replies that came to an end"), ended)?;
        let tokens = [("input", counted.input_tokens), ("output", counted.output_tokens)];
        let tokens = tokens.map(|(direction, tokens)| ([("direction", direction)], tokens));
        self.counters(("tokens", "Tokens of the models, as they count them"), tokens)?;
        let in_flight =
            counted.calls.iter().map(|(kind, calls)| ("kind", kind.as_str(), calls.in_flight));
        self.labelled(("calls_in_flight", "Calls under way"), in_flight)?;
        let results = counted.calls.iter().flat_map(|(kind, calls)| {
            let labels = move |result| [("kind", kind.as_str()), ("result", result)];
            calls.results.iter().map(move |(result, calls)| (labels(result.as_str()), *calls))
        });
        self.counters(("calls", "Calls that ended"), results)?;
        self.times(counted)
    }

    fn times(&mut self, counted: &Reading) -> fmt::Result {
        let help = "Time of a call: generate (a model), send and ask (Evolution)";
        let mut family =
            self.0.encode_descriptor("call_seconds", help, None, MetricType::Histogram)?;
        let bounds = || BOUNDS.into_iter().chain([f64::MAX]);
        for (kind, calls) in &counted.calls {
            let buckets: Vec<(f64, u64)> = bounds().zip(calls.times.iter().copied()).collect();
            let count = calls.times.iter().sum();
            let labels = [("kind", kind.as_str())];
            let mut histogram = family.encode_family(&labels)?;
            histogram.encode_histogram::<NoLabelSet>(calls.seconds, count, &buckets, None)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &'static str, help: &str, value: u32) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn number(&mut self, name: &'static str, help: &str, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// A gauge for each of `all`, 0 where nothing was counted: an alert needs a series before its first.
    fn by(
        &mut self,
        label: &'static str,
        named: Named,
        all: &[&'static str],
        counts: &[Count],
    ) -> fmt::Result {
        let count = |name: &str| counts.iter().find(|(one, _)| one == name).map_or(0, |one| one.1);
        self.labelled(named, all.iter().map(|name| (label, *name, count(name))))
    }

    fn labelled<'v, N: TryInto<i64>>(
        &mut self,
        (name, help): Named,
        values: impl IntoIterator<Item = (&'static str, &'v str, N)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (label, value, number) in values {
            let number: i64 = number.try_into().unwrap_or(i64::MAX);
            family.encode_family(&[(label, value)])?.encode_gauge(&number)?;
        }
        Ok(())
    }

    fn counters<'v, const LABELS: usize>(
        &mut self,
        (name, help): Named,
        values: impl IntoIterator<Item = ([(&'static str, &'v str); LABELS], u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in values {
            let mut counter = family.encode_family(&labels)?;
            counter.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        Ok(())
    }
}

/// A label's value as OpenMetrics 1.0 writes it: the encoder takes words that need none of it.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests;
