//! What the main thread is asked about the database, answered at most every so often: nobody makes it
//! work by asking.

use std::time::{Duration, Instant};

use super::figures::{Figures, Tables};
use super::health::Health;
use super::queue::Question;
use crate::error::{Error, Result};
use crate::process::guarded::transaction;
use crate::store::extension::Presence;
use crate::store::{acting_role, extension, figures, transaction as store_transaction};
use crate::tallies;
use crate::worker::board::board;

const HEALTH_LASTS: Duration = Duration::from_secs(1);
/// Less than the shortest interval at which anybody scrapes in earnest.
const FIGURES_LAST: Duration = Duration::from_secs(2);
/// Figures of a single tenant are told of so many: each is a series for ever in whoever scrapes.
const MOST_TENANTS: i64 = 100;

#[derive(Default)]
pub struct Checks {
    health: Option<(Instant, Health)>,
    figures: Option<(Instant, Figures)>,
}

impl Checks {
    pub fn answer(&mut self, questions: Vec<Question>) {
        // Whoever asked may have gone.
        for question in questions {
            match question {
                Question::Health(answer) => drop(answer.send(self.health())),
                Question::Figures(answer) => drop(answer.send(self.figures())),
            }
        }
    }

    fn health(&mut self) -> Health {
        if let Some((at, health)) = &self.health
            && at.elapsed() < HEALTH_LASTS
        {
            return health.clone();
        }
        let health = look();
        self.health = Some((Instant::now(), health.clone()));
        health
    }

    fn figures(&mut self) -> Figures {
        if let Some((at, figures)) = &self.figures
            && at.elapsed() < FIGURES_LAST
        {
            return figures.clone();
        }
        let figures = read_figures();
        self.figures = Some((Instant::now(), figures.clone()));
        figures
    }
}

fn look() -> Health {
    if store_transaction::is_standby() {
        return Health::unwell("the server is a standby");
    }
    let looked = transaction(|| {
        acting_role::require_role()?;
        extension::require_served()?;
        let has_worker = extension::worker_pid()?.is_some();
        figures::write_something()?;
        // Only a commit that waits for the disk shows that it can be written.
        store_transaction::force_synchronous_commit();
        Ok(has_worker)
    });
    match looked {
        Ok(true) => Health::Well,
        Ok(false) => Health::unwell("no reply worker runs"),
        Err(error) => Health::unwell(format!(
            "the database cannot be written (SQLSTATE {})",
            error.sqlstate()
        )),
    }
}

fn read_figures() -> Figures {
    // SAFETY: reads a global that does not change after the start of the process.
    let database = unsafe { pgrx::pg_sys::MyDatabaseId }.to_u32();
    let slot = board().and_then(|board| board.slot(database));
    Figures {
        worker_is_up: slot.is_some_and(|slot| slot.pid() != 0),
        counted: tallies::of_this_database().map(tallies::Counts::read),
        tables: transaction(read_tables).ok(),
    }
}

fn read_tables() -> Result<Tables> {
    // A table that somebody alters or drops is not waited for.
    if extension::presence(None)? != Presence::Ready {
        return Err(Error::Internal("the tables are not ready".to_owned()));
    }
    Ok(Tables {
        overdue_seconds: figures::longest_overdue()?,
        replies: figures::open_replies()?,
        deliveries: figures::open_deliveries()?,
        paused_chats: figures::paused_chats()?,
        lines: figures::lines()?,
        dead_rows: figures::dead_rows()?,
        tenants: figures::tenants(MOST_TENANTS)?,
    })
}
