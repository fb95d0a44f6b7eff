// SPDX-License-Identifier: GPL-2.0

//! Which file refers to which.

use std::collections::BTreeSet;

use crate::source::ModulePath;
use crate::source::Sources;
use crate::target;
use crate::target::Target;

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

/// All arrows between `sources`: to where a thing is defined, and to what it is imported through.
pub fn all(sources: &Sources) -> BTreeSet<Arrow> {
    arrows(sources, |target| match target {
        Target::Definition(module) | Target::Import(module) => Some(module),
        Target::Outside(_) => None,
    })
}

/// Those to where a thing is defined.
pub fn to_definitions(sources: &Sources) -> BTreeSet<Arrow> {
    arrows(sources, |target| match target {
        Target::Definition(module) => Some(module),
        Target::Import(_) | Target::Outside(_) => None,
    })
}

/// The arrows to what `wanted` picks from the targets.
fn arrows(sources: &Sources, wanted: impl Fn(Target) -> Option<ModulePath>) -> BTreeSet<Arrow> {
    let mut arrows = BTreeSet::new();
    for (from, source) in &sources.0 {
        let references = source.references.iter();
        let targets = references.flat_map(|path| target::all(sources, from, path));
        for to in targets.filter_map(&wanted) {
            let Some(target) = sources.0.get(&to) else {
                continue;
            };
            if target.file != source.file {
                arrows.insert(Arrow {
                    from: from.clone(),
                    to,
                    from_file: source.file.clone(),
                    to_file: target.file.clone(),
                });
            }
        }
    }
    arrows
}
