// SPDX-License-Identifier: GPL-2.0

//! How many requests a program keeps under way: one at a time, or several.

/// What is known of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Depth {
    /// The most since there was none.
    most: u32,
    /// The most the time before: what a program has done it is likely to do again.
    last_most: u32,
}

impl Depth {
    /// Of a program that has posted nothing.
    pub(super) const fn new() -> Self {
        Self {
            most: 0,
            last_most: 0,
        }
    }

    /// A request was posted; `under_way` is how many there are now.
    pub(super) fn note_posted(&mut self, under_way: u32) {
        if under_way > 1 {
            self.most = self.most.max(under_way);
        } else {
            self.last_most = core::mem::replace(&mut self.most, 1);
        }
    }

    /// Whether the program waits for each request before it posts the next.
    pub(super) const fn is_one(self) -> bool {
        self.most <= 1 && self.last_most <= 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_each_request_has_one() {
        let mut depth = Depth::new();
        for _ in 0..3 {
            depth.note_posted(1);
            assert!(depth.is_one());
        }
    }

    #[test]
    fn who_has_had_two_has_more_when_all_are_done() {
        let mut depth = Depth::new();
        depth.note_posted(1);
        depth.note_posted(2);
        assert!(!depth.is_one());
        depth.note_posted(1);
        assert!(!depth.is_one(), "the next may come");
        depth.note_posted(1);
        assert!(depth.is_one(), "it did not");
    }
}
