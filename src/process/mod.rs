//! What every background process of whaply needs of PostgreSQL: signals, pinned settings,
//! transactions that survive an error, and a way for other threads to wake the main one. It knows
//! nothing of what the processes do.

pub mod guarded;
mod pinned;
mod signals;
mod wake_up;

pub use pinned::{impatiently, pin_settings};
pub use signals::{
    end_at_next_safe_point, install_signal_handlers, install_signal_handlers_with,
    with_signals_blocked,
};
pub use wake_up::{WakeUp, wait_for_event};
