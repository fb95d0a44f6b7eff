// SPDX-License-Identifier: GPL-2.0

//! The PCI function and its interrupts.

use super::super::fake_driver::CONFIG_READ;
use super::super::fake_driver::CONFIG_WRITE;
use super::super::fake_driver::MMIO_FILL;
use super::super::fake_driver::MMIO_READ;
use super::super::fake_driver::MMIO_WRITE;
use super::super::fake_driver::MSIX;
use super::super::fake_driver::MSI_DATA;
use super::super::fake_driver::REGISTERS;
use super::*;
use crate::nhi::register;
use crate::nhi::register::REGISTER_FILE_SIZE;

#[test]
fn a_guest_finds_the_function_and_sizes_its_bars() {
    let bench = Bench::new();
    let driver = &mut bench.connect(0);
    assert_eq!(bench.connection(0), Connection::Open);
    assert_eq!(bench.connection(1), Connection::Closed);
    let config = |driver: &mut _, offset| bench.read_u32(driver, CONFIG_READ, 0, offset);
    assert_eq!(config(driver, 0), 0xf0f0_8086);
    assert_eq!(config(driver, 8), 0x0c03_4001);
    assert_eq!(bench.read(driver, CONFIG_READ, 0, 0x34, 1), [0x40]);
    assert_eq!(bench.read(driver, CONFIG_READ, 0, 0x42, 2), [15, 0]);
    for (bar, size) in [(0, REGISTER_FILE_SIZE as u32), (1, 0), (2, 0x1000)] {
        let offset = 0x10 + 4 * bar;
        driver.post_write(CONFIG_WRITE, 0, offset, &u32::MAX.to_le_bytes());
        assert_eq!(config(driver, offset), size.wrapping_neg());
        driver.post_write(CONFIG_WRITE, 0, offset, &0xf004_0000u32.to_le_bytes());
    }
    assert_eq!(config(driver, 0x18), 0xf004_0000);
    assert_eq!(config(driver, 0x100), 0, "no extended capabilities");
    let capabilities = register::CAPABILITIES as u64;
    let value = bench.read_u32(driver, MMIO_READ, REGISTERS, capabilities);
    assert_eq!(value, 0x40_0020);
    assert_eq!(bench.read_u32(driver, MMIO_READ, 1, 0), u32::MAX, "no BAR");
}

#[test]
fn a_read_sees_what_was_written_before_it() {
    let bench = Bench::new();
    let mut driver = bench.connect(0);
    let offset = register::THROTTLE_BASE as u64;
    for value in 1..=100u32 {
        driver.post_write(MMIO_WRITE, REGISTERS, offset, &value.to_le_bytes());
    }
    assert_eq!(
        bench.read_u32(&mut driver, MMIO_READ, REGISTERS, offset),
        100
    );
    assert!(driver.is_quiet());
    let long: Vec<u8> = (0..200).collect();
    driver.post_write(MMIO_WRITE, REGISTERS, 4, &long);
    let fill = [FakeDriver::header(MMIO_FILL, REGISTERS, 0, 100), vec![7]].concat();
    driver.post(&fill, 0);
    let read = bench.read(&mut driver, MMIO_READ, REGISTERS, 0, 204);
    assert_eq!(read[..100], [7; 100]);
    assert_eq!(read[100..], long[96..]);
}

#[test]
fn interrupts_wait_until_the_guest_takes_them() {
    let bench = Bench::new();
    let mut driver = bench.connect(0);
    let raise = |bits: u32| {
        // Vector by vector, as transmit rings do.
        let mut fabric = bench.fabric.lock();
        fabric.with_nhi(NhiIndex(0), |nhi| nhi.raise_for_test(bits));
        fabric.step(Instant::now());
    };
    raise(1 << 3);
    assert!(driver.take_interrupts().is_empty(), "MSI-X is off");
    driver.enable_msix();
    let masked = [0, 0, MSI_DATA + 5, 1].map(u32::to_le_bytes).concat();
    driver.post_write(MMIO_WRITE, MSIX, 5 * 16, &masked);
    bench.step();
    assert_eq!(driver.take_vectors(), [3]);
    assert!(driver.interrupts.called());
    raise(1 << 5);
    assert!(driver.take_vectors().is_empty(), "masked");
    assert!(!driver.interrupts.called());
    assert_eq!(bench.read_u32(&mut driver, MMIO_READ, MSIX, 0x800), 1 << 5);
    driver.post_write(MMIO_WRITE, MSIX, 5 * 16 + 12, &[0; 4]);
    bench.step();
    assert_eq!(driver.take_vectors(), [5]);
    raise(0x7fff);
    raise(0x7fff);
    let first = driver.take_interrupts();
    assert_eq!(first.len(), 10, "as many as there are buffers");
    driver.post_interrupt_buffer(19);
    bench.step();
    assert!(driver.take_interrupts().is_empty(), "too short");
    for _ in 0..10 {
        driver.post_interrupt_buffer(20);
    }
    bench.step();
    let second = driver.take_interrupts();
    assert_eq!(second.len(), 10);
    let mut all = [first, second].concat();
    all.sort();
    all.dedup();
    let expected: Vec<_> = (0..15).map(|vector| MSI_DATA + vector).collect();
    assert_eq!(all, expected, "they take turns");
}
