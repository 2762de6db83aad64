//! Somebody's own WhatsApp number: a tenant for it, the webhook settings to enter in Evolution, and
//! the chat as it happens, until Ctrl-C. It changes nothing in Evolution by itself.

use postgres::Row;
use serde_json::Value;
use support::scene::{Column, columns_of_model, insert_tenant};
use support::{Database, Relay, RelayOptions};

use crate::choice::RealLine;
use crate::ending::{Ending, Interrupt};
use crate::screen::{self, Voice};
use crate::stage::{self, Stage};

pub fn watch(stage: &Stage, line: &RealLine, interrupt: &Interrupt) -> Result<(), Ending> {
    let db = stage.cluster.create_database("demo");
    stage::await_worker(&db, interrupt)?;
    insert_tenant(&db, &columns(stage, line));
    let options = RelayOptions { listen: line.listen, ..RelayOptions::default() };
    let relay = Relay::start_with(&db, options);
    print_settings(&db, line, &relay);
    let mut seen = Seen::default();
    while interrupt.check().is_ok() {
        seen.tell_what_is_new(&db);
        interrupt.pause();
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

/// The newest rows that have been told.
#[derive(Default)]
struct Seen {
    message: i32,
    event: i32,
    problems: Vec<String>,
}

impl Seen {
    fn tell_what_is_new(&mut self, db: &Database) {
        let sql =
            "SELECT id, sender, chat_id, sent_at, coalesce(text, format('[%s]', message_type))
                     FROM whaply.messages WHERE id > $1 AND sender IS NOT NULL ORDER BY id";
        for row in db.rows(sql, &[&self.message]) {
            self.message = row.get(0);
            tell_message(&row);
        }
        let sql = "SELECT id, event_type, action_taken FROM whaply.processed_events
                    WHERE id > $1 AND action_taken IS NOT NULL ORDER BY id";
        for row in db.rows(sql, &[&self.event]) {
            self.event = row.get(0);
            screen::note(&format!("{} → {}", row.get::<_, &str>(1), row.get::<_, &str>(2)));
        }
        let sql = "SELECT concat_ws(': ', subject, problem) FROM whaply.health
                   UNION ALL
                   SELECT concat_ws(': ', 'reply ' || id, state, error) FROM whaply.reply_queue
                    WHERE error IS NOT NULL";
        let problems: Vec<String> = db.column(sql, &[]);
        for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
            screen::note(problem);
        }
        self.problems = problems;
    }
}

fn tell_message(row: &Row) {
    let (sender, chat): (&str, &str) = (row.get(1), row.get(2));
    let chat = chat.split('@').next().unwrap_or(chat);
    let (voice, name) = match sender {
        "customer" => (Voice::Customer, chat.to_owned()),
        "assistant" => (Voice::Assistant, format!("assistant, to {chat}")),
        _ => (Voice::Human, format!("{sender}, to {chat}")),
    };
    screen::bubble(voice, &name, row.get(3), row.get(4));
}
