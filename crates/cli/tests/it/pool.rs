//! `onecopy pool` with real workers.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::house::House;

#[test]
fn a_pool_gives_the_answers_of_one_process() {
    let house = House::new();
    house.linear("linear.onecopy", 50);
    house.npy("x.npy", &[31, 100]);
    house.run("predict linear.onecopy x.npy -o alone.npy").quiet();
    for workers in [1, 2, 5, 40] {
        let report = house.run(&format!("pool linear.onecopy x.npy --workers {workers} -o y.npy")).quiet();
        assert_eq!(house.read("alone.npy"), house.read("y.npy"), "{workers} workers");
        assert!(report.contains("one copy of what prediction reads is 40.4 kB"), "{report}");
    }
}

#[test]
fn a_worker_killed_from_outside_is_replaced_and_reported() {
    let house = House::new();
    house.linear("linear.onecopy", 20_000);
    house.npy("x.npy", &[120, 100]);
    house.run("predict linear.onecopy x.npy -o alone.npy").quiet();
    let pool = house
        .command()
        .args("pool linear.onecopy x.npy --workers 2 --no-verify --json -o y.npy".split(' '))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let worker = first_child(pool.id());
    assert!(Command::new("kill").args(["-9", &worker]).status().unwrap().success());
    let output = pool.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains(&format!("(pid {worker}) died: killed by SIGKILL")), "{stderr}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(1, report["restarts"]);
    assert!(house.read("alone.npy") == house.read("y.npy"));
}

#[test]
fn workers_do_not_outlive_a_killed_parent() {
    let house = House::new();
    house.linear("linear.onecopy", 20_000);
    house.npy("x.npy", &[400, 100]);
    let mut pool = house
        .command()
        .args("pool linear.onecopy x.npy --workers 2 --no-verify -o y.npy".split(' '))
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let worker = first_child(pool.id());
    pool.kill().unwrap();
    pool.wait().unwrap();
    let start = Instant::now();
    // An orphan that nobody reaps stays as a zombie, which holds no memory.
    let gone = || match fs::read_to_string(format!("/proc/{worker}/stat")) {
        Ok(stat) => stat.contains(") Z "),
        Err(_) => true,
    };
    while !gone() {
        assert!(start.elapsed() < Duration::from_secs(10), "worker {worker} outlived its parent");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(vec!["linear.onecopy", "x.npy"], house.names());
}

/// The first child of process `parent`, waiting until there is one.
fn first_child(parent: u32) -> String {
    let start = Instant::now();
    loop {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
        if let Some(child) = children.split_whitespace().next() {
            return child.to_owned();
        }
        assert!(start.elapsed() < Duration::from_secs(30), "no worker was started");
        thread::sleep(Duration::from_millis(1));
    }
}
