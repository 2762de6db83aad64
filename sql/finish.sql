-- What every object is, for \d+ and \df+; and who may use it: nobody but its owner until granted.

COMMENT ON SCHEMA whaply IS 'whaply: the backend of a WhatsApp AI assistant behind Evolution API';

COMMENT ON TABLE whaply.tenants IS 'A tenant is one Evolution instance: one WhatsApp number and its assistant. NULL in a setting means the GUC of the same name.';
COMMENT ON COLUMN whaply.tenants.instance_name IS 'The name of the instance in Evolution, with its case';
COMMENT ON COLUMN whaply.tenants.evo_server_url IS 'Base URL of Evolution API';
COMMENT ON COLUMN whaply.tenants.evo_api_key IS 'The instance''s token, or Evolution''s global key, sent as the header apikey; or its source: env:NAME, file:/path, vault:NAME';
COMMENT ON COLUMN whaply.tenants.system_prompt IS 'What the model is told about itself; the contact''s name and the local time are added';
COMMENT ON COLUMN whaply.tenants.llm_provider IS 'The wire format of the model''s server: anthropic (Messages API) or openai (Chat Completions, and every server compatible with it)';
COMMENT ON COLUMN whaply.tenants.mode IS 'off: store only. draft: generate, send nothing. test: answer only test_chats. on';
COMMENT ON COLUMN whaply.tenants.test_chats IS 'In mode test, the chats that get answers: JIDs, LIDs or phone numbers in any writing';
COMMENT ON COLUMN whaply.tenants.llm_base_url IS 'The model''s server, for openai with /v1. A tenant with its own URL brings its own key';
COMMENT ON COLUMN whaply.tenants.llm_model IS 'The model''s name as its server knows it';
COMMENT ON COLUMN whaply.tenants.llm_api_key IS 'The key for llm_base_url, or for the provider itself; or its source: env:NAME, file:/path, vault:NAME. NULL: the source named by the GUC';
COMMENT ON COLUMN whaply.tenants.max_tokens IS 'The longest answer, in tokens';
COMMENT ON COLUMN whaply.tenants.history_limit IS 'Messages of the chat that the model sees';
COMMENT ON COLUMN whaply.tenants.max_in_flight IS 'Answers of this tenant generated at the same time';
COMMENT ON COLUMN whaply.tenants.debounce IS 'Silence of the customer before the assistant answers';
COMMENT ON COLUMN whaply.tenants.debounce_max IS 'The longest that quick messages put off the answer to the first of them';
COMMENT ON COLUMN whaply.tenants.auto_resume_after IS 'Silence of the human after which the assistant comes back';
COMMENT ON COLUMN whaply.tenants.age_limit IS 'A customer''s message older than this on arrival is stored but not answered';
COMMENT ON COLUMN whaply.tenants.reply_expiry IS 'An answer that could not be sent for this long is given up';
COMMENT ON COLUMN whaply.tenants.on_failure IS 'After the last failed attempt: hand_over (pause for a human), fallback (send fallback_text), both, none';
COMMENT ON COLUMN whaply.tenants.on_other_sender IS 'Whether messages of other API clients and Chatwoot agents pause the chat: pause, ignore';
COMMENT ON COLUMN whaply.tenants.on_uncertain IS 'A message that Evolution has no record of after a broken call: send (again), hold';
COMMENT ON COLUMN whaply.tenants.fallback_text IS 'What the customer is told when the assistant gives up';
COMMENT ON COLUMN whaply.tenants.webhook_secret IS 'The value of the header x-whaply-secret of this tenant''s webhook; or its source (env:NAME, file:/path, vault:NAME), which the listener reads and webhook(json) does not';
COMMENT ON COLUMN whaply.tenants.timezone IS 'IANA name of the timezone in which the model is told the date and time';
COMMENT ON COLUMN whaply.tenants.auto_reply_texts IS 'Greeting and away messages of WhatsApp Business, word for word: they do not pause the chat. What comes within 10 s of a customer''s message or of ours in three chats is added by itself';
COMMENT ON COLUMN whaply.tenants.groups IS 'Whether the assistant answers in groups, when it is mentioned';
COMMENT ON COLUMN whaply.tenants.connection_state IS 'The WhatsApp line as Evolution last told: open, connecting, close, refused; NULL counts as open';
COMMENT ON COLUMN whaply.tenants.home IS 'home_id() of the only database that may speak for this tenant: a copy stays silent';
COMMENT ON COLUMN whaply.tenants.answers_per_chat IS 'The most answers that a chat gets within answer_window; one more pauses it (loop_guard). 0: no limit';
COMMENT ON COLUMN whaply.tenants.answers_per_tenant IS 'The most answers that the tenant gives within answer_window; a chat that wants one more is paused (loop_guard). 0: no limit';
COMMENT ON COLUMN whaply.tenants.answer_window IS 'The time in which answers are counted';
COMMENT ON COLUMN whaply.tenants.resume_word IS 'A message of the owner that is this word alone gives the chat back to the assistant. Empty: there is no such word';
COMMENT ON COLUMN whaply.tenants.hold_word IS 'A message of the owner that is this word alone keeps the chat until a person gives it back. Empty: there is no such word';
COMMENT ON COLUMN whaply.tenants.answer_after_pause IS 'Whether what was asked during a pause is answered at its end, if it is younger than age_limit and nobody has answered since';
COMMENT ON COLUMN whaply.tenants.on_unverified IS 'Messages of the Cloud API whose customer cannot be verified, while several write at once: hold (left to a person), answer';
COMMENT ON COLUMN whaply.tenants.own_lids IS 'The business''s own LIDs, found out by whaply: they name no customer';
COMMENT ON COLUMN whaply.tenants.webhook_secret_before IS 'The webhook_secret before the last change: valid for 24 hours after it';
COMMENT ON COLUMN whaply.tenants.webhook_secret_changed_at IS 'When webhook_secret was last changed';
COMMENT ON COLUMN whaply.tenants.webhook_jwt_key IS 'The jwt_key among the headers of the webhook in Evolution, which makes a token of it (HS256) for each event; the listener takes it in place of the secret. Or its source. NULL: no tokens';

