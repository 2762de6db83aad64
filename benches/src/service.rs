//! The peer of the listener, running: benches/peers/service.py under uvicorn. It ends with this process,
//! however that ends.

use std::env;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use support::ports::free_port;
use support::wait_until;

pub const WORKERS: u32 = 2;

/// The folder of its virtual environment.
const ENVIRONMENT_VARIABLE: &str = "WHAPLY_BENCH_VENV";

const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

/// Python on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Ends the service when our end of its standard input closes, its workers with it even where they hang.
const GUARD: &str = r#"
exec 3<&0
trap '' INT
"$@" </dev/null &
service=$!
(cat >/dev/null; kill -TERM $service 2>/dev/null; sleep 5; kill -KILL 0) <&3 &
guard=$!
wait $service
kill $guard 2>/dev/null
"#;

pub struct Service {
    guard: Child,
    port: u16,
}

impl Service {
    /// Starts it in front of a database.
    pub fn start(database: &str, log: &Path) -> Result<Self> {
        let environment = env::var(ENVIRONMENT_VARIABLE)
            .with_context(|| format!("{ENVIRONMENT_VARIABLE} is not set: use make bench"))?;
        let port = free_port();
        let output = std::fs::File::create(log)?;
        let guard = Command::new("sh")
            .args(["-c", GUARD, "peer"])
            .arg(format!("{environment}/bin/uvicorn"))
            .args(["service:app", "--app-dir", PEERS, "--host", "127.0.0.1", "--loop", "uvloop"])
            .args(["--http", "httptools", "--no-access-log", "--log-level", "warning"])
            .args(["--timeout-graceful-shutdown", "2"])
            .args(["--workers", &WORKERS.to_string(), "--port", &port.to_string()])
            .env("DATABASE_URL", database)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .context("uvicorn cannot be started")?;
        let mut service = Self { guard, port };
        service.wait_until_ready(log)?;
        Ok(service)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/webhook", self.port)
    }

    /// All workers share the socket, which is open before the first of them is ready.
    fn wait_until_ready(&mut self, log: &Path) -> Result<()> {
        let complaint = || std::fs::read_to_string(log).unwrap_or_default();
        wait_until("the peer to listen", START_LIMIT, || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(|_| complaint())
        });
        if self.guard.try_wait()?.is_some() {
            bail!("the peer ended: {}", complaint());
        }
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        // Nobody is left to tell if this fails.
        let _ = self.guard.wait();
    }
}
