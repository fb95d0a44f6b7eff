// SPDX-License-Identifier: GPL-2.0

//! A line of a console whose messages have their priority in front: `<3>[    1.234567] words`.

/// The level up to which messages tell of errors: emergencies, alerts, critical conditions and errors.
const ERROR: u32 = 3;

/// Bits of a priority that are the level; the others are the facility.
const LEVEL_BITS: u32 = 3;

/// The facility of the kernel's own messages.
const KERNEL: u32 = 0;

/// Whether `line` is the kernel's own message of an error. What a program writes to the console may stand before it.
pub fn is_error(line: &str) -> bool {
    priority(line).is_some_and(|priority| {
        let (facility, level) = (priority >> LEVEL_BITS, priority & ((1 << LEVEL_BITS) - 1));
        facility == KERNEL && level <= ERROR
    })
}

/// The priority of the message in `line`.
fn priority(line: &str) -> Option<u32> {
    let mut rest = line;
    while let Some((_, behind)) = rest.split_once('<') {
        if let Some((number, message)) = behind.split_once('>') {
            if let (Ok(priority), true) = (number.parse(), message.starts_with('[')) {
                return Some(priority);
            }
        }
        rest = behind;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_from_the_rest() {
        for line in ["<3>[    1.0] x", "<0>[    1.0] x", "agent: x<3>[    1.0] x"] {
            assert!(is_error(line), "{line}");
        }
        for line in [
            "<4>[    1.0] x",
            "<6>[    1.0] x",
            "[    1.0] x",
            "x <3> y",
            "a < b <x>[",
            // A program's.
            "<11>[    1.0] x",
            "<12>[    1.0] x",
            "",
        ] {
            assert!(!is_error(line), "{line}");
        }
    }
}