COMMENT ON TABLE whaply.refused_webhooks IS 'Posts turned away at the front doors: how many by tenant and reason, first and last. Noted within seconds by the reply worker, and only where whaply is preloaded; view health shows those of the last 24 hours, and after 30 days a row goes';
COMMENT ON COLUMN whaply.refused_webhooks.tenant_id IS 'NULL: no tenant has the instance that was named';
COMMENT ON COLUMN whaply.refused_webhooks.reason IS 'wrong_secret, no_secret, expired_token, unknown_instance, too_large, invalid, too_fast';
COMMENT ON COLUMN whaply.refused_webhooks.refused IS 'How many since first_at. After a day without any it begins anew';
COMMENT ON COLUMN whaply.refused_webhooks.first_at IS 'The first of them, to a few seconds';
COMMENT ON COLUMN whaply.refused_webhooks.last_at IS 'The last of them';
COMMENT ON TABLE whaply.findings IS 'What the reply worker meets and no other table tells: view health shows it, and it goes when it is over';
COMMENT ON COLUMN whaply.findings.subject IS 'refused: a row that PostgreSQL does not let the worker change. secret: a column of tenants whose source cannot be read';
COMMENT ON COLUMN whaply.findings.object IS 'reply ID, delivery ID, session ID, event ID; the name of the column';
COMMENT ON COLUMN whaply.findings.problem IS 'Why, in the words of PostgreSQL or of whaply. Never a secret';
COMMENT ON COLUMN whaply.findings.first_at IS 'When it was first met';

