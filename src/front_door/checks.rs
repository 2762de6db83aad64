//! What the main thread is asked about the database, answered at most every so often: nobody makes it
//! work by asking.

use std::time::{Duration, Instant};

use super::figures::Figures;
use super::health::Health;
use super::queue::Question;
use crate::error::Result;
use crate::process::guarded::transaction;
use crate::store::{acting_role, extension, figures, transaction as store_transaction};

const HEALTH_LASTS: Duration = Duration::from_secs(1);
const FIGURES_LAST: Duration = Duration::from_secs(5);

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
        let figures = transaction(read_figures).unwrap_or_default();
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

fn read_figures() -> Result<Figures> {
    let overdue_seconds = figures::longest_overdue()?;
    Ok(Figures { replies: figures::open_replies()?, overdue_seconds })
}
