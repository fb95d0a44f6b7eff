// SPDX-License-Identifier: GPL-2.0

//! A guest whose first process is systemd: the agent is a service there, which is known as long as the guest is up and is no part of its root.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use lab_agent::protocol::SHARE;

use crate::boot::ENVIRONMENT;
use crate::boot::SERVER;

/// systemd.
const SYSTEMD: &str = "/usr/lib/systemd/systemd";

/// Where systemd shows that it runs (sd_booted).
const RUNNING: &str = "/run/systemd/system";

/// The agent's unit.
const UNIT: &str = "lab-agent.service";

/// Keeps NHIs awake: an emulated one has no wake event. The driver, once bound, would have them sleep when no host is there.
const RULES: &str =
    "ACTION==\"add|bind\", SUBSYSTEM==\"pci\", ATTR{class}==\"0x0c0340\", ATTR{power/control}=\"on\"\n";

/// The kernel's release.
const RELEASE: &str = "/proc/sys/kernel/osrelease";

/// Digits of a machine's ID.
const ID_DIGITS: usize = 32;

/// Whether systemd is the guest's first process.
pub fn is_first() -> bool {
    Path::new(RUNNING).exists()
}

/// Has systemd shut the guest down.
pub fn power_off() -> Result<()> {
    let status = Command::new("systemctl")
        .args(["poweroff", "--no-block"])
        .status()
        .context("run systemctl")?;
    if !status.success() {
        bail!("systemctl poweroff: {status}");
    }
    Ok(())
}

fn write(path: &str, content: &str) -> Result<()> {
    if let Some(directory) = Path::new(path).parent() {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    }
    fs::write(path, content).with_context(|| format!("write {path}"))
}

/// The ID of the host named `host`. Without one, systemd would ask at the console who this machine is.
fn machine_id(host: &str) -> String {
    let digits: String = host.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("1ab{digits:0>width$.width$}", width = ID_DIGITS - 3)
}

/// Copies the kernel's modules from the share if the root does not have them: udev loads drivers before the lab can say anything.
fn bring_modules() -> Result<()> {
    let release = fs::read_to_string(RELEASE).with_context(|| format!("read {RELEASE}"))?;
    let release = release.trim();
    let place = format!("/usr/lib/modules/{release}");
    if Path::new(&place).exists() {
        return Ok(());
    }
    let source = format!("{SHARE}/modules/{release}");
    let status = Command::new("/usr/bin/cp")
        .args(["--recursive", &source, &place])
        .status()
        .context("run cp")?;
    if !status.success() {
        bail!("copy {source}: {status}");
    }
    Ok(())
}

/// Becomes systemd, on the host named `host`.
pub fn hand_over(host: &str) -> Result<Infallible> {
    bring_modules()?;
    write("/etc/machine-id", &format!("{}\n", machine_id(host)))?;
    let environment = ENVIRONMENT.map(|(name, value)| format!("\"{name}={value}\""));
    let unit = format!(
        "[Unit]\nDescription=Agent of the lab\n\n[Service]\nExecStart={SERVER}\nEnvironment={}\nTasksMax=infinity\n",
        environment.join(" ")
    );
    write(&format!("{RUNNING}/{UNIT}"), &unit)?;
    let wanted = format!("{RUNNING}/multi-user.target.wants");
    fs::create_dir_all(&wanted).with_context(|| format!("create {wanted}"))?;
    symlink(format!("../{UNIT}"), format!("{wanted}/{UNIT}")).context("enable the agent")?;
    write("/run/udev/rules.d/10-lab.rules", RULES)?;
    Err(Command::new(SYSTEMD).env_clear().exec()).context("run systemd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_machine_has_an_id_of_its_own() {
        let [a, b] = ["a", "b"].map(machine_id);
        assert_ne!(a, b);
        for id in [a, b] {
            assert_eq!(id.len(), ID_DIGITS);
            assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        }
    }
}
