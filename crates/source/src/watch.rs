//! Local repositories are watched: a commit is known when it is made, without polling.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use notify::event::EventKind;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use crate::error::{SourceError, reason};

/// A change is told after so long without another one…
const QUIET: Duration = Duration::from_millis(3);
/// …or this long after the first.
const LONGEST: Duration = Duration::from_millis(40);
/// How often a repository that is gone is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Watches one repository until it is dropped.
#[derive(Debug)]
pub struct LocalWatch {
    changes: tokio::sync::watch::Receiver<u64>,
    messages: Sender<Message>,
}

enum Message {
    Event(notify::Result<notify::Event>),
    Stop,
}

impl Drop for LocalWatch {
    fn drop(&mut self) {
        // If the thread has ended already, nobody hears it.
        let _ = self.messages.send(Message::Stop);
    }
}

impl LocalWatch {
    /// Waits for the next change; false when nothing more can come.
    pub async fn changed(&mut self) -> bool {
        self.changes.changed().await.is_ok()
    }

    /// Counts the changes; each receiver waits on its own, and ends with the watch.
    #[must_use]
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changes.clone()
    }
}

/// What of a repository is watched.
#[derive(Clone, Debug)]
struct Places {
    /// The repository as it was named.
    named: PathBuf,
    /// Holds HEAD.
    git_dir: PathBuf,
    /// Holds references; the same as `git_dir` but for linked work trees.
    common_dir: PathBuf,
    /// Set if uncommitted files count.
    worktree: Option<PathBuf>,
}

impl Places {
    fn of(path: &Path, dirty: bool) -> Result<Self, SourceError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let repo = crate::git::open(&path)?;
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Ok(Places {
            git_dir: real(repo.git_dir()),
            common_dir: real(repo.common_dir()),
            worktree: repo.workdir().filter(|_| dirty).map(real),
            named: path,
        })
    }

    fn watch(&self, watcher: &mut RecommendedWatcher) -> notify::Result<()> {
        watcher.watch(&self.git_dir, RecursiveMode::NonRecursive)?;
        if self.common_dir != self.git_dir {
            watcher.watch(&self.common_dir, RecursiveMode::NonRecursive)?;
        }
        watcher.watch(&self.common_dir.join("refs"), RecursiveMode::Recursive)?;
        if let Some(worktree) = &self.worktree {
            watcher.watch(worktree, RecursiveMode::Recursive)?;
        }
        // Tells when the repository is moved away or back.
        if let Some(parent) = self.named.parent() {
            // Not every parent may be read; the repository itself can be watched all the same.
            let _ = watcher.watch(parent, RecursiveMode::NonRecursive);
        }
        Ok(())
    }

    fn unwatch(&self, watcher: &mut RecommendedWatcher) {
        let refs = self.common_dir.join("refs");
        let all = [
            Some(&self.git_dir),
            Some(&self.common_dir),
            Some(&refs),
            self.worktree.as_ref(),
        ];
        for path in all.into_iter().flatten() {
            // What is gone is not watched any more.
            let _ = watcher.unwatch(path);
        }
    }

    /// Whether a change at this path may change a revision.
    fn concerns(&self, path: &Path) -> bool {
        if path.extension() == Some(OsStr::new("lock")) {
            return false;
        }
        if path == self.named {
            return true;
        }
        let name = path.file_name();
        let is_head = path.parent() == Some(&self.git_dir) && name == Some(OsStr::new("HEAD"));
        let is_packed = path.parent() == Some(&self.common_dir) && name == Some(OsStr::new("packed-refs"));
        if is_head || is_packed || path.starts_with(self.common_dir.join("refs")) {
            return true;
        }
        self.worktree
            .as_ref()
            .is_some_and(|worktree| path.starts_with(worktree) && !path.starts_with(worktree.join(".git")))
    }
}

/// Watches the references of a local repository, and with `dirty` its work tree too.
///
/// # Errors
/// If there is no repository, or the system refuses to watch it.
pub fn local(path: &Path, dirty: bool) -> Result<LocalWatch, SourceError> {
    let places = Places::of(path, dirty)?;
    let (messages, received) = channel();
    let events = messages.clone();
    let refused = |error: notify::Error| {
        SourceError::retry(
            reason::GIT_OPERATION_FAILED,
            format!(
                "cannot watch repository '{}': {error}; it is looked at every interval instead",
                path.display()
            ),
        )
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // The other side ends when nobody waits any more.
        let _ = events.send(Message::Event(event));
    })
    .map_err(refused)?;
    places.watch(&mut watcher).map_err(refused)?;
    let (told, changes) = tokio::sync::watch::channel(0_u64);
    std::thread::Builder::new()
        .name("repository-watch".to_owned())
        .spawn(move || run(places, dirty, watcher, &received, &told))
        .map_err(|error| refused(notify::Error::io(error)))?;
    Ok(LocalWatch { changes, messages })
}

fn run(
    mut places: Places,
    dirty: bool,
    mut watcher: RecommendedWatcher,
    messages: &Receiver<Message>,
    told: &tokio::sync::watch::Sender<u64>,
) {
    let mut broken = false;
    loop {
        let mut concerned = match next(messages, broken) {
            Next::Event(event) => concerns(&places, &event),
            Next::Look => true,
            Next::Stop => return,
        };
        let start = Instant::now();
        while start.elapsed() < LONGEST {
            match messages.recv_timeout(QUIET) {
                Ok(Message::Event(event)) => concerned |= concerns(&places, &event),
                Ok(Message::Stop) => return,
                Err(_) => break,
            }
        }
        if !concerned {
            continue;
        }
        let was_broken = broken;
        broken |= !places.common_dir.join("refs").exists();
        if broken && let Ok(now) = Places::of(&places.named, dirty) {
            places.unwatch(&mut watcher);
            places = now;
            broken = places.watch(&mut watcher).is_err();
        }
        if !(was_broken && broken) {
            told.send_modify(|count| *count += 1);
        }
    }
}

enum Next {
    Event(notify::Result<notify::Event>),
    Look,
    Stop,
}

/// The next message; a repository that is gone is looked for every now and then.
fn next(messages: &Receiver<Message>, broken: bool) -> Next {
    let message = if broken {
        match messages.recv_timeout(LOOK_AGAIN) {
            Err(RecvTimeoutError::Timeout) => return Next::Look,
            other => other.ok(),
        }
    } else {
        messages.recv().ok()
    };
    match message {
        Some(Message::Event(event)) => Next::Event(event),
        Some(Message::Stop) | None => Next::Stop,
    }
}

fn concerns(places: &Places, event: &notify::Result<notify::Event>) -> bool {
    match event {
        // Opening and reading a file changes nothing, and we do it ourselves.
        Ok(event) if matches!(event.kind, EventKind::Access(_)) => false,
        // Events were lost.
        Ok(event) if event.need_rescan() => true,
        Ok(event) => event.paths.iter().any(|path| places.concerns(path)),
        Err(_) => true,
    }
}
