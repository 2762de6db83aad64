//! Brings the turns of a chat into the shape models demand: user first, strictly alternating, user
//! last, nothing empty. It never drops a word that was said.

use serde_json::{Value, json};

use super::{Speaker, Turn};

/// Stands where the customer's first line would be, since a dialogue must open with the user.
const OPENED_BY_BUSINESS: &str = "[conversation started by the business]";

/// A dialogue that ends with the assistant is read as the beginning of its answer, or refused
/// (Claude since 4.6). The owner's words can follow the question that is being answered.
const STILL_TO_ANSWER: &str = "[please answer the customer's last message]";

/// No provider takes an empty list.
const NOTHING_READABLE: &str = "[the customer's message has no text]";

/// The `messages` of both wire formats. OpenAI itself would take any order, but the chat templates
/// of open models (Gemma, Mistral) refuse roles that do not alternate.
pub(super) fn messages(turns: &[Turn]) -> Vec<Value> {
    alternating(turns)
        .into_iter()
        .map(|turn| json!({ "role": role(turn.speaker), "content": turn.text }))
        .collect()
}

fn role(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::Customer => "user",
        Speaker::Business => "assistant",
    }
}

fn alternating(turns: &[Turn]) -> Vec<Turn> {
    let mut dialogue = merged(turns);
    let starts_with_business =
        dialogue.first().is_some_and(|turn| turn.speaker == Speaker::Business);
    if starts_with_business {
        dialogue.insert(0, customer(OPENED_BY_BUSINESS));
    }
    match dialogue.last().map(|turn| turn.speaker) {
        None => dialogue.push(customer(NOTHING_READABLE)),
        Some(Speaker::Business) => dialogue.push(customer(STILL_TO_ANSWER)),
        Some(Speaker::Customer) => {}
    }
    dialogue
}

/// Consecutive turns of one speaker as one, a line each; blank ones left out.
fn merged(turns: &[Turn]) -> Vec<Turn> {
    let mut dialogue: Vec<Turn> = Vec::with_capacity(turns.len());
    for turn in turns.iter().filter(|turn| !turn.text.trim().is_empty()) {
        match dialogue.last_mut() {
            Some(previous) if previous.speaker == turn.speaker => {
                previous.text.push('\n');
                previous.text.push_str(&turn.text);
            }
            _ => dialogue.push(turn.clone()),
        }
    }
    dialogue
}

fn customer(text: &str) -> Turn {
    Turn { speaker: Speaker::Customer, text: text.to_owned() }
}