COMMENT ON TABLE whaply.connect_requests IS 'What connect_instance was asked for, and how far it is; view instance_requests shows it';
COMMENT ON COLUMN whaply.connect_requests.state IS 'waiting (for the worker) -> working (a call to Evolution) -> scan_qr (for a person) -> connected; or failed, superseded (by a newer request)';
COMMENT ON COLUMN whaply.connect_requests.webhook_url IS 'Where Evolution shall post the events of the instance';
COMMENT ON COLUMN whaply.connect_requests.error IS 'Why it failed, or why it is tried again; with what to do';
COMMENT ON COLUMN whaply.connect_requests.due_at IS 'When the worker next does something about it';
COMMENT ON COLUMN whaply.connect_requests.attempt IS 'Calls that failed in a row';
COMMENT ON COLUMN whaply.connect_requests.qr_code IS 'What Evolution''s newest QR code says; instance_qr draws it';
COMMENT ON COLUMN whaply.connect_requests.pairing_code IS 'The code to type on the phone in place of the QR code, where Evolution gives one';
COMMENT ON COLUMN whaply.connect_requests.qr_at IS 'When the QR code came; WhatsApp makes a new one about every 20 to 60 s';
COMMENT ON COLUMN whaply.connect_requests.claimed_at IS 'When the worker last began to work on it';
COMMENT ON COLUMN whaply.connect_requests.opened_at IS 'When the webhook told that the line is open';
COMMENT ON COLUMN whaply.connect_requests.finished_at IS 'When it ended, however it did; from then on there is no code';
COMMENT ON VIEW whaply.instance_requests IS 'What connect_instance was asked for, the newest first: state, error, the QR code as drawn for a dark terminal';
COMMENT ON FUNCTION whaply.connect_instance(text, text) IS 'Asks the worker to make the instance in Evolution if there is none, to set its webhook to this URL, and to link the number: scan whaply.instance_qr(instance_name). Takes the place of an open request. Returns the request''s id. Errors: P0002 (unknown instance), 22023 (no http or https URL), 22004 (NULL), 55000 (this database is a copy)';
COMMENT ON FUNCTION whaply.instance_qr(text) IS 'The newest QR code of an instance, drawn for a dark terminal: psql -At; NULL: there is none, or it was scanned';
COMMENT ON FUNCTION whaply.instance_state(text) IS 'How far an instance is: waiting, working, scan_qr (of the open request of connect_instance); else connected (the line is open); else failed (the newest request), or the line: connecting, close, refused. NULL: nothing is known';
COMMENT ON FUNCTION whaply.draw_qr(text) IS 'A text as a QR code of half blocks with its quiet zone, drawn for a dark terminal. NULL: too long for one';

COMMENT ON TABLE whaply.sessions IS 'A session is one chat of a tenant. Its chat_id never changes; chat_aliases has its other names';
COMMENT ON COLUMN whaply.sessions.pause_reason IS 'human_takeover, other_sender (both end by silence), ai_failed, loop_guard (both end at paused_until), or a manual reason (a hold)';
COMMENT ON COLUMN whaply.sessions.last_message_at IS 'When the customer last wrote, by WhatsApp''s clock';
COMMENT ON COLUMN whaply.sessions.last_human_at IS 'When a human of the business last wrote, by WhatsApp''s clock; auto-resume counts from it';
COMMENT ON COLUMN whaply.sessions.contact_name IS 'The customer''s WhatsApp name, chosen by the customer';
COMMENT ON COLUMN whaply.sessions.reply_jid IS 'The JID the customer last wrote from: where answers go';
COMMENT ON COLUMN whaply.sessions.paused_until IS 'When the pause ends by itself; NULL: by silence of the human, or by a person';
COMMENT ON COLUMN whaply.sessions.steered_at IS 'When the owner last gave a command, by WhatsApp''s clock: what the owner wrote before it pauses no more';

