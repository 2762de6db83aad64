//! The dashboard and the alerts of docs/, run by the Prometheus that would run them: every query of every
//! panel finds data after a small conversation, and the figures are those of the conversation.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::listener::{cluster_with_listener, free_address, request, wait_until_well};
use support::prometheus::{Prometheus, Series, check_rules};
use support::scene::webhook_of;
use support::{ClusterOptions, LlmBehaviour, PATIENCE, Scene, SceneOptions, wait_until};

const MARIA: &str = "5511999990001";
const JOAO: &str = "5511999990002";
fn docs(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file)
}

fn dashboard() -> Value {
    let text = std::fs::read_to_string(docs("grafana.json")).expect("the dashboard");
    serde_json::from_str(&text).expect("JSON")
}

/// Title and panel, rows left out.
fn panels(dashboard: &Value) -> Vec<(String, Value)> {
    let all = dashboard["panels"].as_array().expect("panels").iter();
    let shown = all.filter(|panel| panel["type"] != "row");
    shown
        .map(|panel| (panel["title"].as_str().unwrap_or_default().to_owned(), panel.clone()))
        .collect()
}

fn expressions(panel: &Value) -> Vec<String> {
    let targets = panel["targets"].as_array().into_iter().flatten();
    targets.map(|target| target["expr"].as_str().expect("an expression").to_owned()).collect()
}

/// As Grafana sends it, with everything chosen.
fn filled_in(expression: &str) -> String {
    let filled = expression.replace("$__rate_interval", "2m");
    let filled = filled.replace("$server", ".*").replace("$tenant", ".*");
    assert!(!filled.contains('$'), "{filled}");
    filled
}

#[test]
fn every_panel_has_a_title_a_unit_and_the_chosen_data_source_in_a_place_of_its_own() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let names: Vec<&Value> = variables.iter().map(|variable| &variable["name"]).collect();
    assert_eq!(names, [&json!("datasource"), &json!("server"), &json!("tenant")]);
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36), "{}", dashboard["schemaVersion"]);
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{panel}");
        for cell in (x..x + w).flat_map(|column| (y..y + h).map(move |line| (column, line))) {
            assert!(cells.insert(cell), "two panels lie over each other: {}", panel["title"]);
        }
    }
    for (title, panel) in panels(&dashboard) {
        assert!(!title.is_empty() && !panel["description"].as_str().unwrap().is_empty(), "{panel}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has no unit");
        for target in panel["targets"].as_array().expect("queries") {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}

#[test]
fn the_alerts_are_rules_that_prometheus_takes() {
    let said = check_rules(&docs("prometheus-alerts.yml"));
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.contains("9 rules found"), "{text}");
}

/// An answer, a duplicate, a refused post, a failed reply, and with it a paused chat.
fn converse(scene: &Scene, address: std::net::SocketAddr) {
    let asked = scene.shop.customer_says(MARIA, "Bom dia").delivered();
    scene.shop.wait_for_sent(1, PATIENCE);
    scene.wait_until_idle();
    assert_eq!(scene.action(&asked.id).as_deref(), Some("ai_replied"));
    scene.llm.next(LlmBehaviour::Refuse);
    scene.shop.customer_says(JOAO, "E agora?").delivered();
    let failed = "SELECT count(*) FROM whaply.replies WHERE state = 'failed'";
    wait_until("the reply to fail", PATIENCE, || scene.db.value::<i64>(failed, &[]) == 1);
    scene.wait_until_idle();
    assert_eq!(request(address, "POST", "/webhook", &[], b"{}").status, 400);
}

/// Metric and label that a variable's choices come from.
fn choices(dashboard: &Value) -> Vec<(String, String)> {
    let variables = dashboard["templating"]["list"].as_array().expect("variables").iter();
    let queries = variables.filter_map(|variable| variable["query"]["query"].as_str());
    let read = |query: &str| {
        let inner = query.strip_prefix("label_values(")?.strip_suffix(')')?;
        inner.split_once(", ").map(|(metric, label)| (metric.to_owned(), label.to_owned()))
    };
    queries.map(|query| read(query).unwrap_or_else(|| panic!("{query}"))).collect()
}

