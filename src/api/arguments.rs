//! Arguments that pgrx has no fit type for, JSON as the text that was sent: pgrx's own types parse it, and
//! panic on what PostgreSQL takes and serde_json does not. And those that must not be NULL.

use pgrx::callconv::{Arg, ArgAbi};
use pgrx::datum::FromDatum;
use pgrx::nullable::Nullable;
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};

use crate::error::{Error, Result};

/// An argument of type `json`, as the text that was sent.
pub struct JsonText(pub String);

/// An argument of type `jsonb`, as the text PostgreSQL writes it in.
pub struct JsonbText(pub String);

impl FromDatum for JsonText {
    /// # Safety
    /// `datum` is a `json` that lives, or `is_null`.
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        oid: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: `json` is stored as `text` is, and the caller vouches for the datum.
        unsafe { String::from_polymorphic_datum(datum, is_null, oid) }.map(Self)
    }
}

impl FromDatum for JsonbText {
    /// # Safety
    /// `datum` is a `jsonb` that lives, or `is_null`.
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: the datum is a jsonb (the caller vouches for it); jsonb_out returns a
        // NUL-terminated palloc'ed string in the database's encoding.
        let text = unsafe {
            pgrx::direct_function_call::<&core::ffi::CStr>(pg_sys::jsonb_out, &[Some(datum)])
        };
        text.map(|text| Self(text.to_string_lossy().into_owned()))
    }
}

macro_rules! json_argument {
    ($name:ident, $sql:literal) => {
        // SAFETY: reads the argument with the FromDatum of the same type.
        unsafe impl<'fcx> ArgAbi<'fcx> for $name {
            /// # Safety
            /// The argument has the type of `Self` in SQL.
            unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
                // SAFETY: the caller checked that the argument has this type.
                unsafe { arg.unbox_arg_using_from_datum() }.unwrap_or_else(|| Self(String::new()))
            }

            /// # Safety
            /// The argument has the type of `Self` in SQL.
            unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
                // SAFETY: the caller checked that the argument has this type.
                unsafe { arg.unbox_arg_using_from_datum() }.into()
            }
        }

        // SAFETY: the SQL type is the one that FromDatum reads.
        unsafe impl SqlTranslatable for $name {
            const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!($name);
            const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
            const ARGUMENT_SQL: std::result::Result<SqlMappingRef, ArgumentError> =
                Ok(SqlMappingRef::literal($sql));
            const RETURN_SQL: std::result::Result<ReturnsRef, ReturnsError> =
                Ok(ReturnsRef::One(SqlMappingRef::literal($sql)));
        }
    };
}

json_argument!(JsonText, "json");
json_argument!(JsonbText, "jsonb");

/// An argument that must not be NULL (22004).
pub fn given<T>(argument: Option<T>, name: &'static str) -> Result<T> {
    argument.ok_or(Error::NullArgument { argument: name })
}
