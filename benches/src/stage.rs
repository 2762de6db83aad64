//! A server for one contest: durable, with stated settings, whaply in a database of it, and its listener
//! where one is wanted. Dropped, it leaves nothing behind.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use postgres::Client;
use support::ports::free_port;
use support::{Cluster, ClusterOptions, Database, wait_until};

use crate::traffic::World;

/// What differs from PostgreSQL's defaults. Stated in the results.
pub const SETTINGS: [(&str, &str); 10] = [
    ("synchronous_commit", "on"),
    ("wal_compression", "on"),
    // messages.raw is most of what is written: pglz, the default, takes a sixth of the listener's time.
    ("default_toast_compression", "lz4"),
    // No checkpoint falls into a run; each run begins with one.
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "1h"),
    // Segments of the log are used again, and not made anew in the middle of a run.
    ("min_wal_size", "4GB"),
    ("maintenance_work_mem", "1GB"),
    ("max_connections", "200"),
    // Nobody answers while the front doors are measured, neither whaply nor a peer.
    ("whaply.worker", "off"),
    ("log_checkpoints", "off"),
];

/// Holds the indexes of the large tables; less where the machine has less.
const SHARED_BUFFERS_MB: u64 = 8 * 1024;

/// A worker of the server that is slow to start, on a busy machine.
const LISTENER_LIMIT: Duration = Duration::from_secs(30);

pub struct Stage {
    // Before the cluster, which its end would find gone.
    pub database: Database,
    pub cluster: Cluster,
    listener: u16,
}

impl Stage {
    /// A server without a listener.
    pub fn start(world: &World) -> Result<Self> {
        Self::with(world, ClusterOptions::default(), 0)
    }

    pub fn with_listener(world: &World) -> Result<Self> {
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let stage =
            Self::with(world, ClusterOptions::default().with("whaply.listen", &listen), port)?;
        wait_until("the listener (whaply.listen)", LISTENER_LIMIT, || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
                let log = stage.cluster.log();
                let last: Vec<_> = log.lines().rev().take(5).collect();
                format!("{error}; the newest lines of the log, newest first:\n{}", last.join("\n"))
            })
        });
        Ok(stage)
    }

    fn with(world: &World, options: ClusterOptions, listener: u16) -> Result<Self> {
        let mut options = ClusterOptions { fsync: true, ..options };
        for (name, value) in SETTINGS {
            options = options.with(name, value);
        }
        let cluster = Cluster::start(options.with("shared_buffers", &shared_buffers()?));
        let database = cluster.create_database("bench");
        let stage = Self { database, cluster, listener };
        stage.require_a_disk()?;
        stage.database.execute(&world.tenants_sql());
        Ok(stage)
    }

    /// Where webhooks are posted to.
    pub fn listener_url(&self) -> String {
        format!("http://127.0.0.1:{}/webhook", self.listener)
    }

    /// What a client library takes.
    pub fn connection_string(&self) -> String {
        connection_string(&self.cluster, &self.database)
    }

    /// As it was before the first message, and nothing left to write.
    pub fn empty(&self) {
        let mut client = self.database.connect();
        let emptied = client.batch_execute(
            "TRUNCATE whaply.sessions, whaply.messages, whaply.processed_events, whaply.chat_aliases, \
                      whaply.replies, whaply.deliveries",
        );
        emptied.and_then(|()| client.batch_execute("CHECKPOINT")).unwrap_or_else(|error| {
            panic!("the tables cannot be emptied: {error:?}");
        });
    }

    /// The rows that the events so far have left, once nobody adds to them.
    pub fn events(&self) -> i64 {
        let mut client = self.database.connect();
        let mut before = None;
        wait_until("the last transactions", LISTENER_LIMIT, || {
            let now = count_of_events(&mut client);
            let settled = before == Some(now);
            before = Some(now);
            settled.then_some(now)
        })
    }

    /// In memory every commit is durable at once, and nothing is measured.
    fn require_a_disk(&self) -> Result<()> {
        let kind = file_system("/tmp");
        if ["tmpfs", "ramfs"].contains(&kind.as_str()) {
            bail!("/tmp is a {kind}: the clusters of the bench need a disk there");
        }
        Ok(())
    }
}

pub fn connection_string(cluster: &Cluster, database: &Database) -> String {
    format!("postgresql://postgres@127.0.0.1:{}/{}", cluster.port(), database.name())
}

fn count_of_events(client: &mut Client) -> i64 {
    let row = client.query_one("SELECT count(*) FROM whaply.processed_events", &[]);
    row.unwrap_or_else(|error| panic!("rows cannot be counted: {error:?}")).get(0)
}

/// The kind of the file system that a folder is on, as `stat` calls it.
pub fn file_system(folder: &str) -> String {
    let output = Command::new("stat").args(["-f", "-c", "%T", folder]).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// As a setting of PostgreSQL.
pub fn shared_buffers() -> Result<String> {
    let memory = memory_mb()?;
    Ok(format!("{}MB", SHARED_BUFFERS_MB.min(memory / 5 * 2)))
}

pub fn memory_mb() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    match kib {
        Some(kib) => Ok(kib / 1024),
        None => bail!("/proc/meminfo does not tell MemTotal"),
    }
}
