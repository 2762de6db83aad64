//! A `jsonb` that was written elsewhere, as a parameter of a statement: PostgreSQL takes its bytes as they
//! are.

use pgrx::{IntoDatum, pg_sys};

use crate::webhook::Jsonb;

/// A parameter, or an element of one that is an array.
pub struct Ready<'a>(pub &'a Jsonb);

impl IntoDatum for Ready<'_> {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        let bytes = self.0.as_bytes();
        let length = bytes.len() + pg_sys::VARHDRSZ;
        // SAFETY: the word of the length and the bytes fit into what was allocated, which is aligned for any
        // type and lives as long as the memory context.
        unsafe {
            let datum = pg_sys::palloc(length).cast::<pg_sys::varlena>();
            pgrx::set_varsize_4b(datum, i32::try_from(length).ok()?);
            let data = datum.cast::<u8>().add(pg_sys::VARHDRSZ);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len());
            Some(datum.into())
        }
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::JSONBOID
    }
}
