//! What a person sees: a chat in bubbles, and in between, dimmed, what happens underneath. It only
//! prints. Colours appear on a terminal, unless NO_COLOR is set.

use std::borrow::Cow;
use std::time::Duration;

use anstream::{eprintln, println};
use anstyle::{AnsiColor, Color, Style};
use chrono::{DateTime, Local, Utc};
use textwrap::core::display_width;

/// Fits a terminal of 80 columns.
const WIDTH: usize = 78;
const BUBBLE_TEXT_WIDTH: usize = 50;
const MARGIN: &str = "  ";

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = coloured(AnsiColor::Green);
const BAD: Style = coloured(AnsiColor::Red).bold();

const fn coloured(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

/// Whose bubble it is. The customer's are on the left, the business's on the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    Customer,
    Assistant,
    Human,
}

impl Voice {
    fn style(self) -> Style {
        match self {
            Self::Customer => Style::new(),
            Self::Assistant => coloured(AnsiColor::Green),
            Self::Human => coloured(AnsiColor::Yellow),
        }
    }

    fn is_business(self) -> bool {
        self != Self::Customer
    }
}

pub fn title(text: &str) {
    println!("\n{MARGIN}{BOLD}{text}{BOLD:#}\n");
}

pub fn plain(text: &str) {
    println!("{text}");
}

/// A paragraph in the demo's margin.
pub fn paragraph(text: &str) {
    for line in textwrap::wrap(text, WIDTH) {
        println!("{MARGIN}{line}");
    }
}

/// A line as it is, e.g. of a table or a command.
pub fn verbatim(line: &str) {
    println!("{MARGIN}{line}");
}

/// What explains the line above it.
pub fn aside(text: &str) {
    for line in textwrap::wrap(text, WIDTH - 2) {
        println!("{MARGIN}  {DIM}{line}{DIM:#}");
    }
}

/// Something that takes a while has begun.
pub fn begins(what: &str) {
    println!("{MARGIN}{DIM}… {what}{DIM:#}");
}

/// Something stands, and how long it took.
pub fn stands(what: &str, took: Duration) {
    let seconds = format!("{:.1} s", took.as_secs_f64());
    let gap = WIDTH.saturating_sub(2 + display_width(what) + seconds.len()).max(1);
    println!("{MARGIN}{GOOD}✓{GOOD:#} {what}{:gap$}{DIM}{seconds}{DIM:#}", "");
}

/// Something stands, and took no time.
pub fn stands_too(what: &str) {
    println!("{MARGIN}{GOOD}✓{GOOD:#} {what}");
}

pub fn heading(text: &str) {
    let rule = "─".repeat(WIDTH.saturating_sub(display_width(text) + 4));
    println!("\n{MARGIN}{DIM}──{DIM:#} {BOLD}{text}{BOLD:#} {DIM}{rule}{DIM:#}");
}

/// What happens underneath the chat.
pub fn note(text: &str) {
    for (number, line) in textwrap::wrap(text, WIDTH - 4).iter().enumerate() {
        let mark = if number == 0 { "·" } else { " " };
        println!("{MARGIN}{DIM}  {mark} {line}{DIM:#}");
    }
}

pub fn bubble(voice: Voice, name: &str, at: DateTime<Utc>, text: &str) {
    let time = at.with_timezone(&Local).format("%H:%M:%S").to_string();
    let shape = Shape::of(voice, text, display_width(name) + 2 + time.len());
    let indent = &shape.indent;
    println!("\n{MARGIN}{indent} {BOLD}{name}{BOLD:#}  {DIM}{time}{DIM:#}");
    shape.draw(voice);
}

/// A further bubble under the same name.
pub fn bubble_below(voice: Voice, text: &str) {
    Shape::of(voice, text, 0).draw(voice);
}

struct Shape<'a> {
    lines: Vec<Cow<'a, str>>,
    indent: String,
    width: usize,
}

impl<'a> Shape<'a> {
    /// At least as wide as the header above it.
    fn of(voice: Voice, text: &'a str, header_width: usize) -> Self {
        let lines = textwrap::wrap(text, BUBBLE_TEXT_WIDTH);
        let text_width = lines.iter().map(|line| display_width(line)).max().unwrap_or(0);
        let width = text_width.max(header_width.saturating_sub(2));
        let indent = if voice.is_business() { WIDTH.saturating_sub(width + 4) } else { 0 };
        Self { lines, indent: " ".repeat(indent), width }
    }

    fn draw(&self, voice: Voice) {
        let (indent, style, rule) = (&self.indent, voice.style(), "─".repeat(self.width + 2));
        println!("{MARGIN}{indent}{style}╭{rule}╮{style:#}");
        for line in &self.lines {
            let gap = self.width.saturating_sub(display_width(line));
            println!("{MARGIN}{indent}{style}│{style:#} {line}{:gap$} {style}│{style:#}", "");
        }
        println!("{MARGIN}{indent}{style}╰{rule}╯{style:#}");
    }
}

pub fn success(text: &str) {
    println!("\n{MARGIN}{GOOD}✓ {text}{GOOD:#}");
}

pub fn failure(reason: &str) {
    eprintln!("\n{MARGIN}{BAD}✗ The demo failed.{BAD:#}");
    for line in reason.lines() {
        eprintln!("{MARGIN}  {line}");
    }
    eprintln!();
}

/// The end of a server's log.
pub fn server_log(log: &str, lines_shown: usize) {
    let lines: Vec<&str> = log.lines().collect();
    let hidden = lines.len().saturating_sub(lines_shown);
    eprintln!("\n{MARGIN}{BOLD}The end of the server's log{BOLD:#}");
    for line in lines.iter().skip(hidden) {
        eprintln!("{MARGIN}{DIM}{line}{DIM:#}");
    }
}

/// Rows under a header, in columns as wide as their widest cell.
pub fn table(header: &[&str], rows: &[Vec<String>]) {
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let widths: Vec<usize> = (header.iter().enumerate())
        .map(|(column, name)| {
            let widest = cells(column).map(|cell| display_width(cell)).max().unwrap_or(0);
            widest.max(display_width(name))
        })
        .collect();
    let names: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    println!("{MARGIN}{BOLD}{}{BOLD:#}", table_line(&names, &widths));
    for row in rows {
        println!("{MARGIN}{}", table_line(row, &widths));
    }
}

fn table_line(cells: &[String], widths: &[usize]) -> String {
    let padded = cells.iter().zip(widths).map(|(cell, width)| {
        format!("{cell}{:gap$}", "", gap = width.saturating_sub(display_width(cell)))
    });
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// `text` on one line of at most `width` columns.
pub fn shortened(text: &str, width: usize) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if display_width(&one_line) <= width {
        return one_line;
    }
    let mut short = String::new();
    for character in one_line.chars() {
        if display_width(&short) + 2 > width {
            break;
        }
        short.push(character);
    }
    format!("{}…", short.trim_end())
}
