// SPDX-License-Identifier: GPL-2.0

//! libfabric over its verbs provider: `fi_pingpong`, which connects by IP address and checks what it receives.

use anyhow::ensure;
use anyhow::Result;

use super::exports;
use super::run;
use super::sent::by_rdma;
use super::Outcome;
use super::HOSTS;
use super::PORT;
use crate::hosts::stage::Stage;
use crate::roce;

/// Messages of each size, each way.
const COUNT: u32 = 100;

/// Sizes of messages, as the program's table has them.
const SIZES: [&str; 6] = ["64", "256", "1k", "4k", "64k", "1m"];

/// Bytes that go each way, at the least.
const BYTES: u64 = 110_000_000;

/// Messages over connections.
pub const CONNECTED: &str = "-p verbs -e msg";

/// Messages to whatever host, to which libfabric connects by itself.
pub const UNCONNECTED: &str = "-p 'verbs;ofi_rxm' -e rdm";

/// The same, with a tag by which they find their receives.
pub const TAGGED: &str = "-p 'verbs;ofi_rxm' -e rdm -m tagged";

/// How many hosts libfabric's completion queue is to have room for; of itself it asks for more room than the device has.
const SETTINGS: &str = "FI_UNIVERSE_SIZE=16";

/// What connecting by address needs of the kernel.
const LOAD: &str = "modprobe rdma_ucm || exit\n";

/// Messages of all sizes go to and fro.
pub fn pingpong(stage: &Stage<'_>, kind: &str) -> Result<Outcome> {
    let [server, client] = HOSTS.map(roce::address);
    let command = format!("fi_pingpong {kind} -c -I {COUNT}");
    let server = format!("{command} -s {server} -B {PORT}");
    let client = format!("{command} -s {client} -P {PORT}");
    let preparation = format!("{LOAD}{}", exports(SETTINGS));
    let text = by_rdma(stage, [BYTES; 2], || {
        run(stage, &preparation, &server, &client)
    })?;
    for size in SIZES {
        let ends = text.lines().filter(|line| has_all(line, size)).count();
        ensure!(
            ends == HOSTS.len(),
            "{ends} ends have had all messages of {size} bytes:\n{text}"
        );
    }
    Ok(Outcome::Passed)
}

/// Whether a line of the table says that all messages of that size were sent and answered.
fn has_all(line: &str, size: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().take(3).collect();
    words == [size, &COUNT.to_string(), &format!("={COUNT}")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_has_to_be_answered() {
        let line = "64k     100     =100     12m         0.13s     99.68     657.47       0.00";
        assert!(has_all(line, "64k"));
        assert!(!has_all(line, "64"));
        assert!(!has_all(&line.replace("=100", "=99"), "64k"));
        assert!(!has_all("bytes   #sent   #ack     total", "64k"));
    }
}