COMMENT ON TABLE whaply.messages IS 'What was said in the chats. The order of a chat is (sent_at, id)';
COMMENT ON COLUMN whaply.messages.message_type IS 'Evolution''s messageType, cut to 50 characters';
COMMENT ON COLUMN whaply.messages.raw IS 'The webhook without keys and file contents, for debugging';
COMMENT ON COLUMN whaply.messages.sent_at IS 'messageTimestamp, never later than its arrival';
COMMENT ON COLUMN whaply.messages.sender IS 'customer, owner (phone, Web, Desktop), assistant, operator (send_message), other (API client, agent), auto_reply, command (the owner''s resume_word or hold_word), unverified (a customer, perhaps of another chat); NULL: an edit or deletion that came before its message';
COMMENT ON COLUMN whaply.messages.reply_id IS 'For a customer''s message the reply that answers it; for ours the reply that made it';
COMMENT ON COLUMN whaply.messages.status IS 'PENDING, SERVER_ACK, ERROR, DELIVERY_ACK, READ, PLAYED: only moves forward';
COMMENT ON COLUMN whaply.messages.edited_at IS 'When it was edited; text is the newest';
COMMENT ON COLUMN whaply.messages.deleted_at IS 'When it was deleted for everyone; the text stays';

COMMENT ON TABLE whaply.processed_events IS 'One row for each (tenant, message, event) that has acted: what makes a webhook act once';
COMMENT ON COLUMN whaply.processed_events.action_taken IS 'paused, resumed, held, ai_queued, ai_replied, ai_failed, superseded, cancelled_paused, drafted, own_echo, pending_echo, other_sender, edited, edited_early, deleted, deleted_early, already_stored, forgotten, ignored_…';

COMMENT ON TABLE whaply.chat_aliases IS 'Every JID a chat is known by besides its chat_id';
COMMENT ON COLUMN whaply.chat_aliases.jid IS 'A JID or LID without device; one chat each';
COMMENT ON COLUMN whaply.chat_aliases.confirmed IS 'False: only a message of ours told so; it could be a LID of our own';
COMMENT ON TABLE whaply.replies IS 'The turns of the assistant: a queue while open, the record afterwards';
COMMENT ON COLUMN whaply.replies.state IS 'waiting, generating, sending (open: one a chat); sent, drafted, superseded, cancelled, failed';
COMMENT ON COLUMN whaply.replies.due_at IS 'When a waiting reply may be claimed: after the debounce, or the delay of a retry';
COMMENT ON COLUMN whaply.replies.lease_until IS 'Until when the worker that generates it is believed to live';
COMMENT ON COLUMN whaply.replies.attempt IS 'How often it was claimed';
COMMENT ON COLUMN whaply.replies.deferrals IS 'How often the provider asked to wait; these are no failures';
COMMENT ON COLUMN whaply.replies.requeues IS 'How often an answer was thrown away because the customer had written meanwhile';
COMMENT ON COLUMN whaply.replies.wanted IS 'Grows with every question, edit and deletion; wanted > seen: the answer in hand is stale';
COMMENT ON COLUMN whaply.replies.seen IS 'wanted as it was when the reply was claimed';
COMMENT ON COLUMN whaply.replies.first_sent_at IS 'When its first question was sent';
COMMENT ON COLUMN whaply.replies.provider IS 'Whose wire format the answer came in';
COMMENT ON COLUMN whaply.replies.model IS 'The model that answered, as its server named it';
COMMENT ON COLUMN whaply.replies.input_tokens IS 'What the provider counted, cached tokens included; NULL: it did not say';
COMMENT ON COLUMN whaply.replies.output_tokens IS 'What the provider counted; NULL: it did not say';
COMMENT ON COLUMN whaply.replies.claimed_at IS 'When it was last claimed';
COMMENT ON COLUMN whaply.replies.answered_at IS 'When the model had answered';
COMMENT ON COLUMN whaply.replies.finished_at IS 'When it ended, however it did';
COMMENT ON COLUMN whaply.replies.error IS 'Why it failed or was given up, or what was cut from it; never shown to the customer';
COMMENT ON TABLE whaply.deliveries IS 'Outgoing WhatsApp messages; all parts of an answer are stored before the first is sent';
COMMENT ON COLUMN whaply.deliveries.reply_id IS 'The reply it is a part of; NULL: an operator''s';
COMMENT ON COLUMN whaply.deliveries.part IS 'Its place in the reply, from 1';
COMMENT ON COLUMN whaply.deliveries.due_at IS 'When it may be sent or, if uncertain, looked up; NULL: ended';
COMMENT ON COLUMN whaply.deliveries.attempt IS 'How often a call was begun';
COMMENT ON COLUMN whaply.deliveries.deferrals IS 'How often it was put off without being an attempt';
COMMENT ON COLUMN whaply.deliveries.lookups IS 'How often Evolution was asked for it and showed none, since the last call';
COMMENT ON COLUMN whaply.deliveries.attempted_at IS 'When the last call began';
COMMENT ON COLUMN whaply.deliveries.message_id IS 'WhatsApp''s id, once Evolution has confirmed it';
COMMENT ON COLUMN whaply.deliveries.error IS 'Why it was not sent, or is uncertain';
COMMENT ON COLUMN whaply.deliveries.finished_at IS 'When it was sent or given up';
COMMENT ON COLUMN whaply.deliveries.kind IS 'reply (obeys pauses), fallback (cancelled by a takeover), operator (always sent)';
COMMENT ON COLUMN whaply.deliveries.state IS 'pending, sending (the call is on its way), uncertain (its end is not known), sent, cancelled, failed';

