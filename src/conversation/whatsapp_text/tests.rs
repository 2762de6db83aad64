//! Answers as models write them to customers of a shop, and what WhatsApp is to get.

use super::*;

mod corpus;

use corpus::{ANSWERS, PLAIN};

#[track_caller]
fn becomes(markdown: &str, whatsapp: &str) {
    assert_eq!(from_markdown(markdown), whatsapp);
    assert_eq!(from_markdown(whatsapp), whatsapp, "not the same the second time");
}

#[track_caller]
fn stays(text: &str) {
    becomes(text, text);
}

#[test]
fn answers_of_models_become_readable_chat() {
    for (markdown, whatsapp) in ANSWERS {
        becomes(markdown, whatsapp);
    }
}

#[test]
fn plain_text_with_special_characters_stays_as_it_is() {
    for text in PLAIN {
        stays(text);
    }
}

#[test]
fn emphasis_becomes_whatsapps_marks() {
    becomes("**negrito** e __negrito__", "*negrito* e *negrito*");
    becomes("_itálico_ e ~~riscado~~", "_itálico_ e ~riscado~");
    becomes("***os dois*** e **_os dois_**", "_*os dois*_ e *_os dois_*");
    becomes("**muito *mesmo* bom**", "*muito _mesmo_ bom*");
    becomes("_a **b** c_", "_a *b* c_");
}

#[test]
fn a_single_star_is_bold_since_the_model_knows_it_writes_on_whatsapp() {
    stays("*Promoção* de hoje: ~R$ 100~ *R$ 80*");
    becomes("*Total: **R$ 10***", "*Total: R$ 10*");
}

#[test]
fn emphasis_over_two_lines_is_closed_and_opened_again() {
    becomes("**Rua Augusta, 10\nCentro** - SP", "*Rua Augusta, 10*\n*Centro* - SP");
    becomes("> **a\n> b**", "> *a*\n> *b*");
}

#[test]
fn emphasis_within_a_word_is_left_out_since_whatsapp_would_show_the_stars() {
    becomes("**30**min de **R**everência", "30min de Reverência");
    becomes("R$~~10~~8", "R$~10~8");
}

#[test]
fn code_stays_code() {
    becomes("Use `PIX10` ou ``PIX20``.", "Use `PIX10` ou `PIX20`.");
    becomes("Pix:\n```text\n00020126BR.GOV\n```\nPronto", "Pix:\n```00020126BR.GOV```\nPronto");
    becomes("```python\na = 1\n\nb = *2*\n```", "```\na = 1\n\nb = *2*\n```");
    becomes("~~~\na\nb\n~~~", "```\na\nb\n```");
    becomes(
        "- passo\n  ```sh\n  ls\n  cd\n  ```\n- fim",
        "- passo\n  ```\n  ls\n  cd\n  ```\n- fim",
    );
    stays("Chave: ```loja@pix.com``` (e-mail)");
}

#[test]
fn code_without_an_end_is_closed_and_whatsapps_own_form_stays() {
    becomes("Veja:\n```js\nlet a;\nlet b;", "Veja:\n```\nlet a;\nlet b;\n```");
    stays("```linha um\nlinha dois```");
    becomes("```\n```\nOi", "Oi");
}

#[test]
fn headings_become_bold_lines() {
    becomes(
        "# Cardápio\nHoje:\n\n### **Bolos** ###\n- cenoura",
        "*Cardápio*\nHoje:\n\n*Bolos*\n- cenoura",
    );
    becomes("## Frete _grátis_", "*Frete _grátis_*");
    becomes("#\n\nOi", "Oi");
    becomes("Título\n======\nOi", "*Título*\n\nOi");
}

#[test]
fn a_paragraph_above_dashes_is_no_heading() {
    becomes("Temos pão.\n---\nE bolo.", "Temos pão.\n\nE bolo.");
}

#[test]
fn rules_are_dropped_but_not_blanks_to_fill_in() {
    becomes("Oi\n\n---\n\nTchau\n\n***", "Oi\n\nTchau");
    stays("Assine:\n\n______________\nObrigado");
}

#[test]
fn links_become_text_and_address() {
    becomes("Veja o [cardápio](https://sol.com/menu).", "Veja o cardápio: https://sol.com/menu.");
    becomes("[Site:](https://sol.com \"Sol\")", "Site: https://sol.com");
    becomes("[https://sol.com](https://sol.com/)", "https://sol.com");
    becomes("[www.sol.com](https://sol.com)", "www.sol.com");
    becomes("<https://sol.com/a_b>", "https://sol.com/a_b");
    becomes("[](https://sol.com)", "https://sol.com");
    becomes(
        "![Bolo](https://sol.com/b.jpg) ![](https://sol.com/c.jpg)",
        "Bolo: https://sol.com/b.jpg https://sol.com/c.jpg",
    );
    becomes(
        "[Mapa][1]\n\n[1]: https://maps.app/x",
        "Mapa: https://maps.app/x\n\n[1]: https://maps.app/x",
    );
}

#[test]
fn addresses_of_mail_and_telephone_lose_their_scheme() {
    becomes("[oi@sol.com](mailto:oi@sol.com)", "oi@sol.com");
    becomes("<oi@sol.com>", "oi@sol.com");
    becomes("[E-mail](mailto:oi@sol.com)", "E-mail: oi@sol.com");
    becomes("[(11) 99999-0001](tel:+5511999990001)", "(11) 99999-0001");
    becomes("[Ligue](tel:+5511999990001)", "Ligue: +5511999990001");
}

