// SPDX-License-Identifier: GPL-2.0

//! A directory of one host, which another host mounts by NFS over RDMA.

use anyhow::Context;
use anyhow::Result;

use super::Outcome;
use super::INITIATOR;
use super::LIMIT;
use super::TARGET;
use crate::hosts::stage::Stage;
use crate::roce::address;

/// The standard port of NFS over RDMA.
const PORT: u16 = 20049;

/// What the server exports: files in memory.
const EXPORTED: &str = "/run/exported";

/// Starts the server, with version 4 alone, which needs no other daemons than the one that knows who may mount.
fn serve(stage: &Stage<'_>) -> Result<()> {
    let script = format!(
        "modprobe -a nfsd rpcrdma || exit
        mkdir -p {EXPORTED} && mount -t tmpfs -o size=128m exported {EXPORTED} || exit
        mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd || exit
        mkdir -p /run/rpc_pipefs /var/lib/nfs/v4recovery
        exportfs -o rw,no_root_squash,insecure,fsid=0,no_subtree_check '*:{EXPORTED}' || exit
        rpc.nfsd --no-nfs-version 3 --grace-time 1 --lease-time 10 --rdma={PORT} 4 || exit
        rpc.mountd --no-nfs-version 3"
    );
    stage.shell(TARGET, &script, LIMIT).context("the server")?;
    Ok(())
}

fn end(stage: &Stage<'_>) -> Result<()> {
    let script = format!(
        "rpc.nfsd 0 && exportfs -ua && pkill rpc.mountd
        umount /proc/fs/nfsd {EXPORTED}
        modprobe -r nfsd rpcrdma || :"
    );
    stage
        .shell(TARGET, &script, LIMIT)
        .context("end the server")?;
    Ok(())
}

/// A tree of files is copied there, and is the same when it is read again.
pub fn copy(stage: &Stage<'_>) -> Result<Outcome> {
    serve(stage)?;
    let address = address(TARGET);
    let script = format!(
        "modprobe -a nfs rpcrdma || exit
        mkdir -p /run/mounted
        mounted() {{ mount -t nfs4 -o proto=rdma,port={PORT},minorversion=2 {address}:/ /run/mounted; }}
        mounted || exit
        cp -a /usr/share/doc /etc /run/mounted/ || exit
        fio --name=check --directory=/run/mounted --size=16m --rw=randwrite --bsrange=512-256k --verify=crc32c-intel \
          --verify_fatal=1 --minimal || exit
        umount /run/mounted && mounted || exit
        diff -r --no-dereference /etc /run/mounted/etc && diff -r --no-dereference /usr/share/doc /run/mounted/doc || exit
        umount /run/mounted"
    );
    stage
        .shell(INITIATOR, &script, LIMIT)
        .context("the client")?;
    end(stage)?;
    Ok(Outcome::Passed)
}
