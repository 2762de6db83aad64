//! What a language model's server answers: the words of the answer, or one line on why there are none.

use super::responses::{assert_is_a_short_line, first};
use crate::llm::{self, Answer, Failure, FailureClass, Provider};

/// What opens the reasoning of open models. No customer sees it.
const REASONING: [&str; 3] = ["<think>", "<thinking>", "[THINK]"];

pub fn check(input: &[u8]) {
    let (result, _) = first(input);
    for provider in Provider::ALL {
        let read = llm::read_answer(provider, result.clone());
        assert_eq!(read, llm::read_answer(provider, result.clone()), "read twice");
        match &read {
            Ok(answer) => {
                let status = result.as_ref().map(|response| response.status);
                assert!(status.is_ok_and(|status| (200..300).contains(&status)), "{status:?}");
                check_answer(answer);
            }
            Err(failure) => check_failure(failure),
        }
    }
}

fn check_answer(answer: &Answer) {
    assert!(!answer.text.is_empty() && answer.text.trim() == answer.text, "{:?}", answer.text);
    assert!(!REASONING.iter().any(|opening| answer.text.starts_with(opening)), "{}", answer.text);
    assert_is_a_short_line(&answer.model, 201);
    for tokens in [answer.input_tokens, answer.output_tokens].into_iter().flatten() {
        assert!(tokens >= 0, "{tokens} tokens");
    }
}

fn check_failure(failure: &Failure) {
    assert_is_a_short_line(&failure.message, 500);
    assert!(!failure.message.is_empty());
    if failure.class == FailureClass::Deferred {
        assert!(failure.class.is_retried() && !failure.class.is_attempt());
    }
}