#[test]
fn an_address_never_touches_a_mark() {
    becomes("**[Site](https://sol.com)**", "*Site*: https://sol.com");
    becomes("**Loja: [Site](https://sol.com) novo**", "*Loja: Site*: https://sol.com *novo*");
    becomes("[**Site**](https://sol.com)", "*Site*: https://sol.com");
}

#[test]
fn brackets_that_are_no_link_stay() {
    stays("Opções: [A](1), [B](2) ou [image: x]\n[Nota]: só amanhã");
}

#[test]
fn lists_keep_their_numbers_and_indentation() {
    becomes("* a\n* b\n    * c\n\n+ frete", "- a\n- b\n    - c\n\n+ frete");
    stays("3. três\n4. quatro\n\n1) um\n2) dois\n   - sub");
    stays("3. Bronze\n2. Prata\n1. Ouro");
    becomes("1. a\n1. b\n1. c", "1. a\n2. b\n3. c");
    stays("Passos:\n1. Entre\n2. Pague\nDepois espere.");
    stays("- a\n\n- b\n\n  ainda b\n\nfim");
}

#[test]
fn quotes_keep_their_marker() {
    becomes("> **Nota:** só hoje\n> e amanhã\n\nOi", "> *Nota:* só hoje\n> e amanhã\n\nOi");
}

#[test]
fn tables_become_rows() {
    becomes(
        "Preços:\n\n| Bolo | Preço |\n|:---|---:|\n| **Cenoura** | R$ 30 |\n| Fubá<br>com goiaba | R$ 25 \\| un. |\n\nQual?",
        "Preços:\n\nBolo | Preço\n*Cenoura* | R$ 30\nFubá / com goiaba | R$ 25 | un.\n\nQual?",
    );
    becomes("a|b\n-|-\n1|2", "a | b\n1 | 2");
}

#[test]
fn html_is_dropped_and_its_text_kept() {
    becomes("Oi<br>Tudo bem?<br/>\nSim", "Oi\nTudo bem?\nSim");
    becomes("<b>Oi</b> <u>você</u> <i>aí</i><!-- nota -->", "*Oi* você _aí_");
    becomes("<div>\n**Oi**\n</div>", "*Oi*");
    becomes("<!-- uma\nnota -->\n**Oi**", "*Oi*");
    stays("Oi\n\n<!-- sem fim\ntudo bem?");
    becomes("<ul><li>a</li><li>**b**</li></ul>", "- a\n- *b*");
    becomes("R&amp;B &lt;3 &quot;x&quot; caf&eacute; &#128512;", "R&B <3 \"x\" café 😀");
}

#[test]
fn words_in_angle_brackets_are_text() {
    stays("Envie: <nome completo> - <endereço>, a < b > c, <3");
    becomes("<nome>\n**e** CPF", "<nome>\n*e* CPF");
}

#[test]
fn escapes_are_removed() {
    becomes("R\\$ 10, 5 \\* 3, a\\_b, 1\\. um", "R$ 10, 5 * 3, a_b, 1. um");
    becomes("linha\\\noutra  \nfim", "linha\noutra\nfim");
    becomes("C:\\pasta", "C:\\pasta");
}

#[test]
fn indented_text_is_no_code() {
    becomes(
        "Endereço:\n\n    Rua **A**, 10\n      Centro\n\nOk",
        "Endereço:\n\nRua *A*, 10\nCentro\n\nOk",
    );
    becomes("-      **x**\n\n>     y", "- *x*\n\n> y");
    becomes("\t**Oi**", "*Oi*");
}

#[test]
fn blank_lines_and_blanks_are_tidied() {
    becomes("\n\n  Oi  \n\n\n \nTchau\r\n\r\n", "Oi\n\nTchau");
    for empty in ["", " \n\t", "---", "<br>", "\0"] {
        becomes(empty, "");
    }
}

const PIECES: [&str; 42] = [
    "*",
    "**",
    "***",
    "_",
    "__",
    "~",
    "~~",
    "`",
    "```",
    "\n",
    "\n\n",
    " ",
    "    ",
    "\t",
    "- ",
    "* ",
    "+ ",
    "1. ",
    "2) ",
    "# ",
    "## ",
    "> ",
    "|",
    "|-|-|\n",
    "---",
    "===",
    "[",
    "](",
    ")",
    "![",
    "<",
    ">",
    "<br>",
    "</b>",
    "&amp;",
    "\\",
    "https://a.b",
    "ação",
    "😀",
    "x",
    "1",
    "\r\n",
];

#[test]
fn no_input_panics_or_loses_a_word() {
    let mut random = fastrand::Rng::with_seed(42);
    for _ in 0..20_000 {
        let count = random.usize(..40);
        let text: String = (0..count).map(|_| PIECES[random.usize(..PIECES.len())]).collect();
        let output = from_markdown(&text);
        for word in ["ação", "😀"] {
            assert_eq!(
                output.matches(word).count(),
                text.matches(word).count(),
                "{text:?} {output:?}"
            );
        }
    }
}

#[test]
fn broken_characters_and_endless_nesting_do_no_harm() {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..2_000 {
        let text: String = (0..random.usize(..60)).map(|_| random.char(..)).collect();
        from_markdown(&text);
    }
    for piece in ["> ", "- ", "**a ", "[", "-      ", "<div>", "1. ", "~~a", "| a ", "`` "] {
        from_markdown(&piece.repeat(20_000));
    }
}
