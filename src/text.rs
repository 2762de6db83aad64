//! Small things done to text that came from outside. Pure.

/// `text` on one line: every run of blanks, line breaks and control characters is one blank.
pub fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The first `characters` characters of `text`.
pub fn cut(text: &str, characters: usize) -> &str {
    match text.char_indices().nth(characters) {
        Some((end, _)) => text.get(..end).unwrap_or(text),
        None => text,
    }
}

/// One line of at most `characters` characters and, where something was cut, an ellipsis: for what
/// strangers' servers answer, which may be a whole HTML page.
pub fn short_line(text: &str, characters: usize) -> String {
    let line = one_line(text);
    let kept = cut(&line, characters);
    if kept.len() == line.len() { line } else { format!("{kept}…") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_a_short_line() {
        assert_eq!(
            short_line("<html>\r\n\t<b>Bad\u{0} Gateway</b>", 100),
            "<html> <b>Bad Gateway</b>"
        );
        assert_eq!(short_line("ação", 3), "açã…");
        assert_eq!(short_line("ação", 4), "ação");
    }
}
