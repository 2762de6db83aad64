//! PostgreSQL's own commands on whole databases, which it refuses while anybody is connected: those of
//! whaply make way first. Only for who owns the database, since the command's own checks come later.
//! Every other command passes untouched.

use std::ffi::{CStr, c_char};
use std::sync::OnceLock;

use pgrx::PgList;
use pgrx::prelude::*;

use super::or_raise;
use crate::worker;

/// What CREATE DATABASE copies unless it says otherwise.
const DEFAULT_TEMPLATE: &CStr = c"template1";

/// Who watched the commands before, if anybody did.
static FORMER: OnceLock<pg_sys::ProcessUtility_hook_type> = OnceLock::new();

/// Called once, by `_PG_init`.
pub fn watch_database_commands() {
    // SAFETY: while the library is loaded nothing else runs in this process.
    unsafe {
        if FORMER.set(pg_sys::ProcessUtility_hook).is_ok() {
            pg_sys::ProcessUtility_hook = Some(process_utility);
        }
    }
}

/// The hook, as the server's versions have it. An ERROR of a command jumps over this frame, which holds
/// nothing that would have to be dropped; through pgrx it would be taken apart and put together again.
macro_rules! hook {
    ($($read_only:ident: $is:ty)?) => {
        // SAFETY: exported by every server, with this signature (utility.h).
        unsafe extern "C-unwind" {
            fn standard_ProcessUtility(
                statement: *mut pg_sys::PlannedStmt,
                text: *const c_char,
                $($read_only: $is,)?
                context: pg_sys::ProcessUtilityContext::Type,
                parameters: pg_sys::ParamListInfo,
                environment: *mut pg_sys::QueryEnvironment,
                receiver: *mut pg_sys::DestReceiver,
                completion: *mut pg_sys::QueryCompletion,
            );
        }

        /// # Safety
        /// Called by PostgreSQL for each command.
        unsafe extern "C-unwind" fn process_utility(
            statement: *mut pg_sys::PlannedStmt,
            text: *const c_char,
            $($read_only: $is,)?
            context: pg_sys::ProcessUtilityContext::Type,
            parameters: pg_sys::ParamListInfo,
            environment: *mut pg_sys::QueryEnvironment,
            receiver: *mut pg_sys::DestReceiver,
            completion: *mut pg_sys::QueryCompletion,
        ) {
            // SAFETY: what PostgreSQL gave, on to where it would have gone.
            unsafe {
                before_command((*statement).utilityStmt, context);
                let next = FORMER.get().copied().flatten().unwrap_or(standard_ProcessUtility);
                next(statement, text, $($read_only,)? context, parameters, environment, receiver, completion);
            }
        }
    };
}

#[cfg(feature = "pg13")]
hook!();
#[cfg(not(feature = "pg13"))]
hook!(read_only: bool);

/// A command that needs a database for itself.
struct Command {
    database: pg_sys::Oid,
    /// It ends other sessions by itself.
    terminates_others: bool,
}

/// # Safety
/// `statement` is a command that is about to run, in a transaction.
#[pg_guard]
unsafe extern "C-unwind" fn before_command(
    statement: *mut pg_sys::Node,
    context: pg_sys::ProcessUtilityContext::Type,
) {
    // SAFETY: as the caller promised.
    let command = unsafe { command_of(statement, context) };
    let Some(command) = command else { return };
    if is_owner(command.database) {
        or_raise(worker::make_way(command.database.to_u32(), command.terminates_others));
    }
}

/// None for every other command, and for one that will certainly fail.
///
/// # Safety
/// As [`before_command`].
unsafe fn command_of(
    statement: *mut pg_sys::Node,
    context: pg_sys::ProcessUtilityContext::Type,
) -> Option<Command> {
    let is_top_level = context == pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL;
    // SAFETY: a node is what its tag says. Names of databases are C strings, or missing.
    unsafe {
        let (name, options, may_be_in_block, may_be_here) = match (*statement).type_ {
            pg_sys::NodeTag::T_DropdbStmt => {
                let drop = statement.cast::<pg_sys::DropdbStmt>();
                ((*drop).dbname.cast_const(), (*drop).options, false, false)
            }
            pg_sys::NodeTag::T_CreatedbStmt => {
                let create = statement.cast::<pg_sys::CreatedbStmt>();
                let template = option((*create).options, c"template");
                let name = template.map_or(DEFAULT_TEMPLATE.as_ptr(), |template| text_of(template));
                (name, (*create).options, false, true)
            }
            pg_sys::NodeTag::T_AlterDatabaseStmt => {
                let alter = statement.cast::<pg_sys::AlterDatabaseStmt>();
                option((*alter).options, c"tablespace")?;
                ((*alter).dbname.cast_const(), (*alter).options, false, false)
            }
            pg_sys::NodeTag::T_RenameStmt => {
                let rename = statement.cast::<pg_sys::RenameStmt>();
                if (*rename).renameType != pg_sys::ObjectType::OBJECT_DATABASE {
                    return None;
                }
                ((*rename).subname.cast_const(), std::ptr::null_mut(), true, false)
            }
            _ => return None,
        };
        if name.is_null() || (!may_be_in_block && pg_sys::IsInTransactionBlock(is_top_level)) {
            return None;
        }
        let database = pg_sys::get_database_oid(name, true);
        let is_here = database == pg_sys::MyDatabaseId;
        if database == pg_sys::InvalidOid || (is_here && !may_be_here) {
            return None;
        }
        Some(Command { database, terminates_others: option(options, c"force").is_some() })
    }
}

/// # Safety
/// `options` is a list of `DefElem`, or null.
unsafe fn option(options: *mut pg_sys::List, name: &CStr) -> Option<*mut pg_sys::DefElem> {
    // SAFETY: as the caller promised.
    unsafe {
        let options = PgList::<pg_sys::DefElem>::from_pg(options);
        options.iter_ptr().find(|option| CStr::from_ptr((**option).defname) == name)
    }
}

/// `TEMPLATE = DEFAULT` has no value.
///
/// # Safety
/// `option` is an element of a list of options.
unsafe fn text_of(option: *mut pg_sys::DefElem) -> *const c_char {
    // SAFETY: as the caller promised; the text lives as long as the command.
    unsafe {
        if (*option).arg.is_null() {
            DEFAULT_TEMPLATE.as_ptr()
        } else {
            pg_sys::defGetString(option)
        }
    }
}

fn is_owner(database: pg_sys::Oid) -> bool {
    // SAFETY: looks into the catalogs, in a transaction.
    unsafe {
        let user = pg_sys::GetUserId();
        #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15"))]
        return pg_sys::pg_database_ownercheck(database, user);
        #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15")))]
        return pg_sys::object_ownercheck(pg_sys::DatabaseRelationId, database, user);
    }
}