COMMENT ON VIEW whaply.recent_activity IS 'What was done with the latest events; add LIMIT';
COMMENT ON VIEW whaply.resumable_sessions IS 'Paused sessions that auto_resume() would resume now';
COMMENT ON VIEW whaply.unanswered_chats IS 'Chats with questions after the last word of the business that nobody answers, the longest wait first: asked_at and text are of the first question, questions counts them';
COMMENT ON VIEW whaply.tenant_stats IS 'Messages of the last 24 hours by tenant';
COMMENT ON VIEW whaply.reply_queue IS 'Open replies';
COMMENT ON VIEW whaply.failed_replies IS 'Replies that were given up, and why; retry_reply(id) tries again';
COMMENT ON VIEW whaply.tenant_stats_daily IS 'The last 31 days by tenant and day of its timezone: messages, replies sent, errors (replies and messages that failed), tokens, and the time from the first question to the end of the answer. A day without anything has no row';
COMMENT ON VIEW whaply.health IS 'One row for each thing that needs a person, the worst first (severity: critical, warning, info); empty is good';

COMMENT ON FUNCTION whaply.ingest(jsonb) IS 'Takes one webhook of Evolution API 2.x, exactly once. Returns {action, duplicate, tenant_id, chat_id, message_id, reply_id}. Errors: 22023, 22001 (bad payload), 22004 (NULL), P0002 (unknown instance). Asks for no secret';
COMMENT ON FUNCTION whaply.webhook(json) IS 'ingest behind the tenant''s secret, for PostgREST: it is read from request.headers (x-whaply-secret). Raises PT401, PT404, PT503';
COMMENT ON FUNCTION whaply.receive(json) IS 'The inside of webhook(json): returns {refused: {sqlstate, message, hint}} where that raises';
COMMENT ON FUNCTION whaply.webhook_settings(text) IS 'The body to POST to Evolution''s /webhook/set/{instance}; put your URL in';
COMMENT ON FUNCTION whaply.pause_session(text, text, text, interval) IS 'Pauses a chat (JID, LID or phone number) until resume_session, or for a time. Cancels the open reply. Returns whether anything changed';
COMMENT ON FUNCTION whaply.resume_session(text, text) IS 'Ends a pause of any reason. With answer_after_pause, what was asked meanwhile is answered. Returns whether the chat was paused';
COMMENT ON FUNCTION whaply.resume_sessions(text, text) IS 'Ends every pause of a tenant with this reason. Returns how many';
COMMENT ON FUNCTION whaply.auto_resume_paused_sessions(double precision) IS 'Resumes chats where no human wrote for this many hours, and pauses whose time is over. Manual pauses stay. Returns how many';
COMMENT ON FUNCTION whaply.cleanup_old_processed_events(integer) IS 'Deletes processed events older than this many days. Returns how many';
COMMENT ON FUNCTION whaply.auto_resume() IS 'What pg_cron schedules: resumes by each tenant''s auto_resume_after, and cleans up by whaply.keep_processed_events. Returns {resumed, deleted_events}';
COMMENT ON FUNCTION whaply.archive_messages(integer) IS 'Moves messages older than this many days to messages_archive, which it makes on first use. Returns how many';
COMMENT ON FUNCTION whaply.send_message(text, text, text, boolean) IS 'Sends a text to a chat in the business''s name, paused or not; pause: take the chat over. Returns the delivery''s id';
COMMENT ON FUNCTION whaply.retry_reply(bigint) IS 'Queues a failed reply again and ends the pause its failure caused. Returns whether it did';
COMMENT ON FUNCTION whaply.retry_replies(text, timestamptz) IS 'retry_reply for every reply of a tenant that failed since a time. Returns how many';
COMMENT ON FUNCTION whaply.cancel_reply(bigint) IS 'Calls an open reply off. Returns whether it was open';
COMMENT ON FUNCTION whaply.start_worker() IS 'Starts the reply worker of this database and waits for it, 10 s at most. The listener follows, if this is the database it serves. Returns whether the worker runs';
COMMENT ON FUNCTION whaply.stop_worker() IS 'Stops the reply worker and the listener of this database and waits for their end, 10 s at most. Returns whether they are gone. They stay away until start_worker() or a restart of the server';
COMMENT ON FUNCTION whaply.worker_status() IS '{status, pid, preloaded} of the reply worker of this database';
COMMENT ON FUNCTION whaply.server_status() IS '{library, previous, listener: {state, reason, error}, databases_without_process, databases_left_out}: what view health tells of the processes of whaply in this server. previous: the version whose tables the library serves too. state: off, starting, open, down';
COMMENT ON FUNCTION whaply.wait_until_idle(interval) IS 'Waits until the worker has nothing open; false if the time is over first. What waits for a line that is closed does not count. For tests: not in a transaction that has written';
COMMENT ON FUNCTION whaply.adopt_tenants() IS 'Makes this database the one that speaks for its tenants, after a restore. Fails open replies older than reply_expiry. Returns how many tenants were elsewhere';
COMMENT ON FUNCTION whaply.home_id() IS 'Names this database: system identifier and OID. A copy has another';
COMMENT ON FUNCTION whaply.check_tenant() IS 'Trigger: refuses what a tenant cannot be set to (23502, 23514), without printing the row, which holds keys';
COMMENT ON FUNCTION whaply.check_sources() IS 'Trigger: refuses a key or secret that begins like the name of a source and names none (23514), without printing it';
COMMENT ON FUNCTION whaply.forget_chat(text, text) IS 'Removes a chat (JID, LID or phone number), under all its names: messages, archived ones too, session, replies, deliveries. The ids of its events stay, so that a repeated webhook does not bring it back; a new message begins a new chat. Waits for the end of a call to Evolution that is on its way. Warns of tables where messages may be kept and where it does not look. Returns how many rows went. Errors: P0002 (unknown instance), 22023 (no JID, LID or phone number), 22004 (NULL), 42501 (messages_archive is not open to whaply_worker), 55000 (a call is on its way, and this transaction cannot see its end)';
COMMENT ON FUNCTION whaply.widen_ids() IS 'Makes the ids of sessions, messages, processed_events and messages_archive bigint, in place; dumps keep it. Locks and rewrites these tables. Returns whether there was anything to do. Errors: 2BP01 (a view of yours reads such an id), 55P03 (a session holds the tables)';
COMMENT ON FUNCTION whaply.keep_former_secret() IS 'Trigger: the webhook_secret of before stays valid for a day';
COMMENT ON FUNCTION whaply.touch_updated_at() IS 'Trigger: updated_at moves with every update that does not move it itself';
COMMENT ON FUNCTION whaply.extension_created() IS 'Called by the extension''s script: the worker starts when CREATE EXTENSION commits';

