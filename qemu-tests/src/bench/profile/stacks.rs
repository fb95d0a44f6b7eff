// SPDX-License-Identifier: GPL-2.0

//! Samples of what was executed: stacks of functions, and how often each was found.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use super::family::Family;
use super::symbols::Symbols;

/// What perf calls a function that it does not know.
const UNKNOWN: &str = "[unknown]";

/// Stacks, each with the outermost function first, and how often they were found.
#[derive(Debug, Default)]
pub struct Stacks {
    found: BTreeMap<Vec<String>, u64>,
}

/// How often a function was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Samples in it.
    pub own: u64,
    /// Samples in it, and in what it calls.
    pub total: u64,
}

impl Stacks {
    /// Adds the samples of a family's processes from what `perf script -F pid,ip,sym,dso --show-task-events` writes. Functions that
    /// perf does not know may be among `symbols`. All stacks have `outermost` around them.
    pub fn add(&mut self, outermost: &str, script: &str, mut family: Family, symbols: &Symbols) {
        let mut stack = Vec::new();
        let mut is_ours = false;
        // The last sample may have no empty line behind it.
        for line in script.lines().chain([""]) {
            match frame(line, symbols) {
                Some(function) => stack.push(function),
                None if stack.is_empty() => {
                    family.note(line);
                    if let Ok(pid) = line.trim().parse() {
                        is_ours = family.has(pid);
                    }
                }
                None => {
                    stack.push(outermost.to_owned());
                    stack.reverse();
                    let stack = std::mem::take(&mut stack);
                    if is_ours {
                        *self.found.entry(stack).or_default() += 1;
                    }
                }
            }
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (&[String], u64)> {
        let found = self.found.iter();
        found.map(|(stack, count)| (stack.as_slice(), *count))
    }

    /// Number of samples.
    pub fn count(&self) -> u64 {
        self.found.values().sum()
    }

    /// All functions, those with most samples of their own first.
    pub fn functions(&self) -> Vec<Function> {
        let mut counts: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (stack, count) in self.all() {
            // What calls itself counts once.
            let different: BTreeSet<&String> = stack.iter().collect();
            for function in different {
                counts.entry(function).or_default().1 += count;
            }
            if let Some(innermost) = stack.last() {
                counts.entry(innermost).or_default().0 += count;
            }
        }
        let mut functions: Vec<Function> = counts
            .into_iter()
            .map(|(name, (own, total))| Function {
                name: name.to_owned(),
                own,
                total,
            })
            .collect();
        functions.sort_by_key(|function| std::cmp::Reverse((function.own, function.total)));
        functions
    }

    /// A line for each, as tools for flame graphs read them.
    pub fn folded(&self) -> String {
        self.all()
            .map(|(stack, count)| format!("{} {count}\n", stack.join(";")))
            .collect()
    }
}

/// The function in a line such as `ffffffff81369 handle_softirqs ([kernel.kallsyms])`.
fn frame(line: &str, symbols: &Symbols) -> Option<String> {
    let (address, rest) = line.trim().split_once(' ')?;
    let address = u64::from_str_radix(address, 16).ok()?;
    // Names may have spaces and parentheses.
    let (name, object) = rest.rsplit_once(" (")?;
    let object = object.trim_end_matches(')');
    if name != UNKNOWN {
        return Some(name.to_owned());
    }
    if let Some(function) = symbols.find(address) {
        return Some(function.to_owned());
    }
    Some(match object.rsplit('/').next() {
        Some(file) if file != UNKNOWN && !file.is_empty() => format!("[{file}]"),
        // With symbols of its own, a kernel that is a process is known: the rest are the guest's programs.
        _ if !symbols.is_empty() => "[program of the guest]".to_owned(),
        _ => UNKNOWN.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "
    7 PERF_RECORD_FORK(8:8):(7:7)
    7 
\tffffffff813695e2 handle_softirqs ([kernel.kallsyms])
\t        6a000180 [unknown] ([unknown])

    9 
\tffffffff813695e2 handle_softirqs ([kernel.kallsyms])

    8 
\tffffffff813695e2 handle_softirqs ([kernel.kallsyms])
\t        6a000180 [unknown] ([unknown])

    7 
\t           11a80 [unknown] (/usr/bin/dash)

    7 PERF_RECORD_COMM: of another name:7/7
    7 

    7 
\t           7e787 core::ops::call (a, b) (/usr/lib/libc.so.6)
";

    fn stacks() -> Stacks {
        let symbols = Symbols::parse("000000006a000100 t pull [usb4_roce]");
        let mut stacks = Stacks::default();
        stacks.add("a", SCRIPT, Family::new([7]), &symbols);
        stacks
    }

    #[test]
    fn equal_stacks_are_counted() {
        assert_eq!(
            stacks().folded(),
            "a;[dash] 1\na;core::ops::call (a, b) 1\na;pull [usb4_roce];handle_softirqs 2\n"
        );
        assert_eq!(stacks().count(), 4);
    }

    #[test]
    fn functions_have_their_own_samples_and_those_of_what_they_call() {
        let functions = stacks().functions();
        let count = |name: &str| {
            let found = functions.iter().find(|function| function.name == name);
            found.map(|function| (function.own, function.total))
        };
        assert_eq!(count("handle_softirqs"), Some((2, 2)));
        assert_eq!(count("pull [usb4_roce]"), Some((0, 2)));
        assert_eq!(count("a"), Some((0, 4)));
        assert_eq!(functions[0].name, "handle_softirqs");
    }

    #[test]
    fn what_calls_itself_counts_once() {
        let mut stacks = Stacks::default();
        let script = "7\n\t10 f (x)\n\t10 f (x)\n";
        stacks.add("a", script, Family::new([7]), &Symbols::default());
        let functions = stacks.functions();
        assert_eq!((functions[0].own, functions[0].total), (1, 1));
    }

    #[test]
    fn what_nobody_knows_is_a_program_if_the_kernel_is_known() {
        let known = Symbols::parse("0000000060000000 T schedule");
        let line = "\t 7f00 [unknown] ([unknown])";
        assert_eq!(frame(line, &known).unwrap(), "[program of the guest]");
        assert_eq!(frame(line, &Symbols::default()).unwrap(), UNKNOWN);
    }
}
