//! A copy of the example fleet in a repository of its own, and the program that follows it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_fluvial");

/// A repository in a temporary folder.
pub(crate) struct Fleet {
    root: tempfile::TempDir,
}

/// Copies what is in a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Fleet {
    /// The example fleet, committed.
    pub(crate) fn new() -> Self {
        let fleet = Fleet {
            root: tempfile::tempdir().unwrap(),
        };
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/fleet");
        copy(&example, &fleet.repository());
        fleet.git(&["init", "--quiet", "--initial-branch=main"]);
        fleet.commit("begin");
        fleet
    }

    /// A fleet of these files alone, committed.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let fleet = Fleet {
            root: tempfile::tempdir().unwrap(),
        };
        for (file, text) in files {
            fleet.write(file, text);
        }
        fleet.git(&["init", "--quiet", "--initial-branch=main"]);
        fleet.commit("begin");
        fleet
    }

    /// The work tree.
    pub(crate) fn repository(&self) -> PathBuf {
        self.root.path().join("fleet")
    }

    /// A folder beside it.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn git(&self, arguments: &[&str]) {
        let done = Command::new("git")
            .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"])
            .args(arguments)
            .current_dir(self.repository())
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Commits everything.
    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
    }

    /// Changes a file.
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.repository().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} holds no {from:?}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Removes a file.
    pub(crate) fn remove(&self, file: &str) {
        std::fs::remove_file(self.repository().join(file)).unwrap();
    }

    /// Writes a file.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.repository().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Runs a command in the work tree; all that it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let done = Command::new(PROGRAM)
            .args(arguments)
            .current_dir(self.repository())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (out, err) = (done.stdout, done.stderr);
        String::from_utf8_lossy(&[out, err].concat()).into_owned()
    }

    /// Runs `up` until it is killed.
    pub(crate) fn up(&self, more: &[&str]) -> Up {
        let kubeconfig = self.beside("kubeconfig");
        // An old one would be taken for the new one's.
        let _ = std::fs::remove_file(&kubeconfig);
        let child = Command::new(PROGRAM)
            .arg("up")
            .arg(self.repository())
            .args([
                "--path",
                "clusters/demo",
                "--log-level",
                "off",
                "--kubeconfig-out",
            ])
            .arg(&kubeconfig)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Up { child, kubeconfig }
    }
}

/// The running program.
pub(crate) struct Up {
    child: Child,
    kubeconfig: PathBuf,
}

impl Drop for Up {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Up {
    /// Ends it without a chance to clean up.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Where its kubeconfig is, or will be.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Asks it to end, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        let done = Command::new("kill")
            .args(["-INT", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(done.success());
    }

    /// How it has ended, if it has.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.child
            .try_wait()
            .ok()
            .flatten()
            .and_then(|status| status.code())
    }

    /// Whether the cluster has a Tea of this name. `why` says of an absent one that it is not there.
    pub(crate) fn serves_tea(&self, name: &str) -> bool {
        let text = self.text(&[
            "why",
            &format!("tea.shop.example.com/{name}"),
            "-n",
            "shop",
            "-o",
            "json",
        ]);
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        value["ready"] == true
    }

    /// Runs another command against it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Command::new(PROGRAM)
            .args(arguments)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What another command prints.
    pub(crate) fn text(&self, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&self.run(arguments).stdout).into_owned()
    }

    /// Objects of a Flux kind, or of what `kubectl` would call a resource, by name.
    pub(crate) fn kustomizations(&self) -> Vec<Value> {
        let text = self.text(&["get", "kustomizations", "-A", "-o", "json"]);
        let list: Value = serde_json::from_str(&text).unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Whether all `count` Kustomizations are ready at one revision that ends so.
    pub(crate) fn is_ready(&self, count: usize, commit: &str) -> bool {
        let all = self.kustomizations();
        all.len() == count
            && all.iter().all(|object| {
                let ready = object["status"]["conditions"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
                let revision = object["status"]["lastAppliedRevision"]
                    .as_str()
                    .unwrap_or_default();
                ready && revision.ends_with(commit)
            })
    }

    /// What all Kustomizations own together: sorted ids.
    pub(crate) fn owned(&self) -> Vec<String> {
        let mut ids: Vec<String> = self
            .kustomizations()
            .iter()
            .flat_map(|object| {
                object["status"]["inventory"]["entries"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default()
            })
            .filter_map(|entry| entry["id"].as_str().map(str::to_owned))
            .collect();
        ids.sort();
        ids
    }
}

/// Waits for something, not for long.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(90);
    while !holds() {
        assert!(Instant::now() < end, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The id of the newest commit.
pub(crate) fn head(fleet: &Fleet) -> String {
    let done = Command::new("git")
        .args(["rev-parse", "HEAD"])
        .current_dir(fleet.repository())
        .output()
        .unwrap();
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}
