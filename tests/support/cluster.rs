//! A throw-away PostgreSQL server for the tests of one binary. It listens on 127.0.0.1 only, and
//! nothing of it is left behind, not even when the test process is killed.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, process};

use postgres::Client;
use rustix::process::{Pid, Signal, kill_process};

pub use crate::cluster_options::ClusterOptions;
use crate::database::{self, Database};
use crate::guard::Guarded;
use crate::ports::free_port;
use crate::say::say_left_out;
use crate::server_user::{ServerUser, successful};
use crate::wait::wait_until;

/// Where to look for the server if the environment names none in `PG_CONFIG`.
const DEFAULT_PG_CONFIG: &str = "/usr/lib/postgresql/15/bin/pg_config";

/// A server under test starts, stops and reloads within seconds, even on a busy machine.
const SERVER_LIMIT: Duration = Duration::from_secs(60);

/// Another program may take the free port between our look and the server's start.
const PORTS_TO_TRY: usize = 5;

/// Makes the directory, prints its name, waits for the end of the test process, and leaves nothing.
/// $1: the server's programs. Whoever makes the directory must be the one who cannot be killed.
const GUARD_SCRIPT: &str = r#"
trap '' INT TERM HUP PIPE
directory=$(mktemp -d /tmp/whaply-test-XXXXXX) || exit
echo "$directory"
cat >/dev/null
# More than once: an initdb or a start that was under way still writes for a moment.
for attempt in $(seq 1000); do
    if [ -f "$directory/data/postmaster.pid" ]; then
        "$1/pg_ctl" stop -D "$directory/data" -m immediate -w -t 30 >/dev/null 2>&1 ||
            kill -KILL "$(head -n 1 "$directory/data/postmaster.pid")" 2>/dev/null
    fi
    rm -rf "$directory" 2>/dev/null && break
done
"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    Smart,
    Fast,
    Immediate,
}

impl StopMode {
    fn name(self) -> &'static str {
        match self {
            Self::Smart => "smart",
            Self::Fast => "fast",
            Self::Immediate => "immediate",
        }
    }
}

#[derive(Debug)]
pub struct Cluster {
    directory: PathBuf,
    programs: PathBuf,
    user: ServerUser,
    mounts: Option<String>,
    environment: Vec<(String, String)>,
    port: AtomicU16,
    databases: AtomicUsize,
    /// How long the log was when a process was last killed.
    log_before_kill: AtomicU64,
    /// Stops the server and removes the directory when the cluster is dropped, or this process ends.
    _guard: Guarded,
}

/// The cluster that the tests of one binary share, with whaply preloaded and in a hurry. Each test
/// makes a database of its own in it, and leaves the server running.
pub fn shared_cluster() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(ClusterOptions::default().in_a_hurry()))
}

impl Cluster {
    pub fn start(options: ClusterOptions) -> Self {
        Self::start_on(programs(), &options, |cluster| cluster.initdb(&[]))
    }

    /// With these programs, on the data directory that `make_data` makes.
    pub(crate) fn start_on(
        programs: PathBuf,
        options: &ClusterOptions,
        make_data: impl FnOnce(&Self),
    ) -> Self {
        let user = ServerUser::find();
        let mut guard = user.command(Path::new("/bin/sh"), Path::new("/"));
        guard.args(["-c", GUARD_SCRIPT, "whaply-test-guard"]).arg(&programs);
        let mut guard = Guarded::start(guard.stdout(Stdio::piped())).expect("a shell can be run");
        let directory = guard.first_line(SERVER_LIMIT).expect("a directory in /tmp");
        let cluster = Self {
            directory: PathBuf::from(directory),
            programs,
            user,
            mounts: options.mounts.clone(),
            environment: options.environment.clone(),
            port: AtomicU16::new(0),
            databases: AtomicUsize::new(0),
            log_before_kill: AtomicU64::new(0),
            _guard: guard,
        };
        make_data(&cluster);
        cluster.configure(options);
        cluster.start_on_a_free_port();
        cluster
    }

    /// Whether a server can have mounts of its own on this machine. If not, it says so.
    pub fn can_have_mounts() -> bool {
        let why_not = ServerUser::find().why_no_mounts();
        if let Some(why_not) = &why_not {
            say_left_out(&format!("mounts, and {why_not}"));
        }
        why_not.is_none()
    }

    /// Where the server's files are; its mounts are only in its own view.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    #[track_caller]
    pub fn connect(&self, database: &str) -> Client {
        database::connect(self.port(), database)
    }

