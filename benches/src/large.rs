//! Row large: `ingest` where months have left their rows, beside the same load on tables that began empty.
//! Both are in one server, whose memory holds the indexes.

use std::time::{Duration, Instant};

use anyhow::Result;
use support::Database;

use crate::calls::{self, Kind};
use crate::ingest::INGEST_SQL;
use crate::large_tables;
use crate::line::{Line, Target, spread};
use crate::options::{Options, Row};
use crate::series::{Contestant, Figures, Series, Spread};
use crate::stage::{Stage, connection_string};
use crate::traffic::{Chat, World};

/// Those who write among the sessions that `large_tables` makes: none of them is paused.
const ACTIVE: World = World { prefix: "large", tenants: 200, chats: 20_000, stride: 10 };

const LARGE: &str = "large tables";
const SMALL: &str = "tables that began empty";

/// After a checkpoint each page is written whole once: that is over by then, for the pages in use.
const WARM_UP: Duration = Duration::from_secs(60);
const QUICK_WARM_UP: Duration = Duration::from_secs(2);
const WARM_UP_RUN: u16 = u16::MAX;

/// Of the numbers in the issue; a quick run shows only that it works.
const SCALE: &str = "1";
const QUICK_SCALE: &str = "0.02";

pub fn measure(options: &Options) -> Result<Vec<(Row, Line)>> {
    let stage = Stage::start(&ACTIVE)?;
    let large = stage.cluster.create_database("large");
    let started_at = Instant::now();
    large_tables::fill(&large, if options.quick { QUICK_SCALE } else { SCALE })?;
    eprintln!("  the large tables are filled after {} s", started_at.elapsed().as_secs());
    let chats = ACTIVE.chats()?;
    let house = |database| House { database, stage: &stage, chats: &chats };
    let [large, small] = [house(&large), house(&stage.database)];

    stage.database.execute("CHECKPOINT");
    let warm_up = if options.quick { QUICK_WARM_UP } else { WARM_UP };
    let first_minute = [large.ingest(WARM_UP_RUN, warm_up)?, small.ingest(WARM_UP_RUN, warm_up)?];
    let run = |house: &House<'_>, name, round| -> Result<Figures> {
        Ok(vec![(name, house.ingest(round, options.duration)?)])
    };
    let mut contestants = [
        Contestant::new(|round| run(&large, LARGE, round)),
        Contestant::new(|round| run(&small, SMALL, round)),
    ];
    let series = Series::of(&mut contestants, options.pairs)?;
    Ok(vec![(Row::Large, after_warm_up(&series)?), (Row::Large, at_first(first_minute)?)])
}

struct House<'a> {
    database: &'a Database,
    stage: &'a Stage,
    chats: &'a [Chat],
}

impl House<'_> {
    /// Messages per second. Nothing is emptied: the load goes on where it was.
    fn ingest(&self, run: u16, duration: Duration) -> Result<f64> {
        let connection = connection_string(&self.stage.cluster, self.database);
        let calls = calls::run(&connection, INGEST_SQL, self.chats, run, Kind::Fresh, duration)?;
        Ok(calls.per_second)
    }
}

fn after_warm_up(series: &Series) -> Result<Line> {
    let whaply = (series.figures(LARGE)?, "/s");
    let peer = (SMALL, series.figures(SMALL)?, "/s");
    let ratio = series.ratio(LARGE, SMALL)?;
    let target = Target::at_least(0.6).aim(0.8);
    Ok(Line::ratio("ingest with the large tables, after a minute", whaply, peer, ratio, target))
}

fn at_first([large, small]: [f64; 2]) -> Result<Line> {
    let ratio = spread(Spread::of(vec![large / small])?, " ×");
    let (large, small) = (format!("{large:.0}/s"), format!("{SMALL}: {small:.0}/s"));
    Ok(Line::reported("the same, in the first minute after a checkpoint", large, small, ratio))
}
