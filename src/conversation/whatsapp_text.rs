//! The model's Markdown becomes what WhatsApp shows. Only what is Markdown is changed: everything
//! else is copied from the answer as it stands, so prices, lists and line breaks stay the model's.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, CowStr, Event, LinkType, Options, Parser, Tag, TagEnd};

mod code;
mod marks;
mod simplify;
#[cfg(test)]
mod tests;

use marks::{Marks, Style};

/// `answer` in WhatsApp's marks: `*bold*`, `_italic_`, `~struck~`, `` `code` ``; headings as bold
/// lines, links as "text: url", table rows as "a | b", no rules, no HTML, at most one empty line in
/// a row. What is written in WhatsApp's marks already stays as it is: `*x*` is bold, not italic.
pub fn from_markdown(answer: &str) -> String {
    let source = simplify::simplified(answer);
    let mut writer = Writer::new(&source);
    for (event, range) in parse(&source) {
        writer.event(event, range);
    }
    tidy(&writer.finish())
}

fn parse(source: &str) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
    let options = Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES;
    Parser::new_ext(source, options).into_offset_iter()
}

/// Copies the source to the output, event by event, with the edits that each calls for.
struct Writer<'a> {
    source: &'a str,
    /// All of the source before this offset has been written or left out.
    done: usize,
    out: Marks,
    /// Emphasis that is open, with the length of its delimiter in the source.
    emphasis: Vec<(Style, usize)>,
    links: Vec<Link>,
    /// Open lists: the number of the first item, None for bullets, and items so far.
    lists: Vec<(Option<u64>, u64)>,
    /// Cells so far in the row of a table.
    cells: usize,
}

struct Link {
    /// What to show behind the text, or None for brackets that are no link but text.
    target: Option<String>,
    /// Where its text starts in the output.
    text_from: usize,
}

impl<'a> Writer<'a> {
    fn new(source: &'a str) -> Self {
        Self {
            source,
            done: 0,
            out: Marks::default(),
            emphasis: Vec::new(),
            links: Vec::new(),
            lists: Vec::new(),
            cells: 0,
        }
    }

    fn finish(mut self) -> String {
        self.copy_to(self.source.len());
        self.out.into_text()
    }

    fn event(&mut self, event: Event<'_>, range: Range<usize>) {
        if range.end < self.done || (range.start < self.done && matches!(event, Event::Text(_))) {
            // Inside a block that was written as a whole.
            return;
        }
        match event {
            Event::Start(tag) => self.start(tag, range),
            Event::End(tag) => self.end(tag, range),
            Event::Text(text) => self.text(&text, range),
            Event::Code(text) => self.code(&text, range),
            Event::SoftBreak | Event::HardBreak => self.line_break(range),
            Event::Rule => self.rule(range),
            // HTML that is left is no tag we know: `<your name>` is text.
            _ => self.verbatim(range),
        }
    }

    fn start(&mut self, tag: Tag<'_>, range: Range<usize>) {
        match tag {
            Tag::Emphasis | Tag::Strong | Tag::Strikethrough => self.start_emphasis(&tag, range),
            Tag::Heading { .. } => self.start_heading(range),
            Tag::Link { link_type, dest_url, .. } => {
                self.start_link(link_type, &dest_url, 1, range)
            }
            Tag::Image { link_type, dest_url, .. } => {
                self.start_link(link_type, &dest_url, 2, range);
            }
            Tag::List(first) => self.lists.push((first, 0)),
            Tag::Item => self.start_item(range),
            Tag::CodeBlock(CodeBlockKind::Fenced(info)) => self.fenced_code(&info, range),
            Tag::TableHead => self.start_row(range.start),
            Tag::TableRow => {
                // The row keeps the indentation of its line; the line of dashes before is gone.
                self.done = line_start(self.source, range.start);
                self.start_row(range.start);
            }
            Tag::TableCell => self.start_cell(range),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd, range: Range<usize>) {
        match tag {
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => self.end_emphasis(range),
            TagEnd::Heading(_) => self.end_heading(range),
            TagEnd::Link | TagEnd::Image => self.end_link(range),
            TagEnd::List(_) => {
                self.lists.pop();
            }
            TagEnd::TableCell => self.done = range.end,
            TagEnd::TableHead | TagEnd::TableRow => {
                self.done = range.end;
                self.out.line_end();
            }
            TagEnd::Table => self.done = range.end,
            _ => {}
        }
    }

    fn slice(&self, range: &Range<usize>) -> &'a str {
        self.source.get(range.clone()).unwrap_or_default()
    }

