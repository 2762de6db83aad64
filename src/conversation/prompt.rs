//! What the model reads: the tenant's instructions, the moment, and the chat as turns. Never asks
//! who spoke or whether to answer, and knows no provider's wire format.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::llm::{Prompt, Speaker, Turn};

#[cfg(test)]
mod tests;

/// One message of a chat as the model may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The owner's own words are the business's.
    pub speaker: Speaker,
    pub text: Option<String>,
    /// What the model cannot see, in brackets: `[image: I cannot see it]`.
    pub note: Option<String>,
    /// Deleted by whoever wrote it; the model does not see it.
    pub deleted: bool,
}

/// For a tenant that has not written its own: safe, not clever.
const DEFAULT_INSTRUCTIONS: &str = "You are the friendly assistant of this business and answer \
    its customers. If you do not know something, say that a person will answer; never invent \
    prices, stock, dates or promises.";

/// Kept short: small models read it too, before every answer.
const WHATSAPP_INSTRUCTIONS: &str = "You write on WhatsApp: plain text, short, in the customer's \
    language, without headings or tables. A line in [square brackets] describes what you cannot \
    see or hear; never write one yourself.";

/// WhatsApp's own limit for a profile name is 25; what is longer was not typed as a name.
const LONGEST_NAME: usize = 60;

/// The prompt for the next answer in a chat. `history` is oldest first; its newest `history_limit`
/// readable lines are used (one at least), and lines of one speaker in a row become one turn.
///
/// `timezone` is an IANA name; an unknown one counts as UTC, and the prompt says so. The moment
/// comes last, so that what stays the same between calls is a prefix that providers can cache.
pub fn build(
    system_prompt: Option<&str>,
    contact_name: Option<&str>,
    now: DateTime<Utc>,
    timezone: &str,
    history: &[Line],
    history_limit: usize,
) -> Prompt {
    let instructions = system_prompt.map(str::trim).filter(|text| !text.is_empty());
    let mut system =
        format!("{}\n\n{WHATSAPP_INSTRUCTIONS}\n\n", instructions.unwrap_or(DEFAULT_INSTRUCTIONS));
    if let Some(name) = contact_name.and_then(harmless_name) {
        system.push_str(&format!("The customer's WhatsApp name is \"{name}\". "));
    }
    system.push_str(&moment(now, timezone));
    Prompt { system, turns: turns(history, history_limit) }
}

/// A shorter prompt for a model whose context the last one did not fit: without the older half of
/// its turns, but with the customer's last one. None when nothing can be left out.
pub fn shorten(prompt: &Prompt) -> Option<Prompt> {
    let last_customer = prompt.turns.iter().rposition(|turn| turn.speaker == Speaker::Customer);
    let mut left_out = (prompt.turns.len() / 2).min(last_customer.unwrap_or(usize::MAX));
    if last_customer.is_some() {
        // Several providers want the customer to speak first.
        let rest = prompt.turns.iter().skip(left_out);
        left_out += rest.take_while(|turn| turn.speaker == Speaker::Business).count();
    }
    (left_out > 0).then(|| Prompt {
        system: prompt.system.clone(),
        turns: prompt.turns.iter().skip(left_out).cloned().collect(),
    })
}

fn turns(history: &[Line], history_limit: usize) -> Vec<Turn> {
    let readable: Vec<(Speaker, String)> = history
        .iter()
        .rev()
        .filter_map(|line| Some((line.speaker, words(line)?)))
        .take(history_limit.max(1))
        .collect();
    let mut turns: Vec<Turn> = Vec::new();
    for (speaker, text) in readable.into_iter().rev() {
        match turns.last_mut() {
            Some(turn) if turn.speaker == speaker => {
                turn.text.push('\n');
                turn.text.push_str(&text);
            }
            _ => turns.push(Turn { speaker, text }),
        }
    }
    turns
}

/// The note, then the text. None for a line that says nothing: providers refuse empty turns.
fn words(line: &Line) -> Option<String> {
    if line.deleted {
        return None;
    }
    let parts: Vec<&str> = [&line.note, &line.text]
        .into_iter()
        .filter_map(|part| part.as_deref().map(str::trim).filter(|part| !part.is_empty()))
        .collect();
    (!parts.is_empty()).then(|| parts.join("\n"))
}

/// A name as it may stand in quotes in the instructions. The customer chose it, perhaps to give
/// orders: it stays on one line, short, and cannot close its quotes or hide anything.
fn harmless_name(name: &str) -> Option<String> {
    let visible: String = name
        .chars()
        .map(|character| if character.is_whitespace() { ' ' } else { character })
        .filter(|character| !is_quote(*character) && !is_invisible(*character))
        .collect();
    let words: Vec<&str> = visible.split_whitespace().collect();
    let short: String = words.join(" ").chars().take(LONGEST_NAME).collect();
    let short = short.trim_end();
    (!short.is_empty()).then(|| short.to_owned())
}

/// The apostrophe stays: it is part of names, and the name stands in double quotes.
fn is_quote(character: char) -> bool {
    matches!(character, '"' | '“' | '”' | '„' | '‟' | '«' | '»' | '＂' | '`' | '\\')
}

/// Controls, marks of writing direction, and the tag characters that spell text no person sees.
/// The zero-width joiner stays: emoji of families and professions are made with it.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

fn moment(now: DateTime<Utc>, timezone: &str) -> String {
    const FORMAT: &str = "It is %A, %-d %B %Y, %H:%M";
    match timezone.trim().parse::<Tz>() {
        Ok(zone) => format!("{} ({zone}).", now.with_timezone(&zone).format(FORMAT)),
        Err(_) => format!(
            "{} (UTC, because the time zone \"{}\" is not known).",
            now.format(FORMAT),
            harmless_name(timezone).unwrap_or_default()
        ),
    }
}
