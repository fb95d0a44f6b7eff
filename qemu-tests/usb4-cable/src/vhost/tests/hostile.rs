// SPDX-License-Identifier: GPL-2.0

//! Guests that keep no rule: nothing they do ends or hangs the program, and the next guest finds all in order.

use std::io::Read;
use std::io::Write;
use std::os::unix::net::UnixStream;

use super::super::fake_driver::CONFIG_READ;
use super::super::fake_driver::CONFIG_WRITE;
use super::super::fake_driver::MMIO_FILL;
use super::super::fake_driver::MMIO_READ;
use super::super::fake_driver::MMIO_WRITE;
use super::super::fake_driver::MSI;
use super::super::fake_driver::MSIX;
use super::super::fake_driver::NEXT;
use super::super::fake_driver::QUEUE_SIZE;
use super::super::fake_driver::REGISTERS;
use super::super::fake_driver::WRITE;
use super::*;

const IDENTITY: u32 = 0xf0f0_8086;

fn identity(bench: &Bench, driver: &mut FakeDriver) -> u32 {
    bench.read_u32(driver, CONFIG_READ, 0, 0)
}

#[test]
fn commands_that_are_none() {
    let bench = Bench::new();
    let driver = &mut bench.connect(0);
    for op in [0, 6, MSI, 8, 255] {
        driver.post(&FakeDriver::header(op, 0, 0, 4), 4);
    }
    for len in 0..16 {
        driver.post(&FakeDriver::header(CONFIG_READ, 0, 0, 4)[..len], 4);
    }
    for op in [CONFIG_READ, CONFIG_WRITE, MMIO_READ, MMIO_WRITE, MMIO_FILL] {
        for bar in [REGISTERS, 1, MSIX, 5, 255] {
            for offset in [0, 0xfff, 0x3_ffff, u64::MAX - 2, u64::MAX] {
                for size in [0, 1, 3, 200, 0x4_0000, 0x4_0001, u32::MAX] {
                    let mut message = FakeDriver::header(op, bar, offset, size);
                    driver.post(&message, 200);
                    message.extend([0xa5; 0xf0]);
                    driver.post(&message, 0);
                    bench.step();
                    assert!(driver.is_quiet(), "every command is given back");
                }
            }
        }
    }
    assert_eq!(identity(&bench, driver), IDENTITY);
}

#[test]
fn descriptors_that_lead_nowhere() {
    let bench = Bench::new();
    let driver = &mut bench.connect(0);
    let nowhere = [0, 0xff_fff0, 0x7000_0000, u64::MAX];
    for address in nowhere {
        let commands = &mut driver.commands;
        commands.describe(0, address, 0x40, 0, 0);
        commands.publish(0);
        // A good command with a bad buffer.
        let slot = driver.post_read(CONFIG_READ, 0, 0, 4);
        driver
            .commands
            .describe(2 * slot + 1, address, 0x40, WRITE, 0);
        bench.step();
    }
    let commands = &mut driver.commands;
    // To itself, to a descriptor that there is not, empty.
    commands.describe(0, 0x4_0000, 16, NEXT, 0);
    commands.publish(0);
    bench.step();
    commands.describe(0, 0x4_0000, 16, NEXT, QUEUE_SIZE);
    commands.publish(0);
    bench.step();
    commands.describe(0, 0x4_0000, 0, 0, 0);
    commands.publish(0);
    bench.step();
    driver.commands.forget_used();
    assert_eq!(identity(&bench, driver), IDENTITY);
    // Interrupt buffers likewise.
    driver.enable_msix();
    for address in nowhere {
        driver.interrupts.describe(200, address, 20, WRITE, 0);
        driver.interrupts.publish(200);
    }
    let mut fabric = bench.fabric.lock();
    for _ in 0..20 {
        fabric.step(Instant::now());
        fabric.with_nhi(NhiIndex(0), |nhi| nhi.raise_for_test(u32::from(u16::MAX)));
    }
}

#[test]
fn queues_that_break_stop_until_set_up_anew() {
    let bench = Bench::new();
    for case in 0..3 {
        bench.wait_connection(0, Connection::Closed);
        let driver = &mut bench.connect(0);
        match case {
            0 => driver.commands.set_available(QUEUE_SIZE + 1),
            1 => driver.commands.set_available(u16::MAX),
            _ => driver.commands.publish(QUEUE_SIZE),
        }
        bench.step();
        driver.post_read(CONFIG_READ, 0, 0, 4);
        bench.step();
        driver.forget_queues();
        driver.share_memory();
        driver.start_queues();
        assert_eq!(identity(&bench, driver), IDENTITY);
    }
}

/// Who asks for what cannot be is told so, and disconnected.
#[test]
fn queues_that_cannot_be() {
    let bench = Bench::new();
    let negotiated = || {
        let mut driver = FakeDriver::connect_only(&bench.socket(0));
        driver.negotiate();
        driver
    };
    assert!(negotiated().set_queue(0, 0x7002_0000).is_err(), "no memory");
    assert!(negotiated().enable_queue(0).is_err(), "no memory");
    let refused = |address| {
        let mut driver = negotiated();
        driver.share_memory();
        let queue = driver.set_queue(0, address);
        queue.and_then(|()| driver.enable_queue(0)).is_err()
    };
    assert!(refused(0), "not in the memory");
    assert!(refused(u64::MAX));
    assert!(refused(0x7002_0001), "not aligned");
    assert!(refused(0x70ff_dff0), "past the end of the memory");
    assert!(!refused(0x70ff_d000));
}

#[test]
fn requests_that_are_none() {
    let bench = Bench::new();
    let header =
        |request: u32, flags: u32, size: u32| [request, flags, size].map(u32::to_ne_bytes).concat();
    let mut requests: Vec<Vec<u8>> = vec![vec![0xff; 64], vec![1], vec![]];
    for request in 0..50 {
        for size in [0, 4, 8, 0x1000, u32::MAX] {
            let body = vec![0xff; size.min(0x100) as usize];
            requests.push([header(request, 1, size), body.clone()].concat());
            requests.push([header(request, 1 | 1 << 3, size), vec![0; body.len()]].concat());
            requests.push(header(request, 1 << 2, size));
        }
    }
    for request in requests {
        let mut stream = UnixStream::connect(bench.socket(0)).unwrap();
        // The other end may have had enough already.
        let _ = stream.write_all(&request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    bench.wait_connection(0, Connection::Closed);
    let driver = &mut bench.connect(0);
    assert_eq!(identity(&bench, driver), IDENTITY);
}
