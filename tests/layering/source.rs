// SPDX-License-Identifier: GPL-2.0

//! The module's source files, and what each of them refers to.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use syn::visit::Visit;

/// Folders of the module: what each is called on disk and as a Rust module.
const FOLDERS: [(&str, &str); 3] = [
    ("src", ""),
    ("stream-adapter", "stream_adapter"),
    ("verbs", "verbs"),
];

/// The crate's root, which names no module.
const ROOT: &str = "src/usb4_roce_main.rs";

/// Sources that are no part of the module, or made by a tool.
const LEFT_OUT: [&str; 3] = ["src/lib.rs", "bindings_generated.rs", "abi/tests.rs"];

/// Where a module is in the crate, from the root.
pub type ModulePath = Vec<String>;

/// Something that a file refers to, or defines by referring to it.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The path as written.
    pub path: Vec<String>,
    /// The name that others can import it by from this file.
    pub offered_as: Option<String>,
}

/// A source file.
pub struct Source {
    /// Its path from the checkout.
    pub file: String,
    /// What it refers to outside of its tests.
    pub references: Vec<Reference>,
}

/// All of them, by the module that each one is.
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
        let mut sources = BTreeMap::new();
        for (file, text) in files {
            let parsed = syn::parse_file(text).map_err(|error| format!("{file}: {error}"))?;
            let mut references = References::default();
            references.visit_file(&parsed);
            let source = Source {
                file: file.to_owned(),
                references: references.0,
            };
            sources.insert(module_of(file), source);
        }
        Ok(Self(sources))
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
        let is_source = file.ends_with(".rs");
        if is_source && !LEFT_OUT.iter().any(|left_out| file.ends_with(left_out)) {
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

/// Collects what a file refers to.
#[derive(Default)]
struct References(Vec<Reference>);

impl References {
    fn add_tree(&mut self, before: &[String], tree: &syn::UseTree, is_offered: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        let (path, name) = match tree {
            syn::UseTree::Path(path) => {
                return self.add_tree(&with(&path.ident), &path.tree, is_offered);
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_tree(before, tree, is_offered);
                }
                return;
            }
            syn::UseTree::Name(name) => (with(&name.ident), Some(name.ident.to_string())),
            syn::UseTree::Rename(name) => (with(&name.ident), Some(name.rename.to_string())),
            syn::UseTree::Glob(_) => (before.to_vec(), None),
        };
        self.0.push(Reference {
            path,
            offered_as: name.filter(|_| is_offered),
        });
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|condition| condition == "test")
    })
}

impl Visit<'_> for References {
    fn visit_item_mod(&mut self, item: &syn::ItemMod) {
        if !is_test(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        let is_offered = !matches!(item.vis, syn::Visibility::Inherited);
        self.add_tree(&[], &item.tree, is_offered);
    }

    fn visit_visibility(&mut self, _visibility: &syn::Visibility) {
        // `pub(super)` offers something, and refers to nothing.
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let segments = path.segments.iter();
        self.0.push(Reference {
            path: segments.map(|segment| segment.ident.to_string()).collect(),
            offered_as: None,
        });
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &syn::Macro) {
        // What a macro is given need not be Rust, but paths in it look like such.
        self.add_tokens(item.tokens.clone());
        syn::visit::visit_macro(self, item);
    }
}

impl References {
    /// Adds the paths among the tokens that a macro is given.
    fn add_tokens(&mut self, tokens: proc_macro2::TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                proc_macro2::TokenTree::Ident(ident) => {
                    if colons != COLONS {
                        self.add_path(&mut path);
                    }
                    path.push(ident.to_string());
                }
                proc_macro2::TokenTree::Group(group) => {
                    self.add_path(&mut path);
                    self.add_tokens(group.stream());
                }
                _ => self.add_path(&mut path),
            }
            colons = 0;
        }
        self.add_path(&mut path);
    }

    fn add_path(&mut self, path: &mut Vec<String>) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.0.push(Reference {
                path,
                offered_as: None,
            });
        }
    }
}

/// Colons between the parts of a path.
const COLONS: usize = 2;
