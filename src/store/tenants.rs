//! Table `tenants`: a tenant as ingest needs it, as the worker needs it, and the state of its line.

use std::collections::{BTreeSet, HashMap};

use chrono::Duration;

use super::sql::{self, PerRow, Row};
use crate::conversation::{
    CommandWords, Mode, OnFailure, OnOtherSender, OnUncertain, OnUnverified, Rules,
};
use crate::credentials::{Accepted, FormerSecret, Kept};
use crate::error::Result;
use crate::exchange::Secret;
use crate::server_log;
use crate::settings::Behaviour;
use crate::webhook::Jid;

/// A tenant with the settings that decide what an event means. NULLs are filled from the GUCs.
#[derive(Clone, Debug)]
pub struct Tenant {
    pub id: i32,
    pub rules: Rules,
    pub test_chats: Vec<String>,
    pub debounce: std::time::Duration,
    pub debounce_max: std::time::Duration,
    /// Not known counts as open.
    pub line_is_open: bool,
    /// The business's own LIDs, as far as they were found out.
    pub own_lids: Vec<String>,
    /// What was asked during a pause is answered when it ends.
    pub answer_after_pause: bool,
}

impl Tenant {
    /// Whether this is one of the business's own LIDs.
    pub fn owns(&self, lid: &Jid) -> bool {
        self.own_lids.iter().any(|own| own == lid.as_str())
    }

    /// Whether these words are among `auto_reply_texts`.
    pub fn knows_as_automatic(&self, words: &str) -> bool {
        self.rules.auto_reply_texts.iter().any(|known| known.trim() == words.trim())
    }
}

/// What the worker needs to let a model answer for a tenant, and to send the answer.
#[derive(Clone, Debug)]
pub struct Assistant {
    pub tenant_id: i32,
    pub instance_name: String,
    pub evo_server_url: String,
    pub evo_api_key: Option<Secret>,
    pub system_prompt: Option<String>,
    pub llm_provider: String,
    pub llm_base_url: Option<String>,
    pub llm_model: Option<String>,
    pub llm_api_key: Option<Secret>,
    pub max_tokens: i32,
    pub history_limit: i32,
    pub mode: Mode,
    pub timezone: String,
    pub reply_expiry: Duration,
    pub auto_resume_after: Duration,
    pub debounce: std::time::Duration,
    pub on_failure: OnFailure,
    pub on_uncertain: OnUncertain,
    pub fallback_text: Option<String>,
    pub debounce_max: std::time::Duration,
    pub test_chats: Vec<String>,
    /// Not known counts as open.
    pub line_is_open: bool,
    /// 0: no limit.
    pub answers_per_chat: i32,
    /// 0: no limit.
    pub answers_per_tenant: i32,
    pub answer_window: Duration,
    pub on_unverified: OnUnverified,
}

/// The columns that [`read_tenant`] reads: the first sixteen.
macro_rules! tenant_columns {
    () => {
        "id, mode, groups, extract(epoch FROM age_limit)::float8, \
         extract(epoch FROM auto_resume_after)::float8, on_other_sender, auto_reply_texts, test_chats, \
         extract(epoch FROM debounce)::float8, extract(epoch FROM debounce_max)::float8, \
         coalesce(connection_state, 'open') = 'open', resume_word, hold_word, own_lids, on_unverified, \
         answer_after_pause"
    };
}

/// What [`read_tenant`] reads, and the instance, of the tenants that a condition names.
macro_rules! select_tenant {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            tenant_columns!(),
            ", instance_name::text FROM whaply.tenants WHERE ",
            $condition
        )
    };
}

/// The tenant of an instance, None if there is none.
pub fn by_instance(instance: &str, defaults: &Behaviour) -> Result<Option<Tenant>> {
    let sql = select_tenant!("instance_name = $1");
    sql::query_one(sql, &[instance.into()], |row| read_tenant(row, defaults))
}

/// The tenant of a row that is stored already: its instance may have another name by now.
pub fn by_id(id: i32, defaults: &Behaviour) -> Result<Option<Tenant>> {
    sql::query_one(select_tenant!("id = $1"), &[id.into()], |row| read_tenant(row, defaults))
}

