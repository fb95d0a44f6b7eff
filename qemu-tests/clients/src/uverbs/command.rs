// SPDX-License-Identifier: GPL-2.0

//! Commands as write(2) takes them.

/// `enum ib_uverbs_write_cmds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Number {
    GetContext = 0,
    QueryDevice = 1,
    QueryPort = 2,
    AllocPd = 3,
    DeallocPd = 4,
    CreateAh = 5,
    DestroyAh = 8,
    RegMr = 9,
    ReregMr = 11,
    DeregMr = 13,
    CreateCompChannel = 17,
    CreateCq = 18,
    ResizeCq = 19,
    DestroyCq = 20,
    ReqNotifyCq = 23,
    CreateQp = 24,
    QueryQp = 25,
    ModifyQp = 26,
    DestroyQp = 27,
    PostSend = 28,
    CreateSrq = 32,
    ModifySrq = 33,
    QuerySrq = 34,
    DestroySrq = 35,
}

/// Bytes of `struct ib_uverbs_cmd_hdr`.
const HEADER: usize = 8;

/// Bytes of a word, the unit of lengths in the header.
const WORD: usize = 4;

/// A command that is being put together.
#[derive(Clone, Debug)]
pub struct Command {
    bytes: Vec<u8>,
}

impl Command {
    /// A command without a response.
    pub fn new(number: Number) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&(number as u32).to_ne_bytes());
        bytes.extend_from_slice(&[0; HEADER - WORD]);
        Self { bytes }
    }

    /// A command whose response goes to `response`, which must live until it was carried out.
    pub fn with_response(number: Number, response: &mut [u8]) -> Self {
        let this = Self::new(number).u64(response.as_mut_ptr() as u64);
        this.patch(6, &((response.len() / WORD) as u16).to_ne_bytes())
    }

    /// Appends a byte.
    pub fn u8(mut self, value: u8) -> Self {
        self.bytes.push(value);
        self
    }

    /// Appends a number.
    pub fn u16(mut self, value: u16) -> Self {
        self.bytes.extend_from_slice(&value.to_ne_bytes());
        self
    }

    /// Appends a number.
    pub fn u32(mut self, value: u32) -> Self {
        self.bytes.extend_from_slice(&value.to_ne_bytes());
        self
    }

    /// Appends a number.
    pub fn u64(mut self, value: u64) -> Self {
        self.bytes.extend_from_slice(&value.to_ne_bytes());
        self
    }

    /// Appends bytes.
    pub fn bytes(mut self, value: &[u8]) -> Self {
        self.bytes.extend_from_slice(value);
        self
    }

    /// What is written, with its length in the header.
    pub fn finish(self) -> Vec<u8> {
        let words = (self.bytes.len() / WORD) as u16;
        self.patch(4, &words.to_ne_bytes()).bytes
    }

    fn patch(mut self, at: usize, value: &[u8]) -> Self {
        self.bytes[at..at + value.len()].copy_from_slice(value);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_counts_words() {
        let mut response = [0; 12];
        let command = Command::with_response(Number::RegMr, &mut response).u32(7);
        let bytes = command.finish();
        assert_eq!(bytes.len(), 8 + 8 + 4);
        assert_eq!(bytes[..4], 9u32.to_ne_bytes());
        assert_eq!(bytes[4..6], 5u16.to_ne_bytes());
        assert_eq!(bytes[6..8], 3u16.to_ne_bytes());
    }
}
