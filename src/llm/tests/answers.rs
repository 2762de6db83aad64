//! What is made of each provider's answers and errors, in every dialect of the two wire formats.

use crate::exchange::{CallError, HttpResponse};
use crate::llm::*;

fn response(status: u16, body: &str) -> CallResult {
    Ok(HttpResponse { status, retry_after: None, body: body.into() })
}

fn failure(provider: Provider, status: u16, body: &str) -> Failure {
    read_answer(provider, response(status, body)).unwrap_err()
}

fn class(provider: Provider, status: u16, body: &str) -> FailureClass {
    failure(provider, status, body).class
}

#[test]
fn anthropic_text_blocks_are_joined_and_thinking_is_left_out() {
    let body = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-5-5",
        "content":[{"type":"thinking","thinking":"hm","signature":"x"},
        {"type":"text","text":"Yes, "},{"type":"text","text":"size 40 is here."}],
        "stop_reason":"end_turn","usage":{"input_tokens":400,"cache_read_input_tokens":12,"output_tokens":88}}"#;
    let expected = Answer {
        text: "Yes, size 40 is here.".into(),
        model: "claude-haiku-5-5".into(),
        input_tokens: Some(412),
        output_tokens: Some(88),
        cut_by_limit: false,
    };
    assert_eq!(read_answer(Provider::Anthropic, response(200, body)), Ok(expected));
}

#[test]
fn openai_content_may_be_a_string_or_parts() {
    for content in
        [r#""Yes.""#, r#"[{"type":"thinking","thinking":[]},{"type":"text","text":"Yes."}]"#]
    {
        let body = format!(
            r#"{{"model":"gpt-5.4-mini-2026-03-17","choices":[{{"index":0,"finish_reason":"stop",
            "message":{{"role":"assistant","content":{content},"refusal":null}}}}],"error":null,
            "usage":{{"prompt_tokens":9,"completion_tokens":2}}}}"#
        );
        let answer = read_answer(Provider::OpenAi, response(200, &body)).unwrap();
        assert_eq!(answer.text, "Yes.");
        assert_eq!(answer.model, "gpt-5.4-mini-2026-03-17");
        assert_eq!((answer.input_tokens, answer.output_tokens), (Some(9), Some(2)));
    }
}

#[test]
fn numbers_and_names_that_no_column_takes_are_not_told() {
    let model = "m\\u0000".repeat(900);
    let body = format!(
        r#"{{"model":"{model}","choices":[{{"message":{{"content":"Yes."}}}}],
        "usage":{{"prompt_tokens":-9,"completion_tokens":99999999999}}}}"#
    );
    let answer = read_answer(Provider::OpenAi, response(200, &body)).unwrap();
    assert_eq!((answer.input_tokens, answer.output_tokens), (None, None));
    assert!(answer.model.chars().count() <= 201 && !answer.model.contains('\0'));
}

#[test]
fn an_answer_at_the_limit_is_marked() {
    let anthropic = r#"{"content":[{"type":"text","text":"We open"}],"stop_reason":"max_tokens"}"#;
    let openai = r#"{"choices":[{"finish_reason":"length","message":{"content":"We open"}}]}"#;
    for (provider, body) in [(Provider::Anthropic, anthropic), (Provider::OpenAi, openai)] {
        let answer = read_answer(provider, response(200, body)).unwrap();
        assert!(answer.cut_by_limit);
        assert_eq!((answer.model.as_str(), answer.input_tokens), ("", None));
    }
}

#[test]
fn reasoning_in_front_of_an_answer_never_reaches_the_customer() {
    for (written, sent) in [
        ("<think>\nHe wants 40.\n</think>\n\nYes.", "Yes."),
        ("He wants 40.</think>Yes.", "Yes."),
        ("[THINK]hm[/THINK]Yes.", "Yes."),
        ("<thinking>hm</thinking> Yes.", "Yes."),
        ("<think>cut off in the midd", ""),
        ("<think>a</think><thinking>b</thinking>\n<think>c</think>Yes.", "Yes."),
        ("He wants 40.</think><think>Or 50?</think>Yes.", "Yes."),
        ("<think>a</think>Yes. <think>b</think>", "Yes. <think>b</think>"),
        (" Write <think> and </think> in capitals. ", "Write <think> and </think> in capitals."),
    ] {
        assert_eq!(answer::without_reasoning(written), sent, "{written}");
    }
}