    /// A new database with whaply in it. Its name is `prefix` and what makes it unique.
    #[track_caller]
    pub fn create_database(&self, prefix: &str) -> Database {
        let database = self.create_empty_database(prefix);
        database.execute("CREATE EXTENSION whaply");
        database
    }

    /// The same with a version of whaply that was released before.
    #[track_caller]
    pub fn create_database_of(&self, version: &str, prefix: &str) -> Database {
        let database = self.create_empty_database(prefix);
        database.execute(&format!("CREATE EXTENSION whaply VERSION '{version}'"));
        database
    }

    #[track_caller]
    pub fn create_empty_database(&self, prefix: &str) -> Database {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        self.create_empty(format!("{prefix}_{}_{number}", process::id()))
    }

    /// With just this name and whaply in it, in a cluster of the test's own.
    #[track_caller]
    pub fn create_named_database(&self, name: &str) -> Database {
        let database = self.create_empty(name.to_owned());
        database.execute("CREATE EXTENSION whaply");
        database
    }

    /// One that is there already, made by somebody else.
    pub fn existing_database(&self, name: &str) -> Database {
        Database::new(self.port(), name.to_owned())
    }

    #[track_caller]
    fn create_empty(&self, name: String) -> Database {
        // Nobody can be connected to template0, which would make this fail.
        let sql = format!("CREATE DATABASE {name} TEMPLATE template0");
        let created = self.connect("postgres").batch_execute(&sql);
        created.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        Database::new(self.port(), name)
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        self.log_from(0)
    }

    fn log_from(&self, offset: u64) -> String {
        let mut log = Vec::new();
        if let Ok(mut file) = fs::File::open(self.directory.join("log")) {
            file.seek(SeekFrom::Start(offset)).expect("a file can be read from anywhere");
            file.read_to_end(&mut log).expect("the log can be read");
        }
        String::from_utf8_lossy(&log).into_owned()
    }

    /// `ALTER SYSTEM SET` and a reload, which new sessions have seen when this returns.
    #[track_caller]
    pub fn set(&self, setting: &str, value: &str) {
        let mut client = self.connect("postgres");
        let value = value.replace('\'', "''");
        let set = client.batch_execute(&format!("ALTER SYSTEM SET {setting} = '{value}'"));
        set.unwrap_or_else(|error| panic!("{setting} = '{value}': {error:?}"));
        let reloaded = "SELECT pg_conf_load_time()::text";
        let before: String = client.query_one(reloaded, &[]).expect("a reload time").get(0);
        client.batch_execute("SELECT pg_reload_conf()").expect("a superuser may reload");
        wait_until("the new configuration", SERVER_LIMIT, || {
            let row = self.connect("postgres").query_one(reloaded, &[]).ok()?;
            (row.get::<_, String>(0) != before).then_some(())
        });
    }

