// SPDX-License-Identifier: GPL-2.0

//! The program as a whole: its command line, its sockets, and guests that come and go.

use std::io::BufRead;
use std::io::BufReader;
use std::num::NonZeroU64;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use usb4_cable::control::Client;
use usb4_cable::control::ClientError;
use usb4_cable::control::Connection;
use usb4_cable::control::LinkState;
use usb4_cable::control::Plug;
use usb4_cable::control::Schedule;
use usb4_cable::fault::Faults;
use usb4_cable::topology::control_socket;
use usb4_cable::topology::Topology;

const TOPOLOGY: &str = r#"{"hosts": [{"name": "h0"}, {"name": "h1"}],
    "cables": [{"name": "c0", "a": {"host": "h0", "port": 0}, "b": {"host": "h1", "port": 0}}]}"#;

const REGISTERS: u32 = 0;
const CAPABILITIES: u64 = 0x3_9640;

struct Program {
    child: Child,
    dir: tempfile::TempDir,
}

impl Program {
    fn start(topology: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("topology.json");
        std::fs::write(&file, topology).unwrap();
        let mut child = command(&file, dir.path())
            .arg("--exit-with-parent")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        Self { child, dir }
    }

    fn client(&self) -> Client {
        Client::connect(&control_socket(self.dir.path())).unwrap()
    }

    /// Connects as the virtual machine of the first host.
    fn guest(&self) -> vfio_user::Client {
        let topology = Topology::from_json(TOPOLOGY).unwrap();
        let nhi = &topology.all_nhis()[0];
        vfio_user::Client::new(&nhi.socket(self.dir.path())).unwrap()
    }

    fn wait_connection(&self, awaited: Connection) {
        let mut client = self.client();
        let start = Instant::now();
        while client.status().unwrap().nhis[0].connection != awaited {
            assert!(start.elapsed() < Duration::from_secs(10), "{awaited:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(topology: &Path, dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_usb4-cable"));
    command
        .arg("--topology")
        .arg(topology)
        .arg("--dir")
        .arg(dir);
    command
}

fn capabilities(guest: &mut vfio_user::Client) -> u32 {
    let mut data = [0; 4];
    guest
        .region_read(REGISTERS, CAPABILITIES, &mut data)
        .unwrap();
    u32::from_le_bytes(data)
}

#[test]
fn cables_are_plugged_and_faulty_as_told() {
    let program = Program::start(TOPOLOGY);
    let mut client = program.client();
    let cable = client.cable("c0").unwrap();
    assert_eq!((cable.plug, cable.link), (Plug::Plugged, LinkState::Down));
    client.unplug("c0").unwrap();
    assert_eq!(client.cable("c0").unwrap().plug, Plug::Unplugged);
    client.plug("c0").unwrap();
    assert_eq!(client.cable("c0").unwrap().plug, Plug::Plugged);
    let faults = Faults {
        latency_us: 7,
        rate: NonZeroU64::new(5_000_000_000),
        ring_rate: NonZeroU64::new(1_250_000_000),
        ..Faults::default()
    };
    client.set_faults("c0", &faults).unwrap();
    let cable = client.cable("c0").unwrap();
    assert_eq!(cable.a_to_b_faults, faults);
    assert_eq!(cable.b_to_a_faults, faults);
    assert!(matches!(client.plug("c1"), Err(ClientError::Refused(_))));
    assert!(matches!(
        client.cable("c1"),
        Err(ClientError::NoSuchCable(_))
    ));
    assert!(matches!(
        client.wait_link("c0", LinkState::Up, Duration::ZERO),
        Err(ClientError::LinkTimeout { .. })
    ));
}

#[test]
fn guests_come_and_go() {
    let program = Program::start(TOPOLOGY);
    for _ in 0..3 {
        program.wait_connection(Connection::Closed);
        let mut guest = program.guest();
        assert_eq!(capabilities(&mut guest), 0x40_0020, "version 2, 32 rings");
        program.wait_connection(Connection::Open);
        let region = guest.region(REGISTERS).unwrap();
        let pages: Vec<_> = region.sparse_areas.iter().map(|area| area.offset).collect();
        assert_eq!(pages, [0, 0x8000, 0x3_8000]);
        drop(guest);
    }
    program.wait_connection(Connection::Closed);
    let resets = program.client().status().unwrap().nhis[0].counters.resets;
    assert_eq!(resets, 6, "on attach and on detach");
}

#[test]
fn memory_comes_with_and_without_a_file() {
    let program = Program::start(TOPOLOGY);
    let mut guest = program.guest();
    let memory = tempfile::tempfile().unwrap();
    memory.set_len(0x1_0000).unwrap();
    guest
        .dma_map(0, 0x1000, 0x1_0000, memory.as_raw_fd())
        .unwrap();
    guest.dma_unmap(0x1000, 0x1_0000).unwrap();
    guest.reset().unwrap();
    assert_eq!(capabilities(&mut guest), 0x40_0020);
}

#[test]
fn what_is_wrong_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("topology.json");
    let failure = |text: &str, dir: &Path| {
        std::fs::write(&file, text).unwrap();
        let output = command(&file, dir).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(failure("{", dir.path()).contains("topology is not valid"));
    let loose = TOPOLOGY.replace("\"h1\", \"port\"", "\"h2\", \"port\"");
    assert!(failure(&loose, dir.path()).contains("\"h2\", which is not in the list"));
    let nowhere = dir.path().join("nowhere");
    assert!(failure(TOPOLOGY, &nowhere).contains("cannot listen on"));
    let program = Program::start(TOPOLOGY);
    assert!(failure(TOPOLOGY, program.dir.path()).contains("in use"));
    program.client().status().unwrap();
}

#[test]
fn sockets_are_removed_at_the_end_and_replaced_after_a_crash() {
    let mut program = Program::start(TOPOLOGY);
    let socket = control_socket(program.dir.path());
    program.child.kill().unwrap();
    program.child.wait().unwrap();
    assert!(socket.exists());
    let file = program.dir.path().join("topology.json");
    program.child = command(&file, program.dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(program.child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    program.client().status().unwrap();
    let pid = rustix::process::Pid::from_child(&program.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(program.child.wait().unwrap().success());
    assert!(!socket.exists());
}

#[test]
fn a_schedule_pulls_the_cable_and_leaves_it_in() {
    let program = Program::start(TOPOLOGY);
    let mut client = program.client();
    let mut onlooker = program.client();
    let schedule = Schedule {
        plugged: Duration::from_millis(1),
        unplugged: Duration::from_millis(1),
        times: 3,
    };
    let mut pulls = Vec::new();
    schedule
        .follow(&mut client, "c0", |time| {
            pulls.push((time, onlooker.cable("c0").unwrap().plug));
        })
        .unwrap();
    assert_eq!(pulls, [1, 2, 3].map(|time| (time, Plug::Plugged)));
    assert_eq!(client.cable("c0").unwrap().plug, Plug::Plugged);
    let unknown = schedule.follow(&mut client, "c9", |_| ());
    assert!(matches!(unknown, Err(ClientError::Refused(_))));
}
