//! Somebody's own WhatsApp number: a tenant for it, the webhook settings to enter in Evolution, and
//! the chat as it happens, until Ctrl-C. It changes nothing in Evolution by itself.

use std::time::Duration;

use postgres::{Client, Row};
use serde_json::Value;
use support::scene::{Column, columns_of_model, insert_tenant};
use support::{Database, Relay, RelayOptions};

use crate::choice::RealLine;
use crate::ending::{Ending, Interrupt};
use crate::ledger;
use crate::screen::{self, Voice};
use crate::stage::{self, Stage};

/// Soon enough for somebody who reads.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

const MESSAGES: &str = "
    SELECT m.id, m.sender, coalesce(s.contact_name, split_part(m.chat_id, '@', 1)), m.sent_at,
           coalesce(m.text, format('[%s]', m.message_type)), m.message_id
      FROM whaply.messages m LEFT JOIN whaply.sessions s USING (tenant_id, chat_id)
     WHERE m.id > $1 AND m.sender IS NOT NULL ORDER BY m.id";

const EVENTS: &str = "
    SELECT id, event_type, action_taken FROM whaply.processed_events
     WHERE id > $1 AND action_taken IS NOT NULL ORDER BY id";

const PROBLEMS: &str = "
    SELECT concat_ws(': ', subject, problem) FROM whaply.health
    UNION ALL
    SELECT concat_ws(': ', 'reply ' || id, state, error) FROM whaply.reply_queue
     WHERE error IS NOT NULL";

pub fn watch(stage: &Stage, line: &RealLine, interrupt: &Interrupt) -> Result<(), Ending> {
    let db = stage.cluster.create_database("demo");
    stage::await_worker(&db, interrupt)?;
    insert_tenant(&db, &columns(stage, line));
    let options = RelayOptions { listen: line.listen, ..RelayOptions::default() };
    let relay = Relay::start_with(&db, options);
    print_settings(&db, line, &relay);
    let mut told = Told::nothing_yet(&db);
    while interrupt.check().is_ok() {
        told.tell_what_is_new().map_err(|error| Ending::Failed(format!("{error:?}")))?;
        interrupt.pause(LOOK_INTERVAL);
    }
    screen::plain("");
    screen::paragraph(
        "Stopped. Nothing stays running here; take the webhook out of Evolution, or it goes on \
         calling an address where nobody is.",
    );
    screen::plain("");
    Ok(())
}

fn columns(stage: &Stage, line: &RealLine) -> Vec<Column> {
    let mut columns = stage.columns();
    columns.extend(columns_of_model(stage.provider, &stage.model));
    let mut add = |name: &str, value: &str| columns.push((name.to_owned(), value.to_owned()));
    add("instance_name", &line.instance);
    add("evo_server_url", &line.evolution_url);
    add("evo_api_key", &line.evolution_key);
    if let Some(chats) = &line.only_chats {
        add("mode", "test");
        add("test_chats", chats);
    }
    columns
}

fn print_settings(db: &Database, line: &RealLine, relay: &Relay) {
    let settings = "SELECT whaply.webhook_settings($1)";
    let mut settings: Value = db.value(settings, &[&line.instance]);
    settings["webhook"]["url"] = relay.url().into();
    let body = serde_json::to_string_pretty(&settings).unwrap_or_default();
    screen::heading("Enter this webhook in Evolution");
    screen::verbatim("curl -X POST \"$EVOLUTION_URL/webhook/set/$EVOLUTION_INSTANCE\" \\");
    screen::verbatim("  -H \"apikey: $EVOLUTION_KEY\" -H 'content-type: application/json' -d '");
    body.lines().for_each(screen::verbatim);
    screen::verbatim("'");
    screen::plain("");
    if line.listen.ip().is_unspecified() {
        screen::paragraph("Put an address of this machine that Evolution can reach into the URL.");
    }
    if line.listen.ip().is_loopback() {
        screen::paragraph(
            "This address is reached from this machine only. If Evolution runs elsewhere, start \
             again with WHAPLY_DEMO_LISTEN=ADDRESS:PORT, an address of this machine.",
        );
    }
    match line.only_chats {
        Some(_) => screen::paragraph("Only the chats of WHAPLY_DEMO_CHATS get answers."),
        None => screen::paragraph(
            "Everybody who writes to this number will get answers. To try it with some chats \
             only, start again with WHAPLY_DEMO_CHATS=PHONE,PHONE.",
        ),
    }
    screen::heading("The chat, live, until Ctrl-C");
}

/// What has been told. It keeps its own session, since it asks all day.
struct Told {
    db: Client,
    last_message: i32,
    last_event: i32,
    problems: Vec<String>,
}

impl Told {
    fn nothing_yet(db: &Database) -> Self {
        Self { db: db.connect(), last_message: 0, last_event: 0, problems: Vec::new() }
    }

    fn tell_what_is_new(&mut self) -> Result<(), postgres::Error> {
        // Read first and told last, so that the message of every event is known by then.
        let events = self.db.query(EVENTS, &[&self.last_event])?;
        for row in self.db.query(MESSAGES, &[&self.last_message])? {
            self.last_message = row.get(0);
            self.tell_message(&row)?;
        }
        for row in events {
            self.last_event = row.get(0);
            screen::note(&format!("{} → {}", row.get::<_, &str>(1), row.get::<_, &str>(2)));
        }
        self.tell_problems()
    }

    fn tell_message(&mut self, row: &Row) -> Result<(), postgres::Error> {
        let (sender, contact): (&str, &str) = (row.get(1), row.get(2));
        let (voice, name) = match sender {
            "customer" => (Voice::Customer, contact.to_owned()),
            "assistant" => (Voice::Assistant, format!("assistant, to {contact}")),
            _ => (Voice::Human, format!("{sender}, to {contact}")),
        };
        screen::bubble(voice, &name, row.get(3), row.get(4));
        if let Some(answered) = ledger::answer(&mut self.db, row.get(5))? {
            screen::note(&answered.effort());
        }
        Ok(())
    }

    fn tell_problems(&mut self) -> Result<(), postgres::Error> {
        let rows = self.db.query(PROBLEMS, &[])?;
        let problems: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
            screen::note(problem);
        }
        self.problems = problems;
        Ok(())
    }
}
