//! Plans of statements: each prepared once a process, and how the planner is told to make them. It
//! runs nothing itself.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CString;

use pgrx::prelude::*;
use pgrx::{PgList, pg_sys};

use super::sql::Arg;
use crate::error::{Error, Result};

/// How a statement finds its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finds {
    /// As the planner thinks best, by what it knows of the tables and the parameters.
    AsPlanned,
    /// Each row by its key. The planner takes a table that nobody has analysed yet for a small one that
    /// is read faster as a whole, and an array for one of ten elements; and it would plan anew for every
    /// single event, which costs more than to take it.
    ByIndex,
}

/// What a table counts as that is smaller, for a plan of [`Finds::ByIndex`]: where rows are few, a key
/// seems no better than half of it, or than reading everything.
const BIG_ROWS: f64 = 100_000.0;
const BIG_PAGES: u32 = 10_000;

/// A plan, kept as long as the process: freeing it when a process exits would touch memory that
/// PostgreSQL has released already. PostgreSQL makes it anew itself when a table changes.
#[derive(Clone, Copy)]
struct Kept {
    plan: pg_sys::SPIPlanPtr,
    finds: Finds,
}

thread_local! {
    /// By the place of the statement's text: hashing the whole of it each time would cost more.
    static PLANS: RefCell<HashMap<(*const u8, usize), Kept>> = RefCell::default();
}

/// The plan of a statement, ready to be run. Called within a connection to SPI.
pub fn plan(sql: &'static str, args: &[Arg<'_>], finds: Finds) -> Result<pg_sys::SPIPlanPtr> {
    let place = (sql.as_ptr(), sql.len());
    let known = PLANS.with_borrow(|plans| plans.get(&place).copied());
    let kept = match known {
        Some(kept) => kept,
        None => {
            let kept = Kept { plan: prepare(sql, args, finds)?, finds };
            PLANS.with_borrow_mut(|plans| plans.insert(place, kept));
            if finds == Finds::ByIndex {
                make_by_index(kept.plan);
            }
            return Ok(kept.plan);
        }
    };
    // SAFETY: a kept plan is never freed.
    if kept.finds == Finds::ByIndex && !unsafe { pg_sys::SPI_plan_is_valid(kept.plan) } {
        make_by_index(kept.plan);
    }
    Ok(kept.plan)
}

fn prepare(sql: &str, args: &[Arg<'_>], finds: Finds) -> Result<pg_sys::SPIPlanPtr> {
    let text = CString::new(sql).map_err(|error| Error::Internal(error.to_string()))?;
    let mut types: Vec<pg_sys::Oid> = args.iter().map(|arg| arg.oid()).collect();
    let count = i32::try_from(types.len()).unwrap_or(i32::MAX);
    let options = match finds {
        Finds::AsPlanned => 0,
        Finds::ByIndex => pg_sys::CURSOR_OPT_GENERIC_PLAN.cast_signed(),
    };
    // SAFETY: the text is NUL-terminated, `types` has `count` elements, and both live until the call
    // returns, which copies them.
    let plan =
        unsafe { pg_sys::SPI_prepare_cursor(text.as_ptr(), count, types.as_mut_ptr(), options) };
    if plan.is_null() {
        return Err(Error::Internal(format!("SPI_prepare_cursor failed: {sql}")));
    }
    // SAFETY: the plan was just made and is not kept yet.
    unsafe { pg_sys::SPI_keepplan(plan) };
    Ok(plan)
}

/// Makes PostgreSQL plan a statement now, and keep that plan until a table changes.
fn make_by_index(plan: pg_sys::SPIPlanPtr) {
    let _seen_as_big = TablesSeenAsBig::begin();
    // SAFETY: the plan is kept; the reference that is taken here is given back at once, and the plan
    // stays in its source.
    unsafe {
        let cached = pg_sys::SPI_plan_get_cached_plan(plan);
        if !cached.is_null() {
            #[cfg(feature = "pg13")]
            pg_sys::ReleaseCachedPlan(cached, true);
            #[cfg(not(feature = "pg13"))]
            pg_sys::ReleaseCachedPlan(cached, pg_sys::CurrentResourceOwner);
        }
    }
}

/// The planner sees every table as a big one and goes from key to key, for as long as this lives.
struct TablesSeenAsBig {
    former: Settings,
}

/// Settings of the planner: whether it may read whole tables, join them as wholes, make bitmaps of the
/// one row that a key names, and compile what takes microseconds.
#[derive(Clone, Copy)]
struct Settings {
    enable_seqscan: bool,
    enable_hashjoin: bool,
    enable_mergejoin: bool,
    enable_bitmapscan: bool,
    jit: bool,
}

thread_local! {
    /// The hook that another extension had in this place.
    static FORMER: Cell<pg_sys::get_relation_info_hook_type> = const { Cell::new(None) };
}

impl TablesSeenAsBig {
    fn begin() -> Self {
        let none = Settings {
            enable_seqscan: false,
            enable_hashjoin: false,
            enable_mergejoin: false,
            enable_bitmapscan: false,
            jit: false,
        };
        // SAFETY: the planner reads the hook on this thread only, and not at this moment.
        unsafe {
            FORMER.set(pg_sys::get_relation_info_hook);
            pg_sys::get_relation_info_hook = Some(see_as_big);
        }
        Self { former: none.swap_in() }
    }
}

impl Drop for TablesSeenAsBig {
    fn drop(&mut self) {
        self.former.swap_in();
        // SAFETY: as in `begin`.
        unsafe { pg_sys::get_relation_info_hook = FORMER.take() };
    }
}

impl Settings {
    /// Puts these in force; those that were. They are variables, and nothing but the planner runs until
    /// they are put back.
    fn swap_in(self) -> Self {
        // SAFETY: variables of this process, which has one thread that plans.
        unsafe {
            let former = Self {
                enable_seqscan: pg_sys::enable_seqscan,
                enable_hashjoin: pg_sys::enable_hashjoin,
                enable_mergejoin: pg_sys::enable_mergejoin,
                enable_bitmapscan: pg_sys::enable_bitmapscan,
                jit: pg_sys::jit_enabled,
            };
            pg_sys::enable_seqscan = self.enable_seqscan;
            pg_sys::enable_hashjoin = self.enable_hashjoin;
            pg_sys::enable_mergejoin = self.enable_mergejoin;
            pg_sys::enable_bitmapscan = self.enable_bitmapscan;
            pg_sys::jit_enabled = self.jit;
            former
        }
    }
}

/// Called by the planner with what it knows of a table and its indexes.
///
/// # Safety
/// The planner's hook: the pointers are the planner's, and live.
#[pg_guard]
unsafe extern "C-unwind" fn see_as_big(
    root: *mut pg_sys::PlannerInfo,
    table: pg_sys::Oid,
    is_parent: bool,
    info: *mut pg_sys::RelOptInfo,
) {
    if let Some(former) = FORMER.get() {
        // SAFETY: the hook's own arguments.
        unsafe { former(root, table, is_parent, info) };
    }
    // SAFETY: the planner has filled `info`, whose list is one of indexes and lives as long as it.
    unsafe {
        (*info).pages = (*info).pages.max(BIG_PAGES);
        (*info).tuples = (*info).tuples.max(BIG_ROWS);
        let indexes = PgList::<pg_sys::IndexOptInfo>::from_pg((*info).indexlist);
        for index in indexes.iter_ptr() {
            (*index).pages = (*index).pages.max(BIG_PAGES);
            (*index).tuples = (*index).tuples.max(BIG_ROWS);
        }
    }
}
