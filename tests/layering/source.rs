// SPDX-License-Identifier: GPL-2.0

//! The module's source files, and what stands in each of them.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use crate::reader::Reader;

/// Folders of the module: what each is called on disk and as a Rust module.
const FOLDERS: [(&str, &str); 3] = [
    ("src", ""),
    ("stream-adapter", "stream_adapter"),
    ("verbs", "verbs"),
];

/// The crate's root, which names no module.
const ROOT: &str = "src/usb4_roce_main.rs";

/// Sources that are no part of the module, or made by a tool.
const LEFT_OUT: [&str; 4] = [
    "src/lib.rs",
    "src/base/bindings_generated.rs",
    "stream-adapter/bindings_generated.rs",
    "verbs/bindings_generated.rs",
];

/// Where a module is in the crate, from the root.
pub type ModulePath = Vec<String>;

/// What a path begins with that names another crate: `::kernel::sync`.
pub const CRATES: &str = "::";

/// A path as written, name by name, with [`CRATES`] in front where it is written so.
pub type WrittenPath = Vec<String>;

/// A name that a module gives to something.
pub struct Name {
    /// The name.
    pub name: String,
    /// What it stands for.
    pub path: WrittenPath,
}

/// A module: a file, or a part of one.
pub struct Source {
    /// The file's path from the checkout.
    pub file: String,
    /// What it refers to outside of its tests.
    pub references: Vec<WrittenPath>,
    /// What its items are called.
    pub items: BTreeSet<String>,
    /// The names that `use` and `type` give.
    pub names: Vec<Name>,
    /// What is imported whole.
    pub globs: Vec<WrittenPath>,
    /// What stands there that may refer to something without naming it.
    pub opaque: Vec<String>,
}

impl Source {
    /// One in which nothing has been read yet.
    pub fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            references: Vec::new(),
            items: BTreeSet::new(),
            names: Vec::new(),
            globs: Vec::new(),
            opaque: Vec::new(),
        }
    }
}

/// All modules, by their place in the crate.
pub struct Sources(pub BTreeMap<ModulePath, Source>);

impl Sources {
    /// Reads those of a checkout.
    pub fn load(checkout: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        for (folder, _) in FOLDERS {
            collect(checkout, &checkout.join(folder), &mut files)?;
        }
        let texts = files
            .iter()
            .map(|(file, text)| (file.as_str(), text.as_str()));
        Self::parse(texts).map_err(io::Error::other)
    }

    /// Parses sources given as path and text.
    pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let mut reader = Reader::default();
        for (file, text) in files {
            if LEFT_OUT.contains(&file) {
                continue;
            }
            let parsed = syn::parse_file(text).map_err(|error| format!("{file}: {error}"))?;
            reader.read_file(file, module_of(file), &parsed);
        }
        Ok(reader.into_sources())
    }

    /// Whether there is a module at `path`.
    pub fn has_module(&self, path: &ModulePath) -> bool {
        let mut from_there = self.0.range(path.clone()..);
        from_there
            .next()
            .is_some_and(|(module, _)| module.starts_with(path))
    }
}

fn collect(checkout: &Path, folder: &Path, files: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(checkout, &path, files)?;
            continue;
        }
        let relative = path.strip_prefix(checkout).map_err(io::Error::other)?;
        let file = relative.to_string_lossy().into_owned();
        if file.ends_with(".rs") {
            files.push((file, fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

/// The module that a file is.
fn module_of(file: &str) -> ModulePath {
    if file == ROOT {
        return ModulePath::new();
    }
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    let (folder, rest) = stem.split_once('/').unwrap_or((stem, ""));
    let module = FOLDERS.iter().find(|(name, _)| *name == folder);
    let parts = module.map(|(_, module)| *module).into_iter();
    parts
        .chain(rest.split('/'))
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}
