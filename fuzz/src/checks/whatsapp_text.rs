//! What a model wrote, on its way into a chat: tidy text, in few messages that WhatsApp takes, of which no
//! word is lost.

use crate::conversation::split::{MOST_PARTS, PART_LIMIT, Split, split};
use crate::conversation::whatsapp_text::from_markdown;

/// The smallest limit of a part.
const SMALLEST: usize = 64;

pub fn check(input: &[u8]) {
    let Some((limit, text)) = input.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    let written = from_markdown(&text);
    assert_eq!(written, from_markdown(&text), "converted twice");
    assert!(!written.contains('\0') && !written.contains('\r'));
    assert!(!written.contains("\n\n\n") && written.trim() == written, "{written:?}");
    assert!(written.lines().all(|line| line.trim_end() == line), "{written:?}");
    check_split(&written, PART_LIMIT, MOST_PARTS);
    for text in [&written, &*text] {
        check_split(text, SMALLEST + usize::from(*limit), MOST_PARTS);
        check_split(text, usize::from(*limit), usize::MAX);
    }
}

fn check_split(text: &str, limit: usize, most: usize) {
    let Split { parts, cut_characters } = split(text, limit, most);
    assert!(parts.len() <= most);
    for part in &parts {
        assert!(!part.trim().is_empty(), "nothing to send: {parts:?}");
        assert!(part.chars().count() <= limit.max(SMALLEST), "{} of {limit}", part.chars().count());
    }
    let (sent, said) = (squeezed(&parts.concat()), squeezed(text));
    if cut_characters == 0 {
        assert_eq!(sent, said, "no word is lost");
    } else {
        assert!(said.starts_with(&sent) && parts.len() == most, "{cut_characters} cut");
    }
}

/// Without blanks, and without fences, which are closed and opened again.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && *c != '`').collect()
}
