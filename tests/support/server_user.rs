//! As whom the programs of a PostgreSQL server run. They refuse to run as root, as which tests run
//! in containers.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Names the ordinary user to run servers as when the tests run as root.
const USER_VARIABLE: &str = "WHAPLY_TEST_USER";
const DEFAULT_USER: &str = "postgres";

/// Settings of the shell that would send a program to another server than the one meant.
const MISLEADING_VARIABLES: [&str; 8] =
    ["PGDATA", "PGDATABASE", "PGHOST", "PGOPTIONS", "PGPASSWORD", "PGPORT", "PGSERVICE", "PGUSER"];

/// The user and group to become; None: already an ordinary user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerUser(Option<(u32, u32)>);

impl ServerUser {
    pub(crate) fn find() -> Self {
        if !rustix::process::getuid().is_root() {
            return Self(None);
        }
        let name = env::var(USER_VARIABLE).unwrap_or_else(|_| DEFAULT_USER.to_owned());
        Self(Some((id_of(&name, "-u"), id_of(&name, "-g"))))
    }

    /// Why a server cannot have mounts of its own here; None: it can.
    pub(crate) fn why_no_mounts(self) -> Option<String> {
        if self.0.is_none() {
            return Some("only root may mount".to_owned());
        }
        let tried = Command::new("unshare").args(["--mount", "true"]).output();
        match tried {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Some(format!("unshare: {error}")),
        }
    }

    /// As [`Self::command`], after `mounts`, which root runs in a shell: what they mount, nobody else
    /// sees, and it is gone with the last process of the program.
    pub(crate) fn command_with_mounts(
        self,
        program: &Path,
        directory: &Path,
        mounts: &str,
    ) -> Command {
        let Self(Some((user, group))) = self else { panic!("only root may mount") };
        let become_user = format!("setpriv --reuid {user} --regid {group} --clear-groups");
        let script = format!("set -e\n{mounts}\nexec {become_user} -- \"$@\"");
        let mut command = Self(None).command(Path::new("unshare"), directory);
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
        command.arg(program);
        command
    }

    /// `program` as this user, in `directory`: the current one may be closed to it.
    pub(crate) fn command(self, program: &Path, directory: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(directory).stdin(Stdio::null());
        for variable in MISLEADING_VARIABLES {
            command.env_remove(variable);
        }
        // A server that inherits it adds a backtrace to the DETAIL of every error of the extension.
        command.env_remove("RUST_BACKTRACE");
        if let Self(Some((user, group))) = self {
            command.uid(user).gid(group);
        }
        command
    }
}

fn id_of(name: &str, what: &str) -> u32 {
    let output = Command::new("id").args([what, name]).output().expect("`id` can be run");
    let text = successful(output, &format!("id {what} {name}"));
    text.trim().parse().expect("`id` prints a number")
}

/// What a program printed; panics with its complaint if it failed.
#[track_caller]
pub(crate) fn successful(output: Output, what: &str) -> String {
    let complaint = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{what}: {}\n{printed}{complaint}", output.status);
    printed
}
