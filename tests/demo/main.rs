//! `make demo`: a WhatsApp conversation through a real PostgreSQL, real HTTP and a real model, shown
//! as a chat. It succeeds only if every step was seen in the database and at Evolution, and it
//! leaves nothing running.

mod choice;
mod ending;
mod ledger;
mod live;
mod screen;
mod stage;
mod story;

use std::panic;
use std::process::ExitCode;
use std::time::Instant;

use choice::{Choice, Line};
use ending::{Ending, Interrupt, caught};
use stage::Stage;

/// What a shell reports for a program that ended by Ctrl-C.
const ENDED_BY_CTRL_C: u8 = 130;

/// Enough to see what a server complained about last.
const LOG_LINES_SHOWN: usize = 25;

fn main() -> ExitCode {
    let started_at = Instant::now();
    // Failures are told below, once and with the step in which they happened.
    panic::set_hook(Box::new(|_| {}));
    let interrupt = match Interrupt::listen() {
        Ok(interrupt) => interrupt,
        Err(error) => {
            screen::failure(&format!("cannot listen for Ctrl-C: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let ended = caught(|| run(&interrupt, started_at));
    // Ctrl-C reaches whatever helper runs at that moment, too, whose failure is no news then.
    match ended.map_err(|ending| interrupt.check().err().unwrap_or(ending)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ending::Interrupted) => {
            screen::plain("\nStopped by Ctrl-C. Nothing stays running.");
            ExitCode::from(ENDED_BY_CTRL_C)
        }
        Err(Ending::Failed(reason)) => {
            screen::failure(&reason);
            ExitCode::FAILURE
        }
    }
}

fn run(interrupt: &Interrupt, started_at: Instant) -> Result<(), Ending> {
    let choice = Choice::from_environment()?;
    screen::title("whaply: the backend of a WhatsApp assistant, inside PostgreSQL");
    let stage = Stage::set(&choice, interrupt)?;
    let played = caught(|| match &choice.line {
        Line::Fake => story::tell(&stage, interrupt, started_at),
        Line::Real(line) => live::watch(&stage, line, interrupt),
    });
    if matches!(played, Err(Ending::Failed(_))) && interrupt.check().is_ok() {
        screen::server_log(&stage.cluster.log(), LOG_LINES_SHOWN);
    }
    played
}
