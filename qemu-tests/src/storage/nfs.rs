// SPDX-License-Identifier: GPL-2.0

//! A directory of one host, which another host mounts by NFS 4.2.

use anyhow::Context;
use anyhow::Result;

use super::Carrier;
use super::Way;
use super::INITIATOR;
use super::LIMIT;
use super::TARGET;
use crate::hosts::stage::Stage;

impl Carrier {
    /// The standard port of NFS.
    fn nfs_port(self) -> u16 {
        match self {
            Self::Rdma => 20049,
            Self::Tcp => 2049,
        }
    }
}

/// What the server exports: files in memory.
pub const EXPORTED: &str = "/run/exported";

/// Where the client has it.
pub const MOUNTED: &str = "/run/mounted";

/// Bytes of the longest read or write of a client. The server's own choice depends on its memory.
const LONGEST: u32 = 1 << 20;

/// Where the kernel asks its daemons.
const PIPES: &str = "/run/rpc_pipefs";

/// Starts the server, with version 4 alone, which needs no other daemons than the one that knows who may mount, and the one that
/// remembers clients: without that the server gives clients of its former life 90 seconds to come back.
fn serve(stage: &Stage<'_>) -> Result<()> {
    let port = Carrier::Rdma.nfs_port();
    let script = format!(
        "modprobe -a nfsd rpcrdma || exit
        mkdir -p {EXPORTED} && mount -t tmpfs -o size=128m exported {EXPORTED} || exit
        mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd || exit
        echo {LONGEST} > /proc/fs/nfsd/max_block_size || exit
        mkdir -p {PIPES} /var/lib/nfs/nfsdcld && mount -t rpc_pipefs pipes {PIPES} || exit
        nfsdcld --pipefsdir={PIPES} || exit
        exportfs -o rw,no_root_squash,insecure,fsid=0,no_subtree_check '*:{EXPORTED}' || exit
        rpc.nfsd --no-nfs-version 3 --rdma={port} 4 || exit
        rpc.mountd --no-nfs-version 3"
    );
    stage.shell(TARGET, &script, LIMIT).context("the server")?;
    Ok(())
}

fn end(stage: &Stage<'_>) -> Result<()> {
    let script = format!(
        "rpc.nfsd 0 && exportfs -ua && pkill 'rpc.mountd|nfsdcld'
        umount {PIPES} /proc/fs/nfsd {EXPORTED}
        modprobe -r nfsd rpcrdma || :"
    );
    stage
        .shell(TARGET, &script, LIMIT)
        .context("end the server")?;
    Ok(())
}

/// What the client mounts the directory by.
pub fn mount_command(way: &Way) -> String {
    let Way { carrier, address } = way;
    let port = carrier.nfs_port();
    format!("mount -t nfs4 -o proto={carrier},port={port},minorversion=2 {address}:/ {MOUNTED}")
}

/// Does `what` while the target serves and the initiator has mounted the directory.
pub fn with_directory<T>(
    stage: &Stage<'_>,
    way: &Way,
    what: impl FnOnce() -> Result<T>,
) -> Result<T> {
    serve(stage)?;
    let mount = format!(
        "modprobe -a nfs rpcrdma && mkdir -p {MOUNTED} || exit
        {}",
        mount_command(way)
    );
    stage.shell(INITIATOR, &mount, LIMIT).context("mount")?;
    let result = what()?;
    stage
        .shell(INITIATOR, &format!("umount {MOUNTED}"), LIMIT)
        .context("unmount")?;
    end(stage)?;
    Ok(result)
}