#[test]
fn an_empty_answer_is_tried_again_and_says_why() {
    let cut = r#"{"content":[{"type":"thinking","thinking":"…"}],"stop_reason":"max_tokens"}"#;
    let failed = failure(Provider::Anthropic, 200, cut);
    assert_eq!(failed.class, FailureClass::Transient);
    assert!(failed.message.contains("raise max_tokens"), "{}", failed.message);
    let empty = r#"{"choices":[{"finish_reason":"stop","message":{"content":null}}]}"#;
    assert!(failure(Provider::OpenAi, 200, empty).message.starts_with("empty answer"));
}

#[test]
fn a_refusal_is_neither_an_answer_nor_tried_again() {
    use Provider::{Anthropic, OpenAi};
    for (provider, status, body) in [
        (Anthropic, 200, r#"{"content":[{"type":"text","text":"I"}],"stop_reason":"refusal"}"#),
        (
            Anthropic,
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}"#,
        ),
        (
            OpenAi,
            200,
            r#"{"choices":[{"finish_reason":"stop","message":{"content":null,"refusal":"I can't."}}]}"#,
        ),
        (
            OpenAi,
            200,
            r#"{"choices":[{"finish_reason":"content_filter","message":{"content":"He"}}]}"#,
        ),
        (
            OpenAi,
            400,
            r#"{"error":{"message":"blocked","type":null,"param":"prompt","code":"content_filter"}}"#,
        ),
        (OpenAi, 403, r#"{"error":{"code":403,"message":"Your input was flagged"}}"#),
    ] {
        let class = class(provider, status, body);
        assert_eq!(class, FailureClass::Refused, "{body}");
        assert!(!class.is_retried());
    }
}

#[test]
fn a_prompt_that_is_too_long_is_known_in_every_dialect() {
    use Provider::{Anthropic, OpenAi};
    for (provider, status, body) in [
        (
            Anthropic,
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 208310 tokens > 200000 maximum"}}"#,
        ),
        (
            Anthropic,
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"}}"#,
        ),
        (
            Anthropic,
            413,
            r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}"#,
        ),
        (Anthropic, 200, r#"{"content":[],"stop_reason":"model_context_window_exceeded"}"#),
        (
            Anthropic,
            400,
            r#"{"error":{"code":400,"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error","n_prompt_tokens":900,"n_ctx":512}}"#,
        ),
        (
            OpenAi,
            400,
            r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
        ),
        (
            OpenAi,
            500,
            r#"{"error":{"code":500,"message":"Context size has been exceeded.","type":"server_error"}}"#,
        ),
    ] {
        assert_eq!(class(provider, status, body), FailureClass::ContextTooLong, "{body}");
    }
}

#[test]
fn wrong_settings_blame_the_tenant_whatever_the_status() {
    use Provider::{Anthropic, OpenAi};
    for (provider, status, body) in [
        (
            Anthropic,
            401,
            r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#,
        ),
        (
            Anthropic,
            404,
            r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-x"}}"#,
        ),
        (
            Anthropic,
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#,
        ),
        (
            Anthropic,
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: 90000 > 64000, which is the maximum allowed number of output tokens"}}"#,
        ),
        (
            OpenAi,
            429,
            r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
        ),
        (
            OpenAi,
            400,
            r#"{"error":{"message":"invalid model ID","type":"invalid_request_error","param":null,"code":null}}"#,
        ),
        (
            OpenAi,
            400,
            r#"[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT"}}]"#,
        ),
        (OpenAi, 404, r#"{"error":"model 'llama9' not found"}"#),
        (OpenAi, 308, ""),
    ] {
        assert_eq!(class(provider, status, body), FailureClass::Configuration, "{body}");
    }
}

#[test]
fn a_full_provider_costs_no_attempt() {
    let overloaded =
        r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let per_minute = r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your rate limit: lower max_tokens or wait"}}"#;
    for (status, body) in [(429, per_minute), (429, "{}"), (529, overloaded), (500, overloaded)] {
        let class = class(Provider::Anthropic, status, body);
        assert_eq!(class, FailureClass::Deferred, "{status}");
        assert!(!class.is_attempt() && class.is_retried());
    }
}

#[test]
fn status_503_defers_only_when_it_names_a_time() {
    let loading = r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#;
    assert_eq!(class(Provider::OpenAi, 503, loading), FailureClass::Transient);
    let wait = Some(Duration::from_secs(7));
    let response = HttpResponse { status: 503, retry_after: wait, body: loading.into() };
    let failed = read_answer(Provider::OpenAi, Ok(response)).unwrap_err();
    assert_eq!((failed.class, failed.retry_after), (FailureClass::Deferred, wait));
}

#[test]
fn what_may_pass_is_transient_and_what_cannot_is_rejected() {
    for (status, body, expected) in [
        (500, "oops", FailureClass::Transient),
        (504, "<html>gateway</html>", FailureClass::Transient),
        (408, "", FailureClass::Transient),
        (200, "<html>hello</html>", FailureClass::Transient),
        (200, "{}", FailureClass::Transient),
        (422, r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#, FailureClass::Rejected),
        (
            400,
            r#"{"error":{"message":"bad role","type":"invalid_request_error"}}"#,
            FailureClass::Rejected,
        ),
    ] {
        assert_eq!(class(Provider::OpenAi, status, body), expected, "{status} {body}");
    }
    for error in [CallError::NotSent("refused".into()), CallError::Unknown("timed out".into())] {
        let failed = read_answer(Provider::OpenAi, Err(error)).unwrap_err();
        assert_eq!(failed.class, FailureClass::Transient);
    }
}

#[test]
fn a_call_that_the_settings_keep_in_is_no_attempt_and_one_that_they_forbid_is_the_tenants_to_mend()
{
    let error = CallError::Withheld("10.0.0.1 is a private address: add it".into());
    let failed = read_answer(Provider::OpenAi, Err(error)).unwrap_err();
    assert_eq!(failed.class, FailureClass::Deferred);
    assert_eq!(
        failed.message,
        "openai is not called: 10.0.0.1 is a private address: add it; it is asked again later, \
         without using up an attempt"
    );
    let error = CallError::Forbidden("169.254.169.254 is never called".into());
    let failed = read_answer(Provider::Anthropic, Err(error)).unwrap_err();
    assert_eq!(failed.class, FailureClass::Configuration);
    assert!(failed.message.contains("check the tenant's") && failed.message.contains("169.254"));
}

#[test]
fn an_error_within_status_200_is_an_error() {
    let top = r#"{"error":{"code":429,"message":"upstream is busy"}}"#;
    assert_eq!(class(Provider::OpenAi, 200, top), FailureClass::Deferred);
    let choice = r#"{"choices":[{"finish_reason":"error","error":{"code":502,"message":"upstream"},"message":{"content":"Hal"}}]}"#;
    assert_eq!(class(Provider::OpenAi, 200, choice), FailureClass::Transient);
}

#[test]
fn a_message_is_one_short_line_with_what_to_do() {
    let body = format!(r#"{{"error":{{"message":"a\nb\u0000{}"}}}}"#, "é ".repeat(2_000));
    let message = failure(Provider::OpenAi, 401, &body).message;
    assert!(message.starts_with("openai answered 401: a b é"), "{message}");
    assert!(message.ends_with("check the tenant's llm_api_key, llm_base_url and llm_model"));
    assert!(message.chars().count() <= 500 && !message.contains(char::is_control));
}
