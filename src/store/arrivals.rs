//! What the tables know of messages that arrive, by one statement for all of them: which came before, and
//! where the names of their chats lead. It takes no lock and no transaction id.

use chrono::{DateTime, Utc};

use super::questions::Open;
use super::sessions::{self, Session, session_columns};
use super::sql::{self, per_row};
use crate::error::Result;

/// A message that arrives, by an event that acts once.
#[derive(Clone, Copy, Debug)]
pub struct Arriving<'a> {
    pub tenant_id: i32,
    pub message_id: &'a str,
    pub event: &'a str,
}

/// A chat that has a session, as it stood while nobody held it.
#[derive(Clone, Debug)]
pub struct Standing {
    pub session: Session,
    /// Whoever changes the session moves this, and whoever makes the chat one with another.
    pub updated_at: DateTime<Utc>,
    pub open_reply: Option<Open>,
}

/// What is known of a JID that names a chat, directly or as an alias.
#[derive(Clone, Debug)]
pub struct Named {
    /// The chat that it is an alias of.
    pub alias_of: Option<String>,
    /// Whether that is more than presumed.
    pub is_confirmed: bool,
    /// The session that it leads to.
    pub leads_to: Option<Standing>,
}

/// What is known, by the places of what was asked for.
#[derive(Debug, Default)]
pub struct Known {
    pub names: Vec<(usize, Named)>,
    /// The messages that came before.
    pub seen: Vec<usize>,
}

/// Looks up JIDs, each with its tenant, and messages.
pub fn look_up(names: &[(i32, &str)], arriving: &[Arriving<'_>]) -> Result<Known> {
    let mut known = Known::default();
    let statement = per_row!(
        concat!(
            "SELECT n.place, coalesce(a.confirmed, false), a.chat_id::text, ",
            session_columns!("s."),
            ", s.updated_at, r.id, r.created_at \
               FROM unnest($1, $2) WITH ORDINALITY AS n (tenant, name, place) \
               LEFT JOIN whaply.chat_aliases a ON a.tenant_id = n.tenant AND a.jid = n.name \
               LEFT JOIN whaply.sessions s ON s.tenant_id = n.tenant AND s.chat_id = coalesce(a.chat_id, n.name) \
               LEFT JOIN whaply.replies r ON r.tenant_id = s.tenant_id AND r.chat_id = s.chat_id \
                    AND r.state IN ('waiting', 'generating', 'sending') \
              WHERE a.jid IS NOT NULL OR s.id IS NOT NULL \
              UNION ALL \
             SELECT n.place, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM "
        ),
        ["$3" "$4" "$5" "$6"],
        " AS n (tenant, message, event, place) \
           JOIN whaply.processed_events e \
             ON e.tenant_id = n.tenant AND e.message_id = n.message AND e.event_type = n.event"
    );
    let places: Vec<i64> = (1..).take(arriving.len()).collect();
    sql::query_by_index(
        statement.of(arriving),
        &[
            sql::array(names.iter().map(|(tenant_id, _)| *tenant_id)),
            sql::array(names.iter().map(|(_, jid)| *jid)),
            sql::column(arriving, |message| message.tenant_id),
            sql::column(arriving, |message| message.message_id),
            sql::column(arriving, |message| message.event),
            sql::column(&places, |place| *place),
        ],
        |row| {
            let place = usize::try_from(row.get::<i64>(1)?).unwrap_or_default().saturating_sub(1);
            match row.find(2)? {
                Some(is_confirmed) => known.names.push((place, read(row, is_confirmed)?)),
                None => known.seen.push(place),
            }
            Ok(())
        },
    )?;
    Ok(known)
}

fn read(row: &sql::Row<'_, '_>, is_confirmed: bool) -> Result<Named> {
    let leads_to = match row.find_time(13)? {
        Some(updated_at) => {
            let reply = row.find(14)?.zip(row.find_time(15)?);
            let open_reply = reply.map(|(id, created_at)| Open { id, created_at });
            Some(Standing { session: sessions::read_from(row, 4)?, updated_at, open_reply })
        }
        None => None,
    };
    Ok(Named { alias_of: row.find(3)?, is_confirmed, leads_to })
}
