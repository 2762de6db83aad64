//! The settings of how the assistant behaves: each has a column of the same name in `tenants`, but for
//! `require_secret`.

use std::ffi::CString;

use chrono::Duration;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

use super::choices::{OnFailureGuc, OnOtherSenderGuc, OnUncertainGuc, OnUnverifiedGuc};
use super::{define_int, milliseconds, seconds, text};
use crate::conversation::{OnFailure, OnOtherSender, OnUncertain, OnUnverified};

static DEBOUNCE: GucSetting<i32> = GucSetting::<i32>::new(5_000);
static DEBOUNCE_MAX: GucSetting<i32> = GucSetting::<i32>::new(30_000);
static AUTO_RESUME_AFTER: GucSetting<i32> = GucSetting::<i32>::new(2 * 3_600);
static AGE_LIMIT: GucSetting<i32> = GucSetting::<i32>::new(3_600);
static REPLY_EXPIRY: GucSetting<i32> = GucSetting::<i32>::new(1_800);
static HISTORY_LIMIT: GucSetting<i32> = GucSetting::<i32>::new(30);
static MAX_TOKENS: GucSetting<i32> = GucSetting::<i32>::new(4_096);
static MAX_IN_FLIGHT: GucSetting<i32> = GucSetting::<i32>::new(32);
static ON_FAILURE: GucSetting<OnFailureGuc> =
    GucSetting::<OnFailureGuc>::new(OnFailureGuc::HandOver);
static ON_OTHER_SENDER: GucSetting<OnOtherSenderGuc> =
    GucSetting::<OnOtherSenderGuc>::new(OnOtherSenderGuc::Pause);
static ON_UNCERTAIN: GucSetting<OnUncertainGuc> =
    GucSetting::<OnUncertainGuc>::new(OnUncertainGuc::Send);
static ON_UNVERIFIED: GucSetting<OnUnverifiedGuc> =
    GucSetting::<OnUnverifiedGuc>::new(OnUnverifiedGuc::Hold);
/// A customer who writes without a pause gets three a minute; two machines make twice that.
static ANSWERS_PER_CHAT: GucSetting<i32> = GucSetting::<i32>::new(30);
static ANSWERS_PER_TENANT: GucSetting<i32> = GucSetting::<i32>::new(600);
static ANSWER_WINDOW: GucSetting<i32> = GucSetting::<i32>::new(600);
static ANSWER_AFTER_PAUSE: GucSetting<bool> = GucSetting::<bool>::new(false);
static RESUME_WORD: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"#bot"));
static HOLD_WORD: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"#eu"));
static TIMEZONE: GucSetting<Option<CString>> =
    GucSetting::<Option<CString>>::new(Some(c"America/Sao_Paulo"));
static GROUPS: GucSetting<bool> = GucSetting::<bool>::new(false);
static REQUIRE_SECRET: GucSetting<bool> = GucSetting::<bool>::new(true);

const A_DAY_IN_MS: i32 = 86_400_000;
const A_YEAR_IN_S: i32 = 365 * 86_400;

/// PGC_SUSET: may be set for one database by ALTER DATABASE, which PGC_SIGHUP may not.
const CONTEXT: GucContext = GucContext::Suset;

/// What a tenant behaves like where it says nothing itself. A copy: it may go to another thread.
#[derive(Clone, Debug)]
pub struct Behaviour {
    pub debounce: Duration,
    pub debounce_max: Duration,
    pub auto_resume_after: Duration,
    pub age_limit: Duration,
    pub reply_expiry: Duration,
    pub history_limit: i32,
    pub max_tokens: i32,
    pub max_in_flight: i32,
    pub on_failure: OnFailure,
    pub on_other_sender: OnOtherSender,
    pub on_uncertain: OnUncertain,
    pub on_unverified: OnUnverified,
    /// Answers a chat gets within `answer_window`; 0: no limit.
    pub answers_per_chat: i32,
    /// Answers a tenant gives within `answer_window`; 0: no limit.
    pub answers_per_tenant: i32,
    pub answer_window: Duration,
    pub answer_after_pause: bool,
    pub resume_word: Option<String>,
    pub hold_word: Option<String>,
    pub timezone: String,
    pub groups: bool,
}

