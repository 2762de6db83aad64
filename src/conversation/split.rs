//! One answer becomes as many WhatsApp messages as it needs, cut where a reader would pause. Never
//! changes a word; what does not fit is counted, not hidden.

use unicode_segmentation::UnicodeSegmentation;

#[cfg(test)]
mod tests;

/// Characters of one message. WhatsApp folds a longer one behind "Read more".
pub const PART_LIMIT: usize = 4_000;

/// Messages of one answer: more would be a flood, and a model that writes 20,000 characters in a
/// chat has lost its way.
pub const MOST_PARTS: usize = 5;

/// Below this there is no room for a piece of code with its fences.
const SMALLEST_LIMIT: usize = 64;

/// A part ends early at a paragraph or line only if at least this share of it is full: else a
/// heading before a long text would be a message of its own, and the parts would run out.
const LEAST_SHARE: usize = 4;

const FENCE: &str = "```";

/// An answer as messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// In the order to send; none is empty, each has at most `limit` characters.
    pub parts: Vec<String>,
    /// Characters of the answer that are in no part.
    pub cut_characters: usize,
}

/// Splits `text` into at most `most_parts` parts of at most `limit` characters (64 at least), at
/// the end of a paragraph, else of a line, a sentence, a word, a visible character. A code block
/// that must be split is closed and opened again. An empty text has no parts.
pub fn split(text: &str, limit: usize, most_parts: usize) -> Split {
    let limit = limit.max(SMALLEST_LIMIT);
    let mut parts = Vec::new();
    let mut rest = text.trim().to_owned();
    while !rest.is_empty() && parts.len() < most_parts {
        if byte_of(&rest, limit).is_none() {
            parts.push(std::mem::take(&mut rest));
            break;
        }
        let (part, reopened, remaining) = first_part(&rest, limit);
        parts.push(part);
        rest = match (parts.len() < most_parts, reopened) {
            (true, true) => format!("{FENCE}\n{remaining}"),
            _ => remaining.to_owned(),
        };
    }
    Split { parts, cut_characters: rest.chars().count() }
}

/// The first part of a text longer than `limit`, whether it ends inside code, and what remains.
fn first_part(text: &str, limit: usize) -> (String, bool, &str) {
    let whole = text.get(..boundary(text, limit)).unwrap_or(text);
    if !ends_inside_code(whole) {
        return (whole.trim_end().to_owned(), false, rest_of(text, whole).trim());
    }
    // The closing fence and its line break need room.
    let head = text.get(..boundary(text, limit - FENCE.len() - 1)).unwrap_or(whole);
    let rest = rest_of(text, head);
    if !ends_inside_code(head) {
        return (head.trim_end().to_owned(), false, rest.trim());
    }
    // Code keeps its indentation.
    let rest = rest.trim_start_matches('\n').trim_end();
    match rest.strip_prefix(FENCE) {
        // Only the closing fence is left of the code: this part has closed it.
        Some(after) => (format!("{}\n{FENCE}", head.trim_end()), false, after.trim()),
        None => (format!("{}\n{FENCE}", head.trim_end()), true, rest),
    }
}

fn rest_of<'a>(text: &'a str, head: &str) -> &'a str {
    text.get(head.len()..).unwrap_or_default()
}

fn ends_inside_code(text: &str) -> bool {
    text.matches(FENCE).count() % 2 == 1
}

/// Where to end a part of at most `limit` characters: the last good place in that window.
fn boundary(text: &str, limit: usize) -> usize {
    let end = byte_of(text, limit).unwrap_or(text.len());
    let least = byte_of(text, limit / LEAST_SHARE).unwrap_or(0);
    let window = text.get(..end).unwrap_or(text);
    let after_last = |mark: &str| window.rfind(mark).map(|at| at + mark.len());
    let full_enough = |at: &usize| *at > least;
    after_last("\n\n")
        .filter(full_enough)
        .or_else(|| after_last("\n").filter(full_enough))
        .or_else(|| last_start(text.split_sentence_bound_indices(), end).filter(full_enough))
        .or_else(|| window.rfind(char::is_whitespace).filter(full_enough))
        .or_else(|| {
            let characters = text.grapheme_indices(true);
            last_start(characters.filter(|(at, _)| !cuts_a_fence(text, *at)), end)
        })
        .filter(|at| *at > 0)
        .unwrap_or(end)
}

/// The last segment that starts at or before `end`: everything before it is whole.
fn last_start<'a>(segments: impl Iterator<Item = (usize, &'a str)>, end: usize) -> Option<usize> {
    segments.map(|(start, _)| start).take_while(|start| *start <= end).last()
}

fn cuts_a_fence(text: &str, at: usize) -> bool {
    let before = text.get(..at).is_some_and(|head| head.ends_with('`'));
    before && text.get(at..).is_some_and(|tail| tail.starts_with('`'))
}

/// The byte at which character number `count` starts, or None if the text has no more than that.
fn byte_of(text: &str, count: usize) -> Option<usize> {
    text.char_indices().nth(count).map(|(byte, _)| byte)
}
