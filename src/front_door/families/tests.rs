//! The text that a scrape reads of given figures.

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::*;
use crate::tallies::{CallKind, CallResult, Counts, ReplyEnd};

fn text_of(figures: Figures) -> String {
    let mut registry = Registry::with_prefix("whaply");
    registry.register_collector(Box::new(Families(figures)));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    text
}

#[track_caller]
fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|one| one == *line), "{line} is not in\n{text}");
    }
}

#[test]
fn what_a_worker_counted_stands_in_the_text() {
    let counts = Counts::default();
    counts.replies_ended(ReplyEnd::Failed, 2);
    counts.tokens(30, 4);
    counts.set_in_flight(CallKind::Generate, 5);
    counts.call_ended(CallKind::Send, CallResult::Uncertain, Duration::from_millis(300));
    counts.call_ended(CallKind::Send, CallResult::Done, Duration::from_secs(1_000));
    let text = text_of(Figures { worker_is_up: true, counted: Some(counts.read()), tables: None });
    has(
        &text,
        &[
            "whaply_worker_up 1",
            "whaply_database_up 0",
            "whaply_replies_ended_total{state=\"failed\"} 2",
            "whaply_replies_ended_total{state=\"sent\"} 0",
            "whaply_tokens_total{direction=\"input\"} 30",
            "whaply_calls_in_flight{kind=\"generate\"} 5",
            "whaply_calls_total{kind=\"send\",result=\"uncertain\"} 1",
            "whaply_call_seconds_bucket{le=\"0.5\",kind=\"send\"} 1",
            "whaply_call_seconds_bucket{le=\"300.0\",kind=\"send\"} 1",
            "whaply_call_seconds_bucket{le=\"+Inf\",kind=\"send\"} 2",
            "whaply_call_seconds_sum{kind=\"send\"} 1000.3",
            "whaply_call_seconds_count{kind=\"send\"} 2",
        ],
    );
    assert!(!text.contains("whaply_paused_chats"), "nobody could count them: {text}");
}

#[test]
fn what_the_tables_say_has_a_series_for_every_state_before_the_first_of_it() {
    let tenant = TenantFigures {
        instance_name: "loja \"do\" João".to_owned(),
        line_is_open: false,
        open_replies: 3,
        failed_replies: 1,
    };
    let tables = Tables {
        replies: vec![("waiting".to_owned(), 7)],
        overdue_seconds: 1.5,
        paused_chats: vec![("loop_guard".to_owned(), 2)],
        dead_rows: vec![("messages".to_owned(), 9)],
        tenants: vec![tenant],
        ..Tables::default()
    };
    let text = text_of(Figures { tables: Some(tables), ..Figures::default() });
    has(
        &text,
        &[
            "whaply_worker_up 0",
            "whaply_database_up 1",
            "whaply_replies{state=\"waiting\"} 7",
            "whaply_replies{state=\"generating\"} 0",
            "whaply_reply_overdue_seconds 1.5",
            "whaply_deliveries{state=\"uncertain\"} 0",
            "whaply_paused_chats{reason=\"loop_guard\"} 2",
            "whaply_lines{state=\"close\"} 0",
            "whaply_table_dead_rows{table=\"messages\"} 9",
            "whaply_tenant_line_up{tenant=\"loja \\\"do\\\" João\"} 0",
            "whaply_tenant_open_replies{tenant=\"loja \\\"do\\\" João\"} 3",
            "whaply_tenant_failed_replies{tenant=\"loja \\\"do\\\" João\"} 1",
        ],
    );
}
