// SPDX-License-Identifier: GPL-2.0

//! NHIs on vhost-user sockets, with guests that do what User-Mode Linux does.

mod function;
mod hostile;
mod pair;
mod session;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Mutex;

use super::fake_driver::FakeDriver;
use crate::cable::NhiIndex;
use crate::connection::Connection;
use crate::fabric::Fabric;
use crate::topology::FrontEndKind;
use crate::topology::Topology;

const TOPOLOGY: &str = r#"{"hosts": [{"name": "a"}, {"name": "b"}],
    "cables": [{"name": "c", "a": {"host": "a", "port": 0}, "b": {"host": "b", "port": 1}}]}"#;

/// Longest wait for what takes microseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// A fabric with vhost-user sockets for both hosts, and nobody who drives it but the tests.
struct Bench {
    fabric: Arc<Mutex<Fabric>>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let topology = Topology::from_json(TOPOLOGY).unwrap();
        let fabric = Fabric::new(&topology, Instant::now()).unwrap();
        let fabric = Arc::new(Mutex::new(fabric));
        let bench = Self {
            fabric,
            dir: tempfile::tempdir().unwrap(),
        };
        for index in [0, 1] {
            let path = bench.socket(index);
            let front_end = FrontEndKind::VhostUser
                .bind(&path, Arc::clone(&bench.fabric), NhiIndex(index))
                .unwrap();
            std::thread::spawn(move || front_end.run());
        }
        bench
    }

    fn socket(&self, nhi: usize) -> PathBuf {
        self.dir.path().join(nhi.to_string())
    }

    fn connect(&self, nhi: usize) -> FakeDriver {
        FakeDriver::connect(&self.socket(nhi))
    }

    fn step(&self) {
        self.fabric.lock().step(Instant::now());
    }

    fn read(&self, driver: &mut FakeDriver, op: u8, bar: u8, offset: u64, len: u32) -> Vec<u8> {
        let slot = driver.post_read(op, bar, offset, len);
        self.step();
        driver.answer(slot).unwrap()
    }

    fn read_u32(&self, driver: &mut FakeDriver, op: u8, bar: u8, offset: u64) -> u32 {
        let bytes = self.read(driver, op, bar, offset, 4);
        u32::from_le_bytes(bytes.try_into().unwrap())
    }

    fn connection(&self, nhi: usize) -> Connection {
        let mut fabric = self.fabric.lock();
        fabric.with_nhi(NhiIndex(nhi), |nhi| nhi.connection())
    }

    fn wait_connection(&self, nhi: usize, awaited: Connection) {
        let start = Instant::now();
        while self.connection(nhi) != awaited {
            assert!(start.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
