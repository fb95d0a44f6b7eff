// SPDX-License-Identifier: GPL-2.0

//! Reads files: what each module in them refers to, and what it calls things.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use syn::ext::IdentExt;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::visit;
use syn::visit::Visit;

use crate::source::ModulePath;
use crate::source::Name;
use crate::source::Source;
use crate::source::Sources;
use crate::source::WrittenPath;
use crate::source::CRATES;

/// The one glob that tells what it imports: everybody knows the kernel's prelude.
const PRELUDE: [&str; 2] = ["kernel", "prelude"];

/// Macros that bring in text from elsewhere, make macros of the module's own, or put names together.
pub const OPAQUE_MACROS: [&str; 4] = ["include", "macro_rules", "paste", "concat_idents"];

/// Attributes by which a file is elsewhere, or macros and functions are known without being imported.
const OPAQUE_ATTRIBUTES: [&str; 5] = [
    "path",
    "macro_use",
    "macro_export",
    "no_mangle",
    "export_name",
];

/// Attributes whose arguments name nothing in the code.
const ABOUT_LINTS: [&str; 5] = ["allow", "expect", "warn", "deny", "forbid"];

/// Reads files, one after the other.
#[derive(Default)]
pub struct Reader {
    sources: BTreeMap<ModulePath, Source>,
    /// Files that are declared as modules, and those declared for tests.
    declared: BTreeSet<ModulePath>,
    declared_for_tests: BTreeSet<ModulePath>,
    /// Where it reads.
    file: String,
    module: ModulePath,
}

impl Reader {
    /// Reads a file, which is the module `module`.
    pub fn read_file(&mut self, file: &str, module: ModulePath, parsed: &syn::File) {
        file.clone_into(&mut self.file);
        self.module = module;
        self.here();
        self.visit_file(parsed);
    }

    /// What has been read, without files that are tests.
    pub fn into_sources(self) -> Sources {
        let mut sources = self.sources;
        for test in self.declared_for_tests.difference(&self.declared) {
            sources.retain(|module, _| !module.starts_with(test));
        }
        Sources(sources)
    }

    /// The module that is being read.
    fn here(&mut self) -> &mut Source {
        let source = self.sources.entry(self.module.clone());
        source.or_insert_with(|| Source::new(&self.file))
    }

    /// Notes that the module refers to `path`.
    pub fn add_reference(&mut self, path: WrittenPath) {
        self.here().references.push(path);
    }

    /// Notes something that may refer to what it does not name.
    pub fn add_opaque(&mut self, text: String) {
        self.here().opaque.push(text);
    }

    /// Reads what is inside of the module `name`.
    pub fn read_inside(&mut self, name: &syn::Ident, read: impl FnOnce(&mut Self)) {
        self.module.push(name.unraw().to_string());
        self.here();
        read(self);
        self.module.pop();
    }

    fn add_tree(&mut self, before: &[String], tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => self.add_tree(&longer(before, &path.ident), &path.tree),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_tree(before, tree);
                }
            }
            syn::UseTree::Name(name) => self.add_import(before, &name.ident, None),
            syn::UseTree::Rename(name) => self.add_import(before, &name.ident, Some(&name.rename)),
            syn::UseTree::Glob(_) => self.add_glob(before),
        }
    }

    /// Adds an import of `ident` of `before`, which may get another name.
    fn add_import(&mut self, before: &[String], ident: &syn::Ident, rename: Option<&syn::Ident>) {
        let path = if ident == "self" && !before.is_empty() {
            before.to_vec()
        } else {
            longer(before, ident)
        };
        let name = rename.map(|name| name.unraw().to_string());
        if let Some(name) = name.or_else(|| path.last().cloned()) {
            let path = path.clone();
            self.here().names.push(Name { name, path });
        }
        let is_of_a_crate = path.len() > 1 && !is_within_crate(&path);
        if let Some(name) = path.last().filter(|_| is_of_a_crate) {
            if OPAQUE_MACROS.contains(&name.as_str()) {
                self.add_opaque(format!("use {}", path.join("::")));
            }
        }
        self.add_reference(path);
    }

    fn add_glob(&mut self, path: &[String]) {
        if path != PRELUDE {
            self.add_opaque(format!("use {}::*", path.join("::")));
        }
        self.here().globs.push(path.to_vec());
        self.add_reference(path.to_vec());
    }

    /// Adds what the attributes in the arguments of another one do; the first `skipped` are none.
    fn visit_nested(&mut self, list: &syn::MetaList, skipped: usize) {
        let parser = Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated;
        match parser.parse2(list.tokens.clone()) {
            Ok(nested) => nested
                .iter()
                .skip(skipped)
                .for_each(|meta| self.visit_meta(meta)),
            Err(_) => self.visit_token_stream(&list.tokens),
        }
    }
}

fn longer(path: &[String], ident: &syn::Ident) -> WrittenPath {
    [path, &[ident.unraw().to_string()]].concat()
}

fn is_within_crate(path: &[String]) -> bool {
    matches!(
        path.first().map(String::as_str),
        Some("crate" | "self" | "super")
    )
}

