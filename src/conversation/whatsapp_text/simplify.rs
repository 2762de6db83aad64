//! Takes out of an answer what Markdown would read as more than a chat means: indented "code" and
//! HTML. Its result is still Markdown; nothing becomes WhatsApp's marks here.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Tag, TagEnd};

use super::parse;

/// What stood in an indented block or in HTML may hold such a block again. Real answers need one
/// round; hostile ones must not take one for each of thousands of levels.
const MOST_ROUNDS: usize = 4;

type Edit = (Range<usize>, &'static str);

/// `answer` with unix line ends, without NUL (PostgreSQL cannot hold it), indented code as plain
/// lines, and the HTML tags we know as Markdown or nothing. Other `<words>` stay as they are.
pub(super) fn simplified(answer: &str) -> String {
    let mut source = answer.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "");
    for _ in 0..MOST_ROUNDS {
        let edits = edits(&source);
        if edits.is_empty() {
            break;
        }
        source = apply(&source, edits);
    }
    source
}

fn edits(source: &str) -> Vec<Edit> {
    let (mut indented, mut table) = (false, false);
    let mut edits = Vec::new();
    for (event, range) in parse(source) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) => indented = true,
            Event::End(TagEnd::CodeBlock) => indented = false,
            Event::Start(Tag::Table(_)) => table = true,
            Event::End(TagEnd::Table) => table = false,
            Event::Text(_) if indented => edits.extend(without_indentation(source, &range)),
            Event::Start(Tag::HtmlBlock) => edits.extend(tags(source, &range, table, true)),
            Event::InlineHtml(_) => edits.extend(tags(source, &range, table, false)),
            _ => {}
        }
    }
    edits
}

fn apply(source: &str, edits: Vec<Edit>) -> String {
    let mut result = String::with_capacity(source.len());
    let mut done = 0;
    for (range, replacement) in edits {
        if let Some(before) = source.get(done..range.start) {
            result.push_str(before);
            result.push_str(replacement);
            done = range.end;
        }
    }
    result.push_str(source.get(done..).unwrap_or_default());
    result
}

/// Joins a line of indented code to the margin, or to the list marker or `>` before it.
fn without_indentation(source: &str, range: &Range<usize>) -> Option<Edit> {
    let before = source.get(..range.start)?.trim_end_matches([' ', '\t']);
    let line = source.get(range.start..)?;
    let end = range.start + (line.len() - line.trim_start_matches([' ', '\t']).len());
    let joint = if before.is_empty() || before.ends_with('\n') { "" } else { " " };
    Some((before.len()..end, joint))
}

/// The edits for every tag in a piece of HTML. In a block, a tag that we do not know gets a
/// backslash: Markdown would leave the lines after it alone.
fn tags(source: &str, range: &Range<usize>, in_table: bool, in_block: bool) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut at = range.start;
    // Looked for once: many unclosed tags must not each be searched to the end of the block.
    let last = |closing: &str| {
        let html = source.get(range.clone()).unwrap_or_default();
        html.rfind(closing).map_or(0, |found| range.start + found)
    };
    let (last_tag_end, last_comment_end) = (last(">"), last("-->"));
    while let Some(html) = source.get(at..range.end) {
        let Some(opening) = html.find('<') else { break };
        let start = at + opening;
        let tag = html.get(opening..).unwrap_or_default();
        let closing = if tag.starts_with("<!--") && start < last_comment_end { "-->" } else { ">" };
        let found = if start < last_tag_end { tag.find(closing) } else { None };
        let length = found.map_or(1, |found| found + closing.len());
        let ends_line = source.get(start + length..).is_none_or(|rest| rest.starts_with('\n'));
        let markdown = markdown_for(tag.get(..length).unwrap_or_default());
        match markdown {
            Some("\n") if in_table => edits.push((start..start + length, " / ")),
            Some("\n") if ends_line => edits.push((start..start + length, "")),
            Some(markdown) => edits.push((start..start + length, markdown)),
            None if in_block => edits.push((start..start, "\\")),
            None => {}
        }
        at = start + if markdown.is_some() { length } else { 1 };
    }
    edits
}

/// The Markdown for one HTML tag, or None for what only looks like one.
fn markdown_for(tag: &str) -> Option<&'static str> {
    if tag.starts_with("<!--") && tag.ends_with("-->") {
        return Some("");
    }
    let inside = tag.strip_prefix('<')?.strip_suffix('>')?;
    let (closes, inside) = inside.strip_prefix('/').map_or((false, inside), |rest| (true, rest));
    let name: String = inside.chars().take_while(char::is_ascii_alphanumeric).collect();
    match name.to_ascii_lowercase().as_str() {
        "br" => Some("\n"),
        "b" | "strong" => Some("**"),
        "i" | "em" => Some("_"),
        "s" | "del" | "strike" => Some("~~"),
        "li" if !closes => Some("- "),
        "p" | "div" | "li" | "tr" | "h1" | "h2" | "h3" | "h4" if closes => Some("\n"),
        "p" | "div" | "tr" | "h1" | "h2" | "h3" | "h4" | "hr" | "ul" | "ol" | "u" | "span"
        | "small" | "big" | "center" | "font" | "mark" | "sub" | "sup" | "table" | "thead"
        | "tbody" | "td" | "th" => Some(""),
        _ => None,
    }
}
