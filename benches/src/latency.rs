//! Row latency: how long a webhook waits for its 200 at 500 a second, through the listener and through the
//! service that would otherwise stand there.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::constant_rate;
use crate::line::{Line, Target};
use crate::options::{Options, Row};
use crate::series::{Contestant, Figures, Series, percentile};
use crate::service::Service;
use crate::stage::Stage;
use crate::traffic::{Chat, World};

const PER_SECOND: u32 = 500;

/// Connections, prepared statements, caches.
const WARM_UP: Duration = Duration::from_secs(2);
const WARM_UP_RUN: u16 = u16::MAX;

const LISTENER: [&str; 2] = ["listener p50", "listener p99"];
const SERVICE: [&str; 2] = ["service p50", "service p99"];

pub fn measure(options: &Options, folder: &Path) -> Result<Vec<(Row, Line)>> {
    let chats = World::USUAL.chats()?;
    let stage = Stage::with_listener(&World::USUAL)?;
    let service = Service::start(&stage.connection_string(), &folder.join("service.log"))?;
    let (listener_url, service_url) = (stage.listener_url(), service.url());
    for url in [&listener_url, &service_url] {
        stage.empty();
        constant_rate::latencies(url, &chats, WARM_UP_RUN, PER_SECOND, WARM_UP)?;
    }
    let run = |url: &str, names, round| percentiles(options, &stage, &chats, url, names, round);
    let mut contestants = [
        Contestant::new(|round| run(&listener_url, LISTENER, round)),
        Contestant::new(|round| run(&service_url, SERVICE, round)),
    ];
    let series = Series::of(&mut contestants, options.pairs)?;
    let lines = ["p50", "p99"].into_iter().zip(LISTENER.into_iter().zip(SERVICE));
    lines
        .map(|(which, (one, other))| Ok((Row::Latency, line(&series, which, one, other)?)))
        .collect()
}

fn percentiles(
    options: &Options,
    stage: &Stage,
    chats: &[Chat],
    url: &str,
    [p50, p99]: [&'static str; 2],
    round: u16,
) -> Result<Figures> {
    stage.empty();
    let mut latencies = constant_rate::latencies(url, chats, round, PER_SECOND, options.duration)?;
    Ok(vec![(p50, percentile(&mut latencies, 0.5)?), (p99, percentile(&mut latencies, 0.99)?)])
}

fn line(series: &Series, which: &str, one: &str, other: &str) -> Result<Line> {
    let what = format!("the same, latency {which} at {PER_SECOND} webhooks/s");
    let peer = ("FastAPI + asyncpg, two workers", series.figures(other)?, " ms");
    let (whaply, ratio) = ((series.figures(one)?, " ms"), series.ratio(one, other)?);
    Ok(Line::ratio(&what, whaply, peer, ratio, Target::at_most(0.5)))
}