fn written(path: &syn::Path) -> WrittenPath {
    let crates = path.leading_colon.map(|_| CRATES.to_owned());
    let names = path.segments.iter();
    let names = names.map(|segment| segment.ident.unraw().to_string());
    crates.into_iter().chain(names).collect()
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|condition| condition == "test")
    })
}

/// What an item is called; `use` and modules are not items here.
fn name_of(item: &syn::Item) -> Option<&syn::Ident> {
    Some(match item {
        syn::Item::Const(item) => &item.ident,
        syn::Item::Enum(item) => &item.ident,
        syn::Item::Fn(item) => &item.sig.ident,
        syn::Item::Static(item) => &item.ident,
        syn::Item::Struct(item) => &item.ident,
        syn::Item::Trait(item) => &item.ident,
        syn::Item::Type(item) => &item.ident,
        syn::Item::Union(item) => &item.ident,
        _ => return None,
    })
}

/// An attribute as written, as far as it is short.
fn attribute_text(meta: &syn::Meta, name: &str) -> String {
    match meta {
        syn::Meta::NameValue(syn::MetaNameValue {
            value:
                syn::Expr::Lit(syn::ExprLit {
                    lit: syn::Lit::Str(value),
                    ..
                }),
            ..
        }) => format!("#[{name} = {:?}]", value.value()),
        _ => format!("#[{name}]"),
    }
}

/// The paths in a type.
#[derive(Default)]
struct TypePaths(Vec<WrittenPath>);

impl Visit<'_> for TypePaths {
    fn visit_path(&mut self, path: &syn::Path) {
        self.0.push(written(path));
        visit::visit_path(self, path);
    }
}

impl Visit<'_> for Reader {
    fn visit_item(&mut self, item: &syn::Item) {
        if let Some(name) = name_of(item) {
            self.here().items.insert(name.unraw().to_string());
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &syn::ItemMod) {
        let path = longer(&self.module, &item.ident);
        let Some((_, items)) = &item.content else {
            if is_test(&item.attrs) {
                self.declared_for_tests.insert(path);
                return;
            }
            self.declared.insert(path);
            return visit::visit_item_mod(self, item);
        };
        if is_test(&item.attrs) {
            return;
        }
        for attribute in &item.attrs {
            self.visit_attribute(attribute);
        }
        self.read_inside(&item.ident, |reader| {
            items.iter().for_each(|item| reader.visit_item(item));
        });
    }

    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        for attribute in &item.attrs {
            self.visit_attribute(attribute);
        }
        let crates = item.leading_colon.map(|_| CRATES.to_owned());
        self.add_tree(crates.as_slice(), &item.tree);
    }

    fn visit_item_type(&mut self, item: &syn::ItemType) {
        let mut paths = TypePaths::default();
        paths.visit_type(&item.ty);
        let name = item.ident.unraw().to_string();
        let names = paths.0.into_iter().map(|path| Name {
            name: name.clone(),
            path,
        });
        self.here().names.extend(names);
        visit::visit_item_type(self, item);
    }

    fn visit_item_extern_crate(&mut self, item: &syn::ItemExternCrate) {
        self.add_opaque(format!("extern crate {}", item.ident));
        visit::visit_item_extern_crate(self, item);
    }

    fn visit_item_foreign_mod(&mut self, item: &syn::ItemForeignMod) {
        self.add_opaque("a block of extern functions".to_owned());
        visit::visit_item_foreign_mod(self, item);
    }

    fn visit_visibility(&mut self, _visibility: &syn::Visibility) {
        // `pub(super)` offers something, and refers to nothing.
    }

    fn visit_meta(&mut self, meta: &syn::Meta) {
        let path = meta.path();
        let is_one_of = |names: &[&str]| names.iter().any(|name| path.is_ident(name));
        for name in OPAQUE_ATTRIBUTES {
            if path.is_ident(name) {
                self.add_opaque(attribute_text(meta, name));
            }
        }
        match meta {
            syn::Meta::List(_) if is_one_of(&ABOUT_LINTS) => {}
            // A condition, and then attributes.
            syn::Meta::List(list) if path.is_ident("cfg_attr") => self.visit_nested(list, 1),
            syn::Meta::List(list) if path.is_ident("unsafe") => self.visit_nested(list, 0),
            _ => visit::visit_meta(self, meta),
        }
    }

    fn visit_path(&mut self, path: &syn::Path) {
        // A name alone is what an import or an item here is called, or one inside of a function.
        let names = written(path);
        if names.len() > 1 {
            self.add_reference(names);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &syn::Macro) {
        let name = item.path.segments.last().map(|last| last.ident.unraw());
        if let Some(name) = name.filter(|name| OPAQUE_MACROS.iter().any(|one| name == one)) {
            self.add_opaque(format!("{name}!({})", item.tokens));
        }
        visit::visit_macro(self, item);
    }

    fn visit_token_stream(&mut self, tokens: &proc_macro2::TokenStream) {
        // What a macro is given need not be Rust, but much of it looks like such.
        self.read_tokens(tokens.clone());
    }
}
