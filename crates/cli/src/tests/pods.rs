//! Commands about controllers that run: what their Pods tell, and what is refused while a process works.

use super::*;

fn pod(name: &str, containers: &[&str]) -> Value {
    let containers: Vec<Value> = containers.iter().map(|name| json!({"name": name})).collect();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "flux-system"},
        "spec": {"containers": containers}})
}

fn told(second: u32, level: &str, kind: &str, name: &str, message: &str) -> String {
    json!({"level": level, "ts": format!("2024-05-01T09:59:{second:02}Z"), "msg": message, "controllerKind": kind,
        "namespace": "flux-system", "name": name})
    .to_string()
}

fn telling() -> Memory {
    let pods = vec![
        pod("source-controller-1", &["manager"]),
        pod("fluvial-1", &["proxy", "fluvial"]),
    ];
    let source = vec![
        told(1, "info", "GitRepository", "fleet", "stored artifact"),
        "a line of something else".to_owned(),
        told(4, "error", "GitRepository", "fleet", "failed to checkout"),
    ];
    let own = vec![
        told(2, "info", "Kustomization", "apps", "Reconciliation finished"),
        told(3, "info", "HelmRelease", "web", "release is in sync"),
    ];
    let logs = [
        ("source-controller-1/manager", source),
        ("fluvial-1/fluvial", own),
        ("fluvial-1/proxy", vec![told(0, "info", "", "", "not ours")]),
    ];
    Memory {
        objects: Arc::new(Mutex::new(pods)),
        logs: logs.map(|(of, lines)| (of.to_owned(), lines)).into(),
        ..Memory::default()
    }
}

#[tokio::test]
async fn logs_of_all_controllers_are_told_in_order_of_time() {
    let (code, out, err) = fluvial(&telling(), "logs").await;
    assert_eq!(
        (code, out.as_str()),
        (
            0,
            "2024-05-01T09:59:01Z info GitRepository/fleet.flux-system - stored artifact\n\
             2024-05-01T09:59:02Z info Kustomization/apps.flux-system - Reconciliation finished\n\
             2024-05-01T09:59:03Z info HelmRelease/web.flux-system - release is in sync\n\
             2024-05-01T09:59:04Z error GitRepository/fleet.flux-system - failed to checkout\n"
        ),
        "{err}"
    );
}

#[tokio::test]
async fn logs_are_chosen_by_what_they_are_about() {
    let shown = |line: &'static str| async move { fluvial(&telling(), line).await.1.lines().count() };
    assert_eq!(shown("logs --kind GitRepository").await, 2);
    assert_eq!(shown("logs --kind gitrepository --level error").await, 1);
    assert_eq!(shown("logs --name web").await, 1);
    assert_eq!(shown("logs --namespace other").await, 0);
    assert_eq!(shown("logs --namespace other --all-namespaces").await, 4);
    // One line from the end of each log.
    assert_eq!(shown("logs --tail 1").await, 2);
}

#[tokio::test]
async fn where_no_controllers_run_it_is_said_where_they_tell() {
    let (code, _, err) = fluvial(&fleet(false), "logs").await;
    assert_eq!(code, 1);
    assert!(
        err.contains("no Pods of controllers are in namespace flux-system"),
        "{err}"
    );
    assert!(err.contains("tell what they do where they were started"), "{err}");
}

fn lease(renewed: &str) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "fluvial-leader-election", "namespace": "flux-system", "generation": 1},
        "spec": {"holderIdentity": "host-a_17", "leaseDurationSeconds": 35, "renewTime": renewed}})
}

#[tokio::test]
async fn nothing_is_taken_off_while_a_process_leads() {
    let memory = fleet(false);
    memory
        .objects
        .lock()
        .unwrap()
        .push(lease("2024-05-01T09:59:50.000000Z"));
    let before = memory.objects.lock().unwrap().clone();
    let (code, _, err) = fluvial(&memory, "uninstall --silent").await;
    assert_eq!(code, 1);
    assert!(
        err.contains(
            "`fluvial serve` runs as host-a_17 and holds the lease flux-system/fluvial-leader-election: end it first"
        ),
        "{err}"
    );
    assert_eq!(*memory.objects.lock().unwrap(), before);
}

#[tokio::test]
async fn a_process_that_died_holds_nobody_up() {
    let memory = fleet(false);
    memory
        .objects
        .lock()
        .unwrap()
        .push(lease("2024-05-01T09:50:00.000000Z"));
    let (_, _, err) = fluvial(&memory, "uninstall --silent").await;
    assert!(
        err.contains("deleting controllers in flux-system namespace"),
        "{err}"
    );
    assert!(!err.contains("end it first"), "{err}");
}
