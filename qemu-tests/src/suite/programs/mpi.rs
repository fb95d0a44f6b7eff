// SPDX-License-Identifier: GPL-2.0

//! Open MPI and MPICH, both over UCX: an MPI program of two processes.

use anyhow::ensure;
use anyhow::Result;

use super::exports;
use super::sent::by_rdma;
use super::ucx::WITH_ITSELF;
use super::Outcome;
use super::HOSTS;
use super::LIMIT;
use crate::hosts::stage::Ready;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::INTERFACE;

/// Port of the shell that the launchers' remote shell is.
const SHELL_PORT: u16 = 18701;

/// Bytes that `mpi-check` moves each way, at the least.
const BYTES: u64 = 50_000_000;

/// What runs as root there, if it is Open MPI's.
const ROOT: &str = "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1";

/// What launchers start their daemon on another host by: the script goes to a shell that listens there. Open MPI's daemon wants it too.
const AGENT: &str = "/run/remote-shell";

/// Open MPI.
pub fn openmpi(stage: &Stage<'_>) -> Result<Outcome> {
    let settings = WITH_ITSELF.settings();
    let settings: Vec<String> = settings.lines().map(|line| format!("-x {line}")).collect();
    let settings = settings.join(" ");
    let [first, second] = HOSTS.map(roce::address);
    let script = format!(
        "export {ROOT}
        export PRTE_MCA_plm_ssh_agent={AGENT} PRTE_MCA_prte_if_include={INTERFACE} PMIX_MCA_ptl_tcp_if_include={INTERFACE}
        exec 2>&1 mpirun.openmpi -n 2 --host {first}:1,{second}:1 --map-by node:OVERSUBSCRIBE --bind-to none --mca pml ucx \
            {settings} /lab/share/mpi-check"
    );
    run(stage, &script)
}

/// MPICH.
pub fn mpich(stage: &Stage<'_>) -> Result<Outcome> {
    let settings = exports(&WITH_ITSELF.settings());
    let [first, second] = HOSTS.map(roce::address);
    let script = format!(
        "{settings}exec 2>&1 mpiexec.mpich -n 2 -hosts {first},{second} -localhost {first} -iface {INTERFACE} \
            -launcher rsh -launcher-exec {AGENT} /lab/share/mpich-check"
    );
    run(stage, &script)
}

/// Has the first host do `script`, which starts a process on each host.
fn run(stage: &Stage<'_>, script: &str) -> Result<Outcome> {
    let [here, there] = HOSTS;
    let agent = format!(
        "cat > {AGENT} <<'end' && chmod +x {AGENT}
#!/bin/sh
host=$1
shift
echo \"$*\" | exec busybox nc $host {SHELL_PORT}
end"
    );
    for host in HOSTS {
        stage.shell(host, &agent, LIMIT)?;
    }
    let shell = format!("export {ROOT}\nexec busybox nc -ll -p {SHELL_PORT} -e sh");
    let shell = stage.serve(there, &shell, Ready::Port(SHELL_PORT), LIMIT)?;
    let text = by_rdma(stage, [BYTES; 2], || stage.shell(here, script, LIMIT))?;
    stage.kill(&shell)?;
    stage.wait(&shell, LIMIT)?;
    for part in [
        "rank 0 of 2 on a",
        "rank 1 of 2 on b",
        "sums right",
        "contents right",
        "mpi-check: ok",
    ] {
        ensure!(text.contains(part), "nobody says {part:?}:\n{text}");
    }
    for line in text.lines().filter(|line| line.contains(" MB/s")) {
        stage.note(&format!("FIGURES {line}"));
    }
    WITH_ITSELF.check(&text)?;
    Ok(Outcome::Passed)
}
