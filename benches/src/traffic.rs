//! The load that every contestant gets: webhooks of Evolution API 2.3.6 for text messages of customers, of
//! 1 to 2 KB, chats at random, each with an id of its own that has no order. It sends nothing.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use chrono::Utc;

/// The body of a message; what stands in braces differs.
const TEMPLATE: &str = include_str!("../load/message.json");

/// A run and its lanes are part of an id, so that no two of them share one.
const SEED_OF_A_RUN: u64 = 256;

/// Who writes to whom. Chat n belongs to tenant n % `tenants`.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// What the names of its instances begin with.
    pub prefix: &'static str,
    pub tenants: usize,
    pub chats: usize,
    /// The chats that write are as many numbers apart.
    pub stride: usize,
}

impl World {
    /// A busy house on empty tables.
    pub const USUAL: Self = Self { prefix: "bench", tenants: 20, chats: 1_000, stride: 1 };

    /// The name of an instance; they are counted from 1.
    pub fn instance(&self, number: usize) -> String {
        format!("{}-{number}", self.prefix)
    }

    /// Adds its tenants. Nobody ever calls the servers that they name.
    pub fn tenants_sql(&self) -> String {
        format!(
            "INSERT INTO whaply.tenants (instance_name, evo_server_url, llm_api_key, webhook_secret)
             SELECT '{0}-' || n, 'http://127.0.0.1:1', 'none', 'secret-of-{0}-' || n
               FROM generate_series(1, {1}) AS n",
            self.prefix, self.tenants
        )
    }

    /// The chats, with bodies of this moment.
    pub fn chats(&self) -> Result<Vec<Chat>> {
        (0..self.chats).map(|place| Chat::new(self, place * self.stride)).collect()
    }
}

/// One chat, and what its messages consist of beside their id.
#[derive(Clone, Debug)]
pub struct Chat {
    pub instance: String,
    pub secret: String,
    pub jid: String,
    pub name: String,
    pub text: String,
    head: String,
    tail: String,
}

impl Chat {
    fn new(world: &World, number: usize) -> Result<Self> {
        let instance = world.instance(number % world.tenants + 1);
        let jid = format!("55119{number:08}@s.whatsapp.net");
        let name = format!("Cliente {number}");
        let text =
            format!("Bom dia! Aqui é o cliente {number}: qual é o preço, e o prazo de entrega?");
        let now = Utc::now();
        let body = TEMPLATE
            .trim_end()
            .replace("{instance}", &instance)
            .replace("{jid}", &jid)
            .replace("{lid}", &format!("{}@lid", 100_000_000_000_000 + number))
            .replace("{name}", &name)
            .replace("{text}", &text)
            .replace("{seconds}", &now.timestamp().to_string())
            .replace("{date_time}", &now.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
        let (head, tail) =
            body.split_once("{id}").context("the template has a place for the id")?;
        let (head, tail) = (head.to_owned(), tail.to_owned());
        let secret = format!("secret-of-{instance}");
        Ok(Self { instance, secret, jid, name, text, head, tail })
    }

    pub fn body(&self, id: &str) -> String {
        [self.head.as_str(), id, self.tail.as_str()].concat()
    }
}

/// What wrk's script reads: a line for each chat.
pub fn write_for_wrk(chats: &[Chat], file: &Path) -> Result<()> {
    let mut writer = BufWriter::new(File::create(file)?);
    for chat in chats {
        writeln!(writer, "{}\t{}\t{}\t{}", chat.instance, chat.secret, chat.head, chat.tail)?;
    }
    Ok(writer.flush()?)
}

/// An endless stream of messages. The same run and lane make the same messages again.
#[derive(Debug)]
pub struct Messages<'a> {
    chats: &'a [Chat],
    run: u16,
    lane: u8,
    repeat_after: Option<u32>,
    chance: fastrand::Rng,
    made: u32,
}

/// One message.
#[derive(Debug)]
pub struct Message<'a> {
    /// Its place among the chats.
    pub place: usize,
    pub chat: &'a Chat,
    pub id: String,
}

impl Message<'_> {
    pub fn body(&self) -> String {
        self.chat.body(&self.id)
    }
}

impl<'a> Messages<'a> {
    pub fn new(chats: &'a [Chat], run: u16, lane: u8) -> Self {
        let seed = u64::from(run) * SEED_OF_A_RUN + u64::from(lane);
        let chance = fastrand::Rng::with_seed(seed);
        Self { chats, run, lane, repeat_after: None, chance, made: 0 }
    }

    /// The first `count` messages of a run, over and over.
    pub fn again(chats: &'a [Chat], run: u16, lane: u8, count: u32) -> Self {
        Self { repeat_after: Some(count.max(1)), ..Self::new(chats, run, lane) }
    }

    pub fn next(&mut self) -> Message<'a> {
        if self.repeat_after == Some(self.made) {
            *self = Self {
                repeat_after: self.repeat_after,
                ..Self::new(self.chats, self.run, self.lane)
            };
        }
        self.made += 1;
        let place = self.chance.usize(..self.chats.len());
        // What makes it unique comes last: real ids have no order, and meet the indexes as strangers.
        let (strange, made, lane, run) = (self.chance.u32(..), self.made, self.lane, self.run);
        let id = format!("AC{strange:08X}{made:08X}{lane:02X}{run:04X}3F7A91C5");
        Message { place, chat: &self.chats[place], id }
    }
}
