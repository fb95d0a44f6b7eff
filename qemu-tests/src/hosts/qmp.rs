// SPDX-License-Identifier: GPL-2.0

//! QEMU's machine protocol: orders to a host's QEMU, by way of a socket.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use anyhow::Context;
use anyhow::Result;
use serde_json::json;
use serde_json::Value;

/// How long QEMU may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// The socket of the QEMU of the host `name` below `directory`.
pub fn socket(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}-qmp.sock"))
}

/// Presses the power button of the host `name` below `directory`. A host that sleeps wakes; one that is awake takes note.
pub fn press_power_button(directory: &Path, name: &str) -> Result<()> {
    let path = socket(directory, name);
    order(&path, "system_powerdown").with_context(|| format!("{}", path.display()))
}

fn order(path: &Path, command: &str) -> Result<()> {
    let mut stream = UnixStream::connect(path).context("connect to QEMU")?;
    stream
        .set_read_timeout(Some(ANSWER_LIMIT))
        .context("limit QEMU's time")?;
    let mut answers = BufReader::new(stream.try_clone().context("duplicate QEMU's socket")?);
    for command in ["qmp_capabilities", command] {
        writeln!(stream, "{}", json!({ "execute": command })).context("write to QEMU")?;
        await_return(&mut answers).with_context(|| format!("have QEMU do {command}"))?;
    }
    Ok(())
}

/// Reads up to the next answer. In between there are a greeting, and events.
fn await_return(answers: &mut impl BufRead) -> Result<()> {
    loop {
        let mut line = String::new();
        if answers.read_line(&mut line).context("read from QEMU")? == 0 {
            bail!("QEMU has hung up");
        }
        let message: Value = serde_json::from_str(&line).context("understand QEMU")?;
        if let Some(error) = message.get("error") {
            bail!("QEMU refuses: {error}");
        }
        if message.get("return").is_some() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_found_among_other_messages() {
        let text = r#"{"QMP": {"version": {}}}
{"event": "POWERDOWN"}
{"return": {}}
{"error": {"desc": "later"}}
"#;
        let mut answers = text.as_bytes();
        assert!(await_return(&mut answers).is_ok());
        assert!(await_return(&mut answers).is_err());
        assert!(await_return(&mut answers).is_err());
    }
}
