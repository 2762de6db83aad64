//! What every background process of whaply needs of PostgreSQL and of the system: signals, pinned settings,
//! transactions that survive an error, a way for other threads to wake the main one, room for sockets, and
//! the keeping of other processes. It knows nothing of what the processes do.

pub mod activity;
pub mod guarded;
mod kept;
pub mod memory;
mod open_files;
mod pinned;
mod signals;
mod wake_up;

pub use kept::{Restarts, worker_of};
pub use open_files::most_sockets;
pub use pinned::{impatiently, pin_before_connecting, pin_settings};
pub use signals::{
    end_at_next_safe_point, install_signal_handlers, install_signal_handlers_with,
    with_signals_blocked,
};
pub use wake_up::{Sleep, WakeUp};