/// The settings as they are now.
pub fn behaviour() -> Behaviour {
    Behaviour {
        debounce: milliseconds(&DEBOUNCE),
        debounce_max: milliseconds(&DEBOUNCE_MAX),
        auto_resume_after: seconds(&AUTO_RESUME_AFTER),
        age_limit: seconds(&AGE_LIMIT),
        reply_expiry: seconds(&REPLY_EXPIRY),
        history_limit: HISTORY_LIMIT.get(),
        max_tokens: MAX_TOKENS.get(),
        max_in_flight: MAX_IN_FLIGHT.get(),
        on_failure: ON_FAILURE.get().into(),
        on_other_sender: ON_OTHER_SENDER.get().into(),
        on_uncertain: ON_UNCERTAIN.get().into(),
        on_unverified: ON_UNVERIFIED.get().into(),
        answers_per_chat: ANSWERS_PER_CHAT.get(),
        answers_per_tenant: ANSWERS_PER_TENANT.get(),
        answer_window: seconds(&ANSWER_WINDOW),
        answer_after_pause: ANSWER_AFTER_PAUSE.get(),
        resume_word: text(&RESUME_WORD),
        hold_word: text(&HOLD_WORD),
        timezone: text(&TIMEZONE).unwrap_or_else(|| "UTC".to_owned()),
        groups: GROUPS.get(),
    }
}

pub fn require_secret() -> bool {
    REQUIRE_SECRET.get()
}

pub(super) fn register() {
    register_times();
    register_sizes();
    register_limits_of_answers();
    register_choices();
    register_switches();
    register_words();
}

fn register_times() {
    define_int(
        c"whaply.debounce",
        c"How long the assistant waits for the customer's next message before it answers.",
        c"Each message moves the answer to this long after it, bounded by whaply.debounce_max.",
        &DEBOUNCE,
        (0, A_DAY_IN_MS),
        CONTEXT,
        GucFlags::UNIT_MS,
    );
    define_int(
        c"whaply.debounce_max",
        c"The longest that quick messages can put off the answer to the first of them.",
        c"",
        &DEBOUNCE_MAX,
        (0, A_DAY_IN_MS),
        CONTEXT,
        GucFlags::UNIT_MS,
    );
    define_int(
        c"whaply.auto_resume_after",
        c"How long a human must be silent in a chat before the assistant comes back.",
        c"Counted from sessions.last_human_at. A manual pause is not ended by it.",
        &AUTO_RESUME_AFTER,
        (1, A_YEAR_IN_S),
        CONTEXT,
        GucFlags::UNIT_S,
    );
    define_int(
        c"whaply.age_limit",
        c"A customer's message older than this on arrival is stored but not answered.",
        c"Evolution delivers old messages after a reconnect without a mark.",
        &AGE_LIMIT,
        (1, A_YEAR_IN_S),
        CONTEXT,
        GucFlags::UNIT_S,
    );
    define_int(
        c"whaply.reply_expiry",
        c"An answer that could not be sent for this long is given up.",
        c"Evolution's last webhook retry comes after about 20 minutes.",
        &REPLY_EXPIRY,
        (1, A_YEAR_IN_S),
        CONTEXT,
        GucFlags::UNIT_S,
    );
}

fn register_sizes() {
    define_int(
        c"whaply.history_limit",
        c"How many messages of the chat the model sees, the newest ones.",
        c"",
        &HISTORY_LIMIT,
        (1, 1_000),
        CONTEXT,
        GucFlags::default(),
    );
    define_int(
        c"whaply.max_tokens",
        c"The longest answer the model may write, in tokens.",
        c"",
        &MAX_TOKENS,
        (1, 1_000_000),
        CONTEXT,
        GucFlags::default(),
    );
    define_int(
        c"whaply.max_in_flight",
        c"How many answers of one tenant may be generated at the same time.",
        c"Keeps one busy tenant, or one slow provider, from taking every thread.",
        &MAX_IN_FLIGHT,
        (1, 10_000),
        CONTEXT,
        GucFlags::default(),
    );
}

