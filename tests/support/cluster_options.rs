//! What a cluster is made with. It starts none.

#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// `shared_preload_libraries`.
    pub preload: String,
    /// Commits survive a crash of the machine. They take longer, and no test crashes the machine.
    pub fsync: bool,
    /// Further lines of postgresql.conf.
    pub settings: Vec<(String, String)>,
    /// Commands of a shell that mount something before each start, for this server alone; see
    /// [`Cluster::can_have_mounts`]. They run in the server's directory.
    pub mounts: Option<String>,
    /// Variables of the server's environment, beside those of this process.
    pub environment: Vec<(String, String)>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            preload: "whaply".to_owned(),
            fsync: false,
            settings: Vec::new(),
            mounts: None,
            environment: Vec::new(),
        }
    }
}

impl ClusterOptions {
    pub fn without_preload() -> Self {
        Self { preload: String::new(), ..Self::default() }
    }

    /// A worker that waits as little as it can between tries, so that a failure is over at once.
    pub fn in_a_hurry(self) -> Self {
        self.with("whaply.retry_delay", "50ms")
            .with("whaply.settle_time", "300ms")
            // What a broken call may still come to is asked after this, counted from its begin.
            .with("whaply.send_timeout", "5s")
            .with("whaply.line_check_interval", "200ms")
    }

    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn with(mut self, setting: &str, value: &str) -> Self {
        self.settings.push((setting.to_owned(), value.to_owned()));
        self
    }
}
