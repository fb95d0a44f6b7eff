// SPDX-License-Identifier: GPL-2.0

//! Guests that come and go, and the poller that waits for them.

use super::super::fake_driver::MMIO_READ;
use super::super::fake_driver::MMIO_WRITE;
use super::super::fake_driver::REGISTERS;
use super::*;
use crate::attachment::Readiness;
use crate::fake_guest::ENABLE;
use crate::ids::RingNumber;
use crate::nhi::register;
use crate::poller;

const REGISTER: u64 = register::THROTTLE_BASE as u64;

#[test]
fn guests_come_and_go() {
    let bench = Bench::new();
    for _ in 0..3 {
        bench.wait_connection(0, Connection::Closed);
        let mut driver = bench.connect(0);
        let old = bench.read_u32(&mut driver, MMIO_READ, REGISTERS, REGISTER);
        assert_eq!(old, 0, "the last guest has left nothing");
        driver.post_write(MMIO_WRITE, REGISTERS, REGISTER, &[7, 0, 0, 0]);
        let new = bench.read_u32(&mut driver, MMIO_READ, REGISTERS, REGISTER);
        assert_eq!(new, 7);
    }
    bench.wait_connection(0, Connection::Closed);
}

#[test]
fn who_only_connects_is_no_guest() {
    let bench = Bench::new();
    let mut driver = FakeDriver::connect_only(&bench.socket(0));
    driver.negotiate();
    assert_eq!(bench.connection(0), Connection::Closed);
    driver.share_memory();
    assert_eq!(bench.connection(0), Connection::Open);
}

#[test]
fn a_driver_that_finds_the_device_anew_finds_it_reset() {
    let bench = Bench::new();
    let mut driver = bench.connect(0);
    driver.enable_msix();
    driver.post_write(MMIO_WRITE, REGISTERS, REGISTER, &[7, 0, 0, 0]);
    bench.step();
    driver.forget_queues();
    driver.share_memory();
    driver.start_queues();
    let value = bench.read_u32(&mut driver, MMIO_READ, REGISTERS, REGISTER);
    assert_eq!(value, 0);
    let control = bench.read(
        &mut driver,
        super::super::fake_driver::CONFIG_READ,
        0,
        0x42,
        2,
    );
    assert_eq!(control, [15, 0], "MSI-X is off");
}

#[test]
fn kicks_come_when_asked_for() {
    let bench = Bench::new();
    let mut driver = bench.connect(0);
    // The first access to a new queue kicks, asked for or not.
    driver.post_write(MMIO_WRITE, REGISTERS, REGISTER, &[7, 0, 0, 0]);
    bench.step();
    let kicked = driver.commands.kicks;
    let mut write = || {
        driver.post_write(MMIO_WRITE, REGISTERS, REGISTER, &[7, 0, 0, 0]);
        driver.commands.kicks - kicked
    };
    assert_eq!(write(), 0, "nobody sleeps");
    let mut kicks = Vec::new();
    let mut await_kicks = || bench.fabric.lock().await_kicks(&mut kicks);
    assert_eq!(await_kicks(), Readiness::Ready, "the write waits");
    bench.step();
    assert_eq!(await_kicks(), Readiness::Quiet);
    assert_eq!((write(), write(), write()), (1, 1, 1), "one is enough");
    bench.step();
    assert_eq!(write(), 1);
    assert_eq!(kicks.len(), 1);
}

#[test]
fn a_kick_for_a_full_ring_comes_when_there_is_room() {
    const DESCRIPTORS: u32 = 12;
    let bench = Bench::new();
    let mut driver = bench.connect(0);
    let number = RingNumber::data().next().unwrap();
    let ring = |base, stride| (base + number.index() * stride) as u64;
    let size = ring(register::RX_RING_BASE, register::RING_STRIDE) + register::RING_SIZE as u64;
    let options = ring(register::RX_OPTIONS_BASE, register::OPTIONS_STRIDE);
    driver.post_write(MMIO_WRITE, REGISTERS, size, &DESCRIPTORS.to_le_bytes());
    driver.post_write(MMIO_WRITE, REGISTERS, options, &ENABLE.to_le_bytes());
    bench.step();
    let kicked = driver.commands.kicks;
    let mut write = || {
        driver.post_write(MMIO_WRITE, REGISTERS, REGISTER, &[7, 0, 0, 0]);
        driver.commands.kicks - kicked
    };
    let await_kicks = || {
        let mut fabric = bench.fabric.lock();
        fabric.with_nhi(NhiIndex(0), |nhi| {
            nhi.note_hold(number);
            nhi.await_kick(&mut Vec::new())
        })
    };
    assert_eq!(await_kicks(), Readiness::Quiet);
    assert_eq!((write(), write()), (0, 0));
    assert_eq!(await_kicks(), Readiness::Quiet, "two of three");
    assert_eq!((write(), write()), (1, 1));
    assert_eq!(await_kicks(), Readiness::Ready);
}

#[test]
fn the_poller_works_and_wakes() {
    let bench = Bench::new();
    let mut driver = bench.connect(0);
    let fabric = Arc::clone(&bench.fabric);
    std::thread::spawn(move || poller::run(&fabric, Duration::from_millis(2)));
    for value in 0..100u32 {
        if value % 10 == 0 {
            // Long enough for it to fall asleep.
            std::thread::sleep(Duration::from_millis(5));
        }
        driver.post_write(MMIO_WRITE, REGISTERS, REGISTER, &value.to_le_bytes());
        let slot = driver.post_read(MMIO_READ, REGISTERS, REGISTER, 4);
        let start = Instant::now();
        let answer = loop {
            if let Some(answer) = driver.answer(slot) {
                break answer;
            }
            assert!(start.elapsed() < PATIENCE);
            std::thread::yield_now();
        };
        assert_eq!(answer, value.to_le_bytes());
    }
}
