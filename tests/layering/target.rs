// SPDX-License-Identifier: GPL-2.0

//! What a path leads to.

use std::collections::BTreeSet;

use crate::source::ModulePath;
use crate::source::Sources;
use crate::source::CRATES;

/// How many names lead from one to the next at most.
const MAX_HOPS: usize = 16;

/// Where a path leads, or what it leads through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The module in which the thing is defined.
    Definition(ModulePath),
    /// A module that imports it, from which it is imported on.
    Import(ModulePath),
    /// Something that is not in this crate; begins with this name.
    Outside(String),
}

/// What `path` leads to, and through, when it is written in `module`.
pub fn all(sources: &Sources, module: &[String], path: &[String]) -> BTreeSet<Target> {
    let mut search = Search {
        sources,
        found: BTreeSet::new(),
    };
    search.follow(module, path, MAX_HOPS);
    search.found
}

struct Search<'a> {
    sources: &'a Sources,
    found: BTreeSet<Target>,
}

impl Search<'_> {
    /// Follows a path that is written in `module`.
    fn follow(&mut self, module: &[String], path: &[String], hops: usize) {
        let Some(first) = path.first() else {
            return;
        };
        match first.as_str() {
            CRATES => {
                let outside = path.get(1).cloned().map(Target::Outside);
                self.found.extend(outside);
            }
            "crate" => self.descend(&[], &path[1..], hops),
            "self" | "super" => {
                let is_up = |name: &&String| matches!(name.as_str(), "self" | "super");
                let (steps, rest) = path.split_at(path.iter().take_while(is_up).count());
                let ups = steps.iter().filter(|step| *step == "super").count();
                if let Some(len) = module.len().checked_sub(ups) {
                    self.descend(&module[..len], rest, hops);
                }
            }
            _ => {
                if !self.find(module, path, hops) {
                    self.found.insert(Target::Outside(first.clone()));
                }
            }
        }
    }

    /// Follows `path` from inside of `module`.
    fn descend(&mut self, module: &[String], path: &[String], hops: usize) {
        if path.is_empty() || !self.find(module, path, hops) {
            self.found.insert(Target::Definition(module.to_vec()));
        }
    }

    /// Follows `path` if `module` knows its first name; says whether it does.
    fn find(&mut self, module: &[String], path: &[String], hops: usize) -> bool {
        let (Some((name, rest)), Some(hops)) = (path.split_first(), hops.checked_sub(1)) else {
            return false;
        };
        let child = [module, &path[..1]].concat();
        let is_child = self.sources.has_module(&child);
        if is_child {
            self.descend(&child, rest, hops);
        }
        // A module hides whatever else has its name but a function, behind which no path goes on.
        if is_child && !rest.is_empty() {
            return true;
        }
        let Some(source) = self.sources.0.get(module) else {
            return is_child;
        };
        let is_item = source.items.contains(name);
        if is_item {
            self.found.insert(Target::Definition(module.to_vec()));
        }
        let mut is_known = is_child || is_item;
        for given in source.names.iter().filter(|given| given.name == *name) {
            is_known = true;
            self.found.insert(Target::Import(module.to_vec()));
            self.follow(module, &[&given.path, rest].concat(), hops);
        }
        is_known
            || source
                .globs
                .iter()
                .any(|glob| self.find_in_glob(module, glob, path, hops))
    }

    /// Follows `path` if `glob` in `module` imports its first name; says whether it does.
    fn find_in_glob(
        &mut self,
        module: &[String],
        glob: &[String],
        path: &[String],
        hops: usize,
    ) -> bool {
        let mut globbed = Search {
            sources: self.sources,
            found: BTreeSet::new(),
        };
        globbed.follow(module, glob, hops);
        let mut is_known = false;
        for target in globbed.found {
            if let Target::Definition(from) = target {
                is_known |= self.find(&from, path, hops);
            }
        }
        is_known
    }
}
