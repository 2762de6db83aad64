//! Customers of whom nobody can say which one (Cloud API): looked at once more at the claim, since a
//! message that came after theirs may have shown only then that several wrote at once.

use crate::conversation::Action;
use crate::error::Result;
use crate::store::replies::Reply;
use crate::store::{processed_events, unverified};
use crate::webhook;

const ARRIVAL: &str = "messages.upsert";

/// Leaves to a person which of a reply's questions cannot be told apart from another customer's; how
/// many.
pub fn leave_aside(reply: &Reply) -> Result<i64> {
    let chat = &reply.chat;
    let mut left_aside = 0;
    for (message_id, arrived_at) in
        unverified::claimed_of_the_cloud_api(chat, reply.id, reply.first_sent_at)?
    {
        if webhook::is_unverified(&message_id)
            && unverified::another_customer_wrote(chat, arrived_at)?
        {
            unverified::leave_unverified(chat.tenant_id, &message_id)?;
            let action = Action::IgnoredUnverified;
            processed_events::overwrite(chat.tenant_id, &message_id, ARRIVAL, action)?;
            left_aside += 1;
        }
    }
    Ok(left_aside)
}
