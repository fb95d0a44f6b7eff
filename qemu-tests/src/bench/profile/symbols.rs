// SPDX-License-Identifier: GPL-2.0

//! The functions of a guest's kernel and of its modules, as far as they are to be seen from outside.

use rustc_demangle::demangle;

/// Where addresses of the machine's own kernel begin. A guest's kernel that is a process has its functions below; those of any other
/// guest are not at the addresses at which the machine executes them.
const OWN_KERNEL: u64 = 1 << 63;

/// Longest function: beyond, an address is somewhere else.
const LONGEST: u64 = 64 << 10;

/// Functions by address.
#[derive(Debug, Default)]
pub struct Symbols {
    /// In the order of their addresses.
    functions: Vec<(u64, String)>,
}

impl Symbols {
    /// From the text of a guest's `/proc/kallsyms`.
    pub fn parse(kallsyms: &str) -> Self {
        let mut functions: Vec<_> = kallsyms.lines().filter_map(function).collect();
        functions.sort_by_key(|(address, _)| *address);
        Self { functions }
    }

    /// Whether none is to be seen.
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// The function with an instruction at `address`.
    pub fn find(&self, address: u64) -> Option<&str> {
        let behind = self
            .functions
            .partition_point(|(begin, _)| *begin <= address);
        let (begin, name) = self.functions.get(behind.checked_sub(1)?)?;
        (address - begin < LONGEST).then_some(name)
    }
}

/// The function in a line such as `00000000601aaf10 t writer_loop [usb4_roce]`.
fn function(line: &str) -> Option<(u64, String)> {
    let mut words = line.split_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let is_code = matches!(words.next()?, "t" | "T" | "w" | "W");
    // Without the right to know them, all are zero.
    if !is_code || address == 0 || address >= OWN_KERNEL {
        return None;
    }
    // The hash that ends a Rust name says nothing.
    let name = format!("{:#}", demangle(words.next()?));
    Some(match words.next() {
        Some(module) => (address, format!("{name} {module}")),
        None => (address, name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
0000000060002000 T _stext
0000000060002000 T schedule
0000000060003000 d some_data
000000006a000100 t _RNvNtCs1234_9usb4_roce5rails4pull\t[usb4_roce]
ffffffff81000000 T of_another_kind
0000000000000000 T hidden
";

    #[test]
    fn the_function_is_the_last_one_before_the_address() {
        let symbols = Symbols::parse(TEXT);
        assert_eq!(symbols.find(0x6000_2000), Some("schedule"));
        assert_eq!(symbols.find(0x6000_3004), Some("schedule"));
        assert_eq!(symbols.find(0x6000_1fff), None);
        assert_eq!(symbols.find(0x6900_0000), None);
    }

    #[test]
    fn names_of_modules_are_readable() {
        let symbols = Symbols::parse(TEXT);
        let found = symbols.find(0x6a00_0180);
        assert_eq!(found, Some("usb4_roce::rails::pull [usb4_roce]"));
    }

    #[test]
    fn other_guests_show_nothing() {
        let symbols = Symbols::parse("ffffffff81000000 T schedule\n0000000000000000 T hidden\n");
        assert!(symbols.is_empty());
        assert_eq!(symbols.find(0xffff_ffff_8100_0000), None);
    }
}
