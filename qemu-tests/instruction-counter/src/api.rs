// SPDX-License-Identifier: GPL-2.0

//! What the plugin uses of QEMU's plugin interface, version 7 (`include/plugins/qemu-plugin.h`).

use std::ffi::c_int;
use std::ffi::c_void;
use std::ptr::NonNull;

/// `QEMU_PLUGIN_INLINE_ADD_U64`: adds to a counter without a call.
pub const INLINE_ADD_U64: c_int = 0;

/// A block of guest code that is being translated.
#[repr(C)]
pub struct TranslationBlock {
    _opaque: [u8; 0],
}

/// An instruction of a block that is being translated.
#[repr(C)]
pub struct Instruction {
    _opaque: [u8; 0],
}

/// An array with an entry for each virtual CPU.
#[repr(C)]
pub struct Scoreboard {
    _opaque: [u8; 0],
}

/// `qemu_plugin_u64`: a number in each entry of a scoreboard.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct U64 {
    scoreboard: NonNull<Scoreboard>,
    offset: usize,
}

// SAFETY: QEMU's functions on it may be called from any thread; it is a name for memory they guard.
unsafe impl Send for U64 {}
// SAFETY: As above.
unsafe impl Sync for U64 {}

impl U64 {
    /// The number `offset` bytes into each entry.
    pub fn new(scoreboard: NonNull<Scoreboard>, offset: usize) -> Self {
        Self { scoreboard, offset }
    }
}

/// Called for each block that is translated.
pub type Translate = extern "C" fn(block: *mut TranslationBlock, userdata: *mut c_void);

extern "C" {
    pub fn qemu_plugin_register_vcpu_tb_trans_cb(id: u64, cb: Translate, userdata: *mut c_void);
    pub fn qemu_plugin_tb_n_insns(block: *const TranslationBlock) -> usize;
    pub fn qemu_plugin_tb_get_insn(
        block: *const TranslationBlock,
        index: usize,
    ) -> *mut Instruction;
    pub fn qemu_plugin_insn_data(
        instruction: *const Instruction,
        into: *mut c_void,
        length: usize,
    ) -> usize;
    pub fn qemu_plugin_tb_vaddr(block: *const TranslationBlock) -> u64;
    pub fn qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(
        block: *mut TranslationBlock,
        op: c_int,
        entry: U64,
        immediate: u64,
    );
    pub fn qemu_plugin_scoreboard_new(element_size: usize) -> *mut Scoreboard;
    pub fn qemu_plugin_u64_sum(entry: U64) -> u64;
}
