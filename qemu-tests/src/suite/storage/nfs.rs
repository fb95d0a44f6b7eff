// SPDX-License-Identifier: GPL-2.0

//! A directory of one host, which another host mounts by NFS over RDMA.

use anyhow::Context;
use anyhow::Result;

use super::Outcome;
use super::LIMIT;
use crate::hosts::stage::Stage;
use crate::storage::nfs::mount_command;
use crate::storage::nfs::with_directory;
use crate::storage::nfs::MOUNTED;
use crate::storage::Way;
use crate::storage::INITIATOR;

/// A tree of files is copied there, and is the same when it is read again.
pub fn copy(stage: &Stage<'_>) -> Result<Outcome> {
    let way = Way::roce();
    with_directory(stage, &way, || {
        let script = format!(
            "cp -a /usr/share/doc /etc {MOUNTED}/ || exit
            fio --name=check --directory={MOUNTED} --size=16m --rw=randwrite --bsrange=512-256k --verify=crc32c-intel \
              --verify_fatal=1 --minimal || exit
            umount {MOUNTED} && {} || exit
            diff -r --no-dereference /etc {MOUNTED}/etc && diff -r --no-dereference /usr/share/doc {MOUNTED}/doc",
            mount_command(&way)
        );
        stage.shell(INITIATOR, &script, LIMIT).context("the client")
    })?;
    Ok(Outcome::Passed)
}
