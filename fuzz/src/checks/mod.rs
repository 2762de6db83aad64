//! What must hold for any input, one file for each kind of it. Each `check` panics where it does not, and
//! the fuzzer keeps the input.

pub mod addresses;
pub mod credentials;
pub mod evolution;
pub mod front_door;
mod http_answers;
pub mod providers;
mod responses;
pub mod webhook;
pub mod webhook_tree;
pub mod whatsapp_text;

/// What takes an input.
pub type Check = fn(&[u8]);

/// Every kind, by the name of its program, its folder in `corpus` and in `regressions`.
pub const ALL: [(&str, Check); 8] = [
    ("webhook", webhook::check),
    ("webhook_tree", webhook_tree::check),
    ("providers", providers::check),
    ("evolution", evolution::check),
    ("front_door", front_door::check),
    ("credentials", credentials::check),
    ("whatsapp_text", whatsapp_text::check),
    ("addresses", addresses::check),
];
