//! A secret in a file: read whole and once, and refused where it can be none. No error of it holds
//! anything of the content.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// No key is longer; a path that was mistyped may be anything.
const LARGEST: u64 = 64 * 1_024;

/// Reads a file. Where a directory is given the file must be in it once every link is followed: a link in
/// it must not lead out of what was allowed.
pub fn read(path: &str, directory: Option<&str>) -> Result<String, String> {
    let real = directory.map_or_else(|| Ok(PathBuf::from(path)), |root| inside(path, root))?;
    let file = open(&real, directory.is_some()).map_err(cannot_be_read)?;
    if !file.metadata().map_err(cannot_be_read)?.is_file() {
        return Err("the file is no regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(cannot_be_read)?;
    if bytes.len() as u64 > LARGEST {
        return Err("the file is larger than 64 KiB: it is no secret".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "the file is not in UTF-8".to_owned())
}

fn inside(path: &str, directory: &str) -> Result<PathBuf, String> {
    let real = fs::canonicalize(path).map_err(cannot_be_read)?;
    let root = fs::canonicalize(directory).map_err(cannot_be_read)?;
    if !real.starts_with(&root) {
        return Err("the file is a link that leads out of the directory that is allowed".to_owned());
    }
    Ok(real)
}

/// A pipe must not keep the worker waiting; and what was looked at must not be a link by now.
fn open(path: &Path, has_no_links: bool) -> io::Result<File> {
    let no_links = if has_no_links { libc::O_NOFOLLOW } else { 0 };
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | no_links).open(path)
}

fn cannot_be_read(error: io::Error) -> String {
    format!("the file cannot be read: {}", error.kind())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory of its own, removed in the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("whaply-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("allowed/deeper")).unwrap();
            Self(path)
        }

        fn path(&self, name: &str) -> String {
            self.0.join(name).display().to_string()
        }

        fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
            fs::write(self.0.join(name), content).unwrap();
            self.path(name)
        }

        fn read(&self, name: &str) -> Result<String, String> {
            read(&self.path(name), Some(&self.path("allowed/")))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_is_read_where_it_is_allowed() {
        let folder = Folder::new("read");
        folder.write("allowed/deeper/key", "sk-1234\n");
        assert_eq!(folder.read("allowed/deeper/key"), Ok("sk-1234\n".to_owned()));
        let alone = folder.write("alone", "sk-1234");
        assert_eq!(read(&alone, None), Ok("sk-1234".to_owned()));
    }

    #[test]
    fn a_link_may_stay_in_the_directory_but_not_lead_out_of_it() {
        let folder = Folder::new("links");
        folder.write("outside", "sk-outside");
        folder.write("allowed/deeper/key", "sk-inside");
        let link = |to: &str, name: &str| symlink(folder.path(to), folder.path(name)).unwrap();
        link("allowed/deeper", "allowed/..data");
        link("outside", "allowed/out");
        link("", "allowed/up");
        assert_eq!(folder.read("allowed/..data/key"), Ok("sk-inside".to_owned()));
        for name in ["allowed/out", "allowed/up/outside"] {
            let error = folder.read(name).unwrap_err();
            assert!(error.contains("leads out"), "{name}: {error}");
            assert!(!error.contains("sk-outside"), "{error}");
        }
    }

    #[test]
    fn what_can_be_no_secret_is_refused_and_not_repeated() {
        let folder = Folder::new("refused");
        folder.write("allowed/large", "x".repeat(64 * 1_024 + 1));
        folder.write("allowed/binary", b"sk-\xff\xfe");
        for (name, reason) in [
            ("allowed/large", "larger than 64 KiB"),
            ("allowed/binary", "not in UTF-8"),
            ("allowed/deeper", "no regular file"),
            ("allowed/missing", "cannot be read"),
        ] {
            let error = folder.read(name).unwrap_err();
            assert!(error.contains(reason) && !error.contains("sk-"), "{name}: {error}");
        }
        folder.write("allowed/largest", "x".repeat(64 * 1_024));
        assert!(folder.read("allowed/largest").is_ok());
    }

    #[test]
    fn a_pipe_keeps_nobody_waiting() {
        let folder = Folder::new("pipe");
        let pipe = std::ffi::CString::new(folder.path("allowed/pipe")).unwrap();
        // SAFETY: a NUL-terminated path in a folder of this test.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        assert!(folder.read("allowed/pipe").unwrap_err().contains("no regular file"));
    }
}
