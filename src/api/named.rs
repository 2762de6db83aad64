//! The tenant and the chat that the arguments of a function name, as far as its caller may see them.

use super::arguments::given;
use crate::error::{Error, Result};
use crate::intake::lock_in_any_writing;
use crate::store::access::{Caller, Level};
use crate::store::{Chat, tenants};

/// The tenant of an instance, or an error that says how to make one. One that the caller may not do this
/// with is as unknown to it as one that is not there.
pub(super) fn tenant_of(caller: &Caller, level: Level, instance_name: Option<&str>) -> Result<i32> {
    let instance = given(instance_name, "instance_name")?;
    match tenants::id_of(instance)? {
        Some(id) if caller.sees(level, id)? => Ok(id),
        _ => Err(Error::UnknownInstance { instance: instance.to_owned() }),
    }
}

/// The chat that a person means, in any writing, with its session locked if it has one.
pub(super) fn locked_chat(
    caller: &Caller,
    instance_name: Option<&str>,
    chat_id: Option<&str>,
) -> Result<Chat> {
    let tenant_id = tenant_of(caller, Level::Operator, instance_name)?;
    lock_in_any_writing(tenant_id, given(chat_id, "chat_id")?)
}
