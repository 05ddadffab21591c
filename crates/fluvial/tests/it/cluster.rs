//! The cluster tier: what other people's programs make of Fluvial, and Fluvial of a real cluster. These stories need
//! programs that `cargo xtask peers` builds, and take minutes; `cargo xtask tier cluster` runs them, and names those that it
//! leaves out.

mod controller;
mod exchange;
mod helm;
mod kube;
mod kubectl;
mod node;
pub(crate) mod server;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_fluvial");

/// The programs of these names, or `None` after a word about the one that is missing.
pub(crate) fn peers<const N: usize>(story: &str, names: [&str; N]) -> Option<[PathBuf; N]> {
    let found = names.map(|name| (name, find(name)));
    if let Some((name, _)) = found.iter().find(|(_, path)| path.is_none()) {
        eprintln!("skipped: {story}: there is no {name} (cargo xtask peers {name})");
        return None;
    }
    eprintln!("story: {story}");
    Some(found.map(|(_, path)| path.unwrap()))
}

/// A program among the peers that were built, or on the path.
fn find(name: &str) -> Option<PathBuf> {
    let built = std::env::var_os("FLUVIAL_PEERS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    built
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// A program that talks to a cluster.
pub(crate) struct Tool {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

/// How a command went.
pub(crate) struct Said {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

impl Tool {
    /// `home` is where it may keep what it likes.
    pub(crate) fn new(program: &Path, kubeconfig: &Path, home: &Path) -> Self {
        Tool {
            program: program.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
            home: home.to_owned(),
        }
    }

    /// The command, with nothing of this machine's user in it.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(words)
            .env("HOME", &self.home)
            .env("KUBECONFIG", &self.kubeconfig)
            .current_dir(&self.home);
        command
    }

    /// Runs it with something on standard input.
    pub(crate) fn run(&self, words: &[&str], input: &str) -> Said {
        let mut child = self
            .command(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Whoever does not read it is told nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let done = child.wait_with_output().unwrap();
        Said {
            ok: done.status.success(),
            out: String::from_utf8_lossy(&done.stdout).into_owned(),
            err: String::from_utf8_lossy(&done.stderr).into_owned(),
        }
    }

    /// What it prints for a line of words between blanks.
    pub(crate) fn says(&self, line: &str) -> String {
        self.given(line, "")
    }

    /// As [`Tool::says`], with something on standard input.
    pub(crate) fn given(&self, line: &str, input: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let said = self.run(&words, input);
        assert!(said.ok, "{line}\n{}{}", said.out, said.err);
        said.out + &said.err
    }

    /// What it prints when it fails, as it must.
    pub(crate) fn refuses(&self, line: &str, input: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let said = self.run(&words, input);
        assert!(!said.ok, "{line} did not fail\n{}{}", said.out, said.err);
        said.out + &said.err
    }

    /// An object, or a list of them.
    pub(crate) fn json(&self, line: &str) -> serde_json::Value {
        let words: Vec<&str> = line.split_whitespace().collect();
        let said = self.run(&words, "");
        assert!(said.ok, "{line}\n{}", said.err);
        serde_json::from_str(&said.out).unwrap()
    }
}

/// Fails with the whole text unless it holds all of these.
#[track_caller]
pub(crate) fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}
