//! kube-apiserver comes without nodes: somebody must say that pods run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use super::Tool;

/// What a pod says of itself when all is well.
const RUNS: &str = r#"{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"},{"type":"ContainersReady","status":"True"}]}}"#;
/// And when its work is done.
const DONE: &str = r#"{"status":{"phase":"Succeeded"}}"#;

/// Says of every pod that it runs; of one that ends by itself, that it has ended well.
pub(crate) struct Node {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    /// Begins to.
    pub(crate) fn start(kubectl: &Path, kubeconfig: &Path, home: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, home): (_, PathBuf) = (Arc::clone(&stop), home.to_owned());
        let kubectl = Tool::new(kubectl, kubeconfig, &home);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                look(&kubectl);
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        Node {
            stop,
            thread: Some(thread),
        }
    }
}

fn look(kubectl: &Tool) {
    let said = kubectl.run(&["get", "pods", "-A", "-o", "json"], "");
    let pods: Value = serde_json::from_str(&said.out).unwrap_or_default();
    for pod in pods["items"].as_array().into_iter().flatten() {
        let text = |at: &str| pod.pointer(at).and_then(Value::as_str).unwrap_or_default();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            // Nobody else says that its containers have ended. It may be gone by now.
            let _ = kubectl.run(
                &[
                    "delete",
                    "pod",
                    name,
                    "-n",
                    namespace,
                    "--grace-period=0",
                    "--force",
                    "--wait=false",
                ],
                "",
            );
        } else if text("/status/phase") == "Pending" {
            let status = if text("/spec/restartPolicy") == "Always" {
                RUNS
            } else {
                DONE
            };
            let _ = kubectl.run(
                &[
                    "patch",
                    "pod",
                    name,
                    "-n",
                    namespace,
                    "--subresource=status",
                    "--type=merge",
                    "-p",
                    status,
                ],
                "",
            );
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it had to say is in the story by now.
            let _ = thread.join();
        }
    }
}
