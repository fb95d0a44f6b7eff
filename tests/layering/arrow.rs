// SPDX-License-Identifier: GPL-2.0

//! Which file refers to which.

use std::collections::BTreeSet;

use crate::source::ModulePath;
use crate::source::Source;
use crate::source::Sources;

/// One file refers to something in another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrow {
    /// The module that refers.
    pub from: ModulePath,
    /// The module that is referred to.
    pub to: ModulePath,
    /// File of the one.
    pub from_file: String,
    /// File of the other.
    pub to_file: String,
}

/// How many re-exports lead from one to the next at most.
const MAX_HOPS: usize = 8;

/// All arrows between `sources`.
pub fn all(sources: &Sources) -> BTreeSet<Arrow> {
    let mut arrows = BTreeSet::new();
    for (module, source) in &sources.0 {
        for reference in &source.references {
            let Some(path) = absolute(sources, module, &reference.path) else {
                continue;
            };
            let Some((to, target)) = resolve(sources, path, MAX_HOPS) else {
                continue;
            };
            if to != module {
                arrows.insert(Arrow {
                    from: module.clone(),
                    to: to.clone(),
                    from_file: source.file.clone(),
                    to_file: target.file.clone(),
                });
            }
        }
    }
    arrows
}

/// A path as seen from `module`, from the crate's root; nothing if it leads out of the crate.
fn absolute(sources: &Sources, module: &ModulePath, path: &[String]) -> Option<ModulePath> {
    let mut base = module.clone();
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => return Some(rest.to_vec()),
        "self" => return Some([base, rest.to_vec()].concat()),
        "super" => {}
        child => {
            base.push(child.to_owned());
            return sources
                .0
                .contains_key(&base)
                .then(|| [base, rest.to_vec()].concat());
        }
    }
    let ups = path.iter().take_while(|part| *part == "super").count();
    base.truncate(base.len().checked_sub(ups)?);
    Some([base, path[ups..].to_vec()].concat())
}

/// The module in which what `path` names is defined, as far as files tell.
fn resolve(sources: &Sources, path: ModulePath, hops: usize) -> Option<(&ModulePath, &Source)> {
    let mut prefix = path.clone();
    let (module, source) = loop {
        match sources.0.get_key_value(&prefix) {
            Some(found) => break found,
            None => prefix.pop()?,
        };
    };
    let Some(name) = path.get(module.len()) else {
        return Some((module, source));
    };
    let offers = |offered: &Option<String>| offered.as_ref() == Some(name);
    let re_export = source
        .references
        .iter()
        .find(|reference| offers(&reference.offered_as));
    let further = re_export
        .filter(|_| hops > 0)
        .and_then(|reference| absolute(sources, module, &reference.path))
        .and_then(|path| resolve(sources, path, hops - 1));
    Some(further.unwrap_or((module, source)))
}
