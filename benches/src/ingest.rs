//! Rows ingest and duplicates: `SELECT whaply.ingest($1)` beside functions in PL/pgSQL that do the same, and
//! beside one that does nothing but insert.

use anyhow::{Result, ensure};

use crate::calls::{self, CONNECTIONS, Calls, Kind};
use crate::line::{Line, Target};
use crate::options::{Options, Row};
use crate::series::{Contestant, Figures, Series};
use crate::stage::Stage;
use crate::traffic::{Chat, World};

pub const INGEST_SQL: &str = "SELECT whaply.ingest($1)";
const WHOLE_SQL: &str = "SELECT peer.whole($1)";
const ROWS_ONLY_SQL: &str = "SELECT peer.rows_only($1)";

const INGEST: &str = "ingest";
const AGAIN: &str = "ingest, duplicates";
const WHOLE: &str = "PL/pgSQL, the whole of it";
const ROWS_ONLY: &str = "PL/pgSQL, only the rows";

pub fn measure(options: &Options) -> Result<Vec<(Row, Line)>> {
    let stage = Stage::start(&World::USUAL)?;
    stage.database.execute(include_str!("../peers/whole.sql"));
    stage.database.execute(include_str!("../peers/rows_only.sql"));
    let contest = Contest { options, stage: &stage, chats: World::USUAL.chats()? };
    let mut contestants = vec![Contestant::new(|round| contest.ingest(round))];
    if options.wants(Row::Ingest) {
        contestants.push(Contestant::new(|round| contest.peer(round, WHOLE, WHOLE_SQL)));
        contestants.push(Contestant::new(|round| contest.peer(round, ROWS_ONLY, ROWS_ONLY_SQL)));
    }
    let series = Series::of(&mut contestants, options.pairs)?;
    lines(options, &series)
}

struct Contest<'a> {
    options: &'a Options,
    stage: &'a Stage,
    chats: Vec<Chat>,
}

impl Contest<'_> {
    fn ingest(&self, round: u16) -> Result<Figures> {
        let fresh = self.fresh(round, INGEST_SQL)?;
        let mut figures = vec![(INGEST, fresh.per_second)];
        if self.options.wants(Row::Duplicates) {
            let stored = self.stage.events();
            let again = self.call(round, INGEST_SQL, Kind::Again(&fresh))?;
            let now = self.stage.events();
            ensure!(now == stored, "duplicates left rows: {stored} became {now}");
            figures.push((AGAIN, again.per_second));
        }
        Ok(figures)
    }

    fn peer(&self, round: u16, name: &'static str, sql: &str) -> Result<Figures> {
        Ok(vec![(name, self.fresh(round, sql)?.per_second)])
    }

    /// Fresh messages into empty tables; each call must have left its row.
    fn fresh(&self, round: u16, sql: &str) -> Result<Calls> {
        self.stage.empty();
        let calls = self.call(round, sql, Kind::Fresh)?;
        let (done, rows) = (i64::from(calls.done.iter().sum::<u32>()), self.stage.events());
        ensure!(done == rows, "{sql}: {done} calls, {rows} rows");
        Ok(calls)
    }

    fn call(&self, round: u16, sql: &str, kind: Kind<'_>) -> Result<Calls> {
        let connection = self.stage.connection_string();
        calls::run(&connection, sql, &self.chats, round, kind, self.options.duration)
    }
}

fn lines(options: &Options, series: &Series) -> Result<Vec<(Row, Line)>> {
    let mut lines = Vec::new();
    let ingest = (series.figures(INGEST)?, "/s");
    if options.wants(Row::Ingest) {
        for (peer, required) in [(WHOLE, 1.3), (ROWS_ONLY, 1.0)] {
            let what = format!("{INGEST_SQL}, {CONNECTIONS} connections");
            let other = (peer, series.figures(peer)?, "/s");
            let ratio = series.ratio(INGEST, peer)?;
            let target = Target::at_least(required);
            lines.push((Row::Ingest, Line::ratio(&what, ingest, other, ratio, target)));
        }
    }
    if options.wants(Row::Duplicates) {
        let again = (series.figures(AGAIN)?, "/s");
        let fresh = ("fresh messages", ingest.0, "/s");
        let ratio = series.ratio(AGAIN, INGEST)?;
        let what = format!("duplicates by {INGEST_SQL}");
        lines.push((
            Row::Duplicates,
            Line::ratio(&what, again, fresh, ratio, Target::at_least(2.0)),
        ));
    }
    Ok(lines)
}
