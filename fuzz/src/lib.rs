//! All that whaply reads from strangers, without PostgreSQL, and what must hold for any input of it. The
//! extension's own files are compiled here as they are; what they need of the rest of it is in `stand_ins`.

// Most of each file is used by the extension only.
#![allow(dead_code, unused_imports)]

pub mod checks;
#[path = "../../src/conversation/mod.rs"]
mod conversation;
#[path = "../../src/credentials/mod.rs"]
mod credentials;
#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/evolution/mod.rs"]
mod evolution;
#[path = "../../src/exchange.rs"]
mod exchange;
mod front_door;
mod jsonb;
#[path = "../../src/llm/mod.rs"]
mod llm;
#[path = "../../src/process/memory.rs"]
mod memory;
#[path = "../../src/refusals/reason.rs"]
mod reason;
mod stand_ins;
#[path = "../../src/text.rs"]
mod text;
#[path = "../../src/webhook/mod.rs"]
mod webhook;

use stand_ins::{intake, process, refusals, settings};