fn read_tenant(row: &Row<'_, '_>, defaults: &Behaviour) -> Result<Tenant> {
    let on_other_sender = row.find::<String>(6)?.and_then(|text| OnOtherSender::from_column(&text));
    let on_unverified = row.find::<String>(15)?.and_then(|text| OnUnverified::from_column(&text));
    Ok(Tenant {
        id: row.get(1)?,
        rules: Rules {
            mode: Mode::from_column(&row.get::<String>(2)?),
            groups: row.find(3)?.unwrap_or(defaults.groups),
            age_limit: row.find_seconds(4)?.unwrap_or(defaults.age_limit),
            auto_resume_after: row.find_seconds(5)?.unwrap_or(defaults.auto_resume_after),
            on_other_sender: on_other_sender.unwrap_or(defaults.on_other_sender),
            on_unverified: on_unverified.unwrap_or(defaults.on_unverified),
            auto_reply_texts: texts(row, 7)?,
            commands: CommandWords {
                resume: word(row.find(12)?, &defaults.resume_word),
                hold: word(row.find(13)?, &defaults.hold_word),
            },
        },
        test_chats: texts(row, 8)?,
        debounce: positive(row.find_seconds(9)?.unwrap_or(defaults.debounce)),
        debounce_max: positive(row.find_seconds(10)?.unwrap_or(defaults.debounce_max)),
        line_is_open: row.get(11)?,
        own_lids: texts(row, 14)?,
        answer_after_pause: row.find(16)?.unwrap_or(defaults.answer_after_pause),
    })
}

/// A word of the owner's, None where there is to be none: an empty word in a tenant's own column.
fn word(own: Option<String>, default: &Option<String>) -> Option<String> {
    own.map_or_else(|| default.clone(), Some).filter(|word| !word.trim().is_empty())
}

/// The columns have CHECKs against negative intervals.
fn positive(duration: Duration) -> std::time::Duration {
    duration.to_std().unwrap_or_default()
}

fn texts(row: &Row<'_, '_>, column: usize) -> Result<Vec<String>> {
    let texts = row.find::<Vec<Option<String>>>(column)?.unwrap_or_default();
    Ok(texts.into_iter().flatten().collect())
}

/// The id of the tenant of an instance, None if there is none.
pub fn id_of(instance: &str) -> Result<Option<i32>> {
    sql::query_one(
        "SELECT id FROM whaply.tenants WHERE instance_name = $1",
        &[instance.into()],
        |row| row.get(1),
    )
}

/// Tenants by their instances, as one statement found them.
#[derive(Debug, Default)]
pub struct Tenants(HashMap<String, Tenant>);

impl Tenants {
    pub fn of_instance(&self, instance: &str) -> Option<&Tenant> {
        self.0.get(instance)
    }
}

/// The tenants of instances, by one statement for a whole batch; instances that no tenant has are left out.
pub fn of_instances(instances: &[&str], defaults: &Behaviour) -> Result<Tenants> {
    let statement = PerRow {
        one: select_tenant!("instance_name = $1"),
        many: select_tenant!("instance_name = ANY ($1)"),
    };
    let instance = sql::column(instances, |instance| *instance);
    let rows = sql::query_by_index(statement.of(instances), &[instance], |row| {
        Ok((row.get(17)?, read_tenant(row, defaults)?))
    })?;
    Ok(Tenants(rows.into_iter().collect()))
}

/// Whose webhooks may come for an instance, the id of its tenant, and with what.
pub type Credentials = HashMap<String, (i32, Kept)>;

/// [`of_instances`], and with what webhooks may come for each.
pub fn with_credentials(
    instances: &[&str],
    defaults: &Behaviour,
) -> Result<(Tenants, Credentials)> {
    let (mut tenants, mut accepted) = (Tenants::default(), Credentials::new());
    sql::query_by_index(
        concat!(
            "SELECT ",
            tenant_columns!(),
            ", instance_name::text, webhook_secret, webhook_secret_before, webhook_secret_changed_at, \
               webhook_jwt_key FROM whaply.tenants WHERE instance_name = ANY ($1)"
        ),
        &[sql::array(instances.iter().copied())],
        |row| {
            let (instance, tenant): (String, _) = (row.get(17)?, read_tenant(row, defaults)?);
            accepted.insert(instance.clone(), (tenant.id, read_kept(row, 18)?));
            tenants.0.insert(instance, tenant);
            Ok(())
        },
    )?;
    Ok((tenants, accepted))
}

/// Whose webhooks may come for these instances, and with what: one statement for a whole batch.
/// Instances that no tenant has are left out.
pub fn accepted_credentials(instances: &[String]) -> Result<Credentials> {
    let rows = sql::query(
        "SELECT instance_name::text, id, webhook_secret, webhook_secret_before, webhook_secret_changed_at, \
                webhook_jwt_key \
           FROM whaply.tenants WHERE instance_name = ANY ($1)",
        &[instances.to_vec().into()],
        |row| Ok((row.get(1)?, (row.get(2)?, read_kept(row, 3)?))),
    )?;
    Ok(rows.into_iter().collect())
}

