//! Public fleets, unmodified, from clone to Ready with one command. They are kept beside the repository; where they
//! are not, these tests say so and end.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fluvial");
/// Longer than a debug build needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// The fleets.
fn fleets() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fleets");
    if folder.is_dir() {
        return folder.canonicalize().ok();
    }
    eprintln!("skipped: the public fleets are not beside the repository");
    None
}

fn git(arguments: &[&str], folder: &Path) {
    let done = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn the_demo_fleet_comes_up_offline() {
    let Some(fleets) = fleets() else { return };
    let demo = fleets.join("f4z3r+flux-demo");
    let work = tempfile::tempdir().unwrap();
    let bundle = demo.join("flux-demo.bundle");
    git(
        &["clone", "--quiet", &bundle.to_string_lossy(), "demo"],
        work.path(),
    );
    let clone = work.path().join("demo");
    let mirrors = work.path().join("mirrors.yaml");
    let text = std::fs::read_to_string(demo.join("mirrors.yaml"))
        .unwrap()
        .replace("@REPO@", &clone.to_string_lossy())
        .replace("@CHARTS@", &fleets.join("charts").to_string_lossy());
    std::fs::write(&mirrors, text).unwrap();
    let log = std::fs::File::create(work.path().join("log")).unwrap();
    let started = Instant::now();
    let mut child = Command::new(PROGRAM)
        .arg("up")
        .arg(&clone)
        .args(["--path", "clusters/demo", "--once", "--mirrors"])
        .arg(&mirrors)
        .arg("--kubeconfig-out")
        .arg(work.path().join("kubeconfig"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if started.elapsed() > PATIENCE {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let log = std::fs::read_to_string(work.path().join("log")).unwrap_or_default();
    assert_eq!(code, Some(0), "{log}");
    eprintln!("the demo fleet was ready after {:?}", started.elapsed());
}