    /// Copies what stands between the last event and this one: line breaks, indentation, markers.
    fn copy_to(&mut self, offset: usize) {
        if let Some(gap) = self.source.get(self.done..offset) {
            self.out.push_between(gap);
            self.done = offset;
        }
    }

    /// Leaves the block's source out, but not the line breaks at its end.
    fn skip_block(&mut self, range: &Range<usize>) {
        self.done = range.start + self.slice(range).trim_end().len();
    }

    fn verbatim(&mut self, range: Range<usize>) {
        self.copy_to(range.start);
        self.out.push(self.slice(&range));
        self.done = range.end;
    }

    /// Entities come decoded from the parser, and a backslash escape as a gap before its character.
    fn text(&mut self, text: &str, range: Range<usize>) {
        if self.source.get(self.done..range.start).is_some_and(|gap| gap.ends_with('\\')) {
            self.copy_to(range.start - 1);
            self.done = range.start;
        }
        self.copy_to(range.start);
        self.out.push(text);
        self.done = range.end;
    }

    /// WhatsApp reads one or three backticks as we find them, but not two.
    fn code(&mut self, text: &str, range: Range<usize>) {
        let raw = self.slice(&range);
        let two = raw.starts_with("``") && !raw.starts_with("```");
        if two && !text.contains('`') {
            self.copy_to(range.start);
            self.out.push(&format!("`{text}`"));
            self.done = range.end;
        } else {
            self.verbatim(range);
        }
    }

    fn line_break(&mut self, range: Range<usize>) {
        self.copy_to(range.start);
        self.out.line_end();
        self.done = range.end;
    }

    /// A line of underscores is no ornament in a chat: it is there to be filled in.
    fn rule(&mut self, range: Range<usize>) {
        self.copy_to(range.start);
        if !self.slice(&range).starts_with('_') {
            self.skip_block(&range);
        }
    }

    fn start_emphasis(&mut self, tag: &Tag<'_>, range: Range<usize>) {
        self.copy_to(range.start);
        let (style, length) = marks::style(tag, self.source, &range, &self.out);
        match style {
            Style::Mark(sign) => self.out.open(sign),
            Style::Literal => self.out.push(self.slice(&(range.start..range.start + length))),
            Style::Silent => {}
        }
        self.done = range.start + length;
        self.emphasis.push((style, length));
    }

    fn end_emphasis(&mut self, range: Range<usize>) {
        let Some((style, length)) = self.emphasis.pop() else { return };
        let delimiter = range.end.saturating_sub(length)..range.end;
        self.copy_to(delimiter.start);
        match style {
            Style::Mark(_) => self.out.close(),
            Style::Literal => self.out.push(self.slice(&delimiter)),
            Style::Silent => {}
        }
        self.done = range.end;
    }

    fn start_heading(&mut self, range: Range<usize>) {
        self.copy_to(range.start);
        if let Some(title) = after_hashes(self.slice(&range)) {
            self.done = range.end - title.len();
            self.out.open('*');
        } else if is_underlined_as_title(self.slice(&range)) {
            self.out.open('*');
        }
    }

    /// Text above a line of dashes is a heading to Markdown, but a paragraph and a rule to those
    /// who write so in a chat.
    fn end_heading(&mut self, range: Range<usize>) {
        let raw = self.slice(&range);
        if after_hashes(raw).is_some() {
            self.out.close();
        } else {
            self.copy_to(line_start(self.source, range.start + raw.trim_end().len()));
            if is_underlined_as_title(raw) {
                self.out.close();
            }
        }
        self.skip_block(&range);
    }

    fn start_link(&mut self, kind: LinkType, url: &str, opening: usize, range: Range<usize>) {
        self.copy_to(range.start);
        let target = match kind {
            LinkType::Autolink | LinkType::Email => Some(url),
            LinkType::Inline | LinkType::Reference if is_address(url) => Some(url),
            _ => None,
        };
        if target.is_some() {
            self.done = range.start + opening;
        }
        self.links.push(Link {
            target: target.map(|url| without_scheme_of_persons(url).to_owned()),
            text_from: self.out.len(),
        });
    }

