//! The floor: what the tables can take at all. The same rows by one set-based statement for each batch, over
//! one connection, from a client that has every value at hand. It decides nothing and checks nothing.

use std::collections::HashMap;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use postgres::{Client, Statement};

use crate::traffic::{Chat, Messages};

const STATEMENT: &str = include_str!("../peers/floor.sql");

const DEBOUNCE: TimeDelta = TimeDelta::seconds(5);

/// Batches made ahead, so that the connection never waits for one.
const AHEAD: usize = 4;

/// Events per second of a run in batches of `size`.
pub fn events_per_second(
    client: &mut Client,
    chats: &[Chat],
    run: u16,
    size: usize,
    duration: Duration,
) -> Result<f64> {
    let tenants = tenants(client)?;
    let statement = client.prepare(STATEMENT)?;
    let (sender, batches) = mpsc::sync_channel(AHEAD);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut messages = Messages::new(chats, run, 0);
            while sender.send(Batch::of(&mut messages, &tenants, size)).is_ok() {}
        });
        let started_at = Instant::now();
        let mut events = 0;
        while started_at.elapsed() < duration {
            let batch = batches.recv()?;
            batch.write(client, &statement)?;
            events += size;
        }
        // The other thread ends when nobody takes its batches.
        drop(batches);
        Ok(events as f64 / started_at.elapsed().as_secs_f64())
    })
}

fn tenants(client: &mut Client) -> Result<HashMap<String, i32>> {
    let rows = client.query("SELECT instance_name::text, id FROM whaply.tenants", &[])?;
    Ok(rows.into_iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The values of a batch, column by column.
#[derive(Default)]
struct Batch {
    chats: ChatColumns,
    messages: MessageColumns,
}

#[derive(Default)]
struct ChatColumns {
    tenant_id: Vec<i32>,
    chat_id: Vec<String>,
    sent_at: Vec<DateTime<Utc>>,
    contact_name: Vec<String>,
    due_at: Vec<DateTime<Utc>>,
    questions: Vec<i32>,
}

#[derive(Default)]
struct MessageColumns {
    tenant_id: Vec<i32>,
    chat_id: Vec<String>,
    message_id: Vec<String>,
    text: Vec<String>,
    raw: Vec<String>,
    sent_at: Vec<DateTime<Utc>>,
}

impl Batch {
    fn of(messages: &mut Messages<'_>, tenants: &HashMap<String, i32>, size: usize) -> Self {
        let (mut batch, mut places, now) = (Self::default(), HashMap::new(), Utc::now());
        for _ in 0..size {
            let message = messages.next();
            let tenant_id = tenants.get(&message.chat.instance).copied().unwrap_or_default();
            let place = *places.entry(message.place).or_insert_with(|| {
                batch.chats.add(message.chat, tenant_id, now);
                batch.chats.questions.len() - 1
            });
            batch.chats.questions[place] += 1;
            batch.messages.add(message.chat, tenant_id, &message.id, now);
        }
        batch
    }

    fn write(&self, client: &mut Client, statement: &Statement) -> Result<()> {
        let (chats, messages) = (&self.chats, &self.messages);
        let written = client.execute(
            statement,
            &[
                &chats.tenant_id,
                &chats.chat_id,
                &chats.sent_at,
                &chats.contact_name,
                &chats.due_at,
                &chats.questions,
                &messages.tenant_id,
                &messages.chat_id,
                &messages.message_id,
                &messages.text,
                &messages.raw,
                &messages.sent_at,
                &"ai_queued",
            ],
        );
        written.context("the floor's statement")?;
        Ok(())
    }
}

impl ChatColumns {
    fn add(&mut self, chat: &Chat, tenant_id: i32, now: DateTime<Utc>) {
        self.tenant_id.push(tenant_id);
        self.chat_id.push(chat.jid.clone());
        self.sent_at.push(now);
        self.contact_name.push(chat.name.clone());
        self.due_at.push(now + DEBOUNCE);
        self.questions.push(0);
    }
}

impl MessageColumns {
    fn add(&mut self, chat: &Chat, tenant_id: i32, id: &str, now: DateTime<Utc>) {
        self.tenant_id.push(tenant_id);
        self.chat_id.push(chat.jid.clone());
        self.message_id.push(id.to_owned());
        self.text.push(chat.text.clone());
        // What whaply keeps of a payload: all but the key.
        self.raw.push(chat.body(id).replace(",\"apikey\":null", ""));
        self.sent_at.push(now);
    }
}
