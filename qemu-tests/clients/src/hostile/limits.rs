// SPDX-License-Identifier: GPL-2.0

//! Limits of a process's resources.

use nix::errno::Errno;
use nix::libc;

use crate::dice::Dice;

/// Sets a limit, for good.
pub fn set(resource: libc::__rlimit_resource_t, limit: u64) -> nix::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: limit,
        rlim_max: limit,
    };
    // SAFETY: The structure is valid for the read.
    Errno::result(unsafe { libc::setrlimit(resource, &limit) }).map(drop)
}

/// Sets some limits to something narrow, sometimes.
pub fn set_random(dice: &mut Dice) {
    const MIB: u64 = 1 << 20;
    if dice.once_in(3) {
        let limit = dice.pick(&[0, 4096, 65536, MIB]);
        // A limit that cannot be set is none: the kernel is under test, not this.
        let _ = set(libc::RLIMIT_MEMLOCK, limit);
    }
    if dice.once_in(4) {
        let _ = set(libc::RLIMIT_AS, dice.pick(&[64, 256, 1024]) * MIB);
    }
    if dice.once_in(4) {
        let _ = set(libc::RLIMIT_NOFILE, dice.pick(&[6, 8, 12, 32]));
    }
}