COMMENT ON TABLE whaply.access IS 'Which role may do what for which tenants: written by grant_access and revoke_access, asked by seen_tenants';
COMMENT ON COLUMN whaply.access.role_name IS 'By name, since numbers of roles do not survive a restore. A role that is renamed loses its access';
COMMENT ON COLUMN whaply.access.level IS 'ingest, operator, admin';
COMMENT ON COLUMN whaply.access.tenant_id IS 'NULL: all tenants, or those that the claim names';
COMMENT ON COLUMN whaply.access.claim IS 'The claim of request.jwt.claims that names the instances: one, or an array of them';
COMMENT ON COLUMN whaply.access.granted_at IS 'When it was granted';
COMMENT ON VIEW whaply.tenant_settings IS 'Every setting of the tenants. A key is ''***'', or the source that it names; NULL: not set. A URL without its password';
COMMENT ON FUNCTION whaply.seen_tenants(text) IS 'The ids of the tenants that the caller sees with a level (ingest, operator, admin): what every policy asks. 0 too, if it sees all: those yet to come';
COMMENT ON FUNCTION whaply.masked_keys() IS 'What tenant_settings shows of the keys and URLs of the tenants that the caller sees';
COMMENT ON FUNCTION whaply.shown_codes() IS 'What instance_requests shows of QR and pairing codes: those of the tenants whose admin the caller is';
COMMENT ON FUNCTION whaply.privileges_of(text, boolean) IS 'The privileges of a level: for all tenants, or for some';
COMMENT ON FUNCTION whaply.check_access(regrole, text, text, text) IS 'Checks the arguments of grant_access and revoke_access';
COMMENT ON FUNCTION whaply.grant_access(regrole, text, text, text) IS 'Lets a role do what a level allows: ingest (post), operator (read chats, pause, resume, send), admin. For all tenants; for one, by instance_name; or for those that a claim of request.jwt.claims names, for a role that PostgREST switches to. Returns whether it is new. Errors: 42704 (role), 22023 (level, claim), P0002 (instance), 22004 (NULL)';
COMMENT ON FUNCTION whaply.revoke_access(regrole, text, text, text) IS 'Takes a level back: all of it, or for one instance or claim. Returns whether the role had it';

-- ingest asks for no secret: EXECUTE is its guard.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA whaply FROM PUBLIC;

-- What default privileges of whoever runs this have given away, nobody has meant.
DO $$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT DISTINCT granted.object, CASE granted.grantee WHEN 0 THEN 'PUBLIC' ELSE granted.grantee::regrole::text END AS role
          FROM pg_catalog.pg_extension e
          JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
         CROSS JOIN LATERAL (
               SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass, acl.grantee, c.relowner
                 FROM pg_catalog.pg_class c, aclexplode(c.relacl) AS acl
                WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid
                UNION ALL
               SELECT 'FUNCTION ' || p.oid::regprocedure, acl.grantee, p.proowner
                 FROM pg_catalog.pg_proc p, aclexplode(p.proacl) AS acl
                WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid) AS granted (object, grantee, owner)
         WHERE e.extname = 'whaply' AND granted.grantee NOT IN (granted.owner, 'whaply_worker'::regrole)
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s', given.object, given.role);
    END LOOP;
END
$$;

SELECT whaply.extension_created();
