//! What the listener knows of the parts of the extension that need PostgreSQL: their words, without
//! what they do.

pub mod intake {
    //! As `src/intake` has it.

    /// What was done with an event.
    #[derive(Clone, Debug)]
    pub struct Outcome {
        pub action: String,
        pub duplicate: bool,
        pub chat_id: Option<String>,
        pub message_id: Option<String>,
        pub reply_id: Option<i64>,
    }
}

pub mod refusals {
    //! As `src/refusals` has it.

    pub use crate::reason::Reason;
}

pub mod settings {
    //! As `src/settings` has it.

    use std::time::Duration;

    #[derive(Clone, Debug)]
    pub struct FrontDoorLimits {
        pub max_body: usize,
        pub max_clients: usize,
        pub header_timeout: Duration,
        pub body_timeout: Duration,
        pub refused_per_minute: u32,
    }
}

pub mod process {
    //! As `src/process` has it, for a process without signals and without a main thread that sleeps.

    use std::os::fd::RawFd;

    pub(crate) use crate::memory;

    pub fn with_signals_blocked<T>(body: impl FnOnce() -> T) -> T {
        body()
    }

    #[derive(Debug)]
    pub struct WakeUp;

    impl WakeUp {
        pub fn new() -> std::io::Result<Self> {
            Ok(Self)
        }

        pub fn fd(&self) -> RawFd {
            -1
        }

        pub fn ring(&self) {}

        pub fn quiet(&self) {}
    }
}
