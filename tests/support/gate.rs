//! A gate in a fake's way: a request waits in front of it until the test opens it. So a test can act
//! while a call is in flight without guessing how long anything takes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::wait::Journal;

/// Clones are the same gate. A gate that is never opened holds its requests until the fake is gone.
#[derive(Clone, Debug)]
pub struct Gate {
    arrivals: Arc<Journal<()>>,
    open: Arc<watch::Sender<bool>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::closed()
    }
}

impl Gate {
    pub fn closed() -> Self {
        Self { arrivals: Arc::default(), open: Arc::new(watch::Sender::new(false)) }
    }

    /// Lets through whatever waits, and whatever still comes.
    pub fn release(&self) {
        self.open.send_replace(true);
    }

    /// Returns once a request stands in front of the gate (or has passed it).
    #[track_caller]
    pub fn wait_until_reached(&self, limit: Duration) {
        self.arrivals.wait_for(1, "request at the gate", limit);
    }

    pub(crate) async fn pass(&self) {
        self.arrivals.push(());
        let mut open = self.open.subscribe();
        // An error would mean that the sender is gone, but `self` holds it.
        let _ = open.wait_for(|open| *open).await;
    }
}