/// Reads the four columns of credentials, of which this is the first.
fn read_kept(row: &Row<'_, '_>, first: usize) -> Result<Kept> {
    let before = row.find::<String>(first + 1)?.map(Secret::new);
    let secret_before = before
        .zip(row.find_time(first + 2)?)
        .map(|(secret, changed_at)| FormerSecret { secret, changed_at });
    Ok(Kept::new(Accepted {
        secret: row.find::<String>(first)?.map(Secret::new),
        secret_before,
        jwt_key: row.find::<String>(first + 3)?.map(Secret::new),
    }))
}

/// What [`read_assistant`] reads, of the tenants that a condition names.
macro_rules! select_assistant {
    ($condition:literal) => {
        concat!(
            "SELECT id, instance_name::text, evo_server_url::text, evo_api_key::text, system_prompt, \
                coalesce(llm_provider, 'anthropic')::text, llm_base_url, llm_model, llm_api_key, max_tokens, \
                history_limit, mode, timezone, extract(epoch FROM reply_expiry)::float8, \
                extract(epoch FROM auto_resume_after)::float8, extract(epoch FROM debounce)::float8, on_failure, \
                on_uncertain, fallback_text, extract(epoch FROM debounce_max)::float8, test_chats, \
                coalesce(connection_state, 'open') = 'open', answers_per_chat, answers_per_tenant, \
                extract(epoch FROM answer_window)::float8, on_unverified \
           FROM whaply.tenants WHERE ",
            $condition
        )
    };
}

/// Everything the worker needs to know of a tenant.
pub fn assistant(tenant_id: i32, defaults: &Behaviour) -> Result<Option<Assistant>> {
    let sql = select_assistant!("id = $1");
    sql::query_one(sql, &[tenant_id.into()], |row| read_assistant(row, defaults))
}

/// The same of many tenants at a time, by their ids.
pub fn assistants(
    tenant_ids: impl Iterator<Item = i32>,
    defaults: &Behaviour,
) -> Result<HashMap<i32, Assistant>> {
    let ids: BTreeSet<i32> = tenant_ids.collect();
    let sql = select_assistant!("id = ANY ($1)");
    let rows = sql::query_by_index(sql, &[sql::array(ids.into_iter())], |row| {
        read_assistant(row, defaults)
    })?;
    Ok(rows.into_iter().map(|assistant| (assistant.tenant_id, assistant)).collect())
}

fn read_assistant(row: &Row<'_, '_>, defaults: &Behaviour) -> Result<Assistant> {
    let on_failure = row.find::<String>(17)?.and_then(|text| OnFailure::from_column(&text));
    let on_uncertain = row.find::<String>(18)?.and_then(|text| OnUncertain::from_column(&text));
    let on_unverified = row.find::<String>(26)?.and_then(|text| OnUnverified::from_column(&text));
    Ok(Assistant {
        tenant_id: row.get(1)?,
        instance_name: row.get(2)?,
        evo_server_url: row.get(3)?,
        evo_api_key: row.find::<String>(4)?.map(Secret::new),
        system_prompt: row.find(5)?,
        llm_provider: row.get(6)?,
        llm_base_url: row.find(7)?,
        llm_model: row.find(8)?,
        llm_api_key: row.find::<String>(9)?.map(Secret::new),
        max_tokens: row.find(10)?.unwrap_or(defaults.max_tokens),
        history_limit: row.find(11)?.unwrap_or(defaults.history_limit),
        mode: Mode::from_column(&row.get::<String>(12)?),
        timezone: row.find(13)?.unwrap_or_else(|| defaults.timezone.clone()),
        reply_expiry: row.find_seconds(14)?.unwrap_or(defaults.reply_expiry),
        auto_resume_after: row.find_seconds(15)?.unwrap_or(defaults.auto_resume_after),
        debounce: positive(row.find_seconds(16)?.unwrap_or(defaults.debounce)),
        on_failure: on_failure.unwrap_or(defaults.on_failure),
        on_uncertain: on_uncertain.unwrap_or(defaults.on_uncertain),
        fallback_text: row.find(19)?,
        debounce_max: positive(row.find_seconds(20)?.unwrap_or(defaults.debounce_max)),
        test_chats: texts(row, 21)?,
        line_is_open: row.get(22)?,
        answers_per_chat: row.find(23)?.unwrap_or(defaults.answers_per_chat),
        answers_per_tenant: row.find(24)?.unwrap_or(defaults.answers_per_tenant),
        answer_window: row.find_seconds(25)?.unwrap_or(defaults.answer_window),
        on_unverified: on_unverified.unwrap_or(defaults.on_unverified),
    })
}