    pub fn stop(&self, mode: StopMode) {
        self.pg_ctl(&["stop", "-w", "-m", mode.name()]).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Stops the server, fast, if it runs, and starts it on the same port.
    pub fn restart(&self) {
        if self.is_accepting() {
            self.stop(StopMode::Fast);
        }
        // After a kill, the old server's last children hold its shared memory for a moment.
        wait_until("the server to start", SERVER_LIMIT, || self.try_start());
    }

    /// SIGKILL, as the kernel does when memory runs out: nobody gets to tidy up.
    pub fn kill_postmaster(&self) {
        kill(self.postmaster_pid());
        wait_until("the killed server to be gone", SERVER_LIMIT, || !self.is_accepting());
    }

    /// SIGKILL for one process of the server, which makes the postmaster restart all of them.
    pub fn kill_process(&self, pid: i32) {
        let log = fs::metadata(self.directory.join("log"));
        self.log_before_kill.store(log.map_or(0, |log| log.len()), Ordering::Relaxed);
        kill(pid);
    }

    /// Returns when the postmaster has restarted everything after the last `kill_process`. (It
    /// notices a moment after it: until then sessions still open, and are closed again.)
    #[track_caller]
    pub fn wait_until_recovered(&self) {
        wait_until("the crash to be noticed", SERVER_LIMIT, || {
            let log = self.log_from(self.log_before_kill.load(Ordering::Relaxed));
            log.contains("all server processes terminated; reinitializing")
        });
        wait_until("the server to have recovered", SERVER_LIMIT, || {
            database::try_connect(self.port(), "postgres").map(drop)
        });
    }

    pub fn postmaster_pid(&self) -> i32 {
        let file = self.directory.join("data/postmaster.pid");
        let text = fs::read_to_string(file).expect("a running server has postmaster.pid");
        let pid = text.lines().next().and_then(|line| line.parse().ok());
        pid.expect("postmaster.pid begins with the process id")
    }

    pub(crate) fn initdb(&self, further: &[&str]) {
        let mut initdb = self.local_program("initdb");
        initdb.args(["-D", "data", "-U", "postgres", "-E", "UTF8"]);
        initdb.args(["--auth", "trust", "--no-locale", "--no-sync"]).args(further);
        successful(initdb.output().expect("initdb can be run"), "initdb");
    }

    /// Of a setting that is given twice the later value counts.
    fn configure(&self, options: &ClusterOptions) {
        let directory = self.directory.display().to_string();
        let fsync = if options.fsync { "on" } else { "off" };
        let fixed = [
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", directory.as_str()),
            ("shared_preload_libraries", options.preload.as_str()),
            ("max_connections", "100"),
            ("max_worker_processes", "64"),
            ("fsync", fsync),
            ("logging_collector", "off"),
            ("log_line_prefix", "%m [%p] %b %d "),
            // Every fake is on this machine.
            ("whaply.allow_private_addresses", "127.0.0.1"),
        ];
        let chosen = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let lines = fixed.into_iter().chain(chosen);
        let text: String = lines
            .map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''")))
            .collect();
        let file = self.directory.join("data/postgresql.conf");
        let mut file = fs::OpenOptions::new().append(true).open(file).expect("initdb's file");
        file.write_all(text.as_bytes()).expect("a line in postgresql.conf");
    }

    fn start_on_a_free_port(&self) {
        for _ in 0..PORTS_TO_TRY {
            self.port.store(free_port(), Ordering::Relaxed);
            match self.try_start() {
                Ok(()) => return,
                Err(error) if error.contains("Address already in use") => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no free port was free for long enough");
    }

    fn try_start(&self) -> Result<(), String> {
        let port = format!("-p {}", self.port());
        let log_length = self.log().len();
        let started = self.pg_ctl(&["start", "-w", "-l", "log", "-o", &port]);
        started.map_err(|error| format!("{error}\n{}", &self.log()[log_length..]))
    }

    fn pg_ctl(&self, arguments: &[&str]) -> Result<(), String> {
        let limit = SERVER_LIMIT.as_secs().to_string();
        let program = self.programs.join("pg_ctl");
        let mut pg_ctl = match &self.mounts {
            Some(mounts) if arguments.contains(&"start") => {
                self.user.command_with_mounts(&program, &self.directory, mounts)
            }
            _ => self.user.command(&program, &self.directory),
        };
        pg_ctl.args(["-D", "data", "-t", &limit]).args(arguments);
        pg_ctl.envs(self.environment.iter().map(|(name, value)| (name, value)));
        // The server would keep a pipe open that is inherited, and we would wait for its end.
        let status = pg_ctl.stdout(Stdio::null()).stderr(Stdio::null()).status();
        match status.expect("pg_ctl can be run") {
            status if status.success() => Ok(()),
            status => Err(format!("pg_ctl {}: {status}", arguments.join(" "))),
        }
    }

    /// A program beside the server's, run in its directory and as its user.
    pub(crate) fn local_program(&self, name: &str) -> Command {
        self.user.command(&self.programs.join(name), &self.directory)
    }

    /// A script in its directory and as its user; what is given to it are its arguments.
    pub(crate) fn shell(&self, script: &str) -> Command {
        let mut shell = self.user.command(Path::new("/bin/sh"), &self.directory);
        shell.args(["-c", script, "sh"]);
        shell
    }

    pub(crate) fn programs(&self) -> &Path {
        &self.programs
    }

    /// A client program, pointed at this server.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = self.local_program(name);
        let port = self.port().to_string();
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port]);
        command
    }

    fn is_accepting(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port())).is_ok()
    }
}

fn kill(pid: i32) {
    let pid = Pid::from_raw(pid).expect("a process id is not zero");
    kill_process(pid, Signal::KILL).unwrap_or_else(|error| panic!("kill {pid:?}: {error}"));
}

/// Where the server's programs are, as the `pg_config` of the environment says.
pub(crate) fn programs() -> PathBuf {
    let pg_config = env::var("PG_CONFIG").unwrap_or_else(|_| {
        let default = Path::new(DEFAULT_PG_CONFIG);
        if default.exists() { DEFAULT_PG_CONFIG } else { "pg_config" }.to_owned()
    });
    programs_of(&pg_config)
}

pub(crate) fn programs_of(pg_config: &str) -> PathBuf {
    let output = Command::new(pg_config).arg("--bindir").output();
    let output = output.unwrap_or_else(|error| panic!("{pg_config}: {error}"));
    PathBuf::from(successful(output, pg_config).trim())
}
