//! Where answers are cut, and that nothing is lost on the way.

use super::*;

fn parts(text: &str, limit: usize) -> Vec<String> {
    let split = split(text, limit, 1_000);
    assert_eq!(split.cut_characters, 0);
    split.parts
}

/// What the reader reads, without the fences that splitting may add.
fn words(text: &str) -> Vec<String> {
    text.replace(FENCE, " ").split_whitespace().map(str::to_owned).collect()
}

fn sentence(number: usize) -> String {
    format!("Esta é a frase número {number} da resposta.")
}

#[test]
fn a_short_answer_is_one_trimmed_part() {
    assert_eq!(parts("  Olá!\n\nTudo bem?\n", 4_000), ["Olá!\n\nTudo bem?"]);
}

#[test]
fn an_empty_answer_has_no_parts() {
    for empty in ["", " \n\t\n "] {
        assert_eq!(split(empty, 4_000, 5), Split { parts: vec![], cut_characters: 0 });
    }
}

#[test]
fn an_answer_of_exactly_the_limit_is_one_part() {
    assert_eq!(parts(&"ã".repeat(100), 100).len(), 1);
    assert_eq!(parts(&"ã".repeat(101), 100).len(), 2);
}

#[test]
fn paragraphs_are_kept_whole_and_parts_filled() {
    let paragraph = "x".repeat(40);
    let text = [paragraph.as_str(); 5].join("\n\n");
    let two = format!("{paragraph}\n\n{paragraph}");
    assert_eq!(parts(&text, 100), [two.clone(), two, paragraph]);
}

#[test]
fn a_long_paragraph_is_split_at_a_line() {
    let text = format!("{}\n{}\n{}", "a ".repeat(20), "b ".repeat(20), "c ".repeat(20));
    assert_eq!(parts(&text, 90).len(), 2);
    assert!(parts(&text, 90)[1].starts_with("c c"));
}

#[test]
fn a_long_line_is_split_after_a_sentence() {
    let text: Vec<String> = (0..20).map(sentence).collect();
    for part in parts(&text.join(" "), 200) {
        assert!(part.starts_with("Esta") && part.ends_with('.'), "{part}");
    }
}

#[test]
fn a_price_is_not_the_end_of_a_sentence() {
    let text = format!("{} custa R$ 1.250,00 à vista e sai hoje", "Sofá azul ".repeat(5));
    assert!(!parts(&text, 64).iter().any(|part| part.ends_with("1.")));
}

#[test]
fn a_long_sentence_is_split_between_words() {
    let text = "palavra ".repeat(50);
    assert!(parts(&text, 100).iter().all(|part| words(part).iter().all(|word| word == "palavra")));
}

#[test]
fn a_heading_before_a_long_text_does_not_become_a_part() {
    let text = format!("*Resumo*\n\n{}", "palavra ".repeat(40));
    assert!(parts(&text, 200)[0].contains("palavra"));
}

#[test]
fn an_endless_word_is_split_between_visible_characters() {
    let family = "👨‍👩‍👧‍👦";
    for part in parts(&family.repeat(40), 100) {
        assert_eq!(part.replace(family, ""), "");
        assert!(part.chars().count() <= 100);
    }
    let accent = "e\u{301}";
    assert!(parts(&accent.repeat(300), 65).iter().all(|part| part.starts_with('e')));
}

#[test]
fn what_exceeds_the_most_parts_is_cut_and_counted() {
    let text = "x".repeat(1_000);
    let split = split(&text, 100, 3);
    assert_eq!(split.parts.len(), 3);
    assert_eq!(split.cut_characters, 700);
    assert_eq!(super::split(&text, 100, 0), Split { parts: vec![], cut_characters: 1_000 });
}

#[test]
fn a_code_block_is_closed_and_opened_again() {
    let line = "    linha de código\n";
    let text = format!("Veja:\n\n```\n{}```\n\nPronto.", line.repeat(20));
    let parts = parts(&text, 120);
    for part in &parts {
        assert_eq!(part.matches(FENCE).count() % 2, 0, "{part}");
        assert!(part.chars().count() <= 120);
    }
    assert!(parts[1].starts_with("```\n    linha"));
    assert_eq!(words(&parts.join("\n")), words(&text));
}

#[test]
fn no_empty_code_block_follows_when_only_the_closing_fence_is_left() {
    for length in 40..80 {
        let text = format!("```\n{}\n```\nFim da resposta.", "c".repeat(length));
        let parts = parts(&text, 64);
        assert!(parts.iter().all(|part| !part.contains("```\n```")), "{parts:?}");
        assert_eq!(words(&parts.concat()).concat(), words(&text).concat());
    }
}

#[test]
fn no_word_is_lost_or_added_whatever_the_text() {
    const PIECES: [&str; 14] = [
        "pão",
        "R$ 10,00",
        ". ",
        "! ",
        "\n",
        "\n\n",
        " ",
        "😀",
        "👩‍🍳",
        "é",
        "- item",
        "fim. Novo",
        "_x_",
        "                                                                                    ",
    ];
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..300 {
        let count = random.usize(..600);
        let text: String = (0..count).map(|_| PIECES[random.usize(..PIECES.len())]).collect();
        let limit = random.usize(64..400);
        let parts = parts(&text, limit);
        let squeeze = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(squeeze(&parts.concat()), squeeze(&text));
        for part in &parts {
            assert!(part.chars().count() <= limit && !part.is_empty() && part.trim() == part);
        }
    }
}

#[test]
fn fences_anywhere_never_break_the_bounds() {
    const PIECES: [&str; 8] = ["```", "\n", "`", "código ", "``````", "    x", "\n\n", "e\u{301}"];
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..1_000 {
        let count = random.usize(..300);
        let text: String = (0..count).map(|_| PIECES[random.usize(..PIECES.len())]).collect();
        let limit = random.usize(..200);
        for part in split(&text, limit, 50).parts {
            assert!(part.chars().count() <= limit.max(SMALLEST_LIMIT) && !part.trim().is_empty());
        }
    }
}
