//! What `/metrics` prints, read as strictly as OpenMetrics 1.0 allows: a scraper that is not lenient
//! takes it too. And docs/monitoring.md names all of it.

use std::collections::{BTreeMap, BTreeSet};

use support::ClusterOptions;
use support::listener::{
    cluster_with_listener, free_address, get, message, request, silent_tenant, wait_until_well,
};
use support::scene::SECRET_HEADER;

type Labels = BTreeMap<String, String>;

const MONITORING: &str = include_str!("../docs/monitoring.md");

#[derive(Debug)]
struct Sample {
    name: String,
    labels: Labels,
    value: f64,
}

/// One family: its type, its help and its samples.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    samples: Vec<Sample>,
}

fn is_name(name: &str, colon: bool) -> bool {
    let may = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':');
    !name.is_empty() && name.chars().all(may) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// `a="b",c="d"}` and the rest after the brace; `\\`, `\"` and `\n` are the only escapes.
fn read_labels(text: &str) -> Option<(Labels, &str)> {
    let mut labels = Labels::new();
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once("=\"")?;
        let (mut value, mut end, mut chars) = (String::new(), None, after.char_indices());
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    end = Some(at);
                    break;
                }
                '\\' => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    escaped @ ('\\' | '"') => escaped,
                    _ => return None,
                }),
                c => value.push(c),
            }
        }
        let is_new = is_name(name, false) && labels.insert(name.to_owned(), value).is_none();
        rest = after.get(end? + 1..)?;
        match (is_new, rest.split_at_checked(1)?) {
            (true, (",", more)) => rest = more,
            (true, ("}", rest)) => return Some((labels, rest)),
            _ => return None,
        }
    }
}

fn read_sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(labels) => read_labels(labels)?,
        None => (Labels::new(), rest),
    };
    // No timestamp, no exemplar.
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    is_name(name, true).then(|| Sample { name: name.to_owned(), labels, value })
}

/// Families by name. Each begins with its HELP and TYPE, once, and its samples follow at once.
#[track_caller]
fn read(text: &str) -> BTreeMap<String, Family> {
    let text = text.strip_suffix("# EOF\n").expect("the end is marked");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (keyword, name, rest) = (words.next(), words.next(), words.next());
            let (name, rest) = (name.expect("a name"), rest.expect("what is said of it"));
            assert!(is_name(name, true), "{line}");
            if name != current {
                assert!(!families.contains_key(name), "{name} comes twice");
                current = name.to_owned();
            }
            let family = families.entry(current.clone()).or_default();
            let field = match keyword {
                Some("HELP") => &mut family.help,
                Some("TYPE") => &mut family.kind,
                _ => panic!("{line}"),
            };
            assert!(field.is_empty() && family.samples.is_empty(), "{line}");
            *field = rest.to_owned();
        } else {
            let sample = read_sample(line).unwrap_or_else(|| panic!("no sample: {line}"));
            let family = families.get_mut(&current).expect("a family before its samples");
            family.samples.push(sample);
        }
    }
    families
}

#[track_caller]
fn check(name: &str, family: &Family) {
    assert!(!family.help.is_empty(), "{name} has no help");
    let suffixes: &[&str] = match family.kind.as_str() {
        "counter" => &["_total"],
        "gauge" => &[""],
        "histogram" => &["_bucket", "_sum", "_count"],
        kind => panic!("{name} is a {kind}"),
    };
    let mut seen = BTreeSet::new();
    for sample in &family.samples {
        let suffix = sample.name.strip_prefix(name).unwrap_or("of another family");
        assert!(suffixes.contains(&suffix), "{name}: {sample:?}");
        assert!(seen.insert((&sample.name, &sample.labels)), "{sample:?} comes twice");
        assert!(sample.value >= 0.0, "{sample:?}");
    }
    if family.kind == "histogram" {
        let counts = family.samples.iter().filter(|sample| sample.name.ends_with("_count"));
        counts.for_each(|count| check_histogram(name, family, &count.labels));
    }
}

/// The buckets of one histogram of a family: the one with these labels.
#[track_caller]
fn check_histogram(name: &str, family: &Family, labels: &Labels) {
    let is_of_it = |sample: &&Sample| {
        let mut without_bound = sample.labels.clone();
        without_bound.remove("le");
        without_bound == *labels
    };
    let of = |suffix: &str| {
        let name = format!("{name}{suffix}");
        family.samples.iter().filter(is_of_it).filter(move |sample| sample.name == name)
    };
    let bounds: Vec<f64> =
        of("_bucket").map(|bucket| bucket.labels["le"].parse().expect("a number")).collect();
    assert!(bounds.is_sorted() && bounds.last() == Some(&f64::INFINITY), "{bounds:?}");
    assert!(of("_bucket").map(|bucket| bucket.value).is_sorted(), "{family:?}");
    let count = of("_count").map(|count| count.value).next_back();
    assert_eq!(of("_bucket").map(|bucket| bucket.value).next_back(), count);
}

/// The families in the table of docs/monitoring.md.
fn documented() -> BTreeSet<String> {
    let rows = MONITORING.lines().filter(|line| line.starts_with("| `"));
    let columns = rows.filter_map(|row| row.split('|').nth(1));
    let spans = columns.flat_map(|column| column.split('`').skip(1).step_by(2));
    let names = spans.filter_map(|span| span.split('{').next()).filter(|name| !name.is_empty());
    names.map(|name| format!("whaply_{}", name.strip_suffix("_total").unwrap_or(name))).collect()
}

#[test]
fn the_metrics_are_read_by_the_strictest_scraper() {
    let address = free_address();
    let cluster = cluster_with_listener(address, ClusterOptions::default());
    let db = cluster.create_database("metrics");
    let secret = silent_tenant(&db, "loja \"do\" João\\");
    wait_until_well(address);
    let body = message("loja \"do\" João\\", "METRIC-1", "Oi").to_string();
    for (secret, status) in [(secret.as_str(), 200), (secret.as_str(), 200), ("wrong", 401)] {
        let headers = [(SECRET_HEADER, secret)];
        assert_eq!(request(address, "POST", "/webhook", &headers, body.as_bytes()).status, status);
    }
    let answer = get(address, "/metrics");
    let kind = answer.header("content-type").expect("a type");
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let families = read(&answer.body);
    for (name, family) in &families {
        assert!(name.starts_with("whaply_"), "{name}");
        check(name, family);
    }
    assert_eq!(families.keys().cloned().collect::<BTreeSet<_>>(), documented());
    let value = |family: &str, labels: &[(&str, &str)]| {
        let labels: Labels = labels.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        let mut samples = families[family].samples.iter();
        samples.find(|sample| sample.labels == labels).map(|sample| sample.value)
    };
    assert_eq!(
        value("whaply_events", &[("action", "ignored_mode"), ("duplicate", "false")]),
        Some(1.0)
    );
    assert_eq!(
        value("whaply_events", &[("action", "ignored_mode"), ("duplicate", "true")]),
        Some(1.0)
    );
    let tenant = [("tenant", "loja \"do\" João\\")];
    assert_eq!(value("whaply_tenant_line_up", &tenant), Some(1.0));
    assert_eq!(value("whaply_replies", &[("state", "waiting")]), Some(0.0));
    assert_eq!(value("whaply_replies_ended", &[("state", "failed")]), Some(0.0));
    assert_eq!(value("whaply_database_up", &[]), Some(1.0));
    assert_eq!(value("whaply_refused", &[("reason", "wrong_secret")]), Some(1.0));
    assert_eq!(value("whaply_http_requests", &[("status", "401")]), Some(1.0));
}