fn register_limits_of_answers() {
    define_int(
        c"whaply.answers_per_chat",
        c"The most answers that one chat gets within whaply.answer_window. 0: no limit.",
        c"Beyond it the chat is paused (loop_guard): the other side may be a machine too.",
        &ANSWERS_PER_CHAT,
        (0, 1_000_000),
        CONTEXT,
        GucFlags::default(),
    );
    define_int(
        c"whaply.answers_per_tenant",
        c"The most answers that one tenant gives within whaply.answer_window. 0: no limit.",
        c"Beyond it the chats that want another one are paused (loop_guard).",
        &ANSWERS_PER_TENANT,
        (0, 1_000_000),
        CONTEXT,
        GucFlags::default(),
    );
    define_int(
        c"whaply.answer_window",
        c"The time for which the limits on answers count.",
        c"",
        &ANSWER_WINDOW,
        (1, A_YEAR_IN_S),
        CONTEXT,
        GucFlags::UNIT_S,
    );
}

fn register_choices() {
    GucRegistry::define_enum_guc(
        c"whaply.on_failure",
        c"What happens in a chat after the last attempt to answer failed.",
        c"hand_over pauses the chat for a human, fallback sends tenants.fallback_text, both, none.",
        &ON_FAILURE,
        CONTEXT,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"whaply.on_other_sender",
        c"Whether a message sent through Evolution by somebody else pauses the chat.",
        c"pause: it is an agent (Chatwoot). ignore: the other API clients are machines.",
        &ON_OTHER_SENDER,
        CONTEXT,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"whaply.on_uncertain",
        c"What to do with a message of which Evolution keeps no record after a broken call.",
        c"send: again. hold: leave it to a person; view health shows it.",
        &ON_UNCERTAIN,
        CONTEXT,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"whaply.on_unverified",
        c"What to do with a message of the Cloud API whose customer cannot be verified.",
        c"hold: while several customers write at once it is left to a person. answer: it is trusted.",
        &ON_UNVERIFIED,
        CONTEXT,
        GucFlags::default(),
    );
}

fn register_switches() {
    GucRegistry::define_bool_guc(
        c"whaply.answer_after_pause",
        c"Whether what was asked during a pause is answered when the pause ends.",
        c"Only what is younger than whaply.age_limit, and only if nobody has answered since.",
        &ANSWER_AFTER_PAUSE,
        CONTEXT,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"whaply.groups",
        c"Whether the assistant answers in groups, when it is mentioned there.",
        c"",
        &GROUPS,
        CONTEXT,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"whaply.require_secret",
        c"Whether whaply.webhook asks for the tenant's secret in the header x-whaply-secret.",
        c"",
        &REQUIRE_SECRET,
        CONTEXT,
        GucFlags::default(),
    );
}

fn register_words() {
    let word = |name, short, setting| {
        GucRegistry::define_string_guc(
            name,
            short,
            c"A message of the owner that is this word alone is a command. Empty: no such word.",
            setting,
            CONTEXT,
            GucFlags::default(),
        );
    };
    word(c"whaply.resume_word", c"What the owner writes to give a chat back.", &RESUME_WORD);
    word(c"whaply.hold_word", c"What the owner writes to keep a chat for good.", &HOLD_WORD);
    GucRegistry::define_string_guc(
        c"whaply.timezone",
        c"The timezone in which the model is told the date and time.",
        c"A name of the IANA database, as in America/Sao_Paulo.",
        &TIMEZONE,
        CONTEXT,
        GucFlags::default(),
    );
}