/// Moves the state of the line ('open', 'connecting', 'close', 'refused'); whether it moved.
pub fn set_connection_state(tenant_id: i32, state: &str) -> Result<bool> {
    let moved = sql::query_one(
        "UPDATE whaply.tenants SET connection_state = $2, updated_at = clock_timestamp() \
          WHERE id = $1 AND connection_state IS DISTINCT FROM $2 RETURNING instance_name::text",
        &[tenant_id.into(), state.into()],
        |row| row.get::<String>(1),
    )?;
    if let Some(instance_name) = &moved {
        server_log::tenant_changed(tenant_id, instance_name, &format!("line: {state}"));
    }
    Ok(moved.is_some())
}

/// A message has proved that the line is open. A row that somebody holds is not waited for: the caller
/// may have locked a chat, and the next message proves it again.
pub fn prove_open(tenant_id: i32) -> Result<()> {
    let opened = sql::query_one(
        "UPDATE whaply.tenants t SET connection_state = 'open', updated_at = clock_timestamp() \
           FROM (SELECT id FROM whaply.tenants WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED) AS free \
          WHERE t.id = free.id AND t.connection_state IS DISTINCT FROM 'open' RETURNING t.instance_name::text",
        &[tenant_id.into()],
        |row| row.get::<String>(1),
    )?;
    if let Some(instance_name) = opened {
        server_log::tenant_changed(tenant_id, &instance_name, "line: open");
    }
    Ok(())
}

/// Adds words to `auto_reply_texts`, unless they are there; whether it did. A row that somebody holds
/// is not waited for: the caller has locked a chat, and others lock the tenant first.
pub fn learn_auto_reply(tenant_id: i32, words: &str) -> Result<bool> {
    let learnt = sql::execute(
        "UPDATE whaply.tenants t \
            SET auto_reply_texts = array_append(t.auto_reply_texts, $2), updated_at = clock_timestamp() \
           FROM (SELECT id FROM whaply.tenants WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED) AS free \
          WHERE t.id = free.id AND $2 <> ALL (coalesce(t.auto_reply_texts, '{}'))",
        &[tenant_id.into(), words.into()],
    )?;
    Ok(learnt > 0)
}

/// Adds one of the business's own LIDs. A row that somebody holds is not waited for.
pub fn learn_own_lid(tenant_id: i32, lid: &str) -> Result<bool> {
    let learnt = sql::execute(
        "UPDATE whaply.tenants t SET own_lids = array_append(t.own_lids, $2), updated_at = clock_timestamp() \
           FROM (SELECT id FROM whaply.tenants WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED) AS free \
          WHERE t.id = free.id AND $2 <> ALL (coalesce(t.own_lids, '{}'))",
        &[tenant_id.into(), lid.into()],
    )?;
    Ok(learnt > 0)
}

/// What was taken for a LID of the business is a customer's.
pub fn forget_own_lid(tenant_id: i32, lid: &str) -> Result<()> {
    sql::execute(
        "UPDATE whaply.tenants SET own_lids = array_remove(own_lids, $2), updated_at = clock_timestamp() \
          WHERE id = $1",
        &[tenant_id.into(), lid.into()],
    )?;
    Ok(())
}

/// Tenants of this database whose line is not open while something waits to be sent.
pub fn with_a_closed_line_and_work() -> Result<Vec<i32>> {
    sql::query(
        "SELECT t.id FROM whaply.tenants t \
          WHERE t.connection_state IN ('connecting', 'close', 'refused') AND t.home = whaply.home_id() \
            AND (EXISTS (SELECT FROM whaply.deliveries d WHERE d.tenant_id = t.id \
                                    AND d.state IN ('pending', 'sending', 'uncertain')) \
              OR EXISTS (SELECT FROM whaply.replies r WHERE r.tenant_id = t.id \
                                    AND r.state IN ('waiting', 'generating', 'sending')))",
        &[],
        |row| row.get(1),
    )
}

/// Makes this database the home of every tenant; how many were not at home before.
pub fn adopt() -> Result<usize> {
    sql::execute(
        "UPDATE whaply.tenants SET home = whaply.home_id(), updated_at = clock_timestamp() \
          WHERE home IS DISTINCT FROM whaply.home_id()",
        &[],
    )
}
