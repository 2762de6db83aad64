//! Emphasis in WhatsApp's marks, which work only within one line and around visible text. Knows
//! Markdown's delimiters, but reads no blocks.

use std::ops::Range;

use pulldown_cmark::Tag;

/// What becomes of a pair of Markdown's delimiters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// WhatsApp's mark for it.
    Mark(char),
    /// Left out: already in such text, or WhatsApp would not show it.
    Silent,
    /// They are no emphasis but text: "2*3*4", "__/__/____".
    Literal,
}

/// The style for an emphasis at `range` of `source`, and the length of its delimiter there. `open`
/// is the output so far: a mark cannot stand within the same mark.
pub(super) fn style(
    tag: &Tag<'_>,
    source: &str,
    range: &Range<usize>,
    open: &Marks,
) -> (Style, usize) {
    let raw = source.get(range.clone()).unwrap_or_default();
    let length = match tag {
        Tag::Strong => 2,
        Tag::Strikethrough if raw.starts_with("~~") => 2,
        _ => 1,
    };
    let single_star = length == 1 && raw.starts_with('*');
    let glued = touches_a_word(source, range);
    let inside = raw.get(length..raw.len().saturating_sub(length)).unwrap_or_default();
    let sign = match tag {
        Tag::Strong => '*',
        Tag::Strikethrough => '~',
        _ if single_star && !open.is_open('*') && !raw.starts_with("***") => '*',
        _ => '_',
    };
    let style = if is_fill_in(inside) || (glued && length == 1) {
        Style::Literal
    } else if open.is_open(sign) || (glued && sign == '*') {
        Style::Silent
    } else {
        Style::Mark(sign)
    };
    (style, length)
}

/// WhatsApp shows marks only at the edges of words, and so do the stars of "2*3*4" stay.
fn touches_a_word(source: &str, range: &Range<usize>) -> bool {
    let before = source.get(..range.start).and_then(|text| text.chars().next_back());
    let after = source.get(range.end..).and_then(|text| text.chars().next());
    [before, after].into_iter().flatten().any(char::is_alphanumeric)
}

/// A form to fill in or a masked number ("__/__/____", "***.456.789-**"): what people emphasise
/// has a letter, a digit or an emoji, and does not start with a separator.
fn is_fill_in(inside: &str) -> bool {
    inside.chars().all(|c| c.is_ascii_punctuation() || c.is_whitespace())
        || inside.trim_start_matches(['*', '_', '~']).starts_with(['.', ',', '/'])
}

/// Output whose marks are written when visible text comes, so that none is empty, and closed
/// before each line break, so that none spans lines.
#[derive(Default)]
pub(super) struct Marks {
    text: String,
    /// Outermost first; true when written.
    open: Vec<(char, bool)>,
}

impl Marks {
    pub(super) fn into_text(self) -> String {
        self.text
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn since(&self, offset: usize) -> &str {
        self.text.get(offset..).unwrap_or_default()
    }

    pub(super) fn is_open(&self, sign: char) -> bool {
        self.open.iter().any(|(other, _)| *other == sign)
    }

    pub(super) fn open(&mut self, sign: char) {
        self.open.push((sign, false));
    }

    pub(super) fn close(&mut self) {
        self.end_marks(self.open.len().saturating_sub(1));
        self.open.pop();
    }

    /// Ends the marks until visible text comes again.
    pub(super) fn suspend(&mut self) {
        self.end_marks(0);
    }

    pub(super) fn line_end(&mut self) {
        self.suspend();
        self.text.push('\n');
    }

    /// Text under the marks that are open.
    pub(super) fn push(&mut self, text: &str) {
        let visible = text.trim_start();
        if visible.is_empty() {
            return self.text.push_str(text);
        }
        let (blank, _) = text.split_at(text.len() - visible.len());
        self.text.push_str(blank);
        for (sign, written) in &mut self.open {
            if !std::mem::replace(written, true) {
                self.text.push(*sign);
            }
        }
        self.text.push_str(visible);
    }

    /// What stands between texts: line breaks, indentation, addresses. Opens no marks.
    pub(super) fn push_between(&mut self, gap: &str) {
        if gap.contains('\n') {
            self.suspend();
        }
        self.text.push_str(gap);
    }

    /// Closes the written marks from number `from` on, before any blanks at the end.
    fn end_marks(&mut self, from: usize) {
        let blank = self.text.split_off(self.text.trim_end().len());
        for (sign, written) in self.open.iter_mut().skip(from).rev() {
            if std::mem::take(written) {
                self.text.push(*sign);
            }
        }
        self.text.push_str(&blank);
    }
}
