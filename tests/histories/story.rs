//! A ledger as a person reads it: what happened in a chat, in the order of time, then its rows.

use std::fmt::Debug;

use super::ledger::{Arrival, Chat, Time};

/// Answers can be long.
const MOST_CHARACTERS: usize = 60;

pub fn of(chat: &Chat) -> String {
    let mut lines: Vec<(Time, String)> = Vec::new();
    for spoken in &chat.said {
        let text = short(&spoken.shown);
        let names = if spoken.tells_both_names { "both names" } else { "one name" };
        lines.push((spoken.typed_at, format!("{:?} writes {text} by {names}", spoken.voice)));
        lines.extend(spoken.arrivals.iter().map(|arrival| taken(arrival, &text)));
        for change in &spoken.changes {
            let what = change.shown.as_deref().map_or("its deletion".to_owned(), short);
            let what = format!("{what} for {text}");
            lines.extend(change.arrivals.iter().map(|arrival| taken(arrival, &what)));
        }
    }
    for done in &chat.operations {
        lines.push((done.began_at, format!("an operator begins {:?}", done.what)));
        lines.push((done.ended_at, format!("an operator has done {:?}", done.what)));
    }
    for prompt in &chat.prompts {
        let answer = prompt.answer.as_deref().map_or("nothing".to_owned(), short);
        lines.push((prompt.at, format!("the model answers {answer}")));
    }
    for call in &chat.calls {
        lines.push((call.came_at, format!("sendText {} to {}", short(&call.text), call.number)));
        if let Some(ended_at) = call.ended_at {
            lines.push((ended_at, format!("sendText {} has ended", short(&call.text))));
        }
    }
    for sent in &chat.sent {
        let line =
            format!("the customer sees {} ({}, {})", short(&sent.text), sent.id, sent.remote_jid);
        lines.push((sent.at, line));
    }
    lines.sort_by_key(|(at, _)| *at);
    let timeline = lines.iter().map(|(at, line)| format!("{} {line}", at.format("%S%.6f")));
    let rows = &chat.rows;
    let all: Vec<String> =
        std::iter::once(format!("chat {}, troubles: {}", chat.place, chat.troubles))
            .chain(timeline)
            .chain(lines_of(&rows.sessions))
            .chain(lines_of(&rows.replies))
            .chain(lines_of(&rows.deliveries))
            .chain(lines_of(&rows.messages))
            .chain(lines_of(&rows.events))
            .collect();
    all.join("\n")
}

fn taken(arrival: &Arrival, what: &str) -> (Time, String) {
    let again = if arrival.is_duplicate { " again" } else { "" };
    (arrival.at, format!("{what} was taken{again} as {}", arrival.action))
}

fn lines_of(rows: &[impl Debug]) -> Vec<String> {
    rows.iter().map(|row| format!("  {row:?}").replace("palavra ", "")).collect()
}

fn short(text: &str) -> String {
    format!("{:?}", text.chars().take(MOST_CHARACTERS).collect::<String>())
}
