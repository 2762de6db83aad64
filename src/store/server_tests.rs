//! Tests that need a server but no other process: each runs in one transaction that is rolled back.
//! What needs commits, other sessions or HTTP is in `tests/`.

// A test may unwrap: its panic is its failure.
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use chrono::{DateTime, Utc};
    use pgrx::prelude::*;

    use crate::conversation::loop_guard::Answers;
    use crate::refusals::{Reason, Refused};
    use crate::settings;
    use crate::store::deliveries::Kind;
    use crate::store::recovery::Recovered;
    use crate::store::shares::Bounds;
    use crate::store::{
        Chat, answers, chat_aliases, deliveries, many_deliveries, many_replies, messages,
        processed_events, questions, recovery, refused_webhooks, replies, sessions, tenants,
    };

    const TENANT: &str = "INSERT INTO whaply.tenants (instance_name, evo_server_url) \
                          VALUES ('loja', 'http://127.0.0.1:1') RETURNING id";

    fn chat() -> Chat {
        let tenant_id = Spi::get_one::<i32>(TENANT).unwrap().unwrap();
        let chat = Chat { tenant_id, chat_id: "5511999990001@s.whatsapp.net".to_owned() };
        sessions::create_and_lock(&chat).unwrap();
        chat
    }

    fn has_transaction_id() -> bool {
        // SAFETY: reads the state of the current transaction.
        unsafe { pg_sys::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId }
    }

    /// (SQLSTATE, message, hint) of the ERROR that a statement ends with.
    fn error_of(sql: &str) -> (String, String, String) {
        Spi::run(
            "CREATE FUNCTION pg_temp.error_of(statement text) RETURNS text[] LANGUAGE plpgsql AS $$ \
             DECLARE hint text; BEGIN EXECUTE statement; RETURN NULL; \
             EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT; \
             RETURN ARRAY[SQLSTATE, SQLERRM, hint]; END $$",
        )
        .unwrap();
        let error =
            Spi::get_one_with_args::<Vec<String>>("SELECT pg_temp.error_of($1)", &[sql.into()]);
        let mut parts = error.unwrap().expect("the statement did not fail").into_iter();
        let mut next = || parts.next().unwrap();
        (next(), next(), next())
    }

    #[pg_test]
    fn an_unknown_instance_is_p0002_and_says_how_to_add_it() {
        let (sqlstate, message, hint) =
            error_of(r#"SELECT whaply.ingest('{"event":"call","instance":"nobody","data":{}}')"#);
        assert_eq!(sqlstate, "P0002");
        assert!(message.contains("\"nobody\""), "{message}");
        assert!(hint.contains("INSERT INTO whaply.tenants"), "{hint}");
    }

    #[pg_test]
    fn a_null_argument_is_22004_and_named() {
        let (sqlstate, message, _) = error_of("SELECT whaply.pause_session(NULL, 'x')");
        assert_eq!(
            (sqlstate.as_str(), message.as_str()),
            ("22004", "instance_name must not be NULL")
        );
    }

    #[pg_test]
    fn a_wrong_secret_is_pt401_whatever_else_is_right() {
        Spi::get_one::<i32>(TENANT).unwrap();
        let (sqlstate, _, hint) =
            error_of(r#"SELECT whaply.webhook('{"event":"call","instance":"loja","data":{}}')"#);
        assert_eq!(sqlstate, "PT401");
        assert!(hint.contains("x-whaply-secret"), "{hint}");
    }

    #[pg_test]
    fn a_number_that_no_float_holds_is_taken_and_kept() {
        Spi::get_one::<i32>(TENANT).unwrap();
        Spi::run(
            r#"SELECT whaply.ingest('{"event":"messages.upsert","instance":"loja","data":{
                "key":{"id":"A","remoteJid":"5511999990001@s.whatsapp.net","fromMe":false},
                "message":{"conversation":"Oi"},"messageTimestamp":1,"odd":1e400}}')"#,
        )
        .unwrap();
        let kept = Spi::get_one::<bool>(
            "SELECT (raw #>> '{data,odd}')::numeric = 1e400 FROM whaply.messages",
        );
        assert_eq!(kept, Ok(Some(true)));
    }

    #[pg_test]
    fn reading_assigns_no_transaction_id() {
        let none = tenants::by_instance("nobody", &settings::behaviour()).unwrap();
        assert!(none.is_none());
        let bounds = Bounds {
            max_in_flight: 32,
            reply_expiry: chrono::Duration::hours(1),
            cooling: &[],
            at_full_gateways: &[],
            refused_replies: &[],
            refused_deliveries: &[],
        };
        assert!(replies::next_due_at(bounds).unwrap().is_none());
        assert!(!has_transaction_id());
    }

    #[pg_test]
    fn a_time_survives_the_way_to_the_table_and_back_to_the_microsecond() {
        let chat = chat();
        let at: DateTime<Utc> = "2025-10-21T13:59:59.123456Z".parse().unwrap();
        questions::open(&chat, at, at).unwrap();
        assert_eq!(replies::open_in(&chat).unwrap().unwrap().first_sent_at, at);
        let text = Spi::get_one::<String>(
            "SELECT to_char(due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') FROM whaply.replies",
        );
        assert_eq!(text.unwrap().unwrap(), "2025-10-21 13:59:59.123456");
    }

    #[pg_test]
    fn a_late_human_message_never_moves_the_silence_back() {
        let chat = chat();
        let late: DateTime<Utc> = "2025-10-21T12:00:00Z".parse().unwrap();
        let early: DateTime<Utc> = "2025-10-21T11:00:00Z".parse().unwrap();
        sessions::human_spoke(&chat, late).unwrap();
        sessions::human_spoke(&chat, early).unwrap();
        let kept = Spi::get_one::<bool>(
            "SELECT last_human_at = '2025-10-21T12:00:00Z'::timestamptz FROM whaply.sessions",
        );
        assert_eq!(kept, Ok(Some(true)));
    }

    #[pg_test]
    fn an_edit_that_comes_before_its_message_is_kept_for_it() {
        let chat = chat();
        let at: DateTime<Utc> = "2025-10-21T12:00:00Z".parse().unwrap();
        assert!(messages::edit(chat.tenant_id, "A", Some("three"), at).unwrap());
        assert!(
            !messages::edit(chat.tenant_id, "A", Some("two"), at - chrono::Duration::seconds(1))
                .unwrap()
        );
        assert!(messages::find(chat.tenant_id, "A").unwrap().unwrap().chat.is_none());
    }

    #[pg_test]
    fn answers_are_counted_by_chat_under_all_its_names_and_by_tenant() {
        let chat = chat();
        chat_aliases::add(&chat, "100000000000001@lid").unwrap();
        let reply = questions::open(&chat, Utc::now(), Utc::now()).unwrap();
        Spi::run(
            "INSERT INTO whaply.sessions (tenant_id, chat_id) \
             SELECT id, unnest(ARRAY['100000000000001@lid', 'another@lid']) FROM whaply.tenants; \
             INSERT INTO whaply.replies (tenant_id, chat_id, state, due_at, first_sent_at, answered_at) \
             SELECT t.id, r.chat_id, r.state, now(), now(), r.answered_at FROM whaply.tenants t, (VALUES \
                    ('5511999990001@s.whatsapp.net', 'sent', now() - interval '1 hour'), \
                    ('5511999990001@s.whatsapp.net', 'sent', now() - interval '1 day'), \
                    ('5511999990001@s.whatsapp.net', 'failed', NULL), \
                    ('100000000000001@lid', 'sent', now() - interval '2 hours'), \
                    ('another@lid', 'sent', now() - interval '1 hour'), \
                    ('another@lid', 'generating', NULL)) AS r (chat_id, state, answered_at)",
        )
        .unwrap();
        let reply = replies::open_by_id(reply).unwrap().unwrap();
        let given = answers::given(&[(&reply, chrono::Duration::hours(3))]).unwrap();
        assert_eq!(given[&reply.id], Answers { of_chat: 2, of_tenant: 4 });
    }

    /// A message of ours in the store, undecided, as an event with this status and mode brought it.
    fn undecided(chat: &Chat, message_id: &str, event: &str, data: &str) {
        Spi::run_with_args(
            "WITH said AS ( \
                 INSERT INTO whaply.messages (tenant_id, chat_id, message_id, from_me, text, raw, sender) \
                 VALUES ($1, $2, $3, true, 'Custa 40', $5::jsonb, 'other')) \
             INSERT INTO whaply.processed_events (tenant_id, message_id, event_type, action_taken) \
             VALUES ($1, $3, $4, 'pending_echo')",
            &[
                chat.tenant_id.into(),
                chat.chat_id.as_str().into(),
                message_id.into(),
                event.into(),
                data.into(),
            ],
        )
        .unwrap();
    }

    #[pg_test]
    fn what_the_owner_typed_is_no_echo_and_a_gateways_copy_of_a_send_is_one() {
        let chat = chat();
        let since = Utc::now() - chrono::Duration::hours(1);
        let echo = || processed_events::echo_of(&chat, "Custa 40", since).unwrap();
        let typed = r#"{"data":{"key":{"addressingMode":"pn"},"status":"SERVER_ACK"}}"#;
        undecided(&chat, "TYPED", "messages.upsert", typed);
        assert_eq!(echo(), None);
        let copied = r#"{"data":{"key":{},"status":"PENDING"}}"#;
        undecided(&chat, "COPY", "messages.upsert", copied);
        assert_eq!(echo().as_deref(), Some("COPY"));
        undecided(&chat, "ECHO", "send.message", copied);
        let ids = ["TYPED", "COPY", "ECHO"].map(str::to_owned);
        assert_eq!(deliveries::taken_ids(chat.tenant_id, &ids).unwrap(), ["TYPED"]);
    }

    #[pg_test]
    fn orphans_are_taken_back_but_for_what_is_held() {
        let chat = chat();
        let held = questions::open(&chat, Utc::now(), Utc::now()).unwrap();
        many_replies::claim(&[held], Utc::now()).unwrap();
        assert_eq!(
            recovery::requeue_orphans(&[held], None).unwrap(),
            Recovered { taken: 0, left: 0 }
        );
        assert_eq!(recovery::requeue_orphans(&[], None).unwrap(), Recovered { taken: 1, left: 0 });
        let delivery = deliveries::add(&chat, None, Kind::Reply, 1, "Custa 40").unwrap();
        many_deliveries::begin(&[delivery]).unwrap();
        let second = chrono::Duration::seconds(1);
        let kept = recovery::orphans_to_uncertain(&[delivery], None, second, second).unwrap();
        assert_eq!(kept, Recovered { taken: 0, left: 0 });
        let taken = recovery::orphans_to_uncertain(&[], None, second, second).unwrap();
        assert_eq!(taken, Recovered { taken: 1, left: 0 });
    }

    #[pg_test]
    fn a_call_begun_under_a_former_name_of_a_chat_is_in_flight_in_that_chat() {
        let chat = chat();
        let younger = Chat { chat_id: "100000000000001@lid".to_owned(), ..chat.clone() };
        sessions::create_and_lock(&younger).unwrap();
        let delivery = deliveries::add(&younger, None, Kind::Reply, 1, "Custa 40").unwrap();
        many_deliveries::begin(&[delivery]).unwrap();
        assert!(!deliveries::in_flight(chat.tenant_id, Some(&chat.chat_id)).unwrap());
        chat_aliases::merge(chat.tenant_id, &chat.chat_id, &younger.chat_id).unwrap();
        assert!(deliveries::in_flight(chat.tenant_id, Some(&chat.chat_id)).unwrap());
    }

    #[pg_test]
    fn home_is_this_database() {
        let home = Spi::get_one::<bool>(
            "SELECT whaply.home_id() = (SELECT system_identifier FROM pg_control_system()) || '/' || \
                    (SELECT oid FROM pg_database WHERE datname = current_database())",
        );
        assert_eq!(home, Ok(Some(true)));
    }

    #[pg_test]
    fn a_sum_of_refused_posts_begins_anew_after_a_day_and_goes_after_a_month() {
        let tenant_id = chat().tenant_id;
        let refused = |tenant_id: i32, count: u32, days_ago: i64| Refused {
            tenant_id: Some(tenant_id),
            reason: Reason::WrongSecret,
            count,
            last_at: Utc::now() - chrono::Duration::days(days_ago),
        };
        let sums = || {
            let sums = "SELECT array_agg(refused) FROM whaply.refused_webhooks WHERE tenant_id IS NOT NULL";
            Spi::get_one::<Vec<i64>>(sums).unwrap().unwrap_or_default()
        };
        // What was counted for a tenant that is gone is of no use to anybody.
        let held = refused_webhooks::add(&[refused(tenant_id, 2, 40), refused(i32::MAX, 1, 40)]);
        assert_eq!((held.unwrap(), sums()), (vec![], vec![2]));
        refused_webhooks::add(&[refused(tenant_id, 3, 40), refused(tenant_id, 1, 40)]).unwrap();
        assert_eq!(sums(), [6]);
        refused_webhooks::add(&[refused(tenant_id, 1, 31)]).unwrap();
        assert_eq!(sums(), [1]);
        refused_webhooks::delete_older_than(32).unwrap();
        assert_eq!(sums(), [1]);
        refused_webhooks::delete_older_than(30).unwrap();
        assert!(sums().is_empty());
    }
}
