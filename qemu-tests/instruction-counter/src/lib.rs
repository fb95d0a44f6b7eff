// SPDX-License-Identifier: GPL-2.0

//! A QEMU plugin which counts the instructions that a guest executes.
//!
//! Loaded by `-plugin FILE,socket=PATH`. Whoever connects to the Unix socket `PATH` gets one line, the instructions executed
//! so far in user and in kernel mode as `USER KERNEL`, and the end of the file. A virtual CPU that sleeps counts nothing.
//!
//! Counting is by translation block, inline: a block that an exception leaves early counts whole. A repeated string
//! instruction (`rep movs` and the like) is left out: QEMU executes it anew for each element, a processor once.

use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_void;
use std::ffi::CStr;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::thread;

mod api;

use api::TranslationBlock;
use api::U64;

/// The version of QEMU's plugin interface that [`api`] describes.
#[no_mangle]
#[allow(non_upper_case_globals)]
pub static qemu_plugin_version: c_int = 7;

/// What `qemu_plugin_install` returns when the plugin cannot be used.
const REFUSED: c_int = -1;

/// Addresses from here on are the kernel's: the upper half of the address space.
const KERNEL: u64 = 1 << 63;

/// Bytes of the longest instruction of x86.
const LONGEST_INSTRUCTION: usize = 15;

/// The argument with the socket's path.
const SOCKET: &str = "socket=";

/// What each virtual CPU counts.
#[repr(C)]
struct Count {
    user: u64,
    kernel: u64,
}

/// The counters of all virtual CPUs.
#[derive(Clone, Copy)]
struct Counters {
    user: U64,
    kernel: U64,
}

/// Set once, when the plugin is installed.
static COUNTERS: OnceLock<Counters> = OnceLock::new();

impl Counters {
    fn new() -> Option<Self> {
        // SAFETY: QEMU has called `qemu_plugin_install`, so its plugin interface is ready.
        let scoreboard = unsafe { api::qemu_plugin_scoreboard_new(size_of::<Count>()) };
        let scoreboard = NonNull::new(scoreboard)?;
        let member = |offset| U64::new(scoreboard, offset);
        Some(Self {
            user: member(std::mem::offset_of!(Count, user)),
            kernel: member(std::mem::offset_of!(Count, kernel)),
        })
    }

    fn line(&self) -> String {
        // SAFETY: The scoreboard is never freed, and both members lie within its entries.
        let (user, kernel) = unsafe {
            (
                api::qemu_plugin_u64_sum(self.user),
                api::qemu_plugin_u64_sum(self.kernel),
            )
        };
        format!("{user} {kernel}\n")
    }
}

/// Whether instruction `index` of `block` is a string instruction with a repeat prefix.
///
/// # Safety
///
/// `block` is being translated, and has more than `index` instructions.
unsafe fn is_repeated(block: *const TranslationBlock, index: usize) -> bool {
    let mut code = [0; LONGEST_INSTRUCTION];
    // SAFETY: By the contract of this function; as many bytes are copied as the array has at most.
    let length = unsafe {
        let instruction = api::qemu_plugin_tb_get_insn(block, index);
        api::qemu_plugin_insn_data(instruction, code.as_mut_ptr().cast(), code.len())
    };
    let mut repeated = false;
    for byte in code.iter().take(length) {
        match byte {
            // REPNE and REP.
            0xf2 | 0xf3 => repeated = true,
            // Operand and address size, segments, and REX.
            0x66 | 0x67 | 0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x40..=0x4f => {}
            // INS, OUTS; MOVS, CMPS; STOS, LODS, SCAS.
            0x6c..=0x6f | 0xa4..=0xa7 | 0xaa..=0xaf => return repeated,
            _ => return false,
        }
    }
    false
}

/// Adds the counting to a block that is being translated.
extern "C" fn translate(block: *mut TranslationBlock, _: *mut c_void) {
    let Some(counters) = COUNTERS.get() else {
        return;
    };
    // SAFETY: QEMU passes the block that it is translating, and both functions are for use in this callback.
    unsafe {
        let counter = if api::qemu_plugin_tb_vaddr(block) < KERNEL {
            counters.user
        } else {
            counters.kernel
        };
        let all = 0..api::qemu_plugin_tb_n_insns(block);
        let instructions = all.filter(|index| !is_repeated(block, *index)).count() as u64;
        api::qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(
            block,
            api::INLINE_ADD_U64,
            counter,
            instructions,
        );
    }
}

/// Tells everyone who connects how far the count is.
fn serve(listener: UnixListener, counters: Counters) {
    for stream in listener.incoming().flatten() {
        // Who has gone away needs no answer.
        let _ = (&stream).write_all(counters.line().as_bytes());
    }
}

fn install(id: u64, arguments: &[&str]) -> Result<(), String> {
    let [argument] = arguments else {
        return Err(format!("one argument is needed: {SOCKET}PATH"));
    };
    let path = argument
        .strip_prefix(SOCKET)
        .ok_or_else(|| format!("unknown argument {argument}"))?;
    let listener = UnixListener::bind(path).map_err(|error| format!("{path}: {error}"))?;
    let counters = Counters::new().ok_or("no scoreboard")?;
    let counters = *COUNTERS.get_or_init(|| counters);
    thread::Builder::new()
        .name("count".to_owned())
        .spawn(move || serve(listener, counters))
        .map_err(|error| format!("start a thread: {error}"))?;
    // SAFETY: `translate` has the type that interface version 7 calls.
    unsafe { api::qemu_plugin_register_vcpu_tb_trans_cb(id, translate, std::ptr::null_mut()) };
    Ok(())
}

/// Called by QEMU when it has loaded the plugin.
///
/// # Safety
///
/// `argv` points to `argc` C strings.
#[no_mangle]
pub unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    _: *const c_void,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    let count = usize::try_from(argc).unwrap_or(0);
    // SAFETY: By the contract of this function, which is QEMU's.
    let arguments = (0..count).map(|index| unsafe { CStr::from_ptr(*argv.add(index)) });
    let arguments: Result<Vec<&str>, _> = arguments.map(CStr::to_str).collect();
    let installed = arguments
        .map_err(|error| error.to_string())
        .and_then(|arguments| install(id, &arguments));
    match installed {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("instruction-counter: {error}");
            REFUSED
        }
    }
}
