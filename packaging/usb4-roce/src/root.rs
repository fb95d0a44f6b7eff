// SPDX-License-Identifier: GPL-2.0

//! Where files are read: below the root of the host, or below that of a copy of one.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::str::FromStr;

use nix::fcntl::OFlag;
use nix::unistd::access;
use nix::unistd::AccessFlags;

/// The root of a file system. Paths are given as they are on the host, such as `/sys/class/net`.
#[derive(Clone, Debug)]
pub struct Root {
    prefix: PathBuf,
}

/// A value that may be there, may not be, or may be hidden from this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading<T> {
    /// What is there.
    Found(T),
    /// There is nothing, or nothing that makes sense.
    Missing,
    /// Only root may look.
    NeedsRoot,
}

impl<T> Reading<T> {
    /// The value, if it was found.
    pub fn found(&self) -> Option<&T> {
        match self {
            Self::Found(value) => Some(value),
            Self::Missing | Self::NeedsRoot => None,
        }
    }

    /// Whether this user may not look.
    pub fn is_hidden(&self) -> bool {
        matches!(self, Self::NeedsRoot)
    }

    /// The same of what `read` makes of the value.
    pub fn and_then<U>(self, read: impl FnOnce(T) -> Option<U>) -> Reading<U> {
        match self {
            Self::Found(value) => read(value).map_or(Reading::Missing, Reading::Found),
            Self::Missing => Reading::Missing,
            Self::NeedsRoot => Reading::NeedsRoot,
        }
    }
}

impl Root {
    /// The host's own.
    pub fn host() -> Self {
        Self::at("/")
    }

    /// That of a copy, at `prefix`.
    pub fn at(prefix: impl Into<PathBuf>) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.prefix.join(path.trim_start_matches('/'))
    }

    /// The contents of a file as they are.
    pub fn bytes(&self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(path))
    }

    /// The text of a file, without white space at its end.
    pub fn text(&self, path: &str) -> io::Result<String> {
        let bytes = self.bytes(path)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    /// The text of a file that says something, or why there is none.
    pub fn reading(&self, path: &str) -> Reading<String> {
        match self.text(path) {
            Ok(text) if text.is_empty() => Reading::Missing,
            Ok(text) => Reading::Found(text),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Reading::NeedsRoot,
            Err(_) => Reading::Missing,
        }
    }

    /// The text of a file that says something.
    pub fn value(&self, path: &str) -> Option<String> {
        self.text(path).ok().filter(|text| !text.is_empty())
    }

    /// What a file says, parsed.
    pub fn parsed<T: FromStr>(&self, path: &str) -> Option<T> {
        self.value(path)?.parse().ok()
    }

    /// What is in a directory, by name; nothing if it cannot be read.
    pub fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).into_iter().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort_by_key(|name| natural(name));
        names
    }

    /// The directories in a directory, by name.
    pub fn directories(&self, directory: &str) -> Vec<String> {
        let mut names = self.names(directory);
        names.retain(|name| self.path(directory).join(name).is_dir());
        names
    }

    /// Whether there is such a directory.
    pub fn is_directory(&self, path: &str) -> bool {
        self.path(path).is_dir()
    }

    /// Whether there is such a file or directory.
    pub fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// What a symbolic link says.
    pub fn link(&self, path: &str) -> Option<PathBuf> {
        fs::read_link(self.path(path)).ok()
    }

    /// The last name in what a symbolic link says.
    pub fn link_name(&self, path: &str) -> Option<String> {
        let target = self.link(path)?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// The permission bits of a file.
    pub fn mode(&self, path: &str) -> Option<u32> {
        let metadata = fs::metadata(self.path(path)).ok()?;
        Some(metadata.mode() & 0o7777)
    }

    /// Whether this process may read and write a file.
    pub fn is_accessible(&self, path: &str) -> bool {
        let flags = AccessFlags::R_OK | AccessFlags::W_OK;
        access(&self.path(path), flags).is_ok()
    }

    /// Opens a file from which reading never waits.
    pub fn open_without_waiting(&self, path: &str) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(self.path(path))
    }
}

/// A key by which numbers in names sort as numbers: `0-2` before `0-10`.
fn natural(name: &str) -> Vec<(u64, String)> {
    let mut key = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (word, tail) = rest.split_at(text);
        let digits = tail
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (number, tail) = tail.split_at(digits);
        key.push((0, word.to_owned()));
        key.push((number.parse().unwrap_or(u64::MAX), String::new()));
        rest = tail;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_natural_order() {
        let place = tempfile::tempdir().unwrap();
        for name in ["0-10", "0-2", "1-1", "0-0"] {
            fs::create_dir(place.path().join(name)).unwrap();
        }
        assert_eq!(
            Root::at(place.path()).names("/"),
            ["0-0", "0-2", "0-10", "1-1"]
        );
    }

    #[test]
    fn what_is_not_there_is_missing() {
        let place = tempfile::tempdir().unwrap();
        let root = Root::at(place.path());
        assert_eq!(root.reading("/sys/no"), Reading::Missing);
        assert_eq!(root.value("/sys/no"), None);
        assert!(root.names("/sys").is_empty());
        assert!(!root.exists("/sys"));
    }

    #[test]
    fn paths_stay_below_the_root() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("etc")).unwrap();
        fs::write(place.path().join("etc/x"), "17 \n\n").unwrap();
        let root = Root::at(place.path());
        assert_eq!(root.parsed::<u32>("/etc/x"), Some(17));
        assert_eq!(root.reading("/etc/x"), Reading::Found("17".to_owned()));
    }
}