/// The metrics of which the alerts speak.
fn metrics_of_the_alerts() -> BTreeSet<String> {
    let text = std::fs::read_to_string(docs("prometheus-alerts.yml")).expect("the alerts");
    let expressions = text.lines().filter_map(|line| line.trim().strip_prefix("expr:"));
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: Vec<&str> = expressions.flat_map(|line| line.split(|c| !is_of_a_name(c))).collect();
    words.into_iter().filter(|word| word.starts_with("whaply_")).map(str::to_owned).collect()
}

#[test]
fn every_query_of_the_dashboard_finds_data_after_a_small_conversation() {
    let address = free_address();
    let cluster = cluster_with_listener(address, ClusterOptions::default());
    let scene = Scene::start_with(&cluster, "dashboard", SceneOptions::default());
    let webhook = webhook_of(&scene.db, scene.tenant_id, &format!("http://{address}/webhook"));
    scene.shop.set_webhook(webhook);
    wait_until_well(address);
    let prometheus = Prometheus::scraping(address);
    converse(&scene, address);

    let value = |expression: &str| -> Result<f64, String> {
        let found = prometheus.query(expression)?;
        found.first().map(|series| series.value).ok_or_else(|| format!("{expression}: nothing"))
    };
    for (expression, wanted) in [
        ("whaply_worker_up", 1.0),
        ("whaply_database_up", 1.0),
        ("whaply_replies_ended_total{state=\"sent\"}", 1.0),
        ("whaply_replies_ended_total{state=\"failed\"}", 1.0),
        ("whaply_calls_total{kind=\"generate\",result=\"done\"}", 1.0),
        ("whaply_calls_total{kind=\"generate\",result=\"failed\"}", 1.0),
        ("whaply_calls_total{kind=\"send\",result=\"done\"}", 1.0),
        ("whaply_call_seconds_count{kind=\"send\"}", 1.0),
        ("whaply_calls_in_flight{kind=\"generate\"}", 0.0),
        ("whaply_paused_chats{reason=\"ai_failed\"}", 1.0),
        ("whaply_tenant_failed_replies{tenant=\"loja-demo\"}", 1.0),
        ("whaply_tenant_line_up{tenant=\"loja-demo\"}", 1.0),
        ("sum(whaply_tokens_total{direction=\"output\"} > 0) > bool 0", 1.0),
    ] {
        wait_until(expression, PATIENCE, || match value(expression) {
            Ok(found) if found == wanted => Ok(()),
            other => Err(format!("{other:?} instead of {wanted}")),
        });
    }
    let chosen_from = choices(&dashboard());
    assert_eq!(chosen_from.len(), 2, "{chosen_from:?}");
    for (metric, label) in chosen_from {
        wait_until(&metric, PATIENCE, || match prometheus.query(&metric) {
            Ok(series) if series.iter().any(|one| one.labels[&label].is_string()) => Ok(()),
            other => Err(format!("{metric} by {label}: {other:?}")),
        });
    }
    let of_the_alerts = metrics_of_the_alerts();
    assert!(of_the_alerts.len() > 5, "{of_the_alerts:?}");
    for metric in of_the_alerts {
        assert!(prometheus.query(&metric).is_ok_and(|found| !found.is_empty()), "{metric}");
    }
    for (title, panel) in panels(&dashboard()) {
        for expression in expressions(&panel) {
            let expression = filled_in(&expression);
            let is_there = |series: &[Series]| {
                !series.is_empty() && series.iter().all(|one| one.value.is_finite())
            };
            wait_until(&title, PATIENCE, || match prometheus.query(&expression) {
                Ok(series) if is_there(&series) => Ok(()),
                other => Err(format!("{expression}: {other:?}")),
            });
        }
    }
}
