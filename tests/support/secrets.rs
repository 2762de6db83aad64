//! Where secrets are kept that a tenant names by their source: folders, and a vault. No server reads them by
//! itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;

/// As Supabase has it: a view that decrypts.
pub const VAULT: &str = "
    CREATE SCHEMA vault;
    CREATE TABLE vault.secrets (name text, secret bytea);
    CREATE VIEW vault.decrypted_secrets AS SELECT name, convert_from(secret, 'UTF8') AS decrypted_secret FROM vault.secrets;
    INSERT INTO vault.secrets VALUES ('model of the shop', convert_to('key-in-the-vault', 'UTF8'))";
/// What an administrator grants the worker.
pub const LET_READ_VAULT: &str = "
    GRANT USAGE ON SCHEMA vault TO whaply_worker;
    GRANT SELECT ON vault.decrypted_secrets TO whaply_worker";

/// A folder that the server may read, and one beside it.
pub struct Folders {
    root: tempfile::TempDir,
}

impl Default for Folders {
    fn default() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let folders = Self { root };
        for name in ["", "allowed", "outside"] {
            let path = folders.root.path().join(name);
            fs::create_dir_all(&path).expect("a folder");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("readable");
        }
        folders
    }
}

impl Folders {
    pub fn path(&self, name: &str) -> String {
        self.root.path().join(name).display().to_string()
    }

    /// In one step, so that nobody reads half of it. Its source.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let new = self.path("new");
        fs::write(&new, content).expect("a file of our own");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).expect("readable");
        fs::rename(&new, self.path(name)).expect("a name of our own");
        format!("file:{}", self.path(name))
    }
}
