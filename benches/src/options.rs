//! What the caller of `make bench` may choose: which rows, how often, how long. It runs nothing.

use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Fewer pairs say nothing about the spread.
const PAIRS: usize = 7;
const SECONDS: u64 = 8;

/// A quick run shows that everything works, not how fast it is.
const QUICK_PAIRS: usize = 1;
const QUICK_SECONDS: u64 = 2;

/// The rows of the table, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    Listener,
    Latency,
    Floor,
    Ingest,
    Duplicates,
    Replies,
    Wakeup,
    Large,
    Bloat,
    Memory,
}

impl Row {
    pub const ALL: [Self; 10] = [
        Self::Listener,
        Self::Latency,
        Self::Floor,
        Self::Ingest,
        Self::Duplicates,
        Self::Replies,
        Self::Wakeup,
        Self::Large,
        Self::Bloat,
        Self::Memory,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Latency => "latency",
            Self::Floor => "floor",
            Self::Ingest => "ingest",
            Self::Duplicates => "duplicates",
            Self::Replies => "replies",
            Self::Wakeup => "wakeup",
            Self::Large => "large",
            Self::Bloat => "bloat",
            Self::Memory => "memory",
        }
    }

    fn named(name: &str) -> Result<Self> {
        let names = Self::ALL.map(Self::name).join(", ");
        let row = Self::ALL.into_iter().find(|row| row.name() == name);
        row.with_context(|| format!("there is no row called {name}; there are: {names}"))
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    rows: Vec<Row>,
    /// How often candidate and peer run in turn.
    pub pairs: usize,
    /// How long each runs at a time.
    pub duration: Duration,
    /// Only to see that it works: nothing of it is kept, and tables are small.
    pub quick: bool,
}

impl Options {
    /// From the words `--quick`, `--pairs 7`, `--seconds 8` and `--only listener,ingest`.
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let (mut rows, mut pairs, mut seconds, mut quick) = (Row::ALL.to_vec(), None, None, false);
        while let Some(word) = words.next() {
            let mut number = || -> Result<u64> {
                let value = words.next().with_context(|| format!("{word} needs a number"))?;
                let number: u64 = value.parse().with_context(|| format!("{word} {value}"))?;
                if number == 0 { bail!("{word} must not be 0") } else { Ok(number) }
            };
            match word.as_str() {
                "--quick" => quick = true,
                "--pairs" => pairs = Some(usize::try_from(number()?)?),
                "--seconds" => seconds = Some(number()?),
                "--only" => {
                    let names = words.next().context("--only needs names of rows")?;
                    rows = names
                        .split(',')
                        .map(|name| Row::named(name.trim()))
                        .collect::<Result<_>>()?;
                }
                _ => bail!("unknown option {word}"),
            }
        }
        let (usual_pairs, usual_seconds) =
            if quick { (QUICK_PAIRS, QUICK_SECONDS) } else { (PAIRS, SECONDS) };
        let duration = Duration::from_secs(seconds.unwrap_or(usual_seconds));
        Ok(Self { rows, pairs: pairs.unwrap_or(usual_pairs), duration, quick })
    }

    /// Whether the figures may be shown.
    pub fn are_worth_keeping(&self) -> bool {
        !self.quick && self.pairs >= PAIRS
    }

    pub fn wants(&self, row: Row) -> bool {
        self.rows.contains(&row)
    }
}