    fn end_link(&mut self, range: Range<usize>) {
        let Some(link) = self.links.pop() else { return };
        let Some(target) = link.target else { return self.copy_to(range.end) };
        let text = self.out.since(link.text_from).trim().to_owned();
        if !says_the_address(&text, &target) {
            // Not inside the marks: WhatsApp would take the closing one for a part of the address.
            self.out.suspend();
            self.out.push_between(match text.chars().last() {
                None => "",
                Some(':') => " ",
                Some(_) => ": ",
            });
            self.out.push_between(&target);
        }
        self.done = range.end;
    }

    /// The item's marker as it stands, but "-" for "*", which could be taken for bold, and counted
    /// up where every item has the same number, as Markdown allows.
    fn start_item(&mut self, range: Range<usize>) {
        let item = self.slice(&range).trim_start();
        let start = range.end - item.len();
        self.copy_to(start);
        let digits = item.len() - item.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Some((first, items)) = self.lists.last_mut() else { return };
        let number = first.map(|first| first.saturating_add(*items));
        let repeated = *items > 0 && item.get(..digits).and_then(|d| d.parse().ok()) == *first;
        *items += 1;
        match number {
            Some(number) if repeated => {
                self.out.push(&number.to_string());
                self.done = start + digits;
            }
            None if item.starts_with('*') => {
                self.out.push("-");
                self.done = start + 1;
            }
            _ => {}
        }
    }

    fn start_row(&mut self, offset: usize) {
        self.copy_to(offset);
        self.cells = 0;
    }

    fn start_cell(&mut self, range: Range<usize>) {
        if self.cells > 0 {
            self.out.push(" | ");
        }
        self.cells += 1;
        let cell = self.slice(&range);
        self.done = range.start + (cell.len() - cell.trim_start().len());
    }

    fn fenced_code(&mut self, info: &CowStr<'_>, range: Range<usize>) {
        self.copy_to(range.start);
        let prefix = self.slice(&(line_start(self.source, range.start)..range.start));
        self.out.push(&code::block(self.slice(&range).trim_end(), info, prefix));
        self.skip_block(&range);
    }
}

/// What follows the `##` of a heading, or None where the heading is underlined instead.
fn after_hashes(heading: &str) -> Option<&str> {
    let rest = heading.strip_prefix('#')?.trim_start_matches('#');
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim_start())
}

fn is_underlined_as_title(heading: &str) -> bool {
    heading.trim_end().ends_with("==")
}

fn line_start(source: &str, offset: usize) -> usize {
    source.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
}

/// `[option](1)` is text in brackets.
fn is_address(url: &str) -> bool {
    !url.starts_with('#') && url.contains([':', '.', '/'])
}

fn without_scheme_of_persons(url: &str) -> &str {
    url.strip_prefix("mailto:").or_else(|| url.strip_prefix("tel:")).unwrap_or(url)
}

/// True for "loja.com.br" and `https://www.loja.com.br/`, or "(11) 99999-0001" and +5511999990001.
fn says_the_address(text: &str, target: &str) -> bool {
    let bare = |address: &str| -> String {
        let address = address.to_lowercase();
        let address = address.trim_start_matches("https://").trim_start_matches("http://");
        let address = address.trim_start_matches("www.");
        address.chars().filter(|c| c.is_alphanumeric()).collect()
    };
    let (text, target) = (bare(text), bare(target));
    let is_number = |text: &str| text.len() >= 8 && text.bytes().all(|b| b.is_ascii_digit());
    text == target || (is_number(&text) && is_number(&target) && target.ends_with(&text))
}

/// No blanks at the end of a line, no two empty lines in a row, none around the whole.
fn tidy(text: &str) -> String {
    let mut tidied = String::with_capacity(text.len());
    let mut after_empty = true;
    for line in text.lines().map(str::trim_end) {
        if !(after_empty && line.is_empty()) {
            tidied.push_str(line);
            tidied.push('\n');
        }
        after_empty = line.is_empty();
    }
    tidied.trim().to_owned()
}
