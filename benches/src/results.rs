//! Keeps what each row came to, and writes the table. A row that is measured again takes the place of its
//! former figures; the others stay, each with its own date.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::line::Line;
use crate::machine;
use crate::options::{Options, Row};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/RESULTS.md");
const HEADS: [&str; 6] = ["what", "whaply", "against", "figure", "target", "result"];

/// The lines of a row, and how they were made.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    measured_at: String,
    how: String,
    lines: Vec<Line>,
}

pub struct Results {
    folder: PathBuf,
    started_at: String,
}

impl Results {
    /// In a folder of its own, which is made.
    pub fn new(folder: &Path) -> Result<Self> {
        let folder = folder.join("rows");
        fs::create_dir_all(&folder)?;
        let started_at = chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string();
        Ok(Self { folder, started_at })
    }

    pub fn keep(&self, options: &Options, row: Row, lines: Vec<Line>) -> Result<()> {
        let (pairs, seconds) = (options.pairs, options.duration.as_secs());
        let how = format!("{pairs} rounds of {seconds} s");
        let kept = Kept { measured_at: self.started_at.clone(), how, lines };
        Ok(fs::write(self.file(row), serde_json::to_vec_pretty(&kept)?)?)
    }

    /// Writes all that is kept to RESULTS.md.
    pub fn write(&self) -> Result<()> {
        let mut text =
            "# Results of `make bench`\n\nWritten by every `make bench`; a row measured later has \
                        its own date.\n\n"
                .to_owned();
        for line in machine::description()? {
            writeln!(text, "- {line}")?;
        }
        writeln!(text, "\n| {} | measured |", HEADS.join(" | "))?;
        writeln!(text, "|{}", "---|".repeat(HEADS.len() + 1))?;
        for row in Row::ALL {
            let Some(kept) = self.kept(row)? else { continue };
            for line in &kept.lines {
                writeln!(
                    text,
                    "| {} | {}, {} |",
                    line.cells().join(" | "),
                    kept.measured_at,
                    kept.how
                )?;
            }
        }
        writeln!(text, "\n## How\n")?;
        for line in machine::conditions()? {
            writeln!(text, "- {line}")?;
        }
        fs::write(FILE, text)?;
        println!("\nWritten to {FILE}");
        Ok(())
    }

    fn kept(&self, row: Row) -> Result<Option<Kept>> {
        let file = self.file(row);
        if !file.exists() {
            return Ok(None);
        }
        let kept = serde_json::from_slice(&fs::read(&file)?);
        kept.map(Some).with_context(|| file.display().to_string())
    }

    fn file(&self, row: Row) -> PathBuf {
        self.folder.join(format!("{}.json", row.name()))
    }
}

/// For people at a terminal.
pub fn print(lines: &[Line]) {
    let cells: Vec<_> = [HEADS].into_iter().chain(lines.iter().map(Line::cells)).collect();
    let width = |column: usize| cells.iter().map(|cells| cells[column].chars().count()).max();
    let widths: Vec<_> = (0..HEADS.len()).map(|column| width(column).unwrap_or(0)).collect();
    println!();
    for line in &cells {
        let padded = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    }
}
