//! Code blocks as WhatsApp shows them: between three backticks, without a language. Never changes
//! the code.

/// A fenced block without its language; a single line between fences on that line. `raw` is the
/// block, `info` what follows its first fence, `prefix` what precedes it on its line.
pub(super) fn block(raw: &str, info: &str, prefix: &str) -> String {
    let is_prefix = |c: char| c == '>' || c.is_whitespace();
    let (_, body) = raw.split_once('\n').unwrap_or((raw, ""));
    let (inside, last) = body.rsplit_once('\n').unwrap_or(("", body));
    let fence = last.trim_start_matches(is_prefix);
    let closed = fence.len() >= 3 && fence.trim_matches(['`', '~']).is_empty();
    if !closed && body.contains("```") {
        // WhatsApp's own form, closed behind the last word: Markdown sees no end.
        return raw.to_owned();
    }
    let code = if closed { inside } else { body };
    let one_line = !code.contains('\n') && !prefix.contains('>');
    let words_after_fence = if is_language(info) { "" } else { info };
    if code.trim().is_empty() && words_after_fence.is_empty() {
        return String::new();
    }
    if one_line && words_after_fence.is_empty() {
        return format!("```{}```", code.trim());
    }
    let closing = last.strip_suffix(fence).filter(|_| closed).unwrap_or_default();
    let code = [words_after_fence, code].map(|part| part.trim_matches('\n'));
    let code = code.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n");
    format!("```\n{code}\n{closing}```")
}

fn is_language(info: &str) -> bool {
    info.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '#' | '-' | '_' | '.'))
}
