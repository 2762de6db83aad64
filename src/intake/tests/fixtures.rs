//! Every webhook that Evolution is known to send, in one batch, in several, and twice.

/// Texts of the fixtures of these names.
macro_rules! webhooks {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../../tests/fixtures/webhooks/", $name, ".json")))),+]
    };
}

// A test may unwrap: its panic is its failure.
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use chrono::Utc;
    use pgrx::prelude::*;
    use serde_json::{Value, json};

    use crate::intake::tests::tables::{assert_same, make_tenants};

    const EXPECTED: &str = include_str!("../../../tests/fixtures/expected.json");

    #[rustfmt::skip]
    const WEBHOOKS: [(&str, &str); 61] = webhooks![
        "call.offer",
        "cloud.messages.upsert.image",
        "cloud.messages.upsert.reaction",
        "cloud.messages.upsert.text",
        "cloud.messages.upsert.text_reply",
        "cloud.send.message.text",
        "connection.update",
        "connection.update.close",
        "connection.update.connecting",
        "connection.update.open",
        "connection.update.refused",
        "contacts.upsert.from_message",
        "evolution.messages.upsert.conversation",
        "evolution.send.message.text",
        "group-participants.update",
        "logout.instance",
        "messages.delete.customer_revoke",
        "messages.edited.revoke",
        "messages.edited.text",
        "messages.set",
        "messages.update.customer_message_read_by_owner",
        "messages.update.delivered",
        "messages.update.played",
        "messages.update.read",
        "messages.update.server_ack",
        "messages.upsert.album",
        "messages.upsert.audio_ptt",
        "messages.upsert.audio_speech_to_text",
        "messages.upsert.buttons_response",
        "messages.upsert.contact",
        "messages.upsert.conversation",
        "messages.upsert.document",
        "messages.upsert.document_with_caption",
        "messages.upsert.ephemeral_wrapper",
        "messages.upsert.extended_text",
        "messages.upsert.from_me_phone",
        "messages.upsert.from_me_phone_group",
        "messages.upsert.group",
        "messages.upsert.image_base64",
        "messages.upsert.image_caption",
        "messages.upsert.image_no_caption",
        "messages.upsert.image_s3_media_url",
        "messages.upsert.interactive_response",
        "messages.upsert.lid",
        "messages.upsert.location",
        "messages.upsert.no_push_name",
        "messages.upsert.offline_append",
        "messages.upsert.reaction",
        "messages.upsert.reply_quoted",
        "messages.upsert.status_broadcast",
        "messages.upsert.sticker",
        "messages.upsert.view_once_v2",
        "presence.update",
        "qrcode.updated",
        "send.message.image",
        "send.message.location",
        "send.message.text",
        "send.message.text_group",
        "send.message.text_quoted",
        "send.message.update",
        "status.instance.closed",
    ];

    /// All of them, as if they had come just now; the first half to one tenant, the second to another.
    fn events() -> Vec<Value> {
        let now = Utc::now().timestamp();
        let read = |(place, (_, text)): (usize, &(&str, &str))| {
            let mut event: Value = serde_json::from_str(text).unwrap();
            event["instance"] = json!(if place % 7 == 3 { "two" } else { "one" });
            if event["data"].get("messageTimestamp").is_some() {
                event["data"]["messageTimestamp"] = json!(now - 5);
            }
            event
        };
        WEBHOOKS.iter().enumerate().map(read).collect()
    }

    #[pg_test]
    fn no_fixture_is_left_out() {
        let expected: Value = serde_json::from_str(EXPECTED).unwrap();
        let mut expected: Vec<&str> = expected
            .as_object()
            .unwrap()
            .keys()
            .map(|name| name.trim_end_matches(".json"))
            .collect();
        expected.sort_unstable();
        let names: Vec<&str> = WEBHOOKS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, expected);
    }

    #[pg_test]
    fn every_webhook_in_one_batch_leaves_what_each_leaves_alone() {
        make_tenants(&[]);
        assert_same(&events(), &[], Utc::now());
    }

    #[pg_test]
    fn every_webhook_twice_and_in_several_batches_leaves_what_each_leaves_alone() {
        make_tenants(&[]);
        let events: Vec<Value> =
            events().into_iter().flat_map(|event| [event.clone(), event]).collect();
        assert_same(&events, &[5, 6, 40, 77], Utc::now());
    }

    #[pg_test]
    fn customers_alone_are_taken_together() {
        make_tenants(&[]);
        let is_of_a_customer = |event: &Value| {
            event["event"] == "messages.upsert" && event["data"]["key"]["fromMe"] == json!(false)
        };
        let mut events = events();
        events.retain(is_of_a_customer);
        assert_same(&events, &[3], Utc::now());
    }
}
