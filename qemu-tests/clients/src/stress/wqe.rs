// SPDX-License-Identifier: GPL-2.0

//! WQEs as rxe's queues have them, in words.

/// Words of a send WQE with its elements.
const SEND_WORDS: usize = 52;
/// Words of a receive WQE before its elements.
const RECEIVE_WORDS: usize = 10;

const OPCODE: usize = 3;
const FLAGS: usize = 4;
const REMOTE_ADDRESS: usize = 6;
const REMOTE_KEY: usize = 8;
const LENGTH: usize = 46;
const ELEMENTS: usize = 49;
const RECEIVE_LENGTH: usize = 4;
const RECEIVE_ELEMENTS: usize = 7;

/// A local element.
#[derive(Clone, Copy, Debug)]
pub struct Element {
    /// Address.
    pub address: u64,
    /// Bytes.
    pub length: u32,
    /// Key.
    pub key: u32,
}

/// What a send WQE asks for.
#[derive(Clone, Copy, Debug)]
pub struct Send {
    /// `enum ib_uverbs_wr_opcode`.
    pub opcode: u32,
    /// `enum ib_uverbs_send_flags`.
    pub flags: u32,
    /// Remote address.
    pub address: u64,
    /// Remote key.
    pub key: u32,
}

fn append(words: &mut Vec<u32>, elements: &[Element]) {
    for element in elements {
        words.extend([
            element.address as u32,
            (element.address >> 32) as u32,
            element.length,
            element.key,
        ]);
    }
}

fn length(elements: &[Element]) -> u32 {
    elements
        .iter()
        .fold(0, |sum, element| sum.wrapping_add(element.length))
}

/// A send WQE.
pub fn send(what: &Send, elements: &[Element]) -> Vec<u32> {
    let mut words = vec![0; SEND_WORDS];
    words[OPCODE] = what.opcode;
    words[FLAGS] = what.flags;
    words[REMOTE_ADDRESS] = what.address as u32;
    words[REMOTE_ADDRESS + 1] = (what.address >> 32) as u32;
    words[REMOTE_KEY] = what.key;
    words[LENGTH] = length(elements);
    words[ELEMENTS] = elements.len() as u32;
    append(&mut words, elements);
    words
}

/// A receive WQE.
pub fn receive(elements: &[Element]) -> Vec<u32> {
    let mut words = vec![0; RECEIVE_WORDS];
    words[RECEIVE_LENGTH] = length(elements);
    words[RECEIVE_ELEMENTS] = elements.len() as u32;
    append(&mut words, elements);
    words
}
