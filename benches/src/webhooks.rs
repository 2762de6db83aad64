//! Rows listener, floor and duplicates: webhooks per second through the listener, beside the service that
//! would otherwise stand there and beside what the tables can take at all.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::floor;
use crate::line::{Line, Target};
use crate::options::{Options, Row};
use crate::series::{Contestant, Figures, Series};
use crate::service::Service;
use crate::stage::Stage;
use crate::traffic::{Chat, World};
use crate::wrk::{Answers, CONNECTIONS, Wrk};

const LISTENER: &str = "listener";
const AGAIN: &str = "listener, duplicates";
const SERVICE: &str = "service";
const FLOOR_100: &str = "floor, 100 a batch";
const FLOOR_1000: &str = "floor, 1,000 a batch";

pub fn measure(options: &Options, folder: &Path) -> Result<Vec<(Row, Line)>> {
    let chats = World::USUAL.chats()?;
    let stage = Stage::with_listener(&World::USUAL)?;
    let contest = Contest { options, stage: &stage, wrk: Wrk::new(folder, &chats)?, chats };
    let service = if options.wants(Row::Listener) {
        Some(Service::start(&stage.connection_string(), &folder.join("service.log"))?)
    } else {
        None
    };
    let mut contestants = vec![Contestant::new(|round| contest.listener(round))];
    if let Some(service) = &service {
        contestants.push(Contestant::new(|round| contest.service(service, round)));
    }
    if options.wants(Row::Floor) {
        contestants.push(Contestant::new(|round| contest.floor(round, FLOOR_100, 100)));
        contestants.push(Contestant::new(|round| contest.floor(round, FLOOR_1000, 1_000)));
    }
    let series = Series::of(&mut contestants, options.pairs)?;
    lines(options, &series)
}

struct Contest<'a> {
    options: &'a Options,
    stage: &'a Stage,
    wrk: Wrk,
    chats: Vec<Chat>,
}

impl Contest<'_> {
    fn listener(&self, round: u16) -> Result<Figures> {
        let url = self.stage.listener_url();
        let fresh = self.post(&url, round)?;
        let mut figures = vec![(LISTENER, fresh.per_second)];
        if self.options.wants(Row::Duplicates) {
            let stored = self.stage.events();
            // The last of them were on their way when the load ended, and may not be there.
            let repeat_after = fresh.taken.saturating_sub(CONNECTIONS).max(1);
            let again = self.wrk.run(&url, round, Some(repeat_after), self.options.duration)?;
            let now = self.stage.events();
            // Among the first may be one that was broken off, and is fresh.
            let new = now - stored;
            ensure!(new <= i64::from(CONNECTIONS), "{new} duplicates were stored again");
            figures.push((AGAIN, again.per_second));
        }
        Ok(figures)
    }

    fn service(&self, service: &Service, round: u16) -> Result<Figures> {
        Ok(vec![(SERVICE, self.post(&service.url(), round)?.per_second)])
    }

    /// Fresh messages into empty tables; each that got its 200 must be there.
    fn post(&self, url: &str, round: u16) -> Result<Answers> {
        self.stage.empty();
        let answers = self.wrk.run(url, round, None, self.options.duration)?;
        let rows = self.stage.events();
        let taken = i64::from(answers.taken);
        // wrk hangs up at the end: what was on its way then is stored, but not answered.
        let may_be = taken..=taken + i64::from(CONNECTIONS);
        ensure!(may_be.contains(&rows), "{url}: {taken} webhooks got 200, {rows} are stored");
        Ok(answers)
    }

    fn floor(&self, round: u16, name: &'static str, size: usize) -> Result<Figures> {
        self.stage.empty();
        let mut client = self.stage.database.connect();
        let rate =
            floor::events_per_second(&mut client, &self.chats, round, size, self.options.duration)?;
        Ok(vec![(name, rate)])
    }
}

fn lines(options: &Options, series: &Series) -> Result<Vec<(Row, Line)>> {
    let mut lines = Vec::new();
    let listener = (series.figures(LISTENER)?, "/s");
    if options.wants(Row::Listener) {
        let peer = ("FastAPI + asyncpg, two workers", series.figures(SERVICE)?, "/s");
        let ratio = series.ratio(LISTENER, SERVICE)?;
        let target = Target::at_least(6.0).aim(8.5);
        lines.push((
            Row::Listener,
            Line::ratio("durable webhooks through the listener", listener, peer, ratio, target),
        ));
    }
    if options.wants(Row::Floor) {
        let figures = [FLOOR_100, FLOOR_1000].map(|name| Ok((name, series.figures(name)?)));
        let [small, large]: [Result<_>; 2] = figures;
        let (small, large) = (small?, large?);
        let best = if small.1.median > large.1.median { small } else { large };
        let peer = (best.0, best.1, "/s");
        let ratio = series.ratio(LISTENER, best.0)?;
        let target = Target::at_least(0.6).aim(0.85);
        lines.push((
            Row::Floor,
            Line::ratio("the same, against the floor", listener, peer, ratio, target),
        ));
    }
    if options.wants(Row::Duplicates) {
        let again = (series.figures(AGAIN)?, "/s");
        let fresh = ("fresh messages", listener.0, "/s");
        let ratio = series.ratio(AGAIN, LISTENER)?;
        let what = "duplicates through the listener";
        lines
            .push((Row::Duplicates, Line::ratio(what, again, fresh, ratio, Target::at_least(2.0))));
    }
    Ok(lines)
}
